"""Scores of users: what they may look like, and what is said of those that cannot be used."""

from __future__ import annotations

import functools
import gc
import types
import weakref

import pytest
import torch
from reference import normal
from reference_scores import Pass
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.optvis.objectives import Acts, Objective, channel, channel_weight, objective, product

CPU = torch.device("cpu")


def vector(n):
    return normal(4, seed=20 + n)


def passed():
    return Pass(conv=normal(3, 4, 5, 8))


class Copies(TorchDispatchMode):
    """Notes how many numbers each operation gives."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        self.sizes += [made.numel()] if isinstance(made, Tensor) else []
        return made


# Many terms at once


def test_a_function_of_many_terms_gets_a_row_for_each_also_of_equal_arguments():
    seen = []

    @objective
    def dot(layer: Acts, goal: Tensor, at: int, power: float = 1.0) -> Tensor:
        return (layer[:, :, at, at] * goal).sum(1) ** power

    @dot.many
    def dots(acts: Tensor, rows: Tensor, goal: Tensor, at: Tensor, power: float) -> Tensor:
        seen.append((goal.shape, at.shape, power))
        return torch.einsum("ndbc,nc->ndb", acts[rows, ..., at, at], goal) ** power

    T = passed()
    for n in (0, 1):
        made = Objective.sum(dot("conv", vector(n * b), n * b, batch=b) for b in range(3))
        assert torch.allclose(made.to(CPU).values(T), made.values(T), rtol=0, atol=1e-13)
    assert seen == [((3, 4), (3,), 1.0)] * 2


@pytest.mark.parametrize(
    "function",
    [
        lambda acts, rows, n: acts,
        lambda acts, rows, n, power, more: acts,
        lambda acts, n, power: acts,
        lambda: None,
    ],
)
def test_a_function_of_many_terms_has_to_take_their_arguments(function):
    @objective
    def score(layer: Acts, n: int, T: Activations, *, power: float = 2.0) -> Tensor:
        return layer[:, n].mean() ** power

    message = r"many terms of 'score': .*Define it as <lambda>\(acts, rows, n, power\)"
    with pytest.raises(InputError, match=message):
        score.many(function)


def test_an_argument_called_rows_cannot_be_had_by_a_function_of_many_terms():
    @objective
    def score(layer: Acts, rows: int) -> Tensor:
        return layer[:, rows].mean()

    with pytest.raises(InputError, match="multiple values for argument 'rows'"):
        score.many(lambda acts, rows: acts)


def branching(layer: Acts, goal: Tensor) -> Tensor:
    return layer.mean() if goal.sum() > 0 else -layer.mean()


def reading_back(layer: Acts, goal: Tensor) -> Tensor:
    return layer.mean() * goal.max().item()


def writing(layer: Acts, goal: Tensor) -> Tensor:
    weights = torch.zeros(4, dtype=goal.dtype)
    weights[0] += goal[0]
    return (layer.mean((2, 3)) * weights).sum(1)


def drawing(layer: Acts, goal: Tensor) -> Tensor:
    return (layer.mean((2, 3)) * torch.rand(4)).sum(1)


def copied(score):
    """A function of its own, because a factory leaves its mark on a score."""
    made = types.FunctionType(score.__code__, score.__globals__, score.__name__)
    made.__annotations__ = score.__annotations__
    return made


@pytest.mark.parametrize("score", [branching, reading_back, writing, drawing])
def test_a_score_that_cannot_be_mapped_says_so(score):
    factory = objective(mapped=True)(copied(score))
    placed = Objective.sum(factory("conv", vector(n)) for n in range(3)).to(CPU)
    message = f"(?s)'{score.__name__}' works for one .* not for 3 together: .* Leave out mapped="
    with pytest.raises(InputError, match=message):
        placed(passed())


def test_no_memory_for_many_terms_stays_that_error():
    @objective
    def greedy(layer: Acts, n: int) -> Tensor:
        return layer[:, n].mean()

    @greedy.many
    def much(acts, rows, n: Tensor):
        raise torch.OutOfMemoryError("no memory")

    placed = Objective.sum(greedy("conv", n) for n in range(3)).to(CPU)
    with pytest.raises(torch.OutOfMemoryError, match="no memory"):
        placed(passed())


def test_scores_that_are_gone_take_what_they_knew_with_them():
    def gone():
        known = vector(0)

        @objective
        def score(layer: Acts) -> Tensor:
            return layer.mean() * known.sum()

        score("conv").to(CPU)(passed())
        return weakref.ref(known)

    first, *_ = [gone() for _ in range(200)]
    gc.collect()
    assert first() is None


def test_terms_are_asked_again_where_as_many_rows_are_more_draws():
    placed = Objective.sum(channel("conv", n, batch=2 * n) for n in range(3)).to(CPU)
    T = Pass(conv=normal(6, 4, 5, 8))
    placed(T)
    T.draws = 2
    with pytest.raises(InputError, match=r"batch=4 .* gives 3 rows"):
        placed(T)


def test_terms_are_asked_without_keeping_what_a_gradient_needs():
    graded = []

    @objective(mapped=True)
    def score(layer: Acts) -> Tensor:
        graded.append(torch.is_grad_enabled())
        return layer.mean()

    Objective.sum(score("conv", batch=n) for n in range(3)).to(CPU)(passed())
    assert graded == [False, False, False, True]


def test_terms_about_the_whole_batch_do_not_copy_the_layer_for_each():
    @objective(mapped=True)
    def score(layer: Acts, goal: Tensor) -> Tensor:
        return (layer.mean((2, 3)) * goal).sum(1)

    T = passed()
    with Copies() as copies:
        Objective.sum(score("conv", vector(n)) for n in range(9)).to(CPU)(T)
    assert max(copies.sizes) <= T.acts["conv"].numel()


def test_objectives_in_a_product_are_placed_with_it():
    inner, asked, T = Objective.sum(channel("conv", n) for n in range(4)), [], passed()
    placed = product(inner, inner).to(CPU)

    def counting(layer):
        asked.append(layer)
        return T(layer)

    assert placed(counting).item() == pytest.approx(-(inner(T).item() ** 2), abs=1e-14)
    asked.clear()
    placed(counting)
    assert asked == ["conv", "conv"]


# Annotations and parameters


def written(text):
    """What a module defines whose annotations are text, and which imports Acts alone."""
    names = {"Acts": Acts}
    exec(f"from __future__ import annotations\n{text}", names)
    return names["score"]


def test_annotations_may_be_text():
    factory = objective(written("def score(layer: Acts, n: int): return layer[:, n].mean()"))
    T = passed()
    assert factory("conv", 2)(T) == -T.acts["conv"][:, 2].mean()


class Callable:
    def __call__(self, layer: Acts) -> Tensor:
        return layer.mean()


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (
            written("def score(layer: Acts, goal: Tensor): return layer"),
            r"'score' cannot be read: name 'Tensor' is not defined\. Import it .*TYPE_CHECKING",
        ),
        (
            written("def score(layer: Acts, /): return layer"),
            "the parameter 'layer', which is positional-only: scores get all arguments by name",
        ),
        (
            written("def score(layer: Acts, *units: int): return layer"),
            "the parameter 'units', which is variadic positional",
        ),
        (
            written("def score(layer: Acts, **options): return layer"),
            "the parameter 'options', which is variadic keyword",
        ),
        (
            written("def score(layer: Acts, batch: int): return layer"),
            r"'score' has a parameter 'batch', which is added .*@objective\(whole_batch=True\)",
        ),
        (Callable(), r"is no function: write the score as def name\(layer: Acts\)"),
        (functools.partial(max, 1), "is no function: write the score as def name"),
    ],
)
def test_a_score_that_a_term_cannot_call_is_refused(score, message):
    with pytest.raises(InputError, match=message):
        objective(score)


def test_a_score_that_compares_images_may_have_a_parameter_batch():
    factory = objective(whole_batch=True)(
        written("def score(layer: Acts, batch: int): return layer[batch].mean()")
    )
    T = passed()
    assert factory("conv", 2)(T) == -T.acts["conv"][2].mean()


def test_the_device_may_be_its_name():
    T, made = passed(), channel_weight("conv", [0.1, 0.2, 0.3, 0.4])
    assert torch.allclose(made.to("cpu")(T), made(T), rtol=0, atol=1e-15)
