"""The maths that parametrizations and models share: frequency grids and colour statistics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Square root of the covariance of RGB values over natural images, as Lucid gives it.
COLOR_CORRELATION_SVD_SQRT = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))


def rfft2d_freqs(h: int, w: int) -> np.ndarray:
    """Return the radial frequency of every coefficient of a real 2-D FFT.

    Args:
        h: height in pixels.
        w: width in pixels.

    Returns:
        (h, w // 2 + 1) in cycles per pixel.

    >>> rfft2d_freqs(4, 5).shape
    (4, 3)
    """
    return np.hypot(np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None, :])


def fft_scale(h: int, w: int, decay_power: float = 1.0) -> np.ndarray:
    """Return the factor of every coefficient that makes white noise 1/f^decay_power noise.

    Args:
        h: height in pixels.
        w: width in pixels.
        decay_power: 0 for white noise, 1 for the amplitudes of natural images.

    Returns:
        (h, w // 2 + 1), sqrt(h w) / max(f, 1 / max(h, w))^decay_power.

    Source: Mordvintsev et al. 2018, Differentiable Image Parameterizations
    (https://distill.pub/2018/differentiable-parameterizations).
    """
    frequencies = np.maximum(rfft2d_freqs(h, w), 1.0 / max(h, w))
    return np.sqrt(h * w) / frequencies**decay_power


def contrast_gain(h: int, w: int, decay_power: float) -> float:
    """Return the factor that gives 1/f^decay_power noise the contrast of 1/f noise.

    `fft_scale` grows with the power at every frequency, since they are all below one cycle per
    pixel. Without the factor a steeper spectrum would take larger steps, too, and saturate.

    Args:
        h: height in pixels.
        w: width in pixels.
        decay_power: of the noise.

    >>> contrast_gain(96, 96, 1.0)
    1.0
    """
    return _contrast(h, w, 1.0) / _contrast(h, w, decay_power)


def _contrast(h: int, w: int, decay_power: float) -> float:
    """Return the standard deviation over pixels that `fft_scale` gives, up to a constant."""
    power = fft_scale(h, w, decay_power) ** 2
    power[0, 0] = 0  # the mean is no contrast
    # A column and its mirror image add up in a real image; these two are their own mirror images.
    single = power[:, 0].sum() + (power[:, -1].sum() if w % 2 == 0 else 0)
    return float(np.sqrt(4 * power.sum() - 3 * single)) if power.any() else 1.0


def normalized_color_matrix(color_matrix: Sequence[Sequence[float]]) -> np.ndarray:
    """Return a colour matrix divided by its largest column norm."""
    matrix = np.asarray(color_matrix, dtype=np.float64)
    return matrix / np.linalg.norm(matrix, axis=0).max()
