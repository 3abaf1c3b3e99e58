"""Sampling an image at transformed coordinates.

Coordinates are (x, y, 1) in pixels from the centre of an image, y downwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from lucent.util import constant, without_autocast

#: (height, width) in pixels.
Size = tuple[int, int]

#: The smallest scale that one bilinear sample for each pixel does justice to. Of pictures with a
#: spectrum of 1/f, it folds 1.4 % of the power at 0.75 into other frequencies, and 10 % at 0.4.
SHARP = 0.75


def size_of(image: Tensor) -> Size:
    """Return the height and the width of an image."""
    return image.shape[-2], image.shape[-1]


@dataclass(frozen=True)
class Points:
    """Where every point (x, y, 1) of an output lies in an input, as the product of maps so far.

    Kept without the row (0, 0, 1) of an affine map, most maps are one operation on a few numbers,
    which counts on a GPU, where an operation costs the same however small it is.

    Attributes:
        place: (rows, 2, 3), to (x, y) before the division.
        depth: (rows, 1, 3), to what they are divided by; None is one everywhere.
    """

    place: Tensor
    depth: Tensor | None = None

    @classmethod
    def seen(cls, like: Tensor, *, zoom: float = 1.0, x: float = 0.0, y: float = 0.0) -> Points:
        """Return the points of an output that is centred on (x, y) and enlarged by the zoom."""
        return cls(constant((((1 / zoom, 0.0, x), (0.0, 1 / zoom, y)),), like=like))

    def shifted(self, by: Tensor) -> Points:
        """Return the points moved by (x, y), (rows, 2)."""
        return replace(self, place=torch.addcmul(self.place, by[:, :, None], self._depth()))

    def enlarged(self, by: Tensor) -> Points:
        """Return the points such that the picture is larger by a factor, (rows, 1 or 2)."""
        return replace(self, place=self.place / by[:, :, None])

    def mixed(self, matrix: Tensor) -> Points:
        """Return the points with the linear map (rows, 2, 2) of (x, y)."""
        return replace(self, place=multiplied(matrix, self.place))

    def tilted(self, by: Tensor) -> Points:
        """Return the points with the perspective (x, y) per pixel, (rows, 2)."""
        tilt = (by[:, :, None] * self.place).sum(dim=1, keepdim=True)
        return replace(self, depth=self._depth() + tilt)

    def mapped(self, matrix: Tensor) -> Points:
        """Return the points under any map, affine or projective, (rows, 3, 3).

        A common factor does not change a map; its sign is taken such that the centre is seen.
        """
        sign = 1 - 2 * (matrix[..., 2:, 2:] < 0).to(matrix.dtype)
        whole = multiplied(sign * matrix, self.matrix())
        return Points(whole[:, :2], whole[:, 2:])

    def matrix(self) -> Tensor:
        """Return the map from output to input, (rows, 3, 3)."""
        depth = self._depth()
        rows = max(len(self.place), len(depth))
        return torch.cat([part.expand(rows, -1, -1) for part in (self.place, depth)], dim=1)

    def spacing(self) -> Tensor:
        """Return how far apart in (x, y) of the input neighbours lie in the middle, (rows, 2)."""
        distance = torch.linalg.vector_norm(self.place[:, :, :2], dim=2)
        return distance if self.depth is None else distance / self.depth[:, :, 2]

    def on(self, size: Size) -> Tensor:
        """Return the (x, y) of every pixel of an output, (rows, height, width, 2)."""
        place = _on_pixels(self.place, size)
        if self.depth is None:
            return place
        # What lies behind the horizon becomes far outside.
        return place / _on_pixels(self.depth, size).clamp_min(torch.finfo(place.dtype).eps)

    def _depth(self) -> Tensor:
        if self.depth is None:
            return constant((((0.0, 0.0, 1.0),),), like=self.place)
        return self.depth


def multiplied(first: Tensor, *others: Tensor) -> Tensor:
    """Return the product of matrices, (rows, n, m); one row goes with any number.

    Autocast and TF32 would round the operator's result to a few bits, that is, to whole pixels.
    """
    for other in others:
        first = (first.unsqueeze(-1) * other.unsqueeze(-3)).sum(dim=-2)
    return first


def rotation(degrees: Tensor) -> Tensor:
    """Return matrices ((cos, -sin), (sin, cos)) of angles (rows, 1), (rows, 2, 2)."""
    quarter = torch.pi / 2
    phases = constant((((0.0, quarter), (-quarter, 0.0)),), like=degrees)
    return torch.add(phases, degrees[:, :, None], alpha=torch.pi / 180).cos()


def warp(
    image: Tensor, points: Points, size: Size, fill: Tensor | float | None, *, least: float = 1.0
) -> Tensor:
    """Sample an image bilinearly at transformed coordinates.

    Args:
        image: (B, C, H, W).
        points: of 1 or B rows.
        size: of the output.
        fill: value outside the image, a number or (1 or B, 1 or C, 1, 1); None repeats its edge.
        least: the smallest scale that the points may have; below `SHARP` the image is blurred as
            far as their distance asks for, so that nothing aliases.
    """
    # In half precision positions would be off by pixels.
    exact = image.to(torch.promote_types(points.place.dtype, image.dtype))
    exact = exact if fill is None else exact - fill
    if least < SHARP:
        # What is blurred reaches beyond the edge, and the blur of that as far again.
        margins = [2 * math.ceil(1 / least)] * 4
        exact = F.pad(exact, margins, mode="replicate" if fill is None else "constant")
        exact = _softened(exact, points.spacing())
    height, width = size_of(exact)
    halves = constant(((width / 2, height / 2),), like=points.place)
    grid = points.enlarged(halves).on(size).to(exact.dtype).expand(len(image), -1, -1, -1)
    padding = "border" if fill is None else "zeros"
    exact = F.grid_sample(exact, grid, padding_mode=padding, align_corners=False)
    return (exact if fill is None else exact + fill).to(image.dtype)


def _on_pixels(rows: Tensor, size: Size) -> Tensor:
    """Return what maps (rows, k, 3) make of the pixels of a size, (rows, height, width, k)."""
    y, x = (
        torch.arange(-(n - 1) / 2, n / 2, dtype=rows.dtype, device=rows.device)[:, None]
        for n in size
    )
    along_x, along_y, middle = rows[:, None, None].unbind(dim=-1)
    return torch.addcmul(torch.addcmul(middle, along_x, x), along_y, y[:, None])


def _softened(image: Tensor, spacing: Tensor) -> Tensor:
    """Return the image under triangular filters of half widths (x, y), (rows, 2), at least 1.

    A half width of 1 leaves the image as it is. One that is a whole number, known at the pixels and
    read between them bilinearly, is still that triangle: a warp by a half is an antialiased resize.
    """
    x, y = spacing.clamp_min(1).to(image.dtype).unbind(dim=1)
    rows, columns = (_triangles(width, n) for width, n in zip((y, x), size_of(image), strict=True))
    # Autocast would round the values to eight bits.
    with without_autocast(image.device):
        return rows @ image @ columns.mT


def _triangles(half_width: Tensor, n: int) -> Tensor:
    """Return the weights of n pixels for each of them, (rows, 1, n, n), for (rows,) half widths."""
    distance = torch.arange(1.0 - n, n, dtype=half_width.dtype, device=half_width.device).abs()
    triangle = (1 - distance / half_width[:, None]).clamp_min(0)
    # Each row has the numbers of the one above it, a pixel later.
    weights = triangle.unfold(1, n, 1).flip(1)[:, None]
    return weights / weights.sum(dim=-1, keepdim=True)


def interpolated(image: Tensor, size: Sequence[int], zoom: float) -> Tensor:
    """Return the image scaled bilinearly to a size, antialiased where the zoom is below 1."""
    # On a CPU there is no antialiasing in half precision.
    exact = image.to(torch.promote_types(image.dtype, torch.float32))
    return F.interpolate(exact, size, mode="bilinear", antialias=zoom < 1).to(image.dtype)


def resized(image: Tensor, size: Size) -> Tensor:
    """Return the image scaled into a size with its aspect ratio kept.

    Args:
        image: (B, C, H, W).
        size: of the output; what the aspect ratio leaves is filled with mid-grey.
    """
    own = size_of(image)
    if own == size:
        return image
    zoom = min(n / m for n, m in zip(size, own, strict=True))
    # A difference of less than a pixel is rounding, not another aspect ratio.
    fitted = tuple(
        n if n - m * zoom < 1 else round(m * zoom) for n, m in zip(size, own, strict=True)
    )
    if fitted != own:
        image = interpolated(image, fitted, zoom)
    return centred(image, size, 0.5)


def centred(image: Tensor, size: Sequence[int], value: float) -> Tensor:
    """Crop or pad an image about its centre to a size; odd remainders go to the right and below.

    Args:
        image: (..., H, W).
        size: of the last axes of the output.
        value: to pad with.
    """
    margins: list[int] = []
    for n, m in zip(reversed(size), reversed(image.shape), strict=False):
        # Rounded towards zero: a crop starts as far from the edge as a pad of its width ends.
        before = int((n - m) / 2)
        margins += [before, n - m - before]
    return F.pad(image, margins, value=value)
