"""Decorators that make objectives of scores: what they fill in, add, keep and refuse."""

from __future__ import annotations

import inspect
import pickle

import numpy as np
import pytest
import torch

from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.labels import label_index
from lucent.optvis.objectives import (
    Acts,
    Input,
    Objective,
    activation_difference,
    as_objective,
    channel,
    class_logit,
    direction,
    handle_batch,
    neuron,
    objective,
    product,
)

ACTS = torch.arange(24.0).view(3, 2, 2, 2)
IMAGE = torch.tensor([1.0, 2.0, 4.0]).view(3, 1, 1, 1)


class Captured(dict):
    """Activations by name with what a run puts beside them."""

    labels = ("cat", "dog, hound", "hot dog")
    draws = 1
    step = 0

    __call__ = dict.__getitem__


T = Captured(conv=ACTS, input=IMAGE, labels=torch.tensor([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]))


@objective
def brightness(image: Input) -> torch.Tensor:
    return image.flatten(1).mean(1)


@objective
def along(layer: Acts, vec: torch.Tensor) -> torch.Tensor:
    return (layer.mean((2, 3)) * vec.to(layer)).sum(1)


@objective(whole_batch=True)
def spread(layer: Acts, batch: int = 0) -> torch.Tensor:
    return (layer - layer[batch]).abs().mean()


def halving(step):
    return 0.5**step


def arguments(factory):
    return {
        name: (parameter.kind.name, parameter.default)
        for name, parameter in inspect.signature(factory).parameters.items()
    }


def test_the_image_is_filled_in_and_is_no_layer():
    assert brightness()(T) == pytest.approx(-7 / 3)
    assert brightness(batch=1)(T) == -2
    assert brightness().layers == frozenset()
    assert arguments(brightness) == {"batch": ("KEYWORD_ONLY", None)}


def test_a_score_of_the_whole_batch_has_no_row_but_may_have_its_own_batch():
    assert arguments(spread)["batch"] == ("POSITIONAL_OR_KEYWORD", 0)
    assert spread("conv", batch=2)(T) == -8  # 16, 8 and 0 on the mean
    assert "batch" not in arguments(objective(whole_batch=True)(lambda_score))


def lambda_score(layer: Acts) -> torch.Tensor:
    return layer.mean()


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_an_array_is_copied_so_that_the_objective_stays_what_it_was(kind):
    vec = kind([1.0, 0.0])
    made = along("conv", vec)
    before = made(T)
    vec[1] = 100.0
    assert made(T).item() == before.item() == -ACTS[:, 0].mean().item()


@pytest.mark.parametrize("two", [torch.tensor(2), np.array(2), torch.tensor([0, 0, 9]).argmax()])
def test_a_tensor_with_one_value_is_a_number(two):
    made = channel("conv", two - 1, batch=two)
    assert repr(made) == "<Objective Channel [conv, 1, 2]>"
    assert made(T) == -ACTS[2, 1].mean()
    assert handle_batch(two)(lambda T: T("conv"))(T).shape[0] == 1
    with pytest.raises(InputError, match=r"batch=.*1\.5.* is not the number of an image"):
        channel("conv", 0, batch=two - 0.5)


@pytest.mark.parametrize(
    "vec", [np.array([1.0, 2.0], ">f4"), np.array([2.0, 1.0])[::-1], np.array([1, 2], ">u2")]
)
def test_an_array_of_any_layout_is_taken(vec):
    assert along("conv", vec)(T) == along("conv", torch.tensor([1.0, 2.0]))(T)


@pytest.mark.parametrize("thing", [np.array(["a", "b"]), np.array([[1], {}], object), None])
def test_what_is_no_numbers_is_said_so(thing):
    with pytest.raises(InputError, match="direction=.* cannot be made a tensor: give numbers"):
        direction("conv", thing)(T)


