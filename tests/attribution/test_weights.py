"""Expanded weights: of linear networks they are the product of the kernels."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from lucent.attribution import expanded_weights
from lucent.errors import InputError
from lucent.modelzoo import ModelSpec, synthnet


def stack(stride=1, padding=0, between=nn.Identity):
    torch.manual_seed(2)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride, padding), between(), nn.Conv2d(4, 5, (2, 3), 1, padding)
    )
    model.spec = ModelSpec("stack")
    return model.double()


def product(first, second, stride):
    """The kernel of one convolution after another: every tap of the one at every tap of the other.

    Args:
        first: (C1, C0, h, w).
        second: (C2, C1, h, w).
        stride: of the first.
    """
    (h1, w1), (h2, w2) = first.shape[2:], second.shape[2:]
    shape = (len(second), first.shape[1], h1 + stride * (h2 - 1), w1 + stride * (w2 - 1))
    found = np.zeros(shape)
    for i, j in np.ndindex(h2, w2):
        tap = np.einsum("kc,cdyx->kdyx", second[:, :, i, j], first)
        found[:, :, i * stride : i * stride + h1, j * stride : j * stride + w1] += tap
    return found


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("between", [nn.Identity, nn.ReLU, nn.GELU])
def test_they_are_the_product_of_the_kernels(stride, padding, between):
    model = stack(stride, padding, between)
    found = expanded_weights(model, "input", "2", units=[0, 4, 1])
    first, second = (model[n].weight.detach().numpy() for n in (0, 2))
    assert np.abs(found.numpy() - product(first, second[[0, 4, 1]], stride)).max() < 1e-12


def test_pools_are_averages():
    model = stack(between=lambda: nn.MaxPool2d(2))
    found = expanded_weights(model, "input", "2", units=range(5))
    mean = np.zeros((4, 4, 2, 2))
    mean[range(4), range(4)] = 0.25
    first, second = (model[n].weight.detach().numpy() for n in (0, 2))
    pooled = product(first, mean, 1)
    assert np.abs(found.numpy() - product(pooled, second, 2)).max() < 1e-12


def test_units_may_be_directions():
    model, directions = stack(), torch.rand(2, 5, dtype=torch.float64)
    found = expanded_weights(model, "0", "2", units=directions)
    expected = torch.einsum("kc,cdyx->kdyx", directions, model[2].weight)
    assert torch.allclose(found, expected)
    several = expanded_weights(model, "0", "2", units=range(5), batch_size=2)
    assert torch.equal(several, model[2].weight)


def test_the_normalisation_of_the_picture_is_a_part_of_the_network():
    model = stack()
    plain = expanded_weights(model, "input", "0", units=[2])
    model.spec = ModelSpec("scaled", mean=(0.5,), std=(0.25,))
    assert torch.allclose(expanded_weights(model, "input", "0", units=[2]), 4 * plain)


def test_a_picture_grows_until_it_shows_all_weights():
    model = stack(stride=2, padding=1)
    model.spec = ModelSpec("stack", input_size=(5, 5))
    whole = expanded_weights(stack(stride=2, padding=1), "input", "2", units=[1])
    assert whole.shape[2:] == (5, 7)
    assert torch.allclose(expanded_weights(model, "input", "2", units=[1]), whole)


def test_a_picture_is_given_where_a_norm_depends_on_it():
    model = stack(between=lambda: nn.LocalResponseNorm(3, alpha=1.0))
    dark, bright = (torch.full((1, 3, 9, 9), value, dtype=torch.float64) for value in (0.1, 1.0))
    found = [
        expanded_weights(model, "input", "2", units=[0], picture=one) for one in (dark, bright)
    ]
    assert found[0].shape == found[1].shape
    assert not torch.allclose(*found, rtol=0.01)


def test_a_unit_of_the_embedded_network_sees_a_window():
    model = synthnet()
    found = expanded_weights(model, "mixed4a", "mixed4b", units=[0, 200])
    assert found.shape == (2, 280, 3, 3)  # the 1x1 branch sees one position, the 3x3 branch nine
    assert (found[0].abs().sum(0) > 0).sum() == 1


def test_the_model_is_as_before():
    model = stack(between=nn.ReLU)
    before = tiny.condition(model)
    expanded_weights(model, "input", "2", units=[0])
    assert tiny.condition(model) == before


def test_a_layer_without_positions_has_one_weight_for_each_channel():
    model = synthnet()
    found = expanded_weights(model, "avgpool", "head", units=[3])
    assert torch.allclose(found[..., 0, 0], model.head.weight[[3]])
    assert expanded_weights(model, "mixed4b", "head", units=[3]).shape == (1, 384, 12, 12)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"units": []}, "The list of units is empty"),
        ({"units": [5]}, "There is no channel 5: this layer has 5 channels"),
        ({"units": torch.ones(1, 4)}, r"but \(G, 5\) is needed"),
        ({"units": [0], "picture": torch.rand(2, 3, 9, 9)}, "at one picture, not 2"),
        ({"units": [0], "source": "2", "target": "0"}, "does not depend on the layer '2'"),
    ],
)
def test_what_cannot_be_used_is_told_so(options, says):
    source, target = options.pop("source", "0"), options.pop("target", "2")
    with pytest.raises(InputError, match=says):
        expanded_weights(stack(), source, target, **options)


def test_directions_may_be_an_array():
    model, directions = two_layers(), np.array([[1.0, -2.0, 0.5, 0.0]])
    found = expanded_weights(model, "0", "2", units=directions)
    expected = expanded_weights(model, "0", "2", units=torch.from_numpy(directions))
    torch.testing.assert_close(found, expected)


def test_weights_that_are_all_zero_are_those_of_one_position():
    model = two_layers()
    model[2].weight.data[:] = 0
    assert expanded_weights(model, "0", "2", units=[1]).tolist() == [[[[0]]] * 5]


def test_a_single_unit_is_a_list():
    with pytest.raises(InputError, match=r"units=1 has to be a list of channels: write \[1\]"):
        expanded_weights(two_layers(), "0", "2", units=1)


def two_layers():
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3, padding=1)).eval()
    model.spec = ModelSpec("two layers")
    return model
