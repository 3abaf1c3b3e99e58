"""Gradients collected on the way from a baseline to the activations of a picture."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from lucent.attribution._passes import Letters, Passes, Place, gradient, opened
from lucent.attribution.results import IntegratedAttribution, fitted_directions, projected
from lucent.attribution.scores import Score, as_score
from lucent.errors import InputError, LucentWarning
from lucent.units import whole as whole_number

#: Attributions that miss more than this share of the way of the score are warned about ...
_LARGEST_GAP = 0.01
#: ... and steps are divided until this is what they may miss together.
_MISSED = 0.005
#: One in so many points is the middle of an equal step, the others are where steps are divided: of
#: 2, 3, 4 and 6 what missed least in nine layers of SqueezeNet, synthnet and synthvit.
_FIRST_SHARE = 4

_Item = TypeVar("_Item")


@dataclass(frozen=True, eq=False)
class Path:
    """The way from the baseline to the activations, and how it is sampled.

    The straight way scales all activations alike. A random one draws for each direction of the
    layer, or channel, whether it comes early, as 2t - t² at the time t, or late, as t². It takes
    activations together that never are on the straight way, so the mean over some of them depends
    less on one course. Its attributions add up as well; but sums along directions, which are made
    of the mean gradient, add up on the straight way only.

    Attributes:
        steps: points of each way where the gradient is taken, at the most. A quarter of them are
            the middles of equal steps. The others are where those steps are divided over which the
            score does not change as the gradient says.
        ways: number of random ways to take the mean over; 0 takes the straight one.
        directions: of random ways, (G, C), such as components of a `ChannelReducer`; what they
            cannot make up is one more; None takes the channels.
        seed: of the random ways.
        batch_size: activations that pass through the network at a time.

    Raises:
        InputError: a number is too small or not whole.
    """

    steps: int = 50
    ways: int = 0
    directions: Tensor | None = None
    seed: int = 0
    batch_size: int = 16

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("ways", 0), ("batch_size", 1)):
            if whole_number(getattr(self, name), name) < least:
                raise InputError(f"{name}={getattr(self, name)} has to be {least} or more.")


class _Way(NamedTuple):
    """A way from a baseline: base + (2t - t²) early + t² late, t from 0 to 1."""

    base: Tensor
    early: Tensor
    late: Tensor

    def at(self, t: float) -> Tensor:
        return self.base + t * (2 - t) * self.early + t * t * self.late

    def velocity(self, t: float) -> Tensor:
        return 2 * (1 - t) * self.early + 2 * t * self.late


def integrated_gradients(
    model: nn.Module,
    picture: Any,
    score: Score | str | int,
    layer: str,
    *,
    steps: int | Path = 50,
    baseline: Any = None,
    layout: Letters = None,
) -> IntegratedAttribution:
    """Attribute the difference of a score between a picture and a baseline to a layer.

    >>> from lucent.modelzoo import synthnet
    >>> found = integrated_gradients(synthnet(), torch.rand(1, 3, 96, 96), 5, "mixed4a", steps=20)
    >>> torch.allclose(found.total, found.score - found.baseline_score, rtol=0.01)
    True

    Many networks change most on the very first bit of the way, those with layer norms above all, so
    steps are divided where that is so. If the attributions still do not add up, a warning says how
    much is missing.

    Args:
        model: any network; it is as before afterwards.
        picture: what `photograph` takes; a tensor (B, C, *spatial) may be a batch.
        score: what `as_score` takes.
        layer: name of a layer before the score, or "input" for the picture.
        steps: points of the straight way where the gradient is taken; a `Path` says more.
        baseline: where the way begins: a tensor that broadcasts to what the layer gives; or a
            picture (not a tensor), whose activations it is. None is zero everywhere.
        layout: which axis is which, where that cannot be found out; see `Activations`.

    Raises:
        InputError: the picture, the score or the baseline cannot be used, or the layer has no part
            in the score.
        LayerError: there is no such layer.

    Source: Sundararajan et al. 2017, Axiomatic Attribution for Deep Networks
    (https://arxiv.org/abs/1703.01365); random ways after the notebook AttrChannel and `rl_util` of
    Lucid (https://github.com/tensorflow/lucid).
    """
    score, path = as_score(score), steps if isinstance(steps, Path) else Path(steps)
    with opened(model, picture, layout) as passes:
        place = passes.place(layer)
        base = _baseline(passes, place, baseline)
        found = _Integral(passes, place, score, path)
        for way in _ways(place, base, path):
            found.follow(way)
        return _result(place, base, found, max(path.ways, 1))


class _Step(NamedTuple):
    """A step of a way: from where to where, and the scores there, (B,) each."""

    start: float
    end: float
    score: Tensor
    next_score: Tensor

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2

    @property
    def length(self) -> float:
        return self.end - self.start

    @property
    def times(self) -> list[float]:
        """Where the parts of this step begin and end, if it is too long.

        Biases and norms matter where activations are as small as they are, which may be any small
        part of the first step.
        """
        inner = [self.end / 64, self.end / 16, self.end / 4] if not self.start else [self.middle]
        return [self.start, *inner, self.end]


class _Integral:
    """What the points of ways add up to.

    Args:
        passes: of the network.
        place: the layer.
        score: what is attributed.
        path: how many points there are.

    Attributes:
        parts: sum of velocity times gradient, like the layer.
        slopes: sum of the gradient, like the layer.
        course: how far the score went up and down, (B,).
        ends: the score at the beginning and at the end of the last way, (B,) each.
    """

    def __init__(self, passes: Passes, place: Place, score: Score, path: Path) -> None:
        self._passes, self._place, self._score, self._path = passes, place, score, path
        self._n_together = max(path.batch_size // len(passes.picture), 1)
        self.parts, self.slopes = torch.zeros_like(place.value), torch.zeros_like(place.value)
        self.course = place.sums(self.parts)
        self.ends = self.course, self.course

    def follow(self, way: _Way) -> None:
        """Add a way."""
        n_equal = -(-self._path.steps // _FIRST_SHARE)
        (steps,) = self._steps(way, [[n / n_equal for n in range(n_equal + 1)]])
        self.ends = steps[0].score, steps[-1].next_score
        course = torch.stack([step.next_score - step.score for step in steps]).abs().sum(0)
        allowed, n_left = _MISSED * course / n_equal, self._path.steps - n_equal
        while steps:
            steps = self._refined(way, steps, allowed, n_left)
            n_left -= len(steps)

    def _refined(
        self, way: _Way, steps: Sequence[_Step], allowed: Tensor, n_left: int
    ) -> list[_Step]:
        """Add steps, but for those that miss more than is allowed; return the parts of these.

        Args:
            way: what the steps are of.
            steps: where no gradient was taken yet.
            allowed: how much a step may miss, in units of the score, (B,).
            n_left: points that are left. Where they are too few, the worst steps go first.
        """
        poor: list[tuple[float, _Step, Tensor]] = []
        for step, slope in self._measured(way, steps):
            rise = self._place.sums(way.velocity(step.middle) * slope) * step.length
            missed = (rise - (step.next_score - step.score)).abs()
            if (missed > allowed).any():
                poor.append((float((missed - allowed).max()), step, slope))
            else:
                self._add(way, step, slope)
        divided = []
        for _, step, slope in sorted(poor, key=lambda known: -known[0]):
            n_left -= len(step.times) - 1
            if n_left < 0:
                self._add(way, step, slope)
            else:
                divided.append(step.times)
        return [part for parts in self._steps(way, divided) for part in parts]

    def _add(self, way: _Way, step: _Step, slope: Tensor) -> None:
        self.parts += way.velocity(step.middle) * slope * step.length
        self.slopes += slope * step.length
        self.course += (step.next_score - step.score).abs()

    def _steps(self, way: _Way, sequences: Sequence[Sequence[float]]) -> list[list[_Step]]:
        """Return the steps between the times of each sequence."""
        times = [t for sequence in sequences for t in sequence]
        scores: list[Tensor] = []
        with torch.no_grad():
            for some in self._some(times):
                scores += self._scores(self._points(way, some))
        known = dict(zip(times, scores, strict=True))
        return [
            [_Step(start, end, known[start], known[end]) for start, end in pairwise(sequence)]
            for sequence in sequences
        ]

    def _measured(self, way: _Way, steps: Sequence[_Step]) -> Iterator[tuple[_Step, Tensor]]:
        """Yield each step with the gradient in its middle."""
        for some in self._some(steps):
            points = self._points(way, [step.middle for step in some]).requires_grad_()
            scores = self._scores(points)
            slopes = self._place.split(gradient(scores.flatten(), points, self._place))
            yield from zip(some, slopes, strict=True)

    def _points(self, way: _Way, times: Sequence[float]) -> Tensor:
        return torch.cat([way.at(t) for t in times], self._place.batch)

    def _scores(self, points: Tensor) -> Tensor:
        """Return the scores of points, (n_points, B)."""
        scores = self._passes.score(self._score, self._place, points)
        return scores.unflatten(0, (-1, len(self._passes.picture)))

    def _some(self, items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
        for first in range(0, len(items), self._n_together):
            yield items[first : first + self._n_together]


def _ways(place: Place, base: Tensor, path: Path) -> Iterator[_Way]:
    step = place.value - base
    if not path.ways:
        yield _Way(base, step / 2, step / 2)
        return
    generator = torch.Generator().manual_seed(path.seed)
    for _ in range(path.ways):
        early = _random_half(place, step, path.directions, generator)
        yield _Way(base, early, step - early)


def _random_half(
    place: Place, step: Tensor, directions: Tensor | None, generator: torch.Generator
) -> Tensor:
    """Return the part of a step that is along a random half of the directions or channels."""
    whole = place.ordered(step)
    if directions is None:
        drawn = whole * _coins(whole.shape[1], generator, whole)
        rest = step - place.put_back(whole)
    else:
        directions = fitted_directions(directions, whole)
        strengths = projected(whole, directions)
        drawn, sum_of_all = (
            torch.einsum("gc,bg...->bc...", directions, some)
            for some in (strengths * _coins(len(directions), generator, whole), strengths)
        )
        rest = step - place.put_back(sum_of_all)
    # Tokens without a position, and what is along none of the directions, are drawn as one.
    return place.put_back(drawn) + rest * _coins(1, generator, whole).flatten()


def _coins(number: int, generator: torch.Generator, acts: Tensor) -> Tensor:
    """Return a random 0 or 1 for each of a number of channels of (B, number, *spatial)."""
    drawn = torch.randint(2, (number, *[1] * (acts.dim() - 2)), generator=generator)
    return drawn.to(acts)


def _baseline(passes: Passes, place: Place, given: Any) -> Tensor:
    """Return the beginning of the way, of the shape of what the layer gives."""
    if given is None:
        return torch.zeros_like(place.value)
    if not isinstance(given, Tensor):
        given = passes.place(place.name, passes.photograph(given)).value
    try:
        return given.detach().to(place.value).expand_as(place.value).clone()
    except RuntimeError as error:
        raise InputError(
            f"The baseline has shape {tuple(given.shape)}, which does not fit what the layer "
            f"{place.name!r} gives, {tuple(place.value.shape)}: give a tensor that does, such as "
            "torch.zeros(()), or a picture of the size of this one."
        ) from error


def _result(place: Place, base: Tensor, found: _Integral, n_ways: int) -> IntegratedAttribution:
    parts, slopes = found.parts / n_ways, found.slopes / n_ways
    total = place.sums(parts)
    baseline_score, score = found.ends
    missing = total - (score - baseline_score)
    # The score may come back to where it was: what counts is how far it went.
    course = torch.maximum(found.course / n_ways, (score - baseline_score).abs())
    gap = missing / course.masked_fill(course == 0, 1)
    if (largest := gap.abs().max()) > _LARGEST_GAP:
        warnings.warn(
            f"The attributions to {place.name!r} miss {100 * float(largest):.2g} % of the way of "
            "the score: take more steps.",
            LucentWarning,
            stacklevel=3,
        )
    return IntegratedAttribution(
        layer=place.name,
        acts=place.ordered(place.value),
        gradient=place.ordered(slopes),
        values=place.ordered(parts),
        score=score,
        total=total,
        tokens=place.tokens(parts),
        baseline=place.ordered(base),
        baseline_score=baseline_score,
        gap=gap,
    )
