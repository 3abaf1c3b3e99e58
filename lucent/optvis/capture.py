"""A step recorded once as a CUDA graph and then replayed.

A step launches some hundred small kernels, and a GPU waits for Python to launch them. A graph
launches them all at once. It repeats what it recorded, on the same memory: no Python runs in it,
no value is read back, and nothing that the host decides can change. So a step is captured only when
all its parts are known to be like that, and after it has been watched doing so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lucent.generators import Generators
from lucent.optvis.objectives import Objective
from lucent.optvis.objectives.base import opaque
from lucent.optvis.objectives.reading import parameter_kinds
from lucent.optvis.param import FunctionImage, Image
from lucent.optvis.transform.base import Scheduled, Transform, flat
from lucent.optvis.transform.kinds import RandomTransform

logger = logging.getLogger(__name__)

#: Steps that are the same before one is recorded: libraries choose their algorithms in the first.
WARM_UP = 3
#: How often what a step computes may change before recording it anew no longer pays.
MOST_CHANGES = 3

_Random = torch.Generator | Generators


class Recorder(Protocol):
    """What can record the work of a device and repeat it."""

    def record(self, work: Callable[[], Tensor], generator: _Random) -> Tensor:
        """Record what the work asks of the device, without doing it, and return its result."""

    def replay(self) -> None:
        """Do what was recorded, on the same memory, with new random numbers."""


class CudaGraph:
    """A CUDA graph as a `Recorder`.

    Args:
        device: that computes the step.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._graph = torch.cuda.CUDAGraph()

    def record(self, work: Callable[[], Tensor], generator: _Random) -> Tensor:
        """Capture the work on a stream of its own."""
        for one in generator if isinstance(generator, Generators) else (generator,):
            self._graph.register_generator_state(one)
        stream = torch.cuda.Stream(self._device)
        # The default mode would forbid other threads to use CUDA meanwhile.
        with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
            return work()

    def replay(self) -> None:
        """Launch the graph."""
        self._graph.replay()


def recorder_for(device: torch.device) -> Recorder | None:
    """Return what records work of a device, None where nothing does."""
    return CudaGraph(device) if device.type == "cuda" else None


