"""Objectives as values: a flat weighted sum of scores of activations.

A *score* is a pure function of activations, one value per image of the batch or one for the whole
batch, bigger is better. An *objective* is a weighted sum of scores plus a constant; called on `T`
it gives a loss, to be minimised.
"""

from __future__ import annotations

import functools
import inspect
import numbers
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Annotated, Any, get_args, get_type_hints

import numpy as np
import torch
from torch import Tensor

from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.util import constant

#: Annotates the parameters of a score that are layers: the caller names one, the score gets its
#: activation.
Acts = Annotated[Tensor, "activation of a layer"]
ScoreFn = Callable[..., Tensor]


@dataclass(frozen=True, eq=False)
class Term:
    """One weighted score.

    Attributes:
        score: function of the arguments to a tensor of shape (B,) or ().
        arguments: its arguments by name; those annotated `Acts` are layer names, one annotated
            `Activations` is filled in with `T`.
        weight: factor of the score in the objective.
        row: which image of the batch it is about; None takes the mean over the batch.
    """

    score: ScoreFn
    arguments: tuple[tuple[str, Any], ...]
    weight: float = 1.0
    row: int | None = None

    @property
    def layers(self) -> frozenset[str] | None:
        """The layers that the score reads, None when only calling it can tell."""
        if self.score is opaque:
            return None
        kinds = _parameter_kinds(self.score)
        return frozenset(value for name, value in self.arguments if kinds[name] == "layer")

    def value(self, T: Activations) -> Tensor:
        """Return the score as a 0-d tensor, without its weight.

        Raises:
            InputError: the batch has no such row.
        """
        kinds = _parameter_kinds(self.score)
        given = {
            name: self._acts(T, v) if kinds[name] == "layer" else v for name, v in self.arguments
        }
        given.update({name: T for name, kind in kinds.items() if kind == "T"})
        return self.score(**given).mean()

    def _acts(self, T: Activations, layer: str) -> Tensor:
        acts = T(layer)
        if self.row is None:
            return acts
        if not -len(acts) <= self.row < len(acts):
            raise InputError(
                f"batch={self.row} asks for an image that the batch does not have: {layer!r} "
                f"gives {len(acts)} rows. Make more images, for example with param.image(128, "
                f"batch={_rows_for(self.row)})."
            )
        row = self.row % len(acts)
        return acts[row : row + 1]


def _rows_for(row: int) -> int:
    return row + 1 if row >= 0 else -row


@functools.cache
def _parameter_kinds(score: ScoreFn) -> dict[str, str]:
    """Tell for each parameter of a score whether it is a "layer", "T" or a plain "value"."""
    hints = get_type_hints(score, include_extras=True)
    kinds = {}
    for name in inspect.signature(score).parameters:
        hint = hints.get(name)
        is_layer = hint is Acts or get_args(hint) == get_args(Acts)
        kinds[name] = "layer" if is_layer else "T" if hint is Activations else "value"
    return kinds


def opaque(function: Callable[[Activations], Tensor], T: Activations) -> Tensor:
    """Score of a plain callable that computes a loss from `T`."""
    loss = function(T)
    if not isinstance(loss, Tensor):
        raise InputError(
            f"The objective {getattr(function, '__name__', function)!r} returned {loss!r}. It has "
            "to return a loss that depends on T(...), a tensor with one value."
        )
    return -loss


