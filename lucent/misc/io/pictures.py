"""From arrays, tensors and Pillow's images to pictures, sheets of pictures and files of them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from itertools import chain
from typing import IO, Any, Literal, get_args

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from lucent.errors import InputError
from lucent.misc.io.collapse_channels import collapse_channels, collapse_image
from lucent.util import atomic_write

#: What a picture may be given as.
Picture = np.ndarray | torch.Tensor | Image.Image

#: The values that become black and white; None for the smallest and the largest.
Domain = tuple[float, float] | None
#: How channels are shown: as colours by hue, or each as a grey picture.
Channels = Literal["hue", "tiles"]

# Grey, RGB, RGBA.
_CHANNELS = (1, 3, 4)
_TEXT_HEIGHT = 14  # pixels: Pillow's default font is 10 high, and letters reach below the line


def channels_last(picture: Picture) -> np.ndarray:
    """Return a picture, or a batch of pictures, as an array whose last axis is the channels.

    Args:
        picture: an array, which is returned as it is; a tensor (C, H, W), (B, C, H, W) or
            (B, C, D, H, W), any other rank as it is; or Pillow's, which becomes bytes (H, W),
            (H, W, 3) or (H, W, 4), with more than 8 bits floats (H, W), from 16 bits in [0, 1].

    Raises:
        InputError: it is none of these.
    """
    if isinstance(picture, Image.Image):
        return _of_pil(picture)
    if isinstance(picture, np.ndarray):
        return picture
    if not isinstance(picture, torch.Tensor):
        raise InputError(
            f"A {type(picture).__name__} is no picture: expected an array (H, W, C), a tensor "
            "(C, H, W) or a picture of Pillow's."
        )
    array = as_numpy(picture)
    return np.moveaxis(array, 0 if array.ndim == 3 else 1, -1) if array.ndim > 2 else array


def as_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor of any device as an array, float32 for bfloat16, which NumPy lacks."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def pictures_of(thing: Any) -> list[np.ndarray]:
    """Return the pictures and volumes that a thing consists of, none if it is something else.

    Args:
        thing: a picture or a batch as `channels_last` takes them, or a list of these, however deep.
            An array of rank 3 is one picture, of rank 4 a batch, of rank 5 a batch of volumes
            (B, D, H, W, C).
    """
    if isinstance(thing, list | tuple):
        parts = [pictures_of(part) for part in thing]
        return list(chain.from_iterable(parts)) if all(parts) else []
    if isinstance(thing, Image.Image):
        return [channels_last(thing)]
    if not isinstance(thing, np.ndarray | torch.Tensor) or thing.ndim not in (2, 3, 4, 5):
        return []
    array = channels_last(thing)
    if array.dtype.kind not in "biuf" or array.size == 0:
        return []
    return [array] if array.ndim < 4 else list(array)


def _of_pil(picture: Image.Image) -> np.ndarray:
    if picture.mode == "F":
        return np.asarray(picture)
    if picture.mode.startswith("I"):  # 16 bits, the kind of integers in picture files
        return np.asarray(picture).astype(np.float32) / 65535
    if picture.has_transparency_data:
        return np.asarray(picture.convert("RGBA"))
    return np.asarray(picture.convert("L" if picture.mode in ("1", "L") else "RGB"))


def coloured(
    array: np.ndarray,
    domain: Domain = (0, 1),
    channels: Channels | None = None,
    *,
    image: bool | None = None,
) -> np.ndarray:
    """Return an array (..., H, W, C) as pictures: other than 1, 3 or 4 channels become colours.

    Args:
        array: an image, for which 0.5 in all channels is grey (see `collapse_image`), or
            activations, for which 0 is black (see `collapse_channels`), darkened where they would
            be too bright.
        domain: the values that count as 0 and 1; None is for activations of any size. Bytes count
            as 0 to 1 from 0 to 255, unless the domain is another interval than (0, 1).
        channels: "hue" makes colours of any number, "tiles" a grey picture for each channel side by
            side; None is as above.
        image: whether it is an image; None takes for one what lies within the domain and has its
            mean nearer to the middle of it than to the lower end.

    Returns:
        (..., H', W', 1, 3 or 4), in the domain given.

    Raises:
        InputError: there is no such way to show channels, or the domain is empty.
    """
    if channels not in (None, *get_args(Channels)):
        raise InputError(
            f"channels={channels!r} is unknown: it is 'hue', 'tiles', or None for colours where "
            "there are other than 1, 3 or 4 channels."
        )
    if array.ndim < 3 or (channels is None and array.shape[-1] in _CHANNELS):
        return array
    if array.dtype == np.uint8 and (domain is None or tuple(domain) == (0, 1)):
        array = array / 255
        domain = domain or (0, 1)
    if channels == "tiles":
        return _channel_tiles(array, domain)
    if domain is None:
        return collapse_channels(array)
    low, high = checked_interval(domain)
    values = (array - low) / (high - low)
    if _is_image(values) if image is None else image:
        return low + (high - low) * collapse_image(values)
    colours = collapse_channels(values)
    return low + (high - low) * colours / max(1.0, colours.max(initial=0))


def checked_interval(limits: Sequence[float]) -> Sequence[float]:
    """Return two numbers in ascending order.

    Raises:
        InputError: they are not.
    """
    if len(limits) != 2 or not (np.isfinite(limits).all() and limits[0] < limits[1]):
        raise InputError(
            f"The domain ({', '.join(map(str, limits))}) is no interval: give two finite numbers, "
            "the smaller first, such as domain=(0, 1), and an array without NaN and infinite "
            "values."
        )
    return limits


def _is_image(values: np.ndarray) -> bool:
    return bool(values.size and values.min() >= 0 and values.max() <= 1 and values.mean() > 1 / 4)


def _channel_tiles(array: np.ndarray, domain: Domain) -> np.ndarray:
    """Return the channels of (..., H, W, C) side by side, (..., H', W', 1)."""
    if array.ndim > 3:
        return np.stack([_channel_tiles(one, domain) for one in array])
    planes = np.moveaxis(array, -1, 0)[..., None]
    high = array.max() if domain is None else domain[1]
    return tiled(planes, _near_square(len(planes)), gap=1, white=high)


def to_pil(array: Picture) -> Image.Image:
    """Return a picture as Pillow's; values outside [0, 1] are clipped, bytes taken as they are.

    Args:
        array: (H, W) or (H, W, C) with C = 1 (grey), 3 (RGB) or 4 (RGBA), or a tensor (C, H, W);
            floats in [0, 1], uint8 or bool.

    Raises:
        InputError: the shape is none of these, or a value is NaN.
    """
    array = channels_last(array)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in _CHANNELS:
        remedy = (
            "Pick three channels, for example array[..., :3], or make colours of all with "
            "lucent.misc.io.collapse_channels.collapse_channels(array)."
            if array.ndim == 3
            else "Take one of several, array[0], or lay them out with "
            "lucent.misc.io.pictures.contact_sheet(array)."
        )
        raise InputError(
            f"An array of shape {array.shape} is no picture: expected (H, W) or (H, W, C) with C "
            f"= 1, 3 or 4. {remedy}"
        )
    array = to_bytes(array)
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def to_bytes(array: np.ndarray) -> np.ndarray:
    """Return floats in [0, 1] as bytes, rounded, what lies outside clipped; bytes as they are.

    Of booleans, True is white.

    Raises:
        InputError: a value is NaN, or the numbers are integers other than uint8.
    """
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array * np.uint8(255)
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
    return np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)


def over_white(picture: Image.Image) -> Image.Image:
    """Return a picture as RGB, on white where it is transparent."""
    if picture.mode != "RGBA":
        return picture.convert("RGB")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def tiled(
    images: np.ndarray | Sequence[np.ndarray],
    columns: int | None = None,
    *,
    gap: int = 0,
    white: float | None = None,
) -> np.ndarray:
    """Return a batch of pictures as one, row by row.

    Args:
        images: (B, H, W, C), or as many arrays of one shape; of volumes (D, H, W, C), the slices
            of each are laid out in a square first, a pixel apart.
        columns: pictures in a row; None puts all in one.
        gap: white pixels between them.
        white: value of these; None is 1, of bytes 255.

    Returns:
        (H', W', C) of the dtype given.
    """
    shapes = [picture.shape for picture in images]
    if len(set(shapes)) != 1 or len(shapes[0]) not in (3, 4):
        raise InputError(
            "A sheet takes at least one picture, all (H, W, C) of one shape; got "
            f"{sorted(set(shapes))}."
        )
    if len(shapes[0]) == 4:
        images = [tiled(volume, _near_square(len(volume)), gap=1) for volume in images]
    batch = np.stack(list(images))
    columns = len(batch) if columns is None else columns
    if columns < 1 or gap < 0:
        raise InputError(
            f"columns={columns}, gap={gap}: a row holds at least one picture, and the gap between "
            "two has 0 pixels or more."
        )
    count, height, width, channels = batch.shape
    rows = -(-count // columns)
    if white is None:
        white = 255 if batch.dtype == np.uint8 else 1
    shape = (rows * (height + gap) - gap, min(columns, count) * (width + gap) - gap, channels)
    sheet = np.full(shape, white, dtype=batch.dtype)
    for n, picture in enumerate(batch):
        y, x = (n // columns) * (height + gap), (n % columns) * (width + gap)
        sheet[y : y + height, x : x + width] = picture
    return sheet


def side_by_side(
    images: np.ndarray, columns: int | None = None, *, channels: Channels | None = None
) -> np.ndarray:
    """Return a batch of images as one picture.

    Args:
        images: (B, H, W, C), or (B, D, H, W, C), whose slices are laid out in a square; in [0, 1].
        columns: images in a row; None puts all in one.
        channels: see `coloured`.

    Returns:
        (H', W', C') with C' = 1, 3 or 4.

    Raises:
        InputError: they are no batch.
    """
    if images.ndim not in (4, 5):
        raise InputError(
            f"An array of shape {images.shape} is no batch of images (B, H, W, C) or volumes "
            "(B, D, H, W, C): put a single one into a batch with array[None]."
        )
    each = [coloured(one, channels=channels, image=True) for one in images]
    # What is a sheet itself must not run into the next one.
    return tiled(each, columns, gap=4 if images.ndim > 4 or channels == "tiles" else 0)


def through_depth(volumes: np.ndarray) -> np.ndarray:
    """Return the slices of volumes as the pictures of an animation, the batch side by side.

    Args:
        volumes: (B, D, H, W, C).

    Returns:
        (D, H, B * W, C).

    Raises:
        InputError: they are no volumes.

    >>> through_depth(np.zeros((2, 5, 8, 8, 3))).shape
    (5, 8, 16, 3)
    """
    if volumes.ndim != 5:
        raise InputError(
            f"An array of shape {volumes.shape} is no batch of volumes (B, D, H, W, C): put a "
            "single one into a batch with array[None]."
        )
    return np.concatenate([*volumes], axis=2)


def contact_sheet(
    images: Picture | Sequence[Picture],
    captions: Sequence[Any] | None = None,
    *,
    columns: int | None = None,
    width: int | None = None,
    gap: int = 4,
) -> np.ndarray:
    """Return pictures of any sizes as one on white, in rows, with a line of text under each.

    Args:
        images: a batch (B, H, W, C), a tensor (B, C, H, W), or a list of pictures; floats in
            [0, 1] or bytes.
        captions: a line for each, cut where it is longer than its picture is wide; None leaves no
            room for any.
        columns: pictures in a row; None makes the sheet about square.
        width: of each picture on the sheet, in pixels, its aspect ratio kept; None is its own.
        gap: white pixels between pictures.

    Returns:
        (H', W', 3), uint8; `save` writes it.

    Raises:
        InputError: there is another number of captions than of pictures, none at all, or no size
            of that kind.

    >>> contact_sheet(np.zeros((3, 8, 8, 3)), columns=2, gap=4).shape
    (20, 20, 3)
    """
    arrays = [coloured(one) for one in pictures_of(images)]
    arrays = [tiled([one]) if one.ndim > 3 else one for one in arrays]
    pictures = [_fitted(over_white(to_pil(array)), width) for array in arrays]
    if captions is not None and len(captions) != len(pictures):
        raise InputError(f"There are {len(pictures)} pictures but {len(captions)} captions.")
    if not pictures:
        raise InputError(
            "A contact sheet takes at least one picture, as an array (H, W, C) or a tensor (C, H, "
            f"W); got {type(images).__name__} without any."
        )
    size = tuple(max(picture.size[axis] for picture in pictures) for axis in (0, 1))
    lines = [None] * len(pictures) if captions is None else [str(line) for line in captions]
    tiles = [_tile(*pair, size) for pair in zip(pictures, lines, strict=True)]
    return tiled(tiles, _near_square(len(tiles)) if columns is None else columns, gap=gap)


def _near_square(count: int) -> int:
    return math.ceil(math.sqrt(count))


def _fitted(picture: Image.Image, width: int | None) -> Image.Image:
    if width is None or width == picture.width:
        return picture
    if width < 1:
        raise InputError(f"width={width}: a picture on a sheet is at least a pixel wide.")
    height = max(1, round(picture.height * width / picture.width))
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def _tile(picture: Image.Image, line: str | None, size: tuple[int, ...]) -> np.ndarray:
    width, height = size
    tile = Image.new("RGB", (width, height + (_TEXT_HEIGHT if line is not None else 0)), "white")
    tile.paste(picture)
    if line is not None:
        text = _cut(" ".join(line.split()), width - 2)
        ImageDraw.Draw(tile).text((1, picture.height + 1), text, fill="black")
    return np.asarray(tile)


def _cut(text: str, width: int) -> str:
    font, short = ImageFont.load_default(), text
    while short and font.getlength(text if short == text else short + "...") > width:
        short = short[:-1]
    return text if short == text else short + "..."


def save_picture(array: Picture, path: str | os.PathLike[str]) -> None:
    """Write a picture; the file appears when it is complete.

    Args:
        array: see `to_pil`.
        path: its ending chooses the format: .png is exact, .jpg and .webp are smaller.

    Raises:
        InputError: the ending is unknown, or the format cannot hold such a picture.
    """
    picture = to_pil(array)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        write_picture(picture, file, temporary.suffix)


def write_picture(picture: Image.Image, file: IO[bytes], ending: str, **options: Any) -> None:
    """Write a picture to an open file.

    Args:
        picture: any that the format can hold.
        file: open for writing.
        ending: chooses the format.
        options: of Pillow's writer of the format, such as quality, which is 95 unless given.

    Raises:
        InputError: the ending is unknown, or the format cannot hold such a picture.
    """
    fmt = Image.registered_extensions().get(ending.lower())
    try:
        if fmt is None:
            raise ValueError(f"unknown file extension: {ending}")
        # Pillow's default of 75 leaves visible blocks in the fine texture that these pictures are
        # made of.
        picture.save(file, fmt, **{"quality": 95, **options})
    except (ValueError, OSError) as error:
        raise InputError(
            f"A {picture.mode} picture cannot be written as {ending or 'a file without ending'} "
            f"({error}). Use the ending .png."
        ) from error
