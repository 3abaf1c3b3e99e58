"""Layer names, and the way from the output of a layer to one tensor."""

from __future__ import annotations

import functools
import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lucent.errors import InputError, LayerError, suggestion
from lucent.layouts import Tracker, count_channels
from lucent.util import frozen_eval

#: Names that are not layers: the image before transforms, and the class logits.
INPUT, LABELS = "input", "labels"

_ADDRESS = re.compile(
    r"^(?P<module>.*?)(?:#(?P<call>\d+))?(?P<picks>(?:\[[^\[\]]+\])*)(?:@(?P<token>\w+))?$"
)
# A call of a function, numbered from the second one on.
_FUNCTION = re.compile(r"(?P<name>[a-z]\w*?)(?:_\d+)?")
_PICK = re.compile(r"\[([^\[\]]+)\]")

# Where PyTorch keeps the modules that compute with integers.
_INTEGER_MODULES = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")


@dataclass(frozen=True)
class Address:
    """One layer output: the n-th call of a module, and the way from its output to a tensor.

    Attributes:
        module: name of a module, or of a function that a module calls.
        call: number of the call; None is the last one.
        picks: keys that lead from what it gives to a tensor.
        token: of a layer of tokens, the one that it is about; None is all of them.
        inside: the module that calls the function, None for a module.
    """

    module: str
    call: int | None = None
    picks: tuple[str, ...] = ()
    token: str | None = None
    inside: str | None = None

    def __str__(self) -> str:
        call = "" if self.call is None else f"#{self.call}"
        token = "" if self.token is None else f"@{self.token}"
        # The model itself has the empty name; what it gives is known as its labels. A part of that
        # is called by its key alone: "labels" may be an alias of one part already.
        module = self.module or ("" if self.picks else LABELS)
        return module + call + "".join(f"[{key}]" for key in self.picks) + token

    @property
    def whole(self) -> Address:
        """The same layer with all of its tokens."""
        return replace(self, token=None)


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
            layer: `name[#call][.key|[key]][@token]`: one call of a shared module; a part of a
                tuple, dict or dataclass; one token of a layer of tokens. A function that a module
                calls is named like a part of it, as in the graph of `torch.fx`: `layer1.0.relu_1`.

        Raises:
            LayerError: no layer has that name, or two have.
        """
        match = _ADDRESS.match(layer.strip())
        if match is None:
            raise self.unknown(layer)
        call = None if match["call"] is None else int(match["call"])
        picks = tuple(key.strip("'\"") for key in _PICK.findall(match["picks"]))
        found = self._module(match["module"])
        if found is None:
            return self._inside(match["module"], call, picks, match["token"])
        if "[" in found:  # an alias of a part
            known = self.resolve(found)
            return replace(known, call=call, picks=(*known.picks, *picks), token=match["token"])
        return Address(found, call, picks, match["token"])

    def _inside(
        self, layer: str, call: int | None, picks: tuple[str, ...], token: str | None
    ) -> Address:
        """Return the address of a function that a module calls, or of a key of what it gives."""
        module, dot, rest = layer.rpartition(".")
        name = self._module(module) if dot else None
        if name is None or not rest.isidentifier():
            raise self.unknown(layer)
        function = _FUNCTION.fullmatch(rest)
        if function and any(hasattr(home, function["name"]) for home in (torch, F, Tensor)):
            return Address(f"{name}.{rest}", call, picks, token, inside=name)
        return Address(name, call, (rest, *picks), token)

    def _module(self, name: str) -> str | None:
        """Return the dotted name of a module, None if there is none; aliases may name a part."""
        name = self._aliases.get(name, name)
        if name in self.modules or "[" in name:
            return name
        candidates = self._underscored.get(name, [])
        if len(candidates) > 1:
            raise LayerError(
                f"The layer name {name!r} is ambiguous: it stands for "
                f"{' and '.join(map(repr, candidates))}. Type the dotted name."
            )
        return candidates[0] if candidates else None

    def unknown(self, name: str) -> LayerError:
        """Return the error about a name that no layer has."""
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
        InputError: the model is a ScriptModule or an exported program, whose submodules do not call
            hooks, or computes with integers, which have no gradient.
    """
    while True:
        inner = getattr(model, "_orig_mod", None)
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            break
        model = inner
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError(
            f"{type(model).__name__} is a TorchScript module: its layers cannot be hooked. Pass "
            "the Python module that it was made from."
        )
    # torch.export puts these in the way of those who would switch modes.
    if isinstance(model, torch.fx.GraphModule) and "eval" in vars(model):
        raise InputError(
            "The model is an exported program, made of single operations: its layers cannot be "
            "hooked. Pass the Python module that it was made from."
        )
    for name, module in model.named_modules():
        kind = type(module)
        # Sums of a network that is prepared for integers, still in floating point.
        in_floats = kind.__name__ in ("FloatFunctional", "FXFloatFunctional")
        if kind.__module__.startswith(_INTEGER_MODULES) and not in_floats:
            raise InputError(
                f"The layer {name!r} ({kind.__name__}) computes with integers, through "
                "which no gradient goes. Pass the floating-point model that this one was converted "
                "from, or the fake-quantised one before convert()."
            )
    return model


