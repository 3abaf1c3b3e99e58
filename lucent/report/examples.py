"""Pictures of the data set on the pages of units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from lucent.report.pages import Cell, ExampleGroup, ExampleItem
from lucent.report.sheets import save_maps
from lucent.report.tiles import QUALITY

if TYPE_CHECKING:
    from lucent.collect import Collection, Example

#: Kinds of examples in the order of the pages, in words.
TITLES = {
    "top": "Strongest",
    "high": "99th percentile",
    "middle": "Median",
    "random": "At random",
    "low": "Weakest",
}
#: Pictures in a folder: file systems become slow with too many.
_IN_FOLDER = 1000


def picture_path(index: int) -> str:
    """Return the path of a picture of the data set in the site."""
    return f"pictures/{index // _IN_FOLDER}/{index}.webp"


def shown_pictures(collection: Collection, layers: Iterable[str]) -> dict[str, list[int]]:
    """Return the indices of pictures that are examples, by the folder that they come into."""
    indices = {
        example.index
        for layer in layers
        for unit in range(collection.units(layer))
        for kind in TITLES
        for example in collection.examples(layer, unit, kind)
    }
    folders: dict[str, list[int]] = {}
    for index in sorted(indices):
        folders.setdefault(picture_path(index).rpartition("/")[0], []).append(index)
    return folders


def save_pictures(collection: Collection, indices: list[int], folder: Path) -> None:
    """Write pictures of the data set as the network saw them."""
    for index in indices:
        picture = Image.fromarray(collection.picture(index))
        path = folder / Path(picture_path(index)).name
        picture.save(path, "WEBP", quality=QUALITY, method=4)


def cut_out(collection: Collection, example: Example) -> Image.Image:
    """Return what a unit sees of its example where it is strongest."""
    return Image.fromarray(collection.picture(example.index)).crop(example.box)


class Examples:
    """The examples of the units of one layer.

    Args:
        collection: that has the layer.
        layer: its name.
        site: folder that has the pictures.
    """

    def __init__(self, collection: Collection, layer: str, site: Path) -> None:
        self.collection, self.layer, self.site = collection, layer, site
        self._sizes: dict[str, tuple[int, int]] = {}

    def groups(self, unit: int, path: Path, name: str) -> tuple[ExampleGroup, ...]:
        """Return the examples of a unit, and write the maps over them as one sheet.

        Args:
            unit: of the layer.
            path: the file of the sheet.
            name: its path in the site.
        """
        found = {kind: self.collection.examples(self.layer, unit, kind) for kind in TITLES}
        found = {kind: examples for kind, examples in found.items() if examples}
        cells: Iterator[list[Cell]] = iter(())
        if found and len(self.collection.shape(self.layer)) > 1:
            maps = [_planes(self.collection.heat(self.layer, unit, kind)) for kind in found]
            cells = iter(save_maps(maps, path, name))
        return tuple(
            ExampleGroup(kind, TITLES[kind], tuple(self._items(examples, next(cells, []))))
            for kind, examples in found.items()
        )

    def _items(self, examples: list[Example], cells: list[Cell]) -> Iterator[ExampleItem]:
        labels = self.collection.data_labels
        for place, example in enumerate(examples):
            path = picture_path(example.index)
            width, height = self._size(path)
            left, top, right, bottom = example.box
            yield ExampleItem(
                picture=path,
                heat=cells[place] if cells else None,
                box=(left / width, top / height, right / width, bottom / height),
                value=float(example.value),
                key=example.key,
                label=_name(example.label, labels),
                width=width,
                height=height,
            )

    def _size(self, path: str) -> tuple[int, int]:
        """Return width and height of a picture of the site."""
        if path not in self._sizes:
            with Image.open(self.site / path) as picture:
                self._sizes[path] = picture.size
        return self._sizes[path]


def _name(label: int | None, labels: tuple[str, ...]) -> str:
    return "" if label is None else labels[label] if label < len(labels) else str(label)


def _planes(maps: np.ndarray) -> np.ndarray:
    """Return maps (n, *spatial) as (n, h, w): rows of length one for a line, of volumes the sum."""
    maps = np.asarray(maps, np.float32)
    maps = maps[:, None] if maps.ndim == 2 else maps
    return maps.reshape(len(maps), -1, *maps.shape[-2:]).sum(1)
