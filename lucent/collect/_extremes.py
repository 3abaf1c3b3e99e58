"""The images on which units are most extreme, found in parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lucent.collect.statistics import doubled

if TYPE_CHECKING:
    from typing_extensions import Self


def strongest(acts: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest number of every unit in every image, and where it is first.

    Args:
        acts: (B, C, *spatial).

    Returns:
        Numbers in double precision and flat positions, (B, C) each, on the CPU.
    """
    flat = acts.flatten(2) if acts.dim() > 2 else acts[..., None]
    positions = flat.argmax(2)
    values = flat.gather(2, positions[..., None])[..., 0]
    return doubled(values).cpu(), positions.cpu()


@dataclass(frozen=True, eq=False)
class Extremes:
    """The images on which each unit is strongest, or weakest.

    Of equal values, the image that comes first in the data set counts as the more extreme one, so
    the result does not depend on how the images were divided.

    Attributes:
        values: from the most extreme on, (C, k).
        images: their indices in the data set, (C, k), int64.
        positions: where in the layer, (C, k), int64: flat index of the row and the column.
        largest: whether they are the strongest.
    """

    values: Tensor
    images: Tensor
    positions: Tensor
    largest: bool = True

    @classmethod
    def of(
        cls, values: Tensor, positions: Tensor, images: Tensor, k: int, *, largest: bool = True
    ) -> Self:
        """Return those of one batch.

        Args:
            values: of the units in the images, (B, C).
            positions: where they are, (B, C).
            images: indices of the images, (B,), increasing.
            k: at most this many for each unit.
            largest: the strongest; False finds the weakest.
        """
        every = images[:, None].expand_as(values)
        return cls(values.T, every.T, positions.T, largest).first(k)

    def merged(self, other: Self, k: int) -> Self:
        """Return those of the images of both, of which the other's come later."""
        values, images, positions = (
            torch.cat([getattr(self, name), getattr(other, name)], 1)
            for name in ("values", "images", "positions")
        )
        return type(self)(values, images, positions, self.largest).first(k)

    def first(self, k: int) -> Self:
        """Return the k most extreme ones of each unit, in their order."""
        order = torch.sort(self.values, dim=1, descending=self.largest, stable=True).indices[:, :k]
        values, images, positions = (
            part.gather(1, order) for part in (self.values, self.images, self.positions)
        )
        return type(self)(values, images, positions, self.largest)

    def rows(self, some: Tensor) -> Self:
        """Return some rows of a table of images: of (m, C) with images (m,)."""
        return type(self)(self.values[some], self.images[some], self.positions[some])

    def picked(self, rows: Tensor) -> Self:
        """Return for each unit some rows of a table of images, (C, n).

        Args:
            rows: their numbers, (n, C).
        """
        return type(self)(
            self.values.gather(0, rows).T, self.images[rows].T, self.positions.gather(0, rows).T
        )
