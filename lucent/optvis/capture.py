"""A step recorded once as a CUDA graph and then replayed.

A step launches some hundred small kernels, and a GPU waits for Python to launch them. A graph
launches them all at once. It repeats what it recorded, on the same memory: no Python runs in it,
no value is read back, and nothing that the host decides can change. So a step is captured only when
all its parts are known to be like that, after it has been watched doing so, and after replays have
given what the step itself gives.
"""

from __future__ import annotations

import functools
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
#: Steps that are replayed and also done in the ordinary way: one for the values, and one more to
#: see that the draws go on.
PROOFS = 2
#: How often what a step computes may change before recording it anew no longer pays.
MOST_CHANGES = 3
#: Relative, of a loss: kernels may add in another order. Other draws make more of a difference.
_ROUNDING = 1e-3

_Random = torch.Generator | Generators
#: Does a step and returns what it measured.
Work = Callable[[], list[Tensor]]


class Recorder(Protocol):
    """What can record the work of a device and repeat it."""

    def record(self, work: Work, generator: _Random) -> list[Tensor]:
        """Record what the work asks of the device, without doing it, and return its results."""

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

    def record(self, work: Work, generator: _Random) -> list[Tensor]:
        """Capture the work on a stream of its own."""
        own = [*generator] if isinstance(generator, Generators) else [generator]
        for one in own:
            self._graph.register_generator_state(one)
        drawing = [*own, torch.cuda.default_generators[self._device.index]]
        before = [one.clone_state() for one in drawing]
        try:
            # The default mode would forbid other threads to use CUDA meanwhile.
            with torch.cuda.graph(
                self._graph, stream=_stream(self._device), capture_error_mode="thread_local"
            ):
                return work()
        except RuntimeError:
            # PyTorch leaves generators in a capture that broke off, and they refuse to draw.
            for one, state in zip(drawing, before, strict=True):
                one.graphsafe_set_state(state)
            raise

    def replay(self) -> None:
        """Launch the graph."""
        self._graph.replay()


