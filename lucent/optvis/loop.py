"""The one optimisation loop.

A step: image -> transforms -> the model's preprocessing -> truncated forward -> loss -> gradient
with respect to the image's parameters -> optimizer. `Run` is an iterator over steps; everything
that happens between steps (snapshots, progress, stopping) is the business of whoever iterates it.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lucent.errors import DivergenceError, InputError, LucentError, LucentWarning
from lucent.generators import Generators
from lucent.layers import unwrap
from lucent.optvis.capture import Capture, make_capturable, refusal
from lucent.optvis.forward import Forward
from lucent.optvis.history import History
from lucent.optvis.objectives import Objective
from lucent.optvis.param import Image
from lucent.optvis.settings import (
    DEFAULT_SETTINGS,
    OptimizerFactory,
    RunSettings,
    adam,
    tf32,
)
from lucent.optvis.transform.base import Transform
from lucent.util import frozen_eval

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["CHECK_EVERY", "Callback", "OptimizerFactory", "Run", "RunSettings", "adam"]

Callback = Callable[["Run"], None]

_TF32: dict[str | None, bool] = {"fp32": False, "tf32": True}
_STATE_KEYS = {"step", "image", "optimizer", "generator", "drawn_from", "history", "state"}
#: Options of optimizers that say how to compute a step, not what.
_WAYS = ("capturable", "foreach", "fused")
#: A NaN is looked for once in so many steps, because looking makes a GPU wait.
CHECK_EVERY = 32
_REENTRANT = (
    "The model uses torch.utils.checkpoint with use_reentrant=True, through which gradients of "
    "images cannot be taken: use use_reentrant=False there, or switch checkpointing off."
)


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
        settings: RunSettings = DEFAULT_SETTINGS,
    ) -> None:
        self._model = unwrap(model)
        self.objective, self.image, self.settings = objective, image, settings
        self.step = 0
        self.keep_gradient = False
        self.gradient: Tensor | None = None
        self.history = History(objective.captions())
        self._forward = Forward(model, objective, image, transforms, settings)
        self._make_optimizer = _checked_factory(optimizer)
        self._stopped = False
        self._stack = ExitStack()
        self._optimizer: torch.optim.Optimizer | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(frozen_eval(self._model))
            stack.enter_context(self._forward.open(self.objective))
            self._generator = _generator(self.settings.seed, self._forward.device)
            self._draw_image(self._generator.get_state())
            self._optimizer = _checked_optimizer(self._make_optimizer(_trainable(self.image)))
            self._capture = self._new_capture(self._optimizer)
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
        self._capture.forget()  # a graph holds all the memory that a step needs

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
        self._forward.acts.step = self.step
        self._drawn_from = self._generator.get_state()
        with self._forward.override(), tf32(_TF32.get(self.settings.precision)):
            results = self._capture(self._once, self._signature(), self._generator, self._changing)
            if results is None:
                self._step_by_step()
            else:
                self._keep_replayed(*results)
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
                "state": self._forward.acts.state,
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
        # How it computes is up to this run, whose device may be another one.
        groups = zip(self._optimizer.param_groups, state["optimizer"]["param_groups"], strict=False)
        for own, saved in groups:
            saved.update({name: own[name] for name in _WAYS if name in own})
        self._optimizer.load_state_dict(state["optimizer"])
        self._generator.set_state(state["generator"].cpu())
        self._draw_image(state["drawn_from"].cpu())
        self.step, self._forward.acts.state = state["step"], state["state"]
        self._capture.forget()

    def _draw_image(self, start: Tensor) -> None:
        """Draw the image as from this state of the generator, whose own state stays.

        So a snapshot before the first step shows what that step will see, and one of a resumed run
        what the last step saw.
        """
        self._drawn_from, own = start, self._generator.get_state()
        self._generator.set_state(start)
        self.image.draw(self._generator)
        self._generator.set_state(own)

    def _new_capture(self, optimizer: torch.optim.Optimizer) -> Capture:
        wanted, device = self.settings.capture, self._forward.device
        reason: str | None = ""
        if wanted or (wanted is None and device.type == "cuda"):
            reason = refusal(self.objective, self.image, self._forward.transforms, bool(wanted))
            if not make_capturable(optimizer):
                name = type(optimizer).__name__
                reason = f"the optimizer {name} computes with its count of steps on the host"
        return Capture(device, reason, insists=bool(wanted))

    def _signature(self) -> Any:
        """Return what the host decides about a step; None if the next one is another already."""
        if self._forward.redirecting or self._forward.acts.state or self._optimizer is None:
            return None
        groups = self._optimizer.param_groups
        options = [[v for name, v in group.items() if name != "params"] for group in groups]
        # A callback that assigns to `.data` gives a parameter other memory than a graph writes to.
        places = [tensor.data_ptr() for group in groups for tensor in group["params"]]
        return self.keep_gradient, options, places

    def _changing(self) -> list[Tensor]:
        """Return the tensors that a step changes."""
        states = [] if self._optimizer is None else self._optimizer.state.values()
        kept = [value for state in states for value in state.values() if isinstance(value, Tensor)]
        return [*self.image.trainable(), *kept]

    def _once(self) -> list[Tensor]:
        """Do a step of an optimizer that looks once.

        Returns:
            What the history keeps of it, and the gradient where it is wanted.
        """
        with torch.enable_grad():  # as optimizers do around a closure
            loss, values, image = self._forward(self._generator)
        self._set_gradients(loss, image)
        if self._optimizer is not None:
            self._optimizer.step()
        wanted = [self.gradient] if self.keep_gradient and self.gradient is not None else []
        return [History.row(loss, values), *wanted]

    def _keep_replayed(self, row: Tensor, gradient: Tensor | None = None) -> None:
        # The next replay writes into the same memory.
        self.history.add(row.clone())
        if gradient is not None:
            self.gradient = gradient.clone()

    def _step_by_step(self) -> None:
        acts, recorded = self._forward.acts, len(self.history)
        state = acts.state

        def evaluated() -> Tensor:
            # Optimizers that look around (LBFGS) have to see the same function in all of a step.
            self._generator.set_state(self._drawn_from)
            acts.state = copy.deepcopy(state)
            loss, values, image = self._forward(self._generator)
            if len(self.history) == recorded:
                self.history.add(History.row(loss, values))
            self._set_gradients(loss, image)
            return loss.detach()

        def closure() -> Tensor:
            try:
                return evaluated()
            except RuntimeError as error:
                if not self._forward.gave_up_channels_last(error):
                    raise
            return evaluated()

        with self._capture.rehearsal():
            self._optimizer.step(closure)  # type: ignore[union-attr, arg-type]

    def _set_gradients(self, loss: Tensor, image: Tensor) -> None:
        tensors = self.image.trainable()
        sought = [*tensors, image] if self.keep_gradient else tensors
        if not loss.requires_grad:
            raise InputError(
                "The loss does not depend on the image: the objective has to be computed from "
                "T(layer) without detach(), no_grad() or item(), and a layer inside "
                "torch.utils.checkpoint needs use_reentrant=False there."
            )
        try:
            gradients = torch.autograd.grad(loss, sought, allow_unused=True)
        except RuntimeError as error:
            if "use_reentrant=True" in str(error):
                raise InputError(_REENTRANT) from error
            if not self._forward.redirects_functions or not _is_of_checkpoint(error):
                raise
            raise InputError(
                "The model calls ReLU as a function inside torch.utils.checkpoint, where its "
                "gradient cannot be redirected: use relu_override=False."
            ) from error
        for tensor, gradient in zip(tensors, gradients, strict=False):
            tensor.grad = _laid_out_like(tensor, gradient)
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


def _is_of_checkpoint(error: RuntimeError) -> bool:
    from torch.utils.checkpoint import CheckpointError  # slow to import in older releases

    return isinstance(error, CheckpointError)


def _laid_out_like(tensor: Tensor, gradient: Tensor | None) -> Tensor | None:
    """Return a gradient in the memory layout of its tensor, which fused optimizers rely on."""
    if gradient is None or gradient.stride() == tensor.stride():
        return gradient
    return torch.empty_like(tensor).copy_(gradient)


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


def _generator(
    seed: int | Sequence[int] | None, device: torch.device
) -> torch.Generator | Generators:
    if isinstance(seed, Sequence):
        return Generators(seed, device)
    return torch.Generator(device).manual_seed(
        _random_seed() if seed is None else int(seed) % 2**64
    )


def _random_seed() -> int:
    return int(torch.randint(2**62, (1,)).item())
