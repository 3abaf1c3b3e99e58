"""Where the units of a layer are before the last rectifier, below which a layer shows nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lucent.hooks.functions import FunctionCalls
from lucent.layers import run_model
from lucent.util import frozen_eval

#: What autograd calls functions that make everything below some value equal.
_RECTIFIERS = ("ReluBackward", "ThresholdBackward", "HardtanhBackward", "Clamp")
#: What leaves every number in its channel.
_PASSING = ("CloneBackward", "AliasBackward", "ToCopyBackward")
_JOINING, _SPLITTING = "CatBackward", "SplitWithSizesBackward"


#: What is computed in a pass: a node of autograd, and which of its outputs.
_Value = tuple[Any, int]


class _Given(NamedTuple):
    """What a call of a module or a function gave."""

    name: str
    call: int
    channels: int
    first: int = 0  # of the channels that are meant


def before_rectifiers(
    model: nn.Module, layer: str, image: Tensor, shape: Sequence[int]
) -> tuple[str, ...]:
    """Return where each unit of a layer is before its rectifier: "layer:unit".

    Of a layer that joins several, each unit is looked for in its own. One that goes through no
    rectifier, or comes from where it has no name, is looked for where it is.

    >>> net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1))
    >>> before_rectifiers(net, "1", torch.zeros(1, 3, 4, 4), (2, 4, 4))
    ('0:0', '0:1')

    Args:
        model: the network, unwrapped.
        layer: the canonical name of one of its modules; others are left as they are.
        image: what the network takes, (1, C, H, W).
        shape: of the layer, (C, *spatial): a layer that gives it in another order is left as it is.

    Returns:
        One address for each channel, nothing for a layer that is left as it is.
    """
    known: dict[_Value, _Given] = {}
    calls: Counter[str] = Counter()
    found: list[Tensor] = []

    def note(name: str, output: Any, of_module: bool) -> None:
        if isinstance(output, Tensor) and output.grad_fn is not None and output.dim() > 1:
            # A module that does nothing but call a function is better known.
            if of_module or _value(output) not in known:
                known[_value(output)] = _Given(name, calls[name], output.shape[1])
            found.extend([output] if name == layer else [])
        calls[name] += 1

    _watched(model, image, note)
    if not found or tuple(found[-1].shape[1:]) != tuple(shape):
        return ()
    sources = [*_sources(_value(found[-1]), known)]
    itself = [known[_value(found[-1])]]
    if sources == itself or sum(source.channels for source in sources) != shape[0]:
        return ()
    return tuple(
        f"{s.name}{f'#{s.call}' if calls[s.name] > 1 else ''}:{unit}"
        for s in sources
        for unit in range(s.first, s.first + s.channels)
    )


def _watched(model: nn.Module, image: Tensor, note: Callable[[str, Any, bool], None]) -> None:
    """Run a network and tell of everything that its modules and their functions give."""
    modules = {name: module for name, module in model.named_modules() if name}

    def function_called(name: str, output: Any) -> None:
        note(name, output, False)

    hooks = [
        module.register_forward_hook(lambda _m, _i, output, name=name: note(name, output, True))
        for name, module in modules.items()
    ]
    try:
        with (
            frozen_eval(model),
            torch.enable_grad(),
            torch.compiler.set_stance("force_eager"),
            FunctionCalls(modules, function_called),
        ):
            # A copy, because a network may write over its input.
            run_model(model, image.detach().requires_grad_().clone())
    finally:
        for hook in hooks:
            hook.remove()


def _value(tensor: Tensor) -> _Value:
    return tensor.grad_fn, tensor.output_nr


def _sources(value: _Value, known: Mapping[_Value, _Given]) -> Iterator[_Given]:
    """Yield what was rectified to a value, in the order of its channels."""
    node, _ = value
    inputs = [parent for parent in node.next_functions if parent[0] is not None]
    kind = node.name()
    if kind.startswith(_JOINING) or (kind.startswith(_PASSING) and len(inputs) == 1):
        for parent in inputs:
            yield from _sources(parent, known)
    elif kind.startswith(_RECTIFIERS) and inputs and (below := _given(inputs[0], known)):
        yield below
    elif value in known:
        yield known[value]


def _given(value: _Value, known: Mapping[_Value, _Given]) -> _Given | None:
    """Return what has a name and gave a value, if anything did."""
    node, number = value
    if value in known or not node.name().startswith(_SPLITTING):
        return known.get(value)
    whole = known.get(node.next_functions[0])
    if whole is None or node._saved_dim != 1:
        return None
    sizes = node._saved_split_sizes
    return whole._replace(channels=sizes[number], first=sum(sizes[:number]))
