"""The redirected ReLU: a way out of a dead start.

A ReLU passes no gradient where its input is negative. A unit whose every path is closed like that
on the start image has gradient zero, and gradient ascent cannot begin. The redirected ReLU lets
such an example through for the first steps, but only in the direction that opens the ReLU.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lucent.overrides._swap import FunctionOverride, overridden

#: Lucid redirects at its steps 0 to 16, the first 17.
REDIRECTED_STEPS = 17

# Every spelling of ReLU and ReLU6 that reaches a TorchFunctionMode; nn.ReLU6 arrives as hardtanh
# from 0 to 6.
_HARDTANH = frozenset({F.hardtanh, F.hardtanh_})
_RELUS = frozenset({
    torch.relu, torch.relu_, F.relu, F.relu_, Tensor.relu, Tensor.relu_, F.relu6, *_HARDTANH,
})  # fmt: skip
_IN_PLACE = frozenset({torch.relu_, F.relu_, Tensor.relu_, F.hardtanh_})


class RedirectedReLU(torch.autograd.Function):
    """ReLU (or ReLU6) whose gradient finds a way out of a dead start.

    With incoming loss gradient g at input x: an example (row of the batch) keeps its plain
    gradient, g where 0 <= x <= upper, unless that is zero everywhere. Then it gets g wherever g
    does not push further into the dead side: everywhere but where x < 0 and g > 0 (descent would
    lower x), or x > upper and g < 0.

    Source: Lucid, `redirected_relu_grad` (https://github.com/tensorflow/lucid).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, upper: float | None, inplace: bool) -> Tensor:
        """Return x clamped to [0, upper].

        Args:
            ctx: the autograd context.
            x: pre-activation of any shape with the batch first.
            upper: None for ReLU, 6.0 for ReLU6.
            inplace: overwrite x, as the module replaced would have.
        """
        # Masks instead of x: an in-place ReLU overwrites it, and a byte per element is a quarter of
        # a float32.
        below = x < 0
        above = None if upper is None else x > upper
        ctx.save_for_backward(below, above)
        if not inplace:
            return x.clamp(0, upper)
        ctx.mark_dirty(x)
        return x.clamp_(0, upper)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """Return the redirected gradient for x, and none for the two options."""
        (grad,) = grads
        below, above = ctx.saved_tensors
        plain = grad.masked_fill(below, 0)
        if above is not None:
            plain = plain.masked_fill(above, 0)
        # Without a batch axis that could be told apart, all of it is one example.
        axes = tuple(range(1, plain.dim()))
        alive = plain.any(axes, keepdim=True) if axes else plain.any()
        # Few examples are dead. On a GPU, asking would cost more than it saves: the caller waits.
        if alive.device.type == "cpu" and alive.all():
            return plain, None, None
        closing = below & (grad > 0)
        if above is not None:
            closing = closing | (above & (grad < 0))
        return torch.where(alive, plain, grad.masked_fill(closing, 0)), None, None


class FunctionalReLUs(FunctionOverride):
    """Replaces calls of ReLU and ReLU6 inside its block by `RedirectedReLU`, and counts them.

    Args:
        redirect: False only counts.

    Attributes:
        calls: number of calls seen.
    """

    modules = (nn.ReLU, nn.ReLU6)

    def __init__(self, *, redirect: bool = True) -> None:
        super().__init__()
        self.calls = 0
        self._redirect = redirect

    def replacement(
        self, func: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
    ) -> Callable[[], Any] | None:
        """Count the call of a ReLU and return what redirects it."""
        found = relu_call(func, args, options)
        if found is None:
            return None
        self.calls += 1
        return partial(RedirectedReLU.apply, *found) if self._redirect else None


def relu_call(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Tensor, float | None, bool] | None:
    """Return (x, upper, inplace) when the call is a ReLU or ReLU6."""
    if func not in _RELUS:
        return None
    x, *rest = args if args else (kwargs["input"],)
    in_place = func in _IN_PLACE
    if func in _HARDTANH:
        low = rest[0] if rest else kwargs.get("min_val", -1.0)
        high = rest[1] if len(rest) > 1 else kwargs.get("max_val", 1.0)
        in_place = in_place or bool(rest[2] if len(rest) > 2 else kwargs.get("inplace", False))
        return (x, 6.0, in_place) if (low, high) == (0, 6) else None
    in_place = in_place or bool(rest[0] if rest else kwargs.get("inplace", False))
    return x, 6.0 if func is F.relu6 else None, in_place


def redirected_relu(model: nn.Module, *, functional: bool = True) -> AbstractContextManager[None]:
    """Redirect the gradient of every ReLU and ReLU6 of a model inside the block.

    >>> model = nn.ReLU()
    >>> x = torch.tensor([[-1.0]], requires_grad=True)
    >>> with redirected_relu(model):
    ...     (-model(x)).sum().backward()
    >>> x.grad
    tensor([[-1.]])

    The block has to hold the forward pass, and the backward pass too where the model uses
    `torch.utils.checkpoint`. A module that computes something else than its class does, because it
    overrides `forward` or was given another one, is left alone, and so is a scripted one.

    Args:
        model: any network, DataParallel and compiled ones too; its modules are as before when the
            block ends.
        functional: redirect all functional calls in the block as well. They fail inside a region of
            `torch.utils.checkpoint`, so pass False for a model that has none.

    Source: Lucid, `relu_gradient_override` (https://github.com/tensorflow/lucid).
    """
    return overridden(model, FunctionalReLUs(), functional=functional)


#: Lucid's name.
relu_overrides = redirected_relu
