"""Objectives about units: a channel, a neuron, a class."""

from __future__ import annotations

import numbers

from torch import Tensor

from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.labels import label_index
from lucent.optvis.objectives.base import Acts
from lucent.optvis.objectives.factories import objective


@objective
def channel(layer: Acts, n_channel: int) -> Tensor:
    """Mean activation of a channel over all positions.

    Args:
        layer: name of a layer that gives (B, C) or (B, C, *spatial).
        n_channel: 0 to C - 1.
        batch: the image it is about; None takes the mean over the batch.

    Raises:
        InputError: there is no such channel, or the channel axis of the layer cannot be told.

    Source: Olah et al. 2017, Feature Visualization
    (https://distill.pub/2017/feature-visualization).
    """
    return _channel_of(layer, n_channel).flatten(1).mean(1)


@objective
def neuron(layer: Acts, n_channel: int, x: int | None = None, y: int | None = None) -> Tensor:
    """Activation of a channel at one position.

    Args:
        layer: name of a layer that gives (B, C) or (B, C, H, W).
        n_channel: 0 to C - 1.
        x: column, 0 to W - 1; None takes W // 2.
        y: row, 0 to H - 1; None takes H // 2.
        batch: the image it is about; None takes the mean over the batch.

    Raises:
        InputError: there is no such channel or position, or the channel axis of the layer cannot be
            told.

    Source: Olah et al. 2017, Feature Visualization
    (https://distill.pub/2017/feature-visualization).
    """
    acts = _channel_of(layer, n_channel)
    if acts.dim() == 2:
        acts = acts[..., None, None]  # a vector has one position
    if acts.dim() != 4:
        raise InputError(
            f"A neuron needs a layer that gives (B, C) or (B, C, H, W), not {tuple(layer.shape)}."
        )
    height, width = acts.shape[2:]
    column = width // 2 if x is None else _whole(x, "x")
    row = height // 2 if y is None else _whole(y, "y")
    if not (0 <= column < width and 0 <= row < height):
        raise InputError(
            f"There is no neuron at x={column}, y={row}: this layer has {width} columns and "
            f"{height} rows, so x goes to {width - 1} and y to {height - 1}."
        )
    return acts[:, 0, row, column]


@objective
def class_logit(layer: Acts, label: int | str, T: Activations) -> Tensor:
    """Logit of a class, summed over the batch as in Lucid.

    Args:
        layer: name of a layer that gives (B, n_classes), such as "labels"; of a softmax it would
            find an image that keeps the other classes down.
        label: index of the class, or its label or a synonym in the model's own list.
        batch: the image it is about; None takes the sum over the batch.

    Raises:
        InputError: there is no such class, or no label or several fit the text.

    Source: Lucid, `objectives.class_logit` (https://github.com/tensorflow/lucid).
    """
    index = label_index(tuple(T.labels), label) if isinstance(label, str) else label
    if layer.dim() != 2:
        raise InputError(
            f"A class logit needs a layer that gives (B, n_classes), not {tuple(layer.shape)}: "
            "the layer 'labels' has the logits of every model."
        )
    return _channel_of(layer, index).sum()


def _channel_of(acts: Tensor, n_channel: int) -> Tensor:
    """Return one channel with its axis kept, so that the rank tells what there is besides."""
    if acts.dim() in (0, 1, 3):
        raise InputError(
            f"The layer gives a tensor of shape {tuple(acts.shape)}, whose channel axis cannot be "
            "told; expected (B, C) or (B, C, H, W). Write what you mean: render_vis(model, lambda "
            "T: -T(layer)[..., n].mean())."
        )
    if not 0 <= _whole(n_channel, "n_channel") < acts.shape[1]:
        raise InputError(
            f"There is no channel {n_channel}: this layer has {acts.shape[1]} channels, 0 to "
            f"{acts.shape[1] - 1}."
        )
    return acts[:, n_channel : n_channel + 1]


def _whole(number: int, name: str) -> int:
    if isinstance(number, bool) or not isinstance(number, numbers.Integral):
        raise InputError(f"{name}={number!r} has to be a whole number.")
    return int(number)
