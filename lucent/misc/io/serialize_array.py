"""From arrays to the bytes of picture files, and to JavaScript."""

from __future__ import annotations

import base64
import io

import numpy as np

from lucent.errors import InputError, suggestion
from lucent.misc.io.pictures import (
    Picture,
    channels_last,
    checked_interval,
    to_bytes,
    to_pil,
)

#: The dtypes for which JavaScript has an array.
JS_ARRAY_TYPES = frozenset(
    {"int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64"}
)

#: Pillow's names of the formats.
_FORMATS = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP", "gif": "GIF"}


def format_name(fmt: str) -> str:
    """Return Pillow's name of a format.

    Raises:
        InputError: there is no such format.

    >>> format_name("jpg")
    'JPEG'
    """
    if (name := _FORMATS.get(fmt.lower())) is None:
        raise InputError(
            f"fmt={fmt!r} is no format of pictures: take one of {', '.join(_FORMATS)}. "
            f"{suggestion(fmt, _FORMATS)}".rstrip()
        )
    return name


def serialize_array(
    array: Picture, domain: tuple[float, float] | None = (0, 1), fmt: str = "png", quality: int = 70
) -> bytes:
    """Return the file of a picture.

    Args:
        array: (H, W), (H, W, C) or (1, H, W, C) with C = 1, 3 or 4, a tensor (C, H, W) or
            (1, C, H, W), or Pillow's.
        domain: the values that become black and white, None for the smallest and the largest; bytes
            are taken as they are unless it is another interval than (0, 1).
        fmt: png, jpg, webp or gif.
        quality: of a jpg or a webp, 0 to 100.

    Raises:
        InputError: it is no picture, or the format is unknown or cannot hold it.
    """
    return _serialize_normalized_array(_normalize_array(array, domain), fmt, quality)


def _normalize_array(array: Picture, domain: tuple[float, float] | None = (0, 1)) -> np.ndarray:
    """Return a picture as bytes, (H, W) or (H, W, C); the one given stays as it is."""
    picture = channels_last(array)
    while picture.ndim > 3 and picture.shape[0] == 1:
        picture = picture[0]
    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = picture[..., 0]
    return in_bytes(picture, domain)


def in_bytes(array: np.ndarray, domain: tuple[float, float] | None) -> np.ndarray:
    """Return an array of any shape as a new one of bytes: low becomes 0, high 255.

    Args:
        array: real numbers; bytes are taken as they are unless the domain is another interval than
            (0, 1).
        domain: low and high; None for the smallest and the largest value.

    Raises:
        InputError: there are no values, they are not real numbers, or the domain is empty.
    """
    if array.dtype.kind not in "biuf" or array.size == 0:
        raise InputError(
            f"An array of shape {array.shape} and dtype {array.dtype} is no picture: expected at "
            "least one real number."
        )
    if array.dtype == np.uint8 and (domain is None or tuple(domain) == (0, 1)):
        return array.copy()
    # Differences of bytes wrap, and those of half precision overflow.
    array = array.astype(np.result_type(array.dtype, np.float32))
    limits = (array.min(), array.max()) if domain is None else tuple(domain)
    if domain is None and limits[0] == limits[1]:  # what has no contrast is black
        limits = limits[0], limits[0] + 1
    low, high = checked_interval(limits)
    return to_bytes((array - low) / (high - low))


def data_url(data: bytes, fmt: str) -> str:
    """Return the file of a picture as an address that a page can show."""
    return f"data:image/{format_name(fmt)};base64,{base64.b64encode(data).decode('ascii')}"


def _serialize_normalized_array(array: np.ndarray, fmt: str = "png", quality: int = 70) -> bytes:
    """Return the file of a picture of bytes."""
    picture, buffer, name = to_pil(array), io.BytesIO(), format_name(fmt)
    try:
        picture.save(buffer, format=name, quality=quality)
    except OSError as error:
        raise InputError(
            f"A {picture.mode} picture cannot be a {fmt} ({error}): take fmt='png'."
        ) from error
    return buffer.getvalue()


def array_to_jsbuffer(array: np.ndarray) -> str:
    """Return a JavaScript expression that makes a typed array with the same numbers.

    Args:
        array: of rank 1, its dtype one of `JS_ARRAY_TYPES`.

    Raises:
        TypeError: the rank or the dtype is another.

    >>> array_to_jsbuffer(np.array([1, 2], np.uint8))
    'new Uint8Array(Uint8Array.from(atob("AQI="), (c) => c.charCodeAt(0)).buffer)'
    """
    if array.ndim != 1:
        raise TypeError(
            f"A JavaScript array has one axis, got the shape {array.shape}: give array.ravel()."
        )
    if array.dtype.name not in JS_ARRAY_TYPES:
        raise TypeError(
            f"JavaScript has no array of {array.dtype.name}: convert it with array.astype to one "
            f"of {', '.join(sorted(JS_ARRAY_TYPES))}."
        )
    # Browsers run on little-endian machines.
    data = array.astype(array.dtype.newbyteorder("<")).tobytes()
    encoded = base64.b64encode(data).decode("ascii")
    kind = array.dtype.name.capitalize() + "Array"
    return f'new {kind}(Uint8Array.from(atob("{encoded}"), (c) => c.charCodeAt(0)).buffer)'
