"""What an atlas is made of: activations of many pictures, and what is known about each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from lucent.collect import Collection
from lucent.errors import InputError
from lucent.misc.io.pictures import as_numpy
from lucent.recipes.atlas.layout import second_moment
from lucent.units import whole

#: Rows that are read at a time: of memory-mapped files never all at once.
_ROWS = 8192


@dataclass(frozen=True, eq=False)
class Samples:
    """Activations of single positions, one or more of each picture of a data set.

    Attributes:
        vectors: (n, C), activations of a layer; it may be memory-mapped.
        labels: class of the picture of each, (n,), places in `names`, -1 where it is unknown; None
            without classes.
        names: of the classes of the data set.
        attributions: of each to the logits of the network, (n, K); None without.
        classes: of the network, K names.
        moment: mean of the outer products of activations with themselves, (C, C); None takes that
            of the vectors.
        images: number of the picture of each, (n,); None where it is unknown.

    Raises:
        InputError: the shapes do not fit, or a vector is not finite.
    """

    vectors: np.ndarray
    labels: np.ndarray | None = None
    names: tuple[str, ...] = ()
    attributions: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    moment: np.ndarray | None = None
    images: np.ndarray | None = None

    def __post_init__(self) -> None:
        shape = self.vectors.shape
        if len(shape) != 2 or not np.issubdtype(self.vectors.dtype, np.floating):
            raise InputError(
                f"Vectors are floats (n, C), not {self.vectors.dtype} {shape}: activations "
                "(B, C, H, W) become them by acts.movedim(1, -1).flatten(0, -2)."
            )
        for name in ("labels", "attributions", "images"):
            given = getattr(self, name)
            if given is not None and len(given) != len(self):
                raise InputError(f"There are {len(self)} vectors, but {len(given)} {name}.")
        if self.attributions is not None and self.attributions.ndim != 2:
            raise InputError(
                f"attributions has shape {self.attributions.shape}: expected (n, K), one for each "
                "class."
            )

    def __len__(self) -> int:
        return len(self.vectors)

    def class_index(self, label: str | int) -> int:
        """Return the place of a class of the network among the attributions.

        Raises:
            InputError: there are no attributions, or no such class.
        """
        if self.attributions is None:
            raise _no_attributions()
        n_classes = self.attributions.shape[1]
        if isinstance(label, str):
            if label in self.classes:
                return self.classes.index(label)
        elif 0 <= whole(label, "label") < n_classes:
            return int(label)
        some = ", ".join(map(repr, self.classes[:5])) or f"0 to {n_classes - 1}"
        raise InputError(f"There is no class {label!r} among the {n_classes}: {some} ...")

    def class_name(self, label: str | int) -> str:
        """Return what a class of the network is called."""
        index = self.class_index(label)
        return self.classes[index] if self.classes else f"class {index}"

    def winners(self) -> NDArray[np.int64]:
        """Return the class of the network that each sample speaks for most, (n,).

        Raises:
            InputError: there are no attributions.
        """
        if self.attributions is None:
            raise _no_attributions()
        parts = [
            np.asarray(self.attributions[first : first + _ROWS]).argmax(1)
            for first in range(0, len(self), _ROWS)
        ]
        return np.concatenate(parts)

    def chosen(self, limit: int | None, seed: int) -> NDArray[np.int64]:
        """Return the places of at most so many samples, in their order.

        Args:
            limit: None takes all.
            seed: the same one chooses the same samples.
        """
        if limit is None or len(self) <= limit:
            return np.arange(len(self))
        chosen = np.random.default_rng(seed).choice(len(self), limit, replace=False)
        return np.sort(chosen)

    def at(self, rows: np.ndarray) -> Samples:
        """Return some of the samples, in memory."""
        moment = second_moment(self.vectors) if self.moment is None else self.moment
        vectors = np.asarray(self.vectors[rows], np.float32)
        if not np.isfinite(vectors).all():
            raise InputError("Some activations are not finite: leave their pictures out.")
        return replace(
            self,
            vectors=vectors,
            moment=moment,
            labels=None if self.labels is None else self.labels[rows],
            attributions=None if self.attributions is None else self.attributions[rows],
            images=None if self.images is None else self.images[rows],
        )

    def digest(self) -> str:
        """Return 16 hexadecimal digits that identify the numbers."""
        found = hashlib.sha256()
        for part in (self.vectors, self.labels, self.attributions):
            if part is not None:
                found.update(f"{part.dtype} {part.shape}".encode())
                for first in range(0, len(part), _ROWS):
                    found.update(np.ascontiguousarray(part[first : first + _ROWS]).tobytes())
        return found.hexdigest()[:16]


#: What activations of many pictures may be given as.
Given: TypeAlias = Samples | Collection | np.ndarray | torch.Tensor


def as_samples(given: Given, layer: str) -> Samples:
    """Return samples of a layer as such.

    Args:
        given: samples, vectors (n, C), or a collection that has the layer.
        layer: name of the layer.

    Raises:
        InputError: it is none of these, or shapes do not fit.
        LayerError: the collection does not have the layer.
    """
    if isinstance(given, Samples):
        return given
    if isinstance(given, torch.Tensor):
        return Samples(as_numpy(given))
    if isinstance(given, np.ndarray):
        return Samples(given)
    if isinstance(given, Collection):
        return _of_collection(given, layer)
    raise InputError(
        f"A {type(given).__name__} holds no activations: give a Collection, Samples, or an array "
        "(n, C)."
    )


def _no_attributions() -> InputError:
    return InputError(
        "This takes attributions to classes: collect with attributions=True, or give "
        "Samples(vectors, attributions=..., classes=...)."
    )


def _of_collection(collection: Collection, layer: str) -> Samples:
    table = collection.samples(layer)
    labels = table["label"].fill_null(-1).to_numpy()
    return Samples(
        collection.vectors(layer),
        labels=labels if (labels >= 0).any() else None,
        names=collection.data_labels,
        attributions=collection.attributions(layer),
        classes=collection.labels,
        moment=as_numpy(collection.second_moment(layer)),
        images=table["image"].to_numpy(),
    )
