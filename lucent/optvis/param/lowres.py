"""Images described by fewer numbers than they have pixels, shared among rows where that is told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Real

import numpy as np
import torch
from torch import Tensor, nn

from lucent.errors import InputError
from lucent.optvis.param.base import Image
from lucent.optvis.param.resize_bilinear_nd import resize_bilinear_nd
from lucent.optvis.param.spatial import RawImage, checked_sd, checked_shape, is_count

#: Pixels to shift by along each dimension, or for all; True is half of a low-resolution pixel.
Offset = bool | int | Sequence[bool | int] | None


class LowresImage(Image):
    """A tensor interpolated linearly from a smaller one, along every dimension.

    Along the batch, a smaller tensor is structure that rows share: of size 1 it is the same for
    all, of size 2 a ramp from the first row to the last.

    Args:
        shape: of the image, (B, C, *spatial) or any other.
        underlying_shape: of the parameters, with as many dimensions.
        offset: whole pixels that the image is shifted by towards the end of a dimension, one number
            for all dimensions or one for each. What enters mirrors what is there. True is half of
            a low-resolution pixel, False and None are 0.
        sd: standard deviation of the normal start values; None is 0.01.

    Raises:
        InputError: the shapes differ in rank, or the offsets in number, or one is not whole.
    """

    def __init__(
        self,
        shape: Sequence[int],
        underlying_shape: Sequence[int],
        offset: Offset = None,
        sd: float | None = None,
    ) -> None:
        super().__init__()
        self.shape, underlying = checked_shape(shape), checked_shape(underlying_shape)
        if len(underlying) != len(self.shape):
            raise InputError(
                f"A tensor of shape {underlying} cannot become {self.shape}: both need as many "
                "dimensions."
            )
        self.offset = _offsets(offset, self.shape, underlying)
        self.underlying = nn.Parameter(torch.randn(*underlying) * checked_sd(sd))

    def forward(self) -> Tensor:
        """Return the image in its full resolution."""
        image = resize_bilinear_nd(self.underlying, self.shape)
        for dim, shift in enumerate(self.offset):
            if shift:
                image = _shifted(image, dim, shift)
        return image


class LaplacianImage(RawImage):
    """A sum of images in falling resolutions, each half of the one before.

    Args:
        shape: (B, C, *spatial).
        n_levels: number of resolutions; the first is the full one.
        sd: standard deviation of the normal start values of each; None is 0.01.

    Raises:
        InputError: there is no level, or one would be smaller than a pixel.

    Source: Burt and Adelson 1983, The Laplacian Pyramid as a Compact Image Code
    (https://doi.org/10.1109/TCOM.1983.1095851).
    """

    def __init__(self, shape: Sequence[int], n_levels: int = 4, sd: float | None = None) -> None:
        super().__init__()
        batch, channels, *size = checked_shape(shape)
        most = min(size).bit_length()
        if not is_count(n_levels) or n_levels > most:
            raise InputError(
                f"n_levels={n_levels} has to be 1 to {most} for an image of {tuple(size)}: every "
                "level halves the resolution."
            )
        levels = [(batch, channels, *(n // 2**level for n in size)) for level in range(n_levels)]
        self.levels = nn.ModuleList(LowresImage(shape, level, sd=sd) for level in levels)

    def forward(self) -> Tensor:
        """Return the sum of the levels."""
        first, *others = (level() for level in self.levels)
        return sum(others, start=first)

    @torch.no_grad()
    def start_from(self, image: Tensor) -> None:
        """Become an image, in the precision of the pixels: they are all in the finest level."""
        finest, *coarser = self.parameters()
        finest.copy_(image)
        for level in coarser:
            level.zero_()


def lowres_tensor(
    shape: Sequence[int],
    underlying_shape: Sequence[int],
    offset: Offset = None,
    sd: float | None = 0.01,
    device: torch.device | str | None = None,
) -> Image:
    """Return an unconstrained image interpolated from a smaller one; see `LowresImage`."""
    return LowresImage(shape, underlying_shape, offset, sd).to(device)


def laplacian_pyramid_image(
    shape: Sequence[int], n_levels: int = 4, sd: float | None = None
) -> Image:
    """Return an unconstrained image that sums several resolutions; see `LaplacianImage`."""
    return LaplacianImage(shape, n_levels, sd)


def _offsets(offset: Offset, shape: tuple[int, ...], underlying: tuple[int, ...]) -> list[int]:
    """Return the pixels to shift by along each dimension."""
    given = [*offset] if isinstance(offset, Iterable) else [offset] * len(shape)
    if len(given) != len(shape):
        raise InputError(
            f"offset={offset} has {len(given)} entries for the {len(shape)} dimensions of {shape}."
        )
    half = [n // (2 * m) for n, m in zip(shape, underlying, strict=True)]
    return [_shift(o, h) for h, o in zip(half, given, strict=True)]


def _shift(offset: bool | int | None, half: int) -> int:
    """Return the pixels to shift by along a dimension where True is so many."""
    if isinstance(offset, bool | np.bool_):
        return half if offset else 0
    if offset is None:
        return 0
    if not isinstance(offset, Real) or offset % 1:
        raise InputError(
            f"The offset {offset!r} has to be a number of whole pixels, or True for half of a "
            "low-resolution pixel."
        )
    return int(offset)


def _shifted(image: Tensor, dim: int, shift: int) -> Tensor:
    """Shift an image that goes on as its mirror image, edge pixels repeated, on both sides."""
    n = image.shape[dim]
    source = (torch.arange(n, device=image.device) - shift) % (2 * n)
    return image.index_select(dim, torch.minimum(source, 2 * n - 1 - source))