class Objective:
    """A weighted sum of scores; called on `T` it gives the loss that ascends them.

    Arithmetic acts on the loss, as in torch-lucent: `objective + c` raises the loss by c,
    `-objective` looks for what the objective avoids. Operators return a new objective and change
    neither side.

    Args:
        objective_func: any function from `T` to a loss; what it reads is found by calling it.
        name: short name.
        description: longer name with the arguments.
    """

    __module__ = "lucent.optvis.objectives"

    def __init__(
        self, objective_func: Callable[[Activations], Tensor], name: str = "", description: str = ""
    ) -> None:
        self.terms: tuple[Term, ...] = (Term(opaque, (("function", objective_func),)),)
        self.bias = 0.0
        self._names: tuple[str, ...] = (name,)
        self._descriptions: tuple[str, ...] = (description,)

    @classmethod
    def of(
        cls, terms: Iterable[Term], bias: float = 0.0, *, name: str = "", description: str = ""
    ) -> Objective:
        """Make an objective of terms and a constant that is added to their sum."""
        made = cls.__new__(cls)
        made.terms, made.bias = tuple(terms), float(bias)
        if not made.terms:
            raise InputError("An objective needs at least one term: there is nothing to look for.")
        made._names, made._descriptions = (name,), (description,)
        return made

    @staticmethod
    def sum(objectives: Iterable[Objective | Callable[[Activations], Tensor] | str]) -> Objective:
        """Return the sum of any number of objectives.

        Raises:
            InputError: there is none.
        """
        parts = [as_objective(objective) for objective in objectives]
        if not parts:
            raise InputError("Objective.sum got no objective. Give at least one.")
        return _joined(parts)

    @property
    def name(self) -> str:
        """The names of the summands."""
        return ", ".join(self._names)

    @name.setter
    def name(self, name: str) -> None:
        self._names = (name,)

    @property
    def description(self) -> str:
        """The descriptions of the summands."""
        if len(self._descriptions) == 1:
            return self._descriptions[0]
        return "Sum(" + " +\n".join(self._descriptions) + ")"

    @description.setter
    def description(self, description: str) -> None:
        self._descriptions = (description,)

    @property
    def layers(self) -> frozenset[str] | None:
        """The layers that the objective reads, None when a plain callable is among its terms."""
        layers = [term.layers for term in self.terms]
        known = [names for names in layers if names is not None]
        return frozenset().union(*known) if len(known) == len(layers) else None

    def scores(self, T: Activations) -> dict[str, Tensor]:
        """Return the value of each term before its weight, 0-d, by its caption."""
        return dict(zip(self.captions(), self.values(T).unbind(), strict=True))

    def values(self, T: Activations) -> Tensor:
        """Return the value of each term before its weight, (n_terms,)."""
        return torch.stack([term.value(T) for term in self.terms])

    def captions(self) -> list[str]:
        """Return one distinct caption per term."""
        names = self._descriptions if len(self._descriptions) == len(self.terms) else ()
        texts = [name or _caption(t) for t, name in zip_longest(self.terms, names)]
        counts = Counter(texts)
        return [text if counts[text] == 1 else f"{text} #{n}" for n, text in enumerate(texts)]

    def loss(self, values: Tensor) -> Tensor:
        """Return the loss, 0-d, that belongs to the values of the terms, (n_terms,)."""
        weights = constant([term.weight for term in self.terms], like=values)
        return -(self.bias + (weights * values).sum())

    def __call__(self, T: Activations) -> Tensor:
        """Return the loss, 0-d."""
        return self.loss(self.values(T))

    def __repr__(self) -> str:
        return f"<Objective {self.description or self.name or _caption(self.terms[0])}>"

    def _scaled(self, factor: float) -> Objective:
        made = Objective.of(
            (replace(t, weight=t.weight * factor) for t in self.terms), self.bias * factor
        )
        made._names, made._descriptions = self._names, self._descriptions
        return made

    def __add__(self, other: Any) -> Objective:
        if _is_number(other):
            made = self._scaled(1.0)
            made.bias -= float(other)
            return made
        return _joined([self, as_objective(other)])

    __radd__ = __add__

    def __neg__(self) -> Objective:
        return self._scaled(-1.0)

    def __sub__(self, other: Any) -> Objective:
        return self + (-other if _is_number(other) else -as_objective(other))

    def __rsub__(self, other: Any) -> Objective:
        return -self + other

    def __mul__(self, other: Any) -> Objective:
        if not _is_number(other):
            raise TypeError(f"Can only multiply by int or float. Received type {type(other)}")
        return self._scaled(float(other))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Objective:
        if not _is_number(other):
            raise TypeError(f"Can only divide by int or float. Received type {type(other)}")
        return self._scaled(1 / float(other))


def _is_number(value: Any) -> bool:
    """Tell whether a value is a real scalar; NumPy scalars and tensors with one value count."""
    if isinstance(value, Tensor | np.ndarray):
        return value.ndim == 0
    return isinstance(value, numbers.Real)


def _joined(objectives: Iterable[Objective]) -> Objective:
    parts = list(objectives)
    made = Objective.of(
        (term for part in parts for term in part.terms), sum(part.bias for part in parts)
    )
    made._names = tuple(name for part in parts for name in part._names)
    made._descriptions = tuple(text for part in parts for text in part._descriptions)
    return made


