"""Pictures of the cells of an atlas."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from lucent.optvis import objectives, transform
from lucent.optvis.defaults import checked_spec
from lucent.optvis.objectives import Objective
from lucent.recipes._pictures import activations
from lucent.recipes.atlas.settings import AtlasSettings
from lucent.recipes.icons import Icons, default_size, render_icons

#: Width of the border that is to be calm, in pixels, as in Lucid.
_BORDER = 5
#: Pictures whose scores are computed together.
_BATCH = 32


def cell_directions(vectors: np.ndarray, whitening: np.ndarray | None) -> np.ndarray:
    """Return the directions that the icons of cells look for, (m, C), float32.

    They are as long as makes the product with the vector of their own cell 1, so that scores, and
    the weight of the border beside them, mean the same in all cells.

    Args:
        vectors: mean activations of the cells, (m, C).
        whitening: W of `lucent.recipes.atlas.whitening`, (C, C); None leaves directions as they
            are.
    """
    own = np.asarray(vectors, np.float64)
    found = own if whitening is None else own @ whitening @ whitening
    product = (own * found).sum(1, keepdims=True)
    return (found / np.where(product > 0, product, 1)).astype(np.float32)


def render_cells(
    model: nn.Module, layer: str, directions: np.ndarray, settings: AtlasSettings, **options: Any
) -> Icons:
    """Render the icons of cells, the best of several attempts each.

    A picture is scored by what it makes of the direction at the position in the middle, and by the
    calm of its border.

    Args:
        model: the network.
        layer: name of the layer.
        directions: of the cells, (m, C).
        settings: of the atlas.
        options: further arguments of `render_icons`.

    Returns:
        Icons whose numbers are multiples of 1 / 255, so that files hold them exactly; those that
        were not finished are 0.5.
    """
    size = icon_size(model, settings)
    wanted = [_objective(layer, each, settings, size) for each in directions]
    tries = wanted * settings.attempts
    if settings.alpha:
        front = [transform.collapse_alpha_random(), *transform.standard_transforms]
        options = {"transforms": front, "alpha": True, **options}
    seeds = [settings.seed + n for n in range(settings.attempts) for _ in wanted]
    made = render_icons(model, tries, size=size, steps=settings.steps, seed=seeds, **options)
    rounded = (np.rint(255 * made.images.clip(0, 1)) / 255).astype(np.float32)
    images = np.where(made.done[:, None, None, None], rounded, np.float32(0.5))
    several = (settings.attempts, len(wanted))
    best, cells = np.zeros(len(wanted), int), np.arange(len(wanted))
    if settings.attempts > 1 and not made.interrupted:
        plain = dataclasses.replace(settings, alpha=False)
        judged = [_objective(layer, each, plain, size) for each in directions]
        scores = _scores(model, judged * settings.attempts, images).reshape(several)
        best = np.where(made.done.reshape(several), scores, -np.inf).argmax(0)
    images, done = images.reshape(*several, *images.shape[1:]), made.done.reshape(several)
    return Icons(images[best, cells], done[best, cells], made.labels, made.interrupted)


def icon_size(model: nn.Module, settings: AtlasSettings) -> int:
    """Return the side of the icons of an atlas, in pixels."""
    return settings.size or default_size(checked_spec(model, needed=True))


def _objective(layer: str, direction: np.ndarray, settings: AtlasSettings, size: int) -> Objective:
    """Return what the icon of a cell looks for."""
    vector = torch.from_numpy(direction)
    wanted = objectives.direction_neuron(layer, vector, cossim_pow=settings.cossim_pow)
    if settings.alpha:
        wanted = objectives.product(wanted, objectives.transparency())
    if not settings.border:
        return wanted
    # The penalty is a sum over the border: its weight is about the mean, whatever the size.
    width = min(_BORDER, size // 2)
    n_pixels = size**2 - (size - 2 * width) ** 2
    return wanted + objectives.penalize_boundary_complexity(w=width) * (settings.border / n_pixels)


def _scores(model: nn.Module, wanted: Sequence[Objective], images: np.ndarray) -> np.ndarray:
    """Return what each objective makes of its own picture, without transforms, (n,)."""
    fixed = checked_spec(model, needed=True).fixed_size
    found: list[float] = []
    for first in range(0, len(wanted), _BATCH):
        some = wanted[first : first + _BATCH]
        pictures = over_grey(images[first : first + _BATCH])
        seen = {"fixed_image_size": None if fixed else "native"}
        with activations(model, Objective.sum(some).layers, pictures, seen) as T:
            found += [-each.about(row)(T).item() for row, each in enumerate(some)]
    return np.array(found)


def over_grey(images: np.ndarray) -> np.ndarray:
    """Return pictures without opacity, (..., H, W, C); where they are transparent they are grey."""
    if images.shape[-1] != 4:
        return images
    alpha = images[..., 3:]
    blended: np.ndarray = alpha * images[..., :3] + (1 - alpha) * np.float32(0.5)
    return blended
