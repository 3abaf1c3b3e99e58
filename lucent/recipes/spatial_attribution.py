"""Where a score comes from: attributions to positions, over the photograph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lucent.attribution import between, gradient_x_activation
from lucent.errors import InputError
from lucent.misc.io.hover import frame_for_maps, hover_maps
from lucent.misc.io.overlays import overlaid
from lucent.misc.io.pictures import as_numpy
from lucent.misc.io.showing import show_page
from lucent.recipes._grids import block_for_pages, on_grid
from lucent.recipes._marks import framed
from lucent.recipes._pictures import one_photograph
from lucent.recipes._scores import (
    Attribute,
    Scores,
    Smooth,
    named_scores,
    pools_with,
)
from lucent.recipes._seen import shown
from lucent.recipes.results import Panels, Result

#: Share of positions that have at most the full colour.
_SHOWN = 0.99


@dataclass(frozen=True, eq=False)
class SpatialAttribution(Result):
    """What speaks for scores and against them, by position.

    Attributes:
        photograph: (H, W, C) in [0, 1], as the network sees it.
        scores: names of the scores.
        values: the scores, (n scores,).
        layers: names of the layers.
        maps: for each layer (n scores, h, w), in units of the scores: positive speaks for one.
    """

    photograph: np.ndarray
    scores: tuple[str, ...]
    values: np.ndarray
    layers: tuple[str, ...]
    maps: tuple[np.ndarray, ...]

    def panels(self) -> Panels:
        """Return a row for each score: the photograph, and the map of each layer over it.

        The maps of a layer have one scale for all scores. A hundredth of their positions has more
        than the full colour: in early layers, a few would leave nothing to see of the others.
        """
        pictures, labels = [], []
        for n, (score, value) in enumerate(zip(self.scores, self.values, strict=True)):
            pictures.append(self.photograph)
            labels.append(f"{score}: {value:.3g}")
            for layer, maps in zip(self.layers, self.maps, strict=True):
                sizes = np.abs(maps)
                most = float(np.quantile(sizes, _SHOWN)) or float(sizes.max())
                pictures.append(overlaid(self.photograph, maps[n], limit=most))
                labels.append(f"{layer}, {maps[n].sum():+.3g} in all")
        return Panels(pictures, labels, columns=1 + len(self.layers))


def spatial_attribution(
    model: nn.Module,
    picture: Any,
    scores: Scores,
    layers: str | Sequence[str],
    *,
    smooth: Smooth = "L2",
    attribute: Attribute = gradient_x_activation,
) -> SpatialAttribution:
    """Show which parts of a photograph speak for a score, and which against it.

    >>> from lucent.modelzoo import synthnet
    >>> photo = np.random.rand(96, 96, 3)
    >>> found = spatial_attribution(synthnet(), photo, ["labels:disc", "labels:star"], "mixed4a")
    >>> found.maps[0].shape
    (2, 12, 12)

    Args:
        model: the network.
        picture: what `lucent.modelzoo.photograph` takes, one picture.
        scores: one or several of what `lucent.attribution.as_score` takes, such as "labels:tabby"
            or `logit("tabby", minus="tiger cat")`; a mapping gives them names.
        layers: one or several that give (B, C, H, W), or tokens of a grid.
        smooth: the gradient of max-pools: "L2" or "avg" of `lucent.overrides.smoothed_maxpool`,
            without the chequered patterns of their own, which None keeps.
        attribute: function of model, picture, score and layer to an `Attribution`, such as
            `functools.partial(integrated_gradients, steps=20)`.

    Raises:
        InputError: there is no score or no layer, a layer comes after the score, or the picture
            cannot be used.
        LayerError: a layer does not exist, or has no rows and columns.

    Source: Olah et al. 2018, The Building Blocks of Interpretability
    (https://distill.pub/2018/building-blocks).
    """
    names = [layers] if isinstance(layers, str) else list(layers)
    if not names:
        raise InputError("There is no layer to attribute to: give at least one, as 'mixed4a'.")
    image, (titles, wanted) = one_photograph(model, picture), named_scores(model, scores)
    with pools_with(model, smooth):
        found = [[attribute(model, image, s, layer) for s in wanted] for layer in names]
    maps = [
        torch.cat([on_grid(each.values, layer).sum(1) for each in row])
        for layer, row in zip(names, found, strict=True)
    ]
    return SpatialAttribution(
        shown(image)[0],
        titles,
        as_numpy(torch.cat([each.score for each in found[0]])),
        tuple(names),
        tuple(map(as_numpy, maps)),
    )


@dataclass(frozen=True, eq=False)
class LayerToLayer(Result):
    """What the positions of a layer have to do with those of an earlier one.

    Attributes:
        photograph: (H, W, C) in [0, 1], as the network sees it.
        source: name of the earlier layer.
        target: name of the later layer.
        maps: (h2, w2, h1, w1), in units of the target's activations: `maps[y, x, v, u]` is what row
            v and column u of the source add to the strength of row y and column x of the target.
        position: column and row of the target that the still pictures are about.
    """

    photograph: np.ndarray
    source: str
    target: str
    maps: np.ndarray
    position: tuple[int, int]

    def panels(self) -> Panels:
        """Return the photograph with a position of the target, and where that comes from."""
        x, y = self.position
        marked = framed(self.photograph, x, y, self.maps.shape[:2])
        labels = [f"column {x}, row {y} of {self.target}", f"from {self.source}"]
        return Panels([marked, overlaid(self.photograph, self.maps[y, x])], labels, columns=2)

    def show(self) -> None:
        """Show a page to hover over, in both directions.

        Over the target, it shows where a position comes from; over the source, where one goes to.
        Neighbours are taken together where there are more than 16 rows or columns.
        """
        early, late = (block_for_pages(grid) for grid in (self.maps.shape[2:], self.maps.shape[:2]))
        links = _summed(torch.from_numpy(self.maps), early).permute(2, 3, 0, 1)
        links = _summed(links, late)  # (h1, w1, h2, w2)
        maps = [[None, links.permute(2, 3, 0, 1).numpy()], [links.numpy(), None]]
        labels = [f"{self.target}: where it comes from", f"{self.source}: where it goes to"]
        start = 0, self.position[0] // late, self.position[1] // late
        page = hover_maps([self.photograph] * 2, maps, labels=labels, start=start)
        show_page(page, *frame_for_maps([self.photograph] * 2))


def layer_to_layer(
    model: nn.Module,
    picture: Any,
    source: str,
    target: str,
    *,
    position: tuple[int, int] | None = None,
    smooth: Smooth = "L2",
) -> LayerToLayer:
    """Show from which positions of a layer the positions of a later one get their strength.

    >>> from lucent.modelzoo import synthnet
    >>> layer_to_layer(synthnet(), np.random.rand(96, 96, 3), "mixed3a", "mixed4a").maps.shape
    (12, 12, 24, 24)

    Args:
        model: the network.
        picture: what `lucent.modelzoo.photograph` takes, one picture.
        source: name of the earlier layer.
        target: name of the later layer.
        position: column and row of the target that still pictures are about; None is the one that
            gets most.
        smooth: as for `spatial_attribution`.

    Raises:
        InputError: the picture cannot be used, the target does not come after the source, or there
            is no such position.
        LayerError: a layer does not exist, or has no rows and columns.

    Source: Olah et al. 2018, The Building Blocks of Interpretability
    (https://distill.pub/2018/building-blocks).
    """
    image = one_photograph(model, picture)
    with pools_with(model, smooth):
        found = between(model, image, source, target)
    on_grid(found, f"{source}, {target}")
    maps = as_numpy(found)
    height, width = maps.shape[:2]
    if position is None:
        strongest = int(maps.sum((2, 3)).argmax())
        position = strongest % width, strongest // width
    if len(position) != 2 or not (0 <= position[0] < width and 0 <= position[1] < height):
        raise InputError(
            f"position={position} is no column and row: {target!r} has columns 0 to {width - 1} "
            f"and rows 0 to {height - 1}."
        )
    return LayerToLayer(shown(image)[0], source, target, maps, position)


def _summed(maps: Tensor, block: int) -> Tensor:
    """Return the sums of maps (h2, w2, h1, w1) over blocks of their last two axes."""
    return F.avg_pool2d(maps, block, ceil_mode=True, divisor_override=1)
