"""Grids of images that lead from every one of several objectives to every other."""

from __future__ import annotations

import torch
from torch import Tensor

from lucent.errors import InputError
from lucent.optvis.param.base import Image
from lucent.optvis.param.lowres import LaplacianImage


class InterpolationBasis(Image):
    """Strips of unconstrained images between all pairs of objectives, which share structure.

    Image `step` of the strip from a to b is row (a * n_objectives + b) * n_interp_steps + step.
    The strip from b to a is the same, reversed. All strips from a begin with the same image, and
    that from a to a consists of it alone.

    Args:
        n_objectives: number of objectives.
        n_interp_steps: images in a strip, at least 2.
        width: side of the images in pixels, at least 8.
        channels: number of channels.
        sd: standard deviation of the normal start values; None is 0.01.

    Raises:
        InputError: a number is too small.

    Source: Lucid, recipes/image_interpolation_params.py (https://github.com/tensorflow/lucid).
    """

    order: Tensor

    def __init__(
        self,
        n_objectives: int = 6,
        n_interp_steps: int = 5,
        width: int = 128,
        channels: int = 3,
        *,
        sd: float | None = None,
    ) -> None:
        super().__init__()
        if n_objectives < 1 or n_interp_steps < 2:
            raise InputError(
                f"n_objectives={n_objectives} has to be 1 or more, and "
                f"n_interp_steps={n_interp_steps} 2 or more: the ends of a strip."
            )
        self.n_steps = n_interp_steps
        pairs = n_objectives * (n_objectives - 1) // 2
        n_between, shape = pairs * (n_interp_steps - 2), (channels, width, width)
        # The numbers of levels are Lucid's: what two objectives share is coarse as well as fine.
        self.shared = LaplacianImage((1, *shape), 4, sd)
        self.ends = LaplacianImage((n_objectives, *shape), 4, sd)
        self.between = LaplacianImage((n_between, *shape), 2, sd) if n_between else None
        self.register_buffer("order", _order(n_objectives), persistent=False)

    def forward(self) -> Tensor:
        """Return all images, (n_objectives^2 * n_interp_steps, C, H, W)."""
        ends = self.ends()
        constant, strips = ends[:, None].expand(-1, self.n_steps, -1, -1, -1), self._strips(ends)
        grid = torch.cat([constant, strips, strips.flip(1)])[self.order]
        return grid.flatten(0, 1) + self.shared()

    def _strips(self, ends: Tensor) -> Tensor:
        """Return the strips from a to b for all a < b, (n_pairs, n_steps, C, H, W)."""
        first, last = torch.triu_indices(len(ends), len(ends), 1, device=ends.device)
        ramp = torch.linspace(0, 1, self.n_steps, dtype=ends.dtype, device=ends.device)
        strips = torch.lerp(ends[first, None], ends[last, None], ramp.view(-1, 1, 1, 1))
        if self.between is None:
            return strips
        inner = strips[:, 1:-1] + self.between().unflatten(0, (len(first), -1))
        return torch.cat([strips[:, :1], inner, strips[:, -1:]], dim=1)


def multi_interpolation_basis(
    n_objectives: int = 6,
    n_interp_steps: int = 5,
    width: int = 128,
    channels: int = 3,
    *,
    sd: float | None = None,
) -> Image:
    """Return unconstrained images that lead between objectives; see `InterpolationBasis`."""
    return InterpolationBasis(n_objectives, n_interp_steps, width, channels, sd=sd)


def _order(n_objectives: int) -> Tensor:
    """Return where the strip from a to b, row a * n_objectives + b, is found.

    First come the constant strips, then those with a < b, then these reversed.
    """
    first, last = torch.triu_indices(n_objectives, n_objectives, 1)
    order = torch.diag(torch.arange(n_objectives))
    order[first, last] = n_objectives + torch.arange(len(first))
    order[last, first] = n_objectives + len(first) + torch.arange(len(first))
    return order.flatten()
