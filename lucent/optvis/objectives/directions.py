"""Objectives about directions in the space of activations: sums of channels, plain or whitened."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lucent.errors import InputError
from lucent.optvis.objectives.factories import objective
from lucent.optvis.objectives.reading import Acts
from lucent.units import (
    Values,
    channel_vector,
    fitted,
    mean_per_image,
    window,
    with_channels,
)

#: Added to norms before something is divided by them, as in Lucid.
_EPSILON = 1e-4
#: Lucid's smallest cosine: a direction that is missing still has a gradient.
_SMALLEST_COSINE = 0.1


@objective(mapped=True)
def direction(layer: Acts, direction: Values, *, cossim_pow: float | None = None) -> Tensor:
    """Activation along a direction, the mean over all positions.

    Args:
        layer: name of a layer that gives (B, C) or (B, C, *spatial).
        direction: (C,).
        batch: the image it is about; None takes the mean over the batch.
        cossim_pow: None takes the cosine of activation and direction, 0 their dot product, and p
            the dot product times max(0.1, cosine) ** p, which wants the direction pure.

    Raises:
        InputError: the direction has not one number per channel, or the channel axis of the layer
            cannot be told.

    Source: Olah et al. 2018, The Building Blocks of Interpretability
    (https://distill.pub/2018/building-blocks); the power: Carter et al. 2019, Activation Atlas
    (https://distill.pub/2019/activation-atlas).
    """
    return _along(layer, channel_vector(direction, layer, "direction"), cossim_pow)


@objective(mapped=True)
def direction_neuron(
    layer: Acts,
    direction: Values,
    x: int | None = None,
    y: int | None = None,
    *,
    cossim_pow: float | None = None,
) -> Tensor:
    """Activation along a direction at one position.

    Args:
        layer: name of a layer that gives (B, C) or (B, C, H, W).
        direction: (C,).
        x: column, 0 to W - 1; None takes W // 2.
        y: row, 0 to H - 1; None takes H // 2.
        batch: the image it is about; None takes the mean over the batch.
        cossim_pow: as of `direction`.

    Raises:
        InputError: there is no such position, or the direction has not one number per channel.

    Source: Olah et al. 2018, The Building Blocks of Interpretability
    (https://distill.pub/2018/building-blocks).
    """
    acts = window(layer, x, y)
    return _along(acts, channel_vector(direction, acts, "direction"), cossim_pow)


@objective(mapped=True)
def tensor_direction(layer: Acts, direction: Values, *, cossim_pow: float | None = None) -> Tensor:
    """Activation along a direction for each of the positions in the middle, their mean.

    Args:
        layer: name of a layer that gives (B, C, H, W).
        direction: (C, h, w) or (1, C, h, w); it lies over rows (H - h) // 2 and columns
            (W - w) // 2 onwards.
        batch: the image it is about; None takes the mean over the batch.
        cossim_pow: as of `direction`.

    Raises:
        InputError: the direction has another number of channels or is larger than the layer.

    Source: Lucid, `objectives.tensor_direction` (https://github.com/tensorflow/lucid).
    """
    tensor = fitted(direction, layer, "direction")
    tensor = tensor[0] if tensor.dim() == 4 and len(tensor) == 1 else tensor
    fits = (
        layer.dim() == 4
        and tensor.dim() == 3
        and len(tensor) == layer.shape[1]
        and tensor.shape[1] <= layer.shape[2]
        and tensor.shape[2] <= layer.shape[3]
    )
    if not fits:
        raise InputError(
            f"direction has shape {tuple(tensor.shape)}, the layer {tuple(layer.shape)}; expected "
            "(C, h, w) for a layer (B, C, H, W), with h up to H and w up to W."
        )
    top, left = ((n - m) // 2 for n, m in zip(layer.shape[2:], tensor.shape[1:], strict=True))
    acts = layer[:, :, top : top + tensor.shape[1], left : left + tensor.shape[2]]
    return _along(acts, tensor, cossim_pow)


@objective(mapped=True)
def whitened_direction(
    layer: Acts, direction: Values, *, whitening: Values, cossim_pow: float = 2.0
) -> Tensor:
    """Activation along a direction that is corrected for correlated channels; mean over positions.

    With v = direction @ whitening, it is the mean over the channels of v times the activation, m,
    times max(0.1, m / norm of the activation) ** cossim_pow.

    Args:
        layer: name of a layer that gives (B, C) or (B, C, *spatial).
        direction: (C,), such as the mean activation in a cell of an activation atlas.
        batch: the image it is about; None takes the mean over the batch.
        whitening: (C, C), the inverse of the mean outer product of activations with themselves.
        cossim_pow: 0 takes m alone.

    Raises:
        InputError: the direction has not one number per channel, or the matrix is not C x C.

    Source: Carter et al. 2019, Activation Atlas (https://distill.pub/2019/activation-atlas).
    """
    return _along_whitened(layer, direction, whitening, cossim_pow)


@objective(mapped=True)
def whitened_direction_neuron(
    layer: Acts,
    direction: Values,
    *,
    whitening: Values,
    x: int | None = None,
    y: int | None = None,
    cossim_pow: float = 2.0,
) -> Tensor:
    """Activation along a direction that is corrected for correlated channels, at one position.

    Args:
        layer: name of a layer that gives (B, C) or (B, C, H, W).
        direction: (C,).
        batch: the image it is about; None takes the mean over the batch.
        whitening: (C, C), as of `whitened_direction`.
        x: column, 0 to W - 1; None takes W // 2.
        y: row, 0 to H - 1; None takes H // 2.
        cossim_pow: as of `whitened_direction`.

    Raises:
        InputError: there is no such position, the direction has not one number per channel, or the
            matrix is not C x C.

    Source: Carter et al. 2019, Activation Atlas (https://distill.pub/2019/activation-atlas).
    """
    return _along_whitened(window(layer, x, y), direction, whitening, cossim_pow)


#: Lucid's name for the cosine.
direction_cossim = direction


def _along(acts: Tensor, vector: Tensor, cossim_pow: float | None) -> Tensor:
    """Return (B,) of activations (B, C, *spatial) and a vector that broadcasts to (C, *spatial)."""
    if cossim_pow is None:
        return mean_per_image(F.cosine_similarity(acts, vector[None], dim=1))
    dot = (acts * vector).sum(1)
    if cossim_pow:
        lengths = torch.linalg.vector_norm(acts, dim=1), torch.linalg.vector_norm(vector, dim=0)
        cosine = dot / (_EPSILON + lengths[0]) / (_EPSILON + lengths[1])
        dot = dot * cosine.clamp_min(_SMALLEST_COSINE) ** cossim_pow
    return mean_per_image(dot)


def _along_whitened(
    acts: Tensor, direction: Values, whitening: Values, cossim_pow: float
) -> Tensor:
    n_channels = with_channels(acts).shape[1]
    matrix = fitted(whitening, acts, "whitening")
    if matrix.shape != (n_channels, n_channels):
        raise InputError(
            f"whitening has shape {tuple(matrix.shape)}, but this layer has {n_channels} channels: "
            f"give a matrix ({n_channels}, {n_channels})."
        )
    vector = channel_vector(direction, acts, "direction")
    mean = (acts * (vector.flatten() @ matrix).view_as(vector)).mean(1)
    if cossim_pow:
        cosine = mean / (_EPSILON + torch.linalg.vector_norm(acts, dim=1))
        mean = mean * cosine.clamp_min(_SMALLEST_COSINE) ** cossim_pow
    return mean_per_image(mean)
