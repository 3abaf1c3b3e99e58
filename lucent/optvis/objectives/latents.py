"""Objectives about latents: what an encoder makes of the channels of a layer."""

from __future__ import annotations

import torch
from torch import Tensor

from lucent.encoders import encoded, encoder_name
from lucent.errors import InputError
from lucent.optvis.objectives.factories import objective
from lucent.optvis.objectives.reading import Acts, Encoder
from lucent.units import mean_per_image, whole, window, with_channels


@objective
def latent(layer: Acts, encoder: Encoder, index: int, *, reduce: str = "mean") -> Tensor:
    """Activation of one latent of an encoder that is applied at every position.

    >>> latent("mixed4a", torch.nn.Linear(512, 64), 42)
    <Objective Latent [mixed4a, Linear, 42, mean, None]>

    The encoder is frozen and in eval mode while the score is computed, on the device of the model,
    and comes back as it was. A latent that is 0 in all of an image gets the gradient of what came
    before its last ReLU, or of the second last result of `encode`, so that it can begin.

    Args:
        layer: name of a layer that gives (B, C) or (B, C, *spatial).
        encoder: module or function from vectors (M, C) to latents (M, K), or an object whose
            `encode` does that, such as a sparse autoencoder; of several results the last one
            counts. Also a fitted `ChannelReducer` or decomposition of scikit-learn, a linear probe
            of scikit-learn, or directions (K, C).
        index: 0 to K - 1.
        batch: the image it is about; None takes the mean over the batch.
        reduce: "mean" over the positions, or "max".

    Raises:
        InputError: there is no such latent, the encoder takes vectors of another length, or returns
            something else.

    Source: sparse autoencoders: Bricken et al. 2023, Towards Monosemanticity
    (https://transformer-circuits.pub/2023/monosemantic-features); probes: Kim et al. 2018
    (https://arxiv.org/abs/1711.11279).
    """
    if reduce not in ("mean", "max"):
        raise InputError(f"reduce={reduce!r} is unknown: it is 'mean' or 'max', over positions.")
    values = _one(encoded(encoder, with_channels(layer)), encoder, index).flatten(1)
    return values.amax(1) if reduce == "max" else values.mean(1)


@latent.many
def _latents(acts: Tensor, rows: Tensor, encoder: Encoder, index: Tensor, reduce: str) -> Tensor:
    latents = encoded(encoder, acts.flatten(0, 2)).unflatten(0, acts.shape[:3])
    values = latents[rows, :, :, index].flatten(3) if acts.dim() > 4 else latents[rows, :, :, index]
    return values.amax(-1) if reduce == "max" and acts.dim() > 4 else values


@objective
def latent_neuron(
    layer: Acts, encoder: Encoder, index: int, x: int | None = None, y: int | None = None
) -> Tensor:
    """Activation of one latent of an encoder at one position.

    Args:
        layer: name of a layer that gives (B, C) or (B, C, H, W).
        encoder: as of `latent`.
        index: 0 to K - 1.
        x: column, 0 to W - 1; None takes W // 2.
        y: row, 0 to H - 1; None takes H // 2.
        batch: the image it is about; None takes the mean over the batch.

    Raises:
        InputError: as for `latent`, or there is no such position.
    """
    return mean_per_image(_one(encoded(encoder, window(layer, x, y)), encoder, index))


@latent_neuron.many
def _latent_neurons(
    acts: Tensor, rows: Tensor, encoder: Encoder, index: Tensor, x: Tensor | None, y: Tensor | None
) -> Tensor:
    each = torch.arange(len(rows), device=rows.device)
    if acts.dim() == 4:  # a fully connected layer, which has one position
        acts = acts[rows]
    else:
        height, width = acts.shape[-2:]
        column, row = width // 2 if x is None else x, height // 2 if y is None else y
        acts = acts[rows, :, :, :, row, column]
    return encoded(encoder, acts.flatten(0, 2)).unflatten(0, acts.shape[:3])[each, :, :, index]


def _one(latents: Tensor, encoder: Encoder, index: int) -> Tensor:
    """Return one latent with its axis kept, (B, 1, *spatial)."""
    n_latents = latents.shape[1]
    if not 0 <= whole(index, "index") < n_latents:
        raise InputError(
            f"There is no latent {index}: {encoder_name(encoder)} has {n_latents} latents, 0 to "
            f"{n_latents - 1}."
        )
    return latents[:, index : index + 1]
