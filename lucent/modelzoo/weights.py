"""Weight files: fetched once into torch.hub's folder, checked, read, and matched to a model.

Nothing in a file is ever run: only tensors are read from it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import urllib.parse
import urllib.request
import uuid
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from lucent.errors import WeightsError

logger = logging.getLogger(__name__)
_CHUNK = 1 << 20  # bytes per read: small enough for a smooth bar, large enough to cost nothing
_TIMEOUT = 30.0  # seconds without a byte; twice pip's, for hosts that wake up on request
# What torch.load raises for files of other kinds, damaged ones, and pickles that would run code.
_UNREADABLE = (OSError, RuntimeError, ValueError, LookupError, EOFError, pickle.UnpicklingError)


def checkpoint_folder() -> Path:
    """Return the folder that torch.hub, torchvision and lucent share for downloaded weights."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def fetch(
    url: str, *, sha256: str | None = None, file_name: str | None = None, progress: bool = True
) -> Path:
    """Return the local copy of a file, downloaded if it is not in `checkpoint_folder()` yet.

    The file appears under its name only when it is complete and its hash fits.

    Args:
        url: http(s) or file address.
        sha256: what the file's SHA-256 must start with, in hexadecimal; None checks nothing.
        file_name: name in the folder; by default the last part of the address.
        progress: show a bar while downloading.

    Raises:
        WeightsError: the file cannot be fetched, is incomplete, or has another hash.
    """
    target = checkpoint_folder() / (file_name or Path(urllib.parse.urlparse(url).path).name)
    if target.exists():
        if sha256 is None or _sha256(target).startswith(sha256.lower()):
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
                f"works and put it into {target.parent}, or name your copy: weights=FILE."
            ) from error
        _check(partial, url, sha256)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def read_file(path: str | Path) -> Any:
    """Read what `torch.save` wrote onto the CPU, without running any code that it may hold.

    Raises:
        WeightsError: there is no such file, or it is of another kind.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise WeightsError(
            f"There is no weight file {path}: check the name, or leave weights out to download."
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise WeightsError(
            f"{path} could not be read as weights ({reason}). Expected is what "
            "torch.save(model.state_dict(), file) writes."
        ) from error


def read_state_dict(path: str | Path) -> Mapping[str, Tensor]:
    """Read a state dict; see `read_file`.

    Raises:
        WeightsError: the file cannot be read, or it holds something else than a state dict.
    """
    state = read_file(path)
    if isinstance(state, Mapping) and all(isinstance(value, Tensor) for value in state.values()):
        return state
    held = f"the keys {list(state)[:5]}" if isinstance(state, Mapping) else f"a {type(state)}"
    raise WeightsError(
        f"{path} holds {held}, expected is a state dict, names to tensors. Save that alone: "
        "torch.save(model.state_dict(), file)."
    )


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Copy the weights of a file into a model; they take the model's dtype and device.

    Raises:
        WeightsError: the file cannot be read, or its names or shapes are not those of the model.
    """
    load_state(model, read_state_dict(path), source=str(path))


def load_state(model: nn.Module, state: Mapping[str, Tensor], *, source: str) -> None:
    """Copy a state dict into a model, with an error that names its source and the first misfits."""
    try:
        result = model.load_state_dict(state, strict=False)
    except RuntimeError as error:  # shapes; torch lists one per line, after a heading
        problems = [line.strip().rstrip(".") for line in str(error).splitlines()[1:]]
    else:
        problems = [f"{key} is missing" for key in result.missing_keys]
        problems += [f"{key} is unknown to the model" for key in result.unexpected_keys]
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise WeightsError(
            f"{source} does not fit {type(model).__name__}: {'; '.join(problems[:3])}{more}. "
            "Give the weights of this very network, or load them with the model they belong to."
        )


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


def _check(path: Path, url: str, sha256: str | None) -> None:
    if sha256 is not None and not (digest := _sha256(path)).startswith(sha256.lower()):
        raise WeightsError(
            f"What {url} gave has the SHA-256 {digest}, expected was {sha256}: it was changed or "
            "damaged, and is not kept. Try again, or name a copy that you trust: weights=FILE."
        )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
