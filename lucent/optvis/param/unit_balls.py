"""Tensors kept in a unit ball, with gradients that slide along its surface and lead back inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lucent.optvis.param.base import Image
from lucent.optvis.param.spatial import checked_shape


class _ScaleIntoBall(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x / torch.linalg.vector_norm(x).clamp(min=1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,), (grad,) = ctx.saved_tensors, grads
        norm = torch.linalg.vector_norm(x)
        direction = x / norm.clamp(min=1)
        along = (direction * grad).sum()
        # The step goes against the gradient: it leads out of the ball where the two are opposed.
        outward = (norm > 1) & (along < 0)
        return grad - torch.where(outward, along, 0) * direction


class _Clip(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, precondition: bool) -> Tensor:
        return x.clamp(-1, 1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, bool], output: Tensor) -> None:
        x, ctx.precondition = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x,), (grad,) = ctx.saved_tensors, grads
        outward = (x.abs() >= 1) & (x * grad < 0)
        return (grad.sign() if ctx.precondition else grad).masked_fill(outward, 0), None


def constrain_L2(x: Tensor) -> Tensor:
    """Return the tensor, divided by its Euclidean norm where that exceeds 1.

    The gradient is that of the identity, but without its part along the tensor where the norm
    exceeds 1 and a descent step would take it further out.

    >>> x = torch.tensor([3.0, 4.0], requires_grad=True)
    >>> constrain_L2(x).detach()
    tensor([0.6000, 0.8000])

    Args:
        x: of any shape; all of it is one vector, also a batch.
    """
    scaled: Tensor = _ScaleIntoBall.apply(x)
    return scaled


def constrain_L_inf(x: Tensor, precondition: bool = False) -> Tensor:
    """Return the values clipped to [-1, 1].

    The gradient is that of the identity, but zero where a value is at a bound or beyond and a
    descent step would take it further out. So what left the range can come back.

    >>> x = torch.tensor([2.0, 2.0], requires_grad=True)
    >>> (constrain_L_inf(x) * torch.tensor([1.0, -1.0])).sum().backward()
    >>> x.grad
    tensor([1., 0.])

    Args:
        x: of any shape.
        precondition: pass on the sign of the gradient, so that all values move alike.
    """
    clipped: Tensor = _Clip.apply(x, precondition)
    return clipped


class UnitBallL2(Image):
    """A tensor whose Euclidean norm is at most 1, zero at first; see `constrain_L2`.

    Args:
        shape: any; all of it is one vector, also a batch.

    Raises:
        InputError: the shape does not consist of whole numbers of at least 1.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(checked_shape(shape)))

    def forward(self) -> Tensor:
        """Return the tensor."""
        return constrain_L2(self.values)


class UnitBallLInf(Image):
    """A tensor with values in [-1, 1], zero at first; see `constrain_L_inf`.

    Args:
        shape: any.
        precondition: pass on the sign of the gradient, so that all values move alike.

    Raises:
        InputError: the shape does not consist of whole numbers of at least 1.
    """

    def __init__(self, shape: Sequence[int], precondition: bool = True) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(checked_shape(shape)))
        self.precondition = precondition

    def forward(self) -> Tensor:
        """Return the tensor."""
        return constrain_L_inf(self.values, self.precondition)


def unit_ball_L2(shape: Sequence[int]) -> Image:
    """Return a tensor whose Euclidean norm is at most 1, zero at first; see `UnitBallL2`."""
    return UnitBallL2(shape)


def unit_ball_L_inf(shape: Sequence[int], precondition: bool = True) -> Image:
    """Return a tensor with values in [-1, 1], zero at first; see `UnitBallLInf`."""
    return UnitBallLInf(shape, precondition)
