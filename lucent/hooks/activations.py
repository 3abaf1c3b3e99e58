"""Captured activations, and a forward pass that stops after the last layer needed.

`Activations` is what objectives know as `T`. Hooks sit on the layers asked for and on nothing else,
and they act only during a forward pass of `Activations.run`. Before the first real pass, a *plan*
is made: one pass of a single image without gradients, which tells how often and in which order the
layers run. So the real passes know where to stop.
"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lucent.encoders import NamedLatents
from lucent.errors import InputError, LayerError, LucentWarning
from lucent.hooks.axes import KnownLayouts
from lucent.hooks.calls import Position, enumerated, position_of
from lucent.hooks.functions import FunctionCalls
from lucent.hooks.misfit import misfit
from lucent.hooks.parts import attention_part
from lucent.layers import INPUT, Address, LayerNames, pick, run_model, unwrap
from lucent.layouts import Layout
from lucent.util import kept_buffers

if TYPE_CHECKING:
    from types import TracebackType

    from torch.utils.hooks import RemovableHandle
    from typing_extensions import Self

logger = logging.getLogger(__name__)

# Before the first pass.
_NO_IMAGE = torch.empty(0)


class _Stop(BaseException):
    """Ends a forward pass early. A BaseException, because models may catch Exception."""


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
        aliases: further layer names, each with the name it stands for; None takes those of the
            model's spec, if it has one.
        layout: which axis is which, where that cannot be found out: a letter for each axis, N
            batch, C channels, D H W space, L tokens, such as "NHWC". A mapping from layer names to
            such texts is for these layers, whatever is found out.

    Attributes:
        step: number of optimisation steps done so far.
        labels: the model's class names, in the order of its logits.
        state: what objectives keep from step to step.
        draws: how many draws of the transforms the network saw of each image; they are consecutive
            rows of an activation.
        sample: what a stochastic image drew in this step, None for others.
        hand_out: what is done to an activation before anyone gets it; nothing by default.

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
        layout: str | Mapping[str, str] | None = None,
    ) -> None:
        self.step = 0
        self.labels: Sequence[str] = ()
        self.state: dict[str, Any] = {}
        self.draws = 1
        self.sample: Tensor | None = None
        self.hand_out: Callable[[Tensor], Tensor] = lambda acts: acts
        self._model = unwrap(model)
        if self._model is not model:
            inside = type(self._model).__name__
            logger.info("Using the %s inside a %s.", inside, type(model).__name__)
        self._names = LayerNames(self._model, aliases)
        self._named = NamedLatents(self._model)
        self._truncate = truncate
        self._recording = layers is None
        self._resolved: dict[str, Address] = {}
        # Keyed by address, because a layer may be spelt in several ways; a dict keeps the order.
        self._wanted = {
            self._resolve(layer).whole: None for layer in layers or () if layer != INPUT
        }
        given = layout if isinstance(layout, Mapping) else {}
        self._layouts = KnownLayouts(
            self._model,
            {self._resolve(name).whole: letters for name, letters in given.items()},
            layout if isinstance(layout, str) else None,
            lambda image: self._pass(image, {}),
        )
        self._hooks: dict[str, RemovableHandle] = {}
        self._functions: dict[str, str] = {}  # which module calls it, by the name of the call
        # What the plan knows: for which layers it is, how often each hooked module runs, and which
        # layers each call gives.
        self._planned: frozenset[Address] = frozenset()
        self._counts: Counter[str] = Counter()
        self._needed: dict[Position, list[Address]] = {}
        self._last: Position | None = None  # the call to stop after
        # What the hooks do now, with the name of a layer, its inputs and its output.
        self._observe: Callable[[str, Any, Any], Any] | None = None
        self._values: dict[Address, Tensor] = {}
        self._handed_out: dict[Address, Tensor] = {}
        self._ordered: dict[str, Tensor] = {}  # what `channels_first` gave of the last pass
        self._warned: set[str] = set()
        self._open = False
        self._copies = False  # whether the network overwrites what its layers give
        self._network_input = self._image = _NO_IMAGE
        self._replace: Mapping[Address, Tensor] = {}

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
        self._replace, self._planned = {}, frozenset()
        self.clear()
        self._open = False

    def clear(self) -> None:
        """Let go of the last pass, and so of all that autograd keeps for it."""
        self._forget_values()
        self._network_input = self._image = _NO_IMAGE

    def _forget_values(self) -> None:
        self._values, self._handed_out, self._ordered = {}, {}, {}

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
        self._forget_values()
        self._network_input = image
        self._image = image if original is None else original
        self._replace = {self._resolve(layer): value for layer, value in (replace or {}).items()}
        self._forward(image)

    def __call__(self, layer: str) -> Tensor:
        """Return the activation of a layer, or the image before transforms for "input".

        It is what the layer gives; one token of it, `"blocks.6@cls"`, is (B, C), and its grid of
        patches, `"blocks.6@patches"`, is (B, C, H, W).

        Raises:
            LayerError: the layer does not exist, was not reached, or gives no single tensor.
        """
        if self._image is _NO_IMAGE:
            raise LayerError(
                f"There is no activation of {layer!r} yet: call run(image) first, inside the block."
            )
        if layer == INPUT:
            return self._image
        address = self._resolve(layer)
        if address.token is not None or layer in self._named:
            return self.channels_first(layer)
        return self._captured(address)

    def channels_first(self, layer: str) -> Tensor:
        """Return the activation of a layer as (B, C, *spatial), whatever its axes are.

        Tokens become the grid of patches, without those that belong to no place; attention maps are
        (B, heads, queries, keys). Which axis is which is found out by a pass of the first image.

        Raises:
            LayerError: see `__call__`; or the axes cannot be told.
        """
        if layer == INPUT or self._image is _NO_IMAGE:
            return self(layer)
        if layer not in self._ordered:
            if layer in self._named:
                base = self.channels_first(self._named.base(layer))
                self._ordered[layer] = self._named.latents(layer, base)
            else:
                self._ordered[layer] = self._in_order(layer)
        return self._ordered[layer]

    def source(self, layer: str) -> Tensor:
        """Return the activation of a layer, with all its tokens, as the network went on from it."""
        return self._source(self._resolve(layer).whole)

    def layout(self, layer: str) -> Layout:
        """Return which axis of a layer, with all of its tokens, is which.

        Raises:
            LayerError: see `channels_first`.
        """
        address = self._resolve(layer).whole
        return self._layouts.of(address, self._captured(address), self._network_input)

    def ordered(self, layer: str, values: Tensor) -> Tensor:
        """Return numbers like those of `source` as `channels_first` gives a layer's own."""
        address, layout = self._resolve(layer), self.layout(layer)
        if address.token is None:
            return layout.channels_first(values, layer)
        return layout.select(values, address.token, layer)

    def _in_order(self, layer: str) -> Tensor:
        acts = self._captured(self._resolve(layer).whole)
        if acts.dim() < 2 and self._resolve(layer).token is None:
            return acts  # no channels to put first
        return self.ordered(layer, acts)

    def _captured(self, address: Address) -> Tensor:
        if address not in self._handed_out:
            self._handed_out[address] = self.hand_out(self._source(address))
        return self._handed_out[address]

    def _source(self, address: Address) -> Tensor:
        if address not in self._values:
            self._add(address)
        return self._values[address]

    def _add(self, address: Address) -> None:
        """Capture a layer that was not asked for at the beginning, by another pass."""
        if address in self._wanted:
            raise LayerError(f"There is no activation of '{address}': the last pass failed.")
        if not self._recording:
            raise LayerError(
                f"The activation of '{address}' was not asked for, only "
                f"{[*map(str, self._wanted)]}: name it in "
                f"Activations(model, layers=[..., '{address}'])."
            )
        self._wanted[address] = None
        before = self._values
        self._forward(self._network_input)
        self._values.update(before)

    def _resolve(self, layer: str) -> Address:
        if layer not in self._resolved:
            self._resolved[layer] = self._names.resolve(self._named.base(layer))
        return self._resolved[layer]

    @property
    def layers(self) -> frozenset[str]:
        """The layers that are captured; they grow where they are being recorded."""
        return frozenset(map(str, self._wanted))

    def plan(self, image: Tensor) -> None:
        """Find out how often and in which order the layers run.

        This takes one pass of the first image without gradients.

        Raises:
            LayerError: a layer is never called.
        """
        order: list[str] = []
        for address in [*self._wanted, *self._replace]:
            self._hook(address)
        failure: Exception | None = None
        with (
            self._observing(lambda layer, inputs, output: order.append(layer)),
            kept_buffers(self._model),
            torch.no_grad(),
        ):
            try:
                run_model(self._model, image[:1].detach())
            except (RuntimeError, ValueError, AssertionError) as error:
                failure = error
        missing = sorted({*self._hooks, *self._functions} - set(order))
        if failure is not None and missing:
            if (reason := misfit(str(failure), image)) is None:
                raise failure
            raise InputError(reason) from failure
        if missing:
            if missing[0] in self._functions:
                raise self._names.unknown(missing[0])
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
        for address in self._wanted:
            self._warn_about_calls(address)
            self._needed.setdefault(position_of(address, self._counts), []).append(address)
        calls = list(enumerated(order))
        self._last = max(self._needed, key=calls.index, default=None)
        self._planned = frozenset({*self._wanted, *self._replace})

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

    def _hook(self, address: Address) -> None:
        name = address.module
        if address.inside is not None:
            self._functions[name] = address.inside
        elif name not in self._hooks:
            module = self._names.modules[name]
            self._hooks[name] = module.register_forward_hook(
                lambda _module, inputs, output: (
                    self._observe(name, inputs, output) if self._observe else None
                )
            )

    @contextmanager
    def _observing(self, observe: Callable[[str, Any, Any], Any]) -> Iterator[None]:
        self._observe = observe
        try:
            with ExitStack() as stack:
                # Hooks added after the first call of a compiled submodule would silently not fire.
                stack.enter_context(torch.compiler.set_stance("force_eager"))
                if self._functions:
                    modules = {n: self._names.modules[n] for n in self._functions.values()}
                    calls = FunctionCalls(modules, self._function_called)
                    stack.enter_context(calls)
                yield
        finally:
            self._observe = None

    def _function_called(self, name: str, output: Any) -> Any:
        if self._observe is None or name not in self._functions:
            return None
        return self._observe(name, (), output)

    def _forward(self, image: Tensor) -> None:
        if not self._wanted:
            return
        if not self._planned >= {*self._wanted, *self._replace}:
            self.plan(image)
        values = self._pass(image, self._replace)
        if missing := [address for address in self._wanted if address not in values]:
            raise LayerError(
                f"The layer '{missing[0]}' was called when the passes were planned, but not in "
                "this one: the model goes different ways for different images. Pick a layer that "
                "it always calls."
            )
        self._values = values

    def _pass(self, image: Tensor, replace: Mapping[Address, Tensor]) -> dict[Address, Tensor]:
        """Do one pass, up to the last layer needed, and return what the layers gave."""
        values, intact = self._observed_pass(image, replace)
        if not intact:
            self._copies = True
            values, _ = self._observed_pass(image, replace)
        return values

    def _observed_pass(
        self, image: Tensor, replace: Mapping[Address, Tensor]
    ) -> tuple[dict[Address, Tensor], bool]:
        """Return what the layers gave in one pass, and whether nothing overwrote it later."""
        given = {position_of(a, self._counts): value for a, value in replace.items()}
        values: dict[Address, Tensor] = {}
        changes: dict[Address, int] = {}
        calls: Counter[str] = Counter()

        def observe(layer: str, inputs: Any, output: Any) -> Any:
            position = (layer, calls[layer])
            calls[layer] += 1
            output = given.get(position, output)
            last = self._truncate and position == self._last
            goes_on = output
            for address in self._needed.get(position, ()):
                value = self._part(address, inputs, output)
                if last:
                    values[address] = value
                elif value is output and not self._copies and not value.is_inference():
                    # The network goes on from a copy, which it may overwrite. So what it makes of
                    # it has a gradient with respect to what we keep.
                    goes_on = value.clone()
                    values[address], changes[address] = value, value._version
                else:
                    values[address] = value.clone()
            if last:
                raise _Stop
            return None if goes_on is output and position not in given else goes_on

        with self._observing(observe), suppress(_Stop):
            run_model(self._model, image)
        # A module may give a tensor that the network knows by another name and overwrites there.
        return values, all(values[a]._version == count for a, count in changes.items())

    def _part(self, address: Address, inputs: Any, output: Any) -> Tensor:
        modules = [
            self._names.modules[name]
            for name in (address.module, address.module.rpartition(".")[0])
            if name in self._names.modules
        ]
        if modules:
            output, picks = attention_part(modules, inputs, output, address.picks, str(address))
        else:
            picks = address.picks
        return pick(output, picks, str(address))
