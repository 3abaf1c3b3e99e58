"""An objective about one image of a batch is what it would be if that image were alone."""

from __future__ import annotations

import io
import pickle

import pytest
import torch
from reference import doubles, normal, seeded
from reference_scores import Pass
from tiny import Pixels, textured
from torch import Tensor

from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.optvis.loop import Run, RunSettings
from lucent.optvis.objectives import (
    L1,
    L2,
    Acts,
    Objective,
    activation_difference,
    alignment,
    as_objective,
    blur_alpha_each_step,
    blur_input_each_step,
    channel,
    channel_interpolate,
    channel_weight,
    class_logit,
    deepdream,
    direction,
    direction_neuron,
    diversity,
    dot_compare,
    handle_batch,
    input_diff,
    localgroup_weight,
    neuron,
    neuron_weight,
    objective,
    penalize_boundary_complexity,
    product,
    style,
    tensor_direction,
    total_variation,
    transparency,
    whitened_direction,
    whitened_direction_neuron,
)

CPU = torch.device("cpu")
N_IMAGES = 3
VEC = normal(4, seed=5)


@objective
def free(layer: Acts, T: Activations) -> Tensor:
    """It reads all that `T` has."""
    count = T.state["count"] = T.state.get("count", 0) + 1
    return layer.mean() * count + T("fc").sum() + T("input").sum() + T.sample.sum() + T.step


def loss_of_all(T):
    return T("conv").square().sum() + T("input").sum() + len(T("fc")) + T.sample.sum()


@handle_batch(0)
def loss_of_the_first(T):
    return T("conv").sum() + T("input").sum()


OBJECTIVES = {
    "channel": channel("conv", 1),
    "channel-first": channel("conv", 1, batch=0),
    "neuron": neuron("conv", 2, 1, 3),
    "neuron_weight": neuron_weight("conv", VEC),
    "channel_weight": channel_weight("conv", VEC),
    "localgroup_weight": localgroup_weight("conv", VEC, wx=2, wy=2),
    "deepdream": deepdream("conv"),
    "class_logit": class_logit("fc", 2),
    "class_logit-text": as_objective("labels:hound"),
    "direction": direction("conv", VEC, cossim_pow=1),
    "direction_neuron": direction_neuron("conv", VEC, batch=0),
    "tensor_direction": tensor_direction("conv", normal(4, 2, 3)),
    "whitened_direction": whitened_direction("conv", VEC, whitening=normal(4, 4)),
    "whitened_direction_neuron": whitened_direction_neuron("conv", VEC, whitening=normal(4, 4)),
    "total_variation": total_variation(),
    "L1": L1("conv", 0.5),
    "L2": L2("conv", 0.5, batch=0),
    "blur_input_each_step": blur_input_each_step(),
    "blur_alpha_each_step": blur_alpha_each_step(),
    "penalize": penalize_boundary_complexity(w=2),
    "input_diff": input_diff(normal(4, 6, 7)),
    "transparency": transparency(batch=0),
    "style": style({"conv": normal(4, 4), "fc": normal(6, 6)}),
    "style-average": style({"conv": normal(4, 4)}, ema_decay=0.8, batch=0),
    "dot_compare": dot_compare("conv", 0, 1),
    "activation_difference": activation_difference("conv", difference_to=0),
    "product": product(channel("conv", 1) + 2, style({"conv": normal(4, 4)}, ema_decay=0.5)),
    "product-of-products": product(product("conv:1", transparency(batch=0)), loss_of_all),
    "function-of-T": free("conv"),
    "function": Objective(loss_of_all),
    "function-of-the-first": Objective(loss_of_the_first),
    "sum": 2 * channel("conv", 1) - 0.1 * total_variation(batch=0) + loss_of_all - 3,
    "scheduled": channel("conv", 1).scheduled(lambda step: 1 / (2 + step)),
}


def views(n_images, draws, n_views=3):
    """What some steps show of a batch, and of each image of it when it is alone."""
    T = Pass(labels=("cat", "dog, hound", "fox"))
    T.draws = draws
    alone = [Pass(labels=T.labels) for _ in range(n_images)]
    for one in alone:
        one.draws = draws
    for step in range(n_views):
        T.step = step
        T.acts = {
            "conv": normal(n_images * draws, 4, 5, 8, seed=10 * step),
            "fc": normal(n_images * draws, 6, seed=10 * step + 1),
            "labels": normal(n_images * draws, 3, seed=10 * step + 2),
            "input": torch.rand(n_images, 4, 6, 7, dtype=torch.float64, generator=seeded(step)),
        }
        T.sample = normal(n_images, 2, seed=10 * step + 3)
        for n, one in enumerate(alone):
            rows = slice(n * draws, (n + 1) * draws)
            one.step, one.sample = step, T.sample[n : n + 1]
            one.acts = {layer: values[rows] for layer, values in T.acts.items()}
            one.acts["input"] = T.acts["input"][n : n + 1]
        yield T, alone


