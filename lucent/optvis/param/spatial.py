"""How the spatial structure of an image is described: pixels, or Fourier coefficients."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from numbers import Real

import torch
from torch import Tensor, nn

from lucent.errors import InputError
from lucent.optvis._spectrum import rfft2d_freqs, spectrum_scale
from lucent.optvis.param.base import Image
from lucent.util import old_device

__all__ = ["FourierImage", "PixelImage", "RawImage", "fft_image", "pixel_image", "rfft2d_freqs"]

#: Standard deviation of the start values where none is given, as in Lucid.
DEFAULT_SD = 0.01


class RawImage(Image):
    """An unconstrained image that can be set to any other."""

    @abstractmethod
    def start_from(self, image: Tensor) -> None:
        """Become an image, up to rounding.

        Args:
            image: in the shape of this one; with a batch of one it becomes every row.
        """


class PixelImage(RawImage):
    """Pixels as they are, unconstrained.

    Args:
        shape: (B, C, *spatial), or any other.
        sd: standard deviation of the normal start values; None is 0.01.
    """

    def __init__(self, shape: Sequence[int], sd: float | None = None) -> None:
        super().__init__()
        self.pixels = nn.Parameter(torch.randn(*checked_shape(shape)) * checked_sd(sd))

    def forward(self) -> Tensor:
        """Return the pixels."""
        return self.pixels

    @torch.no_grad()
    def start_from(self, image: Tensor) -> None:
        """Become an image, in the precision of the pixels."""
        self.pixels.copy_(image)


class FourierImage(RawImage):
    """Real and imaginary parts of Fourier coefficients, scaled to a natural spectrum.

    Gradient steps of equal size on equally scaled coefficients favour low frequencies as natural
    images do; on pixels they favour high ones.

    Args:
        shape: (B, C, H, W), or (B, C, D, H, W) for volumes.
        sd: standard deviation of the normal start values of the coefficients, before scaling; None
            is 0.01.
        decay_power: amplitudes fall with frequency to this power; 1 for natural images. A plane
            through a volume falls less steeply than the volume, by half a power.
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
        if len(shape) not in (4, 5):
            raise InputError(
                "A Fourier image needs a shape (B, C, H, W), or (B, C, D, H, W) for volumes, not "
                f"{tuple(shape)}."
            )
        batch, channels, *self.size = checked_shape(shape)
        self.decay_power, self.gain = decay_power, gain
        scale = self._scale()
        self.spectrum = nn.Parameter(torch.randn(batch, channels, *scale.shape, 2) * checked_sd(sd))
        self.register_buffer("scale", scale, persistent=False)

    def forward(self) -> Tensor:
        """Return the image whose coefficients these are."""
        dtype, scale = self.spectrum.dtype, self.scale
        if dtype in (torch.float16, torch.bfloat16):
            # They have no Fourier transform, and float16 not the range of the scale.
            dtype, scale = torch.float32, self._scale().to(scale.device)
        spectrum = torch.view_as_complex(self.spectrum.to(dtype)) * scale
        # Lucid divides by 4 so that its learning rate suits this image and the pixels alike.
        return (torch.fft.irfftn(spectrum, s=self.size) / 4).to(self.spectrum.dtype)

    @torch.no_grad()
    def start_from(self, image: Tensor) -> None:
        """Become an image, in the precision of the coefficients."""
        # In single precision the Fourier transform would double the error of rounding.
        image, scale = image.cpu().double(), self.scale.cpu().double()
        spectrum = torch.fft.rfftn(4 * image, s=self.size) / scale
        self.spectrum.copy_(torch.view_as_real(spectrum))

    def _scale(self) -> Tensor:
        """Return what the coefficients are multiplied by, in single precision."""
        return torch.from_numpy(self.gain * spectrum_scale(self.size, self.decay_power)).float()


def pixel_image(
    shape: Sequence[int], sd: float | None = None, device: torch.device | str | None = None
) -> Image:
    """Return an unconstrained image of plain pixels; see `PixelImage`."""
    return PixelImage(shape, sd).to(device)


def fft_image(
    shape: Sequence[int],
    sd: float | None = None,
    decay_power: float = 1.0,
    device: torch.device | str | None = None,
) -> Image:
    """Return an unconstrained image of Fourier coefficients; see `FourierImage`."""
    return FourierImage(shape, sd, decay_power).to(device)


def checked_sd(sd: float | None) -> float:
    """Return a standard deviation, 0.01 where none is given.

    Raises:
        InputError: it is negative or no number.
    """
    if sd is not None and not 0 <= sd < float("inf"):
        wrong = "is negative" if sd < 0 else "is not finite"
        raise InputError(f"sd={sd} {wrong}: a standard deviation is 0 or more.")
    return DEFAULT_SD if sd is None else sd


def checked_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of an image as integers.

    Raises:
        InputError: one of them is not a whole number of at least 1.
    """
    if not all(is_count(n) for n in shape):
        raise InputError(
            f"The image shape {tuple(shape)} has to consist of whole numbers of at least 1."
        )
    return tuple(int(n) for n in shape)


def is_count(n: object) -> bool:
    """Tell whether something is a whole number of at least 1."""
    return isinstance(n, Real) and float(n) >= 1 and float(n) % 1 == 0


def __getattr__(name: str) -> object:
    return old_device(__name__, name, "device")
