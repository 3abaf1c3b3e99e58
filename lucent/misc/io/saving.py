"""Writing pictures, videos, arrays, JSON and text to files."""

from __future__ import annotations

import io
import json
import lzma
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import torch
from PIL import Image

from lucent.errors import InputError
from lucent.misc.io.animation import animated, frames_of, mp4
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
from lucent.misc.io.pictures import (
    Channels,
    Domain,
    as_numpy,
    coloured,
    over_white,
    pictures_of,
    tiled,
    to_pil,
    write_picture,
)
from lucent.misc.io.serialize_array import in_bytes
from lucent.util import atomic_write


def save(
    thing: Any,
    path: str | os.PathLike[str],
    allow_unsafe_formats: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Write something to a file, which appears under its name when it is complete.

    Args:
        thing: for .png, .jpg and .webp a picture as `show` takes it, several side by side, Pillow's
            as it is; for .gif and .mp4 pictures (T, H, W, C), or a list of pictures or batches such
            as `render_vis` returns; for .tif and .tiff pictures or volumes, of which each channel
            of each slice becomes a page of 32-bit floats; for .npy an array; for .npz a dict or a
            list of arrays; for .json what JSON knows, and arrays, sets and what has a method
            `to_json`; for .txt and .md a str or a list of lines; for any other ending a str.
        path: its ending chooses the format, and a further .xz compresses by LZMA; missing folders
            are made.
        allow_unsafe_formats: write Python objects too, to .pickle, .npy and .npz.
        options: for pictures `domain=(0, 1)`, the values that become black and white (None for the
            smallest and the largest), `channels` ("hue" or "tiles", see `show`), `columns` of
            several, and what Pillow's writer takes, such as `quality=95`; for videos `domain`,
            `channels` and `fps=10`, pictures a second; for .json `indent=2`.

    Returns:
        What was written: the "type", the "url" and, of pictures and arrays, the "shape".

    Raises:
        InputError: the format is unknown, unsafe, has no such option or cannot hold the thing.
        MissingExtra: an .mp4 takes the extra `video`.
    """
    name = os.fspath(path)
    if "://" in name:
        raise InputError(f"{name!r} is no path: files are written to this machine only.")
    ending, packed = ending_of(name)
    if ending in PICKLES and not allow_unsafe_formats:
        raise refuse_pickle(ending)
    writer = _writer(thing, ending)
    check_options(writer, options, ending)
    with (
        atomic_write(path) as temporary,
        lzma.open(temporary, "wb") if packed else temporary.open("wb") as file,
    ):
        facts = writer(thing, _Target(file, ending, allow_unsafe_formats), **options)
    return {"type": ending[1:], "url": name, **facts}


@dataclass(frozen=True)
class _Target:
    file: IO[bytes]
    ending: str
    unsafe: bool


Facts = dict[str, Any]


def _writer(thing: Any, ending: str) -> Callable[..., Facts]:
    if (writer := _WRITERS.get(ending)) is not None:
        return writer
    if isinstance(thing, str):
        return _text
    raise InputError(
        f"{unknown_ending(ending, _WRITERS)} Only a str is written to files of other kinds."
    )


def _picture(
    thing: Any,
    target: _Target,
    *,
    domain: Domain = (0, 1),
    columns: int | None = None,
    channels: Channels | None = None,
    **options: Any,
) -> Facts:
    picture = thing
    if not isinstance(thing, Image.Image):
        picture = _one_picture(thing, domain, columns, channels)
    write_picture(picture, target.file, target.ending, **options)
    return {"type": "image", "shape": (picture.height, picture.width, len(picture.getbands()))}


def _one_picture(
    thing: Any, domain: Domain, columns: int | None, channels: Channels | None
) -> Image.Image:
    pictures = [
        in_bytes(coloured(picture, domain, channels), domain) for picture in pictures_of(thing)
    ]
    if not pictures:
        raise InputError(
            f"{_described(thing)} is no picture: expected an array (H, W) or (H, W, C), a tensor "
            "(C, H, W), a picture of Pillow's, or several of one shape."
        )
    one = len(pictures) == 1 and pictures[0].ndim < 4
    return to_pil(pictures[0] if one else tiled(pictures, columns))


def _video(
    thing: Any,
    target: _Target,
    *,
    domain: Domain = (0, 1),
    fps: float = 10,
    channels: Channels | None = None,
) -> Facts:
    frames = [over_white(frame) for frame in frames_of(thing, domain, channels)]
    data = mp4(frames, fps=fps) if target.ending == ".mp4" else animated(frames, "gif", fps=fps)
    target.file.write(data)
    return {"type": "video", "shape": (len(frames), frames[0].height, frames[0].width, 3)}


def _tiff(thing: Any, target: _Target) -> Facts:
    """Write a page of floats for each image, slice and channel."""
    arrays = pictures_of(thing)
    if not arrays or len({array.shape for array in arrays}) > 1:
        raise InputError(
            f"{_described(thing)} is no stack of pages: a {target.ending} file takes an array "
            "(H, W), (H, W, C) or (B, *spatial, C), or a tensor with its channels in front."
        )
    batch = np.stack([array[..., None] if array.ndim == 2 else array for array in arrays])
    pages = np.moveaxis(batch, -1, -3).reshape(-1, *batch.shape[-3:-1])
    first, *others = [Image.fromarray(page.astype(np.float32)) for page in pages]
    buffer = io.BytesIO()  # Pillow reads what it has written
    first.save(buffer, "TIFF", save_all=True, append_images=others)
    target.file.write(buffer.getvalue())
    return {"shape": pages.shape}


def _npy(thing: Any, target: _Target) -> Facts:
    array = _array(thing, target)
    np.lib.format.write_array(target.file, array)
    return {"shape": array.shape}


def _npz(thing: Any, target: _Target) -> Facts:
    if not isinstance(thing, Mapping):
        things = thing if isinstance(thing, list | tuple) else [thing]
        thing = {f"arr_{n}": one for n, one in enumerate(things)}  # NumPy's names
    arrays = {str(name): _array(one, target) for name, one in thing.items()}
    # numpy.savez has names of its own, which a key must not have.
    with zipfile.ZipFile(target.file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array)
    return {"shape": {name: array.shape for name, array in arrays.items()}}


def _array(thing: Any, target: _Target) -> np.ndarray:
    try:
        array = as_numpy(thing) if isinstance(thing, torch.Tensor) else np.asarray(thing)
    except ValueError as error:
        raise InputError(
            f"{_described(thing)} is no array ({error}): .npz keeps several."
        ) from error
    if array.dtype.hasobject and not target.unsafe:
        raise refuse_pickle(target.ending)
    return array


def _json(thing: Any, target: _Target, *, indent: int | None = 2) -> Facts:
    try:
        text = json.dumps(thing, indent=indent, default=_plain)
    except (TypeError, ValueError) as error:  # of keys, and of what contains itself
        raise InputError(f"{_described(thing)} cannot be written as JSON: {error}") from error
    target.file.write(text.encode("utf-8"))
    return {}


def _plain(thing: Any) -> Any:
    """Return what JSON knows for something that it does not know."""
    if isinstance(thing, set | frozenset):
        return list(thing)
    if isinstance(thing, np.ndarray | np.generic | torch.Tensor):
        return thing.tolist()
    if hasattr(thing, "to_json"):
        return thing.to_json()
    raise InputError(
        f"JSON has no {type(thing).__name__}: {thing!r}. Give numbers, strings, lists, dicts or "
        "arrays, or an object with a method to_json."
    )


def _text(thing: Any, target: _Target) -> Facts:
    if isinstance(thing, list | tuple):
        thing = "".join(f"{line}\n" for line in thing)
    if not isinstance(thing, str):
        raise InputError(
            f"{_described(thing)} is no text: give a str or a list of lines, or save it as .json."
        )
    target.file.write(thing.encode("utf-8"))
    return {}


def _pickle(thing: Any, target: _Target) -> Facts:
    pickle.dump(thing, target.file)
    return {}


def _described(thing: Any) -> str:
    shape = getattr(thing, "shape", None)
    return f"{type(thing).__name__}" + ("" if shape is None else f" of shape {tuple(shape)}")


_WRITERS: dict[str, Callable[..., Facts]] = {
    **dict.fromkeys(PICTURES, _picture),
    **dict.fromkeys(TEXTS, _text),
    **dict.fromkeys(PICKLES, _pickle),
    **dict.fromkeys(STACKS, _tiff),
    ".gif": _video,
    ".mp4": _video,
    ".npy": _npy,
    ".npz": _npz,
    ".json": _json,
}
