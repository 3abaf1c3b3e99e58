"""Networks without their rectifiers, whose gradients are the expanded weights.

The gradient of one layer with respect to another one is, in a network of convolutions, the weight
that connects them through all layers in between. Rectifiers and max-pools get in the way, because
they make it depend on the image: here they become the identity and an average.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lucent.overrides._pooling import MaxPools
from lucent.overrides._relu import relu_call
from lucent.overrides._swap import FunctionOverride, Substituted, needs_gradient, overridden

# Besides ReLU and ReLU6, whatever comes close to x for large x and to a constant, or a small
# multiple of x, for large -x.
_RECTIFIERS = frozenset({
    F.leaky_relu, F.leaky_relu_, F.rrelu, F.rrelu_, F.prelu, F.elu, F.elu_, F.celu, torch.celu_,
    F.gelu, F.silu, F.mish, F.hardswish,
})  # fmt: skip


class Rectifiers(FunctionOverride):
    """Replaces calls of rectifiers and max-pools inside its block by linear functions.

    Args:
        removes: in the values too, not in the gradients alone.
    """

    modules = (
        nn.ReLU,
        nn.ReLU6,
        nn.LeakyReLU,
        nn.RReLU,
        nn.PReLU,
        nn.ELU,
        nn.CELU,
        nn.GELU,
        nn.SiLU,
        nn.Mish,
        nn.Hardswish,
        *MaxPools.modules,
    )

    def __init__(self, *, removes: bool) -> None:
        super().__init__(removes=removes)
        self._pools = MaxPools(removes=removes)

    def replacement(
        self, func: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
    ) -> Callable[[], Any] | None:
        """Return the linear function in place of the call."""
        if func not in _RECTIFIERS and relu_call(func, args, options) is None:
            return self._pools.replacement(func, args, options)
        x, *rest = args or (options["input"],)
        if self.removes:
            return x.clone
        if not needs_gradient(x):
            return None
        keywords = {name: value for name, value in options.items() if name != "input"}
        return partial(_with_gradient_of_identity, func, x, rest, keywords)


def _with_gradient_of_identity(
    func: Callable[..., Any], x: Tensor, rest: list[Any], options: dict[str, Any]
) -> Tensor:
    with torch.no_grad():
        copy = x.clone()
        value = func(copy, *rest, **options)
    result: Tensor = Substituted.apply(x, (value,))
    # A function that works in place returned its argument.
    return x.copy_(result) if value is copy else result


def linearized(
    model: nn.Module, *, values: bool = True, functional: bool = True
) -> AbstractContextManager[None]:
    """Make rectifiers the identity and max-pools averages inside the block.

    >>> model = nn.Sequential(nn.ReLU(), nn.MaxPool1d(2))
    >>> with linearized(model):
    ...     model(torch.tensor([[[-2.0, 4.0]]]))
    tensor([[[1.]]])

    Rectifiers are ReLU, ReLU6, leaky and parametric ReLU, RReLU, ELU, CELU, GELU, SiLU, Mish and
    Hardswish. Batch norm is affine in eval mode. All the rest stays: local response norm, layer
    norm, softmax, sigmoid, tanh, SELU, attention. Where they lie between two layers, the gradient
    still depends on the image: choose layers without them in between. Nothing can be overridden in
    a block inside this one, not even by the redirected ReLU of a run. As for modules, functional
    calls and checkpointed regions, see `redirected_relu`.

    Args:
        model: any network, DataParallel and compiled ones too; its modules are as before when the
            block ends.
        values: compute the activations of the linear network; False keeps those of the model and
            makes the gradients linear only, as Lucid does.
        functional: linearise all functional calls in the block as well.

    Source: Voss et al. 2021 (https://distill.pub/2020/circuits/visualizing-weights); Lucid,
        `linearization_overrides` (https://github.com/tensorflow/lucid).
    """
    return overridden(model, Rectifiers(removes=values), functional=functional)


def linearization_overrides(model: nn.Module) -> AbstractContextManager[None]:
    """Make the gradients of a model those of the linearised one; its values stay.

    Source: Lucid, `linearization_overrides` (https://github.com/tensorflow/lucid).
    """
    return linearized(model, values=False)
