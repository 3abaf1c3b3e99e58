"""Photographs, and what a layer sees at each of their positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lucent.errors import InputError, LayerError
from lucent.misc.io.pictures import as_numpy
from lucent.modelzoo.photographs import photograph
from lucent.optvis.defaults import checked_spec, network_size
from lucent.optvis.transform import Fused
from lucent.recipes._grids import on_grid
from lucent.recipes._pictures import activations


def seen(model: nn.Module, pictures: Any, layer: str) -> tuple[Tensor, Tensor]:
    """Return photographs as the network sees them, and the activations of a layer.

    Args:
        model: the network.
        pictures: one that `photograph` takes, or a list of them.
        layer: one that gives rows and columns.

    Returns:
        (B, C, H, W) in [0, 1], and (B, channels, rows, columns), without gradients.

    Raises:
        InputError: a picture cannot be used, or there is none.
        LayerError: there is no such layer, or it has no rows and columns.
    """
    photo = photographs(model, pictures)
    with activations(model, [layer], photo, in_its_size(photo)) as T:
        acts = on_grid(T.channels_first(layer), layer)
    if acts.shape[2:].numel() == 1:
        raise LayerError(
            f"The layer {layer!r} gives {tuple(acts.shape)}, a single position of the photograph: "
            "name a layer before the network averages over positions."
        )
    return photo, acts


def photographs(model: nn.Module, pictures: Any) -> Tensor:
    """Return photographs as the network sees them, (B, C, H, W) in [0, 1].

    Args:
        model: the network.
        pictures: one that `photograph` takes, or a list of them.

    Raises:
        InputError: a picture cannot be used, or there is none.
    """
    several = pictures if isinstance(pictures, list | tuple) else [pictures]
    photos = [photograph(model, picture) for picture in several]
    if len({photo.shape[1:] for photo in photos}) != 1:
        raise InputError(
            f"Photographs of one size are needed, at least one; got "
            f"{[tuple(photo.shape) for photo in photos]}. Leave their size to the network, or "
            "scale them with lucent.modelzoo.photograph(model, picture, size=...)."
        )
    spec, photo = checked_spec(model, needed=True), torch.cat(photos)
    return Fused([], network_size(spec, None))(photo) if spec.fixed_size else photo


def in_its_size(photo: Tensor) -> dict[str, Any]:
    """Return the options with which the network sees a photograph as it is."""
    return {"fixed_image_size": tuple(photo.shape[2:])}


def shown(photos: Tensor | Sequence[Tensor]) -> np.ndarray:
    """Return photographs for people, (B, H, W, C), float32."""
    return np.moveaxis(np.stack([as_numpy(photo.float()) for photo in photos]), 1, -1)
