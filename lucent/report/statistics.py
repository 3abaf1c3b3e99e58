"""What a collection's numbers say of a unit: facts, a histogram, similar units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lucent.report.pages import Fact, Histogram

if TYPE_CHECKING:
    from lucent.collect import Moments

#: Bars in each doubling of the activation; doublings shown below the largest magnitude. What is
#: smaller, a thousandth of it, counts as zero.
_PER_DOUBLING, _DOUBLINGS = 2, 10
#: Similar units shown.
_SIMILAR = 8


def number(value: float) -> str:
    """Return a number with three digits that count.

    >>> number(1234.5), number(0.00012345), number(-0.0)
    ('1230', '0.000123', '0')
    """
    rounded = float(f"{value:.3g}")
    if rounded == 0:
        return "0"
    return f"{rounded:.0f}" if 100 <= abs(rounded) < 1e6 else f"{rounded:.3g}"


def facts_of(moments: Moments, unit: int) -> tuple[Fact, ...]:
    """Return what a table says of a unit's activations."""
    spread = float(moments.variance[unit]) ** 0.5
    return (
        Fact("Mean", number(float(moments.mean[unit]))),
        Fact("Standard deviation", number(spread)),
        Fact("Smallest", number(float(moments.low[unit]))),
        Fact("Largest", number(float(moments.high[unit]))),
        Fact("Zero or below", f"{100 * float(moments.sparsity[unit]):.3g} % of positions"),
    )


def histogram_of(counts: Tensor, edges: Tensor, low: float, high: float) -> Histogram:
    """Return the histogram of a unit with fewer bars.

    Args:
        counts: in bins, (n + 1,): those below all edges first, those above all of them last.
        edges: between the bins, (n,), in increasing order, the same on both sides of zero and a
            constant factor apart.
        low: smallest activation.
        high: largest activation.
    """
    inner = edges.numpy()
    below = np.cumsum(counts.numpy())[:-1]  # how many are smaller than each edge
    most = max(abs(low), abs(high))
    kept = _kept(inner, most)
    # The bars reach as far as there are activations, and what lies beyond the last edge is theirs.
    between = np.diff(below[kept], prepend=0, append=counts.sum().item())
    between[1] += between[0]
    between[-2] += between[-1]
    bars = between[1:-1]
    used = np.flatnonzero(bars)
    first, last = (int(used[0]), int(used[-1])) if len(used) else (0, len(bars) - 1)
    zero = int(np.searchsorted(inner[kept], 0)) - 1 - first
    return Histogram(
        edges=tuple(map(float, inner[kept][first : last + 2])),
        counts=tuple(map(int, bars[first : last + 1])),
        zero=zero if 0 <= zero <= last - first else None,
        low=low,
        high=high,
    )


def _kept(edges: np.ndarray, most: float) -> np.ndarray:
    """Return the places of edges that bars are drawn between."""
    positive = np.flatnonzero(edges > 0)
    step = max(1, round(np.log(2) / np.log(edges[-1] / edges[-2]) / _PER_DOUBLING))
    # The first edge that no magnitude reaches, or the last one there is.
    top = min(int(np.searchsorted(edges[positive], most, side="right")), len(positive) - 1)
    chosen = positive[range(top, -1, -step)][: _PER_DOUBLING * _DOUBLINGS + 1]
    return np.concatenate([len(edges) - 1 - chosen, chosen[::-1]])


def similar_to(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the most similar other units of each unit, and their correlations.

    Args:
        covariance: of the units of a layer, (C, C).

    Returns:
        (C, k) both, most similar first; the correlation with a unit that never changes is 0.
    """
    spread = covariance.diagonal().clamp(min=0).sqrt()
    scale = torch.where(spread > 0, 1 / spread, 0)
    correlation = (covariance * scale[:, None] * scale).clamp(-1, 1)
    correlation.fill_diagonal_(-2)  # a unit is not similar to itself
    order = correlation.sort(dim=1, descending=True, stable=True).indices
    order = order[:, : min(_SIMILAR, len(covariance) - 1)]
    return order, correlation.gather(1, order)