def run_model(model: nn.Module, image: Tensor) -> Any:
    """Return what a network makes of an image; of several towers, the one for images runs.

    Networks of transformers take images by the name `pixel_values`.

    Args:
        model: the network.
        image: (B, C, *spatial).
    """
    forward = type(model).forward
    known = _parameters(forward)
    if "pixel_values" not in known or known[1:2] == ("pixel_values",):
        return model(image)
    features = getattr(model, "get_image_features", None)
    if features is not None and "input_ids" in known:
        return features(pixel_values=image)
    return model(pixel_values=image)


@functools.lru_cache(maxsize=64)
def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)


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


class Row(NamedTuple):
    """What is known about a layer.

    Attributes:
        name: its dotted name.
        type: the class of the module.
        shape: of what the last call gave; None for a layer that is not called or gives no tensor.
        channels: how many units there are to ask for; None where the channel axis is not known.
    """

    name: str
    type: str
    shape: tuple[int, ...] | None
    channels: int | None


def layer_table(model: nn.Module, image: Tensor) -> list[Row]:
    """Return what is known about every layer, in the order of `named_modules()`.

    Args:
        model: the network.
        image: what the network takes, (B, C, H, W).
    """
    model = unwrap(model)
    known: dict[str, tuple[tuple[int, ...], int | None]] = {}
    named = [(name, module) for name, module in model.named_modules() if name]
    tracker = Tracker(model, image)

    def note(name: str, inputs: Any, output: Any) -> None:
        tracker.same(output, inputs)
        if isinstance(output, Tensor):
            shape, coordinates = tuple(output.shape), tracker.of(output)
            counted = None if coordinates is None else count_channels(coordinates)
            known[name] = shape, shape[1] if len(shape) == 2 else counted

    hooks = [
        module.register_forward_hook(
            lambda _m, inputs, output, name=name: note(name, inputs, output)
        )
        for name, module in named
    ]
    try:
        with frozen_eval(model), torch.no_grad(), torch.compiler.set_stance("force_eager"), tracker:
            run_model(model, image)
    finally:
        for hook in hooks:
            hook.remove()
    return [Row(name, type(m).__name__, *known.get(name, (None, None))) for name, m in named]


class _Given(NamedTuple):
    """What a module gave: its name and kind, the node of autograd, and the shape."""

    name: str
    leaf: bool
    node: Any
    shape: tuple[int, ...]
    stage: int  # how many modules with weights were called before it gave this


