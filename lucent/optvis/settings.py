"""Options of a run, and the optimizer it takes by default."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from lucent.errors import InputError
from lucent.modelzoo.spec import ModelSpec

OptimizerFactory = Callable[[list[Tensor]], torch.optim.Optimizer]
Precision = Literal["fp32", "tf32", "bf16"]

# Where PyTorch has an Adam that is one kernel.
_FUSED_ON = {"cpu", "cuda"}


def adam(params: list[Tensor]) -> torch.optim.Optimizer:
    """Return Lucid's and torch-lucent's default optimizer, Adam with learning rate 0.05."""
    # It takes the memory of a tensor for one piece, whatever the strides say.
    fused = all(
        p.device.type in _FUSED_ON and p.is_floating_point() and p.is_contiguous() for p in params
    )
    return torch.optim.Adam(params, lr=0.05, fused=fused or None)


@dataclass(frozen=True)
class RunSettings:
    """Options of a run.

    Attributes:
        steps: number of steps after which the iteration ends; None goes on.
        seed: of the run's own draws; None takes one from PyTorch's global generator. A sequence has
            one for each image of the batch, which then draws what it would draw alone.
        relu_override: redirect the gradient of ReLUs for the first 17 steps, so that dead units
            start; `render_vis` does so by default.
        preprocess: normalise as the model's spec says.
        draws: independent draws of the transforms per step; the network sees each image so often,
            and scores are means over the draws.
        spec: facts about the model; None finds them.
        precision: of the network's arithmetic: "bf16" computes its products in bfloat16, "tf32"
            rounds their factors to 10 bits on a GPU that can, "fp32" forbids that; None is what
            PyTorch is set to. The image, its transforms and the scores stay in single precision.
        channels_last: give the network images whose channels lie side by side in memory, which
            convolutions compute faster; None does so where there are any.
        capture: record a step on a CUDA device as a graph and replay it, which takes a fraction of
            the time; None does so where all parts of the step are known to repeat, True also with
            functions and classes of your own, which must then neither draw from other generators
            nor count steps, False never. What cannot be captured runs step by step, and the log
            says why.
        layout: which axis of a layer is which, where that cannot be found out; see `Activations`.

    Raises:
        InputError: an option has a value that it cannot have.
    """

    steps: int | None = None
    seed: int | Sequence[int] | None = None
    relu_override: bool = False
    preprocess: bool = True
    draws: int = 1
    spec: ModelSpec | None = None
    precision: Precision | None = None
    channels_last: bool | None = None
    capture: bool | None = None
    layout: str | Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if (
            isinstance(self.draws, bool)
            or not isinstance(self.draws, numbers.Integral)
            or self.draws < 1
        ):
            raise InputError(f"draws={self.draws!r} has to be a whole number of at least 1.")
        several = isinstance(self.seed, Sequence) and not isinstance(self.seed, str)
        seeds: Any = self.seed if several else [0 if self.seed is None else self.seed]
        if not seeds or not all(isinstance(seed, numbers.Integral) for seed in seeds):
            raise InputError(
                f"seed={self.seed!r} has to be a whole number, a list of them with one for each "
                "image of the batch, or None."
            )
        if self.precision not in (None, *get_args(Precision)):
            raise InputError(
                f"precision={self.precision!r} is unknown: it is 'fp32', 'tf32', 'bf16', or None "
                "for what PyTorch is set to."
            )


DEFAULT_SETTINGS = RunSettings()


@contextmanager
def tf32(allowed: bool | None) -> Iterator[None]:
    """Allow or forbid CUDA to round factors of float32 products to 10 bits; None changes nothing.

    Args:
        allowed: in matrix products and convolutions alike.
    """
    if allowed is None:
        yield
        return
    products: Any = torch.backends.cuda.matmul
    convolutions: Any = torch.backends.cudnn
    # From PyTorch 2.9 on the old switches cannot be read once the new ones were used.
    if hasattr(products, "fp32_precision"):
        switches, name = [products, convolutions.conv], "fp32_precision"
        value: Any = "tf32" if allowed else "ieee"
    else:
        switches, name, value = [products, convolutions], "allow_tf32", allowed
    before = [getattr(switch, name) for switch in switches]
    try:
        for switch in switches:
            setattr(switch, name, value)
        yield
    finally:
        for switch, old in zip(switches, before, strict=True):
            setattr(switch, name, old)
