"""Objectives: their arithmetic, what they say of themselves, and how users make them."""

from __future__ import annotations

import itertools
import operator
import pickle

import numpy as np
import pytest
import torch
from torch import Tensor

from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.optvis import objectives
from lucent.optvis.objectives import (
    Acts,
    Objective,
    Term,
    as_objective,
    channel,
    neuron,
    objective,
    wrap_objective,
)

ACTS = torch.randn(3, 4, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
VECTORS = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
T = {"conv": ACTS, "fc": VECTORS}.get

A, B = channel("conv", 1), neuron("conv", 2, x=7, y=1)
LOSS_A, LOSS_B = -ACTS[:, 1].mean().item(), -ACTS[:, 2, 1, 7].mean().item()


@objective
def contrast(layer: Acts, power: float = 2.0, *, at: int = 0) -> Tensor:
    """An objective as users write them, in a module so that it can be pickled."""
    return (layer[:, at] ** power).flatten(1).mean(1)


def user_loss(T):
    return T("conv")[:, 3].sum()


def value(made):
    return made(T).item()


# Arithmetic


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (A + 2, LOSS_A + 2),
        (2 + A, LOSS_A + 2),
        (A - 2, LOSS_A - 2),
        (2 - A, 2 - LOSS_A),
        (-A, -LOSS_A),
        (A * 3, 3 * LOSS_A),
        (3 * A, 3 * LOSS_A),
        (A / 4, LOSS_A / 4),
        (A + B, LOSS_A + LOSS_B),
        (A - B, LOSS_A - LOSS_B),
        (-(A - 2 * B + 1) / 2 - 0.5, -(LOSS_A - 2 * LOSS_B + 1) / 2 - 0.5),
        (3 * (1 - A) - (B - 1), 3 * (1 - LOSS_A) - (LOSS_B - 1)),
        (sum([A, B, A]), 2 * LOSS_A + LOSS_B),
        (Objective.sum([A, B, A]), 2 * LOSS_A + LOSS_B),
        (Objective.sum(made - 1 for made in (A, B)), LOSS_A + LOSS_B - 2),
        ("conv:1" + B, LOSS_A + LOSS_B),
        (B - "conv:1", LOSS_B - LOSS_A),
        (A + user_loss, LOSS_A + ACTS[:, 3].sum().item()),
        (user_loss - A, ACTS[:, 3].sum().item() - LOSS_A),
        (-2 * as_objective(user_loss), -2 * ACTS[:, 3].sum().item()),
    ],
    ids=itertools.count(),
)
def test_arithmetic_acts_on_the_loss(made, expected):
    # Some of the sums reach 10, where eight roundings of doubles stay far below this.
    assert value(made) == pytest.approx(expected, abs=1e-13, rel=1e-14)


@pytest.mark.parametrize("two", [2, 2.0, np.float32(2), np.int64(2), np.array(2.0)])
def test_numbers_of_numpy_stand_on_either_side(two):
    made = [two * A, A * two, A + two, two + A, A - two, two - A, A / two]
    expected = [2 * LOSS_A] * 2 + [LOSS_A + 2] * 2 + [LOSS_A - 2, 2 - LOSS_A, LOSS_A / 2]
    assert [value(part) for part in made] == pytest.approx(expected, abs=1e-14)


def test_tensors_with_one_value_stand_on_either_side():
    two = torch.tensor(2)
    made = [two * A, A * two, A + two, two + A, A - two, two - A, A / two]
    expected = [2 * LOSS_A] * 2 + [LOSS_A + 2] * 2 + [LOSS_A - 2, 2 - LOSS_A, LOSS_A / 2]
    assert [value(part) for part in made] == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize(
    ("operation", "verb"), [(operator.mul, "multiply"), (operator.truediv, "divide")]
)
def test_factors_are_numbers(operation, verb):
    message = (
        f"Can only {verb} by int or float. "
        "Received type <class 'lucent.optvis.objectives.Objective'>"
    )
    with pytest.raises(TypeError) as error:
        operation(A, B)
    assert str(error.value) == message
    with pytest.raises(TypeError, match=f"Can only {verb} by int or float. Received .*'str'"):
        operation(A, "2")
    with pytest.raises(TypeError, match=f"Can only {verb} by int or float. Received .*ndarray"):
        operation(A, np.ones(2))


def test_operators_change_neither_side():
    left, right = channel("conv", 1) + 1, neuron("conv", 2)
    left.name, left.description = "left", "Left"

    def state():
        return [(o.terms, o.bias, o.name, o.description, value(o)) for o in (left, right)]

    before = state()
    for made in (left + right, left - right, -left, 2 * left, left / 2, 1 - left, left + 1):
        made.name, made.description = "other", "Other"
    Objective.sum([left, right]).name = "sum"
    assert state() == before


