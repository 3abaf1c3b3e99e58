"""Looking up a texture at points, as a renderer does."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lucent.errors import InputError


def bilinearly_sampled_image(texture: Tensor, uv: Tensor) -> Tensor:
    """Return the texture at texture coordinates, interpolated linearly, repeated without end.

    >>> texture = torch.tensor([[[[3.0, 4.0], [1.0, 2.0]]]])
    >>> bilinearly_sampled_image(texture, torch.tensor([[[0.25, 0.25], [0.75, 0.25], [0.5, 0.25]]]))
    tensor([[[[1.0000, 2.0000, 1.5000]]]])

    Args:
        texture: (B, C, H, W); its first row is at the top.
        uv: (H', W', 2) or (B, H', W', 2), u to the right and v upwards as in OpenGL: (0, 0) is the
            lower left corner of the texture and (1, 1) the upper right one, with pixel centres at
            halves. Any real number: beyond, the texture repeats. One of the two batches may be a
            single row, which then serves all of the other.

    Returns:
        (B, C, H', W').

    Raises:
        InputError: a shape is another.
    """
    points = uv[None] if uv.dim() == 3 else uv
    if (
        texture.dim() != 4
        or points.dim() != 4
        or points.shape[-1] != 2
        or len({1, len(texture), len(points)}) > 2
    ):
        raise InputError(
            "Sampling needs a texture (B, C, H, W) and coordinates (H, W, 2) or (B, H, W, 2), not "
            f"{tuple(texture.shape)} and {tuple(uv.shape)}."
        )
    dtype = torch.promote_types(texture.dtype, uv.dtype)
    batch, (height, width) = max(len(texture), len(points)), texture.shape[2:]
    x = points[..., 0].to(dtype).remainder(1) * width
    y = (1 - points[..., 1].to(dtype)).remainder(1) * height
    # A pixel of the other side around each edge is what interpolation across the edge needs;
    # grid_sample counts from -1 to 1 over all of it.
    grid = torch.stack([2 * (x + 1) / (width + 2) - 1, 2 * (y + 1) / (height + 2) - 1], dim=-1)
    tile = F.pad(texture.to(dtype), [1] * 4, mode="circular").expand(batch, -1, -1, -1)
    grid = grid.expand(batch, -1, -1, -1)
    return F.grid_sample(tile, grid, align_corners=False).to(texture.dtype)