def objective(score: ScoreFn) -> Callable[..., Objective]:
    """Turn a score into a factory of objectives.

    The parameters annotated `Acts` become layer names, one annotated `Activations` is filled in,
    and `batch=None` is added: the row of the batch that the objective is about.

    >>> @objective
    ... def brightness(layer: Acts) -> Tensor:
    ...     return layer.flatten(1).mean(1)
    >>> brightness("input", batch=1) - 2 * brightness("input", batch=0)
    <Objective Sum(Brightness [input, 1] +
    Brightness [input, 0])>
    """
    signature = _factory_signature(score)

    @functools.wraps(score)
    def factory(*args: Any, **kwargs: Any) -> Objective:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments = dict(bound.arguments)
        row = _as_row(arguments.pop("batch"))
        term = Term(score, tuple(arguments.items()), row=row)
        return Objective.of([term], name=score.__name__, description=_caption(term))

    factory.__signature__ = signature  # type: ignore[attr-defined]
    factory.score = score  # type: ignore[attr-defined]
    # Pickle finds a function by its name, and the name now belongs to the factory.
    score.__qualname__ = f"{score.__qualname__}.score"
    return factory


def _factory_signature(score: ScoreFn) -> inspect.Signature:
    kinds = _parameter_kinds(score)
    if not {"layer", "T"} & {*kinds.values()}:
        raise InputError(
            f"The objective {score.__name__!r} has no layer: annotate the parameters that are "
            "layers with objectives.Acts, as in def mean(layer: Acts) -> Tensor."
        )
    given = [p for p in inspect.signature(score).parameters.values() if kinds[p.name] != "T"]
    batch = inspect.Parameter("batch", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None)
    positional = [p for p in given if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    return inspect.Signature(
        [*positional, batch, *given[len(positional) :]], return_annotation=Objective
    )


def _as_row(batch: Any) -> int | None:
    if batch is None:
        return None
    if isinstance(batch, bool) or not isinstance(batch, numbers.Integral):
        raise InputError(
            f"batch={batch!r} is not the number of an image: give an integer, or None for the mean."
        )
    return int(batch)


def _caption(term: Term) -> str:
    if term.score is opaque:
        function = dict(term.arguments)["function"]
        return str(getattr(function, "__name__", type(function).__name__))
    return _description(term.score.__name__, [*dict(term.arguments).values(), term.row])


def _description(name: str, arguments: Iterable[Any]) -> str:
    return f"{name.title()} [{', '.join(map(_argument_text, arguments))}]"


def _argument_text(argument: Any) -> str:
    text = str(argument)
    return "..." if len(text) > 15 or "\n" in text else text


def wrap_objective(function: Callable[..., Any] | None = None) -> Any:
    """Turn a function of arguments to a loss function of `T` into a factory of objectives.

    torch-lucent's decorator; `@wrap_objective` and `@wrap_objective()` mean the same. New code is
    shorter with `@objective`, whose objectives know their layers and can be pickled.
    """
    if function is None:
        return wrap_objective
    signature = inspect.signature(function)

    @functools.wraps(function)
    def factory(*args: Any, **kwargs: Any) -> Objective:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments = [*bound.args, *bound.kwargs.values()]
        return Objective(
            function(*args, **kwargs), function.__name__, _description(function.__name__, arguments)
        )

    return factory


def as_objective(objective: Objective | Callable[[Activations], Tensor] | str) -> Objective:
    """Return an objective for an objective, a function from `T` to a loss, or a string.

    Args:
        objective: as a string, `"layer:channel"`, or `"layer:channel:x:y"` for one neuron at column
            x and row y.

    Raises:
        InputError: it is none of these.
    """
    from lucent.optvis.objectives.neurons import channel, neuron

    if isinstance(objective, Objective):
        return objective
    if isinstance(objective, str):
        layer, *unit = (part.strip() for part in objective.split(":"))
        if layer and len(unit) in (1, 3) and all(number.isdecimal() for number in unit):
            n_channel, *position = map(int, unit)
            return neuron(layer, n_channel, *position) if position else channel(layer, n_channel)
        raise InputError(
            f"The objective {objective!r} is not of the form 'layer:channel' or "
            "'layer:channel:x:y', for example 'mixed4a:476'."
        )
    if callable(objective):
        return Objective(objective)
    raise InputError(
        f"{objective!r} of type {type(objective).__name__} is not an objective. Give a string "
        "like 'mixed4a:476', an Objective such as objectives.channel('mixed4a', 476), or a "
        "function from T to a loss."
    )
