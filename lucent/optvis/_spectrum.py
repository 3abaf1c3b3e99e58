"""The maths that siblings share: frequency grids, colour statistics, natural noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from lucent.errors import InputError
from lucent.util import constant, without_autocast

#: Rows of numbers, C x C: the square root of a colour covariance.
ColorMatrix = Sequence[Sequence[float]] | np.ndarray
#: Square root of the covariance of RGB values over natural images, as Lucid gives it.
COLOR_CORRELATION_SVD_SQRT = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))


def radial_frequencies(size: Sequence[int]) -> np.ndarray:
    """Return the distance from zero of the frequency of every coefficient of a real FFT.

    Args:
        size: pixels along each axis.

    Returns:
        (*size[:-1], size[-1] // 2 + 1) in cycles per pixel.

    >>> radial_frequencies((2, 4, 5)).shape
    (2, 4, 3)
    """
    axes = [*map(np.fft.fftfreq, size[:-1]), np.fft.rfftfreq(size[-1])]
    return reduce(np.hypot, np.ix_(*axes))


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
    return radial_frequencies((h, w))


def spectrum_scale(size: Sequence[int], decay_power: float = 1.0) -> np.ndarray:
    """Return the factor of every coefficient that makes white noise 1/f^decay_power noise.

    Args:
        size: pixels along each axis.
        decay_power: 0 for white noise, 1 for the amplitudes of natural images.

    Returns:
        (*size[:-1], size[-1] // 2 + 1), sqrt(n pixels) / max(f, 1 / max(size))^decay_power.

    Raises:
        InputError: the power is not finite.

    Source: Mordvintsev et al. 2018, Differentiable Image Parameterizations
    (https://distill.pub/2018/differentiable-parameterizations).
    """
    if not math.isfinite(decay_power):
        raise InputError(f"decay_power={decay_power} has to be a finite number; 1 is natural.")
    frequencies = np.maximum(radial_frequencies(size), 1.0 / max(size))
    return math.sqrt(math.prod(size)) / frequencies**decay_power


def fft_scale(h: int, w: int, decay_power: float = 1.0) -> np.ndarray:
    """Return `spectrum_scale` of a picture, (h, w // 2 + 1)."""
    return spectrum_scale((h, w), decay_power)


def contrast_gain(size: Sequence[int], decay_power: float) -> float:
    """Return the factor that gives 1/f^decay_power noise the contrast of natural noise.

    That is 1/f in a picture and 1/f^1.5 in a volume, whose planes then fall with 1/f.
    `spectrum_scale` grows with the power at every frequency, since they are all below one cycle per
    pixel. Without the factor a steeper spectrum would take larger steps, too, and saturate.

    Args:
        size: pixels along each axis.
        decay_power: of the noise.

    >>> contrast_gain((96, 96), 1.0)
    1.0
    """
    return _contrast(size, len(size) / 2) / _contrast(size, decay_power)


def _contrast(size: Sequence[int], decay_power: float) -> float:
    """Return the standard deviation over pixels that `spectrum_scale` gives, up to a constant."""
    power = spectrum_scale(size, decay_power) ** 2
    power.flat[0] = 0  # the mean is no contrast
    # A column and its mirror image add up in a real image; these two are their own mirror images.
    single = power[..., 0].sum() + (power[..., -1].sum() if size[-1] % 2 == 0 else 0)
    return float(np.sqrt(4 * power.sum() - 3 * single)) if power.any() else 1.0


def normalized_color_matrix(color_matrix: ColorMatrix) -> np.ndarray:
    """Return a colour matrix divided by its largest column norm."""
    matrix = np.asarray(color_matrix, dtype=np.float64)
    return matrix / np.linalg.norm(matrix, axis=0).max()


def correlated(image: Tensor, color_matrix: ColorMatrix) -> Tensor:
    """Return decorrelated colours as RGB, both unconstrained; a sigmoid makes them valid.

    Args:
        image: (B, C, *spatial).
        color_matrix: square root of the colour covariance, C x C; it is divided by its largest
            column norm.
    """
    matrix = constant(normalized_color_matrix(color_matrix), like=image)
    with without_autocast(image.device):
        return torch.einsum("ij,bj...->bi...", matrix, image)


def natural_noise(
    shape: Sequence[int],
    *,
    sd: float,
    decay_power: float = 1.0,
    generator: torch.Generator | None = None,
    like: Tensor,
) -> Tensor:
    """Draw noise with the spectrum of natural images, unconstrained.

    Args:
        shape: (..., H, W).
        sd: standard deviation of the real and imaginary parts of the coefficients, before scaling.
        decay_power: amplitudes fall with frequency to this power; 1 for natural images.
        generator: on the device of `like`; None is the global one.
        like: a tensor with the dtype and the device to return.

    Source: Mordvintsev et al. 2018, Differentiable Image Parameterizations
    (https://distill.pub/2018/differentiable-parameterizations).
    """
    *batch, height, width = shape
    # Half precision has no Fourier transform.
    kind = like.new_empty(0, dtype=torch.promote_types(like.dtype, torch.float32))
    scale = constant(fft_scale(height, width, decay_power), like=kind)
    parts = torch.randn(
        *batch, *scale.shape, 2, generator=generator, dtype=kind.dtype, device=kind.device
    )
    spectrum = torch.view_as_complex(sd * parts) * scale
    # The divisor is that of the Fourier parametrization, so that sd means the same in both.
    return (torch.fft.irfft2(spectrum, s=(height, width)) / 4).to(like.dtype)
