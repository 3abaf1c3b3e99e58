"""Sampling an image at transformed coordinates.

Coordinates are (x, y, 1) in pixels from the centre of an image, y downwards.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

#: (height, width) in pixels.
Size = tuple[int, int]


def size_of(image: Tensor) -> Size:
    """Return the height and the width of an image."""
    return image.shape[-2], image.shape[-1]


def matrices(draw: Tensor, entries: Sequence[Tensor | float]) -> Tensor:
    """Return one matrix for each row of a draw, (rows, 3, 3).

    Args:
        draw: (rows, k), for its dtype and device.
        entries: row by row, (rows,) or a number for all; the last row is (0, 0, 1) if left out.
    """
    full = [*entries, 0.0, 0.0, 1.0][:9]
    numbers = {float(v) for v in full if not isinstance(v, Tensor)}
    constants = {v: draw.new_full((len(draw),), v) for v in numbers}
    columns = [v if isinstance(v, Tensor) else constants[float(v)] for v in full]
    return torch.stack(columns, dim=1).view(-1, 3, 3)


def multiplied(first: Tensor, *others: Tensor) -> Tensor:
    """Return the product of matrices, (rows, 3, 3); one row goes with any number.

    Autocast and TF32 would round the operator's result to a few bits, that is, to whole pixels.
    """
    for other in others:
        first = (first.unsqueeze(-1) * other.unsqueeze(-3)).sum(dim=-2)
    return first


def warp(image: Tensor, matrix: Tensor, size: Size, fill: Tensor | float | None) -> Tensor:
    """Sample an image bilinearly at transformed coordinates.

    Args:
        image: (B, C, H, W).
        matrix: from output to input coordinates, affine or projective, (1 or B, 3, 3).
        size: of the output.
        fill: value outside the image, a number or (1 or B, 1 or C, 1, 1); None repeats its edge.
    """
    height, width = size_of(image)
    dtype = torch.promote_types(matrix.dtype, image.dtype)
    x, y = _centred(size[1], matrix), _centred(size[0], matrix)[:, None]
    u, v, w = (
        row[:, 0, None, None] * x + row[:, 1, None, None] * y + row[:, 2, None, None]
        for row in matrix.unbind(dim=1)
    )
    # What lies behind the horizon of a projective matrix becomes far outside.
    w = w.clamp_min(torch.finfo(w.dtype).eps)
    grid = torch.stack([u / w * (2 / width), v / w * (2 / height)], dim=-1).to(dtype)
    grid = grid.expand(len(image), -1, -1, -1)
    # In half precision positions would be off by pixels.
    exact = image.to(dtype)
    if fill is None:
        exact = F.grid_sample(exact, grid, padding_mode="border", align_corners=False)
    else:
        exact = F.grid_sample(exact - fill, grid, align_corners=False) + fill
    return exact.to(image.dtype)


def _centred(n: int, like: Tensor) -> Tensor:
    return torch.arange(n, dtype=like.dtype, device=like.device) - (n - 1) / 2


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
