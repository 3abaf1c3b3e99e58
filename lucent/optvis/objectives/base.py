"""Objectives as values: a flat weighted sum of scores of activations, and their arithmetic.

A *score* is a pure function of activations, one value per image of the batch or one for the whole
batch, bigger is better. An *objective* is a weighted sum of scores plus a constant; called on `T`
it gives a loss, to be minimised.
"""

from __future__ import annotations

import numbers
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lucent.encoders import FrozenEncoder, encoder_name
from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.layers import INPUT
from lucent.optvis.objectives.gather import Plan
from lucent.optvis.objectives.reading import (
    OneImage,
    ScoreFn,
    channels_first,
    draws_of,
    one_draw,
    one_row,
    parameter_kinds,
    reads_activations,
)
from lucent.units import fitted, parsed, whole
from lucent.util import constant

#: Weight of a term as a function of the number of steps done.
Schedule = Callable[[int], float]


@dataclass(frozen=True, eq=False)
class Term:
    """One weighted score.

    Attributes:
        score: function of the arguments to a tensor of shape (B,) or ().
        arguments: its arguments by name; those annotated `Acts` are layer names. Parameters
            annotated `Input` or `Activations` are filled in with the image or with `T`.
        weight: factor of the score in the objective.
        row: which image of the batch it is about; None takes the mean over the batch.
        schedule: a further factor that depends on the number of steps done.
        alone: the one image that the batch consists of, as far as the term can see; None shows it
            the whole batch.
    """

    score: ScoreFn
    arguments: tuple[tuple[str, Any], ...]
    weight: float = 1.0
    row: int | None = None
    schedule: Schedule | None = None
    alone: int | None = None

    @property
    def layers(self) -> frozenset[str] | None:
        """The layers that the score reads, None when only calling it can tell."""
        if self.score is opaque:
            return None
        kinds = parameter_kinds(self.score)
        own = frozenset(value for name, value in self.arguments if kinds[name] == "layer")
        return _union([own, *(v.layers for _, v in self.arguments if isinstance(v, Objective))])

    def weight_at(self, step: int) -> float:
        """Return the factor of the score after so many steps."""
        return self.weight if self.schedule is None else self.weight * self.schedule(step)

    def to(self, device: torch.device, encoders: dict[int, FrozenEncoder] | None = None) -> Term:
        """Return the term with numbers, objectives and encoders among its arguments on a device.

        Args:
            device: of the model.
            encoders: those that are there already, by the id of what they were made of.
        """
        kinds, there = parameter_kinds(self.score), {} if encoders is None else encoders
        moved = []
        for name, value in self.arguments:
            if kinds[name] != "encoder":
                moved.append((name, _moved(value, name, kinds[name], device)))
                continue
            if id(value) not in there:
                there[id(value)] = FrozenEncoder(value, device)
            moved.append((name, there[id(value)]))
        return replace(self, arguments=tuple(moved))

    def about(self, image: int) -> Term:
        """Return the term for one image of a batch; see `Objective.about`."""
        if self.row not in (None, 0) or self.alone is not None:
            number = self.row if self.alone is None else self.alone
            raise InputError(
                f"{_caption(self)} is about image {number} of a batch and cannot be about image "
                f"{image} alone: an objective that compares the images of a batch needs a "
                "rendering of its own, such as render_vis(model, objective, lambda: "
                "param.image(128, batch=4))."
            )
        for _, value in self.arguments:
            if isinstance(value, Objective):
                value.about(image)  # for what it refuses; it gets this term's view of the batch
        return replace(self, alone=image)

    def value(self, T: Callable[[str], Tensor]) -> Tensor:
        """Return the score as a 0-d tensor, without its weight.

        Where the network saw several draws of each image, it is the mean of the draws' scores: a
        score sees the images of one draw at a time.

        Raises:
            InputError: the batch has no such row.
        """
        if self.alone is not None:
            T = OneImage(T, self.alone)
        draws = draws_of(T) if reads_activations(self.score) else 1
        if draws == 1:
            return self._value(T)
        return torch.stack([self._value(one_draw(T, n, draws)) for n in range(draws)]).mean()

    def _value(self, T: Callable[[str], Tensor]) -> Tensor:
        given = dict(self.arguments)
        for name, kind in parameter_kinds(self.score).items():
            if kind == "T":
                given[name] = T
            elif kind == "input":
                given[name] = self._row(T(INPUT), INPUT)
            elif kind == "layer":
                given[name] = self._row(channels_first(T, given[name]), given[name])
        return self.score(**given).mean()

    def _row(self, acts: Tensor, layer: str) -> Tensor:
        return acts if self.row is None else one_row(acts, self.row, layer)


