"""Captured activations, and a forward pass that stops after the last layer needed.

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
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lucent.errors import InputError, LayerError, LucentWarning
from lucent.layers import INPUT, Address, LayerNames, pick, unwrap
from lucent.util import kept_buffers

if TYPE_CHECKING:
    from types import TracebackType

    from torch.utils.hooks import RemovableHandle
    from typing_extensions import Self

logger = logging.getLogger(__name__)

# What torch says of an image that does not fit.
_CHANNELS = re.compile(r"to have (\d+) channels, but got (\d+) channels")
_RANK = re.compile(r"input to conv([23])d|weight of size \[(\d+(?:, \d+){3,4})\]")
_TOO_SMALL = ("can't be greater than actual input size", "Output size is too small")

#: A module and which of its calls in one forward pass.
Position = tuple[str, int]


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
    ) -> None:
        self.step = 0
        self.labels: Sequence[str] = ()
        self.state: dict[str, Any] = {}
        self.draws = 1
        self.sample: Tensor | None = None
        self.hand_out: Callable[[Tensor], Tensor] = lambda acts: acts
        self._model = unwrap(model)
        self._names = LayerNames(self._model, aliases)
        self._truncate = truncate
        self._recording = layers is None
        self._resolved: dict[str, Address] = {}
        # Keyed by address, because a layer may be spelt in several ways; a dict keeps the order.
        self._wanted = {self._resolve(layer): None for layer in layers or () if layer != INPUT}
        self._hooks: dict[str, RemovableHandle] = {}
        # What the plan knows: for which layers it is, how often each hooked module runs, and which
        # layers each call gives.
        self._planned: frozenset[Address] = frozenset()
        self._counts: Counter[str] = Counter()
        self._needed: dict[Position, list[Address]] = {}
        self._last: Position | None = None  # the call to stop after
        self._observe: Callable[[str, Any], Any] | None = None  # what the hooks do now
        self._values: dict[Address, Tensor] = {}
        self._warned: set[str] = set()
        self._open = False
        self._network_input: Tensor | None = None
        self._image: Tensor | None = None
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
        self._values = {}
        self._network_input = self._image = None

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
        self._replace = {self._resolve(layer): value for layer, value in (replace or {}).items()}
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
        address = self._resolve(layer)
        if address not in self._values:
            self._add(address, self._network_input)
        return self._values[address]

    def _add(self, address: Address, network_input: Tensor) -> None:
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
        handed_out = self._values
        self._forward(network_input)
        self._values.update(handed_out)

    def _resolve(self, layer: str) -> Address:
        if layer not in self._resolved:
            self._resolved[layer] = self._names.resolve(layer)
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
            if (reason := _misfit(str(failure), image)) is None:
                raise failure
            raise InputError(reason) from failure
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
        for address in self._wanted:
            self._warn_about_calls(address)
            self._needed.setdefault(_position(address, self._counts), []).append(address)
        calls = list(_enumerated(order))
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
        if not self._wanted:
            return
        if not self._planned >= {*self._wanted, *self._replace}:
            self.plan(image)
        given = {_position(a, self._counts): value for a, value in self._replace.items()}
        values: dict[Address, Tensor] = {}
        calls: Counter[str] = Counter()

        def observe(module: str, output: Any) -> Any:
            position = (module, calls[module])
            calls[module] += 1
            output = given.get(position, output)
            last = self._truncate and position == self._last
            for address in self._needed.get(position, ()):
                value = pick(output, address.picks, str(address))
                # A later in-place operation would overwrite it; nothing comes after the last one.
                values[address] = value if last else value.clone()
            if last:
                raise _Stop
            return output if position in given else None

        with self._observing(observe), suppress(_Stop):
            self._model(image)
        if missing := [address for address in self._wanted if address not in values]:
            raise LayerError(
                f"The layer '{missing[0]}' was called when the passes were planned, but not in "
                "this one: the model goes different ways for different images. Pick a layer that "
                "it always calls."
            )
        self._values = {address: self.hand_out(value) for address, value in values.items()}


def _misfit(failure: str, image: Tensor) -> str | None:
    """Tell what to change about an image that a network failed on, None if it fits."""
    size = "x".join(map(str, image.shape[2:]))
    if reason := _wrong_rank(failure, image):
        return reason
    if (found := _CHANNELS.search(failure)) and int(found[2]) == image.shape[1]:
        alpha = "; for one with alpha, put transform.collapse_alpha_random() into the transforms"
        return (
            f"The network takes images of {found[1]} channels, but was given {found[2]} of shape "
            f"{tuple(image.shape)}: make the image with channels={found[1]}"
            f"{alpha if image.shape[1] == 4 else ''}."
        )
    if any(sign in failure for sign in _TOO_SMALL):
        return (
            f"The network cannot take an image of {size} pixels: it becomes smaller than a kernel "
            "on the way. Make the image larger, for example param.image(224), or bring it to a "
            "size with fixed_image_size=224."
        )
    if "shapes cannot be multiplied" in failure:
        return (
            f"The network does not take an image of {size} pixels: a fully connected layer expects "
            "another size. Name the one it was made for in model.spec = ModelSpec(..., "
            f"input_size=(height, width), fixed_size=True). It said: {failure}"
        )
    return None


def _wrong_rank(failure: str, image: Tensor) -> str | None:
    """Tell which image to make for a network of pictures or volumes that was given the other."""
    if (found := _RANK.search(failure)) is None:
        return None
    rank = int(found[1]) + 2 if found[1] else found[2].count(",") + 1
    if {rank, image.dim()} != {4, 5}:
        return None
    make = "param.image(128)" if rank == 4 else "param.image(64, depth=16)"
    return (
        f"The network takes images of {rank} axes, (B, C, {'D, ' * (rank - 4)}H, W), but was given "
        f"the shape {tuple(image.shape)}: make the image with {make}, for example. It said: "
        f"{failure}"
    )


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
