"""What recipes about attribution take: scores, gradients of smoothed max-pools."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, TypeAlias

from torch import nn

from lucent.attribution import Attribution, Score, as_score
from lucent.errors import InputError
from lucent.modelzoo.spec import spec_of
from lucent.optvis.objectives import Objective, as_objective
from lucent.overrides import smoothed_maxpool

#: What `lucent.attribution.as_score` takes.
AnyScore: TypeAlias = Score | str | int
#: One score, several, or several by names.
Scores: TypeAlias = AnyScore | Sequence[AnyScore] | Mapping[str, AnyScore]
#: A function of a network, a picture, a score and a layer, such as `gradient_x_activation`.
Attribute: TypeAlias = Callable[..., Attribution]
#: What gradient max-pools have; None is their own.
Smooth: TypeAlias = Literal["avg", "L2"] | None


def named_scores(model: nn.Module, scores: Scores) -> tuple[tuple[str, ...], list[Score]]:
    """Return the names of scores, which may be the same, and the scores.

    Args:
        model: the network, whose spec names classes.
        scores: one or several.

    Raises:
        InputError: there is none, or one is no score.
    """
    if isinstance(scores, Mapping):
        given = list(scores.items())
    else:
        several: list[Any] = (
            [*scores] if isinstance(scores, Sequence) and not isinstance(scores, str) else [scores]
        )
        given = [(_name(model, score), score) for score in several]
    if not given:
        raise InputError(
            "There is no score to attribute: give at least one, such as 'labels:tabby' or "
            "'mixed4a:3'."
        )
    return tuple(name for name, _ in given), [as_score(score) for _, score in given]


def _name(model: nn.Module, score: AnyScore) -> str:
    labels = spec_of(model).labels
    if isinstance(score, int) and 0 <= score < len(labels):
        return labels[score]
    return score.removeprefix("labels:") if isinstance(score, str) else repr(score)


def pools_with(model: nn.Module, smooth: Smooth) -> AbstractContextManager[None]:
    """Return a block in which max-pools have a smooth gradient, or their own for None."""
    return nullcontext() if smooth is None else smoothed_maxpool(model, smooth)


def with_layers(score: Objective | str) -> Objective:
    """Return an objective that knows its layers, so that one pass has them and what is before.

    Raises:
        InputError: it is a bare function, which may ask for a layer when the pass is over.
    """
    wanted = as_objective(score)
    if wanted.layers is None:
        raise InputError(
            f"{wanted!r} is a bare function, and which layers it reads is known too late for a "
            "gradient between them: decorate it with lucent.optvis.objectives.objective, with its "
            "layers as arguments, or give 'layer:channel'."
        )
    return wanted
