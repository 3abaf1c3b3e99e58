"""Channels and neurons: values, gradients, and what cannot be found."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import torch

from lucent.errors import InputError
from lucent.optvis.objectives import channel, neuron

ACTS = torch.randn(3, 4, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
VECTORS = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
T = {"conv": ACTS, "fc": VECTORS, "scores": torch.ones(2), "video": ACTS[:, :, None]}.get


def value(made):
    return made(T).item()


@pytest.mark.parametrize("batch", [None, 0, 2, -1, np.int64(1)])
def test_channel_and_neuron_equal_their_twins(batch):
    acts = ACTS.numpy()
    rows = slice(None) if batch is None else slice(batch % 3, batch % 3 + 1)
    for n in range(4):
        expected = -reference.channel(acts, n, rows)
        assert value(channel("conv", n, batch)) == pytest.approx(expected, abs=1e-12)
        for x, y in [(0, 0), (7, 4), (3, 1)]:
            expected = -reference.neuron(acts, n, x, y, rows)
            assert value(neuron("conv", n, x, y, batch)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (5, 8), (7, 14), (1, 1), (14, 7)])
def test_neuron_without_position_is_the_one_at_half_the_height_and_half_the_width(height, width):
    acts = torch.arange(height * width).view(1, 1, height, width).double()
    expected = (height // 2) * width + width // 2
    assert neuron("conv", 0)({"conv": acts}.get) == -expected
    assert neuron("conv", 0, x=0)({"conv": acts}.get) == -(height // 2) * width
    assert neuron("conv", 0, y=0)({"conv": acts}.get) == -(width // 2)


def test_units_of_a_fully_connected_layer():
    expected = pytest.approx(-VECTORS[:, 5].mean().item(), abs=1e-12)
    assert value(channel("fc", 5)) == expected
    assert value(neuron("fc", 5)) == expected


def test_channel_takes_any_number_of_spatial_dimensions():
    assert value(channel("video", 1)) == pytest.approx(-ACTS[:, 1].mean().item(), abs=1e-12)


@pytest.mark.parametrize("made", [channel("conv", 1, batch=1), neuron("conv", 1, 2, 3, batch=1)])
def test_gradient_is_right_and_stays_in_the_row(made):
    acts = ACTS.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda acts: made({"conv": acts}.get), acts)
    (gradient,) = torch.autograd.grad(made({"conv": acts}.get), acts)
    assert gradient[1, 1].sum().item() == pytest.approx(-1, abs=1e-12)
    gradient[1, 1] = 0
    assert not gradient.any()


@pytest.mark.parametrize("n_channel", [4, -1])
@pytest.mark.parametrize("kind", [channel, neuron])
def test_channel_that_does_not_exist(kind, n_channel):
    with pytest.raises(InputError, match=rf"no channel {n_channel}: .* 4 channels, 0 to 3"):
        kind("conv", n_channel)(T)


@pytest.mark.parametrize("number", [1.5, "1", True])
@pytest.mark.parametrize(
    "make",
    [
        lambda number: channel("conv", number),
        lambda number: neuron("conv", number),
        lambda number: neuron("conv", 0, x=number),
        lambda number: neuron("conv", 0, y=number),
    ],
)
def test_channel_and_position_are_whole_numbers(make, number):
    with pytest.raises(InputError, match=f"{number}"):
        make(number)(T)


@pytest.mark.parametrize(("x", "y"), [(8, 0), (0, 5), (-1, 0), (0, -1), (5, 7)])
def test_neuron_outside_the_layer(x, y):
    with pytest.raises(InputError) as error:
        neuron("conv", 0, x, y)(T)
    assert f"x={x}, y={y}" in str(error.value)
    assert "8 columns and 5 rows" in str(error.value)
    assert "x goes to 7 and y to 4" in str(error.value)


def test_neuron_with_a_position_in_a_layer_that_has_none():
    with pytest.raises(InputError, match="x=7"):
        neuron("fc", 1, x=7)(T)


def test_layer_without_channels():
    for made in (channel("scores", 0), neuron("scores", 0)):
        with pytest.raises(InputError, match=r"shape \(2,\), which has no channels.* lambda T:"):
            made(T)
    with pytest.raises(InputError, match=r"neuron needs .* not \(3, 4, 1, 5, 8\)"):
        neuron("video", 0)(T)


# Rows of the batch


@pytest.mark.parametrize("batch", [True, 1.0, "1", [0], np.array([0, 1])])
def test_batch_has_to_be_an_integer(batch):
    with pytest.raises(InputError, match="is not the number of an image"):
        channel("conv", 0, batch)


@pytest.mark.parametrize(("batch", "needed"), [(3, 4), (10, 11), (-4, 4)])
def test_row_that_the_batch_does_not_have(batch, needed):
    with pytest.raises(InputError) as error:
        channel("conv", 0, batch=batch)(T)
    assert f"batch={batch} asks for an image that the batch does not have" in str(error.value)
    assert "'conv' gives 3 rows" in str(error.value)
    assert f"param.image(128, batch={needed})" in str(error.value)
