"""Interpolations: from one unit to another, in pictures whose shared structure stays in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from torch import nn

from lucent.errors import InputError
from lucent.optvis import param
from lucent.optvis.defaults import checked_spec, default_image
from lucent.optvis.objectives import Objective
from lucent.optvis.param import Image
from lucent.recipes._pictures import (
    Wanted,
    as_objectives,
    caption,
    rendered,
    responses,
    slow_adam,
    strengths,
)
from lucent.recipes.results import Panels, Result

#: What pictures share: how many of them along the batch (one for all, or two and a ramp from the
#: first to the last), and by what the resolution is divided. Lucid's, of its notebook on
#: interaction.
SHARED = ((1, 2), (1, 4), (1, 8), (2, 8), (1, 16), (2, 16))


@dataclass(frozen=True, eq=False)
class Interpolation(Result):
    """Pictures from one unit to another.

    Attributes:
        units: what the first and the last picture show.
        weights: share of the second unit in each picture, (n,), from 0 to 1.
        images: (n, H, W, C) in [0, 1].
        values: response of each unit to each picture, (2, n), as a share of its response to a
            picture of its own.
    """

    units: tuple[str, ...]
    weights: np.ndarray
    images: np.ndarray
    values: np.ndarray

    @property
    def unevenness(self) -> float:
        """Mean difference of neighbouring pictures, as a share of their contrast: small if aligned.

        Of pictures that have nothing in common it is about 1.
        """
        steps = np.abs(np.diff(self.images, axis=0)).mean()
        return float(steps / self.images.std())

    def panels(self) -> Panels:
        """Return the pictures in a row, with the share of the second unit."""
        between = [f"{weight:.0%}" for weight in self.weights[1:-1]]
        labels = [self.units[0], *between, self.units[1]]
        return Panels([*self.images], labels, columns=len(labels))


def interpolation(
    model: nn.Module,
    first: Wanted,
    second: Wanted,
    *,
    count: int = 6,
    aligned: bool = True,
    size: int | tuple[int, int] | None = None,
    **options: Any,
) -> Interpolation:
    """Make pictures that lead from one unit to another.

    >>> from lucent.modelzoo import synthnet
    >>> strip = interpolation(synthnet(), "mixed4a:7", "mixed4a:9", count=3, steps=2)
    >>> strip.weights.tolist()
    [0.0, 0.5, 1.0]

    What is coarse in the pictures is shared among them, so that what the units have in common stays
    where it is. The units count by what they respond to pictures of their own, which are made
    first; otherwise the one with the larger activations would be seen in most pictures.

    Args:
        model: the network.
        first: what the first picture shows, such as "mixed4a:476".
        second: what the last one shows.
        count: number of pictures, at least 2.
        aligned: share the coarse structure; without, each picture is one of its own.
        size: in pixels, (height, width) or both; None is that of the model's spec.
        options: `steps`, by default 256, and further arguments of `render_vis`; the optimizer is
            Adam with rate 0.02 unless given, because all parts that add up learn at its rate.

    Raises:
        InputError: there are fewer than two pictures, or a unit does not exist.

    Source: Mordvintsev et al. 2018, Differentiable Image Parameterizations
    (https://distill.pub/2018/differentiable-parameterizations).
    """
    if count < 2:
        raise InputError(f"count={count}: an interpolation has at least 2 pictures.")
    ends = as_objectives([first, second], least=2, name="interpolation")
    spec, weights = checked_spec(model, needed=True), np.linspace(0, 1, count)
    alone = strengths(model, ends, size=size, **options)

    def image() -> Image:
        plain = default_image(spec, size, batch=count)
        return _with_shared(plain) if aligned else plain

    objective = _blended([unit / own for unit, own in zip(ends, alone, strict=True)], weights)
    images = rendered(model, objective, image, **{"optimizer": slow_adam, **options})[-1]
    values = responses(model, ends, images, options) / alone[:, None]
    return Interpolation(tuple(map(caption, ends)), weights, images, values)


def _blended(ends: Sequence[Objective], weights: np.ndarray) -> Objective:
    """Return the objective that gives the second of two units these weights along the batch."""
    first, second = ends
    return Objective.sum(
        part
        for row, weight in enumerate(weights)
        for part in ((1 - weight) * first.about(row), weight * second.about(row))
    )


def _with_shared(image: Image) -> Image:
    """Add structure that the rows share to an image, before its colours and its squash."""
    batch, channels, height, width = image().shape
    parts = [
        param.lowres_tensor(
            (batch, channels, height, width),
            (rows, channels, max(1, height // divisor), max(1, width // divisor)),
        )
        for rows, divisor in SHARED
    ]
    image.image_f = param.summed([cast("Image", image.image_f), *parts])
    return image
