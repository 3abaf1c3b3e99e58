from __future__ import annotations

import pytest
import torch
from tiny import Chain, FunctionalChain, Normed, colour

from lucent.attribution import gradient_x_activation, sensitivity
from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.modelzoo import load, synthnet
from lucent.optvis import param
from lucent.optvis.objectives import objective
from lucent.optvis.objectives.reading import Acts
from lucent.optvis.render import render_vis
from lucent.util import frozen_eval


@pytest.mark.parametrize("model", [Chain(), Chain(inplace=True), FunctionalChain()])
def test_each_image_has_its_own_gradient(model):
    image = torch.cat([colour(0.5, -1, 0), colour(0.5, 1, 0)])
    with Activations(model, ["conv1", "conv2"]) as T:
        T.run(image.requires_grad_())
        slopes = sensitivity(T, T("conv2").sum((1, 2, 3)), "conv1")
    # conv1 gives (r, -g): twice the first and three times the second, where positive.
    assert slopes[:, :, 0, 0].tolist() == [[2, 3], [2, 0]]
    assert not slopes.requires_grad


def test_it_is_that_of_passes_on_purpose():
    model, photo = synthnet(), torch.rand(2, 3, 64, 64)
    expected = gradient_x_activation(model, photo, "mixed4b:3", "mixed4a")
    with frozen_eval(model), Activations(model, ["mixed4a", "mixed4b"]) as T:
        T.run(model.spec.preprocess(photo).requires_grad_())
        slopes = sensitivity(T, T("mixed4b")[:, 3].mean((1, 2)), "mixed4a")
    torch.testing.assert_close(slopes, expected.gradient)


def test_tokens_become_the_grid():
    model = load("synthvit")
    with frozen_eval(model), Activations(model, ["blocks.1", "blocks.3"]) as T:
        T.run(torch.rand(1, 3, 96, 96, requires_grad=True))
        slopes = sensitivity(T, T("blocks.3").flatten(1).sum(1), "blocks.1")
        assert slopes.shape == T.channels_first("blocks.1").shape
    assert slopes.any()


@pytest.mark.parametrize("channels_last", [True, False])
def test_an_objective_may_ask_for_it_in_every_step(channels_last):
    seen = []

    @objective
    def asking(layer: Acts, later: Acts, T: Activations) -> torch.Tensor:
        seen.append(sensitivity(T, later.sum((1, 2, 3)), "conv1"))
        return layer.mean((1, 2, 3))

    model = Chain()
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    render_vis(
        model,
        asking("conv1", "conv2"),
        lambda: param.image(4, batch=2),
        thresholds=(3,),
        transforms=[],
        show_image=False,
        progress=False,
    )
    assert [slopes.shape for slopes in seen] == [(2, 2, 4, 4)] * 3
    assert all((slopes[:, 0] == 2).all() for slopes in seen)


def test_what_does_not_depend_on_the_layer():
    with Activations(Chain(), ["conv1", "conv2"]) as T:
        T.run(colour(1, 1, 1).requires_grad_())
        with pytest.raises(InputError, match="does not depend on the layer 'conv2'"):
            sensitivity(T, T("conv1").sum((1, 2, 3)), "conv2")
        with pytest.raises(InputError, match="leave gradients on"):
            sensitivity(T, T("conv2").detach().sum((1, 2, 3)), "conv1")


def test_the_model_has_no_gradients_afterwards():
    model = Normed()
    with frozen_eval(model), Activations(model, ["conv", "frozen"]) as T:
        T.run(colour(1, 1, 1).requires_grad_())
        sensitivity(T, T("frozen").sum((1, 2, 3)), "conv")
    assert all(parameter.grad is None for parameter in model.parameters())


def test_of_a_token_it_is_that_of_the_token():
    model = load("synthvit")
    with frozen_eval(model), Activations(model, ["blocks.1", "blocks.3"]) as T:
        T.run(torch.rand(2, 3, 96, 96, requires_grad=True))
        value = T("blocks.3")[:, 0].sum(1)
        (expected,) = torch.autograd.grad(value.sum(), T.source("blocks.1"), retain_graph=True)
        slopes = sensitivity(T, value, "blocks.1@cls")
    torch.testing.assert_close(slopes, expected[:, 0])