@pytest.mark.parametrize("layer", [0, None, torch.nn.ReLU()])
def test_a_layer_that_is_no_name(layer):
    for make in (channel, lambda layer, n: activation_difference([layer])):
        with pytest.raises(InputError, match=r"layer=.* is not the name of a layer: .*'0' for the"):
            make(layer, 1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_direction_with_nan_is_refused_when_it_is_given(value):
    with pytest.raises(InputError, match=r"vec has NaN or infinite values \(of shape \(2,\)\)"):
        along("conv", np.array([1.0, value]))


def test_to_moves_the_tensors_of_products_too():
    made = product(along("conv", torch.ones(2)), along("conv", np.ones(2))) + along(
        "conv", torch.ones(2)
    )
    moved = made.to(torch.device("meta"))
    inner = [term for arg in moved.terms[0].arguments for term in arg[1].terms]
    tensors = [dict(term.arguments)["vec"] for term in [*inner, moved.terms[1]]]
    assert [t.device.type for t in tensors] == ["meta"] * 3
    assert moved.description == made.description
    assert dict(made.terms[1].arguments)["vec"].device.type == "cpu"


def test_product_multiplies_scores_and_knows_the_layers():
    made = product(channel("conv", 0), 2 * brightness() - 1)
    score = -(channel("conv", 0)(T).item()) * (2 * 7 / 3 + 1)
    assert made(T).item() == pytest.approx(-score)
    assert made.layers == {"conv"}
    assert product("conv:0", lambda T: T("conv").sum()).layers is None
    assert repr(made).startswith("<Objective Product [Channel [conv, 0, None], Brightness [None]")
    assert pickle.loads(pickle.dumps(made))(T) == made(T)


def test_product_of_a_row_is_about_that_row():
    made = product(channel("conv", 0, batch=1), brightness(batch=2))
    assert made(T).item() == -(ACTS[1, 0].mean() * 4).item()


def test_scheduled_weight_changes_with_the_step():
    made = channel("conv", 0) - 4 * brightness().scheduled(halving)
    now = Captured(T)
    for step, weight in enumerate([4, 2, 1]):
        now.step = step
        expected = -ACTS[:, 0].mean() + weight * 7 / 3
        assert made(now).item() == pytest.approx(expected.item())
    assert pickle.loads(pickle.dumps(made))(now) == made(now)


@pytest.mark.parametrize("made", [channel("conv", 0) + 1, channel("conv", 0).scheduled(halving)])
def test_constants_and_schedules_cannot_be_scheduled(made):
    with pytest.raises(InputError, match="schedule its parts before you add them"):
        made.scheduled(halving)


def test_a_schedule_that_is_no_function():
    with pytest.raises(
        InputError, match=r"schedule=0\.5 has to be a function .*: 0\.5 \* objective"
    ):
        channel("conv", 0).scheduled(0.5)


def test_scores_are_means_over_the_draws_of_each_image():
    seen = Captured(
        T, conv=ACTS.repeat_interleave(2, dim=0) + torch.tensor([1.0, 3.0] * 3).view(6, 1, 1, 1)
    )
    seen.draws = 2
    assert channel("conv", 1)(seen) == channel("conv", 1)(T) - 2
    assert channel("conv", 1, batch=1)(seen) == channel("conv", 1, batch=1)(T) - 2
    assert spread("conv", batch=2)(seen) == spread("conv", batch=2)(T)
    assert product(channel("conv", 1), brightness())(seen).item() == pytest.approx(
        ((channel("conv", 1)(T) - 2) * 7 / 3).item()
    )


@pytest.mark.parametrize("batch", [1, -2, np.int64(1)])
def test_handle_batch_shows_one_image_to_a_loss(batch):
    @handle_batch(batch)
    def loss(T):
        """A loss."""
        assert T.step == 0
        return -T("conv")[:, 0].mean()

    assert loss(T) == channel("conv", 0, batch=1)(T)
    assert loss.__doc__ == "A loss."


def test_handle_batch_without_a_number_shows_all():
    def loss(T):
        return -T("conv").mean()

    assert handle_batch()(loss) is loss


def test_handle_batch_with_a_row_that_is_not_there():
    with pytest.raises(InputError, match="batch=3 asks for an image that the batch does not have"):
        handle_batch(3)(lambda T: T("conv"))(T)


@pytest.mark.parametrize("text", ["labels:hound", " labels : hound", "labels:dog, hound"])
def test_string_means_a_class_by_its_label(text):
    assert as_objective(text)(T) == class_logit("labels", 1)(T) == -22


def test_class_logit_sums_over_the_batch_and_takes_a_row_with_a_label_too():
    assert class_logit("labels", "cat")(T) == -11
    assert class_logit("labels", "cat", batch=1)(T) == -10
    assert class_logit("labels", 2, batch=0)(T) == -3


def test_class_logit_of_a_class_or_a_layer_that_does_not_fit():
    with pytest.raises(InputError, match=r"has no label 'horse'\. Its labels are in spec_of"):
        as_objective("labels:horse")(T)
    with pytest.raises(InputError, match="no channel 3: this layer has 3 channels, 0 to 2"):
        class_logit("labels", 3)(T)
    with pytest.raises(InputError, match=r"gives \(B, n_classes\), not \(3, 2, 2, 2\)"):
        class_logit("conv", 0)(T)


def test_labels_with_numbers_are_indices_as_before():
    assert as_objective("labels:2").name == "channel"
    assert as_objective("labels:2:0:0").name == "neuron"


def test_label_index_prefers_the_strictest_fit():
    labels = ("dog sled", "dog", "Dog, hound")
    assert label_index(labels, "dog") == 1
    assert label_index(labels, "HOUND") == 2
    # A whole label, but for its case, comes before the labels that it is a part of.
    assert label_index((*labels, "dog, hound, basset"), "DOG, HOUND") == 2
    with pytest.raises(InputError, match=r"'o' fits 3 labels of zoo: 'dog sled' \(0\)"):
        label_index(labels, "o", "zoo")


def test_objectives_need_something_to_look_at():
    with pytest.raises(InputError, match="'empty' has no layer: annotate"):

        @objective
        def empty(n: int) -> torch.Tensor:
            return torch.zeros(n)


def test_activations_are_filled_in_beside_numbers():
    @objective
    def late(layer: Acts, T: Activations, after: int = 2) -> torch.Tensor:
        return layer.mean() * (T.step >= after)

    now = Captured(T)
    assert late("conv")(now) == 0
    now.step = 2
    assert late("conv")(now) == -ACTS.mean()
    assert list(arguments(late)) == ["layer", "after", "batch"]


def test_sum_of_five_thousand_terms_of_several_kinds():
    kinds = (
        channel("conv", 0),
        neuron("conv", 1, 0, 1, batch=2),
        brightness() * 0.5,
        class_logit("labels", "cat", batch=0).scheduled(halving),
        product(channel("conv", 0), brightness()),
    )
    made = Objective.sum(kinds * 1000)
    each = sum(kind(T).item() for kind in kinds)
    assert made(T).item() == pytest.approx(1000 * each, rel=1e-5)
    assert pickle.loads(pickle.dumps(made))(T) == made(T)
    assert len(repr(made).splitlines()) == 5000
