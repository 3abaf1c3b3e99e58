"""Resizing and compositing pictures that are arrays (H, W, C)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from lucent.errors import InputError


def resize(
    image: np.ndarray,
    target_size: int | Sequence[int] | None = None,
    ratios: float | Sequence[float] | None = None,
    *,
    mode: str = "bicubic",
) -> np.ndarray:
    """Return a picture, or a batch of pictures, in another size, antialiased where it shrinks.

    Args:
        image: (H, W, C) or (B, H, W, C), any number of channels.
        target_size: height and width in pixels, one number for both.
        ratios: instead of the size, the factors of height and width, one number for both.
        mode: bicubic, which is sharper but goes a little beyond the range of the values at edges,
            or bilinear.

    Returns:
        A new array of the same rank and dtype, integers rounded.

    Raises:
        InputError: the array is no picture, the size has no pixel, or there is not exactly one of
            size and ratios.

    >>> resize(np.zeros((8, 6, 3)), ratios=0.5).shape
    (4, 3, 3)
    """
    _check_array(image)
    if image.ndim not in (3, 4) or image.dtype.kind not in "iuf" or image.size == 0:
        raise InputError(
            f"An array of shape {image.shape} and dtype {image.dtype} cannot be resized: expected "
            "(H, W, C) or (B, H, W, C), numbers. A grey picture is array[..., None]."
        )
    if mode not in ("bicubic", "bilinear"):
        raise InputError(f"mode={mode!r} is unknown: take 'bicubic' or 'bilinear'.")
    size = _size(image.shape[-3:-1], target_size, ratios)
    if size == image.shape[-3:-1]:
        return image.copy()
    batch = np.moveaxis(image if image.ndim == 4 else image[None], -1, 1)
    # Interpolation takes only some of NumPy's dtypes.
    tensor = torch.from_numpy(batch.astype("f8" if image.dtype.itemsize > 4 else "f4", order="C"))
    resized = F.interpolate(tensor, size, mode=mode, antialias=True)
    result = np.moveaxis(resized.numpy(), 1, -1)
    if image.dtype.kind in "iu":
        limits = np.iinfo(image.dtype)
        result = np.rint(np.clip(result, limits.min, limits.max))
    return (result if image.ndim == 4 else result[0]).astype(image.dtype)


def _check_array(image: Any) -> None:
    if not isinstance(image, np.ndarray):
        raise InputError(
            f"A {type(image).__name__} is no array (H, W, C): "
            "lucent.misc.io.pictures.channels_last makes one of a tensor or a picture of Pillow's."
        )


def _size(
    shape: tuple[int, ...],
    target_size: int | Sequence[int] | None,
    ratios: float | Sequence[float] | None,
) -> tuple[int, int]:
    if (target_size is None) == (ratios is None):
        raise InputError(
            f"target_size={target_size}, ratios={ratios}: give one of both, such as "
            "target_size=(224, 224) or ratios=0.5."
        )
    if target_size is not None:
        sides = _pair(target_size)
    else:
        sides = [round(side * ratio) for side, ratio in zip(shape, _pair(ratios), strict=True)]
    if min(sides) < 1 or any(side != int(side) for side in sides):
        raise InputError(f"No picture has {sides} as height and width: expected whole pixels.")
    return int(sides[0]), int(sides[1])


def _pair(value: Any) -> list[float]:
    numbers = np.ravel(value).tolist()
    if len(numbers) not in (1, 2):
        raise InputError(f"{value!r} is for height and width: give one number or two.")
    return numbers * 2 if len(numbers) == 1 else numbers


def composite(
    background_image: np.ndarray,
    foreground_image: np.ndarray,
    foreground_width_ratio: float = 0.25,
    foreground_position: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """Return a picture with another one, made smaller, on top of it.

    Args:
        background_image: (H, W, C), floats in [0, 1] or bytes.
        foreground_image: (h, w, C), or (h, w, C + 1) where the last channel is how opaque it is;
            of the same dtype. Its aspect ratio is kept.
        foreground_width_ratio: its width as a share of the background's, 0 leaves it out.
        foreground_position: where it is, as shares of the height and the width that it leaves free:
            (0, 0) is the upper left corner, (1, 1) the lower right one.

    Raises:
        InputError: the numbers of channels do not fit, the picture does not fit on the other, or a
            share is out of range.
    """
    _check_array(background_image)
    shares = (foreground_width_ratio, *foreground_position)
    if background_image.ndim != 3 or len(shares) != 3 or not all(0 <= n <= 1 for n in shares):
        raise InputError(
            f"A background of shape {background_image.shape} with a foreground of width "
            f"{foreground_width_ratio} at {foreground_position}: expected (H, W, C), and shares of "
            "the background from 0 to 1, two for the position."
        )
    result = background_image.copy()
    width = int(foreground_width_ratio * result.shape[1])
    if width < 1:
        return result
    height = max(1, round(width * foreground_image.shape[0] / foreground_image.shape[1]))
    # Bicubic interpolation would leave the range of colours.
    small = resize(foreground_image, (height, width), mode="bilinear")
    _check_fit(result, small)
    free = result.shape[0] - height, result.shape[1] - width
    y, x = (int(share * room) for share, room in zip(foreground_position, free, strict=True))
    place = result[y : y + height, x : x + width]
    channels = result.shape[2]
    if small.shape[2] > channels:
        whole = small.dtype == np.uint8
        opacity = small[..., channels:] / (255 if whole else 1)
        small = small[..., :channels] * opacity + place * (1 - opacity)
        small = np.rint(small) if whole else small
    place[...] = small
    return result


def _check_fit(background: np.ndarray, small: np.ndarray) -> None:
    channels = background.shape[2]
    fits = all(n <= room for n, room in zip(small.shape[:2], background.shape[:2], strict=True))
    if not fits or small.shape[2] - channels not in (0, 1) or small.dtype != background.dtype:
        raise InputError(
            f"A picture of shape {small.shape} and dtype {small.dtype} cannot be put onto one of "
            f"{background.shape} and {background.dtype}: expected at most its height and width, "
            f"{channels} channels or one more for the opacity, and the same dtype. Take a smaller "
            "foreground_width_ratio, or convert one."
        )


def soft_alpha_blend(
    image_with_alpha: np.ndarray, amount_background: float = 0.333, gamma: float = 2.2
) -> np.ndarray:
    """Return a transparent picture on white, with a faint copy of itself where it is transparent.

    Args:
        image_with_alpha: (..., H, W, 4), bytes, or floats of which what lies outside [0, 1] is
            clipped.
        amount_background: share of the picture's colour behind it, the rest is white.
        gamma: of the screen: light is the value to this power, and light is what adds up.

    Returns:
        (..., H, W, 3) in [0, 1].

    Raises:
        InputError: there is another number of channels.
    """
    _check_array(image_with_alpha)
    if image_with_alpha.shape[-1:] != (4,):
        raise InputError(
            f"A picture of shape {image_with_alpha.shape} has no transparency: expected four "
            "channels in the last axis."
        )
    is_bytes = image_with_alpha.dtype == np.uint8
    # There is no negative light.
    rgba = image_with_alpha / 255 if is_bytes else np.clip(image_with_alpha, 0, 1)
    rgb, alpha = rgba[..., :3], rgba[..., 3:]
    behind = amount_background * rgb + (1 - amount_background)
    return (alpha * rgb**gamma + (1 - alpha) * behind**gamma) ** (1 / gamma)
