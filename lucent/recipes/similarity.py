"""Which positions of photographs a layer takes for the same: cosines of their activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lucent.errors import InputError
from lucent.misc.io.hover import frame_for_maps, hover_maps
from lucent.misc.io.overlays import overlaid
from lucent.misc.io.pictures import as_numpy
from lucent.misc.io.showing import show_page
from lucent.recipes._grids import block_for_pages
from lucent.recipes._marks import framed
from lucent.recipes._seen import seen, shown
from lucent.recipes.results import Panels, Result


@dataclass(frozen=True, eq=False)
class Similarity(Result):
    """How alike the positions of photographs are to a layer.

    Attributes:
        photographs: (n, H, W, C) in [0, 1], as the network sees them.
        layer: name of the layer.
        directions: activations of length 1, or 0 where nothing is active, (n, h, w, C).
        position: photograph, column and row that the still pictures are about.
    """

    photographs: np.ndarray
    layer: str
    directions: np.ndarray
    position: tuple[int, int, int]

    def at(self, number: int, x: int, y: int) -> np.ndarray:
        """Return the cosines of all positions with that in column x and row y of a photograph.

        Returns:
            (n, h, w), one map for each photograph, from -1 to 1.
        """
        return np.asarray(self.directions @ self.directions[number, y, x])

    def panels(self) -> Panels:
        """Return the photographs under their cosines with one position."""
        number, x, y = self.position
        pictures = [
            overlaid(picture, cosines, limit=1)
            for picture, cosines in zip(self.photographs, self.at(number, x, y), strict=True)
        ]
        pictures[number] = framed(pictures[number], x, y, self.directions.shape[1:3])
        title = f"{self.layer}: cosine with column {x}, row {y} of photograph {number}"
        return Panels(pictures, title=title)

    def show(self) -> None:
        """Show a page to hover over: the mouse chooses the position.

        Neighbours are taken together where there are more than 16 rows or columns.
        """
        number, x, y = self.position
        block = block_for_pages(self.directions.shape[1:3])
        coarse = torch.from_numpy(self.directions).movedim(-1, 1)
        coarse = F.normalize(F.avg_pool2d(coarse, block, ceil_mode=True), dim=1)
        cosines = torch.einsum("icyx,jcvu->ijyxvu", coarse, coarse).numpy()
        maps = [list(row) for row in cosines]
        start = number, x // block, y // block
        page = hover_maps(list(self.photographs), maps, limit=1, start=start)
        show_page(page, *frame_for_maps(list(self.photographs)))


def cosine_similarity(
    model: nn.Module,
    pictures: Any,
    layer: str,
    *,
    position: tuple[int, int, int] | None = None,
    centred: bool = True,
) -> Similarity:
    """Compare the activations of each position with those of all others, also of other photographs.

    >>> from lucent.modelzoo import synthnet
    >>> found = cosine_similarity(synthnet(), np.random.rand(96, 96, 3), "mixed4a")
    >>> found.at(0, 5, 5).shape
    (1, 12, 12)

    Args:
        model: the network.
        pictures: what `lucent.modelzoo.photograph` takes, or a list of several.
        layer: one that gives (B, C, H, W), or tokens of a grid.
        position: photograph, column and row that still pictures are about; None is the one in the
            first photograph whose activations are furthest from the mean, or from zero.
        centred: subtract the mean of all positions first, so that what is less alike than the
            average is negative. Lucid does not; activations that are never negative then have no
            negative cosines, and are all somewhat alike.

    Raises:
        InputError: there is no picture, they cannot be used, or there is no such position.
        LayerError: there is no such layer, or it has no rows and columns.

    Source: Lucid's notebook on cosine similarity overlays (https://github.com/tensorflow/lucid).
    """
    photos, acts = seen(model, pictures, layer)
    acts = acts.float()
    if centred:
        acts = acts - acts.mean((0, 2, 3), keepdim=True)
    if position is None:
        strongest = int(torch.linalg.vector_norm(acts[0], dim=0).argmax())
        position = 0, strongest % acts.shape[3], strongest // acts.shape[3]
    directions = F.normalize(acts, dim=1).movedim(1, -1)
    place = _checked_position(position, directions.shape)
    return Similarity(shown(photos), layer, as_numpy(directions), place)


def _checked_position(position: Sequence[int], shape: Sequence[int]) -> tuple[int, int, int]:
    count, height, width, _ = shape
    number, x, y = position if len(position) == 3 else (-1, -1, -1)
    if not (0 <= number < count and 0 <= x < width and 0 <= y < height):
        raise InputError(
            f"position={tuple(position)} is not there: it is a photograph (0 to {count - 1}), a "
            f"column (0 to {width - 1}) and a row (0 to {height - 1})."
        )
    return number, x, y
