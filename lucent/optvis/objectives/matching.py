"""Objectives that match activations of other images: inversion, caricature, style transfer."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.optvis.objectives.base import Objective, described
from lucent.optvis.objectives.factories import objective
from lucent.optvis.objectives.penalties import root_mean_square
from lucent.optvis.objectives.reading import Acts
from lucent.units import Values, fitted, whole, with_channels

Statistic = Callable[[Tensor], Tensor]
Distance = Callable[[Tensor, Tensor], Tensor]


def gram(acts: Tensor) -> Tensor:
    """Return the Gram matrix of each image's channels, (B, C, C), a mean over positions.

    >>> gram(torch.ones(2, 3, 4, 5)).shape
    torch.Size([2, 3, 3])

    Args:
        acts: (B, C) or (B, C, *spatial).

    Raises:
        InputError: the channel axis cannot be told.

    Source: Gatys et al. 2015, A Neural Algorithm of Artistic Style
    (https://arxiv.org/abs/1508.06576).
    """
    columns = with_channels(acts).reshape(*acts.shape[:2], -1)
    return columns @ columns.mT / columns.shape[-1]


def mean_l1(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean absolute difference of two tensors, 0-d."""
    return (a - b).abs().mean()


def mean_l2(a: Tensor, b: Tensor) -> Tensor:
    """Return the root of the mean squared difference of two tensors, 0-d.

    Where they are equal, the gradient is zero.
    """
    return root_mean_square(a - b)


@objective(whole_batch=True)
def dot_compare(
    layer: Acts, batch: int = 1, cossim_pow: float = 0, *, reference: int = 0
) -> Tensor:
    """Dot product of the activations of two images, which exaggerates what the reference has.

    It is dot * max(0.1, dot / norm of the image's activations) ** cossim_pow.

    Args:
        layer: name of a layer that gives (B, ...).
        batch: number of the image.
        cossim_pow: 0 makes caricatures; larger powers keep to the reference.
        reference: number of the image to resemble, such as a photograph put into the batch.

    Raises:
        InputError: the batch has no such image.

    Source: Olah et al. 2018, The Building Blocks of Interpretability
    (https://distill.pub/2018/building-blocks); the formula is Lucid's `recipes.caricature`.
    """
    image, other = _image(layer, batch, "batch"), _image(layer, reference, "reference")
    dot = (image * other).sum()
    if cossim_pow:
        # 0.1 and 1e-6 are Lucid's; the norm of the reference is a constant and left out.
        cosine = dot / (1e-6 + torch.linalg.vector_norm(image))
        dot = dot * cosine.clamp_min(0.1) ** cossim_pow
    return dot


def activation_difference(
    layer_names: str | Sequence[str],
    activation_loss_f: Distance = mean_l1,
    transform_f: Statistic | None = None,
    difference_to: int = 1,
    *,
    batch: int = 0,
) -> Objective:
    """Difference of the activations of two images, the sum over layers; subtract it.

    >>> content = activation_difference(["mixed3b"], difference_to=1)
    >>> style = activation_difference(["conv2d2", "mixed3a"], transform_f=gram, difference_to=2)
    >>> len((-100 * content - style).terms)
    3

    Args:
        layer_names: one or several layers that give (B, ...).
        activation_loss_f: distance of two tensors, 0-d.
        transform_f: applied to the activations (1, ...) of either image first, such as `gram`.
        difference_to: number of the image to resemble.
        batch: number of the image that is made.

    Raises:
        InputError: there is no layer, or, when it is called, the batch has no such image.

    Source: Lucid's notebook on two-dimensional style transfer; Mordvintsev et al. 2018,
    Differentiable Image Parameterizations
    (https://distill.pub/2018/differentiable-parameterizations).
    """
    layers = [layer_names] if isinstance(layer_names, str) else layer_names
    parts = []
    for layer in layers:
        part = difference_at(layer, activation_loss_f, transform_f, difference_to, batch)
        parts.append(_called("activation_difference", part, [layer, difference_to, batch]))
    return Objective.sum(parts)


@objective(whole_batch=True)
def difference_at(
    layer: Acts,
    activation_loss_f: Distance,
    transform_f: Statistic | None,
    difference_to: int,
    batch: int,
) -> Tensor:
    """One layer of `activation_difference`."""
    image, other = _image(layer, batch, "batch"), _image(layer, difference_to, "difference_to")
    if transform_f is not None:
        image, other = transform_f(image), transform_f(other)
    return activation_loss_f(image, other)


def style(
    targets: Mapping[str, Values],
    *,
    ema_decay: float | None = None,
    style_func: Statistic = gram,
    loss_func: Distance = mean_l1,
    batch: int | None = None,
) -> Objective:
    """Nearness to the style of another image: minus the difference of statistics, over layers.

    It is zero for equal statistics and negative otherwise, so add it.

    >>> acts = torch.ones(1, 4, 8, 8)
    >>> style({"conv": gram(2 * acts)})({"conv": acts}.get)
    tensor(3.)

    Args:
        targets: for each layer the statistic of the style image, what `style_func` gives for its
            activations; of several style images, their mean counts.
        ema_decay: where one step shows only a part of a large texture, compare a running average of
            the statistic, which keeps this share of itself from view to view, 0 to 1; each draw of
            a step is one. It begins with the first view's; the gradient is that of the current one.
        style_func: function of activations (B, ...) to a statistic of each image, (B, ...).
        loss_func: distance of two tensors, 0-d.
        batch: the image it is about; None takes the mean statistic of the batch.

    Raises:
        InputError: there is no layer, `ema_decay` is no share, or, when it is called, a target does
            not fit its layer.

    Source: Gatys et al. 2015, A Neural Algorithm of Artistic Style
    (https://arxiv.org/abs/1508.06576); the average: Mordvintsev et al. 2018, Differentiable Image
    Parameterizations (https://distill.pub/2018/differentiable-parameterizations).
    """
    if not isinstance(targets, Mapping):
        raise InputError(
            f"targets of type {type(targets).__name__} has to name the layers: give a dictionary "
            "such as {'mixed3a': gram(activations of the style image)}."
        )
    if ema_decay is not None and not (isinstance(ema_decay, Real) and 0 <= ema_decay < 1):
        raise InputError(f"ema_decay={ema_decay!r} has to be a share, from 0 to less than 1.")
    options = {"ema_decay": ema_decay, "style_func": style_func, "loss_func": loss_func}
    parts = []
    for layer, target in targets.items():
        key = _average_key(layer, target, batch, options)
        part = style_at(layer, target, key, batch, **options)
        parts.append(_called("style", part, [layer, ema_decay, batch]))
    return Objective.sum(parts)


@objective
def style_at(
    layer: Acts,
    target: Values,
    key: str,
    T: Activations,
    *,
    ema_decay: float | None,
    style_func: Statistic,
    loss_func: Distance,
) -> Tensor:
    """One layer of `style`, whose running average is `T.state[key]`."""
    statistic = style_func(layer).mean(0)
    wanted = fitted(target, statistic, "target")
    wanted = wanted.mean(0) if wanted.dim() > statistic.dim() else wanted
    if wanted.shape != statistic.shape:
        raise InputError(
            f"The target of style has shape {tuple(wanted.shape)}, but this layer gives a "
            f"statistic of shape {tuple(statistic.shape)}: compute it of the style image at the "
            "same layer, with the same style_func."
        )
    if ema_decay is not None:
        # In half precision, the small share of a new view would be rounded away.
        current = statistic.detach().to(torch.promote_types(statistic.dtype, torch.float32))
        average = T.state.get(key, current).to(current).lerp(current, 1 - ema_decay)
        T.state[key] = average
        # The value of the average with the gradient of the current view.
        statistic = average.to(statistic) + (statistic - statistic.detach())
    return -loss_func(statistic, wanted)


def _called(name: str, part: Objective, arguments: list[Any]) -> Objective:
    part.name, part.description = name, described(name, arguments)
    return part


def _average_key(layer: str, target: Values, batch: int | None, options: Mapping[str, Any]) -> str:
    """Return a name that differs for different objectives and is the same in a resumed run."""
    values = fitted(target, torch.empty(0, dtype=torch.float64), f"target of {layer!r}")
    checksum = zlib.crc32(values.detach().numpy().tobytes())
    # The text of a function has its address, which changes from run to run.
    functions = (options["style_func"], options["loss_func"])
    names = [getattr(function, "__qualname__", type(function).__name__) for function in functions]
    return f"style of {layer}, {batch}, {options['ema_decay']}, {names}, {checksum:08x}"


def _image(acts: Tensor, number: int, name: str) -> Tensor:
    """Return one image's activations, (1, ...)."""
    if not -len(acts) <= whole(number, name) < len(acts):
        raise InputError(
            f"{name}={number} asks for an image that the batch does not have: it has {len(acts)}. "
            "A given image is put next to the one that is made by param.stack."
        )
    number %= len(acts)
    return acts[number : number + 1]