def _moved(value: Any, name: str, kind: str, device: torch.device) -> Any:
    if kind == "numbers" and isinstance(value, Sequence) and not isinstance(value, str):
        # A list would be copied to the device in every step.
        value = fitted(value, torch.empty(0, dtype=torch.float64), name)
    if isinstance(value, Objective):
        return value.to(device)
    if not isinstance(value, Tensor):
        return value
    # Apple's GPUs have no float64.
    too_wide = device.type == "mps" and value.dtype == torch.float64
    return value.to(device, torch.float32 if too_wide else None)


def _union(layers: Iterable[frozenset[str] | None]) -> frozenset[str] | None:
    """Return all the layers, None where some of them are unknown."""
    union: frozenset[str] = frozenset()
    for names in layers:
        if names is None:
            return None
        union |= names
    return union


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
        self._plan: Plan | None = None

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
        made._plan = None
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
        return _union(term.layers for term in self.terms)

    def to(self, device: torch.device | str) -> Objective:
        """Return the objective with the numbers among its arguments on a device.

        Terms of one score and one layer are evaluated together there.
        """
        device, encoders = torch.device(device), dict[int, FrozenEncoder]()
        made = self._with(term.to(device, encoders) for term in self.terms)
        made._plan = Plan(made.terms, device)
        return made

    def about(self, image: int) -> Objective:
        """Return the same objective about one image of a batch, whatever its neighbours are.

        It sees a batch that consists of this image, and keeps a state of its own. So the sum of
        several objectives, each about an image of its own, makes all their pictures at once.

        >>> from lucent.optvis.objectives import channel
        >>> T = {"fc": torch.tensor([[1.0, 2.0], [3.0, 4.0]])}.get
        >>> channel("fc", 1).about(0)(T), channel("fc", 0).about(1)(T)
        (tensor(-2.), tensor(-3.))

        Args:
            image: number of the image, 0 to B - 1.

        Raises:
            InputError: it is no such number, or a term is about an image other than the first; when
                it is called, that the batch has no such image.
        """
        if whole(image, "image") < 0:
            raise InputError(f"image={image} has to be the number of an image, 0 or more.")
        return self._with(term.about(int(image)) for term in self.terms)

    def scheduled(self, schedule: Schedule) -> Objective:
        """Return the objective with a weight that changes from step to step.

        >>> from lucent.optvis.objectives import channel, total_variation
        >>> smooth = total_variation().scheduled(lambda step: 1 / (1 + step))
        >>> channel("mixed4a", 476) - 0.01 * smooth
        <Objective Sum(Channel [mixed4a, 476, None] +
        Total_Variation [input, None])>

        Args:
            schedule: function of the number of steps done to a factor; one that is defined at the
                top of a module can be pickled.

        Raises:
            InputError: the schedule is no function, or the objective has a constant or a schedule.
        """
        if not callable(schedule):
            raise InputError(
                f"schedule={schedule!r} has to be a function of the number of steps done, for "
                "example lambda step: 1 / (1 + step). A weight that stays is a factor: 0.5 * "
                "objective."
            )
        if self.bias or any(term.schedule is not None for term in self.terms):
            raise InputError(
                "Only an objective without a constant and without a schedule can be scheduled: "
                "schedule its parts before you add them."
            )
        return self._with(replace(term, schedule=schedule) for term in self.terms)

    def scores(self, T: Activations) -> dict[str, Tensor]:
        """Return the value of each term before its weight, 0-d, by its caption."""
        return dict(zip(self.captions(), self.values(T).unbind(), strict=True))

    def values(self, T: Activations) -> Tensor:
        """Return the value of each term before its weight, (n_terms,)."""
        if self._plan is not None:
            return self._plan.values(T)
        return torch.stack([term.value(T) for term in self.terms])

    def captions(self) -> list[str]:
        """Return one distinct caption per term."""
        names = self._descriptions if len(self._descriptions) == len(self.terms) else ()
        texts = [name or _caption(t) for t, name in zip_longest(self.terms, names)]
        counts = Counter(texts)
        return [text if counts[text] == 1 else f"{text} #{n}" for n, text in enumerate(texts)]

    def loss(self, values: Tensor, step: int = 0) -> Tensor:
        """Return the loss, 0-d.

        Args:
            values: of the terms, (n_terms,).
            step: number of steps done, for the weights that depend on it.
        """
        if self._plan is not None:
            weights = self._plan.weights(step, like=values)
        else:
            weights = constant([term.weight_at(step) for term in self.terms], like=values)
        return -(self.bias + (weights * values).sum())

    def __call__(self, T: Activations) -> Tensor:
        """Return the loss, 0-d."""
        return self.loss(self.values(T), getattr(T, "step", 0))

    def __repr__(self) -> str:
        return f"<Objective {self.description or self.name or _caption(self.terms[0])}>"

    def _with(self, terms: Iterable[Term], bias: float | None = None) -> Objective:
        made = Objective.of(terms, self.bias if bias is None else bias)
        made._names, made._descriptions = self._names, self._descriptions
        return made

    def _scaled(self, factor: float) -> Objective:
        scaled = (replace(term, weight=term.weight * factor) for term in self.terms)
        return self._with(scaled, self.bias * factor)

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


