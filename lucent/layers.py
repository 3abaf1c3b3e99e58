"""Layer names, and the way from the output of a layer to one tensor."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lucent.errors import InputError, LayerError, suggestion
from lucent.util import frozen_eval

logger = logging.getLogger(__name__)

#: Names that are not layers: the image before transforms, and the class logits.
INPUT, LABELS = "input", "labels"

_ADDRESS = re.compile(r"^(?P<module>.*?)(?:#(?P<call>\d+))?(?P<picks>(?:\[[^\[\]]+\])*)$")
_PICK = re.compile(r"\[([^\[\]]+)\]")


@dataclass(frozen=True)
class Address:
    """One layer output: the n-th call of a module, and the way from its output to a tensor."""

    module: str
    call: int | None = None
    picks: tuple[str, ...] = ()

    def __str__(self) -> str:
        call = "" if self.call is None else f"#{self.call}"
        # The model itself has the empty name; what it gives is known as its labels.
        return (self.module or LABELS) + call + "".join(f"[{key}]" for key in self.picks)


class LayerNames:
    """The layer names of a model: dotted names, torch-lucent's underscore names, and extra aliases.

    Args:
        model: the network, unwrapped.
        aliases: further names, each with the name it stands for ("" is the model's own output);
            None takes those of the model's spec, if it has one.
    """

    def __init__(self, model: nn.Module, aliases: Mapping[str, str] | None = None) -> None:
        self.modules = dict(model.named_modules(remove_duplicate=False))
        if aliases is None:
            aliases = getattr(getattr(model, "spec", None), "layer_aliases", {})
        self._aliases = {LABELS: "", **aliases}
        self._underscored: dict[str, list[str]] = {}
        for name in self.modules:
            if "." in name:
                self._underscored.setdefault(name.replace(".", "_"), []).append(name)

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.modules if name)

    def resolve(self, layer: str) -> Address:
        """Return the address that a layer name stands for.

        Args:
            layer: `name`, `name#call` for one call of a shared module, `name[0]` or `name[key]` for
                a part of a tuple, dict or dataclass.

        Raises:
            LayerError: no layer has that name, or two have.
        """
        match = _ADDRESS.match(layer.strip())
        if match is None:
            raise self._unknown(layer)
        call = match["call"]
        picks = tuple(key.strip("'\"") for key in _PICK.findall(match["picks"]))
        return Address(self._module(match["module"]), None if call is None else int(call), picks)

    def _module(self, name: str) -> str:
        name = self._aliases.get(name, name)
        if name in self.modules:
            return name
        candidates = self._underscored.get(name, [])
        if len(candidates) > 1:
            raise LayerError(
                f"The layer name {name!r} is ambiguous: it stands for "
                f"{' and '.join(map(repr, candidates))}. Type the dotted name."
            )
        if not candidates:
            raise self._unknown(name)
        return candidates[0]

    def _unknown(self, name: str) -> LayerError:
        hint = suggestion(name, [*self, *self._underscored, *self._aliases])
        return LayerError(
            f"There is no layer {name!r} in this model. "
            f"{hint}{' ' if hint else ''}lucent.modelzoo.util.get_model_layers(model) lists all "
            "of them."
        )


def unwrap(model: nn.Module) -> nn.Module:
    """Return the network inside DataParallel, DistributedDataParallel and torch.compile wrappers.

    Hooks under DataParallel would fire in every worker thread, and hooks added after the first call
    of a compiled module never fire.

    Raises:
        InputError: the model is a ScriptModule, whose submodules do not call hooks.
    """
    while True:
        inner = getattr(model, "_orig_mod", None)
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            break
        logger.info("Using the %s inside a %s.", type(inner).__name__, type(model).__name__)
        model = inner
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError(
            f"{type(model).__name__} is a TorchScript module: its layers cannot be hooked. Pass "
            "the Python module that it was made from."
        )
    return model


def pick(output: Any, picks: Sequence[str], layer: str) -> Tensor:
    """Follow the keys of an address into the output of a layer."""
    for key in picks:
        output = _item(output, key, layer)
    if isinstance(output, Tensor):
        return output
    ways = "".join(f"\n  {layer}[{key}]: {_describe(value)}" for key, value in _items(output))
    raise LayerError(
        f"The layer {layer!r} gives {_describe(output)}, not one tensor. "
        + (
            f"Pick a part of it by name:{ways}"
            if ways
            else "Pick a layer inside it, or the one after it."
        )
    )


def _item(output: Any, pick: str, layer: str) -> Any:
    for key, value in _items(output):
        if pick == str(key):
            return value
    known = ", ".join(str(key) for key, _ in _items(output))
    raise LayerError(
        f"The layer {layer!r} has no part [{pick}]: {_describe(output)} has {known or 'no parts'}."
    )


def _items(output: Any) -> list[tuple[Any, Any]]:
    if isinstance(output, Mapping):
        return list(output.items())
    if isinstance(output, tuple | list):
        return list(enumerate(output))
    if is_dataclass(output):
        return [(field.name, getattr(output, field.name)) for field in fields(output)]
    return []


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"


def layer_table(model: nn.Module, image: Tensor) -> list[tuple[str, str, tuple[int, ...] | None]]:
    """Return (name, type, output shape) of every layer.

    Args:
        model: the network.
        image: what the network takes, (B, C, H, W).

    Returns:
        One row per layer in the order of `named_modules()`; the shape is that of the last call,
        None for a layer that is not called or whose output is not one tensor.
    """
    model = unwrap(model)
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, output: Any) -> None:
        if isinstance(output, Tensor):
            shapes[name] = tuple(output.shape)

    named = [(name, module) for name, module in model.named_modules() if name]
    hooks = [
        module.register_forward_hook(lambda _m, _i, output, name=name: note(name, output))
        for name, module in named
    ]
    try:
        with frozen_eval(model), torch.no_grad(), torch.compiler.set_stance("force_eager"):
            model(image)
    finally:
        for hook in hooks:
            hook.remove()
    return [(name, type(module).__name__, shapes.get(name)) for name, module in named]
