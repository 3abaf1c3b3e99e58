"""What was collected, read from its folder."""

from __future__ import annotations

import functools
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from torch import Tensor

from lucent.collect._arrays import mapped, matrix, parquet, unpacked
from lucent.collect._merging import KINDS
from lucent.collect._seen import Wanted, map_shape, maps_file
from lucent.collect._sums import MOST_CHANNELS, Sums, from_arrays
from lucent.collect.plans import CollectPlan
from lucent.collect.settings import CollectSettings
from lucent.collect.statistics import Histogram, Moments, Products
from lucent.errors import InputError, suggestion
from lucent.folders import check_part, finished, slug

if TYPE_CHECKING:
    import pyarrow as pa

KIND = "collection"
#: Names of a part and of a file in the parts of layers.
IMAGES, EXAMPLES = "images", "examples.parquet"
_SIDES = ("left", "top", "right", "bottom")


@dataclass(frozen=True)
class Unreadable:
    """An image that could not be used.

    Attributes:
        index: its number in the data.
        key: what the data calls it.
        reason: why it could not be used.
    """

    index: int
    key: str
    reason: str


@dataclass(frozen=True)
class Example:
    """An image that a unit is active in, or not.

    Attributes:
        index: number of the image in the data.
        key: what the data calls it.
        label: number of its class in the data, None where it has none.
        value: the activation of the unit at the position.
        row: where in the layer it is strongest.
        column: the same.
        box: what that position sees of the stored picture: left, top, right and bottom in pixels,
            the last two exclusive.
    """

    index: int
    key: str
    label: int | None
    value: float
    row: int
    column: int
    box: tuple[int, int, int, int]