class Capture:
    """Decides when a step is recorded, and replays it from then on.

    Args:
        device: that computes the step.
        refusal: why the step cannot be captured, "" where nobody wants it, None if it may be.
        insists: the user asked for it, so a refusal is worth a warning.
    """

    def __init__(self, device: torch.device, refusal: str | None, *, insists: bool = False) -> None:
        self._device, self._insists = device, insists
        self._refusal: str | None = None
        self._signature: Any = None
        self._changes = -1  # the first signature is no change
        self._same = 0
        self._recorder: Recorder | None = None
        self._result: Tensor | None = None
        if refusal is not None:
            self._refuse(refusal)

    def __call__(
        self, work: Callable[[], Tensor], signature: Any, generator: _Random
    ) -> Tensor | None:
        """Do a step by replaying it.

        Args:
            work: does the step.
            signature: what the host decides about it; None keeps this step from being captured.
            generator: that the step draws from.

        Returns:
            The result of the work, in memory that the next step overwrites; None if the step has to
            be done in the ordinary way.
        """
        if self._refusal is not None or signature is None:
            return None
        if signature != self._signature:
            self._change(signature)
            return None
        self._same += 1
        if self._same > WARM_UP and self._recorder is None:
            self._record(work, generator)
        if self._recorder is None:
            return None
        self._recorder.replay()
        return self._result

    def forget(self) -> None:
        """Record anew: the memory that the graph works on has been replaced."""
        self._signature, self._recorder, self._result = None, None, None
        self._changes -= 1

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Watch the last ordinary step before the recording for what a graph cannot contain."""
        if self._refusal is not None or self._same != WARM_UP:
            yield
            return
        with Watch(self._device) as watch:
            yield
        if watch.found is not None:
            self._refuse(watch.found)

    def _change(self, signature: Any) -> None:
        self._signature, self._same, self._recorder = signature, 0, None
        self._changes += 1
        if self._changes > MOST_CHANGES:
            self._refuse("what a step computes keeps changing")

    def _record(self, work: Callable[[], Tensor], generator: _Random) -> None:
        recorder = recorder_for(self._device)
        if recorder is None:
            self._refuse(f"there are no graphs on a device of type {self._device.type!r}")
            return
        try:
            self._result = recorder.record(work, generator)
        except RuntimeError as error:
            self._refuse(str(error))
        else:
            self._recorder = recorder

    def _refuse(self, reason: str) -> None:
        self._refusal = reason
        if not reason:
            return
        level = logging.WARNING if self._insists else logging.INFO
        logger.log(level, "The steps are done one by one, not captured as a graph: %s.", reason)


class Watch(TorchDispatchMode):
    """Notes the first operation in its block that a graph cannot contain.

    Args:
        device: that computes the step.

    Attributes:
        found: what is wrong with it, None if there is none.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.found: str | None = None
        self._device = device

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Do the operation, and look at it."""
        result = func(*args, **(kwargs or {}))
        if self.found is None:
            self.found = self._fault(func, args, tree_leaves((args, kwargs, result)))
        return result

    def _fault(self, func: Any, args: tuple[Any, ...], values: list[Any]) -> str | None:
        if torch.Tag.data_dependent_output in func.tags:
            return f"{func} reads a value back"
        # The tag is on every indexing, but only a mask selects as many as it likes.
        by_index = func.overloadpacket in _BY_INDEX
        masked = by_index and any(index is not None and index.dtype in _MASKS for index in args[1])
        if masked or (torch.Tag.dynamic_output_shape in func.tags and not by_index):
            return f"the size of what {func} does depends on values"
        # A single number of the host goes into the launch of a kernel.
        tensors = [value for value in values if isinstance(value, Tensor) and value.dim() > 0]
        if any(tensor.device.type != self._device.type for tensor in tensors):
            return f"{func} waits for the host, or the host for it"
        return None


_BY_INDEX = {
    torch.ops.aten.index,
    torch.ops.aten.index_put,
    torch.ops.aten.index_put_,
    torch.ops.aten._index_put_impl_,
}
_MASKS = (torch.bool, torch.uint8)


def make_capturable(optimizer: torch.optim.Optimizer) -> bool:
    """Let an optimizer keep its count of steps on the device; tell whether it can.

    Others compute with that count on the host, where a graph would not see it grow.
    """
    if type(optimizer) is torch.optim.SGD:
        return True
    if not all("capturable" in group for group in optimizer.param_groups):
        return False
    for group in optimizer.param_groups:
        group["capturable"] = True
    return True


def refusal(objective: Objective, image: Image, transforms: Transform, trust: bool) -> str | None:
    """Return why a step may not be the same function of tensors every time, None if it is.

    Args:
        objective: of the run.
        image: of the run.
        transforms: of the run.
        trust: functions of the user, of which nothing is known.
    """
    return _of_objective(objective, trust) or (
        _of_transforms(transforms, trust) or (None if trust else _of_image(image))
    )


def _of_objective(objective: Objective, trust: bool) -> str | None:
    for term in objective.terms:
        if term.schedule is not None:
            return "the weight of a term changes from step to step"
        if not trust and (term.score is opaque or _reads_freely(term.score)):
            return f"the objective {objective!r} is a function of your own (capture=True trusts it)"
        for _, value in term.arguments:
            if isinstance(value, Objective) and (reason := _of_objective(value, trust)):
                return reason
    return None


def _reads_freely(score: Callable[..., Tensor]) -> bool:
    """Whether a score gets all of `T`, the step among it, and is not one of lucent's."""
    own = score.__module__.partition(".")[0] == __name__.partition(".")[0]
    return not own and "T" in parameter_kinds(score).values()


def _of_transforms(transforms: Transform, trust: bool) -> str | None:
    for transform in flat(transforms):
        if isinstance(transform, Scheduled):
            return "the transforms change from step to step"
        known = isinstance(transform, RandomTransform) or (
            isinstance(transform, nn.Module) and type(transform).__module__.startswith("torch.nn.")
        )
        if not known and not trust:
            return f"the transform {transform!r} is a function of your own (capture=True trusts it)"
    return None


def _of_image(image: Image) -> str | None:
    for part in image.modules():
        source = getattr(part, "image_f", None)
        function = source is not None and not isinstance(source, nn.Module)
        if isinstance(part, FunctionImage) or function:
            return "the parametrization is a function of your own (capture=True trusts it)"
    return None