def test_sum_of_thousands_of_terms_works_and_prints_and_pickles():
    many = sum(channel("conv", n % 4) for n in range(5000))
    expected = -1250 * ACTS.mean((0, 2, 3)).sum().item()
    # Each of the 5,000 additions rounds to half a unit of its last place.
    assert value(many) == pytest.approx(expected, abs=5000 * 2**-53 * 100)
    assert repr(many).count("Channel [conv, ") == 5000
    assert value(pickle.loads(pickle.dumps(many))) == value(many)
    assert len(set(many.captions())) == 5000


def test_sum_of_nothing():
    with pytest.raises(InputError, match="at least one"):
        Objective.sum([])
    with pytest.raises(InputError, match="at least one"):
        Objective.of([])


# Names


def test_description_lists_all_arguments():
    assert channel("mixed4a", 476).description == "Channel [mixed4a, 476, None]"
    assert channel("mixed4a", 476, batch=1).description == "Channel [mixed4a, 476, 1]"
    assert neuron("mixed4d", 2, y=3).description == "Neuron [mixed4d, 2, None, 3, None]"
    assert channel("mixed4a", 476).name == "channel"


def test_description_leaves_out_what_is_long():
    assert channel("fifteen_letters", 0).description == "Channel [fifteen_letters, 0, None]"
    assert channel("mixed4a_pre_relu", 476).description == "Channel [..., 476, None]"
    assert contrast("a\nb").description == "Contrast [..., 2.0, 0, None]"


def test_names_of_sums_and_scaled_objectives():
    assert (A + B).name == "channel, neuron"
    assert (A + B).description == f"Sum({A.description} +\n{B.description})"
    assert (A + B - A).description == f"Sum({A.description} +\n{B.description} +\n{A.description})"
    assert Objective.sum([A, B]).description == (A + B).description
    assert Objective.sum([A]).description == A.description
    for made in (2 * A, -A, A + 1, 1 - A, A / 2, sum([A])):
        assert (made.name, made.description) == (A.name, A.description)


def test_names_can_be_assigned():
    made = A + B
    made.name, made.description = "style", "Style of a picture"
    assert (made.name, made.description) == ("style", "Style of a picture")
    assert (2 * made + A).description == f"Sum(Style of a picture +\n{A.description})"
    assert (made + A).name == "style, channel"


def test_repr_says_what_it_is():
    assert repr(A) == "<Objective Channel [conv, 1, None]>"
    assert repr(Objective(user_loss)) == "<Objective user_loss>"
    assert repr(Objective(user_loss, "named")) == "<Objective named>"


# Scores


def test_scores_are_the_unweighted_values_by_caption():
    scores = (3 * A - B + 7).scores(T)
    assert {caption: score.item() for caption, score in scores.items()} == {
        "Channel [conv, 1, None]": pytest.approx(-LOSS_A, abs=1e-14),
        "Neuron [conv, 2, 7, 1, None]": pytest.approx(-LOSS_B, abs=1e-14),
    }
    assert all(score.ndim == 0 for score in scores.values())


def test_captions_are_distinct():
    made = A + user_loss + 2 * A + user_loss + (lambda T: T("conv").mean())
    assert made.captions() == [
        "Channel [conv, 1, None] #0",
        "user_loss #1",
        "Channel [conv, 1, None] #2",
        "user_loss #3",
        "<lambda>",
    ]
    assert len(made.scores(T)) == 5


def test_captions_are_the_descriptions_where_each_term_has_one():
    named = Objective(user_loss, description="Brightness")
    assert (A - named).captions() == ["Channel [conv, 1, None]", "Brightness"]
    both = A + B
    both.description = "Both"
    assert (both + named).captions() == [A.description, B.description, "user_loss"]


def test_loss_is_a_function_of_the_values():
    made = 3 * A - B + 7
    assert made.loss(made.values(T)).item() == value(made)
    assert made(T).ndim == 0


def test_layers_are_known_before_the_first_pass():
    assert A.layers == {"conv"}
    assert (A - channel("fc", 0)).layers == {"conv", "fc"}
    assert as_objective(user_loss).layers is None
    assert (A + user_loss).layers is None


# Conversion


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("conv:1", A),
        (" conv : 1 ", A),
        ("conv:2:7:1", B),
        ("conv:0:0:0", neuron("conv", 0, x=0, y=0)),
    ],
)
def test_string_means_a_channel_or_a_neuron(text, same):
    made = as_objective(text)
    assert made.description == same.description
    assert value(made) == value(same)


