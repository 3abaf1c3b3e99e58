"""Receptive fields: the part of a picture that a position of a layer sees."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lucent.attribution._passes import Letters
from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.layers import unwrap
from lucent.modelzoo._inputs import completed
from lucent.modelzoo.spec import spec_of
from lucent.util import device_of, dtype_of, frozen_eval


def receptive_field(
    model: nn.Module,
    layer: str,
    size: int | tuple[int, int],
    *,
    layout: Letters = None,
    batch_size: int = 32,
) -> Tensor:
    """Return the box of pixels that each position of a layer depends on.

    >>> from lucent.modelzoo import synthnet
    >>> receptive_field(synthnet(), "conv1", 96)[10, 0]
    tensor([ 0, 18,  3, 23])

    Args:
        model: the network; it is as before afterwards.
        layer: name of a layer.
        size: (height, width), or both, of the picture in pixels.
        layout: which axis is which, where that cannot be found out; see `Activations`.
        batch_size: pictures in a pass.

    Returns:
        (*spatial, 4), int64, on the CPU: left, top, right and bottom in pixels, the last two
        exclusive, cut off at the edges of the picture. A position that mixes all of the picture, as
        after attention or a mean over it, has the whole, and so has one that depends on no pixel.

    Raises:
        InputError: the size is none, or too small for the network.
        LayerError: there is no such layer.
    """
    return receptive_fields(model, [layer], size, layout=layout, batch_size=batch_size)[layer]


def receptive_fields(
    model: nn.Module,
    layers: Sequence[str],
    size: int | tuple[int, int],
    *,
    layout: Letters = None,
    batch_size: int = 32,
) -> dict[str, Tensor]:
    """Return the boxes of several layers by name, in the passes that one takes.

    A row or a column of pixels that are no numbers makes every position that depends on it no
    number, whatever the weights are. That takes four pictures for what depends on all of them, and
    H + W more for all other layers together.

    Args:
        model: see `receptive_field`, as for all others.
        layers: their names.
        size: of the picture.
        layout: which axis is which.
        batch_size: pictures in a pass.

    Raises:
        InputError: see `receptive_field`.
        LayerError: see `receptive_field`.
    """
    height, width = _sides(size)
    network, spec = unwrap(model), spec_of(model)
    channels = completed(spec, network).channels or 3
    plain = torch.zeros(
        1, channels, height, width, dtype=dtype_of(network), device=device_of(network)
    )

    def reached(some: Sequence[str], columns: Tensor, rows: Tensor) -> list[dict[str, Tensor]]:
        """Return what depends on columns and what on rows, of a network that ends at the last."""
        with Activations(network, some, aliases=spec.layer_aliases, layout=layout) as T:
            # Which axis is which is found out by the first picture: by one of numbers.
            T.run(plain)
            for layer in some:
                T.channels_first(layer)
            lines = ((3, columns), (2, rows))
            return [_reached(T, some, plain, axis, which, batch_size) for axis, which in lines]

    boxes = {}
    # Algorithms that transform tiles of a picture would spread what is no number over the tile.
    with (
        torch.no_grad(),
        frozen_eval(network),
        torch.backends.cudnn.flags(enabled=False),
        torch.backends.nnpack.flags(enabled=False),
    ):
        edges = reached(layers, torch.tensor([0, width - 1]), torch.tensor([0, height - 1]))
        # What sees all four edges sees everything, which takes four pictures to know.
        rest = [name for name in layers if not all(bool(side[name].all()) for side in edges)]
        for layer in set(layers).difference(rest):
            whole = torch.tensor([0, 0, width, height])
            boxes[layer] = whole.expand(*edges[0][layer].shape[1:], 4)
        found = reached(rest, torch.arange(width), torch.arange(height)) if rest else []
    for layer in rest:
        (left, right), (top, bottom) = (_extent(lines[layer]) for lines in found)
        boxes[layer] = torch.stack([left, top, right, bottom], -1)
    return {layer: boxes[layer] for layer in layers}


def _sides(size: int | tuple[int, int]) -> tuple[int, int]:
    sides = tuple(size) if isinstance(size, list | tuple) else (size, size)
    if len(sides) != 2 or not all(isinstance(n, int) and n > 0 for n in sides):
        raise InputError(f"size={size!r} has to be (height, width) in pixels, or one for both.")
    return sides[0], sides[1]


def _reached(
    T: Activations,
    layers: Sequence[str],
    plain: Tensor,
    axis: int,
    which: Tensor,
    batch_size: int,
) -> dict[str, Tensor]:
    """Return for each layer which positions depend on which lines of pixels, (n, *spatial)."""
    found: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    for lines in which.split(batch_size):
        pictures = plain.repeat(len(lines), 1, 1, 1)
        for row, line in enumerate(lines.tolist()):
            pictures[row].select(axis - 1, line).fill_(math.nan)
        T.run(pictures)
        for layer in layers:
            found[layer].append(T.channels_first(layer).isnan().any(1).cpu())
    return {layer: torch.cat(parts) for layer, parts in found.items()}


def _extent(reached: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first line of (n_lines, *spatial) that is reached, and the one after the last."""
    n_lines = len(reached)
    flags = reached.to(torch.uint8)
    first = flags.argmax(0)
    last = n_lines - flags.flip(0).argmax(0)
    none = ~reached.any(0)
    return first.masked_fill(none, 0), last.masked_fill(none, n_lines)
