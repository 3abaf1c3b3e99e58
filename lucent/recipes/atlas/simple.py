"""Activation atlases of everything that a layer sees."""

from __future__ import annotations

import os
from typing import Any

from torch import nn

from lucent.recipes.atlas._drawing import Drawing, plane
from lucent.recipes.atlas.atlases import Atlas
from lucent.recipes.atlas.samples import Given, as_samples
from lucent.recipes.atlas.settings import AtlasSettings


def activation_atlas(
    model: nn.Module,
    samples: Given,
    layer: str,
    *,
    settings: AtlasSettings | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
    **options: Any,
) -> Atlas:
    """Map what a layer sees: activations of many pictures, averaged in cells and rendered.

    >>> import torch
    >>> from lucent.modelzoo import synthnet
    >>> vectors = torch.rand(64, 280, generator=torch.Generator().manual_seed(0))
    >>> small = AtlasSettings(grids=(1, 2), density=1, layout="PCA", size=32, steps=1)
    >>> atlas = activation_atlas(synthnet(), vectors, "mixed4a", settings=small)
    >>> [level.icons.shape for level in atlas.levels]
    [(1, 32, 32, 3), (4, 32, 32, 3)]

    Alike activations come to lie beside each other. The plane is divided into grids, coarse and
    fine; the activations in a cell are averaged, and the icon of the cell is a picture that gives
    this average at the position in the middle. For the average a, icons maximise
    x · u max(0.1, cos(x, u)) ** p over the activations x of pictures. Here u is a, or a S with
    whitening: S is the inverse of the second moment of all activations, so what is active
    everywhere says nothing about a cell.

    Args:
        model: the network that the activations are of; it comes back as it was.
        samples: a collection, `Samples`, or vectors (n, C).
        layer: name of the layer that the samples are of, convolutional or of tokens.
        settings: of the layout, the cells and the icons; None takes the defaults.
        out: a folder that is filled; a run that was cut off goes on where it was.
        progress: show a progress bar over the icons.
        options: further keyword arguments of `render_icons`.

    Returns:
        The atlas; after Ctrl-C, with the icons that are finished.

    Raises:
        InputError: there are too few samples, or an argument cannot be used.
        LayerError: there is no such layer.
        MissingExtra: umap-learn or scikit-learn is not installed.

    Source: Carter et al. 2019, Activation Atlas (https://distill.pub/2019/activation-atlas).
    """
    settings = AtlasSettings() if settings is None else settings
    given = as_samples(samples, layer)
    rows = given.chosen(settings.limit, settings.seed)
    chosen = given.at(rows)
    title = f"What {layer} sees"
    drawing = Drawing(model, layer, chosen, rows, settings, title, options=options)
    return drawing.drawn(lambda: plane(chosen, settings), out, progress=progress)
