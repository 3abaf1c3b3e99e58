"""Faster ways to compute what a frozen network computes.

These override neither values nor gradients: both are the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lucent.overrides._swap import swapped_forward
from lucent.util import memory_format_of

_NORMS = [norm.forward for norm in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)]
# In half precision the constants themselves would be rounded, which PyTorch's own kernels avoid.
_EXACT = {torch.float32, torch.float64}
#: A CPU processes channels in vectors of at least 8; twice this many in a block of 2 x 2 fill them.
_FEW_CHANNELS = 4


@contextmanager
def frozen_forwards(model: nn.Module) -> Iterator[None]:
    """Compute the modules of a model in the fastest way there is while it stays as it is.

    Batch norms become one multiplication and addition. Self-attention keeps the batch in front. On
    a CPU, convolutions of an image with stride 2 become convolutions with stride 1 over blocks of
    2 x 2 pixels.

    The model has to be in eval mode with frozen parameters for as long as the block lasts. Modules
    that compute something else than their class are left alone.

    Args:
        model: any network; its modules are as before when the block ends.
    """
    with ExitStack() as stack:
        for module in model.modules():
            if "forward" not in vars(module) and (faster := _faster(module)) is not None:
                stack.enter_context(swapped_forward(module, faster))
        yield


def _faster(module: Any) -> Callable[..., Any] | None:
    forward = getattr(type(module), "forward", None)
    # A norm without statistics of its own has None; a lazy one has something that is no tensor yet.
    if (
        forward in _NORMS
        and not module.training
        and owns_weight(module)
        and type(module.running_var) is Tensor
        and module.running_var.dtype in _EXACT
    ):
        return AffineNorm(module)
    if forward is nn.MultiheadAttention.forward and not module.training and _is_plain(module):
        return SelfAttention(module)
    if forward is nn.Conv2d.forward and owns_weight(module) and _is_of_blocks(module):
        return BlockConvolution(module)
    return None


def owns_weight(module: nn.Module) -> bool:
    """Whether no hook makes the weight of other numbers, as in weight norm, right before a pass."""
    return "weight" in module._parameters


class AffineNorm:
    """The forward of a batch norm whose statistics and parameters are frozen.

    Args:
        norm: the module.

    Attributes:
        scale: what every channel is multiplied by, (C,).
        shift: what is added after that, (C,).
    """

    def __init__(self, norm: Any) -> None:
        self._norm = norm
        self.scale = (norm.running_var.detach() + norm.eps).rsqrt()
        if norm.weight is not None:
            self.scale = self.scale * norm.weight.detach()
        self.shift = -norm.running_mean.detach() * self.scale
        if norm.bias is not None:
            self.shift = self.shift + norm.bias.detach()

    def __call__(self, x: Tensor) -> Tensor:
        """Return the normalised tensor, (B, C) or (B, C, *spatial)."""
        self._norm._check_input_dim(x)
        if x.dtype != self.scale.dtype or x.shape[1] != len(self.scale):
            return type(self._norm).forward(self._norm, x)
        shape = (-1, *[1] * (x.dim() - 2))
        return torch.addcmul(self.shift.view(shape), x, self.scale.view(shape))


def _is_of_blocks(conv: Any) -> bool:
    return (
        conv.weight.device.type == "cpu"
        and conv.weight.dtype in _EXACT
        and conv.in_channels <= _FEW_CHANNELS
        and (conv.stride, conv.dilation, conv.groups) == ((2, 2), (1, 1), 1)
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
    )


class BlockConvolution:
    """The forward of a frozen convolution with stride 2, as one with stride 1 over blocks.

    Pixels of even and odd rows and columns become channels of their own: with a quarter of the
    positions, half the kernel and four times the channels it is the same sum, and an image's three
    channels no longer leave most of a processor's vectors empty.

    Args:
        conv: the module.
        weight: in place of its own, of the same shape.
        bias: in place of its own.
    """

    def __init__(self, conv: Any, weight: Tensor | None = None, bias: Tensor | None = None) -> None:
        self._conv, self._bias = conv, conv.bias if bias is None else bias
        height, width = conv.kernel_size
        self._whole = conv.weight.detach() if weight is None else weight
        # Zeros complete the last block of the kernel.
        padded = F.pad(self._whole, (0, width % 2, 0, height % 2))
        self._weight = F.pixel_unshuffle(padded, 2)

    def __call__(self, x: Tensor) -> Tensor:
        """Return (B, C_out, H_out, W_out) of an image (B, C, H, W)."""
        conv = self._conv
        if x.dim() != 4 or x.shape[1] != conv.in_channels or x.dtype != self._weight.dtype:
            return conv._conv_forward(x, self._whole, self._bias)
        margins: list[int] = []
        for side, kernel, near in zip(x.shape[2:], conv.kernel_size, conv.padding, strict=True):
            n_out = (side + 2 * int(near) - kernel) // 2 + 1
            if n_out < 1:  # PyTorch says so in the words that are known
                return conv._conv_forward(x, self._whole, self._bias)
            # All blocks that a kernel touches, which may be fewer pixels than there are.
            length = 2 * (n_out - 1) + kernel + kernel % 2
            margins = [int(near), length - side - int(near), *margins]
        # The format of either would be that of the result.
        layout = memory_format_of(x)
        self._weight = self._weight.contiguous(memory_format=layout)
        blocks = F.pixel_unshuffle(F.pad(x, margins), 2).contiguous(memory_format=layout)
        return F.conv2d(blocks, self._weight, self._bias)


def _is_plain(attention: nn.MultiheadAttention) -> bool:
    return (
        attention.batch_first
        and attention._parameters.get("in_proj_weight") is not None
        and "weight" in attention.out_proj._parameters
        and attention.bias_k is None
        and not attention.add_zero_attn
    )


class SelfAttention:
    """The forward of a frozen attention of tokens to each other.

    PyTorch puts the tokens in front of the batch. A linear layer with frozen weights multiplies the
    images of such a batch one by one.

    Args:
        attention: the module.
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        self._attention = attention

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, *args: Any, **options: Any
    ) -> Any:
        """Return what tokens (B, N, C) become, and no weights.

        Another question is left to the module: about other keys, masks, or the weights.
        """
        attention = self._attention
        # A mask is a tensor, which has no truth of its own.
        masks = [options.get(name) for name in ("key_padding_mask", "attn_mask")]
        rest = options.get("need_weights", True) or options.get("is_causal", False)
        plain = not args and not rest and all(mask is None for mask in masks)
        if not plain or not (query is key is value) or query.dim() != 3 or query.is_nested:
            return nn.MultiheadAttention.forward(attention, query, key, value, *args, **options)
        n, length, width = query.shape
        heads = attention.num_heads
        projected = F.linear(query, attention.in_proj_weight, attention.in_proj_bias)
        q, k, v = projected.view(n, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(query.shape)
        return F.linear(mixed, attention.out_proj.weight, attention.out_proj.bias), None
