"""Diversity: the different things that one unit looks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn
from torch.nn import functional as F

from lucent.errors import InputError
from lucent.layers import INPUT
from lucent.optvis import objectives
from lucent.optvis.defaults import checked_spec, default_image
from lucent.optvis.objectives import Objective, as_objective, gram
from lucent.optvis.render import Pictures
from lucent.recipes._pictures import Wanted, activations, caption, rendered, responses
from lucent.recipes.results import Panels, Result


@dataclass(frozen=True, eq=False)
class Diversity(Result):
    """Pictures of one unit that are pushed apart, and as many that are not.

    Attributes:
        unit: its name.
        layer: where the pictures are compared.
        images: pushed apart, (n, H, W, C) in [0, 1].
        plain: the others, which differ by their start only, (n, H, W, C) in [0, 1].
        likeness: cosines of the Gram matrices of every two pictures, (n, n).
        plain_likeness: the same of the others, (n, n).
        values: response of the unit to each picture, (n,).
        plain_values: the same of the others, (n,).
    """

    unit: str
    layer: str
    images: np.ndarray
    plain: np.ndarray
    likeness: np.ndarray
    plain_likeness: np.ndarray
    values: np.ndarray
    plain_values: np.ndarray

    @property
    def alike(self) -> float:
        """Mean cosine of two different pictures; 1 if they are all the same."""
        return _mean_of_pairs(self.likeness)

    @property
    def plain_alike(self) -> float:
        """The same of the pictures that were not pushed apart."""
        return _mean_of_pairs(self.plain_likeness)

    def panels(self) -> Panels:
        """Return the plain pictures in one row, the diverse ones in the next."""
        labels = [f"{value:.2f}" for value in (*self.plain_values, *self.values)]
        labels[0] = f"{self.unit} {labels[0]}"
        labels[len(self.plain)] = f"diverse {labels[len(self.plain)]}"
        return Panels([*self.plain, *self.images], labels, len(self.plain))


def diversity(
    model: nn.Module,
    unit: Wanted,
    *,
    count: int = 4,
    weight: float = 1.0,
    layer: str | None = None,
    size: int | tuple[int, int] | None = None,
    **options: Any,
) -> Diversity:
    """Make different pictures of one unit.

    >>> from lucent.modelzoo import synthnet
    >>> facets = diversity(synthnet(), "mixed4a:63", count=2, steps=2)
    >>> facets.images.shape, facets.likeness.shape
    ((2, 96, 96, 3), (2, 2))

    Pictures without the term that pushes apart are made first. They are there to compare with, and
    the response to them is the unit in which the term counts.

    Args:
        model: the network.
        unit: such as "mixed4a:476".
        count: number of pictures, at least 2.
        weight: how much of its response the unit may lose for pictures with nothing in common
            instead of equal ones, as a multiple of the response. Where one of the pictures is given
            up for the others (`values` tells), take less, such as 0.3.
        layer: where the pictures are to differ; None is the layer of the unit.
        size: in pixels, (height, width) or both; None is that of the model's spec.
        options: `steps`, by default 256, and further arguments of `render_vis`.

    Raises:
        InputError: there are fewer than two pictures, or the unit reads several layers and `layer`
            does not say which.

    Source: Olah et al. 2017, Feature Visualization
    (https://distill.pub/2017/feature-visualization).
    """
    if count < 2:
        raise InputError(f"count={count}: pictures that differ are at least 2.")
    wanted, spec = as_objective(unit), checked_spec(model, needed=True)
    layer = _layer_of(wanted) if layer is None else layer

    def pictures(objective: Objective) -> Pictures:
        return rendered(model, objective, lambda: default_image(spec, size, batch=count), **options)

    alone = Objective.sum(wanted.about(row) for row in range(count)) / count
    made = pictures(alone)
    if made.interrupted:
        raise KeyboardInterrupt  # there is nothing yet to compare
    plain = made[-1]
    plain_values = responses(model, [wanted], plain, options)[0]
    # What equal pictures score is count - 1.
    strength = abs(plain_values.mean()) * weight / (count - 1)
    images = pictures(alone - strength * objectives.diversity(layer))[-1]
    return Diversity(
        unit=caption(wanted),
        layer=layer,
        images=images,
        plain=plain,
        likeness=_likeness(model, layer, images, options),
        plain_likeness=_likeness(model, layer, plain, options),
        values=responses(model, [wanted], images, options)[0],
        plain_values=plain_values,
    )


def _layer_of(objective: Objective) -> str:
    layers = sorted((objective.layers or frozenset()) - {INPUT})
    if len(layers) != 1:
        raise InputError(
            f"{objective!r} reads the layers {layers}: say by layer= in which of them, or of the "
            "others, the pictures are to differ."
        )
    return layers[0]


def _likeness(
    model: nn.Module, layer: str, pictures: np.ndarray, options: Mapping[str, Any]
) -> np.ndarray:
    with activations(model, [layer], pictures, options) as T:
        grams = F.normalize(gram(T.channels_first(layer)).flatten(1), dim=1)
        likeness: np.ndarray = (grams @ grams.T).float().cpu().numpy()
    return likeness


def _mean_of_pairs(likeness: np.ndarray) -> float:
    return float(likeness[~np.eye(len(likeness), dtype=bool)].mean())
