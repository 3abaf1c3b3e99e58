"""The pages of the units of a layer, with the pictures on them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from lucent.errors import InputError
from lucent.report.connections import Connections, Strongest
from lucent.report.examples import Examples, cut_out
from lucent.report.index import Layer
from lucent.report.pages import Cell, LayerRef, Render, Similar, UnitPage, Weight, Weights
from lucent.report.sheets import save_icons, save_kernels
from lucent.report.sources import Sources
from lucent.report.statistics import facts_of, histogram_of, similar_to

if TYPE_CHECKING:
    from lucent.collect import Collection
    from lucent.sweep import Sweep

#: Kinds of pictures in the order of the pages, in words.
TITLES = {
    "channel": "Channel",
    "neuron": "Neuron in the middle",
    "diversity": "Diverse",
    "negative": "Negative",
}
#: Of large pictures that are looked at closely.
_QUALITY = 90


class Units:
    """Makes the pages of the units of one layer.

    Args:
        sources: what is known of the network.
        layers: of the site.
        place: of the layer among them.
        site: folder that has the pictures of the data set.
        folder: for the pictures of the layer.
    """

    def __init__(
        self, sources: Sources, layers: list[Layer], place: int, *, site: Path, folder: Path
    ) -> None:
        self.sources, self.layers, self.place, self.folder = sources, layers, place, folder
        self.layer = layers[place]
        self.name, self.slug = self.layer.page.name, self.layer.page.slug
        self.sweep, self.collection = sources.swept(self.name), sources.collected(self.name)
        self.swept, self.failed = _swept(self.sweep, self.name)
        if self.collection is not None:
            self.examples = Examples(self.collection, self.name, site)
            self.moments = self.collection.moments(self.name)
            self.histogram = self.collection.histogram(self.name)
            self.similar = self._similar(self.collection)

    def _similar(self, collection: Collection) -> dict[int, list[tuple[int, float]]]:
        """Return the most similar units of each with their correlations, none of a huge layer."""
        try:
            order, correlations = similar_to(collection.covariance(self.name))
        except InputError:  # nobody keeps the products of so many channels
            return {}
        rows = enumerate(zip(order.tolist(), correlations.tolist(), strict=True))
        # Units that are active in other places, or never, are not similar: few units have few.
        return {u: [pair for pair in zip(*row, strict=True) if pair[1] > 0] for u, row in rows}

    def save_icons(self) -> None:
        """Write the sheets of icons."""
        for sprite in (*self.layer.page.sprites, self.layer.cover):
            held = self.layer.units[sprite.first : sprite.first + sprite.count]
            icons = [self._icon(unit) for unit in held]
            save_icons(icons, sprite, self.folder / Path(sprite.path).name)

    def _icon(self, unit: int) -> Image.Image | None:
        """Return the picture of a unit's channel, else what it sees of its strongest example."""
        if self.sweep is not None and self.sweep.has(self.name, unit, "channel"):
            with Image.open(self.sweep.files(self.name, unit, "channel")[0]) as picture:
                return picture.convert("RGB")
        if self.collection is not None and unit < self.collection.units(self.name):
            for example in self.collection.examples(self.name, unit, "top")[:1]:
                return cut_out(self.collection, example)
        return None

    def pages(self, before: Connections | None, after: Connections | None) -> Iterator[UnitPage]:
        """Yield the pages in order, each after its pictures have been written.

        Args:
            before: with the layer before this one.
            after: with the layer after it.
        """
        units = self.layer.units
        for place, unit in enumerate(units):
            weights = self._weights(place, before, after)
            yield UnitPage(
                **vars(self.layer.ref(place)),
                naming=self.layer.page.naming if self.layer.page.units[place].label else "",
                previous=units[place - 1] if place else None,
                next=units[place + 1] if place + 1 < len(units) else None,
                renders=tuple(self._renders(unit)),
                **self._collected(unit),
                **weights,
                missing=(*self._missing(unit), *self._unconnected(weights, before, after)),
            )

    def _path(self, file: str) -> str:
        return f"units/{self.slug}/{file}"

    def _renders(self, unit: int) -> Iterator[Render]:
        for kind, title in TITLES.items():
            if self.sweep is None or not self.sweep.has(self.name, unit, kind):
                continue
            names = []
            for number, file in enumerate(self.sweep.files(self.name, unit, kind)):
                names.append(f"{unit}-{kind}-{number}.webp")
                with Image.open(file) as picture:
                    path = self.folder / names[-1]
                    picture.convert("RGB").save(path, "WEBP", quality=_QUALITY, method=4)
            score = self.sweep.score(self.name, unit, kind)
            shown = score if math.isfinite(score) else None
            yield Render(kind, title, tuple(map(self._path, names)), shown)

    def _collected(self, unit: int) -> dict[str, Any]:
        if self.collection is None or unit >= self.collection.units(self.name):
            return {}
        sheet = f"{unit}-heat.webp"
        return {
            "examples": self.examples.groups(unit, self.folder / sheet, self._path(sheet)),
            "histogram": histogram_of(
                self.histogram.counts[unit],
                self.histogram.edges(),
                float(self.moments.low[unit]),
                float(self.moments.high[unit]),
            ),
            "facts": facts_of(self.moments, unit),
            "similar": tuple(
                Similar(**vars(self.layer.ref(self.layer.places[other])), correlation=correlation)
                for other, correlation in self.similar.get(unit, ())
            ),
        }

    def _weights(
        self, place: int, before: Connections | None, after: Connections | None
    ) -> dict[str, Any]:
        found = {}
        if before is not None:
            found["incoming"] = self._side(
                "in", place, before.incoming, self.layers[self.place - 1]
            )
        if after is not None:
            found["outgoing"] = self._side(
                "out", place, after.outgoing, self.layers[self.place + 1]
            )
        return found

    def _side(
        self, side: str, place: int, parts: Sequence[Strongest], other: Layer
    ) -> Weights | None:
        """Return connections with another layer, if any, and write the sheet of their weights."""
        rows = [part.of_unit(place) for part in parts]
        kernels = [row[2] for row in rows if len(row[2])]
        if not kernels:
            return None
        name = f"{self.layer.units[place]}-{side}.png"
        cells = iter(save_kernels(kernels, self.folder / name, self._path(name)))
        linked = [_linked(other, row, cells) for row in rows]
        return Weights(LayerRef(other.page.name, other.page.slug), *linked)

    def _missing(self, unit: int) -> Iterator[str]:
        """Yield which pictures and examples are not there, and how to get them."""
        for kind, error in self.failed.get(unit, ()):
            yield f"{TITLES[kind]}: {error}"
        if unit not in self.swept:
            yield "There are no pictures made for this unit: a sweep makes them."
        if self.collection is None or unit >= self.collection.units(self.name):
            yield "There are no examples and no statistics of this unit: a collection has them."

    def _unconnected(
        self,
        weights: dict[str, Weights | None],
        before: Connections | None,
        after: Connections | None,
    ) -> Iterator[str]:
        """Yield why there are no weights."""
        if self.sources.model is None:
            yield "There are no weights to and from neighbours: they take the model."
            return
        page = self.layer.page
        sides = (("incoming", before, page.previous), ("outgoing", after, page.next))
        for side, found, ref in sides:
            if ref is None or weights.get(side) is not None:
                continue
            if found is not None:
                yield f"All weights between this unit and those shown of {ref.name} are zero."
            else:
                yield (
                    f"There are no weights to or from {ref.name}: it is not connected with this "
                    "layer by what can be made linear."
                )


def _swept(sweep: Sweep | None, layer: str) -> tuple[set[int], dict[int, list[tuple[str, str]]]]:
    """Return the units of a layer that have pictures, and the kinds and reasons of failures."""
    swept: set[int] = set()
    failed: dict[int, list[tuple[str, str]]] = {}
    for record in sweep.records() if sweep is not None else ():
        if record.layer == layer and record.files:
            swept.add(record.unit)
        if record.layer == layer and record.error is not None:
            failed.setdefault(record.unit, []).append((record.kind, record.error))
    return swept, failed


def _linked(
    other: Layer, found: tuple[list[int], list[float], np.ndarray], cells: Iterator[list[Cell]]
) -> tuple[Weight, ...]:
    """Return connections with units of another layer, with the next cells of their sheet."""
    places, values, kernels = found
    row = next(cells) if len(kernels) else []
    return tuple(
        Weight(**vars(other.ref(place)), value=value, heat=cell)
        for place, value, cell in zip(places, values, row, strict=True)
    )
