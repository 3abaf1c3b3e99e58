"""Images as a small network from coordinates to colours, which can be drawn at any size."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lucent.errors import InputError
from lucent.optvis.param.base import Image
from lucent.optvis.param.spatial import checked_shape, is_count
from lucent.util import without_autocast

Size = int | Sequence[int]
Activation = Callable[..., Any]

# Normal coordinates stay near mean 0 and variance 1 from layer to layer if activations keep that.
# For z ~ N(0, 1), by numerical integration: rms(atan z) = 0.671, rms(atan^2 z) = 0.600,
# mean(atan^2 z) = 0.450 with the standard deviation 0.396. As for max(z, 0): its mean is
# 1 / sqrt(2 pi) = 0.399, its standard deviation sqrt(1/2 - 1 / (2 pi)) = 0.584. Lucid rounds so:
_ATAN_RMS = 0.67
_ATAN_SQUARED_RMS, _ATAN_SQUARED_MEAN, _ATAN_SQUARED_SD = 0.6, 0.45, 0.396
_RELU_MEAN, _RELU_SD = 0.40, 0.58


class CompositeActivation(nn.Module):
    """An odd and an even function of every channel, side by side: atan and its square, scaled.

    Args:
        biased: scale the square to mean square 1; False is to mean 0 and variance 1.

    >>> CompositeActivation()(torch.zeros(1, 24, 8, 8)).shape
    torch.Size([1, 48, 8, 8])
    """

    def __init__(self, biased: bool = True) -> None:
        super().__init__()
        self.biased = biased

    def forward(self, x: Tensor) -> Tensor:
        odd = x.atan()
        even = odd.square()
        if self.biased:
            even = even / _ATAN_SQUARED_RMS
        else:
            even = (even - _ATAN_SQUARED_MEAN) / _ATAN_SQUARED_SD
        return torch.cat([odd / _ATAN_RMS, even], dim=1)

    def extra_repr(self) -> str:
        return f"biased={self.biased}"


class NormalizedReLU(nn.Module):
    """A ReLU with mean 0 and variance 1 for normal input."""

    def forward(self, x: Tensor) -> Tensor:
        return (x.relu() - _RELU_MEAN) / _RELU_SD


class CPPN(Image):
    """A network of 1 x 1 convolutions from the coordinates of a pixel to its colour.

    Each image of the batch has a network of its own. `state_dict` and `load_state_dict` save and
    load the parameters; `resized` and `interpolated` give other pictures of them.

    Args:
        size: (height, width) in pixels, or the side of a square.
        widths: output channels of every layer; the last are those of the image.
        activation_fn: what follows every layer but the last; see `cppn`.
        batch: number of images.
        normalize: instance norm before every activation.

    Raises:
        InputError: a size or a width is not a whole number of at least 1, or the activation cannot
            be applied to (B, C, H, W).

    Source: Stanley 2007, Compositional pattern producing networks; Mordvintsev et al. 2018,
    Differentiable Image Parameterizations (https://distill.pub/2018/differentiable-parameterizations).
    """

    def __init__(
        self,
        size: Size,
        widths: Sequence[int],
        *,
        activation_fn: Activation = CompositeActivation,
        batch: int = 1,
        normalize: bool = False,
    ) -> None:
        super().__init__()
        _check_counts(batch=batch, layers=len(widths), width=min(widths, default=1))
        self.size = _checked_size(size)
        self.normalize = normalize
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        self.activations = nn.ModuleList()
        inputs = 2
        for width in widths:
            # Sums of as many products of variance 1 have variance 1.
            weight = torch.randn(batch, width, inputs) / math.sqrt(inputs)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.zeros(batch, width, 1)))
            if len(self.weights) < len(widths):
                self.activations.append(_module(activation_fn))
                inputs = _width_after(self.activations[-1], width)
        with torch.no_grad():
            self.weights[-1].zero_()

    def forward(self) -> Tensor:
        """Return the images, (B, C, height, width), in [0, 1]; all grey at first."""
        layers = list(zip(self.weights, self.biases, strict=True))
        batch = len(self.weights[0])
        acts = self._coordinates().expand(batch, -1, -1, -1)
        for i, (weight, bias) in enumerate(layers):
            # A convolution with another kernel for every image of the batch.
            with without_autocast(acts.device):
                flat = torch.baddbmm(bias, weight, acts.flatten(2))
            acts = flat.unflatten(2, self.size)
            if i < len(self.activations):
                acts = F.instance_norm(acts) if self.normalize else acts
                acts = self.activations[i](acts)
        return acts.sigmoid()

    def resized(self, size: Size) -> CPPN:
        """Return the same networks, with the same parameters, at another size.

        The shorter side always shows the same span; the longer one shows more the longer it is.

        >>> cppn(16).resized((100, 50))().shape
        torch.Size([1, 3, 100, 50])

        Args:
            size: (height, width) in pixels, or the side of a square.

        Raises:
            InputError: a size is not a whole number of at least 1.
        """
        other = copy.copy(self)  # of the module, not of its tensors
        other.size = _checked_size(size)
        return other

    @torch.no_grad()
    def interpolated(self, other: CPPN, fraction: float) -> CPPN:
        """Return networks whose parameters lie between those of this one and another.

        Args:
            other: of the same layers.
            fraction: 0 is this one, 1 the other; beyond them is possible.

        Raises:
            InputError: the networks have other layers.
        """
        between = copy.deepcopy(self)
        mine, others = between.trainable(), other.trainable()
        shapes = [[tuple(tensor.shape) for tensor in tensors] for tensors in (mine, others)]
        if shapes[0] != shapes[1]:
            raise InputError(
                f"Networks with parameters of the shapes {shapes[0]} and {shapes[1]} have no "
                "parameters between them: give two of the same layers and batch."
            )
        for tensor, end in zip(mine, others, strict=True):
            tensor.lerp_(end.to(tensor), fraction)
        return between

    def _coordinates(self) -> Tensor:
        """Return rows and columns, (1, 2, H, W), of variance 1 over a large square."""
        weight = self.weights[0]
        step = 2 * math.sqrt(3) / max(min(self.size) - 1, 1)
        # Half precision cannot count pixels.
        dtype = torch.promote_types(weight.dtype, torch.float32)
        axes = [
            (torch.arange(n, device=weight.device, dtype=dtype) - (n - 1) / 2) * step
            for n in self.size
        ]
        return torch.stack(torch.meshgrid(*axes, indexing="ij")).unsqueeze(0).to(weight.dtype)


def cppn(  # noqa: PLR0913 - torch-lucent's arguments
    size: Size,
    num_output_channels: int = 3,
    num_hidden_channels: int = 24,
    num_layers: int = 8,
    activation_fn: Activation = CompositeActivation,
    normalize: bool = False,
    device: torch.device | str | None = None,
    *,
    batch: int = 1,
) -> CPPN:
    """Return images that small networks draw from coordinates, grey at first.

    They are smooth, and once optimised they can be drawn at any size: `image.resized(1000)()`.

    >>> image = cppn(64)
    >>> sum(tensor.numel() for tensor in image.trainable())
    7275

    Args:
        size: (height, width) in pixels, or the side of a square.
        num_output_channels: channels of the image.
        num_hidden_channels: channels of every layer but the last, before the activation.
        num_layers: number of layers, the last included.
        activation_fn: what follows every layer but the last: a function of (B, C, H, W), a module,
            or a class or a function without arguments that makes one. It may change the number of
            channels, as `CompositeActivation` does.
        normalize: instance norm before every activation.
        device: of the parameters; a run moves them to that of its model.
        batch: number of images, each with a network of its own.

    Raises:
        InputError: a number is not whole or below 1, or the activation cannot be applied.

    Source: Mordvintsev et al. 2018, Differentiable Image Parameterizations
    (https://distill.pub/2018/differentiable-parameterizations).
    """
    _check_counts(num_layers=num_layers)
    widths = [num_hidden_channels] * (num_layers - 1) + [num_output_channels]
    image = CPPN(size, widths, activation_fn=activation_fn, batch=batch, normalize=normalize)
    return image.to(device)


class _Function(nn.Module):
    def __init__(self, function: Activation) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

    def extra_repr(self) -> str:
        return repr(self.function)


def _module(activation_fn: Activation) -> nn.Module:
    made = activation_fn() if _makes_one(activation_fn) else activation_fn
    return made if isinstance(made, nn.Module) else _Function(made)


def _makes_one(activation_fn: Activation) -> bool:
    """Whether this is called without arguments, as classes and factories of activations are."""
    if isinstance(activation_fn, nn.Module):
        return False
    try:
        inspect.signature(activation_fn).bind()
    except (TypeError, ValueError):  # it needs a tensor, or is built in and has no signature
        return False
    return True


def _width_after(activation: nn.Module, width: int) -> int:
    """Return the number of channels that an activation makes of so many."""
    probe = torch.zeros(1, width, 2, 2)
    try:
        after = activation(probe)
    except (TypeError, RuntimeError) as error:
        raise InputError(
            f"The activation {activation} cannot be applied to a tensor of the shape "
            f"{tuple(probe.shape)} ({error}): give a function such as torch.sin, or a module."
        ) from error
    if not isinstance(after, Tensor) or after.shape[2:] != probe.shape[2:]:
        raise InputError(
            f"The activation {activation} has to return (B, C, H, W) for (B, C, H, W); "
            f"of {tuple(probe.shape)} it made {getattr(after, 'shape', type(after))}."
        )
    return after.shape[1]


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if not is_count(count):
            raise InputError(f"{name}={count} has to be a whole number of at least 1.")


def _checked_size(size: Size) -> tuple[int, int]:
    sides = tuple(size) if isinstance(size, Iterable) else (size, size)
    if len(sides) != 2:
        raise InputError(f"size={size!r} has to be a side in pixels or (height, width).")
    height, width = checked_shape(sides)
    return height, width
