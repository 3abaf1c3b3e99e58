"""What attributions are, and sums of them: over channels, over positions, along directions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lucent.errors import InputError, LayerError


@dataclass(frozen=True, eq=False)
class Attribution:
    """How much each number of a layer has to do with a score; positive speaks for it.

    Attributes:
        layer: its name.
        acts: activations, (B, C, *spatial), without a gradient.
        gradient: of the score, (B, C, *spatial), in units of the score per unit of activation.
        values: the attributions, (B, C, *spatial), in units of the score.
        score: (B,).
        total: sum of the attributions of the whole layer, tokens without a position included, (B,).
        tokens: the attributions of those tokens, (B, C) by name, such as "cls".
    """

    layer: str
    acts: Tensor
    gradient: Tensor
    values: Tensor
    score: Tensor
    total: Tensor
    tokens: Mapping[str, Tensor]

    def spatial(self) -> Tensor:
        """Return the sum over channels, (B, *spatial).

        Raises:
            LayerError: the layer has no positions.
        """
        check_positions(self.values, self.layer)
        return self.values.sum(1)

    def channels(self) -> Tensor:
        """Return the sum over positions, (B, C)."""
        return over_positions(self.values)

    def along(self, directions: Tensor, *, strengths: Tensor | None = None) -> Tensor:
        """Return the part of each direction of the layer, (B, G).

        Args:
            directions: (G, C), such as the components of a `ChannelReducer`.
            strengths: how much of each direction there is at each position, (B, G, *spatial), such
                as what the reducer made of the activations. None finds the sum of directions that
                comes closest to the activations; as many directions as channels, none of them a
                sum of others, share out all of it.

        Raises:
            InputError: the directions or the strengths do not fit the layer.
        """
        return along(self._step(), self.gradient, directions, strengths)

    def _step(self) -> Tensor:
        """Return what is attributed: how far the activations are from where they count as none."""
        return self.acts


@dataclass(frozen=True, eq=False)
class IntegratedAttribution(Attribution):
    """Attributions that add up to how far the score of a picture is from that of a baseline.

    Attributes:
        gradient: its mean along the way from the baseline to the activations.
        baseline: activations at the beginning of the way, (B, C, *spatial).
        baseline_score: score there, (B,).
        gap: what the attributions have too much (or too little, negative), as a share of the way
            that the score goes up and down from the baseline to the picture, (B,).
    """

    baseline: Tensor
    baseline_score: Tensor
    gap: Tensor

    def _step(self) -> Tensor:
        return self.acts - self.baseline


@dataclass(frozen=True, eq=False)
class ClassAttributions:
    """How much parts of a layer have to do with the logit of each of several classes.

    Attributes:
        layer: its name.
        classes: indices of the K classes.
        labels: their names, as far as the network has any.
        values: (B, K, *spatial) of positions, (B, K, C) of channels, (B, K, G) of directions, in
            units of the logits.
        logits: (B, K).
        total: sum of the attributions of the whole layer, tokens without a position included,
            (B, K).
        mode: "forward" or "reverse", how the derivatives were computed.
    """

    layer: str
    classes: tuple[int, ...]
    labels: tuple[str, ...]
    values: Tensor
    logits: Tensor
    total: Tensor
    mode: str


def along(
    step: Tensor, gradient: Tensor, directions: Tensor, strengths: Tensor | None = None
) -> Tensor:
    """Return the products of a gradient with the parts of a step along directions, (B, G).

    Args:
        step: activations, or differences of activations, (B, C, *spatial).
        gradient: (B, C, *spatial).
        directions: (G, C).
        strengths: (B, G, *spatial); None is least squares.

    Raises:
        InputError: the shapes do not fit.
    """
    directions = fitted_directions(directions, step)
    if strengths is None:
        strengths = projected(step, directions)
    expected = (len(step), len(directions), *step.shape[2:])
    if strengths.shape != expected:
        raise InputError(
            f"The strengths have shape {tuple(strengths.shape)}, but {expected} are needed: for "
            "each image and direction a number at each position."
        )
    slopes = torch.einsum("gc,bc...->bg...", directions, gradient)
    return over_positions(slopes * strengths.to(slopes))


def projected(step: Tensor, directions: Tensor) -> Tensor:
    """Return how much of each direction is in activations, by least squares, (B, G, *spatial)."""
    inverse = torch.linalg.pinv(directions)  # (C, G)
    return torch.einsum("cg,bc...->bg...", inverse, step)


def fitted_directions(directions: Tensor, acts: Tensor) -> Tensor:
    """Return directions with the dtype and on the device of activations.

    Args:
        directions: (G, C); an array will do.
        acts: (B, C, *spatial).

    Raises:
        InputError: they have another shape.
    """
    given = torch.as_tensor(directions)
    if given.dim() != 2 or not len(given) or given.shape[1] != acts.shape[1]:
        raise InputError(
            f"The directions have shape {tuple(given.shape)}, but (G, {acts.shape[1]}) is needed: "
            "a number for each channel of the layer, in each of G > 0 rows."
        )
    return given.to(acts)


def check_positions(acts: Tensor, layer: str) -> None:
    """Raise an error about a layer without positions.

    Raises:
        LayerError: it gives (B, C).
    """
    if acts.dim() < 3:
        raise LayerError(
            f"The layer {layer!r} gives {tuple(acts.shape)} and has no positions: name a layer "
            "before the network averages or flattens them."
        )


def over_positions(values: Tensor) -> Tensor:
    """Return the sum over positions, (B, C), of (B, C, *spatial)."""
    return values.flatten(2).sum(2) if values.dim() > 2 else values