class Collection:
    """What a data set does to the layers of a network; read where it is needed, not at once.

    Made by `collect` or `Collection.open`.

    Attributes:
        path: its folder.
        plan: what was collected.
    """

    def __init__(self, path: Path, plan: CollectPlan, manifest: dict[str, Any]) -> None:
        self.path, self.plan, self._manifest = path, plan, manifest
        # A site asks for the examples of thousands of units, layer by layer.
        self._table = functools.lru_cache(maxsize=4)(self._read_table)
        self._sums = functools.lru_cache(maxsize=2)(self._read_sums)
        self._maps = functools.lru_cache(maxsize=4)(lambda layer: self._wanted.maps(layer))
        self._part_table = functools.lru_cache(maxsize=256)(self._read_part)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Collection:
        """Open the folder of a collection.

        Raises:
            InputError: there is none, or it is not finished.
            StorageError: it is damaged.
        """
        plan, manifest = finished(path, KIND)
        return cls(Path(os.path.expanduser(path)), CollectPlan.from_json(plan), manifest)

    def __repr__(self) -> str:
        layers = f"{len(self.layers)} layer{'s' * (len(self.layers) != 1)}"
        return f"Collection({str(self.path)!r}: {self.model}, {layers}, {self.n_images} images)"

    @property
    def model(self) -> str:
        """Name of the network."""
        return self.plan.model

    @property
    def weights(self) -> str:
        """Digest of its weights, see `lucent.weights.digest`."""
        return self.plan.weights

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in the order in which they were given."""
        return self.plan.layers

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes of the network; () where it has none."""
        return self.plan.labels

    @property
    def data_labels(self) -> tuple[str, ...]:
        """Names of the classes of the data; () where it has none."""
        return self.plan.data_labels

    @property
    def settings(self) -> CollectSettings:
        """What was kept."""
        return self.plan.settings

    @property
    def n_images(self) -> int:
        """How many images were used."""
        return int(self._manifest["images"])

    @property
    def n_composed(self) -> int:
        """How many images were transparent, and were put on white."""
        return int(self._manifest["composed"])

    @property
    def unreadable(self) -> list[Unreadable]:
        """The images that could not be used, in their order."""
        rows = parquet().read_table(self.path / IMAGES / "unreadable.parquet").to_pylist()
        return [Unreadable(**row) for row in rows]

    def images(self) -> pa.Table:
        """Return the images that were used: index, key and label."""
        return parquet().read_table(self.path / IMAGES / "images.parquet")

    def shape(self, layer: str) -> tuple[int, ...]:
        """Return the shape of what a layer gives for an image, (C, *spatial).

        Raises:
            InputError: the layer was not collected; so do all others that take one.
        """
        return self.plan.shape(self._known(layer))

    def units(self, layer: str) -> int:
        """Return the number of units of a layer, its channels."""
        return self.shape(layer)[0]

    def moments(self, layer: str) -> Moments:
        """Return mean, spread, extremes and sparsity of the units over all positions."""
        return self._sums(self._known(layer)).moments

    def histogram(self, layer: str) -> Histogram:
        """Return how often the units have which value, over all positions."""
        return self._sums(self._known(layer)).histogram

    def covariance(self, layer: str) -> Tensor:
        """Return the covariance of the channels over all positions, (C, C), double precision."""
        return self._products(layer).covariance

    def second_moment(self, layer: str) -> Tensor:
        """Return the mean product of the channels over all positions, (C, C), not centred."""
        return self._products(layer).second_moment

    def colors(self) -> Products:
        """Return mean and covariance of the colours of all pixels, before normalisation."""
        return from_arrays(Products, unpacked(self.path / IMAGES / "colors.arrow"))

    def examples(self, layer: str, unit: int, kind: str = "top") -> list[Example]:
        """Return images of the data for a unit.

        Args:
            layer: name of the layer.
            unit: number of the channel.
            kind: "top" are those where its strongest activation is largest, from the first on;
                "high" those around the 99 % that are weaker, "middle" around half, strongest
                first, and "random", all among `settings.spread` images drawn from all; "low" are
                those where its strongest activation is smallest.

        Raises:
            InputError: there is no such unit or kind.
        """
        table = self._table(self._known(layer))
        own = table.take(self._rows(layer, unit, kind)).drop(["unit", "kind", "rank"])
        rows = own.to_pylist()
        return [
            Example(row.pop("image"), box=tuple(row.pop(side) for side in _SIDES), **row)
            for row in rows
        ]

    def heat(self, layer: str, unit: int, kind: str = "top") -> np.ndarray:
        """Return the activations of a unit in its examples, (n, rows, columns), float32.

        Of layers with more than 64 positions on a side these are the maxima of tiles.

        Args:
            layer: name of the layer.
            unit: number of the channel.
            kind: of examples, as of `examples`.
        """
        chosen = self._rows(layer, unit, kind)
        parts, rows = (found[chosen] for found in self._maps(layer))
        files = (self._part_table(int(n), maps_file(layer)).column("map") for n in parts)
        maps = [file[int(row)].values.to_numpy() for file, row in zip(files, rows, strict=True)]
        return np.array(maps, np.float32).reshape(-1, *map_shape(self.shape(layer)[1:]))

    def picture(self, index: int) -> np.ndarray:
        """Return an image that is an example of any unit as the network saw it, (H, W, 3), bytes.

        Args:
            index: number of the image.

        Raises:
            InputError: it is no example.
        """
        with Image.open(io.BytesIO(self.encoded(index))) as file:
            return np.asarray(file)

    def encoded(self, index: int) -> bytes:
        """Return the same as the content of a PNG file.

        Args:
            index: number of the image.

        Raises:
            InputError: it is no example.
        """
        every = self._wanted.images
        place = int(np.searchsorted(every, index))
        if place == len(every) or every[place] != index:
            raise InputError(
                f"Image {index} is no example of any unit, so it was not kept: `examples` gives "
                f"the indices of those {len(every)} that were."
            )
        part, row = divmod(place, self.settings.shard)
        return bytes(self._part_table(part, "pictures.arrow").column("picture")[row].as_buffer())

    def vectors(self, layer: str) -> np.ndarray:
        """Return the activations at the positions that were drawn, (n, C), mapped from the file."""
        return matrix(self._file(layer, "vectors.arrow"))

    def samples(self, layer: str) -> pa.Table:
        """Return where these are: image, row, column, and label of the image in the data."""
        return parquet().read_table(self._file(layer, "samples.parquet"))

    def attributions(self, layer: str) -> np.ndarray | None:
        """Return what these do for the logits, (n, n_classes), mapped; None if not collected."""
        if layer not in self.plan.attributed:
            self._known(layer)
            return None
        return matrix(self._file(layer, "attributions.arrow"))

    def verify(self) -> None:
        """Read everything and compare it with what was written.

        Raises:
            StorageError: a file is damaged; the text says which.
        """
        parts = [IMAGES, *map(layer_part, self.layers)]
        parts += [picture_part(number) for number in range(self._manifest["picture_parts"])]
        for part in parts:
            check_part(self.path / part)

    def _known(self, layer: str) -> str:
        if layer not in self.layers:
            raise InputError(
                f"The layer {layer!r} was not collected, only {', '.join(self.layers)}. "
                f"{suggestion(layer, self.layers)}".rstrip()
            )
        return layer

    def _file(self, layer: str, name: str) -> Path:
        return self.path / layer_part(self._known(layer)) / name

    def _products(self, layer: str) -> Products:
        products = self._sums(self._known(layer)).products
        if products is None:
            raise InputError(
                f"The layer {layer!r} has {self.units(layer)} channels, and the products of their "
                f"pairs are kept of up to {MOST_CHANNELS}: compute them from vectors({layer!r})."
            )
        return products

    def _rows(self, layer: str, unit: int, kind: str) -> np.ndarray:
        if kind not in KINDS:
            raise InputError(f"There are no {kind!r} examples: the kinds are {', '.join(KINDS)}.")
        if not 0 <= unit < self.units(layer):
            raise InputError(
                f"The layer {layer!r} has the units 0 to {self.units(layer) - 1}, but no {unit}."
            )
        table = self._table(layer)
        per_unit = len(table) // self.units(layer)
        own = table.slice(unit * per_unit, per_unit)["kind"].to_numpy(zero_copy_only=False)
        return unit * per_unit + np.flatnonzero(own == kind)

    @functools.cached_property
    def _wanted(self) -> Wanted:
        return Wanted(self.plan, {name: self._file(name, EXAMPLES) for name in self.layers})

    def _read_table(self, layer: str) -> pa.Table:
        return parquet().read_table(self._file(layer, EXAMPLES))

    def _read_sums(self, layer: str) -> Sums:
        return from_arrays(Sums, unpacked(self._file(layer, "statistics.arrow")))

    def _read_part(self, number: int, name: str) -> pa.Table:
        return mapped(self.path / picture_part(number) / name)


def layer_part(layer: str) -> str:
    """Return the name of the part that is about a layer."""
    return f"layer-{slug(layer)}"


def picture_part(number: int) -> str:
    """Return the name of a part with pictures."""
    return f"pictures-{number:06d}"
