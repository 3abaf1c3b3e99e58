"""What a shard adds up of one layer, and how it lies in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from lucent.collect._trees import Node, Tree
from lucent.collect.statistics import Histogram, Moments, Products

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")

#: Channels of the largest layer whose products are kept: C x C numbers in double precision, which
#: are 134 MB in each shard for as many.
MOST_CHANNELS = 4096


@dataclass(frozen=True, eq=False)
class Sums:
    """Moments and histograms of the units of a layer, products of its channels.

    Attributes:
        moments: over all positions of all images.
        histogram: of the same.
        products: the same; None of more than `MOST_CHANNELS` channels.
    """

    moments: Moments
    histogram: Histogram
    products: Products | None

    @classmethod
    def of(cls, acts: Tensor) -> Self:
        """Return those of one batch, (B, C, *spatial)."""
        by_unit = acts.transpose(0, 1).flatten(1)
        few = len(by_unit) <= MOST_CHANNELS
        return cls(
            Moments.of(by_unit), Histogram.of(by_unit), Products.of(by_unit.T) if few else None
        )

    def merged(self, other: Self) -> Self:
        """Return those of the images of both."""
        products = None
        if self.products is not None and other.products is not None:
            products = self.products.merged(other.products)
        return type(self)(
            self.moments.merged(other.moments), self.histogram.merged(other.histogram), products
        )


def merging() -> Tree[Any]:
    """Return what merges the statistics of batches."""
    return Tree(lambda left, right: left.merged(right))


def nodes_to_arrays(nodes: Sequence[Node[Any]]) -> dict[str, np.ndarray]:
    """Return the nodes of a tree of statistics as arrays by name."""
    arrays = {"nodes": np.array([node[:2] for node in nodes], np.int64).reshape(-1, 2)}
    for number, node in enumerate(nodes):
        for name, array in to_arrays(node.value).items():
            arrays[f"{number}.{name}"] = array
    return arrays


def nodes_from_arrays(kind: type[T], arrays: Mapping[str, np.ndarray]) -> list[Node[T]]:
    """Return the nodes that `nodes_to_arrays` took apart, of statistics of a kind."""
    return [
        Node(start, size, from_arrays(kind, within(arrays, str(number))))
        for number, (start, size) in enumerate(arrays["nodes"].tolist())
    ]


def to_arrays(statistics: Any) -> dict[str, np.ndarray]:
    """Return the tensors of a data class, and of those inside it, by their names with dots."""
    arrays: dict[str, np.ndarray] = {}
    for field in fields(statistics):
        value = getattr(statistics, field.name)
        if isinstance(value, Tensor):
            arrays[field.name] = value.cpu().numpy()
        elif is_dataclass(value):
            inside = to_arrays(value)
            arrays |= {f"{field.name}.{name}": array for name, array in inside.items()}
    return arrays


def from_arrays(kind: type[T], arrays: Mapping[str, np.ndarray]) -> T:
    """Return the data class whose tensors `to_arrays` gave."""
    values: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name in arrays:
            values[field.name] = torch.from_numpy(arrays[field.name].copy())
        elif part := _PARTS.get(field.name):
            inside = within(arrays, field.name)
            values[field.name] = from_arrays(part, inside) if inside else None
    return kind(**values)


_PARTS: dict[str, type] = {"moments": Moments, "histogram": Histogram, "products": Products}


def within(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with another and a dot, by the rest of their names."""
    return {k.removeprefix(f"{name}."): a for k, a in arrays.items() if k.startswith(f"{name}.")}
