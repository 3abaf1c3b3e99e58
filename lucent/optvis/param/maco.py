"""Images whose Fourier magnitudes are those of natural images: only the phases are optimised."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lucent.errors import InputError, WeightsError
from lucent.optvis._spectrum import COLOR_CORRELATION_SVD_SQRT, ColorMatrix, fft_scale
from lucent.optvis.param.base import Image
from lucent.optvis.param.color import ValidRGB
from lucent.optvis.param.spatial import checked_shape

#: Magnitudes (C, H, W // 2 + 1), or (H, W // 2 + 1) for all channels, or a file of numpy.save.
Spectrum = np.ndarray | Tensor | str | os.PathLike[str]

_UNIFORM_DEVIATION = math.pi / math.sqrt(3)  # of angles from -pi to pi


class MacoImage(Image):
    """An unconstrained image of given Fourier magnitudes, described by their phases.

    It has mean 0 in every channel and variance 1 over all of them: by Parseval's theorem the
    variance follows from the magnitudes, whatever the phases are.

    The parameters are brought to mean 0 and the deviation of uniform angles. So a step matters less
    the more they have spread already, which slows the large steps of NAdam down. What the objective
    leaves alone shrinks meanwhile, towards fixed angles: if all shrank towards 0, they would add up
    to a spot in the corner.

    Args:
        shape: (B, C, H, W).
        spectrum: magnitudes, (C, h, w // 2 + 1) of any h and w; the frequencies that they belong
            to, in cycles per pixel, are kept. The first, of the mean, is not used.

    Raises:
        InputError: a size is not a whole number of at least 1, or the spectrum has another shape,
            values that are negative or not finite, or no contrast.

    Source: Fel et al. 2023, Unlocking Feature Visualization for Deeper Networks with MAgnitude
    Constrained Optimization (https://arxiv.org/abs/2306.06805).
    """

    magnitude: Tensor
    own: Tensor
    angles: Tensor

    def __init__(self, shape: Sequence[int], spectrum: np.ndarray | Tensor) -> None:
        super().__init__()
        if len(shape) != 4:
            raise InputError(f"A MACO image needs a shape (B, C, H, W), not {tuple(shape)}.")
        batch, channels, self.height, self.width = checked_shape(shape)
        magnitude = _checked_spectrum(spectrum, channels)
        magnitude = _standardized(_resampled(magnitude, self.height, self.width), self.width)
        self.register_buffer("magnitude", magnitude.float(), persistent=False)
        self.register_buffer("own", _own_columns(self.width), persistent=False)
        # Any angles without a pattern will do; the same ones each time let a run be resumed.
        angles = _uniform_angles(*magnitude.shape, generator=torch.Generator().manual_seed(0))
        self.register_buffer("angles", angles, persistent=False)
        self.phase = nn.Parameter(_uniform_angles(batch, *magnitude.shape))

    def forward(self) -> Tensor:
        """Return the image, (B, C, H, W)."""
        # Half precision has no Fourier transform.
        own = self.phase.to(torch.promote_types(self.phase.dtype, torch.float32))
        spread, mean = torch.std_mean(own, dim=(1, 2, 3), keepdim=True)
        phase = self.angles + (own - mean) / spread * _UNIFORM_DEVIATION
        # These columns hold each frequency twice, with opposite phases in a real image. The
        # difference of uniform angles is uniform, too.
        phase = torch.where(self.own, phase - _mirrored(phase), phase)
        spectrum = torch.polar(self.magnitude.to(phase).expand_as(phase).contiguous(), phase)
        image = torch.fft.irfft2(spectrum, s=(self.height, self.width), norm="forward")
        return image.to(self.phase.dtype)


def maco(
    w: int,
    h: int | None = None,
    *,
    spectrum: Spectrum | None = None,
    batch: int | None = None,
    channels: int | None = None,
    color_matrix: ColorMatrix | None = COLOR_CORRELATION_SVD_SQRT,
) -> Image:
    """Return a batch of images with values in [0, 1] whose magnitudes stay those of natural images.

    It is made for NAdam with a learning rate of 1, many random crops per step, and noise.

    >>> params, image_f = maco(64, batch=2)
    >>> image_f().shape
    torch.Size([2, 3, 64, 64])

    Args:
        w: width in pixels.
        h: height in pixels; None is square.
        spectrum: magnitudes of decorrelated channels, such as `measured_spectrum` returns, or the
            name of a file that `numpy.save` wrote of them; (H, W // 2 + 1) is for all channels.
            Other sizes are resampled. None falls as 1/f.
        batch: number of images; None is one.
        channels: number of channels; None is that of the spectrum, or three.
        color_matrix: square root of the colour covariance, the one that the spectrum was measured
            with; None, and images of other than three channels, have none.

    Raises:
        InputError: see `MacoImage`; or `channels` is not that of the spectrum.
        WeightsError: the file cannot be read.

    Source: Fel et al. 2023, Unlocking Feature Visualization for Deeper Networks with MAgnitude
    Constrained Optimization (https://arxiv.org/abs/2306.06805).
    """
    height = w if h is None else h
    if isinstance(spectrum, str | os.PathLike):
        spectrum = _loaded(spectrum)
    if spectrum is None:
        checked_shape((height, w))
        spectrum = fft_scale(height, w)
    if not isinstance(spectrum, Tensor | np.ndarray):
        raise InputError(
            "A spectrum is an array, a tensor or the name of a file, not a "
            f"{type(spectrum).__name__}: param.measured_spectrum makes one of images."
        )
    own = spectrum.shape[0] if spectrum.ndim == 3 else 3
    n_channels = own if channels is None else channels
    image = MacoImage((1 if batch is None else batch, n_channels, height, w), spectrum)
    return ValidRGB(image, color_matrix if n_channels == 3 else None)


def _uniform_angles(*shape: int, generator: torch.Generator | None = None) -> Tensor:
    return (2 * torch.rand(shape, generator=generator) - 1) * math.pi


def _loaded(path: str | os.PathLike[str]) -> np.ndarray:
    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise WeightsError(
            f"{path} could not be read as a spectrum ({error}). Expected is what "
            "numpy.save(file, param.measured_spectrum(images)) writes."
        ) from error
    if not isinstance(loaded, np.ndarray):
        raise WeightsError(f"{path} holds several arrays: a spectrum is one, in an .npy file.")
    return loaded


def _checked_spectrum(spectrum: np.ndarray | Tensor, channels: int) -> Tensor:
    """Return the magnitudes in double precision, (C, h, w // 2 + 1)."""
    magnitude = torch.as_tensor(spectrum).detach().cpu().double()
    if magnitude.dim() == 2:
        magnitude = magnitude.expand(channels, -1, -1)
    if magnitude.dim() != 3 or len(magnitude) != channels or not magnitude.numel():
        raise InputError(
            f"A spectrum for {channels} channels has the shape ({channels}, H, W // 2 + 1) or "
            f"(H, W // 2 + 1). Got {tuple(magnitude.shape)}."
        )
    if not magnitude.isfinite().all() or (magnitude < 0).any():
        raise InputError(
            "A spectrum consists of finite magnitudes of at least 0. Got values from "
            f"{magnitude.min().item():.3g} to {magnitude.max().item():.3g}."
        )
    return magnitude


def _resampled(magnitude: Tensor, height: int, width: int) -> Tensor:
    """Return magnitudes (C, height, width // 2 + 1) at the same frequencies in cycles per pixel.

    They are averaged with triangular weights, as wide as the coarser of the two grids.
    """
    own_height, n_columns = magnitude.shape[-2:]
    same = magnitude.shape[-2:] == (height, width // 2 + 1)
    own_width = width if same else 2 * (n_columns - 1) or 1  # it cannot be told from the next one
    inner = magnitude[..., 1 : (own_width + 1) // 2]
    whole = torch.cat([magnitude, _mirrored(inner).flip(-1)], dim=-1)
    # The mean is no frequency of the picture, and must not leak into its neighbours.
    whole[..., 0, 0] = torch.maximum(
        whole[..., 1 % own_height, 0], whole[..., 0, 1 % whole.shape[-1]]
    )
    rows = _triangular(np.fft.fftfreq(own_height), np.fft.fftfreq(height))
    columns = _triangular(np.fft.fftfreq(own_width), np.fft.rfftfreq(width))
    return rows @ whole @ columns.T


def _triangular(sources: np.ndarray, targets: np.ndarray) -> Tensor:
    """Return the weight of every source frequency in every target frequency, rows summing to 1."""
    distance = np.abs(targets[:, None] - sources[None, :])
    distance = np.minimum(distance, 1 - distance)  # frequencies repeat after one cycle per pixel
    spacing = max(1 / len(sources), targets[1] - targets[0] if len(targets) > 1 else 1.0)
    weights = np.clip(1 - distance / spacing, 0, None)
    return torch.from_numpy(weights / weights.sum(axis=1, keepdims=True))


def _standardized(magnitude: Tensor, width: int) -> Tensor:
    """Return the magnitudes without those of the means, scaled to an image of variance 1.

    They are those of a transform that divides by the number of pixels: below 1, in any precision.
    """
    own = _own_columns(width)
    magnitude = torch.where(own, (magnitude + _mirrored(magnitude)) / 2, magnitude)
    magnitude[..., 0, 0] = 0
    counts = torch.where(own, 1.0, 2.0)  # the others stand for their mirror images, too
    n_pixels = magnitude.shape[-2] * width
    variance = (counts * magnitude.square()).sum(dim=(-1, -2)).mean() / n_pixels**2
    if variance == 0:
        raise InputError(
            f"The spectrum has no contrast: an image of {magnitude.shape[-2]} x {width} pixels "
            "made of it is plain."
        )
    return magnitude / variance.sqrt() / n_pixels


def _own_columns(width: int) -> Tensor:
    """Return whether a column of a real FFT is its own mirror image, (W // 2 + 1,)."""
    columns = torch.arange(width // 2 + 1)
    return (columns == 0) | (2 * columns == width)


def _mirrored(rows: Tensor) -> Tensor:
    """Return the rows of the opposite frequencies."""
    return rows.flip(-2).roll(1, dims=-2)
