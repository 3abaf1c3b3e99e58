"""Parts of a layer and the logits of many classes: forward mode where that takes fewer passes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from lucent.attribution._parts import Parts, attributed, check_parts, number_of, shares
from lucent.attribution._passes import Letters, Passes, Place, independent, opened, pulled_back
from lucent.attribution.results import ClassAttributions
from lucent.attribution.scores import Labels, class_indices, class_logits, several

logger = logging.getLogger(__name__)

#: How much longer a derivative along one part takes than that of one logit: measured from
#: features.9 of SqueezeNet to its logits on one thread of a CPU, 32 at a time (19 ms and 12 ms).
_FORWARD_COST = 1.6


def class_attributions(
    model: nn.Module,
    picture: Any,
    layer: str,
    *,
    labels: Labels | None = None,
    by: Parts = "positions",
    batch_size: int = 32,
    layout: Letters = None,
) -> ClassAttributions:
    """Attribute the logits of many classes to every part of a layer, by gradient x activation.

    >>> from lucent.modelzoo import synthnet
    >>> found = class_attributions(synthnet(), torch.rand(1, 3, 96, 96), "mixed4b", labels=[3, 5])
    >>> found.values.shape, found.mode
    (torch.Size([1, 2, 12, 12]), 'reverse')

    The derivative of all logits along one part takes a pass in forward mode; that of one logit
    along all parts takes one in reverse mode. What takes less time is done; both give the same
    numbers.

    Args:
        model: any network; it is as before afterwards.
        picture: what `photograph` takes; a tensor (B, C, *spatial) may be a batch.
        layer: name of a layer before the logits, or "input" for the picture.
        labels: index or label of a class, or several; None is all.
        by: what the layer is taken apart into: "positions", "channels", or directions (G, C), each
            with the strength that comes closest to the activations; see `Attribution.along`.
        batch_size: passes that are done together.
        layout: which axis is which, where that cannot be found out; see `Activations`.

    Raises:
        InputError: the picture, the classes or the parts cannot be used, or the layer has no part
            in the logits.
        LayerError: there is no such layer, or it has no positions.

    Source: Carter et al. 2019, Activation Atlas (https://distill.pub/2019/activation-atlas).
    """
    check_parts(by)
    named = None if labels is None else several(labels)
    with opened(model, picture, layout) as passes:
        place = passes.place(layer)
        with torch.no_grad():
            logits = passes.read(class_logits, place, place.value)
        classes = list(range(logits.shape[1]))
        if named is not None:
            classes = class_indices(passes.T, logits, named)
        n_parts = number_of(place.ordered(place.value), by, layer)
        found = None
        if _FORWARD_COST * n_parts < len(classes):
            found = _forward(passes, place, by, classes, batch_size)
        mode, known = "reverse" if found is None else "forward", passes.T.labels
        values, total = found or _reverse(passes, place, by, classes, batch_size)
        return ClassAttributions(
            layer=layer,
            classes=tuple(classes),
            labels=tuple(known[c] for c in classes) if max(classes) < len(known) else (),
            values=values,
            logits=logits[:, classes],
            total=total,
            mode=mode,
        )


def _forward(
    passes: Passes, place: Place, by: Parts, classes: list[int], batch_size: int
) -> tuple[Tensor, Tensor] | None:
    """Return values (B, K, *parts) and totals (B, K); None where forward mode does not work."""
    acts = place.ordered(place.value)
    n_images, n_parts = len(acts), number_of(acts, by, place.name)
    n_together = max(batch_size // n_images, 1)

    def logits(value: Tensor) -> Tensor:
        return passes.read(class_logits, place, value)[:, classes]

    def slopes(tangent: Tensor) -> Tensor:
        found: Tensor = torch.func.jvp(logits, (place.value,), (tangent,))[1]
        return found

    try:
        total = _total(logits, place)
        found = []
        for first in range(0, n_parts, n_together):
            some = range(first, min(first + n_together, n_parts))
            tangents = place.split(place.put_back(shares(acts, by, some).flatten(0, 1)))
            with torch.no_grad():
                found.append(torch.func.vmap(slopes)(tangents))
    except RuntimeError as error:
        logger.info("Class attributions go on in reverse mode: %s", error)
        return None
    finally:
        passes.T.clear()  # its tensors mean nothing outside of these transforms
    values = torch.cat(found).permute(1, 2, 0)
    if not isinstance(by, Tensor) and by == "positions":
        values = values.unflatten(2, acts.shape[2:])
    return values, total


def _total(logits: Callable[[Tensor], Tensor], place: Place) -> Tensor:
    """Return the derivatives of the logits along the whole layer, (B, K).

    Overrides of gradients act where a gradient is needed, and know no forward mode: here they have
    their chance to say so.
    """
    with forward_ad.dual_level():
        value = place.value.clone().requires_grad_()
        found = forward_ad.unpack_dual(logits(forward_ad.make_dual(value, place.value))).tangent
    if found is None:
        raise independent(place)
    return found.detach()


def _reverse(
    passes: Passes, place: Place, by: Parts, classes: list[int], batch_size: int
) -> tuple[Tensor, Tensor]:
    """Return values (B, K, *parts) and totals (B, K)."""
    value = place.value.clone().requires_grad_()
    logits = passes.read(class_logits, place, value)[:, classes]
    n_together = max(batch_size // len(logits), 1)
    values, totals = [], []
    for slopes in pulled_back(logits.sum(0), value, place, n_together):
        values.append(attributed(place, slopes, by))
        totals.append(torch.stack([place.sums(slope * place.value) for slope in slopes]))
    return torch.cat(values).transpose(0, 1), torch.cat(totals).T
