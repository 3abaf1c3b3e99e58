"""Collecting on a Ray cluster, by Ray Data."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from torch import nn

from lucent.cluster._connection import Places, connected, placed, places, sent, shared
from lucent.cluster._workers import ATTEMPTS
from lucent.collect import Collection, CollectSettings, as_source
from lucent.collect.collecting import collect_by
from lucent.collect.plans import CollectPlan, plan_collection
from lucent.collect.shards import ShardWorker
from lucent.collect.sources import Source
from lucent.errors import InputError, LucentError
from lucent.util import optional

if TYPE_CHECKING:
    import pyarrow as pa

#: Yields numbers of shards with their files, contents by name.
Shards = Generator[tuple[int, dict[str, bytes]], None, None]


def collect_on_ray(
    model: nn.Module,
    data: Any,
    out: str | os.PathLike[str],
    *,
    address: str,
    layers: Iterable[str] | None = None,
    settings: CollectSettings | None = None,
    progress: bool = False,
) -> Collection:
    """Collect what a data set does to the layers of a network on a Ray cluster.

    The result is that of `lucent.collect.collect`, which may also go on with it, and this with that
    one. Workers read the images, so each machine needs them under the same paths; what they
    find comes back to this process, which alone writes.

    Args:
        model: see `collect`; workers get a copy.
        data: see `collect`. It has to know its number of images: no streams.
        out: see `collect`.
        address: "local" starts a cluster on this machine, "auto" is the one that it belongs to,
            others are such as "10.0.0.1:6379".
        layers: see `collect`.
        settings: see `collect`.
        progress: show a bar.

    Raises:
        InputError: the data is a stream or cannot be sent to workers, there is no such cluster, or
            see `collect`.
        StorageError: there is no room.
        MissingExtra: Ray or pyarrow is not installed.
    """
    optional("pyarrow", "whole")
    source = as_source(data)
    plan = plan_collection(model, source, layers=layers, settings=settings or CollectSettings())
    if plan.n_shards is None:
        raise InputError(
            "The number of images is not known, so workers cannot divide them: collect them "
            "without Ray, or give data that can be counted, such as a folder."
        )
    with connected(address) as ray:
        where = places(ray)
        what = shared(ray, model), sent(ray, (source, plan), "The data"), where

        def compute(numbers: Iterator[int]) -> Shards:
            return _computed(ray, [*numbers], what)

        return collect_by(compute, model, source, plan, out, progress=progress)


class _Collector:
    """An actor of Ray Data that makes shards.

    Args:
        network: reference to the network.
        given: reference to the source and the plan.
        where: it is.
    """

    def __init__(self, network: Any, given: Any, where: Places) -> None:
        ray = optional("ray", "ray")
        source: Source
        plan: CollectPlan
        source, plan = ray.get(given)
        self._stack = ExitStack()
        worker = ShardWorker(placed(ray.get(network), where), source, plan)
        self._worker = self._stack.enter_context(worker)

    def __call__(self, numbers: pa.Table) -> pa.Table:
        """Return the files of shards, one row for each."""
        rows = []
        for number in numbers["number"].to_pylist():
            files = self._worker.shard(number)
            rows += [
                {"number": number, "of": len(files), "name": name, "content": content}
                for name, content in files.items()
            ]
        return optional("pyarrow", "whole").Table.from_pylist(rows)


def _computed(ray: Any, numbers: list[int], what: tuple[Any, Any, Places]) -> Shards:
    """Yield the files of shards as they come, which is in no order."""
    if not numbers:
        return
    where, items = what[2], [{"number": number} for number in numbers]
    with _quiet(ray):
        found = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            _Collector,
            fn_constructor_args=what,
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=min(where.count, len(items))),
            # Else Ray tries a shard that kills its workers for ever.
            max_task_retries=ATTEMPTS - 1,
            **where.options,
        )
        try:
            yield from _whole(found.iter_batches(batch_size=None, batch_format="pyarrow"))
        except ray.exceptions.RayError as error:
            raise _reason(error) from error


def _whole(tables: Iterable[pa.Table]) -> Shards:
    """Put the rows of a shard together: a large one may come in several blocks."""
    begun: dict[int, dict[str, bytes]] = {}
    for table in tables:
        for row in table.to_pylist():
            files = begun.setdefault(row["number"], {})
            files[row["name"]] = row["content"]
            if len(files) == row["of"]:
                yield row["number"], begun.pop(row["number"])


@contextmanager
def _quiet(ray: Any) -> Iterator[None]:
    """Leave it to the driver to show progress."""
    context, log = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    before = context.enable_progress_bars, log.level
    context.enable_progress_bars = False
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars = before[0]
        log.setLevel(before[1])


def _reason(error: BaseException) -> LucentError:
    """Return the error of lucent that a worker ended with, or one that tells of another."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, LucentError):
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
    return LucentError(f"Collecting failed on a worker: {error}")
