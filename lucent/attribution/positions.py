"""What single positions of a layer do for all logits, in one pass for each of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from lucent.attribution._passes import (
    Letters,
    Passes,
    Place,
    independent,
    opened,
    pulled_back,
)
from lucent.attribution.scores import class_logits
from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.layers import unwrap
from lucent.modelzoo.spec import spec_of

logger = logging.getLogger(__name__)

#: Gradients of logits that are taken together where there is no forward mode.
_TOGETHER = 32


def position_attributions(
    model: nn.Module, picture: Any, layer: str, positions: Tensor, *, layout: Letters = None
) -> Tensor:
    """Attribute all logits to some positions of a layer, by gradient x activation.

    These are the numbers of `class_attributions` at these positions: the derivative of the logits
    along what is at one position of every picture, which takes one pass in forward mode.

    >>> from lucent.modelzoo import synthnet
    >>> where = torch.tensor([[0, 77]])
    >>> position_attributions(synthnet(), torch.rand(1, 3, 96, 96), "mixed4b", where).shape
    torch.Size([1, 2, 28])

    Args:
        model: any network; it is as before afterwards.
        picture: what `photograph` takes; a tensor (B, C, *spatial) may be a batch.
        layer: name of a layer before the logits.
        positions: (B, n), which of the flattened positions of the layer; 0 where it has none.
        layout: which axis is which, where that cannot be found out; see `Activations`.

    Returns:
        (B, n, n_classes).

    Raises:
        InputError: the positions are not there, or the logits do not depend on the layer.
        LayerError: there is no such layer, or nothing can be put in its place.

    Source: Carter et al. 2019, Activation Atlas (https://distill.pub/2019/activation-atlas).
    """
    with opened(model, picture, layout) as passes:
        place = passes.place(layer)
        return _attributed(passes, place, positions, True)[0]


class PositionSlopes:
    """Position attributions of several layers, of one batch of pictures after another.

    Args:
        model: the network, in `frozen_eval`.
        T: its activations, open, "labels" among its layers.
    """

    def __init__(self, model: nn.Module, T: Activations) -> None:
        self._model, self._spec, self._T = unwrap(model), spec_of(model), T
        self._without_forward_mode: set[str] = set()

    def __call__(self, pictures: Tensor, positions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the attributions to all logits, (B, n, n_classes) by the name of the layer.

        Args:
            pictures: of the last pass of `T`, (B, C, *spatial) in [0, 1]; `T` forgets that pass.
            positions: by the name of the layer; see `position_attributions`.

        Raises:
            InputError: see `position_attributions`.
            LayerError: see `position_attributions`.
        """
        passes = Passes(self._T, self._spec, pictures, self._model)
        places = {layer: passes.seen(layer) for layer in positions}
        found = {}
        for layer, place in places.items():
            # By layer: whether one has it must not depend on which batch comes first.
            forward = layer not in self._without_forward_mode
            found[layer], works = _attributed(passes, place, positions[layer], forward)
            if not works:
                self._without_forward_mode.add(layer)
        return found


def _attributed(
    passes: Passes, place: Place, positions: Tensor, forward: bool
) -> tuple[Tensor, bool]:
    """Return attributions (B, n, n_classes), and whether forward mode works, if it was tried."""
    tangents = [_at(place, column) for column in _checked(place, positions).T]
    try:
        if forward:
            return torch.stack([_forward(passes, place, one) for one in tangents], 1), True
    except torch.OutOfMemoryError:
        raise  # the other way takes more, and other numbers must not come of it
    except RuntimeError as error:
        logger.info("Attributions of positions go on in reverse mode: %s", error)
    finally:
        passes.T.clear()  # its tensors mean nothing outside of forward mode
    return _reverse(passes, place, tangents), False


def _checked(place: Place, positions: Tensor) -> Tensor:
    acts = place.ordered(place.value)
    n_positions = acts[0, 0].numel()
    fits = positions.dim() == 2 and len(positions) == len(acts) and positions.numel() > 0
    if not (fits and positions.min() >= 0 and positions.max() < n_positions):
        raise InputError(
            f"Positions are ({len(acts)}, n), from 0 to {n_positions - 1} at {place.name!r}, but "
            f"{tuple(positions.shape)} were given: {positions.tolist()}."
        )
    return positions.to(acts.device)


def _at(place: Place, positions: Tensor) -> Tensor:
    """Return what a layer gives at one position of each picture, and 0 elsewhere."""
    acts = place.ordered(place.value)
    own = torch.zeros_like(acts).flatten(2) if acts.dim() > 2 else torch.zeros_like(acts)[..., None]
    index = positions[:, None, None].expand(-1, acts.shape[1], 1)
    own.scatter_(2, index, acts.reshape(own.shape).gather(2, index))
    with torch.enable_grad():
        return place.put_back(own.reshape(acts.shape))


def _forward(passes: Passes, place: Place, tangent: Tensor) -> Tensor:
    """Return the derivatives of the logits along a tangent of the layer, (B, n_classes)."""
    with torch.no_grad(), _plain_attention(), forward_ad.dual_level():
        passes.run(place, forward_ad.make_dual(place.value, tangent))
        found = forward_ad.unpack_dual(class_logits(passes.T)).tangent
        if found is None:
            raise independent(place)
        return found.detach().clone()


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Keep to the kind of attention that has a forward mode."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _reverse(passes: Passes, place: Place, tangents: list[Tensor]) -> Tensor:
    """Return the same by the gradient of each logit."""
    with torch.enable_grad():
        value = place.value.clone().requires_grad_()
        passes.run(place, value)
        logits = class_logits(passes.T)
        slopes = pulled_back(logits.sum(0), value, place, _TOGETHER)
        found = [
            torch.stack([place.sums(slope * tangent) for tangent in tangents], 1)
            for some in slopes
            for slope in some
        ]
    return torch.stack(found, 2)
