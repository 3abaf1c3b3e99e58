"""One level of an atlas: cells with their averages, what they are called, and their icons."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lucent.errors import InputError
from lucent.misc.io.pictures import to_pil
from lucent.recipes.atlas._icons import over_grey
from lucent.recipes.results import Panels, Result
from lucent.units import whole

#: Classes that the text of a cell names.
_NAMED = 3


@dataclass(frozen=True, eq=False)
class Level(Result):
    """An atlas at one scale. All arrays have a row for each cell that holds enough samples.

    Attributes:
        grid: cells along each side.
        rows: row of each cell, 0 is at the top, (m,).
        columns: column of each cell, (m,).
        counts: samples in each cell, (m,).
        vectors: mean activation of each cell, (m, C), float32.
        icons: (m, size, size, 3) in [0, 1], float32; of transparent ones the fourth channel is
            opacity; 0.5 where one was not finished.
        done: (m,), True where the icon was finished.
        labels: class of most samples of each cell: of their pictures in the data set, or else the
            one their attributions speak for most; () without classes.
        shares: share of the samples that are of this class, (m,); 0 without classes.
        attributions: mean attribution of each cell to the classes of the network, (m, K), or None.
    """

    grid: int
    rows: np.ndarray
    columns: np.ndarray
    counts: np.ndarray
    vectors: np.ndarray
    icons: np.ndarray
    done: np.ndarray
    labels: tuple[str, ...]
    shares: np.ndarray
    attributions: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.counts)

    def canvas(self, size: int | None = None) -> np.ndarray:
        """Return the map as one picture, white where no cell is.

        Args:
            size: of its sides, in pixels; None has the icons as they are.

        Returns:
            (H, W, C), float32 in [0, 1].

        Raises:
            InputError: the size is below 1.
        """
        icons = over_grey(self.icons)
        side, channels = icons.shape[1], icons.shape[3]
        tiles = np.ones((self.grid, self.grid, side, side, channels), np.float32)
        tiles[self.rows, self.columns] = icons
        length = self.grid * side
        canvas = tiles.swapaxes(1, 2).reshape(length, length, channels)
        if size is None:
            return canvas
        if whole(size, "size") < 1:
            raise InputError(f"size={size} has to be 1 or more pixels.")
        small = np.asarray(to_pil(canvas).resize((size, size)), np.float32) / 255
        return small.reshape(size, size, -1)

    def texts(self, classes: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return what there is to say about each cell, some lines of text.

        Args:
            classes: of the network, for which there are attributions.
        """
        return tuple(map("\n".join, (self._lines(n, classes) for n in range(len(self)))))

    def _lines(self, cell: int, classes: tuple[str, ...]) -> list[str]:
        count = int(self.counts[cell])
        lines = [f"{count} sample{'' if count == 1 else 's'}"]
        if self.labels:
            lines.insert(0, f"{self.labels[cell]} ({self.shares[cell]:.0%})")
        if self.attributions is not None:
            values = self.attributions[cell]
            strongest = [n for n in np.argsort(-values, kind="stable")[:_NAMED] if values[n] > 0]
            names = [classes[n] if classes else f"class {n}" for n in strongest]
            lines.append("speaks for " + (", ".join(names) or "none"))
        return lines

    def panels(self) -> Panels:
        """Return the map."""
        return Panels([self.canvas()], (f"{self.grid} x {self.grid}",))

    def with_icons(self, icons: np.ndarray, done: np.ndarray) -> Level:
        """Return the level with other icons.

        Args:
            icons: (m, size, size, C) in [0, 1].
            done: (m,), which are finished.
        """
        return replace(self, icons=icons, done=done)
