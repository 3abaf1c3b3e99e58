"""From layer to layer: what each part of a layer makes of each part of an earlier one."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from lucent.attribution import between, gradient_x_activation, strength
from lucent.errors import InputError, LayerError
from lucent.modelzoo import synthvit


def net(*, middle=None):
    """A net without biases, so that a layer is explained completely by an earlier one."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3, bias=False), nn.ReLU(), middle or nn.Identity(),
        nn.Conv2d(5, 4, 3, stride=2, bias=False), nn.ReLU(),
    )  # fmt: skip
    model.spec = tiny.PLAIN
    return model


PICTURE = torch.rand(1, 3, 13, 11, generator=torch.Generator().manual_seed(0))


def test_every_position_of_the_target_is_attributed_as_it_would_be_alone():
    found = between(net(), PICTURE, "1", "4")
    assert found.shape == (5, 4, 11, 9)
    for y, x in ((0, 0), (2, 3), (4, 1)):
        alone = gradient_x_activation(net(), PICTURE, strength("4", x, y), "1")
        assert torch.allclose(found[y, x], alone.spatial()[0], atol=1e-6)


def test_the_attributions_of_a_position_add_up_to_its_strength():
    found = between(net(), PICTURE, "1", "4", batch_size=3)
    acts = net()(PICTURE)
    assert torch.allclose(found.sum((2, 3)), acts.norm(dim=1)[0], atol=1e-6)
    # A position sees a window of 3x3 of the layer before, at twice its place.
    assert found[1, 2, 2:5, 4:7].abs().sum() > 0
    found[1, 2, 2:5, 4:7] = 0
    assert found[1, 2].abs().sum() == 0


def test_channels_of_a_linear_layer_are_attributed_by_its_weights():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))
    model.spec = tiny.PLAIN
    found = between(model, PICTURE, "0", "1", by="channels")
    sums = model[0](PICTURE).sum((2, 3))[0]
    assert torch.allclose(found, model[1].weight[..., 0, 0] * sums, atol=1e-4)


def test_directions_are_sums_of_channels():
    channels = between(net(), PICTURE, "1", "4", by="channels")
    directions = torch.rand(3, 4)
    found = between(net(), PICTURE, "1", "4", by=(directions, "channels"))
    assert torch.allclose(found, directions @ channels, atol=1e-5)
    same = between(net(), PICTURE, "1", "4", by=("channels", torch.eye(5)))
    assert torch.allclose(same, channels, atol=1e-5)
    mixed = between(net(), PICTURE, "1", "4", by=(directions, "positions"))
    assert mixed.shape == (3, 11, 9)
    assert torch.allclose(mixed.sum((1, 2)), found.sum(1), atol=1e-5)


class Branching(torch.autograd.Function):
    """The identity, whose backward pass asks for a number."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad if grad.abs().sum() > 0 else 0 * grad


def test_a_backward_pass_that_cannot_be_batched_is_done_one_by_one(caplog):
    model = net(middle=tiny.Calling(Branching.apply))
    with caplog.at_level(logging.INFO, logger="lucent"):
        found = between(model, PICTURE, "1", "4")
    assert "Gradients are taken one by one" in caplog.text
    assert torch.allclose(found, between(net(), PICTURE, "1", "4"), atol=1e-6)


def test_the_picture_and_the_grid_of_a_transformer_are_layers():
    assert between(net(), PICTURE, "input", "1", by="channels").shape == (5, 3)
    model = synthvit()
    size = model.spec.input_size
    picture = np.random.default_rng(0).random((*size, 3))
    found = between(model, picture, "blocks.1", "blocks.2", batch_size=64)
    assert found.dim() == 4
    assert found.shape[:2] == found.shape[2:]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"picture": PICTURE.repeat(2, 1, 1, 1)}, InputError, "takes one picture, but was given 2"),
        ({"by": "rows"}, InputError, "by='rows' is unknown: it is 'positions', 'channels'"),
        ({"by": ("channels", "rows")}, InputError, "by='rows' is unknown"),
        ({"by": torch.ones(2, 3)}, InputError, r"but \(G, 4\) is needed"),
        ({"source": "4", "target": "1"}, InputError, "does not depend on the layer '4'"),
        ({"target": "5"}, LayerError, "There is no layer '5'"),
    ],
)
def test_what_cannot_be_used_is_told_so(options, error, says):
    options = {"picture": PICTURE, "source": "1", "target": "4", **options}
    with pytest.raises(error, match=says):
        between(
            net(), options.pop("picture"), options.pop("source"), options.pop("target"), **options
        )


def test_a_layer_without_positions_is_told_so():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.spec = tiny.PLAIN
    with pytest.raises(LayerError, match="The layer '2' gives .* and has no positions"):
        between(model, PICTURE, "0", "2")
    assert between(model, PICTURE, "0", "2", by=("channels", "positions")).shape == (4, 11, 9)


def test_a_batch_has_a_row():
    with pytest.raises(InputError, match="batch_size=0 has to be 1 or more"):
        between(tiny.Chain(), tiny.colour(1, 1, 1), "conv1", "conv2", batch_size=0)
