"""Max-pooling with the gradient of a smooth pooling.

A max-pool passes its gradient to one position of each window. Which one is the largest changes from
pixel to pixel, and so attributions and pictures get the grid of the strides. The gradient of an
average goes to the whole window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lucent.errors import InputError
from lucent.overrides._relu import redirected_relu
from lucent.overrides._swap import FunctionOverride, Substituted, needs_gradient, overridden

Kind: TypeAlias = Literal["avg", "L2"]
_Sizes: TypeAlias = int | tuple[int, ...]

_MEANS = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)
_ADAPTIVE_MEANS = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)


class _Windows(NamedTuple):
    """The options of a max-pool, in the order in which PyTorch's functions take them."""

    kernel_size: _Sizes
    stride: _Sizes | None = None
    padding: _Sizes = 0
    dilation: _Sizes = 1
    ceil_mode: bool = False
    return_indices: bool = False

    def mean(self, x: Tensor, n_dims: int) -> Tensor:
        """Return the mean of x over each window, padding included as zeros."""
        kernel, padding, dilation = (
            _each(sizes, n_dims) for sizes in (self.kernel_size, self.padding, self.dilation)
        )
        stride = _each(self.stride, n_dims) if self.stride else kernel
        if set(dilation) == {1}:
            return _MEANS[n_dims - 1](x, kernel, stride, padding, self.ceil_mode)
        # PyTorch's average pools know no dilation. The mean over a box is one along each side.
        sides = zip(kernel, stride, padding, dilation, strict=True)
        for dim, side in enumerate(sides, start=-n_dims):
            x = _mean_along(x.movedim(dim, -1), *side, ceil=self.ceil_mode).movedim(-1, dim)
        return x


class _Cells(NamedTuple):
    """The options of an adaptive max-pool."""

    output_size: Any  # a side may be None: as long as that of x
    return_indices: bool = False

    def mean(self, x: Tensor, n_dims: int) -> Tensor:
        """Return the mean of x over each cell."""
        return _ADAPTIVE_MEANS[n_dims - 1](x, self.output_size)


# The functions that reach a TorchFunctionMode: the type of their options, and the number of spatial
# dimensions.
_POOLS: dict[Callable[..., Any], tuple[type[_Windows] | type[_Cells], int]] = {
    F.max_pool1d: (_Windows, 1),
    F.max_pool1d_with_indices: (_Windows, 1),
    torch.max_pool1d: (_Windows, 1),
    torch.max_pool1d_with_indices: (_Windows, 1),
    F.max_pool2d: (_Windows, 2),
    F.max_pool2d_with_indices: (_Windows, 2),
    torch.max_pool2d: (_Windows, 2),
    F.max_pool3d: (_Windows, 3),
    F.max_pool3d_with_indices: (_Windows, 3),
    torch.max_pool3d: (_Windows, 3),
    F.adaptive_max_pool1d: (_Cells, 1),
    F.adaptive_max_pool1d_with_indices: (_Cells, 1),
    torch.adaptive_max_pool1d: (_Cells, 1),
    F.adaptive_max_pool2d: (_Cells, 2),
    F.adaptive_max_pool2d_with_indices: (_Cells, 2),
    F.adaptive_max_pool3d: (_Cells, 3),
    F.adaptive_max_pool3d_with_indices: (_Cells, 3),
}


class MaxPools(FunctionOverride):
    """Replaces calls of max-pools inside its block.

    Args:
        epsilon: of the pooling avg(x²) / (epsilon + avg(|x|)); None takes the average.
        blur: spread the gradient a little beyond each window.
        removes: give the values of the smooth pooling too.
    """

    modules = (
        nn.MaxPool1d,
        nn.MaxPool2d,
        nn.MaxPool3d,
        nn.AdaptiveMaxPool1d,
        nn.AdaptiveMaxPool2d,
        nn.AdaptiveMaxPool3d,
    )

    def __init__(
        self, *, epsilon: float | None = None, blur: bool = False, removes: bool = False
    ) -> None:
        super().__init__(removes=removes)
        self._epsilon = epsilon
        self._blur = blur

    def replacement(
        self, func: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
    ) -> Callable[[], Any] | None:
        """Return what smooths the call of a max-pool."""
        if func not in _POOLS:
            return None
        x, *rest = args or (options["input"],)
        if not (self.removes or needs_gradient(x)):
            return None
        keywords = {name: value for name, value in options.items() if name != "input"}
        return partial(self._smoothed, func, x, rest, keywords)

    def _smoothed(
        self, func: Callable[..., Any], x: Tensor, rest: list[Any], options: dict[str, Any]
    ) -> Any:
        kind, n_dims = _POOLS[func]
        mean = partial(kind(*rest, **options).mean, n_dims=n_dims)
        with torch.no_grad():
            result = func(x, *rest, **options)
        value, *indices = result if isinstance(result, tuple) else (result,)
        if self._blur:
            x = Substituted.apply(_blurred(x, n_dims), (x.detach(),))
        smooth = smooth_pool(x, mean, self._epsilon)
        value = smooth if self.removes else Substituted.apply(smooth, (value,))
        return (value, *indices) if indices else value


