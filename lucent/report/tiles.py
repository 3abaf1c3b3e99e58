"""Pyramids of tiles, for maps that are too large to be one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from lucent.errors import InputError
from lucent.misc.io.pictures import to_pil

#: Side of a tile in pixels, as in Deep Zoom.
TILE = 256
#: Of lossy pictures: icons are full of fine texture, and half the bytes of 95 look the same.
QUALITY = 85


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Square icons in some cells of a square grid, as one large picture that is never made whole.

    Attributes:
        grid: cells on a side.
        icons: (m, s, s, C) with C = 3 or 4, in [0, 1] or bytes.
        places: row and column of each icon.
    """

    grid: int
    icons: np.ndarray
    places: Sequence[tuple[int, int]]

    def __post_init__(self) -> None:
        shape = np.shape(self.icons)
        if len(shape) != 4 or shape[1] != shape[2] or len(self.places) != len(self.icons):
            raise InputError(
                f"Icons of shape {shape} for {len(self.places)} cells make no map: expected "
                "(m, s, s, C), one for each cell."
            )

    @property
    def size(self) -> int:
        """Side of the picture in pixels."""
        return self.grid * self.icons.shape[1]

    @property
    def last(self) -> int:
        """Number of the level of full size; each one before is half as large, level 0 a pixel."""
        return (self.size - 1).bit_length()

    @property
    def first(self) -> int:
        """Number of the largest level that is a single tile."""
        return min(self.last, TILE.bit_length() - 1)

    def save(self, folder: Path) -> None:
        """Write the tiles: column x and row y of level z are `{z}/{x}_{y}.webp`.

        Args:
            folder: where the folders of the levels come to lie.
        """
        for level in range(self.first, self.last + 1):
            (folder / str(level)).mkdir(parents=True)
        self._saved(folder, self.first, 0, 0)

    def _saved(self, folder: Path, level: int, x: int, y: int) -> Image.Image:
        """Write a tile and all that lie in it, and return it; each level holds one at a time."""
        if level == self.last:
            tile = self._full(x, y)
        else:
            tile = Image.new("RGBA", (2 * TILE, 2 * TILE))
            for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
                if self._extent(level + 1, max(2 * x + dx, 2 * y + dy)) > 0:
                    part = self._saved(folder, level + 1, 2 * x + dx, 2 * y + dy)
                    tile.paste(part, (dx * TILE, dy * TILE))
            tile = tile.reduce(2)
        tile = tile.crop((0, 0, self._extent(level, x), self._extent(level, y)))
        path = folder / str(level) / f"{x}_{y}.webp"
        tile.save(path, "WEBP", quality=QUALITY, method=4)
        return tile

    def _extent(self, level: int, place: int) -> int:
        """Return how many pixels of a level lie in a column or row of tiles."""
        return min(TILE, -(-self.size // 2 ** (self.last - level)) - TILE * place)

    def _full(self, x: int, y: int) -> Image.Image:
        tile, side = Image.new("RGBA", (TILE, TILE)), self.icons.shape[1]
        for icon, (row, column) in zip(self.icons, self.places, strict=True):
            left, top = column * side - x * TILE, row * side - y * TILE
            if -side < left < TILE and -side < top < TILE:
                tile.paste(to_pil(icon).convert("RGBA"), (left, top))
        return tile
