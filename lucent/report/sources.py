"""What a site is made from: a sweep, a collection, or both, of one network."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lucent.errors import InputError, suggestion
from lucent.layers import unwrap
from lucent.modelzoo.spec import spec_of
from lucent.weights import digest

if TYPE_CHECKING:
    from torch import nn

    from lucent.collect import Collection
    from lucent.report.pages import Naming
    from lucent.sweep import Sweep


@dataclass(frozen=True, eq=False)
class Sources:
    """What is known of a network.

    Attributes:
        sweep: pictures made for its units.
        collection: what its units made of a data set.
        model: the network itself.
        wanted: names of the layers that are shown; None are all.

    Raises:
        InputError: there is neither a sweep nor a collection, they are not of one network, or they
            do not have a wanted layer, or none is wanted.
    """

    sweep: Sweep | None
    collection: Collection | None
    model: nn.Module | None = None
    wanted: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if not self.parts:
            raise InputError(
                "A site takes a sweep or a collection, and neither was given: name the folder that "
                "run_sweep or collect has filled, such as microscope(out, sweep='sweep')."
            )
        digests = {name: part.weights for name, part in self.parts.items()}
        if self.model is not None:
            digests["model"] = digest(unwrap(self.model))
        if len(set(digests.values())) > 1:
            given = ", ".join(f"{name} {weights}" for name, weights in digests.items())
            raise InputError(
                f"These are not of one network, the digests of their weights differ ({given}): "
                "make a site of each, or run one of them again with the network of the other."
            )
        if self.wanted is not None and not self.wanted:
            raise InputError("layers is empty: name the layers to show, or leave it out for all.")
        known = self._all_layers()
        if missing := [name for name in self.wanted or () if name not in known]:
            hint = suggestion(missing[0], known) or f"There are {known}."
            raise InputError(f"Neither sweep nor collection has the layer {missing[0]!r}. {hint}")

    @property
    def parts(self) -> dict[str, Sweep | Collection]:
        """The sweep and the collection, as far as there are any."""
        parts = {"sweep": self.sweep, "collection": self.collection}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def name(self) -> str:
        """Name of the network."""
        return next(part.model for part in self.parts.values())

    @property
    def weights(self) -> str:
        """Digest of the weights of the network."""
        return next(part.weights for part in self.parts.values())

    @property
    def layers(self) -> list[str]:
        """Names of the layers that are shown, in the order of the network."""
        every = self._all_layers()
        return [name for name in every if self.wanted is None or name in self.wanted]

    def _all_layers(self) -> list[str]:
        orders = [part.layers for part in self.parts.values()]
        return merged(orders[0], orders[-1])

    def swept(self, layer: str) -> Sweep | None:
        """Return the sweep if it has a layer."""
        return self.sweep if self.sweep is not None and layer in self.sweep.layers else None

    def collected(self, layer: str) -> Collection | None:
        """Return the collection if it has a layer."""
        has = self.collection is not None and layer in self.collection.layers
        return self.collection if has else None

    def shape(self, layer: str) -> tuple[int, ...]:
        """Return the shape of a layer for one picture, (C, *spatial)."""
        known = self.collected(layer) or self.swept(layer)
        return tuple(known.shape(layer)) if known is not None else ()

    def units(self, layer: str) -> list[int]:
        """Return the units of a layer that something is known of."""
        sweep, collection = self.swept(layer), self.collected(layer)
        found = {*sweep.units(layer)} if sweep is not None else set()
        return sorted(found | {*range(collection.units(layer) if collection is not None else 0)})

    def classes(self, layer: str) -> tuple[str, ...]:
        """Return the names of a layer's units if these are the classes of the network, else ()."""
        spec = spec_of(self.model) if self.model is not None else None
        if spec is not None and spec.logits == layer:
            return spec.labels
        labels = self.collection.labels if self.collection is not None else ()
        return tuple(labels) if self.shape(layer) == (len(labels),) else ()

    def labels(self, layer: str) -> tuple[Naming, dict[int, str]]:
        """Return what the units of a layer are called after, and the labels of those with one."""
        if classes := self.classes(layer):
            return "class", {u: classes[u] for u in self.units(layer) if u < len(classes)}
        if (collection := self.collected(layer)) is None or not collection.data_labels:
            return "", {}
        shown = {
            unit: _commonest([e.label for e in collection.examples(layer, unit, "top")])
            for unit in range(collection.units(layer))
        }
        names = collection.data_labels
        return "examples", {u: names[label] for u, label in shown.items() if label is not None}

    def score(self, layer: str, unit: int) -> float | None:
        """Return the activation of a unit on the picture made for its channel."""
        sweep = self.swept(layer)
        if sweep is None or not sweep.has(layer, unit, "channel"):
            return None
        score = sweep.score(layer, unit, "channel")
        return score if math.isfinite(score) else None


def _commonest(labels: Sequence[int | None]) -> int | None:
    """Return the label that more than half of all have, None if there is none."""
    counts = Counter(label for label in labels if label is not None)
    label, count = counts.most_common(1)[0] if counts else (None, 0)
    return label if 2 * count > len(labels) else None


def merged(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """Return the names of two lists in one that keeps the order of the first.

    A name that only the second has comes after the one that it follows there.

    >>> merged(["a", "c"], ["a", "b", "d"])
    ['a', 'b', 'd', 'c']
    """
    names, place = list(first), 0
    for name in second:
        if name in names:
            place = names.index(name) + 1
        else:
            names.insert(place, name)
            place += 1
    return names