def smooth_pool(
    x: Tensor, mean: Callable[[Tensor], Tensor], epsilon: float | None = None
) -> Tensor:
    """Return the average over the windows of a pool, or avg(x²) / (epsilon + avg(|x|)).

    Args:
        x: any values; -inf counts as padding, which has no part in an average.
        mean: means over the windows, padding included as zeros.
        epsilon: None for the average.
    """
    outside = x.isneginf()
    x = x.masked_fill(outside, 0)
    share = mean((~outside).to(x.dtype))
    share = share.masked_fill(share == 0, 1)
    if epsilon is None:
        return mean(x) / share
    if x.dtype == torch.float16:
        x, share = x.float(), share.float()  # the square of 256 is beyond its range
    return mean(x.square()) / share / (epsilon + mean(x.abs()) / share)


def _each(sizes: _Sizes, n_dims: int) -> tuple[int, ...]:
    return (sizes,) * n_dims if isinstance(sizes, int) else tuple(sizes)


def _mean_along(
    x: Tensor, kernel: int, stride: int, padding: int, dilation: int, *, ceil: bool
) -> Tensor:
    """Return the mean over dilated windows of the last dimension."""
    length, reach = x.shape[-1], dilation * (kernel - 1) + 1
    free = length + 2 * padding - reach
    last = -(-free // stride) if ceil else free // stride
    if last * stride >= length + padding:  # only windows that begin in the tensor count
        last -= 1
    x = F.pad(x, (padding, last * stride + reach - padding - length))
    return x.unfold(-1, reach, stride)[..., ::dilation].mean(-1)


def _blurred(x: Tensor, n_dims: int) -> Tensor:
    """Return x after the filter (1/4, 1/2, 1/4) along each spatial dimension, with zeros around.

    In two dimensions that is 1/4 of a pixel, 1/2 of the mean of its neighbours at the edges and 1/4
    of those at the corners. The filter is symmetric, so the gradient is blurred in the same way.
    """
    for dim in range(-n_dims, 0):
        sides = F.pad(x.movedim(dim, -1), (1, 1))
        x = (sides[..., :-2] / 4 + sides[..., 1:-1] / 2 + sides[..., 2:] / 4).movedim(-1, dim)
    return x


@contextmanager
def smoothed_maxpool(
    model: nn.Module,
    kind: Kind = "avg",
    *,
    epsilon: float = 1e-2,
    blur: bool = False,
    functional: bool = True,
) -> Iterator[None]:
    """Give every max-pool of a model the gradient of a smooth pooling inside the block.

    >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]], requires_grad=True)
    >>> with smoothed_maxpool(model := nn.MaxPool2d(2)):
    ...     model(x).sum().backward()
    >>> x.grad.flatten()
    tensor([0.2500, 0.2500, 0.2500, 0.2500])

    Values are those of the max-pool. Its adaptive forms are smoothed too, over their own windows;
    fractional pools and `amax` are left alone. Padding has no part in an average, also where it is
    -inf in the tensor itself. As for modules, functional calls and checkpointed regions, see
    `redirected_relu`.

    Args:
        model: any network, DataParallel and compiled ones too; its modules are as before when the
            block ends.
        kind: "avg" for the gradient of avg(x), "L2" for that of avg(x²) / (epsilon + avg(|x|)),
            which favours large values.
        epsilon: of "L2", in units of the activations.
        blur: blur the gradient by one position more, with weights 1/4, 1/2, 1/4 along each side.
        functional: smooth all functional calls in the block as well.

    Raises:
        InputError: the kind is unknown, or epsilon is not positive.

    Source: Lucid, `make_smoothed_maxpool_grad` (https://github.com/tensorflow/lucid).
    """
    if kind not in get_args(Kind):
        raise InputError(f"kind={kind!r} is unknown: it is one of 'avg' and 'L2'.")
    if not 0 < epsilon < float("inf"):
        raise InputError(f"epsilon={epsilon!r} has to be a positive number, such as 0.01.")
    pools = MaxPools(epsilon=epsilon if kind == "L2" else None, blur=blur)
    with overridden(model, pools, functional=functional):
        yield


#: Lucid's name.
pooling_overrides = smoothed_maxpool


@contextmanager
def default_overrides(model: nn.Module) -> Iterator[None]:
    """Redirect the ReLUs and smooth the max-pools of a model inside the block.

    Source: Lucid, `default_overrides` (https://github.com/tensorflow/lucid).
    """
    with redirected_relu(model), smoothed_maxpool(model):
        yield
