"""What an atlas is made by."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lucent.errors import InputError
from lucent.recipes.atlas.layout import LAYOUTS


@dataclass(frozen=True)
class AtlasSettings:
    """How samples become a map, and cells of the map pictures.

    Attributes:
        grids: cells along each side, of each level; coarse ones first.
        density: samples that a cell has at least; others stay empty.
        limit: samples that are laid out at most, chosen at random; None takes all.
        layout: "UMAP", "TSNE" or "PCA".
        layout_options: further arguments of it, such as `n_neighbors` and `min_dist` of UMAP.
        whiten_layout: lay out whitened activations, in which frequent directions do not drown the
            others.
        whiten_icons: have icons look for whitened directions, for what is special about a cell.
        regularization: of both, see `whitening`.
        size: side of an icon, in pixels; None is that of the model's pictures, at most 96.
        steps: of each icon.
        attempts: pictures that are made for each cell, of which the best one is kept.
        cossim_pow: how much the angle to the direction of a cell counts beside the length.
        border: weight of a calm border, 0 for none.
        alpha: make icons that are transparent where it does not matter.
        strongest: of an atlas of one class, samples with the strongest positive attribution to it
            that are taken beside those it wins; None is 0.75 % of all, as in the article's
            notebook.
        weighted: average the samples of a cell by their attribution to the class.
        seed: of the choice of samples, of the layout, and of the icons, which all start alike.

    Raises:
        InputError: a number is out of range.
    """

    grids: tuple[int, ...] = (10, 20, 40)
    density: int = 5
    limit: int | None = 100_000
    layout: str = "UMAP"
    layout_options: Mapping[str, Any] = field(default_factory=dict)
    whiten_layout: bool = False
    whiten_icons: bool = False
    regularization: float = 0.1
    size: int | None = None
    steps: int = 128
    attempts: int = 1
    cossim_pow: float = 2.0
    border: float = 0.1
    alpha: bool = False
    strongest: int | None = None
    weighted: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "grids", tuple(self.grids))
        object.__setattr__(self, "layout_options", dict(self.layout_options))
        if not self.grids or sorted(set(self.grids)) != list(self.grids):
            raise InputError(f"grids={self.grids} has to be growing numbers, such as (10, 20, 40).")
        least = {"density": 1, "steps": 0, "attempts": 1, "cossim_pow": 0, "border": 0, "seed": 0}
        for name, number in least.items():
            if not getattr(self, name) >= number:
                raise InputError(f"{name}={getattr(self, name)!r} has to be {number} or more.")
        if self.layout not in LAYOUTS:
            raise InputError(
                f"layout={self.layout!r} is unknown: it is one of {', '.join(LAYOUTS)}."
            )

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as JSON knows them."""
        return {**dataclasses.asdict(self), "grids": list(self.grids)}
