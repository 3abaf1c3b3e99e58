"""Interaction: what several units look for together, and what random directions do."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from lucent.errors import InputError
from lucent.optvis import objectives, param
from lucent.optvis.defaults import checked_spec, default_image
from lucent.optvis.objectives import Objective
from lucent.optvis.param import Image
from lucent.recipes._pictures import (
    Wanted,
    activations,
    as_objectives,
    caption,
    rendered,
    responses,
    slow_adam,
    strengths,
)
from lucent.recipes.results import Panels, Result
from lucent.util import forked_rng


@dataclass(frozen=True, eq=False)
class Interaction(Result):
    """Pictures of units, and of every two of them at once.

    Attributes:
        units: names.
        images: (n, n, H, W, C) in [0, 1]; the diagonal is each unit alone, and the picture of two
            is there twice.
        values: response of unit i to picture (i, j), (n, n), as a share of its response to the
            picture of it alone: what the other one leaves of it, so that 1 is all of it.
    """

    units: tuple[str, ...]
    images: np.ndarray
    values: np.ndarray

    def panels(self) -> Panels:
        """Return the pictures as a square."""
        names = list(enumerate(self.units))
        labels = [a if n == m else f"+ {b}" for n, a in names for m, b in names]
        return Panels([*self.images.reshape(-1, *self.images.shape[2:])], labels, len(self.units))


def neuron_interaction(
    model: nn.Module,
    units: Sequence[Wanted],
    *,
    size: int | tuple[int, int] | None = None,
    **options: Any,
) -> Interaction:
    """Make pictures of units, and of every two of them at once.

    >>> from lucent.modelzoo import synthnet
    >>> grid = neuron_interaction(synthnet(), ["mixed4a:63", "mixed4a:49"], steps=2)
    >>> grid.images.shape
    (2, 2, 96, 96, 3)

    The pictures are aligned: that of two units is the mean of those of the units, plus what it has
    for itself; and there is structure that all share. The mean gets no gradient, so that pictures
    of single units stay what they are. Units count by what they respond to pictures of their own,
    which are made first.

    Args:
        model: the network.
        units: at least two, such as "mixed4a:476".
        size: in pixels, (height, width) or both; None is that of the model's spec.
        options: `steps`, by default 256, and further arguments of `render_vis`; the optimizer is
            Adam with rate 0.02 unless given, because all parts that add up learn at its rate.

    Raises:
        InputError: there are fewer than two units, or one does not exist.

    Source: Olah et al. 2017, Feature Visualization
    (https://distill.pub/2017/feature-visualization); the grid: Lucid's notebook on neuron
    interaction grids.
    """
    wanted = as_objectives(units, least=2, name="neuron_interaction")
    spec, count = checked_spec(model, needed=True), len(wanted)
    alone = strengths(model, wanted, size=size, **options)
    even = [unit / own for unit, own in zip(wanted, alone, strict=True)]
    pairs = [(n, n) for n in range(count)] + [*itertools.combinations(range(count), 2)]

    def image() -> Image:
        plain = default_image(spec, size, batch=count)
        others = default_image(spec, size, batch=len(pairs) - count)
        plain.image_f = _Blends(cast("Image", plain.image_f), cast("Image", others.image_f))
        return plain

    objective = Objective.sum(even[n].about(row) for row, pair in enumerate(pairs) for n in {*pair})
    pictures = rendered(model, objective, image, **{"optimizer": slow_adam, **options})[-1]
    rows = _squared(pairs)
    values = np.take_along_axis(responses(model, wanted, pictures, options), rows, axis=1)
    own = np.diagonal(values)
    shares = values / np.where(own == 0, 1, own)[:, None]
    return Interaction(tuple(map(caption, wanted)), pictures[rows], shares)


def _squared(pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return at (a, b) and (b, a) the place of the pair a, b in a list of them."""
    places: dict[tuple[int, int], int] = {}
    for place, (a, b) in enumerate(pairs):
        places[a, b] = places[b, a] = place
    count = max(places)[0] + 1
    return np.array([[places[a, b] for b in range(count)] for a in range(count)])


class _Blends(Image):
    """Unconstrained images of single units, and of pairs that begin as the mean of two of them.

    Args:
        single: (n, C, H, W).
        pairs: what belongs to pairs (0, 1), (0, 2), ... alone, (n * (n - 1) / 2, C, H, W).
    """

    def __init__(self, single: Image, pairs: Image) -> None:
        super().__init__()
        self.single, self.pairs = single, pairs
        count, channels, height, width = single().shape
        # Lucid's share of what is common: a quarter of the resolution, added to all.
        coarse = (1, channels, max(1, height // 4), max(1, width // 4))
        self.shared = param.lowres_tensor((1, channels, height, width), coarse)
        self.register_buffer("ends", torch.triu_indices(count, count, 1), persistent=False)

    def forward(self) -> Tensor:
        """Return the rows of single units, then those of pairs."""
        single = self.single()
        means = single.detach()[self.ends].mean(0)
        return torch.cat([single, means + self.pairs()]) + self.shared()


@dataclass(frozen=True, eq=False)
class Directions(Result):
    """Pictures of random directions of a layer, and of single units beside them.

    Attributes:
        layer: where.
        directions: (n, C), of length 1.
        images: of the directions, (n, H, W, C) in [0, 1].
        units: numbers of the units, (n,).
        unit_images: of the units, (n, H, W, C) in [0, 1].
    """

    layer: str
    directions: np.ndarray
    images: np.ndarray
    units: tuple[int, ...]
    unit_images: np.ndarray

    def panels(self) -> Panels:
        """Return the units in one row, the directions in the next."""
        labels = [f"{self.layer}:{unit}" for unit in self.units]
        labels += [f"direction {n}" for n in range(len(self.images))]
        return Panels([*self.unit_images, *self.images], labels, len(self.units))


def random_directions(
    model: nn.Module,
    layer: str,
    *,
    count: int = 4,
    size: int | tuple[int, int] | None = None,
    seed: int = 0,
    **options: Any,
) -> Directions:
    """Make pictures of random directions of a layer, and of as many random units of it.

    Units are directions, too, those of the axes; the pictures tell whether they mean more than
    others.

    >>> from lucent.modelzoo import synthnet
    >>> random_directions(synthnet(), "mixed4a", count=2, steps=2).directions.shape
    (2, 280)

    Args:
        model: the network.
        layer: such as "mixed4a".
        count: number of directions, and of units.
        size: in pixels, (height, width) or both; None is that of the model's spec.
        seed: of the directions, the units and the pictures.
        options: `steps`, by default 256, and further arguments of `render_vis`.

    Raises:
        InputError: there is no direction, or there are more than channels.
        LayerError: the layer does not exist.

    Source: Olah et al. 2017, Feature Visualization
    (https://distill.pub/2017/feature-visualization).
    """
    spec = checked_spec(model, needed=True)
    with forked_rng(seed):
        start = default_image(spec, size)()
    with activations(model, [layer], start, options) as T:
        channels = T.channels_first(layer).shape[1]
    if not 1 <= count <= channels:
        raise InputError(
            f"count={count}: {layer} has {channels} channels, so give 1 to {channels} directions."
        )
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((count, channels), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    units = sorted(rng.choice(channels, count, replace=False).tolist())
    images = rendered(
        model,
        Objective.sum(_along(layer, [*vectors, *np.eye(channels, dtype=np.float32)[units]])),
        lambda: default_image(spec, size, batch=2 * count),
        seed=seed,
        **options,
    )[-1]
    return Directions(layer, vectors, images[:count], tuple(units), images[count:])


def _along(layer: str, vectors: Iterable[np.ndarray]) -> Iterable[Objective]:
    """Return the product with each vector, each about an image of its own."""
    for row, vector in enumerate(vectors):
        yield objectives.direction(layer, vector, batch=row, cossim_pow=0)
