"""Decorators that make factories of objectives: `@objective`, and torch-lucent's spellings."""

from __future__ import annotations

import functools
import inspect
import numbers
from collections.abc import Callable, Iterable
from typing import Any, Protocol, overload

import numpy as np
import torch
from torch import Tensor

from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.optvis.objectives.base import Objective, Term, as_objective, described
from lucent.optvis.objectives.gather import Many, ManyFn
from lucent.optvis.objectives.reading import ScoreFn, SomeRows, one_row, parameter_kinds


class Factory(Protocol):
    """What `objective` makes of a score.

    Attributes:
        score: the score.
        many: decorator of a function that evaluates many terms of it by one gather.
    """

    score: ScoreFn
    many: Callable[[ManyFn], ManyFn]

    def __call__(self, *args: Any, **kwargs: Any) -> Objective:
        """Return an objective that has the score as its only term."""


@overload
def objective(score: ScoreFn, *, whole_batch: bool = False, mapped: bool = False) -> Factory: ...


@overload
def objective(
    score: None = None, *, whole_batch: bool = False, mapped: bool = False
) -> Callable[[ScoreFn], Factory]: ...


def objective(
    score: ScoreFn | None = None, *, whole_batch: bool = False, mapped: bool = False
) -> Any:
    """Turn a score into a factory of objectives.

    The parameters annotated `Acts` become layer names, those annotated `Input` or `Activations` are
    filled in, and `batch=None` is added: the row of the batch that the objective is about.

    >>> from lucent.optvis.objectives import Acts
    >>> @objective
    ... def brightness(layer: Acts) -> Tensor:
    ...     return layer.flatten(1).mean(1)
    >>> brightness("input", batch=1) - 2 * brightness("input", batch=0)
    <Objective Sum(Brightness [input, 1] +
    Brightness [input, 0])>

    Args:
        score: function of activations and numbers to (B,), or to () where it sums over the batch.
            An array or a tensor among its arguments has to be finite, and is on the device of the
            model when the score gets it during a run.
        whole_batch: the score compares the images of the batch: no `batch` is added.
        mapped: `torch.vmap` can map the score, so that a run evaluates all terms of it that differ
            in their row and in tensors at once. Where they differ in whole numbers, too, a function
            decorated by `factory.many` does so.

    Raises:
        InputError: the score reads no activation, or, if it is mapped, several, or it is no
            function of named parameters whose annotations are known.
    """
    if score is None:
        return functools.partial(objective, whole_batch=whole_batch, mapped=mapped)
    signature, kinds = _factory_signature(score, whole_batch), parameter_kinds(score)

    @functools.wraps(score)
    def factory(*args: Any, **kwargs: Any) -> Objective:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments = {
            name: _AS.get(kinds.get(name, ""), _as_value)(name, value)
            for name, value in bound.arguments.items()
        }
        row = None if whole_batch else _as_row(arguments.pop("batch"))
        term = Term(score, tuple(arguments.items()), row=row)
        shown = [*arguments.values()] + ([] if whole_batch else [row])
        description = described(score.__name__, shown)
        return Objective.of([term], name=score.__name__, description=description)

    factory.__signature__ = signature  # type: ignore[attr-defined]
    factory.score = score  # type: ignore[attr-defined]
    factory.many = functools.partial(_add_many, score)  # type: ignore[attr-defined]
    if mapped:
        score.many = Many.of(score)  # type: ignore[attr-defined]
    # Pickle finds a function by its name, and the name now belongs to the factory.
    score.__qualname__ = f"{score.__qualname__}.score"
    return factory


def _add_many(score: ScoreFn, function: ManyFn) -> ManyFn:
    score.many = Many.of(score, function)  # type: ignore[attr-defined]
    return function


