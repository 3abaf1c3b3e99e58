"""Doing what a plan says, into a folder that is never wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn
from tqdm.auto import tqdm

from lucent.errors import InputError
from lucent.folders import WorkFolder, begun, read_json, write_json
from lucent.layers import unwrap
from lucent.sweep._ray import on_ray
from lucent.sweep._render import Renderer, Shown, render_batch
from lucent.sweep.plan import Batch, SweepPlan
from lucent.sweep.results import KIND, RECORDS, Record, Sweep
from lucent.util import conditions
from lucent.weights import digest

#: The file of a part that says what its pictures are.
_PART = "records.json"


def run_sweep(
    plan: SweepPlan,
    model: nn.Module,
    out: str | os.PathLike[str],
    *,
    ray: str | None = None,
    progress: bool = False,
) -> Sweep:
    """Render what a plan says, or what is left of it, into a folder.

    >>> import tempfile
    >>> from lucent.modelzoo import synthnet
    >>> from lucent.sweep import SweepSettings, plan_sweep
    >>> settings = SweepSettings(steps=2, size=48, batch_size=2)
    >>> plan = plan_sweep(synthnet(), layers=["mixed4a"], units=[3, 7], settings=settings)
    >>> with tempfile.TemporaryDirectory() as out:
    ...     sweep = run_sweep(plan, synthnet(), out)
    ...     [file.name for file in sweep.files("mixed4a", 7)]
    ['00007.png']

    Killed at any moment and called again, it goes on with the batches that are missing. On one
    machine, with one number of threads, the pictures are those of an unbroken run bit for bit;
    some operations on GPUs add in an order that changes from run to run.

    Args:
        plan: from `plan_sweep`.
        model: the network that it was made for. It comes back as it was, also after an error or
            Ctrl-C.
        out: the folder, a new one or that of the same plan.
        ray: None renders in this process. "local" starts a Ray cluster on this machine, "auto" uses
            the one that this machine belongs to, others are addresses such as "10.0.0.1:6379".
        progress: show a progress bar.

    Raises:
        InputError: the plan is for another network, or something else is in the folder.
        StorageError: there is no room. What is finished stays.
        MissingExtra: `ray` is given, and Ray is not installed.
    """
    if (own := digest(unwrap(model))) != plan.weights:
        raise InputError(
            f"The plan is for {plan.model} with the weights {plan.weights}, but this "
            f"{type(unwrap(model)).__name__} has {own}: load the same network, or make a new plan "
            "with plan_sweep(model) for another folder."
        )
    plan = _same_batches(plan, out)
    place = _here(plan, model) if ray is None else on_ray(plan, model, ray)
    with (
        place as renderer,
        WorkFolder.opened(out, KIND, plan.to_json(), made_with=renderer.conditions) as work,
    ):
        left = plan.without([batch.name for batch in plan.batches if work.done(batch.name)])
        with tqdm(
            total=plan.pictures,
            initial=plan.pictures - left.pictures,
            unit="picture",
            disable=not progress,
        ) as bar:
            for batch, shown in renderer.render(left.batches):
                _write(work, batch, shown)
                bar.update(len(batch.units) * plan.pictures_of(batch.kind))
        if not work.finished:
            work.finish({RECORDS: [*_records(work, plan)]})
    return Sweep.open(out)


def _same_batches(plan: SweepPlan, out: str | os.PathLike[str]) -> SweepPlan:
    """Return the plan with the batches that the folder began with, if "auto" chose others."""
    content = begun(out, KIND)
    before = plan if content is None else SweepPlan.from_json(content)
    return before if plan.asks_for_the_same(before) else plan


@contextmanager
def _here(plan: SweepPlan, model: nn.Module) -> Iterator[Renderer]:
    """Give what renders batches in this process."""

    def render(batches: Sequence[Batch]) -> Iterator[tuple[Batch, Sequence[Shown]]]:
        return ((batch, render_batch(model, plan.settings, batch)) for batch in batches)

    yield Renderer(conditions(model), render)


def _write(work: WorkFolder, batch: Batch, shown: Sequence[Shown]) -> None:
    with work.part(batch.name) as folder:
        records = [_written(one, folder, batch.name).to_json() for one in shown]
        write_json(folder / _PART, records)


def _written(shown: Shown, folder: Path, part: str) -> Record:
    """Write the pictures of a unit; return what there is of it."""
    job, names = shown.job, []
    for n, picture in enumerate(shown.pictures):
        name = f"{job.unit:05d}" + (f"-{n}" if job.kind == "diversity" else "") + ".png"
        (folder / name).write_bytes(picture)
        names.append(f"{part}/{name}")
    return Record(**vars(job), files=tuple(names), scores=shown.scores, error=shown.error)


def _records(work: WorkFolder, plan: SweepPlan) -> Iterator[dict[str, Any]]:
    for batch in plan.batches:
        yield from read_json(work.path / batch.name / _PART)
