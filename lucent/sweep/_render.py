"""A batch of a sweep: from the network and the plan to pictures, without any file."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from lucent.errors import DivergenceError
from lucent.misc.io.pictures import coloured, to_bytes, to_pil
from lucent.modelzoo.spec import ModelSpec
from lucent.optvis import objectives, param
from lucent.optvis.batch import rendered
from lucent.optvis.callbacks import tensor_to_img_array
from lucent.optvis.defaults import Setup, checked_spec, default_image, setup, shown_channels
from lucent.optvis.loop import Run
from lucent.optvis.objectives import Acts, Objective, objective
from lucent.recipes._pictures import activations
from lucent.sweep.plan import Batch, Job
from lucent.sweep.settings import SweepSettings
from lucent.util import forked_rng

#: What a rendering comes to: its picture, (H, W, C) or several of them, or why there is none.
_Outcome = np.ndarray | DivergenceError


@dataclass(frozen=True, eq=False)
class Shown:
    """What became of a unit.

    Attributes:
        job: the unit.
        pictures: PNG files; none if it failed.
        scores: activation of the target on each of these pictures, without transforms.
        error: why there is no picture, None if there is.
    """

    job: Job
    pictures: tuple[bytes, ...] = ()
    scores: tuple[float, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class Renderer:
    """A place where batches are rendered.

    Attributes:
        conditions: what the last bits of its pictures depend on.
        render: yields batches with what became of their units, in the order in which it is done.
    """

    conditions: Mapping[str, Any]
    render: Callable[[Sequence[Batch]], Iterator[tuple[Batch, Sequence[Shown]]]]


def render_batch(model: nn.Module, settings: SweepSettings, batch: Batch) -> list[Shown]:
    """Render the pictures of a batch; a unit whose loss diverges has an error in their place.

    Args:
        model: the network of the plan.
        settings: of the plan, with a size and a preset.
        batch: of the plan.
    """
    wanted = [_wanted(job) for job in batch.jobs]
    if batch.kind == "diversity":
        found = _diverse(model, settings, wanted, batch.seeds)
    else:
        sign = -1 if batch.kind == "negative" else 1
        looked_for = [sign * each for each in wanted]
        found = _rendered(given_setup(model, settings), looked_for, batch.seeds)
    return [*_shown(model, batch.jobs, wanted, found)]


def given_setup(model: nn.Module, settings: SweepSettings, **options: Any) -> Setup:
    """Return what all pictures of a sweep have in common.

    Args:
        model: the network.
        settings: with a size and a preset.
        options: further fields of `RunSettings`.
    """
    spec = checked_spec(model, needed=True)
    return setup(
        model,
        functools.partial(default_image, spec, settings.size),
        None,
        None,
        (settings.steps,),
        seen_size(spec),
        preset=settings.preset,
        precision=settings.precision,
        **{"preprocess": True, "relu_override": True, **options},
    )


def seen_size(spec: ModelSpec) -> str | None:
    """Return the size in which a network sees pictures: their own, if it takes any."""
    return None if spec.fixed_size else "native"


def _wanted(job: Job) -> Objective:
    if job.kind == "neuron":
        return objectives.neuron(job.layer, job.unit)
    layer, _, unit = job.target.rpartition(":")
    return objectives.channel(layer, int(unit))


def _shown(
    model: nn.Module, jobs: Sequence[Job], wanted: Sequence[Objective], found: Sequence[_Outcome]
) -> Iterator[Shown]:
    """Yield what became of each unit, with its score on what the files hold."""
    channels = shown_channels(checked_spec(model, needed=True))
    for job, unit, outcome in zip(jobs, wanted, found, strict=True):
        if isinstance(outcome, DivergenceError):
            yield Shown(job, error=str(outcome))
            continue
        pictures = to_bytes(outcome if outcome.ndim == 4 else outcome[None])
        scores = _scores(model, [unit] * len(pictures), pictures)
        files = map(_png, coloured(pictures, channels=channels, image=True))
        yield Shown(job, tuple(files), tuple(scores))


def _png(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    to_pil(picture).save(file, "PNG")
    return file.getvalue()


def _scores(model: nn.Module, wanted: Sequence[Objective], pictures: np.ndarray) -> list[float]:
    """Return what each objective makes of its picture."""
    seen = pictures.astype(np.float32) / 255
    options = {"fixed_image_size": seen_size(checked_spec(model, needed=True))}
    with activations(model, wanted[0].layers, seen, options) as T:
        return [-each.about(row)(T).item() for row, each in enumerate(wanted)]


def _rendered(given: Setup, wanted: Sequence[Objective], seeds: Sequence[int]) -> list[_Outcome]:
    """Return the picture of each objective, (H, W, C)."""
    found: dict[int, _Outcome] = {}
    for result in rendered(given, wanted, seed=seeds, batch_size=len(wanted)):
        if isinstance(result.error, DivergenceError):
            found[result.index] = result.error
        elif result.error is not None:
            raise result.error
        else:
            found[result.index] = result.images[-1]
    return [found[index] for index in range(len(wanted))]


def _diverse(
    model: nn.Module, settings: SweepSettings, wanted: Sequence[Objective], seeds: Sequence[int]
) -> list[_Outcome]:
    """Return several pictures of each objective, (n, H, W, C).

    A picture of its own, made in half of the steps, tells first how strong the response of each
    unit is: that is the unit in which differences count.
    """
    half = replace(settings, steps=max(1, settings.steps // 2))
    found = _rendered(given_setup(model, half), wanted, seeds)
    alive = {n: outcome for n, outcome in enumerate(found) if isinstance(outcome, np.ndarray)}
    if alive:
        units, plain = [wanted[n] for n in alive], to_bytes(np.stack([*alive.values()]))
        groups = [
            _Group(unit, seeds[n], abs(score) or 1.0)
            for n, unit, score in zip(alive, units, _scores(model, units, plain), strict=True)
        ]
        outcomes = _pushed_apart(given_setup(model, settings), settings, groups)
        for n, outcome in zip(alive, outcomes, strict=True):
            found[n] = outcome
    return found


@dataclass(frozen=True, eq=False)
class _Group:
    """A unit of which several pictures are made; `strength` is its response to a plain one."""

    unit: Objective
    seed: int
    strength: float


def _pushed_apart(
    given: Setup, settings: SweepSettings, groups: Sequence[_Group]
) -> list[_Outcome]:
    """Return the pictures of each group; of a batch that diverges, its halves tell whose fault."""
    try:
        pictures = _together(given, settings, groups)
    except DivergenceError as error:
        if len(groups) == 1:
            return [error]
        half = len(groups) // 2
        parts = (groups[:half], groups[half:])
        return [one for part in parts for one in _pushed_apart(given, settings, part)]
    return [*pictures.reshape(len(groups), settings.diversity, *pictures.shape[1:])]


def _together(given: Setup, settings: SweepSettings, groups: Sequence[_Group]) -> np.ndarray:
    """Return the pictures of all groups, one after the other, (n, H, W, C)."""
    count = settings.diversity
    seeds = [group.seed + n for group in groups for n in range(count)]
    images, terms = [], []
    for first, group in enumerate(groups):
        rows = range(first * count, (first + 1) * count)
        terms += [given.objective(group.unit).about(row) / count for row in rows]
        # What equal pictures score is count - 1.
        weight = settings.diversity_weight * group.strength / (count - 1)
        terms.append(-weight * likeness(*(group.unit.layers or ()), rows.start, count))
    for seed in seeds:
        with forked_rng(seed):
            images.append(given.image())
    with (
        forked_rng(seeds[0]),
        Run(
            given.model,
            Objective.sum(terms),
            param.rows(images),
            transforms=given.transforms,
            optimizer=given.optimizer,
            settings=replace(given.settings, seed=seeds),
        ) as run,
    ):
        run.iterate()
        return tensor_to_img_array(run.snapshot())


@objective(whole_batch=True)
def likeness(layer: Acts, first: int, count: int) -> Tensor:
    """Likeness of the channel correlations of some images of a batch; see `diversity`.

    Args:
        layer: name of a layer that gives (B, C) or (B, C, *spatial).
        first: row of the first of the images.
        count: how many they are, at least 2.
    """
    return objectives.diversity.score(layer[first : first + count])
