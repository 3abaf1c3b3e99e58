"""Gradient x activation: values by hand, on any kind of layer, whatever surrounds the call."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from lucent.attribution import gradient_x_activation, logit
from lucent.errors import InputError, LayerError
from lucent.modelzoo import synthnet, synthvit
from lucent.overrides import smoothed_maxpool

DOT = "labels:0"


def chain(**options):
    """Two pictures of 2x2, of which the second one closes half of the ReLUs."""
    picture = tiny.colour(0.5, 0.0, 0.25)
    return tiny.Chain(**options), torch.cat([picture, tiny.colour(0.25, 1.0, 0.0)])


def test_values_of_a_network_known_by_hand():
    model, picture = chain()
    model.conv1.bias.data[1] = 0.5  # channel 1 is 0.5 - g: closed by the second picture
    found = gradient_x_activation(model, picture, "labels:0", "conv1")
    # Class 0 is the mean over four positions of 2 max(r, 0) + 3 max(0.5 - g, 0).
    assert found.gradient[:, :, 0, 0].tolist() == [[0.5, 0.75], [0.5, 0.0]]
    assert found.acts[:, :, 0, 0].tolist() == [[0.5, 0.5], [0.25, -0.5]]
    assert found.channels().tolist() == [[1.0, 1.5], [0.5, 0.0]]
    assert found.spatial().tolist() == [[[0.625] * 2] * 2, [[0.125] * 2] * 2]
    assert found.score.tolist() == found.total.tolist() == [2.5, 0.5]
    assert not found.acts.requires_grad
    assert not found.score.requires_grad


@pytest.mark.parametrize("score", ["labels:1", 1, logit(1), lambda T: T("labels")[:, 1]])
def test_ways_to_say_the_score(score):
    found = gradient_x_activation(*chain(), score, "relu")
    assert found.channels().tolist() == [[-1.0, 0.0], [-0.5, 0.0]]


def test_a_layer_is_seen_before_a_relu_overwrites_it():
    plain = gradient_x_activation(*chain(), DOT, "conv1")
    assert plain.acts.min() < 0
    for model in (chain(inplace=True)[0], tiny.FunctionalChain()):
        found = gradient_x_activation(model, chain()[1], DOT, "conv1")
        for name in ("acts", "gradient", "values"):
            assert torch.equal(getattr(found, name), getattr(plain, name))


class Overwriting(nn.Module):
    """The network overwrites its activations, those of the layer `twice` by another name."""

    spec = tiny.PLAIN

    def __init__(self):
        super().__init__()
        self.layer, self.twice = nn.Identity(), nn.Identity()

    def forward(self, x):
        acts = self.layer(1 * x).relu_()
        doubled = 2 * acts
        self.twice(doubled)
        return doubled.add_(1).mean((2, 3))


def test_a_value_that_the_network_goes_on_from_may_be_overwritten():
    def both(T):
        return T("labels")[:, 0] + T("twice")[:, 0].mean((1, 2))

    found = gradient_x_activation(Overwriting(), tiny.colour(0.5, 0, 0), both, "layer")
    assert found.channels().tolist() == [[2.0, 0.0, 0.0]]
    assert found.score.tolist() == [3.0]


def test_one_call_of_a_shared_module():
    found = gradient_x_activation(
        tiny.SharedReLU(), tiny.colour(0.75, 0.25, 0), "relu#1:0", "relu#0"
    )
    assert found.channels().tolist() == [[0.75, -0.25]]


@pytest.mark.parametrize(
    "around", [torch.no_grad, torch.inference_mode, torch.enable_grad], ids=lambda a: a.__name__
)
def test_gradients_flow_whatever_is_switched_off_around(around):
    model, picture = chain()
    model.requires_grad_(False)
    with around():
        found = gradient_x_activation(model, picture.clone(), DOT, "relu")
    assert found.channels().tolist() == [[1.0, 0.0], [0.5, 0.0]]


def test_wrappers_are_looked_through():
    model, picture = chain()
    for wrapped in (nn.DataParallel(model), torch.compile(model, backend="eager")):
        found = gradient_x_activation(wrapped, picture, DOT, "relu")
        assert found.channels().tolist() == [[1.0, 0.0], [0.5, 0.0]]


def test_dtype_follows_the_model():
    found = gradient_x_activation(tiny.textured(torch.float64), torch.rand(1, 3, 9, 9), "3:0", "1")
    assert found.values.dtype == found.score.dtype == torch.float64


def test_the_model_is_as_before_also_after_an_error():
    model, picture = tiny.Normed(), torch.rand(2, 3, 4, 4)
    next(model.parameters()).grad = torch.ones(2, 3, 1, 1)
    before = tiny.condition(model)
    gradient_x_activation(model, picture, "relu:0", "norm")
    assert tiny.condition(model) == before

    def interrupted(T):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gradient_x_activation(model, picture, interrupted, "norm")
    assert tiny.condition(model) == before


def test_rows_of_a_batch_are_independent():
    model, pictures = synthnet(), torch.rand(3, 3, 48, 48)
    found = gradient_x_activation(model, pictures, 5, "mixed4a")
    alone = gradient_x_activation(model, pictures[1], 5, "mixed4a")
    assert torch.allclose(found.values[1], alone.values[0], atol=1e-6)


def test_networks_without_biases_are_explained_completely():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, bias=False), nn.LeakyReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
    model.spec = tiny.PLAIN
    for layer in ("input", "0", "2", "4", "6"):
        found = gradient_x_activation(model, torch.rand(2, 3, 24, 24), "6:3", layer)
        assert torch.allclose(found.total, found.score, atol=1e-6)
        assert torch.allclose(found.channels().sum(1), found.score, atol=1e-6)


def test_the_picture_is_a_layer():
    model, picture = synthnet(), torch.rand(1, 3, 48, 48)
    found = gradient_x_activation(model, picture, 5, "input")
    leaf = picture.clone().requires_grad_()
    score = model(model.spec.preprocess(leaf))[0, 5]
    expected = torch.autograd.grad(score, leaf)[0]
    assert torch.allclose(found.gradient, expected, atol=1e-6)
    assert torch.equal(found.acts, picture)


def test_volumes():
    model = nn.Sequential(nn.Conv3d(1, 4, 3, bias=False), nn.ReLU(), nn.Conv3d(4, 2, 1, bias=False))
    model.spec = tiny.PLAIN
    found = gradient_x_activation(model, torch.rand(2, 1, 6, 7, 8), "2:1", "1")
    assert found.spatial().shape == (2, 4, 5, 6)
    assert torch.allclose(found.spatial().sum((1, 2, 3)), found.score, atol=1e-6)


class Tokens(nn.Module):
    """Patches of 4x4 behind a class token, mixed by one attention; the class token decides."""

    spec = tiny.PLAIN

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.cls_token = nn.Parameter(torch.randn(1, 1, 8))
        self.mix = nn.Identity()
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], 1)
        return self.head(self.block(self.mix(tokens))[:, 0])


def test_nothing_of_a_class_token_is_lost():
    model, pictures = Tokens(), torch.rand(2, 3, 16, 12)
    found = gradient_x_activation(model, pictures, 1, "mix")
    assert found.values.shape == (2, 8, 4, 3)
    assert found.tokens.keys() == {"cls"}
    kept = found.values.sum((1, 2, 3)) + found.tokens["cls"].sum(1)
    assert torch.allclose(kept, found.total, atol=1e-6)
    assert found.tokens["cls"].abs().min() > 0
    alone = gradient_x_activation(model, pictures, 1, "mix@cls")
    assert torch.equal(alone.values, found.tokens["cls"])
    assert torch.equal(alone.total, found.total)


def test_the_grid_of_a_transformer():
    model = synthvit()
    found = gradient_x_activation(model, torch.rand(1, 3, *model.spec.input_size), 5, "blocks.2")
    assert found.spatial().dim() == 3
    sums = found.values.sum((1, 2, 3)) + sum(token.sum(1) for token in found.tokens.values())
    assert torch.allclose(sums, found.total, atol=1e-4)


def test_an_override_around_the_call_changes_the_gradient():
    model = nn.Sequential(nn.Identity(), nn.MaxPool2d(2))
    model.spec = tiny.PLAIN
    picture = torch.tensor([[0.1, 0.2], [0.3, 0.4]]).expand(1, 3, 2, 2)
    plain = gradient_x_activation(model, picture, "1:0", "0")
    with smoothed_maxpool(model):
        smooth = gradient_x_activation(model, picture, "1:0", "0")
    assert plain.gradient[0, 0].flatten().tolist() == [0, 0, 0, 1]
    assert smooth.gradient[0, 0].flatten().tolist() == [0.25] * 4


def test_directions_share_out_all_of_a_layer():
    found = gradient_x_activation(synthnet(), torch.rand(2, 3, 48, 48), 5, "pool1")
    basis = torch.randn(32, 32, generator=torch.Generator().manual_seed(0)) + 4 * torch.eye(32)
    assert torch.allclose(found.along(basis).sum(1), found.total, atol=1e-4)
    assert torch.allclose(found.along(torch.eye(32)), found.channels(), atol=1e-5)


def test_strengths_of_directions_may_be_given():
    found = gradient_x_activation(*chain(), DOT, "relu")
    directions, strengths = torch.tensor([[1.0, 1.0]]), torch.rand(2, 1, 2, 2)
    expected = strengths.sum((2, 3)) * (0.5 + 0.75)
    assert torch.allclose(found.along(directions, strengths=strengths), expected)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda m, p: gradient_x_activation(m, p, "relu:0", "head"), InputError,
         "The score does not depend on the layer 'head': name a layer before"),
        (lambda m, p: gradient_x_activation(m, p, lambda T: T("relu").detach().sum((1, 2, 3)),
         "conv1"), InputError, "does not depend on the layer 'conv1'"),
        (lambda m, p: gradient_x_activation(m, p, lambda T: T("labels")[0, 0], "relu"), InputError,
         r"The score gives \(\), but has to give a number for each image, \(2,\)"),
        (lambda m, p: gradient_x_activation(m, p, lambda T: 3.0, "relu"), InputError,
         "The score gives float"),
        (lambda m, p: gradient_x_activation(m, p, DOT, "conv3"), LayerError,
         "There is no layer 'conv3'.*Did you mean"),
        (lambda m, p: gradient_x_activation(m, p * 255, DOT, "relu"), InputError,
         "The photograph has values from"),
        (lambda m, p: gradient_x_activation(m, p, DOT, "head").spatial(), LayerError,
         r"The layer 'head' gives \(2, 2\) and has no positions: name a layer before"),
        (lambda m, p: gradient_x_activation(m, p, DOT, "relu").along(torch.ones(1, 3)), InputError,
         r"The directions have shape \(1, 3\), but \(G, 2\) is needed"),
        (lambda m, p: gradient_x_activation(m, p, DOT, "relu").along(
         torch.ones(1, 2), strengths=torch.ones(2, 2)), InputError,
         r"The strengths have shape \(2, 2\), but \(2, 1, 2, 2\) are needed"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_told_so(call, error, says):
    with pytest.raises(error, match=says):
        call(*chain())


def test_a_part_of_a_tuple_is_told_so():
    model = tiny.Several(lambda one, two: (one, two))
    with pytest.raises(LayerError, match=r"'part\[1\]' is a part of what a module gives"):
        gradient_x_activation(model, torch.rand(1, 3, 4, 4), "labels:0", "part[1]")


def test_photographs_of_other_sizes_and_modes():
    model = synthnet()
    for picture in (np.random.default_rng(0).random((50, 70)), np.zeros((80, 40, 3), np.uint8)):
        assert gradient_x_activation(model, picture, 5, "mixed4a").acts.shape[0] == 1
    with pytest.raises(InputError, match="It has transparency"):
        gradient_x_activation(model, np.zeros((8, 8, 4)), 5, "mixed4a")
