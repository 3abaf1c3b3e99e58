"""Negative neurons: what a unit responds to least, beside what it responds to most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from lucent.optvis.defaults import checked_spec, default_image
from lucent.optvis.objectives import Objective
from lucent.recipes._pictures import Wanted, as_objectives, caption, rendered, responses
from lucent.recipes.results import Panels, Result


@dataclass(frozen=True, eq=False)
class NegativeNeurons(Result):
    """Pictures that units respond to least and most.

    Attributes:
        units: names.
        images: (n units, 2, H, W, C) in [0, 1]; first the least, then the most.
        values: response of each unit to its pictures, (n units, 2).
        neutral: response of each unit to plain grey, (n units,).
    """

    units: tuple[str, ...]
    images: np.ndarray
    values: np.ndarray
    neutral: np.ndarray

    def panels(self) -> Panels:
        """Return pairs, the negative picture on the left, under their units and responses."""
        rows = zip(self.units, self.values, strict=True)
        labels = [
            f"{sign}{_short(unit)}  {value:.2f}"
            for unit, values in rows
            for sign, value in zip("-+", values, strict=True)
        ]
        columns = 2 * max(1, round(len(self.units) ** 0.5))
        return Panels([*self.images.reshape(-1, *self.images.shape[2:])], labels, columns)


def negative_neurons(
    model: nn.Module,
    units: Sequence[Wanted] | Wanted,
    *,
    size: int | tuple[int, int] | None = None,
    **options: Any,
) -> NegativeNeurons:
    """Make the pictures that units respond to least and most.

    >>> from lucent.modelzoo import synthnet
    >>> pairs = negative_neurons(synthnet(), ["labels:rings", "labels:dots"], steps=2)
    >>> pairs.images.shape, pairs.values.shape
    ((2, 2, 96, 96, 3), (2, 2))

    After a ReLU there is no response below zero, and the negative picture has nothing to show: take
    the layer before it, such as "mixed4a_pre_relu:492" or "mixed4a.conv_3x3.conv:16".

    Args:
        model: the network.
        units: one or several.
        size: in pixels, (height, width) or both; None is that of the model's spec.
        options: `steps`, by default 256, and further arguments of `render_vis`.

    Raises:
        InputError: there is no unit, or one does not exist.

    Source: Olah et al. 2017, Feature Visualization
    (https://distill.pub/2017/feature-visualization).
    """
    wanted = as_objectives(units, least=1, name="negative_neurons")
    spec, count = checked_spec(model, needed=True), len(wanted)
    images = rendered(
        model,
        Objective.sum(
            sign * unit.about(2 * n + most)
            for n, unit in enumerate(wanted)
            for most, sign in enumerate((-1, 1))
        ),
        lambda: default_image(spec, size, batch=2 * count),
        **options,
    )[-1]
    grey = np.full_like(images[:1], 0.5)
    found = responses(model, wanted, np.concatenate([images, grey]), options)
    return NegativeNeurons(
        tuple(map(caption, wanted)),
        images.reshape(count, 2, *images.shape[1:]),
        np.stack([found[n, 2 * n : 2 * n + 2] for n in range(count)]),
        found[:, -1],
    )


def _short(unit: str) -> str:
    """Return the end of the name of a unit, which fits under a picture together with a number."""
    layer, _, number = unit.partition(":")
    return number if layer == "labels" else unit.removeprefix(layer.rpartition(".")[0] + ".")
