"""Transforms of colour: contrast, hue, saturation, and shifts of whole channels."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lucent.errors import InputError
from lucent.optvis.transform.draws import (
    Generator,
    finite_numbers,
    normal,
    truncated_normal,
    uniform,
)
from lucent.optvis.transform.kinds import RandomTransform
from lucent.optvis.transform.warp import multiplied, rotation
from lucent.util import constant

#: From RGB to luma and the colour differences I and Q of NTSC television, as the FCC set them in
#: 1953.
RGB_TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
YIQ_TO_RGB = tuple(map(tuple, np.linalg.inv(RGB_TO_YIQ).tolist()))


@dataclass(frozen=True)
class Contrast(RandomTransform):
    """Scales the differences from the mean of each channel."""

    lower: float
    upper: float
    volumes = True

    def sample(self, image: Tensor, generator: Generator, rows: int = 1) -> Tensor:
        """Return the factor, uniform in its range, (rows, 1)."""
        return uniform(image, (rows, 1), generator, self.lower, self.upper)

    def apply(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the image with more or less contrast."""
        mean = image.mean(dim=tuple(range(2, image.dim())), keepdim=True)
        return mean + (image - mean) * _spread(draw, image)


class ChromaTransform(RandomTransform):
    """A linear map of the two colour differences; luma and an alpha channel stay as they are."""

    volumes = True

    @abstractmethod
    def chroma(self, draw: Tensor) -> Tensor:
        """Return the map of the two differences, (rows, 2, 2)."""

    def check(self, image: Tensor) -> None:
        """Refuse images without colours."""
        super().check(image)
        if image.shape[1] not in (3, 4):
            raise InputError(
                f"{self!r} needs images of 3 channels, or 4 with alpha, not of {image.shape[1]}: "
                "leave it out."
            )

    def apply(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the image in its new colours."""
        into, back = (constant(matrix, like=draw)[None] for matrix in (RGB_TO_YIQ, YIQ_TO_RGB))
        luma = multiplied(back[:, :, :1], into[:, :1])
        matrix = luma + multiplied(back[:, :, 1:], self.chroma(draw), into[:, 1:])
        matrix = matrix.to(image.dtype)
        rgb = (matrix @ image[:, :3].flatten(2)).view(len(image), 3, *image.shape[2:])
        return torch.cat([rgb, image[:, 3:]], dim=1)


@dataclass(frozen=True)
class Hue(ChromaTransform):
    """Turns the colours."""

    degrees: float

    def sample(self, image: Tensor, generator: Generator, rows: int = 1) -> Tensor:
        """Return the angle in degrees, (rows, 1)."""
        return self.degrees / 2 * truncated_normal(image, (rows, 1), generator)

    def chroma(self, draw: Tensor) -> Tensor:
        """Return the rotation of the colour differences."""
        return rotation(draw)


@dataclass(frozen=True)
class Saturation(ChromaTransform):
    """Makes the colours stronger or weaker."""

    range: float

    def sample(self, image: Tensor, generator: Generator, rows: int = 1) -> Tensor:
        """Return the factor, (rows, 1)."""
        return 1 + self.range / 2 * truncated_normal(image, (rows, 1), generator)

    def chroma(self, draw: Tensor) -> Tensor:
        """Return the scaling of the colour differences."""
        return draw[:, :, None] * constant(((1.0, 0.0), (0.0, 1.0)), like=draw)


@dataclass(frozen=True)
class ColorJitter(RandomTransform):
    """Normalises each channel by a random mean and standard deviation."""

    mean: float
    log_std: float
    volumes = True

    def sample(self, image: Tensor, generator: Generator, rows: int = 1) -> Tensor:
        """Return mean and logarithm of the standard deviation of each channel, (rows, 2, C)."""
        draw = uniform(image, (rows, 2, image.shape[1]), generator, -1.0, 1.0)
        return draw * constant([[self.mean], [self.log_std]], like=draw)

    def apply(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the normalised image."""
        return (image - _spread(draw[:, 0], image)) * _spread(torch.exp(-draw[:, 1]), image)


@dataclass(frozen=True)
class ColorOffset(RandomTransform):
    """Adds a random number to each channel."""

    sd: float
    volumes = True

    def sample(self, image: Tensor, generator: Generator, rows: int = 1) -> Tensor:
        """Return the number for each channel, (rows, C)."""
        return self.sd * normal(image, (rows, image.shape[1]), generator)

    def apply(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the shifted image."""
        return image + _spread(draw, image)


def contrast(lower: float = 0.8, upper: float = 1.2) -> RandomTransform:
    """Scale the differences from the mean of each channel by a random factor.

    Args:
        lower: of a uniform distribution.
        upper: of it.

    Raises:
        InputError: the factors are negative, not finite, or in the wrong order.
    """
    values = finite_numbers((lower, upper), "contrast")
    if not 0 <= values[0] <= values[1]:
        raise InputError(
            f"contrast({lower}, {upper}): factors have to be 0 or more, the lower one first."
        )
    return Contrast(*values)


def hue(max_rotation_degrees: float) -> RandomTransform:
    """Turn the colours about grey by a random angle, brightness left as it is.

    Args:
        max_rotation_degrees: the angle in the plane of the colour differences I and Q of NTSC is
            normal with half of this as its standard deviation, cut off here.

    Raises:
        InputError: the angle is negative or not finite.
    """
    return Hue(_width(max_rotation_degrees, "hue"))


def saturation(range: float) -> RandomTransform:
    """Make the colours stronger or weaker by a random factor, brightness left as it is.

    Args:
        range: the factor is normal about 1 with half of this as its standard deviation, cut off at
            1 minus and plus this.

    Raises:
        InputError: the range is negative or not finite.
    """
    return Saturation(_width(range, "saturation"))


def color_jitter(mean: float = 1.0, log_std: float = 1.0) -> RandomTransform:
    """Normalise each channel by a random mean and standard deviation.

    Args:
        mean: the mean is uniform between minus and plus this, in units of the image's values.
        log_std: the standard deviation is e to a power uniform between minus and plus this.

    Raises:
        InputError: a number is negative or not finite.

    Source: Ghiasi et al. 2022, What do Vision Transformers Learn? A Visual Exploration
    (https://arxiv.org/abs/2212.06727).
    """
    return ColorJitter(_width(mean, "color_jitter"), _width(log_std, "color_jitter"))


def color_offset(sd: float = 0.5) -> RandomTransform:
    """Add a random number to each channel, the same for all its pixels.

    Args:
        sd: standard deviation, in units of the image's values.

    Raises:
        InputError: the standard deviation is negative or not finite.

    Source: Ghiasi et al. 2022, What do Vision Transformers Learn? A Visual Exploration
    (https://arxiv.org/abs/2212.06727), which lets it fall to 0 over the run.
    """
    return ColorOffset(_width(sd, "color_offset"))


def _width(value: float, name: str) -> float:
    (number,) = finite_numbers([value], name)
    if number < 0:
        raise InputError(f"{name} got {value}: widths of distributions have to be 0 or more.")
    return number


def _spread(draw: Tensor, image: Tensor) -> Tensor:
    """Return (rows, k) such that it goes with (B, C, *spatial)."""
    return draw.view(*draw.shape, *[1] * (image.dim() - 2)).to(image.dtype)