@functools.cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """Return the one stream to record on: libraries keep a workspace for each that they meet."""
    return torch.cuda.Stream(device)


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
        self._same = self._proofs = 0
        self._recorder: Recorder | None = None
        self._results: list[Tensor] = []
        self._outside: dict[int, torch.UntypedStorage] = {}
        if refusal is not None:
            self._refuse(refusal)

    def __call__(
        self, work: Work, signature: Any, generator: _Random, state: Callable[[], list[Tensor]]
    ) -> list[Tensor] | None:
        """Do a step by replaying it.

        Args:
            work: does the step.
            signature: what the host decides about it; None keeps this step from being captured.
            generator: that the step draws from.
            state: returns the tensors that the step changes.

        Returns:
            The results of the work, in memory that the next step overwrites; None if the step has
            to be done in the ordinary way.
        """
        if self._refusal is not None or signature is None:
            return None
        if signature != self._signature:
            self._change(signature)
            return None
        self._same += 1
        if self._same <= WARM_UP:
            return None
        if self._recorder is None:
            self._record(work, generator)
        if self._recorder is None:
            return None
        if self._proofs < PROOFS:
            return self._prove(self._recorder, work, generator, state())
        self._recorder.replay()
        return self._results

    def forget(self) -> None:
        """Record anew: the memory that the graph works on has been replaced."""
        self._signature, self._recorder, self._results = None, None, []
        self._outside = {}
        self._changes -= 1

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Watch the last ordinary step before the recording for what a graph cannot contain."""
        if self._refusal is not None or self._same != WARM_UP:
            yield
            return
        with Watch(self._device) as watch:
            yield
        # A graph reads the constants of a step also when their cache has let go of them.
        self._outside = watch.outside
        if watch.found is not None:
            self._refuse(watch.found)

    def _change(self, signature: Any) -> None:
        self._signature, self._same, self._recorder = signature, 0, None
        self._changes += 1
        if self._changes > MOST_CHANGES:
            self._refuse("what a step computes keeps changing")

    def _record(self, work: Work, generator: _Random) -> None:
        recorder = recorder_for(self._device)
        if recorder is None:
            self._refuse(f"there are no graphs on a device of type {self._device.type!r}")
            return
        try:
            self._results = recorder.record(work, generator)
        except RuntimeError as error:
            self._refuse(str(error))
        else:
            self._recorder, self._proofs = recorder, 0

    @torch.no_grad()
    def _prove(
        self, recorder: Recorder, work: Work, generator: _Random, state: list[Tensor]
    ) -> list[Tensor]:
        """Replay a step, take that back, do it in the ordinary way, and compare."""
        start, before = generator.get_state(), [tensor.clone() for tensor in state]
        recorder.replay()
        measured, replayed = self._results[0].clone(), [tensor.clone() for tensor in state]
        for tensor, value in zip(state, before, strict=True):
            tensor.copy_(value)
        generator.set_state(start)
        results = work()
        self._proofs += 1
        if not torch.allclose(measured, results[0], rtol=_ROUNDING) or not all(
            map(_nearer_than_before, replayed, state, before)
        ):
            self._recorder = None
            self._refuse("a replay gave other values than the step itself")
        return results

    def _refuse(self, reason: str) -> None:
        self._refusal = reason
        if not reason:
            return
        level = logging.WARNING if self._insists else logging.INFO
        logger.log(level, "The steps are done one by one, not captured as a graph: %s.", reason)


def _nearer_than_before(replayed: Tensor, done: Tensor, before: Tensor) -> bool:
    """Whether two steps from one point ended nearer to each other than to where they began.

    They need not be equal: sums in another order differ in the last digits, and Adam enlarges that
    where a gradient is nearly zero. A step with other draws goes elsewhere.
    """
    distance, length = (replayed - done).double().norm(), (done - before).double().norm()
    return bool(distance <= 0.5 * length)


class Watch(TorchDispatchMode):
    """Notes the first operation in its block that a graph cannot contain.

    Args:
        device: that computes the step.

    Attributes:
        found: what is wrong with it, None if there is none.
        outside: the memory from before the block that operations got, by address.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.found: str | None = None
        self.outside: dict[int, torch.UntypedStorage] = {}
        self._made: set[int] = set()
        self._device = device

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Do the operation, and look at it."""
        result = func(*args, **(kwargs or {}))
        given, returned = tree_leaves((args, kwargs)), tree_leaves(result)
        self.outside |= {at: memory for at, memory in _memory(given) if at not in self._made}
        self._made |= {at for at, _ in _memory(returned)} - self.outside.keys()
        if self.found is None:
            self.found = self._fault(func, args, [*given, *returned])
        return result

    def _fault(self, func: Any, args: tuple[Any, ...], values: list[Any]) -> str | None:
        if torch.Tag.data_dependent_output in func.tags:
            return f"{func} reads a value back"
        # The tag is on every indexing, but only a mask selects as many as it likes.
        by_index = func.overloadpacket in _BY_INDEX
        masked = by_index and any(index is not None and index.dtype in _MASKS for index in args[1])
        if masked or (torch.Tag.dynamic_output_shape in func.tags and not by_index):
            return f"the size of what {func} does depends on values"
        # A single number of the host goes into the launch of a kernel, unless it is to be copied.
        copies = func.overloadpacket in _COPIES
        tensors = [v for v in values if isinstance(v, Tensor) and (copies or v.dim() > 0)]
        if any(tensor.device.type != self._device.type for tensor in tensors):
            return f"{func} waits for the host, or the host for it"
        return None


def _memory(values: list[Any]) -> Iterator[tuple[int, torch.UntypedStorage]]:
    for value in values:
        if isinstance(value, Tensor) and value.layout is torch.strided:
            storage = value.untyped_storage()
            yield storage.data_ptr(), storage


_BY_INDEX = {
    torch.ops.aten.index,
    torch.ops.aten.index_put,
    torch.ops.aten.index_put_,
    torch.ops.aten._index_put_impl_,
}
_COPIES = {torch.ops.aten._to_copy, torch.ops.aten.copy_, torch.ops.aten.copy}
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
        # On other devices optimizers refuse it.
        group["capturable"] = all(tensor.is_cuda for tensor in group["params"])
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
    return not _is_ours(score) and "T" in parameter_kinds(score).values()


def _is_ours(part: Callable[..., Any]) -> bool:
    """Whether a function or class is one of lucent's, which draw from the run's generator alone."""
    return part.__module__.partition(".")[0] == __name__.partition(".")[0]


def _of_transforms(transforms: Transform, trust: bool) -> str | None:
    for transform in flat(transforms):
        if isinstance(transform, Scheduled):
            return "the transforms change from step to step"
        kind = type(transform)
        known = (isinstance(transform, RandomTransform) and _is_ours(kind)) or (
            isinstance(transform, nn.Module) and kind.__module__.startswith("torch.nn.")
        )
        if not known and not trust:
            return f"the transform {transform!r} is one of your own (capture=True trusts it)"
    return None


def _of_image(image: Image) -> str | None:
    for part in image.modules():
        source = getattr(part, "image_f", None)
        function = source is not None and not isinstance(source, nn.Module)
        strange = isinstance(part, Image) and not _is_ours(type(part))
        if isinstance(part, FunctionImage) or function or strange:
            return "the parametrization is one of your own (capture=True trusts it)"
    return None
