"""Gradient times activation."""

from __future__ import annotations

from typing import Any

from torch import nn

from lucent.attribution._passes import Letters, gradient, opened
from lucent.attribution.results import Attribution
from lucent.attribution.scores import Score, as_score


def gradient_x_activation(
    model: nn.Module,
    picture: Any,
    score: Score | str | int,
    layer: str,
    *,
    layout: Letters = None,
) -> Attribution:
    """Attribute a score to the activations of a layer by a linear approximation.

    >>> import torch
    >>> from lucent.modelzoo import synthnet
    >>> found = gradient_x_activation(synthnet(), torch.rand(2, 3, 96, 96), 5, "mixed4a")
    >>> found.spatial().shape, found.channels().shape
    (torch.Size([2, 12, 12]), torch.Size([2, 280]))

    Of a network of convolutions, rectifiers and max-pools without biases after the layer, the
    attributions of the layer add up to the score.

    Args:
        model: any network; it is as before afterwards.
        picture: what `photograph` takes; a tensor (B, C, *spatial) may be a batch.
        score: what `as_score` takes.
        layer: name of a layer before the score, or "input" for the picture.
        layout: which axis is which, where that cannot be found out; see `Activations`.

    Raises:
        InputError: the picture or the score cannot be used, or the layer has no part in the score.
        LayerError: there is no such layer.

    Source: Olah et al. 2018, The Building Blocks of Interpretability
    (https://distill.pub/2018/building-blocks).
    """
    score = as_score(score)
    with opened(model, picture, layout) as passes:
        place = passes.place(layer)
        value = place.value.clone().requires_grad_()
        scores = passes.score(score, place, value)
        slopes = gradient(scores, value, place)
        parts = slopes * place.value
        return Attribution(
            layer=layer,
            acts=place.ordered(place.value),
            gradient=place.ordered(slopes),
            values=place.ordered(parts),
            score=scores.detach(),
            total=place.sums(parts),
            tokens=place.tokens(parts),
        )
