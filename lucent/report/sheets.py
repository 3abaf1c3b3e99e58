"""Many small pictures as one file: icons of units, maps over pictures, weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from lucent.misc.io.overlays import AGAINST, FOR
from lucent.misc.io.pictures import to_bytes
from lucent.report.pages import Cell, Sprite
from lucent.report.tiles import QUALITY

#: Side of an icon in pixels; grids show them at half of it on screens of two pixels a point.
ICON = 96
#: Icons in a row, and in a sheet at most: about 200 kB, which a grid loads as it comes into view.
COLUMNS, MOST = 10, 100
#: Side of a map over a picture in pixels; the browser makes it as large as the picture.
_MAP = 32


def sprites(stem: str, count: int) -> tuple[Sprite, ...]:
    """Return the sheets that hold the icons of so many units.

    Args:
        stem: path of the sheets, to which a number and the ending are added.
        count: of units.
    """
    found = []
    for number, first in enumerate(range(0, count, MOST)):
        held = min(MOST, count - first)
        size = (min(COLUMNS, held), -(-held // COLUMNS))
        found.append(Sprite(f"{stem}{number}.webp", ICON, *size, first, held))
    return tuple(found)


def save_icons(icons: Sequence[Image.Image | None], sprite: Sprite, path: Path) -> None:
    """Write the sheet of a sprite.

    Args:
        icons: one for each of its units, None where there is no picture.
        sprite: says where they are on the sheet.
        path: the file.
    """
    side = sprite.size
    sheet = Image.new("RGB", (sprite.columns * side, sprite.rows * side), (128, 128, 128))
    for place, icon in enumerate(icons):
        if icon is not None:
            row, column = divmod(place, sprite.columns)
            sheet.paste(_square(icon, side), (column * side, row * side))
    sheet.save(path, "WEBP", quality=QUALITY, method=4)


def save_maps(rows: Sequence[np.ndarray], path: Path, name: str) -> list[list[Cell]]:
    """Write maps to lay over pictures as one sheet, and return where each one is.

    They are orange above zero, blue below, and the more opaque the further away from it; the
    largest magnitude of all has the full colour.

    Args:
        rows: (n, h, w) each, of any sign.
        path: the file.
        name: path of the file for the pages.
    """
    most = max(float(np.abs(maps).max(initial=0)) for maps in rows) or 1.0
    sheet = _laid_out([_smoothed(maps) / most for maps in rows], _MAP)
    # The colours are two, and the alpha is smooth: neither shows what quality 50 takes away.
    _signed(sheet).save(path, "WEBP", quality=50, alpha_quality=50, method=4)
    return _cells(rows, name)


def save_kernels(rows: Sequence[np.ndarray], path: Path, name: str) -> list[list[Cell]]:
    """Write weights as one sheet, a pixel for each position, and return where each one is.

    Args:
        rows: (n, h, w) each, of any sign; the largest magnitude of all has the full colour.
        path: the file.
        name: path of the file for the pages.
    """
    most = max(float(np.abs(kernels).max(initial=0)) for kernels in rows) or 1.0
    cut = [kernels / most for kernels in _without_frame(rows)]
    side = max(max(kernels.shape[1:]) for kernels in cut)
    _signed(_laid_out(cut, side)).save(path, "PNG")
    return _cells(rows, name)


def _laid_out(rows: Sequence[np.ndarray], side: int) -> np.ndarray:
    """Return maps (n, h, w) row by row as one, each in the middle of a square of this side."""
    sheet = np.zeros((len(rows), side, max(map(len, rows)), side), np.float32)
    for row, maps in enumerate(rows):
        count, height, width = maps.shape
        top, left = (side - height) // 2, (side - width) // 2
        sheet[row, top : top + height, :count, left : left + width] = maps.transpose(1, 0, 2)
    return sheet.reshape(len(rows) * side, -1)


def _cells(rows: Sequence[np.ndarray], name: str) -> list[list[Cell]]:
    columns = max(map(len, rows))
    return [
        [Cell(name, c, r, columns, len(rows)) for c in range(len(k))] for r, k in enumerate(rows)
    ]


def _without_frame(rows: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return maps (n, h, w) of one size without the frame in which all are zero, but centred."""
    used = np.any([np.abs(maps).max(0, initial=0) > 0 for maps in rows], axis=0)
    frame = []
    for along in (used.any(1), used.any(0)):
        places = np.flatnonzero(along)
        margin = min(places[0], len(along) - 1 - places[-1]) if len(places) else 0
        frame.append(slice(margin, len(along) - margin))
    return [maps[:, frame[0], frame[1]] for maps in rows]


def _square(picture: Image.Image, side: int) -> Image.Image:
    """Return the middle of a picture as an icon."""
    length = min(picture.size)
    left, top = ((whole - length) // 2 for whole in picture.size)
    box = (left, top, left + length, top + length)
    return picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS, box=box)


def _smoothed(maps: np.ndarray) -> np.ndarray:
    """Return maps (n, h, w) at the size of those over pictures."""
    values = torch.from_numpy(np.asarray(maps, np.float32))[None]
    return F.interpolate(values, (_MAP, _MAP), mode="bilinear", antialias=True)[0].numpy()


def _signed(values: np.ndarray) -> Image.Image:
    """Return numbers from -1 to 1 as a picture, transparent at zero."""
    pixels = np.where((values < 0)[..., None], AGAINST, FOR)
    alpha = np.clip(np.abs(values), 0, 1)[..., None]
    return Image.fromarray(to_bytes(np.concatenate([pixels, alpha], -1)))