def _factory_signature(score: ScoreFn, whole_batch: bool) -> inspect.Signature:
    kinds = _known_kinds(score)
    if not {"layer", "input", "T"} & {*kinds.values()}:
        raise InputError(
            f"The objective {score.__name__!r} has no layer: annotate the parameters that are "
            "layers with objectives.Acts, as in def mean(layer: Acts) -> Tensor."
        )
    parameters = inspect.signature(score).parameters.values()
    _check_parameters(score, parameters, whole_batch)
    given = [p for p in parameters if kinds[p.name] not in ("input", "T")]
    positional = [p for p in given if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    named = given[len(positional) :]
    if not whole_batch:
        # Without another positional argument a bare number would not say what it is.
        kind = (
            inspect.Parameter.POSITIONAL_OR_KEYWORD
            if positional
            else inspect.Parameter.KEYWORD_ONLY
        )
        batch = inspect.Parameter("batch", kind, default=None)
        positional, named = ([*positional, batch], named) if positional else ([], [batch, *named])
    return inspect.Signature([*positional, *named], return_annotation=Objective)


def _known_kinds(score: ScoreFn) -> dict[str, str]:
    if not inspect.isfunction(score):
        raise InputError(f"{score!r} is no function: write the score as def name(layer: Acts).")
    try:
        return parameter_kinds(score)
    except NameError as error:
        raise InputError(
            f"The annotations of the objective {score.__name__!r} cannot be read: {error}. Import "
            "it at the top of the module, outside of `if TYPE_CHECKING`, or leave it out."
        ) from error


def _check_parameters(
    score: ScoreFn, parameters: Iterable[inspect.Parameter], whole_batch: bool
) -> None:
    """Refuse parameters that a term cannot give by name."""
    unnamed = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.VAR_KEYWORD,
    )
    for parameter in parameters:
        if parameter.kind in unnamed:
            raise InputError(
                f"The objective {score.__name__!r} has the parameter {parameter.name!r}, which "
                f"is {parameter.kind.description}: scores get all arguments by name, so give each "
                "a parameter of its own."
            )
        if parameter.name == "batch" and not whole_batch:
            raise InputError(
                f"The objective {score.__name__!r} has a parameter 'batch', which is added to "
                "every score: leave it out, or write @objective(whole_batch=True) for one that "
                "compares the images of a batch."
            )


def _as_layer(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(
            f"{name}={value!r} is not the name of a layer: give a string, such as '0' for the "
            "first of a Sequential. lucent.modelzoo.util.get_model_layers(model) lists them."
        )
    return value


def _as_value(name: str, value: Any) -> Any:
    """Return an argument as a term keeps it: arrays as tensors of their own, all of them finite.

    A tensor with one value becomes a number, such as the channel that `argmax` gave.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        # torch takes arrays of this machine's byte order only.
        value = torch.from_numpy(np.array(value, value.dtype.newbyteorder("="), order="C"))
    if isinstance(value, Tensor):
        value = value.detach().clone()
        if not value.isfinite().all():
            raise InputError(
                f"{name} has NaN or infinite values (of shape {tuple(value.shape)}); expected "
                "finite numbers: torch.nan_to_num replaces them."
            )
        return value.item() if value.dim() == 0 else value
    return value


#: How a term keeps an argument of a kind; of other kinds as values.
_AS: dict[str, Callable[[str, Any], Any]] = {"layer": _as_layer, "encoder": lambda _, value: value}


def _as_row(batch: Any) -> int | None:
    batch = _as_value("batch", batch)
    if batch is None:
        return None
    if isinstance(batch, bool) or not isinstance(batch, numbers.Integral):
        raise InputError(
            f"batch={batch!r} is not the number of an image: give an integer, or None for the mean."
        )
    return int(batch)


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
            function(*args, **kwargs), function.__name__, described(function.__name__, arguments)
        )

    return factory


def handle_batch(batch: int | None = None) -> Callable[..., Any]:
    """Make a loss function of `T` see one image of the batch only; torch-lucent's decorator.

    >>> @handle_batch(batch=1)
    ... def brightness(T):
    ...     return -T("input").mean()
    >>> brightness({"input": torch.arange(3.0)}.get)
    tensor(-1.)

    Args:
        batch: number of the image; None leaves the function as it is.

    Raises:
        InputError: `batch` is no integer, or, when it is called, the batch has no such image.
    """
    row = _as_row(batch)

    def decorator(loss: Callable[[Any], Tensor]) -> Callable[[Any], Tensor]:
        if row is None:
            return loss
        return functools.wraps(loss)(
            lambda T: loss(SomeRows(T, lambda acts, layer: one_row(acts, row, layer)))
        )

    return decorator


def product(a: Objective, b: Objective) -> Objective:
    """Return the objective whose score is the product of two objectives' scores.

    It wants both at once: an image that has one of them only is worth nothing. Two negative scores
    have a positive product, so give objectives whose scores are positive.

    >>> from lucent.optvis.objectives import channel, transparency
    >>> product(channel("mixed4a", 476), transparency())
    <Objective Product [Channel [mixed4a, 476, None], Transparency [None]]>

    Args:
        a: any objective.
        b: any objective.
    """
    a, b = as_objective(a), as_objective(b)
    description = f"Product [{a.description or a.name}, {b.description or b.name}]"
    terms = [Term(_product, (("a", a), ("b", b)))]
    return Objective.of(terms, name="product", description=description)


def _product(a: Objective, b: Objective, T: Activations) -> Tensor:
    return a(T) * b(T)
