"""Random draws that belong to one image of a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


class Generators:
    """One generator for each image of a batch.

    An image draws the same numbers whatever its neighbours are, namely those of a run of its own
    with the same seed.

    >>> alone = torch.Generator().manual_seed(4)
    >>> expected = torch.rand(2, generator=alone)
    >>> drawn = [torch.rand(2, generator=own) for own in Generators([3, 4], "cpu")]
    >>> torch.equal(drawn[1], expected)
    True

    Args:
        seeds: one for each image.
        device: where the numbers are drawn.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str) -> None:
        self.device = torch.device(device)
        self._generators = [
            torch.Generator(self.device).manual_seed(int(seed) % 2**64) for seed in seeds
        ]

    def __len__(self) -> int:
        return len(self._generators)

    def __iter__(self) -> Iterator[torch.Generator]:
        return iter(self._generators)

    def get_state(self) -> Tensor:
        """Return the states as bytes, (n_images, n_bytes)."""
        return torch.stack([generator.get_state() for generator in self])

    def set_state(self, states: Tensor) -> None:
        """Go on from states that `get_state` returned."""
        for generator, state in zip(self, states, strict=True):
            # PyTorch reads the storage of a view from its beginning.
            generator.set_state(state.clone())


#: What draws: one generator for all images, one for each, or None for PyTorch's global one.
AnyGenerator = torch.Generator | Generators | None
