"""The one optimisation loop.

A step: image -> transforms -> the model's preprocessing -> truncated forward -> loss -> gradient
with respect to the image's parameters -> optimizer. `Run` is an iterator over steps; everything
that happens between steps (snapshots, progress, stopping) is the business of whoever iterates it.
"""

from __future__ import annotations

import copy
import numbers
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointError

from lucent.errors import DivergenceError, InputError, LucentError, LucentWarning
from lucent.hooks import Activations
from lucent.layers import unwrap
from lucent.modelzoo.spec import ModelSpec, spec_of
from lucent.optvis.history import History
from lucent.optvis.objectives import Objective
from lucent.optvis.param import Image
from lucent.optvis.transform.base import Transform, at, call, compose
from lucent.overrides import REDIRECTED_STEPS, FunctionalReLUs, redirected_relu
from lucent.util import device_of, dtype_of, frozen_eval

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

OptimizerFactory = Callable[[list[Tensor]], torch.optim.Optimizer]
Callback = Callable[["Run"], None]

_STATE_KEYS = {"step", "image", "optimizer", "generator", "drawn_from", "history", "state"}
#: A NaN is looked for once in so many steps, because looking makes a GPU wait.
CHECK_EVERY = 32


def adam(params: list[Tensor]) -> torch.optim.Optimizer:
    """Return Lucid's and torch-lucent's default optimizer, Adam with learning rate 0.05."""
    return torch.optim.Adam(params, lr=0.05)


@dataclass(frozen=True)
class RunSettings:
    """Options of a run.

    Attributes:
        steps: number of steps after which the iteration ends; None goes on.
        seed: of the run's own draws; None takes one from PyTorch's global generator.
        relu_override: redirect the gradient of ReLUs for the first 17 steps, so that dead units
            start; `render_vis` does so by default.
        preprocess: normalise as the model's spec says.
        draws: independent draws of the transforms per step; the network sees each image so often,
            and scores are means over the draws.
        spec: facts about the model; None finds them.
    """

    steps: int | None = None
    seed: int | None = None
    relu_override: bool = False
    preprocess: bool = True
    draws: int = 1
    spec: ModelSpec | None = None


