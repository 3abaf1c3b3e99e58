"""Atlases of two layers, or of two networks, on which the same cell is the same thing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from lucent.errors import InputError
from lucent.recipes.atlas._drawing import Drawing, laid_out, prepared
from lucent.recipes.atlas.atlases import Atlas
from lucent.recipes.atlas.layout import normalized
from lucent.recipes.atlas.samples import Given, Samples, as_samples
from lucent.recipes.atlas.settings import AtlasSettings
from lucent.recipes.results import Panels, Result

if TYPE_CHECKING:
    from typing_extensions import Self

#: Folders of the two atlases.
_FOLDERS = ("first", "second")


@dataclass(frozen=True, eq=False)
class AlignedAtlas(Result):
    """Two atlases over one layout: a cell holds the same pictures in both.

    Attributes:
        first: atlas of the first layer.
        second: atlas of the second one; its levels have the same cells.
    """

    first: Atlas
    second: Atlas

    def panels(self) -> Panels:
        """Return the maps of both, a row for each level."""
        pairs = [*zip(self.first.levels, self.second.levels, strict=True)]
        pictures = [level.canvas() for pair in pairs for level in pair]
        labels = [atlas.title for _ in pairs for atlas in (self.first, self.second)]
        return Panels(pictures, labels, 2)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write both atlases into a folder.

        Raises:
            InputError: something else is in there.
            StorageError: there is no room.
        """
        for atlas, name in zip((self.first, self.second), _FOLDERS, strict=True):
            atlas.save(Path(os.path.expanduser(folder)) / name)

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Self:
        """Open the folder of two aligned atlases.

        Raises:
            InputError: one is not there, or not finished.
            StorageError: one is damaged.
        """
        first, second = (Atlas.open(Path(os.path.expanduser(folder)) / name) for name in _FOLDERS)
        return cls(first, second)


def aligned_atlas(
    models: tuple[nn.Module, nn.Module],
    samples: tuple[Given, Given],
    layers: tuple[str, str],
    *,
    settings: AtlasSettings | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
    **options: Any,
) -> AlignedAtlas:
    """Map what two layers, or two networks, see of the same pictures, with the same places.

    Samples are laid out once, by what both layers say: the vectors of each, scaled to a mean
    square length of 1 so that neither drowns the other, are put end to end. So the cells of both
    maps hold the same samples, and what differs is what the layers make of them.

    Args:
        models: two networks, or the same one twice.
        samples: of each, of the same pictures in the same order.
        layers: name of a layer of each.
        settings: as for `activation_atlas`; `whiten_layout` whitens each layer by itself.
        out: a folder for both atlases, as for `activation_atlas`.
        progress: as for `activation_atlas`.
        options: as for `activation_atlas`.

    Raises:
        InputError: the samples are not of the same pictures.
        LayerError: a layer does not exist.

    Source: Carter et al. 2019, Activation Atlas (https://distill.pub/2019/activation-atlas).
    """
    settings = AtlasSettings() if settings is None else settings
    given = tuple(map(as_samples, samples, layers))
    _check_pairs(given)
    rows = given[0].chosen(settings.limit, settings.seed)
    chosen = [own.at(rows) for own in given]

    def positions() -> np.ndarray:
        both = [_even(prepared(own, settings)) for own in chosen]
        return normalized(laid_out(np.concatenate(both, axis=1), settings))

    first, second = (
        Drawing(model, layer, own, rows, settings, f"What {layer} sees", options=options)
        for model, layer, own in zip(models, layers, chosen, strict=True)
    )
    folder = None if out is None else Path(os.path.expanduser(out))
    folders = [folder and folder / name for name in _FOLDERS]
    one = first.drawn(positions, folders[0], progress=progress)
    other = second.drawn(lambda: one.positions, folders[1], progress=progress, skip=one.interrupted)
    return AlignedAtlas(one, other)


def _even(vectors: np.ndarray) -> np.ndarray:
    """Return vectors scaled to a mean square length of 1, (n, C)."""
    length = np.sqrt((vectors.astype(np.float64) ** 2).sum(1).mean())
    scaled: np.ndarray = vectors / np.float32(length or 1)
    return scaled


def _check_pairs(given: tuple[Samples, ...]) -> None:
    first, second = given
    if len(first) != len(second):
        raise InputError(
            f"There are {len(first)} and {len(second)} samples: aligned atlases take those of the "
            "same positions of the same pictures, in the same order."
        )
    if first.images is not None and second.images is not None:
        (different,) = np.nonzero(first.images != second.images)
        if len(different):
            raise InputError(
                f"Sample {different[0]} is of picture {first.images[different[0]]} in one and of "
                f"{second.images[different[0]]} in the other: collect both with the same data and "
                "settings."
            )
