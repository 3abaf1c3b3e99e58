"""Where every number of an activation belongs: its image, its position and its channel."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

# One whole number holds all three: image, position and channel, each in bits of its own.
CHANNEL, POSITION = 1 << 20, 1 << 26
IMAGE = CHANNEL * POSITION
#: Positions from here on are no places of the image but tokens that the network adds, or nowhere.
FIRST_TOKEN = POSITION // 2
#: Of numbers that come from nowhere, such as padding.
NOWHERE = -1


class Parts(NamedTuple):
    """Images (B, 1, ...), positions (1, 1, *grid) and channels (1, C, ...) of a tensor of images.

    They take the memory of a few numbers, where one for each number of a tensor takes more than the
    tensor.
    """

    images: Tensor
    positions: Tensor
    channels: Tensor


class Coordinates:
    """The coordinates of the numbers of one tensor.

    Args:
        codes: one whole number per number, of the shape of the tensor; see `images`, `positions`
            and `channels`. Parts stand for those of (B, C, *grid).
        grid: (H, W), or how many axes of space there are, that positions count through.
        keys: of an attention map, the positions that its last axis counts through.
        added: nothing of the tensor comes from the image.
    """

    def __init__(
        self,
        codes: Tensor | Parts,
        grid: tuple[int, ...],
        keys: Tensor | None = None,
        added: bool = False,
    ) -> None:
        self.parts = codes if isinstance(codes, Parts) else None
        self._codes = None if isinstance(codes, Parts) else codes
        self.grid, self.keys, self.added = grid, keys, added
        tensors = codes if isinstance(codes, Parts) else [codes]
        self.shape = torch.broadcast_shapes(*(tensor.shape for tensor in tensors))

    @property
    def codes(self) -> Tensor:
        """One whole number per number."""
        if self._codes is not None:
            return self._codes
        return self.images * IMAGE + self.positions * CHANNEL + self.channels

    @property
    def images(self) -> Tensor:
        """The image that each number belongs to, 0 to B - 1."""
        return self.codes // IMAGE if self.parts is None else self.parts.images.expand(self.shape)

    @property
    def positions(self) -> Tensor:
        """Places in the grid, counted row by row; `FIRST_TOKEN` + n for the n-th token."""
        if self.parts is None:
            return self.codes // CHANNEL % POSITION
        return self.parts.positions.expand(self.shape)

    @property
    def channels(self) -> Tensor:
        """The channels, in their order but not without gaps."""
        return (
            self.codes % CHANNEL if self.parts is None else self.parts.channels.expand(self.shape)
        )

    @property
    def has_positions(self) -> bool:
        """Whether there is more than one position."""
        positions = self.positions if self.parts is None else self.parts.positions
        return bool((positions != positions.flatten()[0]).any())

    @property
    def is_told_by_shape(self) -> bool:
        """Whether no other axis is as long as one of channels."""
        sizes = self.shape
        own = [axis for axis in range(len(sizes)) if varies(self.channels, axis)]
        return all(sizes.count(sizes[axis]) == 1 for axis in own)

    def moved(self, codes: Tensor) -> Coordinates:
        """Return the coordinates of the same numbers elsewhere."""
        return Coordinates(codes, self.grid, added=self.added)


def of_image(image: Tensor) -> Coordinates:
    """Return the coordinates of an image (B, C, *spatial)."""
    images, channels = (count(n, image.device) for n in image.shape[:2])
    return in_grid(images, channels, image.shape[2:])


def count(n: int, device: torch.device) -> Tensor:
    """Return the numbers 0 to n - 1."""
    return torch.arange(n, device=device)


def in_grid(images: Tensor, channels: Tensor, grid: Iterable[int]) -> Coordinates:
    """Return coordinates (B, C, *grid) from those of images (B,) and of channels (C,)."""
    sides = tuple(grid)
    positions = count(torch.Size(sides).numel(), images.device).view(sides)
    ones = [1] * len(sides)
    parts = Parts(images.view(-1, 1, *ones), positions[None, None], channels.view(1, -1, *ones))
    return Coordinates(parts, sides)


def count_channels(coordinates: Coordinates) -> int:
    """Return how many channels a tensor has."""
    channels = coordinates.channels
    last = [size - 1 for size in channels.shape]
    counts = []
    for axis, size in enumerate(channels.shape):
        line = channels[tuple(slice(None) if n == axis else at for n, at in enumerate(last))]
        if size > 1 and bool((line.diff() != 0).all()):
            counts.append(size)
    return math.prod(counts)


def fitting(tensor: Tensor, given: Sequence[Coordinates]) -> Coordinates | None:
    """Return those coordinates that a tensor has after an operation number by number."""
    same = [coordinates for coordinates in given if coordinates.shape == tensor.shape]
    if same:
        # A layer that mixes positions leaves one of them.
        return next((c for c in same if len(same) == 1 or c.has_positions), same[0])
    for coordinates in given:
        try:
            return coordinates.moved(coordinates.codes.expand(tensor.shape))
        except RuntimeError:
            continue
    return None


def with_most_places(given: Iterable[Coordinates]) -> Coordinates:
    """Return the patches among patches and tokens, which may have the grid of an earlier stage."""
    return max(given, key=lambda coordinates: int((coordinates.positions < FIRST_TOKEN).sum()))


def counts_channels(coordinates: Coordinates, axis: int) -> bool:
    """Whether an axis is one of channels, or may be it because no other is."""
    if varies(coordinates.images, axis) or varies(coordinates.positions, axis):
        return False
    channels = coordinates.channels
    axes = range(channels.dim())
    return varies(channels, axis) or not any(varies(channels, other) for other in axes)


def counted(codes: Tensor, axis: int, size: int) -> Tensor:
    """Return codes of one channel with so many channels along an axis, counted through."""
    shape = [1] * codes.dim()
    shape[axis] = -1
    return codes // CHANNEL * CHANNEL + count(size, codes.device).view(shape)


def varies(numbers: Tensor, axis: int) -> bool:
    """Whether numbers change along an axis."""
    return bool((numbers != numbers.narrow(axis, 0, 1)).any())