@pytest.mark.parametrize(
    "text", ["", "conv", "conv:", ":1", "conv:1:2", "conv:x", "conv:-1", "conv:1:2:3:4", "conv:1.0"]
)
def test_string_of_another_form(text):
    with pytest.raises(InputError) as error:
        as_objective(text)
    assert repr(text) in str(error.value)
    assert "'layer:channel' or 'layer:channel:x:y'" in str(error.value)


@pytest.mark.parametrize("thing", [3, None, ["conv:1"], ("conv", 1)])
def test_thing_that_is_no_objective(thing):
    with pytest.raises(InputError) as error:
        as_objective(thing)
    assert f"{thing!r} of type {type(thing).__name__} is not an objective" in str(error.value)
    with pytest.raises(InputError):
        Objective.sum([thing])


def test_objective_stays_itself():
    assert as_objective(A) is A


# Functions of users


def test_plain_function_is_a_loss():
    assert value(Objective(user_loss)) == ACTS[:, 3].sum().item()
    assert value(as_objective(lambda T: T("conv").mean((1, 2, 3)))) == pytest.approx(
        ACTS.mean().item(), abs=1e-14
    )


@pytest.mark.parametrize("returned", [None, 3.0, np.float64(1)])
def test_plain_function_has_to_return_a_tensor(returned):
    def careless(T):
        return returned

    with pytest.raises(InputError, match=r"'careless' returned .* has to return a loss"):
        Objective(careless)(T)


@pytest.mark.parametrize("decorator", [wrap_objective, wrap_objective()])
def test_wrap_objective_makes_a_factory(decorator):
    @decorator
    def direction(layer, vec, batch=None):
        """Of a vector."""

        def inner(T):
            return -(T(layer) * vec.view(1, -1, 1, 1)).mean()

        return inner

    vec = torch.arange(4.0, dtype=torch.float64)
    made = direction("conv", vec)
    assert isinstance(made, Objective)
    assert value(made) == pytest.approx(-(ACTS * vec.view(1, -1, 1, 1)).mean().item(), abs=1e-14)
    assert (made.name, made.description) == ("direction", "Direction [conv, ..., None]")
    assert direction("conv", batch=2, vec=1).description == "Direction [conv, 1, 2]"
    assert (direction.__name__, direction.__doc__) == ("direction", "Of a vector.")
    assert value(2 * made - A) == pytest.approx(2 * value(made) - LOSS_A, abs=1e-13)


def test_objective_decorator_makes_a_factory_with_rows():
    made = contrast("conv", 3, batch=1, at=2)
    assert value(made) == pytest.approx(-(ACTS[1, 2] ** 3).mean().item(), abs=1e-13)
    assert value(contrast("conv")) == pytest.approx(-(ACTS[:, 0] ** 2).mean().item(), abs=1e-13)
    assert made.layers == {"conv"}
    assert contrast.__name__ == "contrast"
    assert "as users write them" in contrast.__doc__
    with pytest.raises(TypeError, match="layer"):
        contrast()
    with pytest.raises(TypeError, match="colour"):
        contrast("conv", colour=1)


def test_objective_decorator_hands_on_the_activations():
    @objective
    def ramp(layer: Acts, T: Activations, other: Acts) -> Tensor:
        return T("fc")[:, 0] + layer[:, 0, 0, 0] + other.flatten(1)[:, 1]

    made = ramp("conv", "fc", batch=2)
    # What is asked of T is the whole batch, what is annotated as Acts is the row.
    expected = -(VECTORS[:, 0].mean() + ACTS[2, 0, 0, 0] + VECTORS[2, 1]).item()
    assert value(made) == pytest.approx(expected, abs=1e-14)
    assert made.layers == {"conv", "fc"}
    assert made.description == "Ramp [conv, fc, 2]"


def test_term_can_be_used_without_a_decorator():
    def total(layer: Acts) -> Tensor:
        return layer.sum()

    made = Objective.of([Term(total, (("layer", "conv"),), weight=2.0, row=0)], bias=5)
    assert value(made) == pytest.approx(-(5 + 2 * ACTS[0].sum().item()), abs=1e-12)


@pytest.mark.parametrize(
    "made",
    [A, 2 * A - B + 1, contrast("conv", 3, at=1), Objective(user_loss, "name", "Text"), A + "fc:0"],
)
def test_objectives_are_pickled_with_their_names(made):
    again = pickle.loads(pickle.dumps(made))
    assert value(again) == value(made)
    assert (again.name, again.description, again.layers) == (
        made.name,
        made.description,
        made.layers,
    )


def test_public_names_are_those_of_the_package():
    assert str(Objective) == "<class 'lucent.optvis.objectives.Objective'>"
    assert objectives.Objective is Objective
