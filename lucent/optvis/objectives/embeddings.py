"""Objectives about embeddings: the vector of an image, compared with that of a text or an image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lucent.errors import InputError
from lucent.optvis.objectives.factories import objective
from lucent.optvis.objectives.reading import Acts
from lucent.units import Values, fitted, with_channels


@objective(mapped=True)
def embedding(layer: Acts, target: Values, *, measure: str = "cosine") -> Tensor:
    """Likeness of the embedding of an image to that of a text or of another image.

    >>> embedding("visual", torch.rand(512))
    <Objective Embedding [visual, ..., cosine, None]>

    `lucent.clip` makes the targets: `embed_text(model, "a photo of a dog")`, `embed_image`.

    Args:
        layer: name of a layer that gives (B, D); of one that gives (B, D, *spatial), the mean over
            the positions is the embedding.
        target: (D,), or (n, D) for the mean of n likenesses, as of several wordings; any length.
        batch: the image it is about; None takes the mean over the batch.
        measure: "cosine" of the angle, -1 to 1, or "spherical": minus half the square of the angle,
            -pi^2 / 2 to 0, whose gradient does not vanish for opposite embeddings.

    Raises:
        InputError: the target has other than D numbers, or the measure is unknown.

    Source: Radford et al. 2021, Learning Transferable Visual Models From Natural Language
    Supervision (https://arxiv.org/abs/2103.00020); the squared angle: Crowson et al. 2022,
    VQGAN-CLIP (https://arxiv.org/abs/2204.08583).
    """
    if measure not in ("cosine", "spherical"):
        raise InputError(f"measure={measure!r} is unknown: it is 'cosine' or 'spherical'.")
    own = with_channels(layer).flatten(2).mean(2) if layer.dim() > 2 else with_channels(layer)
    targets = fitted(target, layer, "target")
    if targets.dim() not in (1, 2) or targets.shape[-1] != own.shape[1] or not len(targets):
        raise InputError(
            f"target has shape {tuple(targets.shape)}, but this layer gives embeddings of "
            f"{own.shape[1]} numbers: give ({own.shape[1]},), or (n, {own.shape[1]}) for several. "
            "lucent.clip.embed_text and embed_image make some for a layer."
        )
    own, targets = F.normalize(own, dim=1)[:, None], F.normalize(targets, dim=-1)
    if measure == "cosine":
        return (own * targets).sum(2).mean(1)
    # Kahan's formula of the angle, exact also near 0 and pi, where the arc cosine is not.
    apart, sum_ = (torch.linalg.vector_norm(v, dim=2) for v in (own - targets, own + targets))
    return -(2 * torch.atan2(apart, sum_)).square().mean(1) / 2
