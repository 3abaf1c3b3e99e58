"""Cells of a grid over a layout: which samples are in each, and what they have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lucent.errors import InputError
from lucent.units import whole

#: Rows that are read at a time: of memory-mapped files never all at once.
_ROWS = 8192


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a grid that hold enough samples, row by row.

    Attributes:
        grid: cells along each side.
        rows: of each cell, 0 is at the top, (m,).
        columns: of each cell, (m,).
        counts: samples in each, (m,).
        members: the cell of each sample, -1 where it is in none of these, (n,).
    """

    grid: int
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    counts: NDArray[np.int64]
    members: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.counts)

    def means(self, values: np.ndarray, weights: np.ndarray | None = None) -> NDArray[np.float32]:
        """Return the mean of the samples of each cell, (m, C).

        Args:
            values: one row for each sample, (n, C), in any array, memory-mapped ones as well.
            weights: of the samples, (n,), 0 or more; where those of a cell are all 0, they count
                alike.
        """
        members = torch.from_numpy(self.members)
        sums = torch.zeros(len(self), values.shape[1], dtype=torch.float64)
        shares = torch.from_numpy(self._shares(weights))
        for first in range(0, len(values), _ROWS):
            some = slice(first, first + _ROWS)
            kept = members[some] >= 0
            read = torch.from_numpy(np.asarray(values[some], np.float64))[kept]
            sums.index_add_(0, members[some][kept], read * shares[some][kept, None])
        return sums.numpy().astype(np.float32)

    def _shares(self, weights: np.ndarray | None) -> NDArray[np.float64]:
        """Return the weight of each sample as a share of all in its cell, (n,)."""
        inside = self.members >= 0
        cell = self.members[inside]
        alike = 1 / self.counts[cell]
        found = np.zeros(len(self.members))
        found[inside] = alike
        if weights is not None:
            own = np.asarray(weights, np.float64)[inside]
            total = np.bincount(cell, own, minlength=len(self))[cell]
            found[inside] = np.where(total > 0, own / np.where(total > 0, total, 1), alike)
        return found

    def dominant(self, classes: np.ndarray) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the class that most samples of each cell have, and their share, (m,) each.

        Args:
            classes: number of a class for each sample, (n,); negative ones count for none.
        """
        known = (self.members >= 0) & (classes >= 0)
        table = np.zeros((len(self), int(classes.max(initial=0)) + 1), np.int64)
        np.add.at(table, (self.members[known], classes[known]), 1)
        return np.where(table.any(1), table.argmax(1), -1), table.max(1) / self.counts


def cells(positions: np.ndarray, grid: int, density: int = 1) -> Cells:
    """Put points into the cells of a grid, each into exactly one.

    >>> found = cells(np.array([[0.0, 0.0], [1.0, 0.5], [0.9, 0.6]]), 2)
    >>> found.rows, found.columns, found.counts
    (array([0, 1]), array([0, 1]), array([1, 2]))

    Args:
        positions: x and y of each point in [0, 1], y downwards, (n, 2). A point between two cells
            is in the one to the right or below, at the right and lower edge in the last.
        grid: cells along each side, 1 or more.
        density: samples that a cell has at least, 1 or more.

    Raises:
        InputError: one of the numbers is too small, or no cell has enough samples.
    """
    if min(whole(grid, "grid"), whole(density, "density")) < 1:
        raise InputError(f"grid={grid} and density={density} have to be 1 or more.")
    place = np.clip(np.floor(positions * grid), 0, grid - 1).astype(np.int64)
    cell = place[:, 1] * grid + place[:, 0]
    counts = np.bincount(cell, minlength=grid * grid)
    (kept,) = np.nonzero(counts >= density)
    if not len(kept):
        raise InputError(
            f"None of the {grid} x {grid} cells has density={density} samples, the fullest has "
            f"{counts.max()} of {len(positions)}: lower the density, or collect more."
        )
    number = np.full(grid * grid, -1)
    number[kept] = np.arange(len(kept))
    return Cells(grid, kept // grid, kept % grid, counts[kept], number[cell])
