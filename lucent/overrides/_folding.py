"""Batch norms of a frozen network folded into the convolutions before them.

Which convolution comes before a norm is seen in a pass. What the convolution gives then is no
longer its own output, so it may go to the norm alone: that is checked by comparing a pass with and
without.
"""

from __future__ import annotations

import logging
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lucent.overrides._frozen import AffineNorm, BlockConvolution, owns_weight
from lucent.overrides._swap import swapped_forward
from lucent.util import memory_format_of

logger = logging.getLogger(__name__)

_CONVOLUTIONS = [conv.forward for conv in (nn.Conv1d, nn.Conv2d, nn.Conv3d)]


@contextmanager
def folded_norms(model: nn.Module, run: Callable[[], Sequence[Tensor]]) -> Iterator[None]:
    """Fold the batch norms of a model into its convolutions inside the block.

    The weights of the convolutions are private copies. A convolution that somebody hooks computes
    what it is, and so does its norm.

    Args:
        model: in eval mode with frozen parameters, inside `frozen_forwards`; its modules are as
            before when the block ends.
        run: does a pass of the model and returns what has to stay the same.
    """
    if not any(isinstance(vars(module).get("forward"), AffineNorm) for module in model.modules()):
        yield
        return
    with torch.no_grad(), ExitStack() as watching:
        run()  # the first time it may do other passes, too
        watched = _Watched(model, watching)
        expected = run()
    with ExitStack() as stack:
        for conv, norm in watched.pairs():
            pair = _Pair(conv, norm)
            stack.enter_context(swapped_forward(conv, pair.convolved))
            stack.enter_context(swapped_forward(norm, pair.normalised))
        with torch.no_grad():
            alike = all(map(_alike, run(), expected))
        if not alike:
            logger.info("Something else than a norm uses what a convolution gives: none is folded.")
            stack.close()
        yield


def _alike(values: Tensor, expected: Tensor) -> bool:
    if not expected.is_floating_point():
        return torch.equal(values, expected)
    # Sums in another order agree in more than half of the digits.
    allowed = expected.abs().amax() * torch.finfo(expected.dtype).eps ** 0.5
    return bool((values - expected).abs().amax() <= allowed)


class _Watched:
    """Finds the norms that get what a convolution gave.

    Args:
        model: the network.
        stack: removes the hooks.
    """

    def __init__(self, model: nn.Module, stack: ExitStack) -> None:
        self._calls: Counter[nn.Module] = Counter()
        self._given: dict[int, tuple[nn.Module, Tensor, int]] = {}
        self._pairs: list[tuple[nn.Module, nn.Module]] = []
        for module in model.modules():
            if isinstance(vars(module).get("forward"), AffineNorm):
                stack.callback(module.register_forward_pre_hook(self._meets).remove)
            elif _is_plain(module) and not _is_looked_at(module):
                stack.callback(module.register_forward_hook(self._gives).remove)

    def _gives(self, conv: nn.Module, inputs: Any, output: Tensor) -> None:
        self._calls[conv] += 1
        self._given[id(output)] = conv, output, output._version

    def _meets(self, norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._calls[norm] += 1
        if (given := self._given.get(id(inputs[0]))) is None:
            return
        conv, output, before = given
        # What was overwritten in between is not what the convolution gave.
        overwritten = output._version - before
        if not overwritten:
            self._pairs.append((conv, norm))

    def pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """Return each convolution with the norm that took its output, both called once."""
        return [pair for pair in self._pairs if all(self._calls[module] == 1 for module in pair)]


def _is_plain(module: nn.Module) -> bool:
    own = vars(module).get("forward")
    return (
        getattr(type(module), "forward", None) in _CONVOLUTIONS
        and (own is None or isinstance(own, BlockConvolution))
        and owns_weight(module)
    )


def _is_looked_at(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._backward_hooks or module._backward_pre_hooks)


class _Pair:
    """The forwards of a convolution that norms its own output, and of the norm after it."""

    def __init__(self, conv: Any, norm: nn.Module) -> None:
        self._conv, self._norm, self._affine = conv, norm, vars(norm)["forward"]
        self._plain = conv.forward
        scale, shift = self._affine.scale, self._affine.shift
        self._scale = scale.view(-1, *[1] * (conv.weight.dim() - 1))
        self._weight: Tensor | None = None  # made in the memory format of the first input
        self._bias = shift if conv.bias is None else shift + scale * conv.bias.detach()
        self._blocks: BlockConvolution | None = None
        if isinstance(self._plain, BlockConvolution):
            self._blocks = BlockConvolution(conv, conv.weight.detach() * self._scale, self._bias)
        self._done: Callable[[], Tensor | None] = lambda: None

    def convolved(self, x: Tensor) -> Tensor:
        """Return what the norm is to give; what the convolution gives if somebody looks at it."""
        if _is_looked_at(self._conv) or self._norm._forward_pre_hooks:
            return self._plain(x)
        output = self._whole(x) if self._blocks is None else self._blocks(x)
        self._done = weakref.ref(output)
        return output

    def _whole(self, x: Tensor) -> Tensor:
        # In the memory format of the input, weights need not be brought to it in every pass.
        layout = memory_format_of(x) if x.dim() == 4 else torch.contiguous_format
        if self._weight is None or not self._weight.is_contiguous(memory_format=layout):
            own = self._conv.weight.detach().clone(memory_format=layout)
            self._weight = own.mul_(self._scale)
        output: Tensor = self._conv._conv_forward(x, self._weight, self._bias)
        return output

    def normalised(self, x: Tensor) -> Tensor:
        """Return what is normed already as it is."""
        return x if self._done() is x else self._affine(x)
