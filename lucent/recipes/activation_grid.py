"""Activation grids: for each position of a photograph, what the layer sees there as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from lucent.errors import InputError
from lucent.misc.io.pictures import as_numpy, tiled
from lucent.optvis.objectives import direction
from lucent.recipes._pictures import one_photograph
from lucent.recipes._seen import seen, shown
from lucent.recipes.icons import Icons, render_icons
from lucent.recipes.neuron_groups import decomposed
from lucent.recipes.results import Panels, Result
from lucent.units import whole

#: Pixels cut off each side of a cell, as in Lucid: what is there has seen the border.
_CUT = 2
#: How far a cell starts towards the pictures of its groups. Less, and neighbours differ; at 1 the
#: darkest and brightest pixels have no gradient left.
_SHARE = 0.7
#: Where no group is active at all, nothing is divided by zero.
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class ActivationGrid(Result):
    """A photograph, and for each position a picture of what a layer sees there.

    Attributes:
        photograph: (H, W, C) in [0, 1], as the network sees it.
        layer: its name.
        images: (rows, columns, height, width, C) in [0, 1]; those that were not finished are 0.5.
        done: (rows, columns), True for those that were finished.
        groups: pictures of the groups that the cells started from; None without groups.
    """

    photograph: np.ndarray
    layer: str
    images: np.ndarray
    done: np.ndarray
    groups: Icons | None

    def mosaic(self) -> np.ndarray:
        """Return the cells as one picture, without the pixels at their borders."""
        inner = self.images[:, :, _CUT:-_CUT, _CUT:-_CUT]
        return tiled(inner.reshape(-1, *inner.shape[2:]), inner.shape[1])

    def panels(self) -> Panels:
        """Return the photograph and the grid."""
        return Panels([self.photograph, self.mosaic()], ("photograph", self.layer), columns=2)


def activation_grid(
    model: nn.Module, picture: Any, layer: str, *, n_groups: int = 6, **options: Any
) -> ActivationGrid:
    """Show what a layer sees at each position of a photograph.

    >>> import torch
    >>> from lucent.modelzoo import synthnet
    >>> photo = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> grid = activation_grid(synthnet(), photo, "pool3", n_groups=2, size=16, steps=1)
    >>> grid.images.shape, grid.mosaic().shape
    ((4, 4, 16, 16, 3), (48, 48, 3))

    The cells are rows of batches, so memory is bounded by `batch_size`, and Ctrl-C returns those
    that are finished. That neighbours agree comes from groups of neurons: each group is rendered
    first, and a cell starts from a blend of their pictures, as much of each as there is of the
    group at its position.

    Args:
        model: any network of pictures.
        picture: what `lucent.modelzoo.photograph` takes.
        layer: one with rows and columns, such as "mixed4d"; of a vision transformer "blocks.6".
        n_groups: number of groups; 0 starts all cells from the same faint noise.
        options: `size` of a cell, by default 60 pixels, `every` and `cossim_pow`, as for
            `activation_grids`; further keyword arguments of `render_icons`, such as `steps`,
            `batch_size` and `progress`.

    Raises:
        InputError: the picture cannot be used, there are more groups than channels, or another
            argument is out of range.
        LayerError: there is no such layer, or it has no rows and columns.
        MissingExtra: there are groups, and scikit-learn is not installed.

    Source: Olah et al. 2018, The Building Blocks of Interpretability
    (https://distill.pub/2018/building-blocks).
    """
    photo = one_photograph(model, picture)
    (grid,) = activation_grids(model, [photo], layer, n_groups=n_groups, **options)
    return grid


def activation_grids(
    model: nn.Module,
    pictures: list[Any],
    layer: str,
    *,
    n_groups: int = 6,
    size: int = 60,
    every: int = 1,
    cossim_pow: float = 1.0,
    **options: Any,
) -> list[ActivationGrid]:
    """Return the activation grids of several photographs, which share their groups.

    Args:
        model: as for `activation_grid`.
        pictures: what `lucent.modelzoo.photograph` takes.
        layer: as for `activation_grid`.
        n_groups: as for `activation_grid`.
        size: side of a cell in pixels, more than the 4 that `mosaic` leaves out.
        every: 2 takes every second row and column of the layer, and so on, for a smaller grid.
        cossim_pow: 0 follows the activations most vividly; with larger powers cells show less of
            what is not among the activations of their position.
        options: further keyword arguments of `render_icons`.

    Raises:
        InputError: as for `activation_grid`.
        LayerError: as for `activation_grid`.
    """
    if not size > 2 * _CUT:
        raise InputError(f"size={size!r} has to be more than {2 * _CUT} pixels: a cell loses them.")
    photos, acts = seen(model, pictures, layer)
    taken = _thinned(acts, every)
    vectors, groups, starts = taken.movedim(1, -1).flatten(0, -2), None, None
    if n_groups:
        directions, strengths = decomposed(acts, n_groups)
        wanted = [direction(layer, vector, cossim_pow=cossim_pow) for vector in directions]
        groups = render_icons(model, wanted, size=size, **options)
        starts = _blends(groups.images, _thinned(strengths, every))
    if groups is not None and groups.interrupted:
        shape = len(vectors), *groups.images.shape[1:]
        cells = Icons(np.full(shape, 0.5, np.float32), np.zeros(len(vectors), bool), (), True)
    else:
        wanted = [direction(layer, vector, cossim_pow=cossim_pow) for vector in vectors]
        cells = render_icons(model, wanted, size=size, starts=starts, **options)
    shape = len(photos), *taken.shape[2:]
    images, done = cells.images.reshape(*shape, *cells.images.shape[1:]), cells.done.reshape(shape)
    return [
        ActivationGrid(photo, layer, own, finished, groups)
        for photo, own, finished in zip(shown(photos), images, done, strict=True)
    ]


def _thinned(values: Tensor, every: int) -> Tensor:
    """Return some rows and columns of (B, C, H, W), as far from the sides as can be."""
    most = min(values.shape[2:])
    if not 1 <= whole(every, "every") <= most:
        raise InputError(f"every={every!r} has to be 1 to {most}, the positions of the layer.")
    return values[:, :, every // 2 :: every, every // 2 :: every]


def _blends(pictures: np.ndarray, strengths: Tensor) -> list[np.ndarray]:
    """Return for each position the pictures of groups by their shares, (positions, H, W, C)."""
    present = strengths.movedim(1, -1).flatten(0, -2)
    shares = as_numpy(present / present.sum(1, keepdim=True).clamp(min=_TINY))
    return [*(0.5 + _SHARE * np.tensordot(shares.astype(np.float32), pictures - 0.5, 1))]
