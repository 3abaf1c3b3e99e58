"""Data for the scripts of the pages, as scripts themselves: pages from a file cannot fetch any."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lucent.report.pages import AtlasPage, LayerPage, Site

#: What would end or begin something else in a page, or end a line in older JavaScript.
_ESCAPED = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def script(key: str, value: Any) -> str:
    r"""Return a script that hands data over: `lucent.data("key", value)`.

    >>> print(script("search", {"label": "</script>"}), end="")
    lucent.data("search",{"label":"\u003c/script\u003e"});

    Args:
        key: what the page asks for it by.
        value: what JSON knows, without NaN and infinite numbers.
    """
    return f"lucent.data({_json(key)},{_json(value)});\n"


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPED)


def search_data(site: Site) -> dict[str, Any]:
    """Return what a search takes.

    Args:
        site: whose pages are searched.

    Returns:
        "layers": as `layer_data`, without "score" and "sparsity"; "atlases": "name" and "slug".
    """
    return {
        "layers": [_named(layer) for layer in site.layers],
        "atlases": [{"name": atlas.name, "slug": atlas.slug} for atlas in site.atlases],
    }


def layer_data(layer: LayerPage) -> dict[str, Any]:
    """Return what the grid of a layer takes.

    Args:
        layer: whose units are shown.

    Returns:
        "name", "slug", "labels" (each once), "sprites" (see `Sprite`), and for each unit in order
        "units" (their numbers), "label" (its place among the labels, -1 for none), "score" and
        "sparsity" (None where not known).
    """
    return {
        **_named(layer),
        "score": [unit.score for unit in layer.units],
        "sparsity": [unit.sparsity for unit in layer.units],
    }


def _named(layer: LayerPage) -> dict[str, Any]:
    labels, places = _places([unit.label for unit in layer.units])
    return {
        "name": layer.name,
        "slug": layer.slug,
        "labels": labels,
        "units": [unit.unit for unit in layer.units],
        "label": places,
        "sprites": [asdict(sprite) for sprite in layer.sprites],
    }


def atlas_data(atlas: AtlasPage) -> dict[str, Any]:
    """Return what the map of an atlas takes.

    Args:
        atlas: that is shown.

    Returns:
        "name", "slug", "layer", "layer_slug", "labels" (each once), and "levels": what a viewer
        takes to find tiles, and "cells": lists of row, column, count, place of the label (-1 for
        none) and share (None where not known).
    """
    labels, places = _places([cell.label for level in atlas.levels for cell in level.cells])
    place = iter(places)
    levels = [
        {
            "grid": level.grid,
            "width": level.size,
            "height": level.size,
            "tile": level.tile,
            "overlap": 0,
            "min_level": level.first,
            "max_level": level.last,
            "format": "webp",
            "alpha": True,
            "path": level.tiles,
            "cells": [
                [cell.row, cell.column, cell.count, next(place), cell.share] for cell in level.cells
            ],
        }
        for level in atlas.levels
    ]
    names = {name: getattr(atlas, name) for name in ("name", "slug", "layer", "layer_slug")}
    return {**names, "labels": labels, "levels": levels}


def _places(labels: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return the labels that are not empty, each once, and the place of each given one, or -1."""
    known = {label: place for place, label in enumerate(dict.fromkeys(filter(None, labels)))}
    return list(known), [known.get(label, -1) for label in labels]
