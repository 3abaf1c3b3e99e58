"""Calls of the modules of a network in one forward pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from lucent.errors import LayerError
from lucent.layers import Address

#: A module and which of its calls in one forward pass.
Position = tuple[str, int]


def enumerated(order: Iterable[str]) -> Iterator[Position]:
    """Yield each name of a sequence with the number of times it came before."""
    seen: Counter[str] = Counter()
    for name in order:
        yield name, seen[name]
        seen[name] += 1


def position_of(address: Address, counts: Mapping[str, int]) -> Position:
    """Return which call of its module an address means, where modules are called so often.

    Raises:
        LayerError: there is no such call.
    """
    name, n_calls = address.module, counts[address.module]
    if address.call is not None and address.call >= n_calls:
        raise LayerError(
            f"The layer {name!r} is called {n_calls} time(s) per forward pass, so "
            f"'{name}#{address.call}' does not exist: the last call is '{name}#{n_calls - 1}'."
        )
    return name, n_calls - 1 if address.call is None else address.call
