"""Activation atlases of what speaks for a class, and for one class rather than another."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from torch import nn

from lucent.errors import InputError
from lucent.recipes.atlas._drawing import Drawing, plane
from lucent.recipes.atlas.atlases import Atlas
from lucent.recipes.atlas.samples import Given, Samples, as_samples
from lucent.recipes.atlas.settings import AtlasSettings

#: Of the samples that were given, as 3,000 are of 400,000 in the notebook of the article.
_STRONGEST = 3 / 400
#: Differences of two attributions are clipped at this percentile, as in the article's notebook.
_PERCENTILE = 99


def class_atlas(
    model: nn.Module,
    samples: Given,
    layer: str,
    *,
    label: str | int,
    settings: AtlasSettings | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
    **options: Any,
) -> Atlas:
    """Map what of all that a layer sees speaks for a class of the network.

    On the map are the samples whose attribution to this class is their largest, and those with
    the strongest positive attribution to it among all.

    Args:
        model: as for `activation_atlas`.
        samples: as for `activation_atlas`, with attributions.
        layer: as for `activation_atlas`.
        label: of a class of the network, or its index.
        settings: as for `activation_atlas`; `strongest` and `weighted` are for this kind of atlas.
        out: as for `activation_atlas`.
        progress: as for `activation_atlas`.
        options: as for `activation_atlas`.

    Raises:
        InputError: there are no attributions, no such class, or too few samples that speak for it.

    Source: Carter et al. 2019, Activation Atlas (https://distill.pub/2019/activation-atlas).
    """
    settings = AtlasSettings() if settings is None else settings
    given = as_samples(samples, layer)
    index, name = given.class_index(label), given.class_name(label)
    rows = _limited(speaking_for(given, index, settings.strongest), settings)
    chosen = given.at(rows)
    title = f"What {layer} sees that speaks for {name}"
    weights = _attributed(chosen, index).clip(0) if settings.weighted else None
    drawing = Drawing(model, layer, chosen, rows, settings, title, (name,), weights, options)
    return drawing.drawn(lambda: plane(chosen, settings), out, progress=progress)


def compare_classes(
    model: nn.Module,
    samples: Given,
    layer: str,
    *,
    labels: tuple[str | int, str | int],
    settings: AtlasSettings | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
    **options: Any,
) -> Atlas:
    """Map what speaks for one class rather than for another, from left to right.

    The farther right a sample is, the more its attribution to the first class exceeds that to the
    second: x is the difference as a share of the 99th percentile of all differences, clipped, from
    -1 at the left to 1 at the right. From top to bottom alike activations lie beside each other. A
    cell at the right end that has nothing to do with the first class is what fools the network.

    Args:
        model: as for `activation_atlas`.
        samples: as for `class_atlas`.
        layer: as for `activation_atlas`.
        labels: the class that the right end speaks for, and the one at the left.
        settings: as for `class_atlas`.
        out: as for `activation_atlas`.
        progress: as for `activation_atlas`.
        options: as for `activation_atlas`.

    Raises:
        InputError: there are no attributions, not two different classes, or too few samples.

    Source: Carter et al. 2019, Activation Atlas (https://distill.pub/2019/activation-atlas).
    """
    settings = AtlasSettings() if settings is None else settings
    given = as_samples(samples, layer)
    first, second = (given.class_index(label) for label in labels)
    if first == second:
        raise InputError(f"labels={labels} are one class: give two to compare.")
    both = [speaking_for(given, index, settings.strongest) for index in (first, second)]
    rows = _limited(np.union1d(*both), settings)
    chosen = given.at(rows)
    difference = _attributed(chosen, first) - _attributed(chosen, second)
    names = (given.class_name(first), given.class_name(second))
    title = f"What {layer} sees that speaks for {names[1]} (left) or {names[0]} (right)"
    weights = np.abs(difference) if settings.weighted else None
    drawing = Drawing(model, layer, chosen, rows, settings, title, names, weights, options)

    def positions() -> np.ndarray:
        beside = plane(chosen, settings, dimensions=1)[:, 0]
        return np.stack([balance(difference), beside], 1)

    return drawing.drawn(positions, out, progress=progress)


def speaking_for(samples: Samples, index: int, strongest: int | None = None) -> np.ndarray:
    """Return the places of the samples that speak for a class, in their order.

    Args:
        samples: with attributions.
        index: of the class.
        strongest: how many of the strongest positive attributions count beside those of which this
            class has the largest attribution; None is 0.75 % of all samples.
    """
    own = _attributed(samples, index)
    wins = samples.winners() == index
    count = round(_STRONGEST * len(samples)) if strongest is None else strongest
    most = np.argsort(-own, kind="stable")[:count]
    wins[most[own[most] > 0]] = True
    return np.flatnonzero(wins)


def balance(difference: np.ndarray) -> np.ndarray:
    """Return differences of attributions as places from left to right, (n,) in [0, 1].

    Args:
        difference: (n,); 0 is in the middle.
    """
    most = np.percentile(np.abs(difference), _PERCENTILE)
    share = np.clip(difference / most, -1, 1) if most > 0 else np.zeros(len(difference))
    return ((share + 1) / 2).astype(np.float32)


def _attributed(samples: Samples, index: int) -> np.ndarray:
    assigned = samples.attributions
    return np.zeros(len(samples)) if assigned is None else np.asarray(assigned[:, index], float)


def _limited(rows: np.ndarray, settings: AtlasSettings) -> np.ndarray:
    if settings.limit is None or len(rows) <= settings.limit:
        return rows
    some = np.random.default_rng(settings.seed).choice(rows, settings.limit, replace=False)
    return np.sort(some)
