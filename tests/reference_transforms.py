"""NumPy twins of the transforms: what each does with a given draw, written from its definition."""

from __future__ import annotations

import math

import numpy as np


def random_crop(image: np.ndarray, place: tuple[float, ...], size: tuple[int, ...]) -> np.ndarray:
    """`place` is (x, y) or (x, y, z), from 0 to 1, of the room there is."""
    for number, (part, n) in enumerate(zip(place, reversed(size), strict=True)):
        axis = image.ndim - 1 - number
        first = math.floor(part * (image.shape[axis] - n + 1))
        image = image.take(range(first, first + n), axis)
    return image


def crop_or_pad_to(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """TensorFlow's rule: a central crop, then a central pad, both rounded down at the start."""
    for axis, n in ((-2, height), (-1, width)):
        too_many = max(0, image.shape[axis] - n)
        image = image.take(
            range(too_many // 2, image.shape[axis] - (too_many - too_many // 2)), axis
        )
        missing = n - image.shape[axis]
        widths = [(0, 0)] * image.ndim
        widths[axis] = (missing // 2, missing - missing // 2)
        image = np.pad(image, widths)
    return image


def sampled(image: np.ndarray, x: np.ndarray, y: np.ndarray, fill: float | None) -> np.ndarray:
    """Bilinear samples of (B, C, H, W) at positions from the first pixel; no fill repeats the edge.

    Args:
        image: (B, C, H, W).
        x: columns, (H', W').
        y: rows, (H', W').
        fill: value outside.
    """
    height, width = image.shape[-2:]
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    total = np.zeros((*image.shape[:2], *x.shape))
    for u in (left, left + 1):
        for v in (top, top + 1):
            inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
            values = image[..., v.clip(0, height - 1), u.clip(0, width - 1)]
            if fill is not None:
                values = np.where(inside, values, fill)
            total += (1 - abs(x - u)) * (1 - abs(y - v)) * values
    return total


def random_scale(image: np.ndarray, scale: float) -> np.ndarray:
    """Triangular filters, wider where the image shrinks; a smaller picture is centred on zeros."""
    own = image.shape[2:]
    size = [math.ceil(n * scale - 1e-6) for n in own]
    for axis, n in zip((2, 3), size, strict=True):
        before = image.shape[axis]
        centre = (np.arange(n) + 0.5) * before / n - 0.5
        distance = np.abs(np.arange(before) - centre[:, None]) / max(1.0, before / n)
        weights = np.maximum(0, 1 - distance)
        weights /= weights.sum(axis=1, keepdims=True)
        image = np.moveaxis(np.tensordot(weights, image, (1, axis)), 0, axis)
    return crop_or_pad_to(image, *(max(n, m) for n, m in zip(own, size, strict=True)))


def positions(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows of an output, counted from the first pixel."""
    y, x = np.mgrid[: size[0], : size[1]].astype(float)
    return x, y


def turned(x: np.ndarray, y: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Where a picture that is turned counter-clockwise, with y downwards, takes (x, y) from."""
    point = (x + 1j * y) * np.exp(1j * np.radians(degrees))
    return point.real, point.imag


def homography(image: np.ndarray, draw: np.ndarray, fill: float | None = 0.0) -> np.ndarray:
    """`draw`: shift, angle, direction of shears, shears, perspective, last shift."""
    size = image.shape[-2:]
    first, angle, direction = draw[:2], draw[2], draw[3]
    shear, tilt, last = draw[4:6], draw[6:8], draw[8:]
    x, y = positions(size)
    x, y = x - (size[1] - 1) / 2 + first[0], y - (size[0] - 1) / 2 + first[1]
    x, y = turned(*turned(x, y, angle), -direction)
    x, y = turned(x + shear[0] * y, y + shear[1] * x, direction)
    scale = 1 + tilt[0] * x + tilt[1] * y
    x, y = x / scale + last[0], y / scale + last[1]
    return sampled(image, x + (size[1] - 1) / 2, y + (size[0] - 1) / 2, fill)


def box_crop(image: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """`draw`: side and centre (x, y) as parts of the image's."""
    side, centre_x, centre_y = draw
    height, width = image.shape[-2:]
    x, y = positions((height, width))
    # Pixel edges, not centres, are what the parts of the image's side refer to.
    x = (centre_x - side / 2) * width + side * (x + 0.5) - 0.5
    y = (centre_y - side / 2) * height + side * (y + 0.5) - 0.5
    return sampled(image, x, y, None)


def gaussian_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    def blurred(line: np.ndarray) -> np.ndarray:
        place = np.arange(len(line))
        weights = [np.exp(-(((place - i) / sigma) ** 2) / 2) for i in place]
        return np.array([np.sum(w * line) / np.sum(w) for w in weights])

    for axis in range(2, image.ndim):
        image = np.apply_along_axis(blurred, axis, image)
    return image


def contrast(image: np.ndarray, factor: float) -> np.ndarray:
    mean = image.mean(axis=tuple(range(2, image.ndim)), keepdims=True)
    return factor * image + (1 - factor) * mean


def chroma(image: np.ndarray, factor: complex) -> np.ndarray:
    """Colour differences I + iQ times a number; luma and what is beyond RGB as they were."""
    red, green, blue, *rest = np.moveaxis(image, 1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    i = 0.5959 * red - 0.2746 * green - 0.3213 * blue
    q = 0.2115 * red - 0.5227 * green + 0.3112 * blue
    turned_ = (i + 1j * q) * factor
    to_yiq = np.array(
        [[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]]
    )
    yiq = np.stack([luma, turned_.real, turned_.imag])
    rgb = np.linalg.solve(to_yiq, yiq.reshape(3, -1)).reshape(yiq.shape)
    return np.moveaxis(np.stack([*rgb, *rest]), 0, 1)


def color_jitter(image: np.ndarray, mean: np.ndarray, log_std: np.ndarray) -> np.ndarray:
    shape = (1, -1, *[1] * (image.ndim - 2))
    return (image - mean.reshape(shape)) / np.exp(log_std.reshape(shape))


def collapsed(image: np.ndarray, background: np.ndarray) -> np.ndarray:
    rgb, alpha = image[:, :3], image[:, 3:4]
    return rgb * alpha + background * (1 - alpha)


def natural(parts: np.ndarray, size: tuple[int, int], decay_power: float = 1.0) -> np.ndarray:
    """Noise of normal coefficients (..., H, W // 2 + 1, 2)."""
    y, x = np.fft.fftfreq(size[0])[:, None], np.arange(size[1] // 2 + 1) / size[1]
    frequency = np.maximum(np.sqrt(y**2 + x**2), 1 / max(size))
    scale = math.sqrt(size[0] * size[1]) / frequency**decay_power
    return np.fft.irfft2(scale * (parts[..., 0] + 1j * parts[..., 1]), s=size) / 4
