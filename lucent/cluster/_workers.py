"""Workers that hold something large and work off tasks, none of them trusted to stay alive."""

from __future__ import annotations

import logging
import warnings
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from lucent.errors import LucentError, LucentWarning

logger = logging.getLogger(__name__)

Task = TypeVar("Task", bound=Hashable)

#: Tasks that a worker is given ahead, so that it does not wait for the next one.
_AHEAD = 2
#: A task that this many workers died of is to blame for it itself.
ATTEMPTS = 5
#: After so many seconds without any worker the log says so.
_PATIENCE = 60.0


@dataclass(eq=False)
class _Worker(Generic[Task]):
    """An actor and what it has to do, in the order in which it does it."""

    actor: Any
    ready: Any
    tasks: dict[Any, Task] = field(default_factory=dict)
    alive: bool = False


class _Died(Exception):
    """A worker is gone, and what it was doing."""


class Workers(Generic[Task]):
    """Actors that work off tasks; the tasks of one that dies go to others.

    Args:
        ray: from `connected`.
        make: starts an actor, which has the methods `ready()`, for what the last bits of its
            results depend on, and `work(task)`.
        count: how many.
    """

    def __init__(self, ray: Any, make: Callable[[], Any], count: int) -> None:
        self._ray, self._make = ray, make
        self._workers: list[_Worker[Task]] = [self._started() for _ in range(count)]
        self._deaths: Counter[Task | None] = Counter()
        self._conditions: Any = None

    def conditions(self) -> Any:
        """Return what the first worker said when it was ready; this waits for it.

        Raises:
            LucentError: no worker can be started.
        """
        while not any(worker.alive for worker in self._workers):
            [*self._wait(deque())]
        return self._conditions

    def close(self) -> None:
        """End all actors."""
        for worker in self._workers:
            self._ray.kill(worker.actor)

    def done(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Any]]:
        """Yield each task with its result, in the order in which they are done.

        Raises:
            LucentError: a task failed, or several workers died of it.
        """
        waiting, n_done = deque(tasks), 0
        while n_done < len(tasks):
            self._hand_out(waiting)
            for result in self._wait(waiting):
                yield result
                n_done += 1

    def _wait(self, waiting: deque[Task]) -> Iterator[tuple[Task, Any]]:
        """Wait for the next thing to happen; yield a task and its result if it is that."""
        happening = {ref: w for w in self._workers for ref in (*w.tasks, w.ready) if ref}
        found, _ = self._ray.wait([*happening], timeout=_PATIENCE)
        if not found:
            if not any(worker.alive for worker in self._workers):
                logger.warning("No worker has started yet: is there room on the cluster?")
            return
        worker, ref = happening[found[0]], found[0]
        try:
            if ref in worker.tasks:
                result = self._result(ref, worker.tasks[ref])
                yield worker.tasks.pop(ref), result
            else:
                self._greet(worker)
        except _Died as death:
            self._bury(worker, waiting, death)

    def _hand_out(self, waiting: deque[Task]) -> None:
        for depth in range(_AHEAD):
            for worker in self._workers:
                if worker.alive and waiting and len(worker.tasks) == depth:
                    task = waiting.popleft()
                    worker.tasks[worker.actor.work.remote(task)] = task

    def _greet(self, worker: _Worker[Task]) -> None:
        conditions = self._result(worker.ready, "The start")
        worker.ready, worker.alive = None, True
        self._deaths[None] = 0
        if self._conditions not in (None, conditions):
            warnings.warn(
                f"The workers differ ({self._conditions} and {conditions}): the last bits of a "
                "result may depend on which of them it comes from.",
                LucentWarning,
                stacklevel=2,
            )
        self._conditions = self._conditions or conditions

    def _bury(self, worker: _Worker[Task], waiting: deque[Task], death: _Died) -> None:
        """Put another worker in the place of a dead one, and what it had to do back to the start.

        Raises:
            LucentError: that was to be expected.
        """
        blamed = next(iter(worker.tasks.values()), None)
        self._deaths[blamed] += 1
        if self._deaths[blamed] >= ATTEMPTS:
            what = "before they did anything" if blamed is None else f"at {blamed}"
            raise LucentError(
                f"{ATTEMPTS} workers died {what}; of the last one Ray says: {death}"
            ) from death
        logger.warning("A worker died (%s): another one takes its place.", death)
        self._ray.kill(worker.actor)  # it may only be out of reach, and would keep its place
        waiting.extendleft(reversed(worker.tasks.values()))
        self._workers[self._workers.index(worker)] = self._started()

    def _started(self) -> _Worker[Task]:
        actor = self._make()
        return _Worker(actor, actor.ready.remote())

    def _result(self, ref: Any, what: object) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(ref)
        except errors.RayTaskError as error:
            if isinstance(error.cause, LucentError):
                raise error.cause from None
            raise LucentError(f"{what} failed on a worker: {error}") from error
        except errors.RayError as error:
            # The first line says what happened, the last one why.
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise _Died(" ... ".join(dict.fromkeys((lines[0], lines[-1])))) from error
