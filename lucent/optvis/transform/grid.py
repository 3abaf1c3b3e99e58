"""Transforms that move whole pixels: pads, crops, flips, rolls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lucent.errors import InputError
from lucent.optvis.transform.draws import Generator, draw_dtype, finite_numbers, uniform, whole
from lucent.optvis.transform.kinds import Fill, LocatingTransform, RandomTransform
from lucent.optvis.transform.warp import Points, Size, centred
from lucent.util import constant

#: The axes that can be flipped, in the order of an image's, counted from the last.
AXES = "xyz"


@dataclass(frozen=True)
class ConstantPad(LocatingTransform):
    """Pads all sides with one value."""

    width: int
    value: Fill = 0.5
    volumes = True

    @property
    def fill(self) -> Fill:  # type: ignore[override]
        """The value that it pads with."""
        return self.value

    def sample(self, image: Tensor, generator: Generator, rows: int = 1) -> Tensor:
        """Return the value where it is random, (rows, 1), else nothing."""
        if self.value != "uniform":
            return super().sample(image, generator, rows)
        return uniform(image, (rows, 1), generator)

    def outside(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the value that it pads with."""
        values = draw
        if isinstance(self.value, tuple):
            if len(self.value) != image.shape[1]:
                raise InputError(
                    f"pad has {len(self.value)} values, {self.value}, for an image of "
                    f"{image.shape[1]} channels: give one for each channel, or one for all."
                )
            values = constant([self.value], like=image)
        elif not isinstance(self.value, str):
            values = constant([[self.value]], like=image)
        return values.to(image.dtype).view(*values.shape, *[1] * (image.dim() - 2))

    def move(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the padded image."""
        pads = [self.width] * (2 * (image.dim() - 2))
        border = F.pad(torch.zeros_like(image[:1, :1]), pads, value=1)
        return F.pad(image, pads) + border * self.outside(image, draw)

    def locate(self, points: Points, draw: Tensor, size: Size) -> Points:
        """Return the points as they are: the centre stays."""
        return points

    def grown(self, size: Size) -> Size:
        """Both sides grow."""
        return size[0] + 2 * self.width, size[1] + 2 * self.width


@dataclass(frozen=True)
class MirrorPad(RandomTransform):
    """Pads all sides with what is beside the edge."""

    width: int
    mode: str
    volumes = True

    def check(self, image: Tensor) -> None:
        """Refuse an image with too little beside its edge."""
        super().check(image)
        needed = {"replicate": 0, "reflect": self.width + 1}.get(self.mode, self.width)
        if needed > min(image.shape[2:]):
            raise InputError(
                f"pad({self.width}, {self.mode!r}) cannot take that much from an image of "
                f"{tuple(image.shape[2:])} pixels: the width has to be smaller than the image. "
                "Use mode='constant'."
            )

    def apply(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the padded image."""
        n_axes = image.dim() - 2
        if self.mode != "symmetric":
            return F.pad(image, [self.width] * (2 * n_axes), mode=self.mode)
        for axis in range(2, image.dim()):
            first, last = (
                image.narrow(axis, start, self.width).flip(axis)
                for start in (0, image.shape[axis] - self.width)
            )
            image = torch.cat([first, image, last], dim=axis)
        return image


@dataclass(frozen=True)
class Jitter(LocatingTransform):
    """Crops at a random place."""

    pixels: int
    volumes = True
    uncovers = False

    def check(self, image: Tensor) -> None:
        """Refuse an image of which nothing would be left."""
        super().check(image)
        self._left(image.shape[2:])

    def sample(self, image: Tensor, generator: Generator, rows: int = 1) -> Tensor:
        """Return the offset (x, y) of the crop, each uniform over 0 to `pixels`."""
        return whole(image, (rows, image.dim() - 2), generator, self.pixels)

    def move(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the crop, `pixels` smaller on all axes."""
        return _cropped(image, draw[0], self._left(image.shape[2:]))

    def locate(self, points: Points, draw: Tensor, size: Size) -> Points:
        """Return the points shifted as the crop's centre is from the image's."""
        return points.shifted(draw - self.pixels / 2)

    def grown(self, size: Size) -> Size:
        """Both sides shrink."""
        height, width = self._left(size)
        return height, width

    def _left(self, size: Sequence[int]) -> list[int]:
        if self.pixels >= min(size):
            raise InputError(
                f"jitter({self.pixels}) leaves nothing of an image of {tuple(size)} pixels: make "
                "it larger."
            )
        return [n - self.pixels for n in size]


@dataclass(frozen=True)
class RandomCrop(LocatingTransform):
    """Crops to a size at a random place."""

    size: tuple[int, ...]
    volumes = True
    uncovers = False

    def check(self, image: Tensor) -> None:
        """Refuse an image smaller than the crop."""
        super().check(image)
        self._fitted(image.shape[2:])

    def sample(self, image: Tensor, generator: Generator, rows: int = 1) -> Tensor:
        """Return the place (x, y) as a part of the room there is, from 0 to 1."""
        return uniform(image, (rows, image.dim() - 2), generator)

    def move(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the crop."""
        size = self._fitted(image.shape[2:])
        return _cropped(image, _offsets(draw, _room(image.shape[2:], size, draw))[0], size)

    def locate(self, points: Points, draw: Tensor, size: Size) -> Points:
        """Return the points shifted as the crop's centre is from the image's."""
        room = _room(size, self.grown(size), draw)
        return points.shifted(_offsets(draw, room) - room / 2)

    def grown(self, size: Size) -> Size:
        """It becomes the size of the crop."""
        height, width = self._fitted(size)
        return height, width

    def _fitted(self, size: Sequence[int]) -> Sequence[int]:
        wanted = self.size * len(size) if len(self.size) == 1 else self.size
        if len(wanted) != len(size) or any(n < m for n, m in zip(size, wanted, strict=True)):
            raise InputError(
                f"random_crop({wanted}) cannot be cut from an image of {tuple(size)} pixels: give "
                "a size for every axis, none larger than the image's."
            )
        return wanted


@dataclass(frozen=True)
class CropOrPad(RandomTransform):
    """Crops or pads about the centre to a size."""

    height: int
    width: int
    volumes = True

    def apply(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the image in the size."""
        return centred(image, (self.height, self.width), 0.0)


@dataclass(frozen=True)
class Flip(LocatingTransform):
    """Mirrors at random."""

    axes: str
    p: float
    volumes = True
    uncovers = False

    def check(self, image: Tensor) -> None:
        """Refuse an image without one of the axes."""
        super().check(image)
        if "z" in self.axes and image.dim() == 4:
            raise InputError(
                f"flip({self.axes!r}) needs volumes (B, C, D, H, W), not a tensor of shape "
                f"{tuple(image.shape)}: pictures have the axes 'x' and 'y'."
            )

    def sample(self, image: Tensor, generator: Generator, rows: int = 1) -> Tensor:
        """Return the sign of each axis in the order x, y, z, -1 where it is mirrored."""
        shape = rows, image.dim() - 2
        named = constant([[float(axis in self.axes) for axis in AXES[: shape[1]]]], like=image)
        return 1 - 2 * (uniform(image, shape, generator) < self.p * named).to(draw_dtype(image))

    def apply(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the mirrored image."""
        for axis, sign in enumerate(draw.unbind(dim=1)):
            mirrored = sign.view(-1, *[1] * (image.dim() - 1)) < 0
            image = torch.where(mirrored, image.flip(-1 - axis), image)
        return image

    def locate(self, points: Points, draw: Tensor, size: Size) -> Points:
        """Return the mirrored points."""
        return points.enlarged(draw)


@dataclass(frozen=True)
class Roll(RandomTransform):
    """Shifts at random; what leaves on one side comes back on the other."""

    pixels: int
    volumes = True

    def sample(self, image: Tensor, generator: Generator, rows: int = 1) -> Tensor:
        """Return the shift (x, y) to the right and down, uniform over -`pixels` to `pixels`."""
        return whole(image, (rows, image.dim() - 2), generator, 2 * self.pixels) - self.pixels

    def apply(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the shifted image."""
        for number, shift in enumerate(draw.long().unbind(dim=1)):
            axis = image.dim() - 1 - number
            n = image.shape[axis]
            source = (torch.arange(n, device=image.device) - shift[:, None]) % n
            shape = [len(source), *[1] * (image.dim() - 1)]
            shape[axis] = n
            image = torch.take_along_dim(image, source.view(shape), dim=axis)
        return image


def pad(
    w: int, mode: str = "reflect", constant_value: float | str | Sequence[float] = 0.5
) -> RandomTransform:
    """Pad all sides by `w` pixels.

    Args:
        w: pixels, 0 or more.
        mode: "constant", "reflect" (the edge is not repeated), "symmetric" (it is), "replicate" or
            "circular"; case does not matter.
        constant_value: value for "constant", one or one for each channel; "uniform" draws one
            between 0 and 1 in every step.

    Raises:
        InputError: the width is negative, the mode unknown, or a value not finite.
    """
    if not isinstance(w, Real) or not w >= 0 or w % 1:
        raise InputError(f"pad({w}): the width has to be a whole number of pixels, 0 or more.")
    mode = str(mode).lower()
    if mode == "constant":
        return ConstantPad(int(w), _fill(constant_value))
    if mode not in ("reflect", "symmetric", "replicate", "circular"):
        raise InputError(
            f"pad has no mode {mode!r}; use 'constant', 'reflect', 'symmetric', 'replicate' or "
            "'circular'."
        )
    return MirrorPad(int(w), mode)


def _fill(value: float | str | Sequence[float]) -> Fill:
    if isinstance(value, str):
        if value.lower() != "uniform":
            raise InputError(
                f"pad has no constant_value {value!r}; use a number, one for each channel, or "
                "'uniform'."
            )
        return "uniform"
    values = finite_numbers(np.ravel(value), "pad")
    return values if np.ndim(value) else values[0]


def jitter(d: int) -> RandomTransform:
    """Crop at a random place, so that the output is `d` pixels smaller than the input on all axes.

    Args:
        d: pixels, at least 1; the crop starts at 0 to d, uniformly and independently for each axis.

    Raises:
        InputError: `d` is smaller than 1 or no whole number.
    """
    return Jitter(_whole(d, "jitter"))


def random_crop(size: int | Sequence[int]) -> RandomTransform:
    """Crop to a size at a random place, all places alike.

    Args:
        size: in pixels, for all axes, or (height, width), or (depth, height, width) for volumes.

    Raises:
        InputError: the size is no whole number of at least 1.
    """
    return RandomCrop(tuple(_whole(n, "random_crop") for n in np.ravel(size).tolist()))


def crop_or_pad_to(height: int, width: int) -> RandomTransform:
    """Crop or pad with zeros about the centre, for networks that take one size only.

    Args:
        height: in pixels.
        width: in pixels.

    Raises:
        InputError: a side is no whole number of at least 1.
    """
    return CropOrPad(_whole(height, "crop_or_pad_to"), _whole(width, "crop_or_pad_to"))


def flip(axes: str = "x", p: float = 0.5) -> RandomTransform:
    """Mirror at random, each axis independently.

    Args:
        axes: "x" mirrors left and right, "y" top and bottom, "xy" both; volumes have "z", too.
        p: probability.

    Raises:
        InputError: there is no such axis, or the probability is out of range.
    """
    if not axes or not set(axes.lower()) <= set(AXES):
        raise InputError(f"flip has no axes {axes!r}; use 'x', 'y' or 'xy', with 'z' for volumes.")
    if not 0 <= p <= 1:
        raise InputError(f"flip got p={p!r}: a probability is between 0 and 1.")
    return Flip("".join(sorted(set(axes.lower()))), float(p))


def roll(d: int) -> RandomTransform:
    """Shift at random; what leaves on one side comes back on the other.

    Args:
        d: pixels, at least 1; the shift is -d to d, uniformly and independently for each axis.

    Raises:
        InputError: `d` is smaller than 1 or no whole number.

    Source: Ghiasi et al. 2022, What do Vision Transformers Learn? A Visual Exploration
    (https://arxiv.org/abs/2212.06727), which uses 32 pixels.
    """
    return Roll(_whole(d, "roll"))


def _whole(value: int, name: str) -> int:
    if not isinstance(value, Real) or not value >= 1 or value % 1:
        raise InputError(
            f"{name}({value}): the argument has to be a whole number of pixels, at least 1."
        )
    return int(value)


def _cropped(image: Tensor, start: Tensor, size: Sequence[int]) -> Tensor:
    """Return the part of a size that starts at (x, y) or (x, y, z)."""
    for number, (first, n) in enumerate(zip(start.tolist(), reversed(size), strict=True)):
        image = image.narrow(-1 - number, int(first), n)
    return image


def _room(size: Sequence[int], crop: Sequence[int], draw: Tensor) -> Tensor:
    """Return how many pixels a crop leaves on each axis, last axis first, (1, n_axes)."""
    room = [float(n - m) for n, m in zip(size, crop, strict=True)]
    return constant([room[::-1]], like=draw)


def _offsets(draw: Tensor, room: Tensor) -> Tensor:
    """Return the whole offsets of 0 to the room there is that parts of it from 0 to 1 stand for."""
    # A draw in single precision may round up to one.
    return torch.minimum((draw * (room + 1)).floor(), room)