class Run:
    """Gradient ascent on an image, one step per iteration.

    >>> from lucent.optvis import objectives, param
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    >>> settings = RunSettings(steps=3, seed=0, preprocess=False)
    >>> with Run(model, objectives.channel("0", 2), param.image(16), settings=settings) as run:
    ...     for _ in run:
    ...         pass
    >>> len(run.history.loss)
    3

    Use it as a context manager: inside the block the model is in eval mode and frozen, after it the
    model is as it was. The image moves to the model's device.

    Args:
        model: the network; wrappers are looked through.
        objective: what to look for.
        image: what to optimise.
        transforms: what the image goes through before the network, which includes its size.
        optimizer: makes the optimizer of the list of tensors to optimise.
        settings: everything else.

    Attributes:
        step: number of steps done.
        history: losses and term values so far.
        image: the image being optimised.
        objective: what it is optimised for.
        settings: as given.
        keep_gradient: set it to keep `gradient` from the next step on.
        gradient: of the loss with respect to the image in the last step, of the image's shape.

    Raises:
        InputError: an argument has the wrong type.
        LayerError: the objective names a layer that does not exist.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        image: Image,
        *,
        transforms: Transform | None = None,
        optimizer: OptimizerFactory = adam,
        settings: RunSettings = RunSettings(),
    ) -> None:
        self._model = unwrap(model)
        self.objective, self.image, self.settings = objective, image, settings
        self.step = 0
        self.keep_gradient = False
        self.gradient: Tensor | None = None
        self.history = History(objective.captions())
        self._spec = settings.spec or (
            spec_of(model) if settings.preprocess else ModelSpec(name="")
        )
        self._transforms = compose([]) if transforms is None else transforms
        self._make_optimizer = _checked_factory(optimizer)
        self._acts = Activations(self._model, objective.layers, aliases=self._spec.layer_aliases)
        self._acts.labels = self._spec.labels
        self._acts.draws = _checked_draws(settings.draws)
        self._placed = objective  # with its tensors on the model's device, while the run is open
        self._functional: bool | None = None  # whether the model calls ReLU as a function
        self._stopped = False
        self._stack = ExitStack()
        self._optimizer: torch.optim.Optimizer | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(frozen_eval(self._model))
            stack.enter_context(self._acts)
            device, dtype = device_of(self._model), dtype_of(self._model)
            # An image in half precision would not learn: steps are smaller than its resolution.
            self.image.to(device, torch.float64 if dtype == torch.float64 else None)
            self._placed = self.objective.to(device)
            self._generator = torch.Generator(device)
            seed = self.settings.seed
            self._generator.manual_seed(_random_seed() if seed is None else int(seed) % 2**64)
            self._draw_image(self._generator.get_state())
            self._optimizer = _checked_optimizer(self._make_optimizer(_trainable(self.image)))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
        self._optimizer = None

    def __iter__(self) -> Iterator[Run]:
        return self

    def __next__(self) -> Run:
        """Do one step.

        Raises:
            StopIteration: all steps are done, or `stop` was called.
            DivergenceError: the loss became NaN or infinite within the last 32 steps.
        """
        steps = self.settings.steps
        if self._stopped or (steps is not None and self.step >= steps):
            self.check()
            raise StopIteration
        if self._optimizer is None:
            raise LucentError(
                "The run is not open. Write `with Run(...) as run:` around its steps."
            )
        self._acts.step = self.step
        start, state = self._generator.get_state(), self._acts.state
        self._drawn_from = start
        recorded = len(self.history)

        def closure() -> Tensor:
            # Optimizers that look around (LBFGS) have to see the same function in all of a step.
            self._generator.set_state(start)
            self._acts.state = copy.deepcopy(state)
            loss, values, image = self._loss()
            if len(self.history) == recorded:
                self.history.record(loss, values)
            self._set_gradients(loss, image)
            return loss.detach()

        with self._override():
            self._optimizer.step(closure)  # type: ignore[arg-type]
        self.step += 1
        if self.step % CHECK_EVERY == 0:
            self.check()
        return self

    def iterate(self, callbacks: Iterable[Callback] = ()) -> None:
        """Do all the steps that are left.

        Each callback is called before the first step and after every one. A callback that has a
        method `close` is closed at the end, also after an exception.
        """
        callbacks = list(callbacks)
        with ExitStack() as stack:
            for callback in callbacks:
                if hasattr(callback, "close"):
                    stack.callback(callback.close)
            for callback in callbacks:
                callback(self)
            for _ in self:
                for callback in callbacks:
                    callback(self)

    def stop(self) -> None:
        """End the iteration after this step."""
        self._stopped = True

    def check(self) -> None:
        """Raise a DivergenceError if the loss became NaN or infinite; this waits for the device."""
        self.history.check()

    def snapshot(self) -> Tensor:
        """Return the image as it is now, (B, C, *spatial), detached.

        Raises:
            DivergenceError: the loss or the image became NaN or infinite.
        """
        self.check()
        with torch.no_grad():
            image = self.image().detach().clone()
        if not image.isfinite().all():
            raise DivergenceError(
                f"The image became NaN or infinite by step {self.step}, because a gradient did: "
                "look for a division by zero or the root of zero in the objective, or take a "
                "smaller learning rate."
            )
        return image

    def state_dict(self) -> dict[str, Any]:
        """Return all that a later run needs to go on exactly as this one would, as copies.

        Results are equal bit for bit on one machine with one number of threads. `torch.save` writes
        the state, and `torch.load(path, weights_only=True)` reads it.
        """
        if self._optimizer is None:
            raise LucentError("The run is not open. Call state_dict inside its `with` block.")
        return copy.deepcopy(
            {
                "step": self.step,
                "image": [tensor.detach() for tensor in self.image.trainable()],
                "optimizer": self._optimizer.state_dict(),
                "generator": self._generator.get_state(),
                "drawn_from": self._drawn_from,
                "history": self.history.state_dict(),
                "state": self._acts.state,
            }
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of another run of the same model, objective and image.

        Raises:
            InputError: the state belongs to another objective or to an image of other shapes.
        """
        if self._optimizer is None:
            raise LucentError("The run is not open. Call load_state_dict inside its `with` block.")
        if not isinstance(state, dict) or not state.keys() >= _STATE_KEYS:
            raise InputError("This is no state of a run: give what Run.state_dict returned.")
        state, tensors = copy.deepcopy(state), self.image.trainable()
        shapes, saved = [tuple(t.shape) for t in tensors], [tuple(t.shape) for t in state["image"]]
        if shapes != saved:
            raise InputError(
                f"The state is of an image with parameters of shape {saved}, but this one has "
                f"{shapes}. Make the image with the size and batch of the one saved."
            )
        self.history.load_state_dict(state["history"])
        with torch.no_grad():
            for tensor, value in zip(tensors, state["image"], strict=True):
                tensor.copy_(value)
        self._optimizer.load_state_dict(state["optimizer"])
        self._generator.set_state(state["generator"].cpu())
        self._draw_image(state["drawn_from"].cpu())
        self.step, self._acts.state = state["step"], state["state"]

    def _draw_image(self, start: Tensor) -> None:
        """Draw the image as from this state of the generator, whose own state stays.

        So a snapshot before the first step shows what that step will see, and one of a resumed run
        what the last step saw.
        """
        self._drawn_from, own = start, self._generator.get_state()
        self._generator.set_state(start)
        self.image.draw(self._generator)
        self._generator.set_state(own)

    def _loss(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss, 0-d, the value of each term, (n_terms,), and the image."""
        self.image.draw(self._generator)
        self._acts.sample = self.image.sample
        image = self.image()
        if not isinstance(image, Tensor) or image.dim() < 4:
            raise InputError(
                f"The parametrization gave {_shape_text(image)}; expected a tensor (B, C, H, W)."
            )
        network_input = self._network_input(image.to(device_of(self._model)))
        state = self._acts.state
        while True:
            layers, self._acts.state = self._acts.layers, copy.deepcopy(state)
            with self._functional_override(network_input):
                self._acts.run(network_input, original=image)
            values = self._placed.values(self._acts)
            # A layer that a plain callable asked for in between came from another pass. All of a
            # step comes from one, so that a resumed run repeats it bit for bit.
            if self._acts.layers == layers:
                return self._placed.loss(values, self.step), values, image

    def _network_input(self, image: Tensor) -> Tensor:
        transform = at(self._transforms, self.step)
        draws = [call(transform, image, self._generator) for _ in range(self._acts.draws)]
        image = draws[0] if len(draws) == 1 else _interleaved(draws)
        if self.settings.preprocess:
            image = self._spec.preprocess(image)
        return image.to(dtype_of(self._model))

    @property
    def _redirecting(self) -> bool:
        return self.settings.relu_override and self.step < REDIRECTED_STEPS

    def _override(self) -> AbstractContextManager[None]:
        """Redirect the ReLU modules; it has to last for the backward pass."""
        if not self._redirecting:
            return nullcontext()
        return redirected_relu(self._model, functional=False)

    def _functional_override(self, network_input: Tensor) -> AbstractContextManager[object]:
        """Redirect functional ReLUs of a model that has any, and only while it runs."""
        if not self._redirecting:
            return nullcontext()
        if self._functional is None:
            # The modules are redirected already and so do not count themselves.
            with FunctionalReLUs(redirect=False) as seen:
                self._acts.plan(network_input)
            self._functional = seen.calls > 0
        return FunctionalReLUs() if self._functional else nullcontext()

    def _set_gradients(self, loss: Tensor, image: Tensor) -> None:
        tensors = self.image.trainable()
        sought = [*tensors, image] if self.keep_gradient else tensors
        if not loss.requires_grad:
            raise InputError(
                "The loss does not depend on the image: the objective has to be computed from "
                "T(layer) without detach(), no_grad() or item()."
            )
        try:
            gradients = torch.autograd.grad(loss, sought, allow_unused=True)
        except CheckpointError as error:
            if not self._functional:
                raise
            raise InputError(
                "The model calls ReLU as a function inside torch.utils.checkpoint, where its "
                "gradient cannot be redirected: use relu_override=False."
            ) from error
        for tensor, gradient in zip(tensors, gradients, strict=False):
            tensor.grad = gradient
        if self.keep_gradient:
            self.gradient = gradients[-1]
        if self.step == 0 and not any(g is not None and g.any() for g in gradients):
            self._warn_about_zero_gradient()

    def _warn_about_zero_gradient(self) -> None:
        remedy = (
            "although the redirected ReLU is on: the objective may not depend on the image at "
            "all, or something other than a ReLU holds the gradient back. Try another seed."
            if self.settings.relu_override
            else "so the image cannot change: the unit is dead on the start image. The redirected "
            "ReLU gets it going: relu_override=True."
        )
        warnings.warn(f"The gradient is zero at the start, {remedy}", LucentWarning, stacklevel=2)


def _trainable(image: Image) -> list[Tensor]:
    tensors = image.trainable()
    if not tensors:
        raise InputError(
            f"The image, a {type(image).__name__}, has no parameters: there is nothing to "
            "optimise. Put at least one that has into the stack, such as param.image(128)."
        )
    return tensors


def _checked_factory(optimizer: Any) -> OptimizerFactory:
    if isinstance(optimizer, torch.optim.Optimizer) or not callable(optimizer):
        raise InputError(
            "optimizer has to be a function that makes the optimizer of the image's parameters, "
            f"not a {type(optimizer).__name__}: write optimizer=lambda params: "
            "torch.optim.Adam(params, lr=0.05)."
        )
    return optimizer  # type: ignore[no-any-return]


def _checked_optimizer(optimizer: Any) -> torch.optim.Optimizer:
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise InputError(
            f"The function given as optimizer returned a {type(optimizer).__name__}, no optimizer: "
            "write optimizer=lambda params: torch.optim.Adam(params, lr=0.05)."
        )
    return optimizer


def _checked_draws(draws: int) -> int:
    if isinstance(draws, bool) or not isinstance(draws, numbers.Integral) or draws < 1:
        raise InputError(f"draws={draws!r} has to be a whole number of at least 1.")
    return int(draws)


def _interleaved(draws: list[Tensor]) -> Tensor:
    """Return the draws of each image one after the other, (B * n_draws, C, H, W)."""
    shapes = {tuple(draw.shape) for draw in draws}
    if len(shapes) > 1:
        raise InputError(
            f"The draws of the transforms differ in size, {sorted(shapes)}, and cannot share a "
            "batch: end the transforms with crop_or_pad_to, or use render_vis, where they end at "
            "the size that the network sees."
        )
    return torch.stack(draws, dim=1).flatten(0, 1)


def _random_seed() -> int:
    return int(torch.randint(2**62, (1,)).item())


def _shape_text(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else f"a {type(value).__name__}"
