"""From a layer to an earlier one of the same pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lucent.attribution._parts import Parts, attributed, check_parts, numbers_of
from lucent.attribution._passes import Letters, opened, pulled_back
from lucent.errors import InputError


def between(
    model: nn.Module,
    picture: Any,
    source: str,
    target: str,
    *,
    by: Parts | tuple[Parts, Parts] = "positions",
    batch_size: int = 32,
    layout: Letters = None,
) -> Tensor:
    """Attribute every part of a layer to every part of an earlier one, by gradient x activation.

    A position of the target counts by the length of its vector of activations, a channel by its sum
    over positions, a direction by the sum of its products with the activations.

    >>> from lucent.modelzoo import synthnet
    >>> model, picture = synthnet(), torch.rand(1, 3, 64, 64)
    >>> between(model, picture, "mixed3a", "mixed4a").shape  # (h2, w2, h1, w1)
    torch.Size([8, 8, 16, 16])
    >>> between(model, picture, "mixed3a", "mixed4a", by="channels").shape  # (C2, C1)
    torch.Size([280, 136])

    Args:
        model: any network; it is as before afterwards.
        picture: what `photograph` takes, one picture.
        source: name of the earlier layer, or "input" for the picture.
        target: name of the later layer.
        by: what both layers are taken apart into; a pair is for the target and the source.
        batch_size: parts of the target whose gradients are computed at a time.
        layout: which axis is which, where that cannot be found out; see `Activations`.

    Returns:
        The parts of the target, then those of the source, in units of the target's activations.

    Raises:
        InputError: there are several pictures, the parts or the directions do not fit, or the
            target does not depend on the source.
        LayerError: there is no such layer, or it has no positions.

    Source: Olah et al. 2018, The Building Blocks of Interpretability
    (https://distill.pub/2018/building-blocks).
    """
    of_target, of_source = by if isinstance(by, tuple) else (by, by)
    check_parts(of_target)
    check_parts(of_source)
    with opened(model, picture, layout) as passes:
        if len(passes.picture) > 1:
            raise InputError(
                f"between takes one picture, but was given {len(passes.picture)}: call it for each."
            )
        place = passes.place(source)
        value = place.value.clone().requires_grad_()
        numbers = passes.read(
            lambda T: numbers_of(T.channels_first(target), of_target, target), place, value
        )
        found = [
            attributed(place, chunk, of_source)[:, 0]
            for chunk in pulled_back(numbers.flatten(), value, place, batch_size)
        ]
        return torch.cat(found).unflatten(0, numbers.shape)
