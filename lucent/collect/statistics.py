"""Statistics of units that can be computed in parts: merging them equals one pass over all.

Everything is kept in double precision, and its size depends on the number of units alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self

#: Bins of a histogram in each octave, and the octaves: from 2^-24, the resolution of half precision
#: at 1, to 2^24.
_PER_OCTAVE, _LOWEST, _HIGHEST = 8, -24, 24


def doubled(values: Tensor) -> Tensor:
    """Return numbers in double precision, on the CPU where the device has none."""
    return (values.cpu() if values.device.type == "mps" else values).double()


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean, spread, extremes and sparsity of each unit.

    Attributes:
        count: of numbers, 0-d, int64.
        mean: (C,).
        squares: sums of squared distances from the mean, (C,).
        low: smallest numbers, (C,).
        high: largest numbers, (C,).
        zeros: how many were 0 or below, (C,), int64.
    """

    count: Tensor
    mean: Tensor
    squares: Tensor
    low: Tensor
    high: Tensor
    zeros: Tensor

    @classmethod
    def of(cls, values: Tensor) -> Self:
        """Return those of numbers (C, n), n > 0."""
        exact = doubled(values)
        mean = exact.mean(1)
        return cls(
            count=torch.tensor(values.shape[1], device=exact.device),
            mean=mean,
            squares=(exact - mean[:, None]).square().sum(1),
            low=exact.amin(1),
            high=exact.amax(1),
            zeros=(exact <= 0).sum(1),
        )

    def merged(self, other: Self) -> Self:
        """Return those of the numbers of both.

        Source: Chan et al. 1983, Algorithms for Computing the Sample Variance
        (https://doi.org/10.1080/00031305.1983.10483115).
        """
        count = self.count + other.count
        step, share = other.mean - self.mean, other.count.double() / count
        return type(self)(
            count=count,
            mean=self.mean + step * share,
            squares=self.squares + other.squares + step.square() * self.count * share,
            low=torch.minimum(self.low, other.low),
            high=torch.maximum(self.high, other.high),
            zeros=self.zeros + other.zeros,
        )

    @property
    def variance(self) -> Tensor:
        """Mean squared distance from the mean, (C,)."""
        return self.squares / self.count

    @property
    def sparsity(self) -> Tensor:
        """Share of the numbers that are 0 or below, (C,)."""
        return self.zeros.double() / self.count


@dataclass(frozen=True, eq=False)
class Histogram:
    """How often each unit has which value, in bins of equal width on a logarithmic scale.

    Attributes:
        counts: (C, n_bins), int64; the edges of the bins are `edges()`.
    """

    counts: Tensor

    @classmethod
    def of(cls, values: Tensor) -> Self:
        """Return that of numbers (C, n)."""
        exact = doubled(values)
        edges = cls.edges().to(exact.device)
        bins = torch.bucketize(exact.contiguous(), edges, right=True)
        n_units, n_bins = len(values), len(edges) + 1
        offsets = torch.arange(n_units, device=exact.device)[:, None] * n_bins
        counts = torch.bincount((bins + offsets).flatten(), minlength=n_units * n_bins)
        return cls(counts.view(n_units, n_bins))

    @staticmethod
    def edges() -> Tensor:
        """Return where one bin ends and the next begins, in increasing order, double precision.

        Zero has a bin of its own, together with what is nearer to it than 2^-24.
        """
        steps = torch.arange(_LOWEST * _PER_OCTAVE, _HIGHEST * _PER_OCTAVE + 1) / _PER_OCTAVE
        positive = torch.exp2(steps.double())
        return torch.cat([-positive.flip(0), positive])

    def merged(self, other: Self) -> Self:
        """Return that of the numbers of both."""
        return type(self)(self.counts + other.counts)


@dataclass(frozen=True, eq=False)
class Products:
    """Sums of products of channels at the same position, for covariance and whitening.

    Attributes:
        count: of positions, 0-d, int64.
        mean: (C,).
        products: sums of products of distances from the mean, (C, C).
    """

    count: Tensor
    mean: Tensor
    products: Tensor

    @classmethod
    def of(cls, vectors: Tensor) -> Self:
        """Return those of vectors (n, C), n > 0."""
        exact = doubled(vectors)
        mean = exact.mean(0)
        count = torch.tensor(len(exact), device=exact.device)
        return cls(count, mean, (exact - mean).T @ (exact - mean))

    def merged(self, other: Self) -> Self:
        """Return those of the vectors of both."""
        count = self.count + other.count
        step, share = other.mean - self.mean, other.count.double() / count
        return type(self)(
            count,
            self.mean + step * share,
            self.products + other.products + torch.outer(step, step) * self.count * share,
        )

    @property
    def covariance(self) -> Tensor:
        """Covariance of the channels, (C, C), a mean over positions."""
        return self.products / self.count

    @property
    def second_moment(self) -> Tensor:
        """Mean product of the channels, not centred, (C, C)."""
        return self.covariance + torch.outer(self.mean, self.mean)
