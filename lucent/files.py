"""Files from elsewhere: fetched once, checked, and kept."""

from __future__ import annotations

import logging
import os
import urllib.parse
import urllib.request
import uuid
from http.client import HTTPException
from pathlib import Path

import torch
from tqdm.auto import tqdm

from lucent.errors import WeightsError
from lucent.util import sha256_of

logger = logging.getLogger(__name__)
_CHUNK = 1 << 20  # bytes per read: small enough for a smooth bar, large enough to cost nothing
_TIMEOUT = 30.0  # seconds without a byte; twice pip's, for hosts that wake up on request


def checkpoint_folder() -> Path:
    """Return the folder that torch.hub, torchvision and lucent share for downloaded weights."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def fetch(
    url: str,
    *,
    sha256: str | None = None,
    file_name: str | None = None,
    folder: Path | None = None,
    progress: bool = True,
    instead: str = "weights=FILE",
) -> Path:
    """Return the local copy of a file, downloaded if it is not there yet.

    The file appears under its name only when it is complete and its hash fits.

    Args:
        url: http(s) or file address.
        sha256: what the file's SHA-256 must start with, in hexadecimal; None checks nothing.
        file_name: name in the folder; by default the last part of the address.
        folder: where copies are kept; None is `checkpoint_folder()`.
        progress: show a bar while downloading.
        instead: how the caller takes a copy that the user has, for the error.

    Raises:
        WeightsError: the file cannot be fetched, is incomplete, or has another hash.
    """
    target = (folder or checkpoint_folder()) / (file_name or _name_in(url, instead))
    if target.exists():
        if sha256 is None or sha256_of(target).startswith(sha256.lower()):
            return target
        logger.warning(
            "%s is damaged (its SHA-256 is not %s...), downloading it again", target, sha256
        )
    partial = target.with_name(f"{target.name}.{uuid.uuid4().hex}.partial")
    try:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _download(url, partial, progress=progress)
        # urllib gives ValueError for a malformed address.
        except (OSError, HTTPException, ValueError) as error:
            raise WeightsError(
                f"{target.name} could not be downloaded from {url} ({error}). Fetch it where that "
                f"works and put it into {target.parent}, or name your copy: {instead}."
            ) from error
        _check(partial, url, sha256, instead)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _name_in(url: str, instead: str) -> str:
    name = Path(urllib.parse.urlparse(url).path).name
    if name in ("", ".."):
        raise WeightsError(
            f"The address {url} names no file, but a folder: give the address of the file, or name "
            f"your copy: {instead}."
        )
    return name


def _download(url: str, path: Path, *, progress: bool) -> None:
    # Some hosts refuse the name that urllib gives itself.
    request = urllib.request.Request(url, headers={"User-Agent": "lucent"})
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as response, path.open("xb") as file:
        length = response.headers.get("Content-Length")
        total = int(length) if length else None
        # None leaves the bar out where nobody would see it move.
        disable = None if progress else True
        with tqdm(total=total, unit="B", unit_scale=True, disable=disable) as bar:
            while chunk := response.read(_CHUNK):
                bar.update(file.write(chunk))
        # A connection that breaks off ends the stream like a complete one does.
        if total is not None and file.tell() != total:
            raise OSError(f"the connection ended after {file.tell()} of {total} bytes")


def _check(path: Path, url: str, sha256: str | None, instead: str) -> None:
    if sha256 is not None and not (digest := sha256_of(path)).startswith(sha256.lower()):
        raise WeightsError(
            f"What {url} gave has the SHA-256 {digest}, expected was {sha256}: it was changed or "
            f"damaged, and is not kept. Try again, or name a copy that you trust: {instead}."
        )
