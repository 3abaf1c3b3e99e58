"""Reading pictures, arrays, JSON and text from files and addresses."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import os
import pickle
import re
import struct
import tempfile
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any
from zipfile import BadZipFile

import numpy as np
import torch
from PIL import Image, ImageOps, ImageSequence

from lucent.errors import InputError, LucentError, WeightsError
from lucent.files import fetch
from lucent.misc.io.formats import (
    PICKLES,
    PICTURES,
    STACKS,
    TEXTS,
    check_options,
    ending_of,
    refuse_pickle,
    unknown_ending,
)
from lucent.misc.io.pictures import channels_last

Source = str | os.PathLike[str] | IO[bytes]
Folder = str | os.PathLike[str] | bool | None
_Read = Callable[[bytes], Any]

#: What the readers raise on a file that is damaged or of another format.
_DAMAGED = (
    OSError,
    ValueError,
    LookupError,
    SyntaxError,
    EOFError,
    AttributeError,
    ImportError,
    BadZipFile,
    Image.DecompressionBombError,
    lzma.LZMAError,
    pickle.UnpicklingError,
    struct.error,
    zlib.error,
)
_THREADS = 8  # as many as Lucid; a server may take more from one client for an attack


def load(
    source: Source | Sequence[Source],
    allow_unsafe_formats: bool = False,
    cache: Folder = None,
    *,
    fmt: str | None = None,
    **options: Any,
) -> Any:
    """Read a file of any kind that `save` writes.

    Args:
        source: a path, an http(s) or file address, or a file open for reading bytes; a list of them
            is read side by side and gives a list. The ending tells the format; what has another or
            none is tried as a picture. A further ending .xz is for what LZMA compressed.
        allow_unsafe_formats: read Python objects too, from .pickle, .npy and .npz: reading them may
            run any code, so do it with what you trust only.
        cache: the folder that keeps what was fetched; None is one within torch.hub's, "purge"
            fetches anew, False keeps nothing.
        fmt: the ending to go by instead of the source's own, such as "png".
        options: `size=(width, height)`, in pixels, resizes a picture; `split=True` makes a text a
            list of its lines; `encoding` is that of a text or a JSON, "utf-8" unless given.

    Returns:
        Of a picture an array (H, W, 3), or with transparency (H, W, 4), float32 in [0, 1]: upright
        as the camera was held, the first one of an animation. Of a .tif or .tiff with floats or
        several pages an array (pages, H, W) or (pages, H, W, C) of the numbers in it. Of .npy an
        array, of .npz a dict of arrays, of .json what it holds, of .txt and .md a str.

    Raises:
        InputError: the format is unknown or unsafe, or has no such option.
        WeightsError: the file is not there, cannot be fetched, or is damaged.
    """
    if isinstance(source, Sequence) and not isinstance(source, str | bytes):
        one = partial(
            load, allow_unsafe_formats=allow_unsafe_formats, cache=cache, fmt=fmt, **options
        )
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(one, source))
    reader = partial(_reader, fmt=fmt, unsafe=allow_unsafe_formats, options=options)
    if isinstance(source, str | os.PathLike):
        return _located(os.fspath(source), cache, reader)
    data = source.read() if hasattr(source, "read") else None
    if not isinstance(data, bytes):
        raise InputError(
            f"A {type(source).__name__} cannot be loaded: give a path, an address, a list of them, "
            "or a file opened for bytes, open(path, 'rb')."
        )
    return reader(str(getattr(source, "name", "")))(data)


def _located(name: str, cache: Folder, reader: Callable[[str], _Read]) -> Any:
    address = urllib.parse.urlparse(name)
    if address.scheme in ("http", "https"):
        return _fetched(name, cache, reader(address.path))
    path = urllib.request.url2pathname(address.path) if address.scheme == "file" else name
    return reader(path)(_contents(path))


def _contents(path: str) -> bytes:
    try:
        return Path(os.path.expanduser(path)).read_bytes()
    except OSError as error:
        raise WeightsError(
            f"The file {path!r} cannot be read: {error.strerror}. Paths start from {os.getcwd()}."
        ) from error


def _fetched(url: str, cache: Folder, read: _Read) -> Any:
    if cache is False:
        with tempfile.TemporaryDirectory() as name:
            return _fetched(url, name, read)
    if isinstance(cache, bool | None) or cache == "purge":
        folder = Path(torch.hub.get_dir(), "lucent")
    else:
        folder = Path(cache)
    kept = folder / _file_name(url)
    if cache == "purge":
        kept.unlink(missing_ok=True)
    was_kept = kept.exists()
    fetch(url, file_name=kept.name, folder=folder, progress=False, instead="load(FILE)")
    try:
        return read(kept.read_bytes())
    except LucentError:
        # What cannot be read is not kept; and where an old copy is damaged, a new one may not be.
        kept.unlink(missing_ok=True)
        if not was_kept:
            raise
    return _fetched(url, cache, read)


def _file_name(url: str) -> str:
    """Return a name that no other address has and that ends as the address does."""
    last = re.sub(r"[^\w.-]", "_", PurePosixPath(urllib.parse.urlparse(url).path).name)
    return f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{last[-100:]}"


def _reader(name: str, *, fmt: str | None, unsafe: bool, options: dict[str, Any]) -> _Read:
    """Return what reads the bytes of a file of this name."""
    ending, packed = ending_of(name if fmt is None else f"x.{fmt.removeprefix('.')}")
    reader, what = _READERS.get(ending, _picture), repr(name) if name else "What was given"
    check_options(reader, options, ending)
    if (size := options.get("size")) is not None:
        options = {**options, "size": _checked_size(size)}
    if ending in PICKLES and not unsafe:
        raise refuse_pickle(ending)

    def read(data: bytes) -> Any:
        try:
            return reader(lzma.decompress(data) if packed else data, unsafe, **options)
        except LucentError:
            raise
        except _DAMAGED as error:
            raise _failure(error, what, ending) from error

    return read


def _failure(error: Exception, what: str, ending: str) -> LucentError:
    if "allow_pickle" in str(error):  # NumPy on Python objects
        return refuse_pickle(ending)
    if ending not in _READERS:
        return InputError(
            f"{what} cannot be read: it is no picture, and its ending tells no other format. "
            f"{unknown_ending(ending, _READERS)} Name its format, as in fmt='png'."
        )
    is_text = ending in (*TEXTS, ".json") and isinstance(error, UnicodeError | LookupError)
    name = "encoding, as in encoding='latin-1'" if is_text else "format, as in fmt='png'"
    return WeightsError(
        f"{what} is damaged or no {ending[1:]} file ({type(error).__name__}: {error}). Write or "
        f"fetch it again (cache='purge'), or name its {name}."
    )


def _picture(data: bytes, unsafe: bool, *, size: tuple[int, int] | None = None) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as file:
        picture = Image.fromarray(channels_last(ImageOps.exif_transpose(file)))
    if size is not None:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    array = np.asarray(picture)
    if array.dtype == np.uint8:
        array = array / np.float32(255)
    array = np.clip(array, 0, 1)  # a sharp resize of floats exceeds their range
    return np.repeat(array[..., None], 3, axis=2) if array.ndim == 2 else array


def _tiff(data: bytes, unsafe: bool, *, size: tuple[int, int] | None = None) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as file:
        pages = getattr(file, "n_frames", 1)
        if pages == 1 and (file.mode != "F" or size is not None):
            return _picture(data, unsafe, size=size)
        if size is not None:
            raise InputError(f"size={size!r} is for a single picture, not for {pages} pages.")
        return np.stack([channels_last(page.copy()) for page in ImageSequence.Iterator(file)])


def _checked_size(size: Any) -> tuple[int, int]:
    sides = np.asarray(size)
    if sides.shape != (2,) or sides.dtype.kind not in "iu" or sides.min() < 1:
        raise InputError(
            f"size={size!r} is no size of a picture: give two whole numbers of pixels, (width, "
            "height)."
        )
    width, height = sides.tolist()
    return width, height


def _npy(data: bytes, unsafe: bool) -> np.ndarray:
    return np.lib.format.read_array(io.BytesIO(data), allow_pickle=unsafe)


def _npz(data: bytes, unsafe: bool) -> dict[str, np.ndarray]:
    with np.lib.npyio.NpzFile(io.BytesIO(data), allow_pickle=unsafe) as arrays:
        return dict(arrays)


def _json(data: bytes, unsafe: bool, *, encoding: str = "utf-8") -> Any:
    return json.loads(data.decode(encoding))


def _text(
    data: bytes, unsafe: bool, *, encoding: str = "utf-8", split: bool = False
) -> str | list[str]:
    text = io.TextIOWrapper(io.BytesIO(data), encoding).read()
    return text.splitlines() if split else text


def _pickle(data: bytes, unsafe: bool) -> Any:
    return pickle.loads(data)


_READERS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys((*PICTURES, ".gif"), _picture),
    **dict.fromkeys(STACKS, _tiff),
    **dict.fromkeys(TEXTS, _text),
    **dict.fromkeys(PICKLES, _pickle),
    ".npy": _npy,
    ".npz": _npz,
    ".json": _json,
}
