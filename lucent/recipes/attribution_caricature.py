"""Caricatures of what speaks for a score in a photograph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lucent.attribution import sensitivity
from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.optvis import param
from lucent.optvis.defaults import checked_spec, default_image
from lucent.optvis.objectives import Acts, Objective, Term
from lucent.recipes._pictures import caption, one_photograph, rendered
from lucent.recipes._scores import Smooth, pools_with, with_layers
from lucent.recipes._seen import shown
from lucent.recipes.results import Panels, Result


@dataclass(frozen=True, eq=False)
class AttributionCaricature(Result):
    """A photograph, and what speaks for each of several scores in it.

    Attributes:
        photograph: (H, W, C) in [0, 1], as the network sees it.
        scores: their names.
        layer: name of the layer.
        images: (n scores, H, W, C) in [0, 1].
    """

    photograph: np.ndarray
    scores: tuple[str, ...]
    layer: str
    images: np.ndarray

    def panels(self) -> Panels:
        """Return the photograph, and the caricature of each score."""
        pictures, labels = [self.photograph, *self.images], ["photograph", *self.scores]
        columns = len(labels) if len(labels) < 6 else None
        return Panels(pictures, labels, columns, self.layer)


def attribution_caricature(
    model: nn.Module,
    picture: Any,
    scores: Objective | str | Sequence[Objective | str] | Mapping[str, Objective | str],
    layer: str,
    *,
    cossim_pow: float = 1.0,
    smooth: Smooth = "L2",
    **options: Any,
) -> AttributionCaricature:
    """Exaggerate what speaks for a score in a photograph, and leave out what does not.

    The activations of an image are to point where the attributions of the photograph's point: what
    has no part in the score fades. The attributions are gradient x activation, computed anew in
    every step for the photograph as transformed as the image.

    >>> from lucent.modelzoo import synthnet
    >>> photo = np.random.rand(96, 96, 3)
    >>> made = attribution_caricature(synthnet(), photo, "labels:star", "mixed3a", steps=2)
    >>> made.images.shape
    (1, 96, 96, 3)

    Args:
        model: the network.
        picture: what `lucent.modelzoo.photograph` takes, one picture.
        scores: one or several objectives, such as "labels:tabby", each of which gets an image; a
            mapping gives them names.
        layer: one that comes before the scores.
        cossim_pow: 0 exaggerates most; the larger it is, the purer.
        smooth: the gradient of max-pools, "L2" or "avg" of `lucent.overrides.smoothed_maxpool`;
            None is their own.
        options: `steps`, by default 256, and further arguments of `render_vis`, such as `seed` and
            `progress`.

    Raises:
        InputError: there is no score, one is a bare function or does not depend on the layer, or
            the picture cannot be used.
        LayerError: there is no such layer.

    Source: Lucid's notebook on attribution caricatures (https://github.com/tensorflow/lucid).
    """
    names, wanted = _named(scores)
    photo = one_photograph(model, picture)
    spec, (height, width) = checked_spec(model, needed=True), photo.shape[2:]
    with pools_with(model, smooth):
        images = rendered(
            model,
            Objective.sum(
                _caricature(score, layer, row, cossim_pow) for row, score in enumerate(wanted, 1)
            ),
            lambda: param.stack([photo, default_image(spec, (height, width), batch=len(wanted))]),
            **options,
        )
    return AttributionCaricature(shown(photo)[0], names, layer, images[-1][1:])


def _named(
    scores: Objective | str | Sequence[Objective | str] | Mapping[str, Objective | str],
) -> tuple[tuple[str, ...], list[Objective]]:
    """Return the names of scores, which may be the same, and the scores as objectives."""
    if isinstance(scores, Mapping):
        names, given = tuple(scores), [with_layers(score) for score in scores.values()]
    else:
        one = isinstance(scores, Objective | str) or callable(scores)
        several: list[Any] = [scores] if one else list(scores)  # type: ignore[arg-type]
        given = [with_layers(score) for score in several]
        names = tuple(caption(score).removeprefix("labels:") for score in given)
    if not given:
        raise InputError("There is no score: give at least one, such as 'labels:tabby'.")
    return names, given


def _caricature(score: Objective, layer: str, row: int, cossim_pow: float) -> Objective:
    arguments = {"acts": layer, "name": layer, "score": score.about(0)}
    arguments |= {"row": row, "cossim_pow": cossim_pow}
    description = f"Attribution_Caricature [{score.description or score.name}, {layer}]"
    return Objective.of([Term(_along_attribution, (*arguments.items(),))], description=description)


def _along_attribution(
    acts: Acts, name: str, score: Objective, row: int, cossim_pow: float, T: Activations
) -> Tensor:
    """Dot product of an image's activations with the photograph's attributions, of length 1."""
    # The score is about the photograph, so that the gradient of all other rows is zero.
    slopes = sensitivity(T, -score(T), name).sum(0)
    attribution = acts[0].detach() * slopes
    dot = (acts[row] * attribution).sum() / (1e-6 + torch.linalg.vector_norm(attribution))
    # As in `dot_compare`; 0.1 keeps a gradient where nothing is alike yet.
    cosine = dot / (1e-6 + torch.linalg.vector_norm(acts[row]))
    return dot * cosine.clamp_min(0.1) ** cossim_pow
