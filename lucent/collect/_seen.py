"""The pictures of the examples and where units are active in them: the second pass."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lucent.collect._arrays import arrow, parquet, rows_of
from lucent.collect._pictures import Reader, as_bytes, png
from lucent.collect._watching import Watch
from lucent.collect.plans import CollectPlan
from lucent.errors import InputError
from lucent.folders import slug

#: Positions on a side of the largest map that is kept as it is. Pages show them smaller than that.
MOST_POSITIONS = 64


class Wanted:
    """Which images are examples, and of which units, in the order of their maps in the files.

    Args:
        plan: of the collection.
        tables: of examples, by the name of the layer.
    """

    def __init__(self, plan: CollectPlan, tables: Mapping[str, Path]) -> None:
        self._shard = plan.settings.shard
        read = {
            layer: parquet().read_table(file, columns=["image", "unit"])
            for layer, file in tables.items()
        }
        self._rows = {
            layer: (table["image"].to_numpy(), table["unit"].to_numpy())
            for layer, table in read.items()
        }
        every = [images for images, _ in self._rows.values()]
        #: numbers of the images, ascending
        self.images: np.ndarray = np.unique(np.concatenate(every))

    @property
    def n_parts(self) -> int:
        """How many parts the pictures come in."""
        return -(-len(self.images) // self._shard)

    def part(self, number: int) -> np.ndarray:
        """Return the images of a part."""
        return self.images[number * self._shard : (number + 1) * self._shard]

    def units(self, layer: str, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which of some images, and units of a layer, there are maps of, in their order."""
        own, units = self._rows[layer]
        places = np.flatnonzero(np.isin(own, images))
        order = places[np.argsort(own[places], kind="stable")]
        return np.searchsorted(images, own[order]), units[order]

    def maps(self, layer: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the part that holds the map of each example, and its row there."""
        images = self._rows[layer][0]
        parts = np.searchsorted(self.images, images) // self._shard
        order = np.argsort(images, kind="stable")
        rows = np.empty(len(images), np.int64)
        starts = np.searchsorted(parts[order], np.arange(self.n_parts))
        rows[order] = np.arange(len(images)) - starts[parts[order]]
        return parts, rows


class Gallery:
    """Writes the pictures of examples and the maps of their units.

    Args:
        plan: of the collection.
        wanted: which.
        reader: gives images by their numbers.
        watch: looks at the layers.
    """

    def __init__(self, plan: CollectPlan, wanted: Wanted, reader: Reader, watch: Watch) -> None:
        self._plan, self._wanted, self._reader, self._watch = plan, wanted, reader, watch

    def write(self, number: int, part: Path) -> None:
        """Write the files of a part, one batch in memory at a time.

        Args:
            number: of the part.
            part: the folder to write to.

        Raises:
            InputError: an image cannot be read any more.
        """
        images = self._wanted.part(number)
        size = self._plan.settings.batch
        with ExitStack() as stack:
            files = _Files(part, stack)
            for first in range(0, len(images), size):
                self._add(files, images[first : first + size])

    def _add(self, files: _Files, numbers: np.ndarray) -> None:
        prepared = self._reader.some(numbers.tolist())
        if lost := [one.item for one in prepared if one.image is None]:
            raise InputError(
                f"Image {lost[0].key!r} could be read before, but not now ({lost[0].reason}): put "
                "it back and run the same again, or collect anew in another folder."
            )
        images = torch.stack([one.image for one in prepared if one.image is not None])
        pa = arrow()
        pictures = pa.array([png(as_bytes(image)) for image in images], pa.binary())
        files.add("pictures.arrow", pa.record_batch({"index": numbers, "picture": pictures}))
        for layer, acts in self._watch.look(images).items():
            rows, units = self._wanted.units(layer, numbers)
            maps = _reduced(acts[torch.from_numpy(rows), torch.from_numpy(units)])
            files.add(maps_file(layer), rows_of(maps.flatten(1).cpu().numpy(), "map"))


class _Files:
    """Arrow files of a folder that are opened when they get their first batch."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._writers: dict[str, Any] = {}

    def add(self, name: str, batch: Any) -> None:
        """Add a batch to a file."""
        if name not in self._writers:
            pa = arrow()
            sink = self._stack.enter_context(pa.OSFile(str(self._folder / name), "wb"))
            writer = pa.ipc.new_file(sink, batch.schema)
            self._writers[name] = self._stack.enter_context(writer)
        self._writers[name].write_batch(batch)


def maps_file(layer: str) -> str:
    """Return the name of the file with the maps of a layer."""
    return f"maps-{slug(layer)}.arrow"


def _reduced(maps: Tensor) -> Tensor:
    """Return maps (n, *spatial) as (n, h, w) in single precision, large ones as maxima of tiles."""
    spatial = tuple(maps.shape[1:])
    flat = maps.float().reshape(len(maps), *_rows_and_columns(spatial))
    kept = map_shape(spatial)
    if kept == flat.shape[1:] or not len(maps):  # pooling refuses none
        return flat[:, : kept[0], : kept[1]]
    return F.adaptive_max_pool2d(flat[:, None], kept)[:, 0]


def _rows_and_columns(spatial: Sequence[int]) -> tuple[int, int]:
    return math.prod(spatial[:-1]), spatial[-1] if spatial else 1


def map_shape(spatial: Sequence[int]) -> tuple[int, int]:
    """Return the rows and columns of the maps of a layer that are kept."""
    rows, columns = _rows_and_columns(spatial)
    return min(rows, MOST_POSITIONS), min(columns, MOST_POSITIONS)
