"""A page with maps of icons at several scales, to move and to zoom into.

It holds all it needs, works from a file, and takes a mouse, the keyboard and fingers.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np

from lucent.errors import InputError
from lucent.misc.io.pictures import over_white, tiled, to_pil
from lucent.misc.io.serialize_array import data_url, serialize_array

#: Sides of a picture in WebP, in pixels, at most.
_LONGEST = 16383


@dataclass(frozen=True, eq=False)
class MapLevel:
    """Icons on a square grid.

    Attributes:
        grid: cells along each side.
        cells: column and row of each icon, (m, 2).
        icons: (m, h, w, C) in [0, 1].
        texts: of each icon, m of them, in lines.

    Raises:
        InputError: there are other numbers of icons, cells and texts, or none at all.
    """

    grid: int
    cells: np.ndarray
    icons: np.ndarray
    texts: Sequence[str]

    def __post_init__(self) -> None:
        if not len(self.cells) == len(self.icons) == len(self.texts) > 0:
            raise InputError(
                f"A map takes at least one icon, with a place and a text for each; got "
                f"{len(self.icons)} icons, {len(self.cells)} places and {len(self.texts)} texts."
            )


def zoom_map(
    levels: Sequence[MapLevel], *, title: str = "", axis: str = "", quality: int = 80
) -> str:
    """Return a page with a map of icons; further in, finer levels take the place of coarse ones.

    >>> level = MapLevel(2, np.array([[0, 1]]), np.zeros((1, 4, 4, 3)), ["rings"])
    >>> zoom_map([level], title="Layer").startswith("<!doctype html>")
    True

    Args:
        levels: coarse ones first.
        title: of the page.
        axis: what lies from left to right.
        quality: of the icons as WebP, 1 to 100.

    Raises:
        InputError: there is no level, or a level has more icons than a WebP picture can hold.
    """
    if not levels:
        raise InputError("A map takes at least one level.")
    page = Template(files("lucent.misc.io").joinpath("zoom_map.html").read_text(encoding="utf-8"))
    # Within a script, "</script>" ends it and "<!--" begins a comment, also in a text.
    content = json.dumps([_described(level, quality) for level in levels]).replace("<", "\\u003c")
    shown = html.escape(title or "Map")
    return page.substitute(title=shown, levels=content, axis=html.escape(axis))


def _described(level: MapLevel, quality: int) -> dict[str, Any]:
    height, width = level.icons.shape[1:3]
    columns = math.ceil(math.sqrt(len(level.icons)))
    if columns * max(height, width) > _LONGEST:
        raise InputError(
            f"{len(level.icons)} icons of {height} x {width} pixels are too many for one picture: "
            "make them smaller, or leave the finest level out."
        )
    sheet = over_white(to_pil(tiled(level.icons, columns)))
    return {
        "grid": level.grid,
        "columns": columns,
        "width": width,
        "height": height,
        "cells": level.cells.tolist(),
        "texts": list(level.texts),
        "sheet": data_url(serialize_array(sheet, fmt="webp", quality=quality), "webp"),
    }
