"""Parts of activations that scores are about, and values that are made to fit activations."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lucent.errors import InputError
from lucent.layers import INPUT
from lucent.util import constant

#: What a score takes for numbers that are not on a device yet.
Values = Tensor | np.ndarray | Sequence[float]
#: Default of a parameter that is a layer: the caller gives a name, the score gets a tensor.
IMAGE: Any = INPUT


def whole(number: int, name: str) -> int:
    """Return a whole number as an int.

    Raises:
        InputError: it is none, and `name` says which argument it is.
    """
    if isinstance(number, bool) or not isinstance(number, numbers.Integral):
        raise InputError(f"{name}={number!r} has to be a whole number.")
    return int(number)


def with_channels(acts: Tensor) -> Tensor:
    """Return activations of shape (B, C) or (B, C, *spatial) as they are.

    Raises:
        InputError: they have no axis of channels.
    """
    if acts.dim() < 2:
        raise InputError(
            f"The layer gives a tensor of shape {tuple(acts.shape)}, which has no channels; "
            "expected (B, C) or (B, C, *spatial). Write what you mean: render_vis(model, lambda T: "
            "-T(layer).mean())."
        )
    return acts


def channel_of(acts: Tensor, n_channel: int) -> Tensor:
    """Return one channel with its axis kept, so that the rank tells what there is besides."""
    if not 0 <= whole(n_channel, "n_channel") < with_channels(acts).shape[1]:
        raise InputError(
            f"There is no channel {n_channel}: this layer has {acts.shape[1]} channels, 0 to "
            f"{acts.shape[1] - 1}."
        )
    return acts[:, n_channel : n_channel + 1]


def window(acts: Tensor, x: int | None, y: int | None, wx: int = 1, wy: int = 1) -> Tensor:
    """Return a rectangle of positions, (B, C, wy, wx).

    Args:
        acts: (B, C, H, W), or (B, C), which has one position.
        x: first column; None takes W // 2 - wx // 2, for one column W // 2.
        y: first row; None takes H // 2 - wy // 2.
        wx: number of columns.
        wy: number of rows.

    Raises:
        InputError: the rectangle does not lie within the layer, or the layer has no such positions.
    """
    if with_channels(acts).dim() == 2:
        acts = acts[..., None, None]
    if acts.dim() == 3:  # a list of positions is a row
        acts = acts[:, :, None]
    if acts.dim() != 4:
        raise InputError(
            f"A neuron needs a layer that gives (B, C) or (B, C, H, W), not {tuple(acts.shape)}."
        )
    height, width = acts.shape[2:]
    if not (1 <= whole(wx, "wx") <= width and 1 <= whole(wy, "wy") <= height):
        raise InputError(
            f"There is no window of wx={wx} columns and wy={wy} rows: this layer has {width} "
            f"columns and {height} rows."
        )
    left = width // 2 - wx // 2 if x is None else whole(x, "x")
    top = height // 2 - wy // 2 if y is None else whole(y, "y")
    if not (0 <= left <= width - wx and 0 <= top <= height - wy):
        raise InputError(
            f"There is no {'neuron' if wx == wy == 1 else f'{wx} x {wy} window'} at x={left}, "
            f"y={top}: this layer has {width} columns and {height} rows, so x goes to "
            f"{width - wx} and y to {height - wy}."
        )
    return acts[:, :, top : top + wy, left : left + wx]


def mean_per_image(values: Tensor) -> Tensor:
    """Return the mean of each image's values, (B,), of a tensor (B, ...)."""
    return values.reshape(len(values), -1).mean(1)


def fitted(values: Values | float, acts: Tensor, name: str) -> Tensor:
    """Return numbers as a tensor with the device and dtype of activations.

    Raises:
        InputError: they are no numbers, or not finite; of tensors, the factories see to that.
    """
    if isinstance(values, Tensor):
        return values.to(acts)
    try:
        # NumPy takes None for NaN.
        array = np.asarray("None" if values is None else values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}={values!r} cannot be made a tensor: give numbers.") from error
    if not np.isfinite(array).all():
        raise InputError(
            f"{name} has NaN or infinite values (of shape {array.shape}); expected finite numbers: "
            "torch.nan_to_num replaces them."
        )
    return constant(array, like=acts)


def spread(values: Values | float, acts: Tensor, name: str) -> Tensor:
    """Return numbers as a tensor that broadcasts to the shape of activations.

    Raises:
        InputError: it does not.
    """
    made = fitted(values, acts, name)
    try:
        fits = torch.broadcast_shapes(made.shape, acts.shape) == acts.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise InputError(
            f"{name} has shape {tuple(made.shape)}, which does not fit {tuple(acts.shape)}. Of a "
            "picture (H, W, C), torch.as_tensor(picture).permute(2, 0, 1) fits an image of that "
            "size."
        )
    return made


def channel_vector(values: Values, acts: Tensor, name: str) -> Tensor:
    """Return one number per channel in a shape that broadcasts along positions, (C, 1, ..., 1).

    Raises:
        InputError: there are not as many as the layer has channels.
    """
    made = fitted(values, with_channels(acts), name)
    if made.numel() != acts.shape[1]:
        raise InputError(
            f"{name} has {made.numel()} values (shape {tuple(made.shape)}), but this layer has "
            f"{acts.shape[1]} channels: give one number per channel."
        )
    return made.reshape(-1, *[1] * (acts.dim() - 2))
