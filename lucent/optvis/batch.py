"""Many objectives at once: each is a row of a batch, and its picture is what it would be alone.

Rows share the passes of the network: every one has parameters, random draws, a seed and a loss of
its own. The loss of the batch is the sum of theirs, so the gradient of a row is that of its loss.
"""

from __future__ import annotations

import functools
import itertools
import logging
import math
import numbers
import operator
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from lucent.errors import DivergenceError, InputError, LucentError, LucentWarning
from lucent.hooks import Activations
from lucent.layers import unwrap
from lucent.optvis import param
from lucent.optvis._memory import checked_size, rows_that_pay
from lucent.optvis.callbacks import Snapshots
from lucent.optvis.defaults import Setup, setup
from lucent.optvis.history import History
from lucent.optvis.loop import Callback, OptimizerFactory, Run, RunSettings, _checked_factory
from lucent.optvis.objectives import Objective, as_objective
from lucent.optvis.param import Image, RowStack, as_image
from lucent.optvis.presets import Preset
from lucent.optvis.settings import Precision
from lucent.optvis.transform.base import Transform
from lucent.util import forked_rng

logger = logging.getLogger(__name__)

#: What changes every number by itself, so that rows do not notice each other.
_ELEMENTWISE = (
    torch.optim.Adadelta, torch.optim.Adagrad, torch.optim.Adam, torch.optim.Adamax,
    torch.optim.AdamW, torch.optim.NAdam, torch.optim.RAdam, torch.optim.RMSprop,
    torch.optim.Rprop, torch.optim.SGD,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Rendered:
    """What became of one objective.

    Attributes:
        index: its place in the list of objectives.
        objective: what was looked for, without what the preset subtracts of it.
        images: one array per threshold reached, in the order of the steps: float32, (*spatial, C),
            in [0, 1] for `param.image`.
        history: losses and term values of this objective; `history.steps` are those of the images.
        seed: with it `render_vis` makes the same picture.
        error: why it ended early, None if it did not.
    """

    index: int
    objective: Objective
    images: list[np.ndarray]
    history: History
    seed: int
    error: LucentError | None = None


def render_many(  # noqa: PLR0913 - the arguments of render_vis
    model: nn.Module,
    objectives: Iterable[Objective | Callable[[Any], Tensor] | str],
    param_f: Callable[[], Any] | Sequence[Callable[[], Any]] | None = None,
    *,
    optimizer: OptimizerFactory | None = None,
    transforms: Iterable[Transform] | None = None,
    thresholds: Iterable[int] = (512,),
    preprocess: bool = True,
    progress: bool = False,
    fixed_image_size: int | Sequence[int] | str | None = None,
    seed: int | Sequence[int] | None = None,
    batch_size: int | Literal["auto"] = "auto",
    callbacks: Sequence[Callback] = (),
    relu_override: bool = True,
    draws: int | None = None,
    preset: Preset | str | None = None,
    layout: str | Mapping[str, str] | None = None,
    precision: Precision | None = None,
    capture: bool | None = None,
) -> Iterator[Rendered]:
    """Find the images that many parts of a network look for, many at a time.

    >>> from lucent.modelzoo import synthnet
    >>> units = [f"mixed4a:{n}" for n in range(3)]
    >>> [r.index for r in render_many(synthnet(), units, thresholds=(2,), seed=0)]
    [0, 1, 2]

    Each picture is that of `render_vis(model, objective, param_f, seed=seed)`, whatever is rendered
    beside it: exactly but for rounding. Only callbacks, and functions of your own among the
    transforms, see a whole batch. Results come as soon as their batch is done; objectives that read
    the same layers share batches. The model is as it was between the results, and after them.

    Args:
        model: any network that takes (B, C, H, W), or volumes (B, C, D, H, W).
        objectives: what to look for, each as for `render_vis`.
        param_f: returns one new image, (1, C, *spatial), in every call; None makes one that suits
            the model. A list has one function for each objective, for images of one size.
        optimizer: as for `render_vis`. One that couples numbers, as LBFGS does, or that is not from
            `torch.optim`, renders objectives one at a time, and the log says so.
        transforms: as for `render_vis`.
        thresholds: as for `render_vis`.
        preprocess: as for `render_vis`.
        progress: show a progress bar over the steps of all objectives.
        fixed_image_size: as for `render_vis`.
        seed: of every objective, or a sequence with one for each; objectives with the same seed
            start from the same image. None draws one for each from PyTorch's global generator.
        batch_size: number of objectives at a time; "auto" is what fits into memory, and on the CPU
            no more than pays.
        callbacks: functions of the `Run`, called before the first step and after every one; each
            batch is a run, so one that collects or names files by step has to tell them apart.
        relu_override: as for `render_vis`.
        draws: as for `render_vis`.
        preset: as for `render_vis`.
        layout: as for `render_vis`.
        precision: as for `render_vis`.
        capture: as for `render_vis`.

    Returns:
        An iterator over the results. A row whose loss becomes NaN, or that raises another error
        of lucent, comes with its `error`; the others are not affected.

    Raises:
        InputError: an argument cannot be used, and the text says what to give instead.
        LayerError: an objective names a layer that does not exist.
    """
    if param_f is None or callable(param_f):
        first, images = param_f, None
    else:
        images = list(param_f)
        first = next(iter(images), None)
    given = setup(
        *(model, first, optimizer, transforms, thresholds, fixed_image_size),
        relu_override=relu_override,
        preprocess=preprocess,
        draws=draws,
        preset=preset,
        layout=layout,
        precision=precision,
        capture=capture,
    )
    watched: Any = {"callbacks": callbacks, "progress": progress}
    return rendered(given, objectives, images, seed=seed, batch_size=batch_size, **watched)


def rendered(
    given: Setup,
    objectives: Iterable[Objective | Callable[[Any], Tensor] | str],
    images: Sequence[Callable[[], Any]] | None = None,
    *,
    seed: int | Sequence[int] | None = None,
    batch_size: int | Literal["auto"] = "auto",
    callbacks: Sequence[Callback] = (),
    progress: bool = False,
) -> Iterator[Rendered]:
    """Return what `render_many` does, for a setup and an image for each, if any."""
    renderer, jobs = _Renderer(given, tuple(callbacks)), _jobs(given, objectives, images, seed)
    return renderer.results(renderer.by_layers(jobs), checked_size(batch_size), progress)


@dataclass(frozen=True)
class _Job:
    """An objective to render, as it was given and with what the preset subtracts."""

    index: int
    wanted: Objective
    objective: Objective
    param_f: Callable[[], Any]
    seed: int


class _RowRun(Run):
    """A run whose rows may diverge without ending it."""

    def check(self) -> None:
        """Fetch the history, and stop when no row goes on."""
        latest = [values[-1] for values in self.history.terms.values() if values]
        if latest and not any(map(math.isfinite, latest)):
            self.stop()

    def snapshot(self) -> Tensor:
        """Return the image as it is now, with rows that diverged."""
        with torch.no_grad():
            return self.image().detach().clone()


@dataclass(frozen=True)
class _Renderer:
    """What the objectives have in common."""

    given: Setup
    callbacks: Sequence[Callback]

    def by_layers(self, jobs: Sequence[_Job]) -> list[list[_Job]]:
        """Group the jobs by the layers they read, because the deepest one is how far a pass goes.

        Raises:
            LayerError: a layer does not exist.
        """
        spec = self.given.settings.spec
        aliases = None if spec is None else spec.layer_aliases

        @functools.cache
        def canonical(layers: frozenset[str] | None) -> frozenset[str] | None:
            # None are the objectives whose layers only a pass can tell.
            return layers and Activations(unwrap(self.given.model), layers, aliases=aliases).layers

        groups: dict[frozenset[str] | None, list[_Job]] = {}
        for job in jobs:
            groups.setdefault(canonical(job.objective.layers), []).append(job)
        return [*groups.values()]

    def results(
        self, groups: Sequence[Sequence[_Job]], batch_size: int | None, progress: bool
    ) -> Iterator[Rendered]:
        """Render the groups one after the other; a batch size of None is to be found."""
        n_jobs = sum(map(len, groups))
        with tqdm(total=n_jobs * self.given.steps, unit="step", disable=not progress) as bar:
            for group in groups:
                waiting, size = list(group), self._rows_at_once(group, batch_size)
                while waiting:
                    # Batches of equal size, so that the last one is not nearly empty.
                    n = math.ceil(len(waiting) / math.ceil(len(waiting) / size))
                    done = bar.n
                    try:
                        results = self._rendered(waiting[:n], bar)
                    except RuntimeError as error:  # out of memory, or a network for one image
                        if n == 1:
                            raise
                        size = n // 2
                        bar.update(done - bar.n)
                        logger.info("%d rows failed, %d are tried: %s", n, size, str(error))
                        continue
                    yield from results
                    waiting = waiting[n:]

    def _rows_at_once(self, group: Sequence[_Job], batch_size: int | None) -> int:
        if (reason := self._reason_to_be_alone(group[0])) is not None:
            if batch_size != 1 and len(group) > 1:
                logger.info("Objectives are rendered one at a time, because %s.", reason)
            return 1
        if batch_size is not None or len(group) == 1:
            return batch_size or 1
        # A redirected ReLU, in the first steps, keeps less than a plain one.
        settings = replace(self.given.settings, steps=1, capture=False, relu_override=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LucentWarning)  # they come again
            for job in group:
                with suppress(LucentError), self._opened([job], settings) as run:
                    return rows_that_pay(run, self.given.model)
        return 1

    def _reason_to_be_alone(self, job: _Job) -> str | None:
        """Return why images of this kind cannot be rows, None if they can.

        Raises:
            InputError: the images cannot be used at all.
        """
        with forked_rng(job.seed):
            image, other = self._images([job, job])
            image.draw(None)
        if {*map(id, image.trainable())} & {*map(id, other.trainable())}:
            raise InputError(
                "param_f returned the same parameters twice: it has to make a new image in every "
                "call, as lambda: param.image(128) does."
            )
        with torch.no_grad():
            batch = len(image())
        if batch != 1:
            raise InputError(
                f"param_f gave {batch} images; each objective is about one. Make it with batch=1, "
                "and give an objective several times, with seeds of its own, for several pictures."
            )
        optimizer = _checked_factory(self.given.optimizer)(image.trainable())
        if type(optimizer) not in _ELEMENTWISE:
            return f"the optimizer {type(optimizer).__name__} may couple the rows of a batch"
        if image.sample is not None:
            return f"the {type(image).__name__} draws what objectives may read"
        return None

    def _rendered(self, jobs: Sequence[_Job], bar: Any) -> list[Rendered]:
        """Render a batch; if it fails, its halves, down to the row that is to blame."""
        before, snapshots = bar.n, Snapshots(self.given.thresholds)
        histories = [History(jobs[0].objective.captions())]
        failure: LucentError | None = None
        try:
            self._iterate(jobs, snapshots, histories, bar)
        except LucentError as error:
            failure = error
            _forget_frames(error)
        if failure and len(jobs) > 1:
            bar.update(before - bar.n)
            half = len(jobs) // 2
            return [*self._rendered(jobs[:half], bar), *self._rendered(jobs[half:], bar)]
        bar.update(before + len(jobs) * self.given.steps - bar.n)
        own = _split(histories[0], [job.objective for job in jobs])
        return [
            _result(job, [array[row] for array in snapshots.images], own[row], failure)
            for row, job in enumerate(jobs)
        ]

    def _iterate(
        self, jobs: Sequence[_Job], snapshots: Snapshots, histories: list[History], bar: Any
    ) -> None:
        def watch(run: Run) -> None:
            histories[:] = [run.history]
            bar.update(len(jobs) if run.step else 0)

        with self._opened(jobs, self.given.settings) as run:
            run.iterate([watch, *self.callbacks, snapshots])
            if run.history.steps[-1:] != [run.step]:
                snapshots.keep(run)

    @contextmanager
    def _opened(self, jobs: Sequence[_Job], settings: RunSettings) -> Iterator[Run]:
        # The global generators, which functions of a user may draw from, go on from where the
        # first image left them, as they do in render_vis.
        with forked_rng(jobs[0].seed):
            image, *others = self._images(jobs)
            objective = jobs[0].objective
            seed: int | list[int] = jobs[0].seed
            if others:
                image = param.rows([image, *others])
                objective = Objective.sum(job.objective.about(row) for row, job in enumerate(jobs))
                seed = [job.seed for job in jobs]
            with _RowRun(
                self.given.model,
                objective,
                image,
                transforms=self.given.transforms,
                optimizer=_for_each(self.given.optimizer, image),
                settings=replace(settings, seed=seed),
            ) as run:
                yield run

    def _images(self, jobs: Sequence[_Job]) -> list[Image]:
        """Return the start image of each job, for the first one as the generators are now."""
        images = [as_image(jobs[0].param_f())]
        for job in jobs[1:]:
            with forked_rng(job.seed):
                images.append(as_image(job.param_f()))
        return images


def _for_each(optimizer: OptimizerFactory, image: Image) -> OptimizerFactory:
    """Return what makes one optimizer of those that the images of a batch would have alone."""
    if not isinstance(image, RowStack):
        return optimizer

    def make(params: list[Tensor]) -> torch.optim.Optimizer:
        first, *others = [optimizer(part.trainable()) for part in image.images()]
        for other in others:
            first.state.update(other.state)  # that of Adagrad is there before the first step
            for group, own in zip(first.param_groups, other.param_groups, strict=True):
                group["params"] += own["params"]
        return first

    return make


def _split(history: History, objectives: Sequence[Objective]) -> list[History]:
    """Return what a batch measured for each of its objectives."""
    steps = len(history)
    ends = np.cumsum([len(objective.terms) for objective in objectives])
    rows = np.reshape(history.state_dict()["rows"], (steps, 1 + ends[-1]))
    histories = []
    for objective, values in zip(objectives, np.split(rows[:, 1:], ends[:-1], 1), strict=True):
        weights = [[term.weight_at(step) for term in objective.terms] for step in range(steps)]
        with np.errstate(invalid="ignore"):  # rows that diverged
            loss = -(objective.bias + (np.reshape(weights, values.shape) * values).sum(1))
        own = History(captions := objective.captions())
        own.load_state_dict({"captions": captions, "rows": np.c_[loss, values].tolist()})
        own.steps = list(history.steps)
        histories.append(own)
    return histories


def _result(
    job: _Job, images: list[np.ndarray], history: History, error: LucentError | None
) -> Rendered:
    finite = list(itertools.takewhile(lambda image: bool(np.isfinite(image).all()), images))
    steps, history.steps = history.steps, history.steps[: len(finite)]
    try:
        history.check()
    except DivergenceError as diverged:
        error = error or diverged
    if error is None and len(finite) < len(images):
        error = DivergenceError(
            f"The image of {job.wanted!r} became NaN or infinite by step {steps[len(finite)]}, "
            "because a gradient did: take a smaller learning rate, or look for a division by zero "
            "or the root of zero in the objective."
        )
    return Rendered(job.index, job.wanted, finite, history, job.seed, error)


def _forget_frames(error: BaseException | None) -> None:
    """Let an error go on without its traceback, whose frames hold the activations."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _jobs(given: Setup, objectives: Any, images: Any, seed: Any) -> list[_Job]:
    if isinstance(objectives, str) or callable(objectives) or not isinstance(objectives, Iterable):
        raise InputError(
            f"render_many takes a list of objectives, not {objectives!r}: put it into a list, or "
            "use render_vis."
        )
    each = [as_objective(objective) for objective in objectives]
    for objective in each:
        objective.about(0)  # refuses one about an image that it does not have
    images = [given.param_f] * len(each) if images is None else images
    if len(images) != len(each):
        raise InputError(
            f"param_f has {len(images)} functions for {len(each)} objectives: give one for each."
        )
    rows = zip(each, images, _seeds(seed, len(each)), strict=True)
    return [
        _Job(index, wanted, given.objective(wanted), image, own)
        for index, (wanted, image, own) in enumerate(rows)
    ]


def _seeds(seed: Any, n: int) -> list[int]:
    if seed is None:
        return [int(torch.randint(2**62, (1,)).item()) for _ in range(n)]
    given = [seed] * n if isinstance(seed, numbers.Integral) else seed
    try:
        seeds = [operator.index(own) for own in given]
    except TypeError as error:
        raise InputError(
            f"seed={seed!r} has to be a whole number, or a list of one for each objective."
        ) from error
    if len(seeds) != n:
        raise InputError(f"seed has {len(seeds)} numbers for {n} objectives: give one for each.")
    return seeds
