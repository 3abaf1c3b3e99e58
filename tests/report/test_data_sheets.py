"""Sheets of small pictures: each one is where its cell says, and shows what it has to."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from lucent.misc.io.overlays import AGAINST, FOR
from lucent.report.sheets import ICON, save_icons, save_kernels, save_maps, sprites


def pixels_of(path, cell):
    """The pixels of a cell as a browser shows it, RGBA in [0, 1]."""
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet.convert("RGBA")) / 255
    assert (pixels.shape[0] % cell.rows, pixels.shape[1] % cell.columns) == (0, 0)
    height, width = pixels.shape[0] // cell.rows, pixels.shape[1] // cell.columns
    return pixels[cell.row * height :, cell.column * width :][:height, :width]


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 100, 101, 256])
def test_sprites_hold_every_unit_once(count):
    found = sprites("units/a/icons-", count)
    assert [place for s in found for place in range(s.first, s.first + s.count)] == [*range(count)]
    cells = [s.cell(place) for s in found for place in range(s.first, s.first + s.count)]
    assert len({(cell.path, cell.row, cell.column) for cell in cells}) == count
    assert all(cell.row < cell.rows and cell.column < cell.columns for cell in cells)


def test_icons_are_where_their_cells_are(tmp_path):
    (sprite,) = sprites("icons-", 23)
    colours = [(10 * n, 255 - 10 * n, 128) for n in range(23)]
    icons = [Image.new("RGB", (40 + n, 30), colour) for n, colour in enumerate(colours)]
    save_icons([*icons[:5], None, *icons[6:]], sprite, tmp_path / "icons.webp")
    for place, colour in enumerate(colours):
        found = pixels_of(tmp_path / "icons.webp", sprite.cell(place))
        assert found.shape[:2] == (ICON, ICON)
        expected = np.array(colour if place != 5 else (128, 128, 128)) / 255
        # Lossy, and its colours have half the resolution, so not at the border.
        assert np.abs(found[8:-8, 8:-8, :3] - expected).max() < 0.05


def test_the_middle_of_a_wide_picture_is_its_icon(tmp_path):
    wide = Image.new("RGB", (90, 30), "red")
    wide.paste((0, 0, 255), (30, 0, 60, 30))
    (sprite,) = sprites("icons-", 1)
    save_icons([wide], sprite, tmp_path / "icons.webp")
    found = pixels_of(tmp_path / "icons.webp", sprite.cell(0))[8:-8, 8:-8]
    assert np.abs(found[..., :3] - (0, 0, 1)).max() < 0.05


def test_maps_are_opaque_where_a_unit_is_strong(tmp_path):
    maps = np.zeros((3, 4, 4), np.float32)
    maps[0, 0, 0], maps[1, 3, 1], maps[2, 2, 2] = 8, 4, -8
    cells = save_maps([maps, maps[:1] / 2], tmp_path / "heat.webp", "heat.webp")
    assert [len(row) for row in cells] == [3, 1]
    strong, half, negative = (pixels_of(tmp_path / "heat.webp", cell) for cell in cells[0])
    again = pixels_of(tmp_path / "heat.webp", cells[1][0])
    largest = [p[..., 3].max() for p in (strong, half, negative, again)]
    assert largest == pytest.approx([1, 0.5, 1, 0.5], abs=0.1)
    assert strong[0, 0, 3] > 0.95
    assert strong[-1, -1, 3] < 0.05
    assert half[-4, 12, 3] == pytest.approx(0.5, abs=0.05)
    assert np.abs(strong[0, 0, :3] - FOR).max() < 0.1
    assert np.abs(negative[20, 20, :3] - AGAINST).max() < 0.1


def test_maps_of_nothing_are_transparent(tmp_path):
    cells = save_maps([np.zeros((2, 5, 5))], tmp_path / "heat.webp", "heat.webp")
    assert pixels_of(tmp_path / "heat.webp", cells[0][1])[..., 3].max() == 0


def test_weights_are_exact_and_of_one_scale(tmp_path):
    positive = np.array([[[2.0, -1.0], [0.0, 1.0]]])
    negative = np.array([[[0.0, 0.0], [0.0, -0.5]], [[0.0, -2.0], [0.0, 0.0]]])
    cells = save_kernels([positive, negative], tmp_path / "in.png", "in.png")
    shown = pixels_of(tmp_path / "in.png", cells[0][0])
    assert np.allclose(shown[..., 3], [[1, 0.5], [0, 0.5]], atol=1 / 255)
    assert np.allclose(shown[0, 0, :3], FOR, atol=1 / 255)
    assert np.allclose(shown[0, 1, :3], AGAINST, atol=1 / 255)
    assert np.allclose(pixels_of(tmp_path / "in.png", cells[1][0])[1, 1, 3], 0.25, atol=1 / 255)


def test_weights_lose_the_frame_that_is_zero_but_stay_centred(tmp_path):
    kernels = np.zeros((2, 7, 9))
    kernels[0, 3, 4], kernels[1, 2, 5] = 1, -1
    cells = save_kernels([kernels[:1], kernels[1:]], tmp_path / "out.png", "out.png")
    first, second = (pixels_of(tmp_path / "out.png", row[0])[..., 3] for row in cells)
    assert first.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert second.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_weights_that_are_no_square_are_in_the_middle_of_one(tmp_path):
    cells = save_kernels([np.ones((1, 1, 3))], tmp_path / "out.png", "out.png")
    shown = pixels_of(tmp_path / "out.png", cells[0][0])[..., 3]
    assert shown.tolist() == [[0, 0, 0], [1, 1, 1], [0, 0, 0]]
