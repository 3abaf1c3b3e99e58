"""Receptive fields: the arithmetic of kernels, strides and padding, cut off at the edges."""

from __future__ import annotations

import random

import pytest
import tiny
import torch
from torch import nn

from lucent.attribution import receptive_field, receptive_fields
from lucent.errors import InputError, LayerError
from lucent.modelzoo import ModelSpec, synthnet
from lucent.modelzoo.synthvit import synthvit


def with_spec(*layers):
    net = nn.Sequential(*layers)
    net.spec = ModelSpec("stack")
    return net


def by_arithmetic(specs, length):
    """First and last line (exclusive) that each position sees, by kernel, stride, pad, dilation."""
    first, last = list(range(length)), list(range(1, length + 1))
    for kernel, stride, padding, dilation in specs:
        count = (len(first) + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        taps = [
            [
                at
                for k in range(kernel)
                if 0 <= (at := o * stride - padding + dilation * k) < len(first)
            ]
            for o in range(count)
        ]
        first = [min(first[at] for at in own) for own in taps]
        last = [max(last[at] for at in own) for own in taps]
    return torch.tensor(first), torch.tensor(last)


@pytest.mark.parametrize("seed", range(6))
def test_boxes_are_those_of_the_arithmetic(seed):
    draw = random.Random(seed)
    specs, layers, channels = [], [], 3
    for _ in range(draw.randint(1, 4)):
        kernel, stride, dilation = (
            draw.choice([1, 3, 5]),
            draw.choice([1, 1, 2]),
            draw.choice([1, 2]),
        )
        specs.append((kernel, stride, draw.randint(0, kernel // 2), dilation))
        # Many channels and small kernels are what faster algorithms are chosen for.
        layers += [nn.Conv2d(channels, 32, *specs[-1]), nn.ReLU()]
        channels = 32
    boxes = receptive_field(with_spec(*layers), str(len(layers) - 1), (40, 52))
    top, bottom = by_arithmetic(specs, 40)
    left, right = by_arithmetic(specs, 52)
    assert boxes.shape == (len(top), len(left), 4)
    rows = torch.ones(len(top), len(left), dtype=torch.long)
    assert torch.equal(boxes[..., 0], rows * left)
    assert torch.equal(boxes[..., 1], rows * top[:, None])
    assert torch.equal(boxes[..., 2], rows * right)
    assert torch.equal(boxes[..., 3], rows * bottom[:, None])


def test_zero_weights_and_dead_units_belong_to_the_field():
    conv = nn.Conv2d(3, 1, 3)
    conv.weight.data.zero_()
    conv.bias.data.fill_(-1)
    boxes = receptive_field(with_spec(conv, nn.ReLU(), nn.MaxPool2d(2)), "2", 8)
    assert boxes[1, 2].tolist() == [4, 2, 8, 6]


def test_a_mean_over_all_positions_sees_the_whole_picture():
    boxes = receptive_field(tiny.Chain(), "head", (4, 6))
    assert boxes.tolist() == [0, 0, 6, 4]


def test_attention_sees_the_whole_picture_but_patches_see_themselves():
    fields = receptive_fields(synthvit(), ["patch_embed", "blocks.1"], 96)
    side = fields["patch_embed"].shape[0]
    patch = 96 // side
    assert fields["patch_embed"][1, 2].tolist() == [2 * patch, patch, 3 * patch, 2 * patch]
    assert (fields["blocks.1"] == torch.tensor([0, 0, 96, 96])).all()


def test_several_layers_are_as_each_alone_whatever_the_batch():
    net = synthnet()
    together = receptive_fields(net, ["conv1", "conv2"], 48, batch_size=7)
    assert torch.equal(together["conv1"], receptive_field(net, "conv1", 48))
    assert torch.equal(together["conv2"], receptive_field(net, "conv2", (48, 48)))


def test_the_model_is_as_before():
    model = tiny.Normed()
    before = tiny.condition(model)
    receptive_field(model, "norm", 4)
    assert tiny.condition(model) == before


@pytest.mark.parametrize("size", [0, (3,), (4, 0), 2.5, "4"])
def test_a_size_that_is_none_is_an_error(size):
    with pytest.raises(InputError, match=r"has to be \(height, width\)"):
        receptive_field(tiny.Chain(), "conv1", size)


def test_an_unknown_layer_is_an_error():
    with pytest.raises(LayerError, match="no layer 'conv9'"):
        receptive_field(tiny.Chain(), "conv9", 4)