def main_layers(model: nn.Module, image: Tensor) -> tuple[str, ...]:
    """Return the layers that everything passes through, one for each learned stage, in order.

    They are found in the graph of a pass: of a network with skip connections or branches, those
    where all ways from the image to the output meet. A convolution stands for itself, its norm and
    its nonlinearity under the name of the last of these.

    >>> from torch.nn import Conv2d, MaxPool2d, ReLU, Sequential
    >>> net = Sequential(Conv2d(3, 4, 3), ReLU(), MaxPool2d(2), Conv2d(4, 5, 3))
    >>> main_layers(net, torch.zeros(1, 3, 8, 8))
    ('1', '3')

    Args:
        model: the network.
        image: what it takes, (B, C, H, W).

    Raises:
        InputError: no layer was found, as in networks that have no gradients.
    """
    model = unwrap(model)
    given: list[_Given] = []
    output = _traced(model, image, given)
    meeting = set(_meeting_nodes(output.grad_fn))
    stages: dict[int, list[_Given]] = {}
    for one in given:
        if one.node in meeting:
            stages.setdefault(one.stage, []).append(one)
    found = [_representative(stage) for _, stage in sorted(stages.items())]
    # What a block does inside is told by the block.
    names = tuple(n for n in found if not any(n.startswith(f"{block}.") for block in found))
    if not names:
        raise InputError(
            f"No layer of this {type(model).__name__} was found that everything passes through: "
            "name the layers; lucent.layers.layer_table lists them."
        )
    return names


def _traced(model: nn.Module, image: Tensor, given: list[_Given]) -> Tensor:
    """Run the model, note what its modules give, and return the first tensor of its output."""
    stage = 0
    open_calls: list[list[Any]] = []

    def begin(module: nn.Module, inputs: Any) -> None:
        nonlocal stage
        stage += any(weight.dim() > 1 for weight in module.parameters(recurse=False))
        # Now, since a module may overwrite its input.
        open_calls.append([part.grad_fn for part in inputs if isinstance(part, Tensor)])

    def end(name: str, module: nn.Module, _inputs: Any, output: Any) -> None:
        nodes = [None, *open_calls.pop()]
        # Sequences are known by what is in them; what gives back its input is nothing new.
        known = type(module) is nn.Sequential or getattr(output, "grad_fn", None) in nodes
        if name and not known:
            leaf = not any(module.children())
            given.append(_Given(name, leaf, output.grad_fn, tuple(output.shape), stage))

    hooks = [
        hook
        for name, module in model.named_modules()
        for hook in (
            module.register_forward_pre_hook(begin),
            module.register_forward_hook(functools.partial(end, name)),
        )
    ]
    try:
        with frozen_eval(model), torch.enable_grad(), torch.compiler.set_stance("force_eager"):
            output = run_model(model, image.detach().clone().requires_grad_())
    finally:
        for hook in hooks:
            hook.remove()
    parts = [output, *(value for _, value in _items(output))]
    return next(part for part in parts if isinstance(part, Tensor))


def _meeting_nodes(root: Any) -> Iterator[Any]:
    """Yield the nodes of autograd that all ways to a node pass through, from the image on."""
    order: list[Any] = []
    seen: set[Any] = set()
    open_nodes = [] if root is None else [(root, False)]
    while open_nodes:
        node, complete = open_nodes.pop()
        if complete:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            before = [known for known, _ in node.next_functions if known is not None]
            open_nodes += [(node, True), *((known, False) for known in before)]
    users = Counter(known for node in order for known, _ in node.next_functions)
    ways = 0
    for node in order:
        ways -= sum(known is not None for known, _ in node.next_functions)
        if ways == 0:
            yield node
        ways += users[node]


def _representative(stage: Sequence[_Given]) -> str:
    """Return the name of the module that stands for a stage."""
    first = stage[0]
    if first.leaf:
        alike = [one for one in stage if one.shape == first.shape]
    else:  # a block has its own nonlinearities: only what gives the same tensor is its other name
        alike = [one for one in stage if one.node is first.node]
    return alike[-1].name
