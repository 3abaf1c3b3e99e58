"""Semantic dictionaries: the units that each position of a photograph excites, as pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from lucent.errors import InputError
from lucent.misc.io.hover import hover_icons
from lucent.misc.io.pictures import as_numpy
from lucent.misc.io.showing import show_page
from lucent.optvis.objectives import channel
from lucent.recipes._pictures import one_photograph
from lucent.recipes._seen import seen, shown
from lucent.recipes.icons import Icons, render_icons
from lucent.recipes.results import Panels, Result
from lucent.units import whole

#: How many positions a figure on paper shows, and how far apart they are, as a share of the rows
#: and columns.
_SHOWN, _APART = 6, 0.25


@dataclass(frozen=True, eq=False)
class SemanticDictionary(Result):
    """The strongest units of each position of a photograph.

    Attributes:
        photograph: (H, W, C) in [0, 1], as the network sees it.
        layer: its name.
        units: all units that are among the strongest somewhere, ascending, (n,).
        indices: places of the strongest in `units` and `icons`, (rows, columns, count), the
            strongest first.
        values: their activations, (rows, columns, count).
        icons: a picture of each unit.
    """

    photograph: np.ndarray
    layer: str
    units: np.ndarray
    indices: np.ndarray
    values: np.ndarray
    icons: Icons

    def at(self, x: int, y: int) -> list[tuple[int, float]]:
        """Return the strongest units of a position and their activations, the strongest first.

        Args:
            x: column of the layer.
            y: row of the layer.
        """
        pairs = zip(self.units[self.indices[y, x]], self.values[y, x], strict=True)
        return [(int(unit), float(value)) for unit, value in pairs]

    def panels(self) -> Panels:
        """Return some positions, marked in the photograph, each with the icons of its units."""
        pictures, labels = [], []
        for y, x in self._positions():
            pictures += [self._marked(y, x), *self.icons.images[self.indices[y, x]]]
            labels += [f"x={x}, y={y}", *(f"{unit}: {value:.4g}" for unit, value in self.at(x, y))]
        return Panels(pictures, labels, columns=2 * (1 + self.values.shape[2]), title=self.layer)

    def show(self) -> None:
        """Show the photograph in the notebook, with the icons of the position under the mouse."""
        labels = [f"{self.layer}:{unit}" for unit in self.units]
        page = hover_icons(
            self.photograph, self.icons.images, self.indices, self.values, labels=labels
        )
        show_page(page)

    def _positions(self) -> list[tuple[int, int]]:
        """Return row and column of strong activations that are not beside each other."""
        strongest = self.values[..., 0].copy()
        near = [max(1, round(_APART * n)) for n in strongest.shape]
        found: list[tuple[int, int]] = []
        while len(found) < _SHOWN and np.isfinite(strongest).any():
            y, x = map(int, np.unravel_index(strongest.argmax(), strongest.shape))
            found.append((y, x))
            rows, columns = (
                slice(max(0, c - n + 1), c + n) for c, n in zip((y, x), near, strict=True)
            )
            strongest[rows, columns] = -np.inf
        return found

    def _marked(self, y: int, x: int) -> np.ndarray:
        """Return the photograph, darker but for a position."""
        size, shape = self.photograph.shape[:2], self.values.shape[:2]
        rows, columns = (np.arange(n) * m // n for n, m in zip(size, shape, strict=True))
        here = (rows == y)[:, None] & (columns == x)
        return np.where(here[..., None], self.photograph, 0.4 * self.photograph)


def semantic_dictionary(
    model: nn.Module, picture: Any, layer: str, *, count: int = 4, **options: Any
) -> SemanticDictionary:
    """Show what each position of a photograph excites most, in pictures of the units.

    >>> from lucent.modelzoo import synthnet
    >>> photo = torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(0))
    >>> found = semantic_dictionary(synthnet(), photo, "mixed4a", count=1, size=32, steps=2)
    >>> found.indices.shape, len(found.units) == len(found.icons.images)
    ((12, 12, 1), True)

    Args:
        model: any network of pictures.
        picture: what `lucent.modelzoo.photograph` takes.
        layer: one with rows and columns, such as "mixed4b".
        count: number of units at each position, at most as many as the layer has.
        options: further keyword arguments of `render_icons`, such as `size`, `steps` and
            `progress`; each unit is rendered once.

    Raises:
        InputError: the picture cannot be used, or `count` is no such number.
        LayerError: there is no such layer, or it has no rows and columns.

    Source: Olah et al. 2018, The Building Blocks of Interpretability
    (https://distill.pub/2018/building-blocks).
    """
    photos, acts = seen(model, one_photograph(model, picture), layer)
    if not 1 <= whole(count, "count") <= acts.shape[1]:
        raise InputError(
            f"count={count} has to be 1 to {acts.shape[1]}, the number of units of the layer "
            f"{layer!r}."
        )
    strongest = torch.topk(acts[0].movedim(0, -1), count, dim=-1)
    units, indices = np.unique(as_numpy(strongest.indices), return_inverse=True)
    icons = render_icons(model, [channel(layer, int(unit)) for unit in units], **options)
    return SemanticDictionary(
        shown(photos)[0],
        layer,
        units,
        indices.reshape(strongest.indices.shape),
        as_numpy(strongest.values),
        icons,
    )
