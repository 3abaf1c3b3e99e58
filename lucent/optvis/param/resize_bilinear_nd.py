"""Linear interpolation along any number of dimensions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lucent.errors import InputError
from lucent.util import without_autocast


def product(l: Iterable[int]) -> int:  # noqa: E741 - torch-lucent's name
    """Return the product of numbers; 1 where there are none."""
    return math.prod(l)


def collapse_shape(shape: Sequence[int], a: int, b: int) -> list[int]:
    """Return a shape whose dimensions before `a` are one, and those from `b` on another one.

    >>> collapse_shape([1, 2, 3, 4, 5], 1, 3)
    [1, 2, 3, 20]

    Args:
        shape: sizes of the dimensions.
        a: first dimension to keep; in front of the shape, where `a` is negative, it has ones.
        b: dimension after the last one to keep; behind the shape it has ones.
    """
    padded = [1] * -a + list(shape) + [1] * (b - len(shape))
    first = max(a, 0)
    last = b + max(-a, 0)
    return [product(padded[:first]), *padded[first:last], product(padded[last:])]


def resize_bilinear_nd(t: Tensor, target_shape: Sequence[int]) -> Tensor:
    """Resize a tensor by linear interpolation along every dimension that changes.

    The first and the last elements keep their values, those between are on a ramp.

    >>> resize_bilinear_nd(torch.tensor([[0.0], [1.0]]), (3, 2))
    tensor([[0.0000, 0.0000],
            [0.5000, 0.5000],
            [1.0000, 1.0000]])

    Args:
        t: of any shape, floating point.
        target_shape: as many sizes as `t` has dimensions. A dimension of size 1 is repeated; one
            that becomes 1 keeps its first element.

    Raises:
        InputError: the ranks differ.
    """
    if len(target_shape) != t.dim():
        raise InputError(
            f"A tensor of shape {tuple(t.shape)} cannot become {tuple(target_shape)}: both need as "
            "many dimensions."
        )
    for d, size in enumerate(target_shape):
        if t.shape[d] == 1:
            t = t.expand(*t.shape[:d], size, *t.shape[d + 1 :])
        elif t.shape[d] != size:
            with without_autocast(t.device):
                t = F.linear(t.movedim(d, -1), _ramps(t.shape[d], size, like=t)).movedim(-1, d)
    return t


def _ramps(n_in: int, n_out: int, like: Tensor) -> Tensor:
    """Return the share of every source element in every resized one, (n_out, n_in).

    F.interpolate misses the last element for some sizes, such as 42, by an error of rounding; and
    its gradient on a GPU differs from call to call.
    """
    steps = max(n_out - 1, 1)
    resized = torch.arange(n_out, device=like.device)[:, None] * (n_in - 1)
    source = torch.arange(n_in, device=like.device) * steps
    # The distance is exact, a whole number of parts of a source element.
    return (1 - (resized - source).abs().to(like.dtype) / steps).clamp(min=0)
