"""Transforms that resample: scale, rotate, homography, random boxes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

import torch
from torch import Tensor

from lucent.errors import InputError
from lucent.optvis.transform.draws import (
    CUT_OFF,
    Generator,
    bounds,
    choice,
    finite_numbers,
    normal,
    truncated_normal,
    uniform,
)
from lucent.optvis.transform.kinds import LocatingTransform, RandomTransform
from lucent.optvis.transform.warp import Points, Size, centred, interpolated, rotation, size_of
from lucent.util import constant

#: The smallest side, as a part of the image's, that noise makes of a larger box, as in xplique.
SMALLEST_BOX = 0.05


@dataclass(frozen=True)
class RandomScale(LocatingTransform):
    """Scales by a random factor."""

    scales: tuple[float, ...]

    def sample(self, image: Tensor, generator: Generator, rows: int = 1) -> Tensor:
        """Return the factor, uniform over the list."""
        return choice(image, rows, generator, self.scales)

    def move(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the scaled image; a smaller one is centred on zeros to the size it had."""
        scale, before = float(draw[0, 0]), size_of(image)
        size = [max(1, _roundup(n * scale)) for n in before]
        scaled = interpolated(image, size, scale)
        return centred(scaled, [max(n, m) for n, m in zip(size, before, strict=True)], 0.0)

    def least_scale(self) -> float:
        """Return the smallest factor."""
        return min(self.scales)

    def locate(self, points: Points, draw: Tensor, size: Size) -> Points:
        """Return the points of the scaled picture."""
        return points.enlarged(draw)


