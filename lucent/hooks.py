"""Layer names, captured activations, and a forward pass that stops after the last layer needed.

`Activations` is what objectives know as `T`. Hooks sit on the layers asked for and on nothing else,
and they act only during a forward pass of `Activations.run`. Before the first real pass, a *plan*
is made: one pass of a single image without gradients, which tells how often and in which order the
layers run. So the real passes know where to stop.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lucent.errors import InputError, LayerError, LucentWarning, suggestion
from lucent.util import frozen_eval, kept_buffers

if TYPE_CHECKING:
    from types import TracebackType

    from torch.utils.hooks import RemovableHandle
    from typing_extensions import Self

logger = logging.getLogger(__name__)

#: Names that are not layers: the image before transforms, and the class logits.
INPUT, LABELS = "input", "labels"

#: A module and which of its calls in one forward pass.
Position = tuple[str, int]

_ADDRESS = re.compile(r"^(?P<module>.*?)(?:#(?P<call>\d+))?(?P<picks>(?:\[[^\[\]]+\])*)$")
_PICK = re.compile(r"\[([^\[\]]+)\]")


class _Stop(BaseException):
    """Ends a forward pass early. A BaseException, because models may catch Exception."""


@dataclass(frozen=True)
class Address:
    """One layer output: the n-th call of a module, and the way from its output to a tensor."""

    module: str
    call: int | None = None
    picks: tuple[str, ...] = ()


class LayerNames:
    """The layer names of a model: dotted names, torch-lucent's underscore names, and extra aliases.

    Args:
        model: the network, unwrapped.
        aliases: further names, each with the name it stands for ("" is the model's own output).
    """

    def __init__(self, model: nn.Module, aliases: Mapping[str, str] | None = None) -> None:
        self.modules = dict(model.named_modules(remove_duplicate=False))
        self._aliases = {LABELS: "", **(aliases or {})}
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
        picks = tuple(pick.strip("'\"") for pick in _PICK.findall(match["picks"]))
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


class Activations:
    """The activations of one forward pass, by layer name.

    Use it as a context manager: leaving the block removes every hook, also after an exception.

    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten())
    >>> with Activations(model, ["1"]) as T:
    ...     T.run(torch.zeros(2, 3, 8, 8))
    ...     T("1").shape
    torch.Size([2, 4, 6, 6])

    Args:
        model: the network; DataParallel and compiled wrappers are looked through.
        layers: the layers needed. None records which ones are asked for: a layer that was not
            captured is then hooked, and the pass repeated on the same input.
        truncate: stop the forward pass after the last layer needed.
        aliases: further layer names, each with the name it stands for.

    Attributes:
        step: number of optimisation steps done so far.
        labels: the model's class names, in the order of its logits.
        state: what objectives keep from step to step.
        sample: what a stochastic image drew in this step.

    Raises:
        LayerError: a layer does not exist.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Iterable[str] | None,
        *,
        truncate: bool = True,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self.step = 0
        self.labels: Sequence[str] = ()
        self.state: dict[str, Any] = {}
        self.sample: Tensor | None = None
        self._model = unwrap(model)
        self._names = LayerNames(self._model, aliases)
        self._truncate = truncate
        self._recording = layers is None
        self._addresses = {
            layer: self._names.resolve(layer)
            for layer in dict.fromkeys(layers or ())
            if layer != INPUT
        }
        self._hooks: dict[str, RemovableHandle] = {}
        self._planned: frozenset[str] = frozenset()  # the layers that the plan knows about
        self._counts: Counter[str] = Counter()  # how often each hooked module runs, once planned
        self._needed: dict[
            Position, list[str]
        ] = {}  # the layers that each call gives, once planned
        self._last: Position | None = None  # the call to stop after
        self._observe: Callable[[str, Any], Any] | None = None  # what the hooks do now
        self._values: dict[str, Tensor] = {}
        self._warned: set[str] = set()
        self._open = False
        self._network_input: Tensor | None = None
        self._image: Tensor | None = None
        self._replace: Mapping[str, Tensor] = {}

    def __enter__(self) -> Self:
        self._open = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for hook in self._hooks.values():
            hook.remove()
        self._hooks.clear()
        self._values, self._replace, self._planned = {}, {}, frozenset()
        self._network_input = self._image = None
        self._open = False

    def run(
        self,
        image: Tensor,
        replace: Mapping[str, Tensor] | None = None,
        *,
        original: Tensor | None = None,
    ) -> None:
        """Do one forward pass and keep the outputs of the layers.

        Args:
            image: what the network takes, (B, C, H, W).
            replace: values to go on with in place of the outputs of these layers.
            original: what `T("input")` gives, the image before transforms; by default `image`.

        Raises:
            LayerError: this is outside of the `with` block, or a layer is not reached.
        """
        if not self._open:
            raise LayerError("Activations hook a model only inside `with Activations(...) as T:`.")
        self._values = {}
        self._network_input = image
        self._image = image if original is None else original
        self._replace = replace or {}
        self._forward(image)

    def __call__(self, layer: str) -> Tensor:
        """Return the activation of a layer, or the image before transforms for "input".

        Raises:
            LayerError: the layer does not exist, was not reached, or gives no single tensor.
        """
        if self._image is None or self._network_input is None:
            raise LayerError(
                f"There is no activation of {layer!r} yet: call run(image) first, inside the block."
            )
        if layer == INPUT:
            return self._image
        if layer not in self._values:
            if not self._recording:
                raise LayerError(
                    f"The activation of {layer!r} was not asked for, only {sorted(self._values)}: "
                    f"name it in Activations(model, layers=[..., {layer!r}])."
                )
            self._addresses[layer] = self._names.resolve(layer)
            handed_out = self._values
            self._forward(self._network_input)
            self._values.update(handed_out)
        return self._values[layer]

    @property
    def layers(self) -> frozenset[str]:
        """The layers that are captured; they grow where they are being recorded."""
        return frozenset(self._addresses)

    def plan(self, image: Tensor) -> None:
        """Find out how often and in which order the layers run.

        This takes one pass of the first image without gradients.

        Raises:
            LayerError: a layer is never called.
        """
        order: list[str] = []
        for address in [*self._addresses.values(), *map(self._names.resolve, self._replace)]:
            self._hook(address.module)
        failure: Exception | None = None
        with (
            self._observing(lambda module, output: order.append(module)),
            kept_buffers(self._model),
            torch.no_grad(),
        ):
            try:
                self._model(image[:1].detach())
            except (RuntimeError, ValueError, AssertionError) as error:
                failure = error
        missing = sorted(set(self._hooks) - set(order))
        if failure is not None and missing:
            raise failure
        if missing:
            raise LayerError(
                f"The layer {missing[0]!r} is never called in a forward pass of this model. It is "
                "unused in eval mode, or a container whose parts the model calls one by one: pick "
                "one of those."
            )
        if failure is not None:
            # The head of a network may refuse the size of this image; all the layers needed came
            # before it.
            logger.info(
                "The forward pass fails after the last layer needed, which does no harm: %s",
                failure,
            )
        self._set_plan(order)

    def _set_plan(self, order: list[str]) -> None:
        self._counts, self._needed = Counter(order), {}
        for layer, address in self._addresses.items():
            self._warn_about_calls(address)
            self._needed.setdefault(_position(address, self._counts), []).append(layer)
        calls = list(_enumerated(order))
        self._last = max(self._needed, key=calls.index, default=None)
        self._planned = frozenset({*self._addresses, *self._replace})

    def _warn_about_calls(self, address: Address) -> None:
        name, n_calls = address.module, self._counts[address.module]
        if address.call is None and n_calls > 1 and name not in self._warned:
            self._warned.add(name)
            names = ", ".join(f"'{name}#{n}'" for n in range(n_calls))
            warnings.warn(
                f"The layer {name!r} is called {n_calls} times per forward pass; its last call is "
                f"used. Choose one by its number: {names}.",
                LucentWarning,
                stacklevel=2,
            )

    def _hook(self, name: str) -> None:
        if name not in self._hooks:
            module = self._names.modules[name]
            self._hooks[name] = module.register_forward_hook(
                lambda _module, _inputs, output: (
                    self._observe(name, output) if self._observe else None
                )
            )

    @contextmanager
    def _observing(self, observe: Callable[[str, Any], Any]) -> Iterator[None]:
        self._observe = observe
        try:
            # Hooks added after the first call of a compiled submodule would silently not fire.
            with torch.compiler.set_stance("force_eager"):
                yield
        finally:
            self._observe = None

    def _forward(self, image: Tensor) -> None:
        if not self._addresses:
            return
        if not self._planned >= {*self._addresses, *self._replace}:
            self.plan(image)
        given = {
            _position(self._names.resolve(k), self._counts): value
            for k, value in self._replace.items()
        }
        values: dict[str, Tensor] = {}
        calls: Counter[str] = Counter()

        def observe(module: str, output: Any) -> Any:
            position = (module, calls[module])
            calls[module] += 1
            output = given.get(position, output)
            last = self._truncate and position == self._last
            for layer in self._needed.get(position, ()):
                value = _pick(output, self._addresses[layer].picks, layer)
                # A later in-place operation would overwrite the value; nothing comes after the last
                # layer.
                values[layer] = value if last else value.clone()
            if last:
                raise _Stop
            return output if position in given else None

        with self._observing(observe), suppress(_Stop):
            self._model(image)
        if missing := sorted(self._addresses.keys() - values.keys()):
            raise LayerError(
                f"The layer {missing[0]!r} ran when the passes were planned, but not in this one."
            )
        self._values = values


def _enumerated(order: Iterable[str]) -> Iterator[Position]:
    """Yield each name of a sequence with the number of times it came before."""
    seen: Counter[str] = Counter()
    for name in order:
        yield name, seen[name]
        seen[name] += 1


def _position(address: Address, counts: Mapping[str, int]) -> Position:
    name, n_calls = address.module, counts[address.module]
    if address.call is not None and address.call >= n_calls:
        raise LayerError(
            f"The layer {name!r} is called {n_calls} time(s) per forward pass, so "
            f"'{name}#{address.call}' does not exist: the last call is '{name}#{n_calls - 1}'."
        )
    return name, n_calls - 1 if address.call is None else address.call


def _pick(output: Any, picks: Sequence[str], layer: str) -> Tensor:
    """Follow the keys of an address into the output of a layer."""
    for pick in picks:
        output = _item(output, pick, layer)
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
