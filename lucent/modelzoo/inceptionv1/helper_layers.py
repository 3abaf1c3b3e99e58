"""Operations of the original graph as modules, so that each has a name and can be hooked.

The classes keep torch-lucent's names and call signatures: options are given with the call.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lucent.overrides import RedirectedReLU
from lucent.util import without_autocast

__all__ = [
    "AVGPoolLayer",
    "AdditionLayer",
    "CatLayer",
    "DropoutLayer",
    "LocalResponseNormLayer",
    "MaxPool2dLayer",
    "PadLayer",
    "RedirectedReLU",
    "RedirectedReluLayer",
    "ReluLayer",
    "SoftMaxLayer",
    "local_response_norm",
]


class ReluLayer(nn.ReLU):
    """ReLU, not in place; `lucent.overrides` redirects it like any other."""


class RedirectedReluLayer(nn.ReLU):
    """ReLU whose gradient is always redirected, for networks of your own."""

    def forward(self, input: Tensor) -> Tensor:
        """Return max(input, 0) of a tensor (B, ...)."""
        return RedirectedReLU.apply(input, None, False)  # type: ignore[no-any-return, no-untyped-call]


class CatLayer(nn.Module):
    """Concatenation of several tensors."""

    def forward(self, tensor_list: Sequence[Tensor], dim: int = 1) -> Tensor:
        """Join tensors that differ in the size of one dimension, the channels by default."""
        return torch.cat(tuple(tensor_list), dim)


class AdditionLayer(nn.Module):
    """Sum of two tensors."""

    def forward(self, t_1: Tensor, t_2: Tensor) -> Tensor:
        """Return the elementwise sum."""
        return t_1 + t_2


class MaxPool2dLayer(nn.Module):
    """Max-pooling with its options given in the call."""

    def forward(
        self,
        tensor: Tensor,
        kernel_size: int | tuple[int, int] = (3, 3),
        stride: int | tuple[int, int] = (1, 1),
        padding: int | tuple[int, int] = 0,
        ceil_mode: bool = False,
    ) -> Tensor:
        """Pool a tensor (B, C, H, W), padded with -inf."""
        return F.max_pool2d(tensor, kernel_size, stride, padding, ceil_mode=ceil_mode)


class AVGPoolLayer(nn.Module):
    """Average pooling with its options given in the call."""

    def forward(
        self,
        tensor: Tensor,
        kernel_size: int | tuple[int, int] = (7, 7),
        stride: int | tuple[int, int] = (1, 1),
        padding: int | tuple[int, int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = False,
    ) -> Tensor:
        """Pool a tensor (B, C, H, W)."""
        return F.avg_pool2d(tensor, kernel_size, stride, padding, ceil_mode, count_include_pad)


class PadLayer(nn.Module):
    """Padding with a constant."""

    def forward(
        self, tensor: Tensor, padding: Sequence[int] = (1, 1, 1, 1), value: float | None = None
    ) -> Tensor:
        """Pad by (left, right, top, bottom) pixels, with 0 by default."""
        return F.pad(tensor, tuple(padding), value=value)


class DropoutLayer(nn.Module):
    """Dropout, with its options given in the call; off by default."""

    def forward(
        self, tensor: Tensor, p: float = 0.4, training: bool = False, inplace: bool = False
    ) -> Tensor:
        """Set a share p of the values to 0 and enlarge the others, if `training`."""
        return F.dropout(tensor, p, training, inplace)


class SoftMaxLayer(nn.Module):
    """Softmax."""

    def forward(self, tensor: Tensor, dim: int = 1) -> Tensor:
        """Return probabilities along a dimension, the classes by default."""
        return F.softmax(tensor, dim=dim)


class LocalResponseNormLayer(nn.Module):
    """Normalisation across neighbouring channels, with its options given in the call."""

    def forward(
        self, tensor: Tensor, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
    ) -> Tensor:
        """Normalise a tensor (B, C, H, W)."""
        return local_response_norm(tensor, size, alpha=alpha, beta=beta, k=k)


def local_response_norm(
    tensor: Tensor, size: int, *, alpha: float, beta: float, k: float
) -> Tensor:
    """Return x / (k + alpha * mean(x² over `size` neighbouring channels)) ** beta.

    The value is that of `torch.nn.functional.local_response_norm`, which slides a three-dimensional
    pooling window; here the window is a band matrix over the channels, applied as a convolution of
    kernel 1. Under autocast and in half precision the denominator is computed in float32.

    Args:
        tensor: (B, C, H, W); channels beyond the first and last count as zeros.
        size: number of channels in the window, centred.
        alpha: weight of the mean square.
        beta: exponent.
        k: what the denominator is without activity.

    Source: Krizhevsky et al. 2012, section 3.3 (https://papers.nips.cc/paper/4824).
    """
    n = tensor.shape[1]
    # The square of an activation above 255 overflows float16, and a sum in bfloat16 keeps 8 bits.
    with without_autocast(tensor.device):
        wide = tensor.to(torch.promote_types(tensor.dtype, torch.float32))
        band = wide.new_full((n, n), alpha / size).triu(-(size // 2)).tril((size - 1) // 2)
        base = F.conv2d(wide * wide, band[..., None, None], wide.new_full((n,), k))
        normalised = wide * (base.rsqrt() if beta == 0.5 else base.pow(-beta))
    return normalised.to(tensor.dtype)
