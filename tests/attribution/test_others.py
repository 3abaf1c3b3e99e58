"""captum's methods on our layers and scores: values by hand, and captum called directly."""

from __future__ import annotations

import sys

import pytest
import tiny
import torch
from torch import nn

from lucent.attribution import captum_attribution, integrated_gradients
from lucent.errors import InputError, LayerError, MissingExtra
from lucent.modelzoo import ModelSpec, synthnet, synthvit

attr = pytest.importorskip("captum.attr")


def net(*, inplace=True):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace), nn.Conv2d(4, 5, 3), nn.ReLU(inplace),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3),
    )  # fmt: skip
    model.spec = ModelSpec("net", mean=(0.5,), std=(0.5,))
    return model.eval()


PICTURES = torch.rand(2, 3, 9, 8, generator=torch.Generator().manual_seed(0))


def as_network_input(pictures):
    return net().spec.preprocess(pictures)


def test_grad_cam_of_a_network_known_by_hand():
    model, picture = tiny.Chain(), tiny.colour(0.5, 0, 0.25)
    model.conv1.bias.data[1] = 0.5
    found = captum_attribution(model, picture, "labels:0", "relu", method="LayerGradCam")
    # Mean gradients are 2/4 and 3/4; the activations are 0.5 and 0.5.
    assert found.shape == (1, 1, 2, 2)
    assert found.flatten().tolist() == [0.625] * 4


def test_occlusion_of_a_network_known_by_hand():
    model, picture = tiny.Chain(), tiny.colour(0.5, 0, 0.25, size=2)
    found = captum_attribution(
        model, picture, "labels:0", "input", method="Occlusion", sliding_window_shapes=(3, 1, 1)
    )
    # Each of the four pixels has a quarter of twice the red in the logit.
    assert torch.allclose(found, torch.full((1, 3, 2, 2), 0.25))


@pytest.mark.parametrize("method", ["LayerGradCam", "LayerDeepLift", "LayerConductance"])
def test_a_method_for_layers_is_what_captum_says(method):
    found = captum_attribution(net(), PICTURES, "labels:2", "2", method=method)
    plain = net(inplace=False)
    inputs = as_network_input(PICTURES).requires_grad_()
    given = {} if method == "LayerGradCam" else {"baselines": as_network_input(0 * PICTURES)}
    expected = getattr(attr, method)(plain, plain[2]).attribute(inputs, target=2, **given)
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("method", ["DeepLift", "Saliency", "IntegratedGradients"])
@pytest.mark.parametrize("n_pictures", [1, 2])
def test_another_method_sees_what_comes_after_the_layer(method, n_pictures):
    pictures = PICTURES[:n_pictures]
    found = captum_attribution(net(), pictures, "labels:2", "1", method=method)
    after = net(inplace=False)[2:]
    acts = net()[:2](as_network_input(pictures)).detach().requires_grad_()
    expected = getattr(attr, method)(after).attribute(acts, target=2)
    assert torch.allclose(found, expected, atol=1e-6)


def test_captum_integrates_to_what_we_do():
    picture = torch.full((1, 3, 32, 32), 0.3)
    given = {"score": "labels:5", "layer": "mixed4b"}
    ours = integrated_gradients(synthnet(), picture, **given).values
    theirs = captum_attribution(synthnet(), picture, **given, method="IntegratedGradients")
    assert torch.allclose(ours, theirs, atol=1e-4)


def test_options_reach_the_class_and_its_method():
    plain = captum_attribution(net(), PICTURES, "labels:2", "1", method="DeepLift")
    slopes = captum_attribution(
        net(), PICTURES, "labels:2", "1", method="DeepLift", multiply_by_inputs=False
    )
    acts = net()[:2](as_network_input(PICTURES))
    assert torch.allclose(slopes * acts, plain, atol=1e-6)
    same = captum_attribution(net(), PICTURES, 2, "1", method="DeepLift", baselines=acts.detach())
    assert same.abs().max() < 1e-6


def test_tokens_are_in_the_grid_of_their_patches():
    model = synthvit()
    picture = torch.rand(1, 3, *model.spec.input_size)
    found = captum_attribution(model, picture, 5, "blocks.1", method="InputXGradient")
    assert found.dim() == 4
    with pytest.raises(LayerError, match="LayerGradCam takes axis 1 of 'blocks.1'"):
        captum_attribution(model, picture, 5, "blocks.1", method="LayerGradCam")


def test_the_model_is_as_before():
    model = net()
    before = tiny.condition(model)
    for method in ("LayerDeepLift", "DeepLift"):
        captum_attribution(model, PICTURES, 1, "2", method=method)
    assert tiny.condition(model) == before
    assert model[1].inplace


@pytest.mark.parametrize(
    ("layer", "method", "error", "says"),
    [
        ("2", "GradCam", InputError, "captum has no method 'GradCam'.*'LayerGradCam'"),
        ("2", "NeuronGradient", InputError, "score='layer:channel:x:y' takes the place"),
        ("2", "Attribution", InputError, "captum has no method 'Attribution'"),
        ("input", "LayerGradCam", LayerError, "'input' is no module, which is what this method"),
        ("9", "Occlusion", LayerError, "There is no layer '9'"),
    ],
)
def test_what_cannot_be_used_is_told_so(layer, method, error, says):
    with pytest.raises(error, match=says):
        captum_attribution(net(), PICTURES, 1, layer, method=method)


def test_without_captum_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(MissingExtra, match=r'pip install "torch-lucent\[captum\]"'):
        captum_attribution(net(), PICTURES, 1, "2", method="Occlusion")
