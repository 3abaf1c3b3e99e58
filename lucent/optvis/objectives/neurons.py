"""Objectives about units: channels, neurons, weighted groups of them, classes."""

from __future__ import annotations

from torch import Tensor

from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.labels import label_index
from lucent.optvis.objectives.factories import objective
from lucent.optvis.objectives.reading import Acts
from lucent.units import (
    Values,
    channel_of,
    channel_vector,
    mean_per_image,
    window,
    with_channels,
)


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
    return mean_per_image(channel_of(layer, n_channel))


@channel.many
def _channels(acts: Tensor, rows: Tensor, n_channel: Tensor) -> Tensor:
    return acts[rows, :, :, n_channel]


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
    return mean_per_image(channel_of(window(layer, x, y), n_channel))


@neuron.many
def _neurons(
    acts: Tensor, rows: Tensor, n_channel: Tensor, x: Tensor | None, y: Tensor | None
) -> Tensor:
    if acts.dim() == 4:  # a fully connected layer, which has one position
        return acts[rows, :, :, n_channel]
    if acts.dim() == 5:  # a list of positions, which is a row
        acts = acts[..., None, :]
    height, width = acts.shape[-2:]
    column, row = width // 2 if x is None else x, height // 2 if y is None else y
    return acts[rows, :, :, n_channel, row, column]


@objective(mapped=True)
def neuron_weight(
    layer: Acts, weight: Values | None, x: int | None = None, y: int | None = None
) -> Tensor:
    """Mean over the channels of weight times activation, at one position.

    Args:
        layer: name of a layer that gives (B, C) or (B, C, H, W).
        weight: (C,); None weighs all channels by 1.
        x: column, 0 to W - 1; None takes W // 2.
        y: row, 0 to H - 1; None takes H // 2.
        batch: the image it is about; None takes the mean over the batch.

    Raises:
        InputError: there is no such position, or there are not as many weights as channels.
    """
    return _weighted(window(layer, x, y), weight)


@objective(mapped=True)
def channel_weight(layer: Acts, weight: Values) -> Tensor:
    """Mean over channels and positions of weight times activation.

    Args:
        layer: name of a layer that gives (B, C) or (B, C, *spatial).
        weight: (C,).
        batch: the image it is about; None takes the mean over the batch.

    Raises:
        InputError: there are not as many weights as channels.
    """
    return _weighted(layer, weight)


@objective(mapped=True)
def localgroup_weight(
    layer: Acts,
    weight: Values | None = None,
    x: int | None = None,
    y: int | None = None,
    wx: int = 1,
    wy: int = 1,
) -> Tensor:
    """Mean over channels and a window of positions of weight times activation.

    Args:
        layer: name of a layer that gives (B, C) or (B, C, H, W).
        weight: (C,); None weighs all channels by 1.
        x: first column of the window; None puts it in the middle, W // 2 - wx // 2.
        y: first row of the window; None puts it in the middle, H // 2 - wy // 2.
        wx: number of columns.
        wy: number of rows.
        batch: the image it is about; None takes the mean over the batch.

    Raises:
        InputError: the window does not lie within the layer, or there are not as many weights as
            channels.
    """
    return _weighted(window(layer, x, y, wx, wy), weight)


@objective(mapped=True)
def deepdream(layer: Acts) -> Tensor:
    """Mean square of all activations: more of whatever the layer sees.

    Args:
        layer: name of a layer that gives (B, ...).
        batch: the image it is about; None takes the mean over the batch.

    Source: Mordvintsev et al. 2015, Inceptionism
    (https://research.google/blog/inceptionism-going-deeper-into-neural-networks).
    """
    return mean_per_image(layer**2)


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
    return channel_of(layer, index).sum()


@class_logit.many
def _class_logits(acts: Tensor, rows: Tensor, label: Tensor) -> Tensor:
    return acts[rows, :, :, label].sum(2)


def _weighted(acts: Tensor, weight: Values | None) -> Tensor:
    # The mean over positions comes first, because all terms of a layer have it in common.
    means = with_channels(acts).reshape(*acts.shape[:2], -1).mean(2)
    return mean_per_image(
        means if weight is None else means * channel_vector(weight, means, "weight")
    )
