"""How the spatial structure of an image is described: pixels, or Fourier coefficients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lucent.errors import InputError
from lucent.optvis._spectrum import fft_scale, rfft2d_freqs
from lucent.optvis.param.base import Image

__all__ = ["FourierImage", "PixelImage", "fft_image", "pixel_image", "rfft2d_freqs"]

#: Standard deviation of the start values where none is given, as in Lucid.
DEFAULT_SD = 0.01


class PixelImage(Image):
    """Pixels as they are, unconstrained.

    Args:
        shape: (B, C, H, W), or any other.
        sd: standard deviation of the normal start values; None is 0.01.
    """

    def __init__(self, shape: Sequence[int], sd: float | None = None) -> None:
        super().__init__()
        self.pixels = nn.Parameter(torch.randn(*checked_shape(shape)) * _sd(sd))

    def forward(self) -> Tensor:
        """Return the pixels."""
        return self.pixels


class FourierImage(Image):
    """Real and imaginary parts of Fourier coefficients, scaled to a natural spectrum.

    Gradient steps of equal size on equally scaled coefficients favour low frequencies as natural
    images do; on pixels they favour high ones.

    Args:
        shape: (B, C, H, W).
        sd: standard deviation of the normal start values of the coefficients, before scaling; None
            is 0.01.
        decay_power: amplitudes fall with frequency to this power; 1 for natural images.
        gain: factor of the image.

    Source: Mordvintsev et al. 2018, Differentiable Image Parameterizations
    (https://distill.pub/2018/differentiable-parameterizations).
    """

    scale: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        sd: float | None = None,
        decay_power: float = 1.0,
        *,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        if len(shape) != 4:
            raise InputError(f"A Fourier image needs a shape (B, C, H, W), not {tuple(shape)}.")
        *batch, self.height, self.width = checked_shape(shape)
        scale = torch.from_numpy(gain * fft_scale(self.height, self.width, decay_power)).float()
        self.spectrum = nn.Parameter(torch.randn(*batch, *scale.shape, 2) * _sd(sd))
        self.register_buffer("scale", scale, persistent=False)

    def forward(self) -> Tensor:
        """Return the image whose coefficients these are."""
        spectrum = torch.view_as_complex(self.spectrum) * self.scale
        # Lucid divides by 4 so that its learning rate suits this image and the pixels alike.
        return torch.fft.irfft2(spectrum, s=(self.height, self.width)) / 4


def pixel_image(shape: Sequence[int], sd: float | None = None) -> Image:
    """Return an unconstrained image of plain pixels; see `PixelImage`."""
    return PixelImage(shape, sd)


def fft_image(shape: Sequence[int], sd: float | None = None, decay_power: float = 1.0) -> Image:
    """Return an unconstrained image of Fourier coefficients; see `FourierImage`."""
    return FourierImage(shape, sd, decay_power)


def _sd(sd: float | None) -> float:
    if sd is not None and sd < 0:
        raise InputError(f"sd={sd} is negative: a standard deviation is 0 or more.")
    return DEFAULT_SD if sd is None else sd


def checked_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of an image as integers.

    Raises:
        InputError: one of them is not a whole number of at least 1.
    """
    if not all(int(n) == n and n > 0 for n in shape):
        raise InputError(
            f"The image shape {tuple(shape)} has to consist of whole numbers of at least 1."
        )
    return tuple(int(n) for n in shape)