def _caption(term: Term) -> str:
    if term.score is opaque:
        function = dict(term.arguments)["function"]
        return str(getattr(function, "__name__", type(function).__name__))
    return described(term.score.__name__, [*dict(term.arguments).values(), term.row])


def described(name: str, arguments: Iterable[Any]) -> str:
    """Return the description of an objective, as Lucid and torch-lucent write it."""
    return f"{name.title()} [{', '.join(map(_argument_text, arguments))}]"


def _argument_text(argument: Any) -> str:
    text = encoder_name(argument) if isinstance(argument, nn.Module) else str(argument)
    return "..." if len(text) > 15 or "\n" in text else text


def as_objective(obj: Objective | Callable[[Activations], Tensor] | str) -> Objective:
    """Return an objective for an objective, a function from `T` to a loss, or a string.

    Args:
        obj: as a string, `"layer:channel"`, `"layer:channel:x:y"` for one neuron at column x
            and row y, `"layer:channel@cls"` for one of a class token, or
            `"labels:golden retriever"` for a class by its label.

    Raises:
        InputError: it is none of these.
    """
    from lucent.optvis.objectives.neurons import channel, class_logit, neuron

    if isinstance(obj, Objective):
        return obj
    if isinstance(obj, str):
        layer, unit = parsed(obj)
        if isinstance(unit, str):
            return class_logit(layer, unit)
        return channel(layer, *unit) if len(unit) == 1 else neuron(layer, *unit)
    if callable(obj):
        return Objective(obj)
    raise InputError(
        f"{obj!r} of type {type(obj).__name__} is not an objective. Give a string "
        "like 'mixed4a:476', an Objective such as objectives.channel('mixed4a', 476), or a "
        "function from T to a loss."
    )
