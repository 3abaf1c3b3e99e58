"""From arrays to picture files."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from lucent.errors import InputError
from lucent.util import atomic_write

#: Pillow's name of the kind of picture by number of channels.
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def to_pil(array: np.ndarray) -> Image.Image:
    """Return a picture of an array; values outside [0, 1] are clipped, bytes taken as they are.

    Args:
        array: (H, W) or (H, W, C) with C = 1 (grey), 3 (RGB) or 4 (RGBA), floats in [0, 1] or
            uint8.

    Raises:
        InputError: the shape is none of these, or a value is NaN.
    """
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in _MODES:
        raise InputError(
            f"An array of shape {array.shape} is no picture: expected (H, W) or (H, W, C) with C "
            "= 1, 3 or 4. Pick three channels, for example array[..., :3]."
        )
    if array.dtype != np.uint8:
        if not np.issubdtype(array.dtype, np.floating):
            raise InputError(
                f"A picture of {array.dtype} has no known range: give floats in [0, 1], or bytes "
                "with array.astype(np.uint8)."
            )
        if np.isnan(array).any():
            raise InputError(
                "The picture has NaN values, which have no colour: numpy.nan_to_num(array) makes "
                "them black."
            )
        array = np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)
    mode = _MODES[array.shape[2]]
    return Image.fromarray(array[..., 0] if mode == "L" else array, mode=mode)


def tiled(
    images: np.ndarray | Sequence[np.ndarray], columns: int | None = None, *, gap: int = 0
) -> np.ndarray:
    """Return a batch of pictures as one, row by row.

    Args:
        images: (B, H, W, C), or as many arrays of one shape.
        columns: pictures in a row; None puts all in one.
        gap: white pixels between them.

    Returns:
        (H', W', C) of the dtype given.
    """
    shapes = [picture.shape for picture in images]
    if len(set(shapes)) != 1 or len(shapes[0]) != 3:
        raise InputError(
            "A sheet takes at least one picture, all (H, W, C) of one shape; got "
            f"{sorted(set(shapes))}."
        )
    batch = np.stack(list(images))
    columns = len(batch) if columns is None else columns
    if columns < 1:
        raise InputError(f"columns={columns}: a row holds at least one picture.")
    count, height, width, channels = batch.shape
    rows = -(-count // columns)
    white = 255 if batch.dtype == np.uint8 else 1
    shape = (rows * (height + gap) - gap, min(columns, count) * (width + gap) - gap, channels)
    sheet = np.full(shape, white, dtype=batch.dtype)
    for n, picture in enumerate(batch):
        y, x = (n // columns) * (height + gap), (n % columns) * (width + gap)
        sheet[y : y + height, x : x + width] = picture
    return sheet


def png(array: np.ndarray) -> bytes:
    """Return the PNG file of a picture; see `to_pil` for the array."""
    buffer = io.BytesIO()
    to_pil(array).save(buffer, format="PNG")
    return buffer.getvalue()


def save_picture(array: np.ndarray, path: str | os.PathLike[str]) -> None:
    """Write a picture; the file appears when it is complete.

    Args:
        array: see `to_pil`.
        path: its ending chooses the format: .png is exact, .jpg and .webp are smaller.

    Raises:
        InputError: the ending is unknown, or the format cannot hold such a picture.
    """
    picture = to_pil(array)
    with atomic_write(path) as temporary:
        try:
            picture.save(temporary, **_options(temporary.suffix))
        except (ValueError, OSError) as error:
            raise InputError(
                f"A {picture.mode} picture cannot be written as {os.fspath(path)!r} ({error}). "
                "Use the ending .png."
            ) from error


def _options(suffix: str) -> dict[str, Any]:
    # Pillow's default of 75 leaves visible blocks in the fine texture that these pictures are made
    # of.
    return {"quality": 95} if suffix.lower() in (".jpg", ".jpeg", ".webp") else {}
