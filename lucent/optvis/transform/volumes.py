"""Volumes moved, scaled and turned about all three axes, sampled once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lucent.errors import InputError
from lucent.optvis.transform.draws import Generator, bounds, finite_numbers, uniform
from lucent.optvis.transform.kinds import RandomTransform
from lucent.optvis.transform.warp import multiplied
from lucent.util import constant

# Entry n: what a small turn about axis n (x, y, z) adds to a point, as a matrix.
_TURNS = (
    ((0.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)),
    ((0.0, 0.0, 1.0), (0.0, 0.0, 0.0), (-1.0, 0.0, 0.0)),
    ((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
)


@dataclass(frozen=True)
class Tumble(RandomTransform):
    """Moves, scales and turns volumes; the fields are those of `tumble`."""

    shift: float
    scale: tuple[float, float]
    angle: float
    fill: float
    volumes = True

    def check(self, image: Tensor) -> None:
        """Refuse pictures."""
        super().check(image)
        if image.dim() == 4:
            raise InputError(
                f"{self!r} takes volumes (B, C, D, H, W), not a tensor of shape "
                f"{tuple(image.shape)}: for pictures use jitter, random_scale and random_rotate."
            )

    def sample(self, image: Tensor, generator: Generator, rows: int = 1) -> Tensor:
        """Return the shift and the rotation vector in degrees, each (x, y, z), and the scale."""
        shift, turn = (
            uniform(image, (rows, 3), generator, -most, most) for most in (self.shift, self.angle)
        )
        return torch.cat([shift, turn, uniform(image, (rows, 1), generator, *self.scale)], dim=1)

    def apply(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the moved volume, of the size it had."""
        size = image.shape[2:]
        shift, turn, scale = draw.split((3, 3, 1), dim=1)
        # Where a point came from: back by the shift, then turned back and made smaller.
        into = _turned(-torch.deg2rad(turn)) / scale[:, :, None]
        points = torch.stack(torch.meshgrid(*_axes(size, draw), indexing="ij"), dim=-1).flip(-1)
        seen = points[None] - shift[:, None, None, None]
        source = (into[:, None, None, None] * seen.unsqueeze(-2)).sum(-1)
        extent = constant([_extent(size)], like=draw)
        # In half precision positions would be off by voxels.
        exact = image.to(torch.promote_types(draw.dtype, image.dtype)) - self.fill
        grid = (2 * source / extent).to(exact.dtype).expand(len(image), -1, -1, -1, -1)
        return (F.grid_sample(exact, grid, align_corners=False) + self.fill).to(image.dtype)


def tumble(
    shift: float = 6.0,
    *,
    scale: float | Sequence[float] = (0.9, 1.1),
    angle: float = 10.0,
    fill: float = 0.5,
) -> RandomTransform:
    """Move, scale and turn a volume at random, about all three axes; its size stays.

    The depth counts as if it were stretched to the longer side, so that a flat volume, a clip of a
    few frames for example, does not leave its frames: a shift along the depth is smaller by as much
    as the depth is, and a turn out of the plane becomes a shear.

    Args:
        shift: largest shift along each axis, in pixels of the plane.
        scale: (lowest, highest) factor of a uniform distribution, or one for all; nothing is
            blurred, so much less than 0.75 lets frequencies alias.
        angle: largest turn about each axis, in degrees.
        fill: value outside.

    Raises:
        InputError: a number is negative or not finite, or a scale is not positive.
    """
    scales = bounds(scale, "tumble")
    numbers = finite_numbers((shift, angle, fill), "tumble")
    if min(numbers[:2]) < 0 or scales[0] <= 0:
        raise InputError(
            f"tumble got shift={shift}, angle={angle} and scale={scale!r}: a shift and an angle "
            "are 0 or more, scales are positive."
        )
    return Tumble(numbers[0], scales, *numbers[1:])


def _turned(vector: Tensor) -> Tensor:
    """Return rotations about vectors (rows, 3) by as many radians as they are long, (rows, 3, 3).

    Source: Rodrigues' formula, with sinc in place of quotients that are 0 / 0 without a turn.
    """
    turns = (vector[:, :, None, None] * constant([_TURNS], like=vector)).sum(1)
    length = torch.linalg.vector_norm(vector, dim=1)[:, None, None] / torch.pi
    eye = torch.eye(3, dtype=vector.dtype, device=vector.device)
    squared = multiplied(turns, turns)
    return eye + length.sinc() * turns + (length / 2).sinc().square() / 2 * squared


def _extent(size: Sequence[int]) -> tuple[float, float, float]:
    """Return how long the axes (x, y, z) count."""
    height, width = size[1:]
    return width, height, max(height, width)


def _axes(size: Sequence[int], like: Tensor) -> list[Tensor]:
    """Return the positions of voxels along (z, y, x) from the centre, in units of `_extent`."""
    return [
        (torch.arange(n, dtype=like.dtype, device=like.device) - (n - 1) / 2) * (extent / n)
        for n, extent in zip(size, reversed(_extent(size)), strict=True)
    ]
