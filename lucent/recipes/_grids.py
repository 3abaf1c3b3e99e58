"""Layers whose positions can be laid over a photograph."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lucent.errors import LayerError

#: Most rows and columns on a page to hover over, which holds a map for each of its positions.
_MOST_CELLS = 16


def on_grid(acts: Tensor, layer: str) -> Tensor:
    """Return activations of rows and columns as they are.

    Args:
        acts: (B, C, H, W).
        layer: how the error calls it.

    Raises:
        LayerError: they have another shape.
    """
    if acts.dim() != 4:
        raise LayerError(
            f"The layer {layer!r} gives {tuple(acts.shape)}, which are no rows and columns of a "
            "photograph: name a layer that gives (B, C, H, W), or tokens of a grid, before the "
            "network averages or flattens them."
        )
    return acts


def block_for_pages(grid: Sequence[int]) -> int:
    """Return the side of the blocks of positions that a page to hover over takes together.

    >>> block_for_pages((12, 14)), block_for_pages((28, 40))
    (1, 3)

    Args:
        grid: number of rows and of columns.
    """
    return -(-max(grid) // _MOST_CELLS)
