"""Caricatures: a photograph as a layer sees it, exaggerated.

The activations of a caricature point where those of the photograph point, and may grow without end:
what the layer recognises is exaggerated. Those of an inversion are to be equal to the photograph's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lucent.errors import InputError
from lucent.optvis import objectives, param
from lucent.optvis.defaults import checked_spec, default_image
from lucent.optvis.history import History
from lucent.optvis.objectives import Objective
from lucent.recipes._pictures import STEPS, activations, one_photograph, rendered
from lucent.recipes._seen import shown
from lucent.recipes.results import Panels, Result


@dataclass(frozen=True, eq=False)
class Caricature(Result):
    """A photograph and what layers see in it.

    Attributes:
        photograph: (H, W, C) in [0, 1], as the network sees it.
        layers: names, in the order of the images.
        images: (n layers, H, W, C) in [0, 1].
        history: values of the objective of each layer over the run.
    """

    photograph: np.ndarray
    layers: tuple[str, ...]
    images: np.ndarray
    history: History

    def panels(self) -> Panels:
        """Return the photograph, and the images with the names of their layers."""
        pictures = [self.photograph, *self.images]
        columns = len(pictures) if len(pictures) < 6 else None
        return Panels(pictures, ("photograph", *self.layers), columns=columns)


def caricature(
    model: nn.Module,
    picture: Any,
    layers: str | Sequence[str],
    *,
    cossim_pow: float = 1.0,
    **options: Any,
) -> Caricature:
    """Exaggerate what layers see in a photograph, one image for each layer.

    >>> from lucent.modelzoo import synthnet
    >>> made = caricature(synthnet(), np.full((96, 96, 3), 0.5), ["conv2", "mixed3a"], steps=2)
    >>> made.images.shape
    (2, 96, 96, 3)

    The photograph and the images are one batch, and see the same transforms, so that things stay in
    their places.

    Args:
        model: the network.
        picture: what `lucent.modelzoo.photograph` takes.
        layers: one or several, such as "mixed4a"; of a vision transformer "blocks.6".
        cossim_pow: 0 exaggerates most; the larger it is, the nearer to the photograph. The score is
            the dot product of the activations times their cosine to this power, 1 for the
            photograph itself.
        options: `size` of photograph and images, (height, width) or both, in pixels, by default
            that of the network; `steps`, by default 256; further arguments of `render_vis`, such as
            `seed` and `progress`.

    Raises:
        InputError: there is no layer, or the picture cannot be used.
        LayerError: a layer does not exist.

    Source: Olah et al. 2018, The Building Blocks of Interpretability
    (https://distill.pub/2018/building-blocks); Lucid's `recipes.caricature`.
    """

    def score(layer: str, row: int, length: float) -> Objective:
        # Plain products of a large power would overflow.
        product = objectives.dot_compare(layer, batch=row, cossim_pow=cossim_pow)
        return length ** -(2 + cossim_pow) * product

    return _matched(model, picture, layers, score, **options)


def feature_inversion(
    model: nn.Module, picture: Any, layers: str | Sequence[str], **options: Any
) -> Caricature:
    """Show what layers keep of a photograph: images whose activations equal the photograph's.

    >>> from lucent.modelzoo import synthnet
    >>> inverted = feature_inversion(synthnet(), np.full((96, 96, 3), 0.5), "mixed3a", steps=2)
    >>> inverted.panels().labels
    ('photograph', 'mixed3a')

    What they score is minus the distance of their activations from the photograph's, as a share of
    the length of these: 0 for the photograph itself.

    Args:
        model: the network.
        picture: see `caricature`.
        layers: see `caricature`.
        options: `size`, `steps`, and further arguments of `render_vis`, as for `caricature`.

    Raises:
        InputError: there is no layer, or the picture cannot be used.
        LayerError: a layer does not exist.

    Source: Mahendran and Vedaldi 2015, Understanding Deep Image Representations by Inverting Them
    (https://arxiv.org/abs/1412.0035).
    """

    def score(layer: str, row: int, length: float) -> Objective:
        difference = objectives.activation_difference(layer, _distance, difference_to=0, batch=row)
        return -1 / length * difference

    return _matched(model, picture, layers, score, **options)


def _matched(
    model: nn.Module,
    picture: Any,
    layers: str | Sequence[str],
    score: Callable[[str, int, float], Objective],
    *,
    size: int | tuple[int, int] | None = None,
    steps: int = STEPS,
    **options: Any,
) -> Caricature:
    """Return one image per layer for a score of (layer, row, length of the activation)."""
    names = (layers,) if isinstance(layers, str) else tuple(layers)
    if not names:
        raise InputError("There is no layer to look through: name at least one, such as 'mixed4a'.")
    photo = one_photograph(model, picture, size=size)
    with activations(model, names, photo, options) as T:
        lengths = [T.channels_first(layer).norm().item() or 1.0 for layer in names]
    spec, (height, width) = checked_spec(model, needed=True), photo.shape[2:]
    images = rendered(
        model,
        Objective.sum(map(score, names, range(1, len(names) + 1), lengths)),
        lambda: param.stack([photo, default_image(spec, (height, width), batch=len(names))]),
        steps=steps,
        **options,
    )
    return Caricature(shown(photo)[0], names, images[-1][1:], images.history)


def _distance(image: Tensor, photo: Tensor) -> Tensor:
    """Return the Euclidean distance of two activations, 0-d, whose gradient at zero is zero."""
    return torch.linalg.vector_norm(image - photo)
