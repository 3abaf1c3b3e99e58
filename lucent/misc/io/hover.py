"""Pages on which the mouse asks a photograph what a network made of each position.

They hold all they need, work without a network, and take the arrow keys and fingers as well.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np

from lucent.errors import InputError
from lucent.misc.io.overlays import AGAINST, FOR
from lucent.misc.io.pictures import Picture, over_white, tiled, to_bytes, to_pil
from lucent.misc.io.serialize_array import array_to_jsbuffer, data_url, serialize_array

#: Of a single picture on a page, and of each of several, in pixels.
_WIDTHS = (360, 260)
_SHEET_COLUMNS = 16  # a WebP picture has at most 16,383 pixels in a row


def hover_icons(
    picture: Picture,
    icons: np.ndarray | Sequence[np.ndarray],
    indices: np.ndarray,
    values: np.ndarray,
    *,
    labels: Sequence[Any] | None = None,
) -> str:
    """Return a page that shows, for each position of a photograph, some icons and how strong.

    >>> page = hover_icons(np.zeros((8, 8, 3)), np.zeros((5, 4, 4, 3)), np.zeros((2, 2, 1), int),
    ...                    np.ones((2, 2, 1)))
    >>> page.startswith("<!doctype html>")
    True

    Args:
        picture: the photograph, (H, W) or (H, W, C), in [0, 1] or bytes.
        icons: a picture for each unit, (n, h, w, C), in [0, 1] or bytes.
        indices: numbers of the icons at each position, (rows, columns, k), 0 to n - 1.
        values: lengths of the bars under them, (rows, columns, k), the largest of all the longest;
            negative ones have no length.
        labels: a text for each icon; None numbers them.

    Raises:
        InputError: shapes do not fit, an index names no icon, or a value is not finite.
    """
    if len(shapes := {np.shape(icon) for icon in icons}) > 1:
        raise InputError(f"Icons have to be of one shape, not {sorted(shapes)}: scale them first.")
    sheet = np.stack(list(icons)) if len(icons) else np.zeros((0, 1, 1, 3))
    names = list(range(len(sheet)) if labels is None else labels)
    _check_icons(sheet, indices, values, names)
    rows, columns, shown = values.shape
    strongest = int(values.max(-1).argmax())
    pictures = [_described(picture, "", (rows, columns))]
    detail = {
        "sheet": _source(tiled(sheet, _SHEET_COLUMNS)),
        "width": sheet.shape[2],
        "height": sheet.shape[1],
        "columns": min(_SHEET_COLUMNS, len(sheet)),
        "labels": [str(name) for name in names],
        "shown": shown,
        "most": float(values.max()) if values.max() > 0 else 1.0,
    }
    numbers = {
        "indices": array_to_jsbuffer(indices.astype(np.uint32).ravel()),
        "values": array_to_jsbuffer(values.astype(np.float32).ravel()),
    }
    start = [0, strongest % columns, strongest // columns]
    return _page("Units", pictures, _literal(detail, numbers), start, width=_WIDTHS[0])


def hover_maps(
    pictures: Sequence[Picture],
    maps: Sequence[Sequence[np.ndarray | None]],
    *,
    labels: Sequence[Any] | None = None,
    limit: float | None = None,
    start: tuple[int, int, int] | None = None,
) -> str:
    """Return a page that overlays pictures with what a position has to do with all positions.

    >>> ones = np.ones((2, 2, 3, 3))
    >>> hover_maps([np.zeros((8, 8, 3))], [[ones]]).startswith("<!doctype html>")
    True

    Args:
        pictures: n photographs, (H, W) or (H, W, C) each, in [0, 1] or bytes.
        maps: `maps[i][j][y, x]` is what picture j shows while the mouse is in row y and column x of
            picture i, so it is (rows of i, columns of i, h, w): orange where it is positive, blue
            where it is negative; None leaves picture j as it is. The page has a byte for each
            number.
        labels: a caption for each picture.
        limit: the value of full colour; None is for each position the largest magnitude that it
            shows.
        start: picture, column and row to begin with; None is the middle of the first picture.

    Raises:
        InputError: there are other numbers of maps or labels than of pictures, maps have another
            shape, a value is not finite, or the limit is not positive.
    """
    captions = ["" for _ in pictures] if labels is None else [str(label) for label in labels]
    if limit is not None and not limit > 0:
        raise InputError(f"limit={limit} has to be the value of full colour, above 0, or None.")
    arrays = _checked_maps(maps, len(pictures), captions)
    grids = [next(found.shape[:2] for found in row if found is not None) for row in arrays]
    scaled = ["[" + ",".join(_map_literals(row, limit)) + "]" for row in arrays]
    colours = to_bytes(np.array([FOR, AGAINST])).tolist()
    detail = _literal({"colours": colours}, {"maps": f"[{','.join(scaled)}]"})
    at = [0, grids[0][1] // 2, grids[0][0] // 2] if start is None else [int(n) for n in start]
    width = _WIDTHS[len(pictures) > 1]
    return _page("Maps", list(map(_described, pictures, captions, grids)), detail, at, width=width)


def frame_for_maps(pictures: Sequence[Picture]) -> tuple[int, int]:
    """Return the width and the height, in pixels, of a frame for the page of `hover_maps`.

    >>> frame_for_maps([np.zeros((96, 96, 3))] * 4)
    (840, 680)

    Args:
        pictures: as for `hover_maps`.
    """
    sizes = [to_pil(picture).size for picture in pictures]
    height = max(_WIDTHS[len(sizes) > 1] * height / width for width, height in sizes)
    # Three in a row; below each row a caption, and below all of them a line about the position.
    return 840, math.ceil(-(-len(sizes) // 3) * (height + 40) + 80)


def _check_icons(
    icons: np.ndarray, indices: np.ndarray, values: np.ndarray, labels: Sequence[Any]
) -> None:
    if indices.ndim != 3 or indices.shape != values.shape or indices.size == 0:
        raise InputError(
            f"indices {indices.shape} and values {values.shape} have to be of one shape, (rows, "
            "columns, k) with k icons at each position."
        )
    if indices.dtype.kind not in "iu" or indices.min() < 0 or indices.max() >= len(icons):
        raise InputError(
            f"indices name icons by integers from 0 to {len(icons) - 1}; got {indices.dtype} from "
            f"{indices.min()} to {indices.max()}."
        )
    if len(labels) != len(icons):
        raise InputError(f"There are {len(icons)} icons but {len(labels)} labels.")
    _check_finite(values, "values")


def _checked_maps(
    maps: Sequence[Sequence[np.ndarray | None]], count: int, labels: Sequence[str]
) -> list[list[np.ndarray | None]]:
    if count == 0 or {len(maps), len(labels), *map(len, maps)} != {count}:
        raise InputError(
            f"There are {count} pictures, {len(labels)} labels and maps for {len(maps)} pictures "
            f"of {[len(row) for row in maps]}: maps[i][j] is what picture j shows for the "
            "positions of picture i, so there are as many i and j as pictures."
        )
    arrays = [[None if found is None else np.asarray(found) for found in row] for row in maps]
    for row in arrays:
        given = [found for found in row if found is not None]
        shapes = [found.shape for found in given]
        wrong = any(len(shape) != 4 or 0 in shape for shape in shapes)
        if wrong or len({shape[:2] for shape in shapes}) != 1:
            raise InputError(
                f"The maps of a picture have the shapes {shapes}: expected (rows, columns, h, w) "
                "of one or more, with the rows and columns of that picture first."
            )
        for found in given:
            _check_finite(found, "maps")
    return arrays


def _check_finite(values: np.ndarray, name: str) -> None:
    if not np.isfinite(values).all():
        raise InputError(f"{name} has NaN or infinite values: numpy.nan_to_num replaces them.")


def _map_literals(row: Sequence[np.ndarray | None], limit: float | None) -> Iterator[str]:
    """Yield the maps of a picture's positions as integers from -127 to 127."""
    most = np.max([np.abs(found).max((2, 3)) for found in row if found is not None], axis=0)
    # Where all is zero, so is the map, whatever it is divided by.
    full = np.where(most > 0, most, 1) if limit is None else np.full_like(most, limit, float)
    for found in row:
        if found is None:
            yield "null"
            continue
        shares = np.rint(127 * np.clip(found / full[:, :, None, None], -1, 1)).astype(np.int8)
        shape = {"rows": found.shape[2], "columns": found.shape[3]}
        yield _literal(shape, {"values": array_to_jsbuffer(shares.ravel())})


def _described(picture: Picture, label: str, grid: tuple[int, ...]) -> dict[str, Any]:
    return {"source": _source(picture), "label": label, "rows": grid[0], "columns": grid[1]}


def _source(picture: Picture) -> str:
    return data_url(serialize_array(over_white(to_pil(picture)), fmt="webp", quality=85), "webp")


def _page(
    title: str,
    pictures: Sequence[dict[str, Any]],
    detail: str,
    start: Sequence[int],
    *,
    width: int,
) -> str:
    here = files("lucent.misc.io")
    page = Template(here.joinpath("hover.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=title, pictures=_json(pictures), detail=detail, start=_json(start), width=f"{width}px"
    )


def _literal(plain: dict[str, Any], expressions: dict[str, str]) -> str:
    """Return a JavaScript object of data, and of expressions that are written as they are."""
    parts = [f"{_json(name)}: {_json(value)}" for name, value in plain.items()]
    parts += [f"{_json(name)}: {expression}" for name, expression in expressions.items()]
    return "{" + ", ".join(parts) + "}"


def _json(value: Any) -> str:
    # Within a script, "</script>" ends it and "<!--" begins a comment, also in a text.
    return json.dumps(value).replace("<", "\\u003c")