@pytest.mark.parametrize("place", [lambda made: made, lambda made: made.to(CPU)])
@pytest.mark.parametrize("draws", [1, 2])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_value_is_that_of_the_image_alone(name, draws, place):
    made = OBJECTIVES[name]
    rows = [place(made.about(n)) for n in range(N_IMAGES)]
    for T, alone in views(N_IMAGES, draws):
        for row, one in zip(rows, alone, strict=True):
            assert row(T).item() == pytest.approx(made(one).item(), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("draws", [1, 2])
def test_different_objectives_share_a_batch(draws):
    for names in zip(*[iter(OBJECTIVES)] * N_IMAGES, strict=True):
        parts = [OBJECTIVES[name] for name in names]
        placed = Objective.sum(part.about(n) for n, part in enumerate(parts)).to(CPU)
        for T, alone in views(N_IMAGES, draws):
            expected = sum(part(one).item() for part, one in zip(parts, alone, strict=True))
            assert placed(T).item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_states_of_images_do_not_mix():
    made = style({"conv": normal(4, 4)}, ema_decay=0.8)
    batch = Objective.sum(made.about(n) for n in range(N_IMAGES))
    for T, alone in views(N_IMAGES, 1):
        batch(T)
        for one in alone:
            made(one)
    assert list(T.state) == ["image 0", "image 1", "image 2"]
    for kept, one in zip(T.state.values(), alone, strict=True):
        assert kept.keys() == one.state.keys()
        assert all(torch.equal(value, one.state[key]) for key, value in kept.items())


def test_an_objective_that_keeps_nothing_leaves_no_trace():
    for T, _ in views(N_IMAGES, 2):
        (channel("conv", 0) - style({"conv": normal(4, 4)}) + loss_of_all).about(1)(T)
        assert T.state == {}


@pytest.mark.parametrize("sample", [None, torch.tensor(3.0), torch.arange(5.0)])
def test_a_sample_that_has_no_row_for_each_image_is_seen_whole(sample):
    ((T, _),) = views(N_IMAGES, 1, n_views=1)
    T.sample, seen = sample, []

    def look(T):
        seen.append(T.sample)
        return T("conv").sum()

    Objective(look).about(1)(T)
    assert seen[0] is sample


def test_gradients_stay_in_the_image():
    acts = normal(N_IMAGES, 4, 5, 8).requires_grad_()
    made = product(deepdream("conv"), lambda T: T("conv").exp().sum()).about(1)
    (gradient,) = torch.autograd.grad(made({"conv": acts}.get), acts)
    assert gradient[1].all()
    assert not gradient[[0, 2]].any()


@pytest.mark.parametrize("draws", [1, 3])
def test_rows_of_a_run_become_what_each_becomes_alone(draws):
    net, start = textured(torch.float64), doubles(3, 3, 12, 14)
    target = {"3": normal(8, 8)}
    parts = [channel("3", 2), style(target, ema_decay=0.9), product("3:0", "3:4") - L2("1")]

    def made(objective, start):
        image = Pixels(start)
        run = Run(
            net,
            objective,
            image,
            transforms=lambda image: image * 1.5,
            settings=RunSettings(steps=20, seed=0, preprocess=False, draws=draws),
        )
        with run:
            run.iterate()
            file = io.BytesIO()
            torch.save(run.state_dict(), file)
        file.seek(0)
        torch.load(file, weights_only=True)
        return image.pixels.detach()

    together = made(Objective.sum(part.about(n) for n, part in enumerate(parts)), start)
    for n, part in enumerate(parts):
        assert torch.allclose(together[n : n + 1], made(part, start[n : n + 1]), rtol=0, atol=1e-10)


# Values, and what is refused


def test_it_is_a_value_and_leaves_the_objective_as_it_was():
    made = 2 * channel("conv", 1) - style({"conv": normal(4, 4)}) + 1
    before = (made.terms, made.bias, made.name, made.description)
    row = made.about(2)
    assert (made.terms, made.bias, made.name, made.description) == before
    assert (row.name, row.description, row.layers) == (made.name, made.description, made.layers)
    ((T, _),) = views(N_IMAGES, 1, n_views=1)
    assert pickle.loads(pickle.dumps(row))(T) == row(T)
    assert (2 * row)(T) == 2 * row(T)


@pytest.mark.parametrize(
    ("made", "number"),
    [
        (channel("conv", 1, batch=1), 1),
        (channel("conv", 1, batch=-1), -1),
        (channel("conv", 0) - 2 * blur_input_each_step(batch=2), 2),
        (product("conv:1", transparency(batch=2)), 2),
        (product("conv:1", product("conv:1", deepdream("conv", batch=1))), 1),
        (channel("conv", 1).about(2), 2),
    ],
)
def test_an_objective_about_another_image_is_refused(made, number):
    with pytest.raises(InputError) as error:
        made.about(0)
    assert f"] is about image {number} of a batch and cannot be about image 0" in str(error.value)
    assert "needs a rendering of its own, such as render_vis(model, objective" in str(error.value)


@pytest.mark.parametrize("made", [alignment("conv"), diversity("conv")])
def test_an_objective_that_compares_images_sees_one(made):
    ((T, _),) = views(N_IMAGES, 2, n_views=1)
    with pytest.raises(InputError, match="compares the images of a batch, and this batch has 1"):
        made.about(1)(T)
    with pytest.raises(InputError, match="this batch has 1"):
        channel_interpolate("conv", 0, "conv", 1).about(1)(T)
    with pytest.raises(InputError, match="batch=1 asks for an image that the batch does not have"):
        dot_compare("conv").about(1)(T)


@pytest.mark.parametrize("draws", [1, 2])
@pytest.mark.parametrize("place", [lambda made: made, lambda made: made.to(CPU)])
@pytest.mark.parametrize("made", [channel("conv", 0), Objective(loss_of_all), transparency()])
def test_an_image_that_the_batch_does_not_have(made, place, draws):
    ((T, _),) = views(N_IMAGES, draws, n_views=1)
    rows = place(made.about(2) + made.about(3))
    with pytest.raises(InputError, match=r"batch=3 asks .* gives 3 rows\. .*batch=4\)"):
        rows(T)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (-1, "image=-1 has to be the number of an image, 0 or more"),
        (1.0, r"image=1\.0 has to be a whole number"),
        (True, "image=True has to be a whole number"),
        (None, "image=None has to be a whole number"),
    ],
)
def test_what_is_no_number_of_an_image(image, message):
    with pytest.raises(InputError, match=message):
        channel("conv", 0).about(image)
