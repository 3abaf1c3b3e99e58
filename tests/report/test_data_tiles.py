"""Pyramids of tiles: put together they are the map, at every level."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from lucent.errors import InputError
from lucent.report.tiles import TILE, Mosaic


def mosaic(grid, side, channels=3):
    """Some cells of a grid with smooth colours that say where they are."""
    places = [(r, c) for r in range(grid) for c in range(grid) if (r + 2 * c) % 3]
    icons = np.ones((len(places), side, side, channels), np.float32)
    for icon, (row, column) in zip(icons, places, strict=True):
        icon[..., :3] = row / grid, column / grid, 0.5
    return Mosaic(grid, icons, places)


def canvas_of(made):
    """The whole map, RGBA."""
    side = made.icons.shape[1]
    canvas = np.zeros((made.size, made.size, 4), np.float32)
    for icon, (row, column) in zip(made.icons, made.places, strict=True):
        at = canvas[row * side : (row + 1) * side, column * side : (column + 1) * side]
        at[..., :3], at[..., 3] = icon[..., :3], 1
    return canvas


def together(folder, size):
    """The tiles of a level as one picture."""
    level = np.full((size, size, 4), np.nan)
    for path in folder.iterdir():
        x, y = map(int, path.stem.split("_"))
        with Image.open(path) as tile:
            pixels = np.asarray(tile.convert("RGBA")) / 255
        place = level[y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE]
        assert place.shape == pixels.shape
        place[:] = pixels
    assert np.isfinite(level).all()
    return level


@pytest.mark.parametrize(("grid", "side"), [(3, 20), (4, 64), (5, 55), (10, 61)])
def test_the_tiles_of_every_level_are_the_map(tmp_path, grid, side):
    made = mosaic(grid, side)
    made.save(tmp_path)
    canvas = canvas_of(made)
    levels = sorted(int(folder.name) for folder in tmp_path.iterdir())
    assert levels == [*range(made.first, made.last + 1)]
    for level in reversed(levels):
        size = -(-made.size // 2 ** (made.last - level))
        found = together(tmp_path / str(level), size)
        scale = 2 ** (made.last - level)
        at = np.minimum((np.arange(size) * scale + scale // 2), made.size - 1)
        expected = canvas[at][:, at]
        opaque = expected[..., 3] > 0
        # Between cells, a pixel of a smaller level is of several.
        assert (np.abs(found[..., 3] - expected[..., 3]) > 0.1).mean() < 0.15
        both = opaque & (found[..., 3] > 0.99)
        assert np.abs(found - expected)[both][:, :3].mean() < 0.03


def test_the_smallest_level_is_one_tile_and_the_next_is_not(tmp_path):
    made = mosaic(9, 60)
    made.save(tmp_path)
    assert [f.name for f in (tmp_path / str(made.first)).iterdir()] == ["0_0.webp"]
    assert len(list((tmp_path / str(made.first + 1)).iterdir())) > 1
    assert 2 ** (made.last - 1) < made.size <= 2**made.last


def test_a_place_without_a_cell_is_transparent(tmp_path):
    made = Mosaic(2, np.ones((1, 8, 8, 3), np.float32), [(0, 1)])
    made.save(tmp_path)
    alpha = together(tmp_path / str(made.last), 16)[..., 3]
    assert alpha[:8, 8:].min() == 1
    assert alpha[:, :8].max() == alpha[8:].max() == 0


def test_transparent_icons_stay_transparent(tmp_path):
    icon = np.ones((1, 8, 8, 4), np.float32)
    icon[..., 3] = 0.5
    made = Mosaic(1, icon, [(0, 0)])
    made.save(tmp_path)
    found = together(tmp_path / str(made.last), 8)
    assert np.allclose(found[..., 3], 0.5, atol=0.02)


def test_icons_have_to_be_squares_for_as_many_cells():
    with pytest.raises(InputError, match=r"\(2, 4, 5, 3\) for 2 cells make no map"):
        Mosaic(3, np.zeros((2, 4, 5, 3)), [(0, 0), (0, 1)])
    with pytest.raises(InputError, match="for 1 cells make no map"):
        Mosaic(3, np.zeros((2, 4, 4, 3)), [(0, 0)])
