"""Expanded weights: how a layer is connected to an earlier one through all layers in between."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lucent.attribution._passes import Letters, Passes, opened, pulled_back
from lucent.attribution.results import fitted_directions
from lucent.errors import InputError
from lucent.layers import unwrap
from lucent.modelzoo._inputs import completed
from lucent.modelzoo.spec import ModelSpec, spec_of
from lucent.overrides import linearized
from lucent.units import channel_of, with_channels

logger = logging.getLogger(__name__)

#: Side in pixels of the picture for a network that says nothing of sizes, as in Lucid.
_SIDE = 128
#: How large the picture becomes, in turn, while the weights reach the border of the source.
_SCALES = [1, 2, 4]


def expanded_weights(
    model: nn.Module,
    source: str,
    target: str,
    *,
    units: Sequence[int] | np.ndarray | Tensor,
    picture: Any = None,
    batch_size: int = 32,
    layout: Letters = None,
) -> Tensor:
    """Return the weights from a layer to units of a later one, as if one convolution joined them.

    They are the gradient of the units at the centre of the target in the linearised network: of
    convolutions one after the other, the product of their kernels.

    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1))
    >>> model.spec = ModelSpec("two layers")
    >>> expanded_weights(model, "input", "2", units=[0, 3]).shape
    torch.Size([2, 3, 5, 5])

    Args:
        model: any network; it is as before afterwards.
        source: name of the earlier layer, or "input" for the picture.
        target: name of the later layer.
        units: K channels of the target, or directions (K, C2) in it.
        picture: what `photograph` takes, one picture. It matters where something between the two
            layers cannot be made linear, such as a local response norm, and for the size. None is a
            grey one of the size of the spec, larger where the weights need more room.
        batch_size: units whose gradients are computed at a time.
        layout: which axis is which, where that cannot be found out; see `Activations`.

    Returns:
        (K, C1, *spatial), cut to where any of them is not zero; of a source without positions
        (K, C1).

    Raises:
        InputError: there are several pictures, the units cannot be used, or the target does not
            depend on the source.
        LayerError: there is no such layer.

    Source: Voss et al. 2021, Visualizing Weights
    (https://distill.pub/2020/circuits/visualizing-weights).
    """
    if not isinstance(units, Tensor | np.ndarray | Sequence):
        raise InputError(f"units={units!r} has to be a list of channels: write [{units!r}].")
    if not len(units):
        raise InputError("The list of units is empty: name at least one channel of the target.")
    spec = completed(spec_of(model), unwrap(model))
    scales = [None] if picture is not None else [1] if spec.fixed_size else _SCALES
    for scale in scales:
        shown = picture if scale is None else _grey(spec, scale)
        with opened(model, shown, layout) as passes:
            weights = _connected(passes, source, target, units, batch_size)
            has_positions = passes.T.channels_first(target).dim() > 2
        if not (has_positions and _reach_the_border(weights)):
            break
    else:
        logger.info("The weights of %r reach the border of %r.", target, source)
    return _cut(weights)


def _grey(spec: ModelSpec, scale: int) -> Tensor:
    """Return a grey picture, (1, C, *spatial), of a multiple of the size of a spec."""
    sides: tuple[int, ...] = spec.input_size or (spec.image_size or _SIDE,) * 2
    if spec.dimensions == 3:
        sides = (spec.depth or sides[0], *sides)
    return torch.full((1, spec.channels or 3, *[scale * side for side in sides]), 0.5)


def _connected(
    passes: Passes,
    source: str,
    target: str,
    units: Sequence[int] | np.ndarray | Tensor,
    batch_size: int,
) -> Tensor:
    """Return the gradients of units at the centre of the target, (K, C1, *spatial)."""
    if len(passes.picture) > 1:
        raise InputError(f"The weights are those at one picture, not {len(passes.picture)}.")
    place = passes.place(source)
    passes.place(target)  # its axes are found out where the network is as it was
    value = place.value.clone().requires_grad_()
    with linearized(passes.model, values=False):
        values = passes.read(lambda T: _at_centre(T.channels_first(target), units), place, value)
        found = [
            place.ordered(torch.cat(tuple(slopes), place.batch))
            for slopes in pulled_back(values, value, place, batch_size)
        ]
    return torch.cat(found)


def _at_centre(acts: Tensor, units: Sequence[int] | np.ndarray | Tensor) -> Tensor:
    """Return units of one image, (K,), where there are positions those in the middle."""
    for side in with_channels(acts).shape[:1:-1]:
        acts = acts[..., side // 2]
    if torch.as_tensor(units).is_floating_point():
        return fitted_directions(torch.as_tensor(units), acts) @ acts[0]
    return torch.cat([channel_of(acts, int(unit))[0] for unit in units])


def _reach_the_border(weights: Tensor) -> bool:
    """Whether weights (K, C, *spatial) go on, as far as the source shows them."""
    used = weights.ne(0).flatten(0, 1).any(0)
    return any(bool(used.movedim(axis, 0)[[0, -1]].any()) for axis in range(used.dim()))


def _cut(weights: Tensor) -> Tensor:
    """Return the smallest box that holds all weights that are not zero, or one position of none."""
    used = weights.ne(0).flatten(0, 1).any(0)
    if not used.any():
        used.view(-1)[0] = True
    for axis, along in enumerate(used.nonzero().T):
        first, last = int(along.min()), int(along.max())
        weights = weights.narrow(axis + 2, first, last - first + 1)
    return weights