@dataclass(frozen=True)
class RandomRotate(LocatingTransform):
    """Rotates by a random angle about the centre."""

    angles: tuple[float, ...]

    def sample(self, image: Tensor, generator: Generator, rows: int = 1) -> Tensor:
        """Return the angle in degrees, counter-clockwise, uniform over the list."""
        return choice(image, rows, generator, self.angles)

    def move(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the rotated image, of the size it had, with zeros outside."""
        quarters, rest = divmod(float(draw[0, 0]), 90)
        square = image.shape[-1] == image.shape[-2]
        if rest == 0 and (square or quarters % 2 == 0):
            return torch.rot90(image, int(quarters), (-2, -1))
        return super().move(image, draw)

    def locate(self, points: Points, draw: Tensor, size: Size) -> Points:
        """Return the points turned back; with y downwards, that is this rotation."""
        return points.mixed(rotation(draw))


@dataclass(frozen=True)
class Homography(LocatingTransform):
    """Moves, turns, shears and tilts a little; the fields are those of `homography`."""

    translation: float
    rotation: float
    shear_angle: float
    shear: float
    perspective: float
    last_translation: float

    def sample(self, image: Tensor, generator: Generator, rows: int = 1) -> Tensor:
        """Return the ten numbers of the transform, (rows, 10).

        They are a shift (x, y) in pixels, an angle in degrees, the angle of the shears in degrees,
        two shears, the perspective (x, y) per pixel, and another shift.
        """
        first, angle, direction, shear, perspective, last = astuple(self)
        deviations = [first] * 2 + [angle, direction] + [shear] * 2 + [perspective] * 2 + [last] * 2
        draw = truncated_normal(image, (rows, 10), generator)
        return draw * constant(deviations, like=draw)

    def least_scale(self) -> float:
        """Return a bound for what the largest shears make of a length."""
        return 1 / (1 + CUT_OFF * self.shear)

    def locate(self, points: Points, draw: Tensor, size: Size) -> Points:
        """Return the points after a shift, rotation, shears, perspective and the other shift."""
        shift, angle, direction, shears, tilt, last = draw.split((2, 1, 1, 2, 2, 2), dim=1)
        swap = constant((((0.0, 1.0), (1.0, 0.0)),), like=draw)
        eye = constant((((1.0, 0.0), (0.0, 1.0)),), like=draw)
        points = points.shifted(shift).mixed(rotation(angle - direction))
        points = points.mixed(torch.addcmul(eye, swap, shears[:, :, None]))
        return points.mixed(rotation(direction)).tilted(tilt).shifted(last)


@dataclass(frozen=True)
class BoxCrop(LocatingTransform):
    """Enlarges a random box to the size of the image; the fields are those of `box_crop`."""

    size: tuple[float, float]
    size_sd: float
    center_sd: float | None
    uncovers = False

    def sample(self, image: Tensor, generator: Generator, rows: int = 1) -> Tensor:
        """Return the side and the centre (x, y) of the box as parts of the image's, (rows, 3)."""
        side = uniform(image, (rows, 1), generator, *self.size)
        if self.size_sd:
            side = side + self.size_sd * normal(image, (rows, 1), generator)
        side = side.clamp(min(SMALLEST_BOX, self.size[0]), 1.0)
        if self.center_sd is None:
            center = side / 2 + (1 - side) * uniform(image, (rows, 2), generator)
        else:
            center = 0.5 + self.center_sd * normal(image, (rows, 2), generator)
        # A box that left the image would show its outside to the network.
        return torch.cat([side, torch.clamp(center, side / 2, 1 - side / 2)], dim=1)

    def least_scale(self) -> float:
        """Return by how much the largest box is enlarged; with noise it may be all of the image."""
        return 1.0 if self.size_sd else 1 / self.size[1]

    def locate(self, points: Points, draw: Tensor, size: Size) -> Points:
        """Return the points in the box."""
        side, center = draw.split((1, 2), dim=1)
        width_and_height = constant([size[::-1]], like=draw)
        return points.enlarged(1 / side).shifted((center - 0.5) * width_and_height)


def random_scale(scales: Iterable[float]) -> RandomTransform:
    """Scale by a factor drawn from a list, in which duplicates are weights.

    Args:
        scales: positive factors.

    Raises:
        InputError: there is none, or one is not positive.
    """
    values = finite_numbers(scales, "random_scale")
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
    values = finite_numbers(angles, "random_rotate")
    return RandomRotate(tuple(_rads2angle(angle, units) for angle in values))


def homography(
    *,
    translation: float = 3.0,
    rotation: float = 2.5,
    shear_angle: float = 2.5,
    shear: float = 0.01,
    perspective: float = 1e-4,
    last_translation: float = 2.0,
) -> RandomTransform:
    """Move, turn, shear and tilt a little; this replaces all other spatial transforms.

    All numbers are normal, cut off at two standard deviations, with the ones given here. The
    defaults are those of Lucid's unreleased transform of this name, but about the centre.

    Args:
        translation: in pixels, before the others.
        rotation: in degrees.
        shear_angle: direction of the shears, in degrees.
        shear: of either axis along the other one.
        perspective: change of scale per pixel.
        last_translation: in pixels, after the others.

    Raises:
        InputError: a standard deviation is negative or not finite.
    """
    deviations = (translation, rotation, shear_angle, shear, perspective, last_translation)
    values = finite_numbers(deviations, "homography")
    if min(values) < 0:
        raise InputError(f"homography got {min(values)}: standard deviations have to be 0 or more.")
    return Homography(*values)


def box_crop(
    size: float | Sequence[float] = (0.2, 0.25),
    *,
    size_sd: float = 0.0,
    center_sd: float | None = 0.15,
) -> RandomTransform:
    """Enlarge a random box to the size of the image.

    The box has the aspect ratio of the image and lies inside it. Let it shrink over a run of 256
    steps:

    >>> from lucent.optvis.transform import scheduled
    >>> shrinking = scheduled(lambda step: box_crop(0.5 - 0.45 * step / 256, size_sd=0.05))

    Args:
        size: side of the box as a part of the image's, at most 1, or (lowest, highest) of a uniform
            distribution. The default is Horama's.
        size_sd: standard deviation of normal noise added to it, which makes no box smaller than
            0.05; xplique's is 0.05.
        center_sd: standard deviation of the centre as a part of the image's side, about the
            middle; None makes all places alike.

    Raises:
        InputError: a number is out of range.

    Source: Fel et al. 2023, Unlocking Feature Visualization for Deeper Networks with MAgnitude
    Constrained Optimization (https://arxiv.org/abs/2306.06805).
    """
    sides = bounds(size, "box_crop")
    if sides[0] <= 0 or sides[1] > 1:
        raise InputError(
            f"box_crop got the size {size!r}: give a part of the image's side, above 0 and at most "
            "1, or a pair (lowest, highest) of them."
        )
    deviations = (size_sd, 0.0 if center_sd is None else center_sd)
    if not all(math.isfinite(sd) and sd >= 0 for sd in deviations):
        raise InputError(
            f"box_crop got size_sd={size_sd} and center_sd={center_sd}: standard deviations have "
            "to be 0 or more."
        )
    return BoxCrop(sides, size_sd, center_sd)


def _roundup(value: float) -> int:
    """Return a size rounded up, as if its scale were exact: 1.1 * 100 pixels are not 111.

    A scale that was drawn has the precision of float32, seven digits.
    """
    return math.ceil(value - 1e-6 * abs(value))


def _rads2angle(angle: float, units: str) -> float:
    """Return an angle in degrees."""
    if units.lower() in ("radians", "rads", "rad"):
        return math.degrees(angle)
    if units.lower() != "degrees":
        raise InputError(f"random_rotate has no units {units!r}; use 'degrees' or 'radians'.")
    return angle
