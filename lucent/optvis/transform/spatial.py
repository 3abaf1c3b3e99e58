"""Transforms of space: pad, jitter, scale, rotate."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lucent.errors import InputError
from lucent.optvis.transform.base import AffineTransform, RandomTransform, warp
from lucent.util import constant


@dataclass(frozen=True)
class ConstantPad(AffineTransform):
    """Pads all sides with one value."""

    width: int
    value: float = 0.5

    @property
    def growth(self) -> int:  # type: ignore[override]
        """Both sides grow."""
        return 2 * self.width

    @property
    def fill(self) -> float:  # type: ignore[override]
        """The value that it pads with."""
        return self.value

    def sample(self, image: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return an empty draw, (B, 0): nothing is random."""
        return image.new_empty(len(image), 0, dtype=_draw_dtype(image))

    def apply(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the padded image."""
        return F.pad(image, [self.width] * 4, value=self.value)

    def matrix(self, draw: Tensor) -> Tensor:
        """Return the identity: the centre stays."""
        return _matrices(draw, 1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class MirrorPad(RandomTransform):
    """Pads all sides with what is beside the edge."""

    width: int
    mode: str

    def sample(self, image: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return an empty draw, (B, 0): nothing is random."""
        return image.new_empty(len(image), 0, dtype=_draw_dtype(image))

    def apply(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the padded image."""
        limit = {"reflect": 1, "circular": 0}.get(self.mode)
        if limit is not None and self.width + limit > min(image.shape[-2:]):
            raise InputError(
                f"pad({self.width}, {self.mode!r}) cannot take that much from an image of "
                f"{tuple(image.shape[-2:])} pixels: the width has to be smaller than the image. "
                "Use mode='constant'."
            )
        return F.pad(image, [self.width] * 4, mode=self.mode)


@dataclass(frozen=True)
class Jitter(AffineTransform):
    """Crops at a random place."""

    pixels: int

    @property
    def growth(self) -> int:  # type: ignore[override]
        """The canvas shrinks."""
        return -self.pixels

    def sample(self, image: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return the offset (x, y) of the crop, each uniform over 0 to `pixels`."""
        offset = torch.randint(self.pixels + 1, (1, 2), generator=generator, device=image.device)
        return offset.to(_draw_dtype(image)).expand(len(image), 2)

    def apply(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the crop, `pixels` smaller on both axes."""
        height, width = (n - self.pixels for n in image.shape[-2:])
        if min(height, width) < 1:
            raise InputError(
                f"jitter({self.pixels}) leaves nothing of an image of {tuple(image.shape[-2:])} "
                "pixels: make it larger."
            )
        x, y = (int(n) for n in draw[0].tolist())
        return image[..., y : y + height, x : x + width]

    def matrix(self, draw: Tensor) -> Tensor:
        """Return the shift of the crop's centre from the image's."""
        return _matrices(draw, 1.0, 0.0, draw[:, 0] - self.pixels / 2, draw[:, 1] - self.pixels / 2)


@dataclass(frozen=True)
class RandomScale(AffineTransform):
    """Scales by a random factor."""

    scales: tuple[float, ...]

    def sample(self, image: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return the factor, uniform over the list."""
        return _choice(self.scales, image, generator)

    def apply(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the scaled image; a smaller one is centred on zeros to the size it had."""
        scale = float(draw[0, 0])
        # The tolerance undoes the rounding of products like 1.1 * 10.
        size = [max(1, math.ceil(n * scale - 1e-6)) for n in image.shape[-2:]]
        scaled = F.interpolate(image, size, mode="bilinear", antialias=scale < 1)
        below, right = (max(0, n - m) for n, m in zip(image.shape[-2:], size, strict=True))
        top, left = below // 2, right // 2
        return F.pad(scaled, [left, right - left, top, below - top])

    def matrix(self, draw: Tensor) -> Tensor:
        """Return the inverse scale."""
        return _matrices(draw, 1 / draw[:, 0], 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class RandomRotate(AffineTransform):
    """Rotates by a random angle about the centre."""

    angles: tuple[float, ...]

    def sample(self, image: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return the angle in degrees, counter-clockwise, uniform over the list."""
        return _choice(self.angles, image, generator)

    def apply(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the rotated image, of the size it had, with zeros outside."""
        quarters, rest = divmod(float(draw[0, 0]), 90)
        square = image.shape[-1] == image.shape[-2]
        if rest == 0 and (square or quarters % 2 == 0):
            return torch.rot90(image, int(quarters), (-2, -1))
        return warp(image, self.matrix(draw), image.shape[-2:], 0.0)

    def matrix(self, draw: Tensor) -> Tensor:
        """Return the inverse rotation."""
        angle = torch.deg2rad(draw[:, 0])
        return _matrices(draw, torch.cos(angle), torch.sin(angle), 0.0, 0.0)


def pad(w: int, mode: str = "reflect", constant_value: float = 0.5) -> RandomTransform:
    """Pad all sides by `w` pixels.

    Args:
        w: pixels, 0 or more.
        mode: "constant", "reflect" (the edge is not repeated), "replicate" or "circular"; case does
            not matter.
        constant_value: value for "constant".

    Raises:
        InputError: the width is negative or the mode unknown.
    """
    if w < 0 or int(w) != w:
        raise InputError(f"pad({w}): the width has to be a whole number of pixels, 0 or more.")
    mode = mode.lower()
    if mode == "constant":
        return ConstantPad(int(w), float(constant_value))
    if mode not in ("reflect", "replicate", "circular"):
        raise InputError(
            f"pad has no mode {mode!r}; use 'constant', 'reflect', 'replicate' or 'circular'."
        )
    return MirrorPad(int(w), mode)


def jitter(d: int) -> RandomTransform:
    """Crop at a random place, so that the output is `d` pixels smaller than the input on both axes.

    Args:
        d: pixels, at least 1; the crop starts at 0 to d, uniformly and independently for each axis.

    Raises:
        InputError: `d` is smaller than 1 or no whole number.
    """
    if d < 1 or int(d) != d:
        raise InputError(f"jitter({d}): d has to be a whole number of pixels, at least 1.")
    return Jitter(int(d))


def random_scale(scales: Iterable[float]) -> RandomTransform:
    """Scale by a factor drawn from a list, in which duplicates are weights.

    Args:
        scales: positive factors.

    Raises:
        InputError: there is none, or one is not positive.
    """
    values = _numbers(scales, "random_scale")
    if min(values) <= 0:
        raise InputError(f"random_scale got the scale {min(values)}: scales have to be positive.")
    return RandomScale(values)


def random_rotate(angles: Iterable[float], units: str = "degrees") -> RandomTransform:
    """Rotate by an angle drawn from a list, in which duplicates are weights.

    Args:
        angles: counter-clockwise as displayed.
        units: "degrees", or "radians" ("rads", "rad"); case does not matter.

    Raises:
        InputError: there is no angle, or the unit is unknown.
    """
    values = _numbers(angles, "random_rotate")
    if units.lower() in ("radians", "rads", "rad"):
        values = tuple(math.degrees(angle) for angle in values)
    elif units.lower() != "degrees":
        raise InputError(f"random_rotate has no units {units!r}; use 'degrees' or 'radians'.")
    return RandomRotate(values)


def _numbers(values: Iterable[float], name: str) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values)
    if not numbers or not all(map(math.isfinite, numbers)):
        raise InputError(
            f"{name} got {list(numbers)}: give at least one number, all of them finite."
        )
    return numbers


def _choice(values: tuple[float, ...], image: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw one of the values for the whole batch, (B, 1)."""
    index = torch.randint(len(values), (1,), generator=generator, device=image.device)
    values_there = constant(values, like=image.new_empty(0, dtype=_draw_dtype(image)))
    return values_there[index].expand(len(image), 1)


def _draw_dtype(image: Tensor) -> torch.dtype:
    """Half precision would round an angle to a few bits."""
    return torch.promote_types(image.dtype, torch.float32)


def _matrices(
    draw: Tensor, a: Tensor | float, b: Tensor | float, x: Tensor | float, y: Tensor | float
) -> Tensor:
    """Return ((a, -b, x), (b, a, y), (0, 0, 1)) for each row of the draw, (B, 3, 3)."""
    a, b, x, y = (
        v if isinstance(v, Tensor) else draw.new_full((len(draw),), v) for v in (a, b, x, y)
    )
    zero, one = torch.zeros_like(a), torch.ones_like(a)
    return torch.stack([a, -b, x, b, a, y, zero, zero, one], dim=1).view(-1, 3, 3)
