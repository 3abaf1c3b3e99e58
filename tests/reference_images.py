"""NumPy twins of the parametrizations of space, from their definitions, in float64."""

from __future__ import annotations

import numpy as np
from reference import as_kept


def radial_frequencies(size):
    """Cycles per pixel of each coefficient of a real FFT over all axes."""
    *others, last = size
    counts = [*others, last // 2 + 1]
    grid = np.empty(counts)
    for k in np.ndindex(*counts):
        signed = [min(i, n - i) / n for i, n in zip(k, size, strict=True)]
        grid[k] = np.sqrt(sum(f * f for f in signed))
    return grid


def fft_image(coefficients, size, decay_power=1.0):
    """Image of coefficients (B, C, *half, 2) of any number of spatial axes."""
    frequencies = np.maximum(radial_frequencies(size), 1 / max(size))
    scale = as_kept(np.sqrt(np.prod(size)) / frequencies**decay_power)
    spectrum = scale * (coefficients[..., 0] + 1j * coefficients[..., 1])
    axes = tuple(range(2, 2 + len(size)))
    # The coefficients of the other half are the conjugates of these, but for the lowest and the
    # highest column of the last axis; there irfftn averages over the two of a pair.
    return np.fft.irfftn(spectrum, s=size, axes=axes) / 4


def resized(array, shape):
    """Linear interpolation along every axis, first and last elements aligned."""
    for axis, n_out in enumerate(shape):
        n_in = array.shape[axis]
        at = np.linspace(0, n_in - 1, n_out) if n_out > 1 else np.zeros(1)
        array = np.apply_along_axis(
            lambda line, at=at, n_in=n_in: np.interp(at, np.arange(n_in), line), axis, array
        )
    return array


def lowres(underlying, shape, offset):
    """Resized, then padded in front by its mirror image and cropped back, as in Lucid."""
    padded = np.pad(resized(underlying, shape), [(n, 0) for n in offset], mode="symmetric")
    return padded[tuple(slice(n) for n in shape)]


def sampled(texture, uv):
    """Texture (C, H, W) at points (H', W', 2), bilinear, repeated, v upwards as in OpenGL."""
    n_channels, height, width = texture.shape
    out = np.zeros((n_channels, *uv.shape[:2]))
    for row, column in np.ndindex(*uv.shape[:2]):
        u, v = uv[row, column]
        x, y = u * width - 0.5, (1 - v) * height - 0.5
        left, top = int(np.floor(x)), int(np.floor(y))
        for i, j in ((left, top), (left + 1, top), (left, top + 1), (left + 1, top + 1)):
            weight = (1 - abs(x - i)) * (1 - abs(y - j))
            out[:, row, column] += weight * texture[:, j % height, i % width]
    return out
