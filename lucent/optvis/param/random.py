"""Random images with the statistics of natural ones: backgrounds, and pictures to compare with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lucent.errors import InputError
from lucent.generators import AnyGenerator, Generators
from lucent.optvis._spectrum import COLOR_CORRELATION_SVD_SQRT, natural_noise
from lucent.optvis.param.base import Image
from lucent.optvis.param.color import ValidRGB
from lucent.optvis.param.spatial import checked_sd, checked_shape


class RandomFourierImage(Image):
    """An unconstrained image with a natural spectrum that is another one each time.

    A call gives a new image, until `draw` was called: then it is the drawn one until the next draw,
    as a run needs, which draws in every step. It has nothing to optimise.

    Args:
        shape: (B, C, H, W).
        sd: standard deviation of the coefficients before scaling, as of `FourierImage`; None is
            0.01.
        decay_power: amplitudes fall with frequency to this power; 1 for natural images.

    Raises:
        InputError: a size is not a whole number of at least 1, or `sd` is negative.
    """

    drawn: Tensor

    def __init__(
        self, shape: Sequence[int], sd: float | None = None, decay_power: float = 1.0
    ) -> None:
        super().__init__()
        if len(shape) != 4:
            raise InputError(f"A random image needs a shape (B, C, H, W), not {tuple(shape)}.")
        self.shape, self.sd, self.decay_power = checked_shape(shape), checked_sd(sd), decay_power
        self.register_buffer("drawn", torch.empty(0), persistent=False)

    def draw(self, generator: AnyGenerator = None) -> None:
        """Draw the image that calls give until the next draw."""
        if isinstance(generator, Generators):
            self.drawn = torch.cat([self._noise(own, rows=1) for own in generator])
        else:
            self.drawn = self._noise(generator)

    def forward(self) -> Tensor:
        """Return the image drawn, or a new one."""
        return self.drawn if self.drawn.numel() else self._noise(None)

    def _noise(self, generator: torch.Generator | None, rows: int | None = None) -> Tensor:
        return natural_noise(
            (rows or self.shape[0], *self.shape[1:]),
            sd=self.sd,
            decay_power=self.decay_power,
            generator=generator,
            like=self.drawn,
        )


def rand_fft_image(
    shape: Sequence[int], sd: float | None = None, decay_power: float = 1.0
) -> Image:
    """Return an unconstrained image that is drawn anew; see `RandomFourierImage`."""
    return RandomFourierImage(shape, sd, decay_power)


def image_sample(
    shape: Sequence[int],
    decorrelate: bool = True,
    sd: float | None = None,
    decay_power: float = 1.0,
) -> Image:
    """Return an image with values in [0, 1] that is drawn anew: clouds of natural colours.

    >>> image_sample((2, 3, 16, 16), sd=0.5)().shape
    torch.Size([2, 3, 16, 16])

    Args:
        shape: (B, C, H, W).
        decorrelate: take the first three channels as decorrelated colours; a fourth is alpha.
        sd: contrast; 0.5 gives pixels with a standard deviation of about 0.13. None is 0.01.
        decay_power: amplitudes fall with frequency to this power; 1.5 gives larger clouds.

    Raises:
        InputError: a size is not a whole number of at least 1, or `sd` is negative.
    """
    raw = rand_fft_image(shape, sd, decay_power)
    return ValidRGB(raw, COLOR_CORRELATION_SVD_SQRT if decorrelate else None)
