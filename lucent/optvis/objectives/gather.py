"""Many terms at once: those of one score and one layer are evaluated by one gather."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lucent.errors import InputError
from lucent.layers import INPUT
from lucent.optvis.objectives.reading import (
    ScoreFn,
    channels_first,
    draws_of,
    parameter_kinds,
)
from lucent.util import constant

if TYPE_CHECKING:
    from lucent.optvis.objectives.base import Term

#: Function of activations (R, draws, B, C, *spatial), of the row of each of n terms, (n,), and of
#: their arguments by name to (n, ...), whose mean over all but the first axis are their values. Of
#: the arguments that it annotates with Tensor, it gets a row for each term.
ManyFn = Callable[..., Tensor]


@dataclass(frozen=True)
class Many:
    """How terms of one score are evaluated together.

    Attributes:
        layer: the parameter of the score that is an activation or the image.
        needed: its other parameters that are arguments of a term.
        stacked: those in which the terms may differ.
        function: see `ManyFn`; None maps the score by `torch.vmap`.
    """

    layer: str
    needed: frozenset[str]
    stacked: frozenset[str]
    function: ManyFn | None = None

    @classmethod
    def of(cls, score: ScoreFn, function: ManyFn | None = None) -> Many:
        """Read from the annotations what may differ: whatever takes a tensor.

        Raises:
            InputError: the score does not read one layer, or the image, alone, or the function
                does not take its other parameters.
        """
        kinds = parameter_kinds(score)
        layers = [name for name, kind in kinds.items() if kind in ("layer", "input")]
        if len(layers) != 1 or (function is None and "T" in kinds.values()):
            raise InputError(
                f"Terms of the objective {score.__name__!r} cannot be evaluated together: its "
                "score has to read one layer, or the image, and nothing else."
            )
        needed = frozenset(n for n, kind in kinds.items() if kind != "T" and n != layers[0])
        if function is not None:
            _check_signature(function, score, needed)
        own = kinds if function is None else parameter_kinds(function)
        stacked = frozenset(n for n, kind in own.items() if kind in ("tensor", "numbers"))
        return cls(layers[0], needed, stacked & needed, function)


@dataclass(frozen=True, eq=False)
class Group:
    """Terms of one score and one layer.

    Attributes:
        terms: at least two that are `kin`.
        layer: the layer.
        rows: which image each of them is about, (n,); zeros where all are about the whole batch.
        stacked: for each argument in which they differ, a tensor with a row per term.
        shared: the arguments that they have in common.
        fitting: the shapes of activations that none of the terms refused.
    """

    terms: Sequence[Term]
    layer: str
    rows: Tensor
    stacked: dict[str, Tensor]
    shared: dict[str, Any]
    fitting: set[tuple[torch.Size, int]] = field(default_factory=set)

    @classmethod
    def of(cls, terms: Sequence[Term], device: torch.device) -> Group:
        """Stack the arguments of terms that are `kin`."""
        many, given = terms[0].score.many, [dict(term.arguments) for term in terms]  # type: ignore[attr-defined]
        stacked, shared = {}, {k: v for k, v in given[0].items() if k != many.layer}
        for name in many.stacked & shared.keys():
            values = [arguments[name] for arguments in given]
            # A function of many terms gets a row for each, a score only where it pays.
            if _stackable(values[0]) and (many.function or not _all_equal(values)):
                del shared[name]
                stacked[name] = _stack(values, device)
        rows = _stack([_image(term) or 0 for term in terms], device)
        return cls(terms, given[0].get(many.layer, INPUT), rows, stacked, shared)

    def value(self, T: Callable[[str], Tensor]) -> Tensor:
        """Return the values of the terms, (n,), without their weights.

        Raises:
            InputError: a term does not fit the activations.
        """
        acts, draws = channels_first(T, self.layer), 1 if self.layer == INPUT else draws_of(T)
        if (acts.shape, draws) in self.fitting:
            return self._together(acts, draws)
        values = self._checked(T, acts, draws)
        self.fitting.add((acts.shape, draws))
        return values

    def _checked(self, T: Callable[[str], Tensor], acts: Tensor, draws: int) -> Tensor:
        """Ask every term by itself first, because an error is to be that of the term alone."""
        with torch.no_grad():
            for term in self.terms:
                term.value(T)
        try:
            return self._together(acts, draws)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            name, reason = self.terms[0].score.__name__, str(error).strip(" .")
            raise InputError(
                f"The score of {name!r} works for one term at a time, but not for "
                f"{len(self.terms)} together: {reason}. Leave out mapped=True or @{name}.many, or "
                "write it without steps that torch.vmap cannot map, such as `if` on a value, "
                ".item() and assignments to a part of a tensor."
            ) from error

    def _together(self, acts: Tensor, draws: int) -> Tensor:
        acts = acts.unflatten(0, (-1, draws))
        whole_batch = _image(self.terms[0]) is None
        acts = acts.transpose(0, 1)[None] if whole_batch else acts[:, :, None]
        return self._values(acts).reshape(len(self.terms), -1).mean(1)

    def _values(self, acts: Tensor) -> Tensor:
        score = self.terms[0].score
        many: Many = score.many  # type: ignore[attr-defined]
        if many.function is not None:
            return many.function(acts, self.rows, **self.stacked, **self.shared)

        def one(acts: Tensor, stacked: dict[str, Tensor]) -> Tensor:
            return score(**{many.layer: acts}, **stacked, **self.shared)

        of_draws = torch.vmap(one, in_dims=(0, None))
        if len(acts) == 1 and self.stacked:
            return torch.vmap(of_draws, in_dims=(None, 0))(acts[0], self.stacked)
        return torch.vmap(of_draws)(acts[self.rows], self.stacked)


class Plan:
    """How the terms of an objective are evaluated on a device, and their weights.

    Args:
        terms: with their tensors on the device.
        device: of the activations.
    """

    def __init__(self, terms: Sequence[Term], device: torch.device) -> None:
        alike: dict[Hashable, list[int]] = {}
        for number, term in enumerate(terms):
            alike.setdefault(kin(term) or number, []).append(number)
        self._parts: list[Term | Group] = [
            Group.of([terms[n] for n in numbers], device) if len(numbers) > 1 else terms[numbers[0]]
            for numbers in alike.values()
        ]
        order = torch.tensor([n for numbers in alike.values() for n in numbers])
        back = order.argsort()
        self._back = None if torch.equal(back, order.sort().values) else back.to(device)
        self._scheduled = any(term.schedule is not None for term in terms)
        self._terms = terms
        self._weights: Tensor | None = None

    def values(self, T: Callable[[str], Tensor]) -> Tensor:
        """Return the value of each term before its weight, (n_terms,)."""
        parts = [part.value(T).view(-1) for part in self._parts]
        values = torch.cat(parts) if len(parts) > 1 else parts[0]
        return values if self._back is None else values[self._back]

    def weights(self, step: int, like: Tensor) -> Tensor:
        """Return the weight of each term at a step, (n_terms,)."""
        if self._scheduled:
            return constant([term.weight_at(step) for term in self._terms], like)
        kept = self._weights
        if kept is None or (kept.dtype, kept.device) != (like.dtype, like.device):
            kept = self._weights = constant([term.weight for term in self._terms], like)
        return kept


def kin(term: Term) -> Hashable:
    """Return what terms have in common that are evaluated together, None for those that are not."""
    many: Many | None = getattr(term.score, "many", None)
    if many is None:
        return None
    given = dict(term.arguments)
    if not many.needed <= given.keys():
        return None  # the others have defaults, which only the score knows
    if any(isinstance(given[name], str) for name in many.stacked):
        return None  # the text of a label, whose number only `T` can tell
    tags = (_tag(given[name], name in many.stacked) for name in sorted(many.needed))
    return (term.score, given.get(many.layer, INPUT), _image(term) is None, *tags)


def _check_signature(function: ManyFn, score: ScoreFn, needed: frozenset[str]) -> None:
    try:
        inspect.signature(function).bind(None, None, **dict.fromkeys(needed))
    except TypeError as error:
        names = ", ".join(["acts", "rows", *(n for n in parameter_kinds(score) if n in needed)])
        raise InputError(
            f"{function.__name__!r} cannot evaluate many terms of {score.__name__!r}: {error}. "
            f"Define it as {function.__name__}({names}); the arguments after the first two have "
            "the names that they have in the score."
        ) from error


def _stackable(value: Any) -> bool:
    return isinstance(value, Tensor | Integral)


def _tag(value: Any, may_differ: bool) -> Hashable:
    if may_differ and _stackable(value):
        return (value.shape, value.dtype) if isinstance(value, Tensor) else "a whole number"
    return type(value), value if isinstance(value, str | Real) else id(value)


def _image(term: Term) -> int | None:
    return term.row if term.alone is None else term.alone


def _all_equal(values: list[Any]) -> bool:
    first, *others = values
    if isinstance(first, Tensor):
        return all(torch.equal(first, value) for value in others)
    return all(value is first or value == first for value in others)


def _stack(values: list[Any], device: torch.device) -> Tensor:
    if isinstance(values[0], Tensor):
        return torch.stack(values)
    return torch.tensor([int(value) for value in values], device=device)
