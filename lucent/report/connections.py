"""The strongest weights between units of neighbouring layers."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lucent.attribution import expanded_weights
from lucent.errors import InputError, LayerError

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger(__name__)

#: Connections shown of each sign.
STRONGEST = 8
#: Units whose weights are computed at a time. Of 64 they take 50 MB from 1024 channels of 14 x 14
#: positions, before they are cut to what is not zero.
_CHUNK = 64


@dataclass(frozen=True, eq=False)
class Strongest:
    """For each unit, its strongest connections of one sign with units of another layer.

    Attributes:
        values: sums of the weights of that sign over positions, (n, k), strongest first; 0 where a
            unit has fewer connections.
        units: places of the units at the other end among those of the site, (n, k).
        kernels: all weights of these connections, (n, k, h, w).
    """

    values: Tensor
    units: Tensor
    kernels: Tensor

    @classmethod
    def of(cls, weights: Tensor, sign: int, *, first: int = 0) -> Self:
        """Return those of some weights.

        Args:
            weights: (n, m, h, w), between n units and m at the other end.
            sign: 1 or -1.
            first: place of the first of the m.
        """
        sums = (sign * weights).clamp(min=0).sum((2, 3))
        order = _order(sums)
        kernels = weights.gather(1, order[..., None, None].expand(-1, -1, *weights.shape[2:]))
        return cls(sign * sums.gather(1, order), order + first, kernels)

    def merged(self, other: Self) -> Self:
        """Return those of both; of equal ones, the own come first."""
        high, wide = (
            max(a, b) for a, b in zip(self.kernels.shape[2:], other.kernels.shape[2:], strict=True)
        )
        kernels = torch.cat([_padded(part.kernels, high, wide) for part in (self, other)], 1)
        values = torch.cat([self.values, other.values], 1)
        units = torch.cat([self.units, other.units], 1)
        order = _order(values.abs())
        at = order[..., None, None].expand(-1, -1, high, wide)
        return type(self)(values.gather(1, order), units.gather(1, order), kernels.gather(1, at))

    def of_unit(self, place: int) -> tuple[list[int], list[float], np.ndarray]:
        """Return places of units, sums and kernels (k, h, w) of one unit, without those of 0."""
        there = self.values[place] != 0
        units, values = self.units[place][there].tolist(), self.values[place][there].tolist()
        return units, values, self.kernels[place][there].numpy()


@dataclass(frozen=True, eq=False)
class Connections:
    """The strongest connections between two layers, both ways.

    Attributes:
        incoming: of each unit of the later layer with units of the earlier one, above and below 0.
        outgoing: of each unit of the earlier layer with units of the later one, above and below 0.
    """

    incoming: tuple[Strongest, ...]
    outgoing: tuple[Strongest, ...]


def connections(
    model: nn.Module, source: tuple[str, Sequence[int]], target: tuple[str, Sequence[int]]
) -> Connections | None:
    """Return the strongest weights between units of two layers, None if these are not connected.

    Args:
        model: the network.
        source: the earlier layer and units of it.
        target: the later layer and units of it.
    """
    incoming: list[tuple[Strongest, ...]] = []
    outgoing: tuple[Strongest, ...] = ()
    try:
        for first, weights in _weights(model, source, target):
            incoming.append(tuple(Strongest.of(weights, sign) for sign in (1, -1)))
            turned = weights.transpose(0, 1)
            more = [Strongest.of(turned, sign, first=first) for sign in (1, -1)]
            pairs = zip(outgoing, more, strict=True)
            outgoing = tuple(old.merged(new) for old, new in pairs) if outgoing else tuple(more)
    except (InputError, LayerError) as error:
        logger.info("There are no weights from %r to %r: %s", source[0], target[0], error)
        return None
    if not any(part.values.any() for part in outgoing):
        return None
    return Connections(tuple(map(_joined, zip(*incoming, strict=True))), outgoing)


def _weights(
    model: nn.Module, source: tuple[str, Sequence[int]], target: tuple[str, Sequence[int]]
) -> Iterator[tuple[int, Tensor]]:
    """Yield places of units of the target, and the weights of some from there on, (k, S, h, w)."""
    (earlier, sources), (later, targets) = source, target
    for first in range(0, len(targets), _CHUNK):
        units = list(targets[first : first + _CHUNK])
        weights = expanded_weights(model, earlier, later, units=units).detach().float().cpu()
        yield first, _planes(weights[:, list(sources)])


def _planes(weights: Tensor) -> Tensor:
    """Return weights (k, S, *spatial) as (k, S, h, w): of volumes the sum through depth."""
    while weights.dim() < 4:
        weights = weights[..., None]
    return weights.flatten(2, -3).sum(2) if weights.dim() > 4 else weights


def _order(strength: Tensor) -> Tensor:
    """Return the places of the strongest in each row; of equal ones the first come first."""
    return strength.sort(dim=1, descending=True, stable=True).indices[:, :STRONGEST]


def _padded(kernels: Tensor, high: int, wide: int) -> Tensor:
    down, right = high - kernels.shape[2], wide - kernels.shape[3]
    return F.pad(kernels, (right // 2, right - right // 2, down // 2, down - down // 2))


def _joined(parts: Sequence[Strongest]) -> Strongest:
    """Return those of consecutive units as one."""
    high, wide = (max(part.kernels.shape[axis] for part in parts) for axis in (2, 3))
    return Strongest(
        torch.cat([part.values for part in parts]),
        torch.cat([part.units for part in parts]),
        torch.cat([_padded(part.kernels, high, wide) for part in parts]),
    )
