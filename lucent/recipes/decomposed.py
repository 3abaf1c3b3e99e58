"""A unit taken apart: groups of channels of an earlier layer that it gets its activation from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from lucent.attribution import expanded_weights, gradient_x_activation
from lucent.errors import InputError
from lucent.misc.io.overlays import overlaid
from lucent.misc.io.pictures import as_numpy
from lucent.optvis.objectives import direction
from lucent.recipes._grids import on_grid
from lucent.recipes._seen import seen, shown
from lucent.recipes.icons import Icons, render_icons
from lucent.recipes.neuron_groups import decomposed
from lucent.recipes.results import Panels, Result
from lucent.units import parsed, whole


@dataclass(frozen=True, eq=False)
class Decomposed(Result):
    """The facets of a unit; the one that explains most comes first.

    Attributes:
        unit: "layer:channel".
        layer: the earlier layer.
        directions: of the facets in it, (G, channels), each of length 1: positive for channels that
            excite the unit, negative for those that inhibit it.
        maps: how much of each facet there is, (G, n, h, w), never negative: of weights, n is 1 and
            the positions are those of the kernel; of pictures, n is their number.
        photographs: (n, H, W, C) in [0, 1], as the network sees them; None for weights.
        icons: pictures of the directions.
    """

    unit: str
    layer: str
    directions: np.ndarray
    maps: np.ndarray
    photographs: np.ndarray | None
    icons: Icons

    def shares(self) -> np.ndarray:
        """Return how much there is of each facet, as a share of all, (G,)."""
        sizes = self.maps.sum((1, 2, 3))
        return np.asarray(sizes / sizes.sum())

    def panels(self) -> Panels:
        """Return a row for each facet: its icon, and where there is how much of it."""
        pictures, labels = [], []
        side = self.icons.images.shape[1]
        grounds = [np.full((side, side, 3), 0.5)] if self.photographs is None else self.photographs
        for group, share in enumerate(self.shares()):
            pictures += [self.icons.images[group]]
            pictures += [
                overlaid(ground, own, limit=float(self.maps.max()) or 1)
                for ground, own in zip(grounds, self.maps[group], strict=True)
            ]
            labels += [f"facet {group}: {share:.0%}", *[""] * len(grounds)]
        return Panels(pictures, labels, 1 + len(grounds), f"{self.unit} from {self.layer}")


def decomposed_weights(
    model: nn.Module, unit: str, layer: str, *, n_facets: int = 3, **options: Any
) -> Decomposed:
    """Take the weights of a unit apart: which groups of channels it looks for, and where.

    The weights are those of the linearised network between the two layers. Their positive and their
    negative parts are factorised together, so that what excites the unit in one place and what
    inhibits it in another are facets of their own.

    >>> from lucent.modelzoo import synthnet
    >>> found = decomposed_weights(synthnet(), "mixed4b:109", "mixed4a", n_facets=2, steps=2)
    >>> found.directions.shape, found.maps.shape
    ((2, 280), (2, 1, 3, 3))

    Args:
        model: the network.
        unit: "layer:channel".
        layer: an earlier layer that gives (B, C, H, W).
        n_facets: number of groups, at most as many as there are channels and positions.
        options: of `render_icons`, such as `size`, `steps` and `seed`.

    Raises:
        InputError: the unit is none, or there are more facets than channels or positions.
        LayerError: there is no such layer, or it has no rows and columns.
        MissingExtra: scikit-learn is not installed.

    Source: Voss et al. 2021, Visualizing Weights
    (https://distill.pub/2020/circuits/visualizing-weights).
    """
    target, channel = _channel(unit)
    weights = on_grid(expanded_weights(model, layer, target, units=[channel]), layer)
    directions, maps = _taken_apart(weights, n_facets, layer, unit)
    wanted = [direction(layer, one, cossim_pow=1) for one in directions]
    icons = render_icons(model, wanted, **options)
    return Decomposed(unit, layer, directions, maps, None, icons)


def decomposed_feature(
    model: nn.Module, pictures: Any, unit: str, layer: str, *, n_facets: int = 3, **options: Any
) -> Decomposed:
    """Take what excites a unit in pictures apart into groups of channels of an earlier layer.

    What is factorised are the attributions of the unit to each position and channel, gradient x
    activation. A unit that responds to several things in the pictures has a facet for each.

    >>> from lucent.modelzoo.synthnet import SynthScenes, synthnet
    >>> stripes = [SynthScenes(3)[label][0] for label in (0, 2)]
    >>> found = decomposed_feature(synthnet(), stripes, "mixed4b:82", "mixed4a", steps=2)
    >>> found.directions.shape, found.maps.shape
    ((3, 280), (3, 2, 12, 12))

    Args:
        model: the network.
        pictures: a list of what `lucent.modelzoo.photograph` takes, or a tensor (B, 3, H, W); among
            them should be some that excite the unit.
        unit: "layer:channel".
        layer: an earlier layer that gives (B, C, H, W).
        n_facets: number of groups, at most as many as there are channels and positions.
        options: of `render_icons`, such as `size`, `steps` and `seed`.

    Raises:
        InputError: there is no picture, the unit is none or not excited, or there are more facets
            than channels or positions.
        LayerError: there is no such layer, it has no rows and columns, or the unit does not depend
            on it.
        MissingExtra: scikit-learn is not installed.

    Source: Lucid's notebook on decomposed features (https://github.com/tensorflow/lucid).
    """
    _channel(unit)
    photos, _ = seen(model, pictures, layer)
    found = gradient_x_activation(model, photos, unit, layer)
    directions, maps = _taken_apart(found.values, n_facets, layer, unit)
    wanted = [direction(layer, one, cossim_pow=1) for one in directions]
    icons = render_icons(model, wanted, **options)
    return Decomposed(unit, layer, directions, maps, shown(photos), icons)


def _channel(unit: str) -> tuple[str, int]:
    layer, numbers = parsed(unit)
    if isinstance(numbers, str) or len(numbers) != 1:
        raise InputError(f"unit={unit!r} has to be a channel of a layer, such as 'mixed4b:82'.")
    return layer, numbers[0]


def _taken_apart(
    values: Tensor, n_facets: int, layer: str, unit: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return directions (G, C) and maps (G, n, h, w) whose product is near values (n, C, h, w)."""
    shape, most_facets = tuple(values.shape), min(values.shape[1], values[:, 0].numel())
    if not 1 <= whole(n_facets, "n_facets") <= most_facets:
        raise InputError(
            f"n_facets={n_facets} is not possible: what connects {unit!r} to {layer!r} has the "
            f"shape {shape}, (pictures, channels, rows, columns), so there are at least 1 and at "
            f"most {most_facets} facets. Weights of one position are taken apart by pictures, with "
            "decomposed_feature."
        )
    most = values.abs().max()
    if not most > 0:
        raise InputError(
            f"Nothing in {layer!r} has a part in {unit!r}: its attributions are zero. Give "
            "pictures that excite the unit."
        )
    # scikit-learn takes what is below 1e-6 for zero.
    directions, maps = decomposed(values / most, n_facets)
    return as_numpy(directions), as_numpy(most * maps.movedim(1, 0))
