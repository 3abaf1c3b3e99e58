"""CPPNs: torch-lucent's network, at any size, with any activation, one for each image."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch
from torch import nn

from lucent.errors import InputError
from lucent.optvis.param.cppn import CPPN, CompositeActivation, NormalizedReLU, cppn


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def random(image):
    """Random weights in the last layer, too, so that there is something to see."""
    with torch.no_grad():
        image.weights[-1].normal_(std=1 / math.sqrt(image.weights[-1].shape[-1]))
        for bias in image.biases:
            bias.normal_(std=0.1)
    return image


# The network


def test_default_is_torch_lucents_network():
    image = cppn(12)
    assert sum(tensor.numel() for tensor in image.trainable()) == 7275
    assert [tuple(w.shape[1:]) for w in image.weights] == [(24, 2), *[(24, 48)] * 6, (3, 48)]
    assert torch.equal(image(), torch.full((1, 3, 12, 12), 0.5))


def composite(x):
    odd = np.arctan(x)
    return np.concatenate([odd / 0.67, odd**2 / 0.6], axis=-1)


def normalized(x):
    return (x - x.mean(axis=(0, 1))) / np.sqrt(x.var(axis=(0, 1)) + 1e-5)


def twin(image, height, width, row, normalize=False):
    """The picture (height, width, channels) of one network of the batch."""
    span = min(height, width) - 1
    y, x = np.mgrid[:height, :width]
    ends = [(2 * y - (height - 1)) / span, (2 * x - (width - 1)) / span]
    acts = math.sqrt(3) * np.stack(ends, axis=-1)
    layers = list(zip(image.weights, image.biases, strict=True))
    for n, (weight, bias) in enumerate(layers):
        acts = acts @ weight[row].detach().numpy().T + bias[row, :, 0].detach().numpy()
        if n < len(layers) - 1:
            acts = composite(normalized(acts) if normalize else acts)
    return 1 / (1 + np.exp(-acts))


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("height", "width"), [(6, 6), (5, 9), (8, 3)])
def test_every_image_equals_the_twin_of_its_own_network(height, width, normalize):
    image = cppn(
        (height, width),
        num_output_channels=4,
        num_hidden_channels=5,
        num_layers=3,
        normalize=normalize,
        batch=2,
    )
    image = random(image).double()
    made = image().detach()
    assert made.shape == (2, 4, height, width)
    for row in range(2):
        expected = twin(image, height, width, row, normalize)
        np.testing.assert_allclose(made[row].permute(1, 2, 0), expected, rtol=0, atol=1e-12)
    assert not torch.equal(made[0], made[1])


def test_square_coordinates_are_torch_lucents():
    image = CPPN(7, [2]).double()
    with torch.no_grad():
        image.weights[0].copy_(torch.eye(2))
    expected = torch.linspace(-math.sqrt(3), math.sqrt(3), 7, dtype=torch.float64)
    rows, columns = image().logit()[0]
    torch.testing.assert_close(rows, expected.view(7, 1).expand(7, 7), rtol=0, atol=1e-12)
    torch.testing.assert_close(columns, expected.view(1, 7).expand(7, 7), rtol=0, atol=1e-12)


def test_start_values_keep_the_variance_and_repeat_with_the_global_seed():
    torch.manual_seed(1)
    image = cppn(4, num_hidden_channels=400, num_layers=3)
    inner = image.weights[1]
    # The relative error of a standard deviation of n normal draws is 1 / sqrt(2 n).
    expected = 1 / math.sqrt(800)
    assert inner.std().item() == pytest.approx(expected, rel=5 / math.sqrt(2 * inner.numel()))
    assert not any(bias.any() for bias in image.biases)
    torch.manual_seed(1)
    again = cppn(4, num_hidden_channels=400, num_layers=3)
    assert torch.equal(again.weights[0], image.weights[0])


def test_gradients_are_right():
    image = random(cppn((2, 3), num_hidden_channels=3, num_layers=3, batch=2)).double()
    assert torch.autograd.gradcheck(lambda *_: image(), tuple(image.trainable()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_network_moves_with_its_model(dtype):
    image = random(cppn((4, 300)))
    before = image().detach()
    image.to(dtype)
    assert image().dtype == dtype
    if dtype == torch.float64:
        assert (image() - before).abs().max() < 1e-5  # single precision through eight layers
    assert image.to("meta")().device.type == "meta"


# Purpose


def corners(image):
    return image()[0, 0, [0, 0, -1, -1], [0, -1, 0, -1]]


@pytest.mark.parametrize("seed", range(3))
def test_network_fits_xor_in_200_steps(seed):
    torch.manual_seed(seed)
    params, image = cppn(16, num_output_channels=1)
    target = torch.tensor([0.0, 1.0, 1.0, 0.0])
    optimizer = torch.optim.Adam(params, lr=0.01)
    for _ in range(200):
        if (corners(image) - target).abs().max() < 0.01:
            break
        optimizer.zero_grad()
        (corners(image) - target).square().sum().backward()
        optimizer.step()
    assert (corners(image) - target).abs().max() < 0.01


def test_parameters_can_be_walked_twice_unlike_torch_lucents_generator():
    params, _ = cppn(4)
    assert isinstance(params, list)
    assert len(list(params)) == len(list(params)) == 16


# Activations

ACTIVATIONS = {
    "class": (nn.ReLU, 1),
    "module": (nn.LeakyReLU(0.2), 1),
    "in place": (nn.ReLU(inplace=True), 1),
    "function": (torch.sin, 1),
    "python function": (nn.functional.softsign, 1),
    "lambda": (lambda x: torch.cat([x.sin(), x.cos(), x], dim=1), 3),
    "partial": (functools.partial(nn.ELU, 0.5), 1),
    "factory": (lambda: CompositeActivation(biased=False), 2),
    "normalized": (NormalizedReLU, 1),
    "composite": (CompositeActivation(), 2),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("normalize", [False, True])
def test_activation_that_does_not_double_the_channels_raised_a_shape_error(name, normalize):
    activation, factor = ACTIVATIONS[name]
    image = cppn(5, num_hidden_channels=6, num_layers=3, activation_fn=activation, batch=2)
    assert [w.shape[-1] for w in image.weights] == [2, 6 * factor, 6 * factor]
    image.normalize = normalize
    made = random(image)()
    assert made.shape == (2, 3, 5, 5)
    assert made.std() > 1e-3
    made.sum().backward()
    assert all(tensor.grad.any() for tensor in image.weights)


def test_activations_with_parameters_learn_them_layer_by_layer():
    image = cppn(4, num_layers=3, activation_fn=nn.PReLU)
    assert sum(tensor.shape == (1,) for tensor in image.trainable()) == 2


@pytest.mark.parametrize(
    ("activation", "moments"),
    [
        # Mean square of every half of the channels, or mean and variance.
        (CompositeActivation(), ((None, 1.0), (None, 1.0))),
        (CompositeActivation(biased=False), ((0.0, 1.0), (0.0, 1.0))),
        (NormalizedReLU(), ((0.0, 1.0),)),
    ],
)
def test_activations_keep_the_moments_of_normal_input(activation, moments):
    # By Gauss-Hermite quadrature, which weighs with exp(-x^2).
    x, weights = np.polynomial.hermite_e.hermegauss(200)
    weights = weights / weights.sum()
    values = activation(torch.from_numpy(x).view(1, 1, -1, 1)).squeeze(-1)[0].numpy()
    assert len(values) == len(moments)
    for channel, (mean, square) in zip(values, moments, strict=True):
        # The constants have two digits.
        assert math.sqrt(weights @ channel**2) == pytest.approx(square, abs=0.015)
        if mean is not None:
            assert weights @ channel == pytest.approx(mean, abs=0.005)


def test_composite_activation_is_odd_and_even():
    x = torch.tensor([[-2.0, 0.5]])
    expected = torch.cat([x.atan() / 0.67, x.atan().square() / 0.6], dim=1)
    torch.testing.assert_close(CompositeActivation()(x), expected)


# Other sizes, other parameters


@pytest.mark.parametrize("size", [11, (11, 11), np.int64(11)])
def test_larger_picture_of_a_network_has_the_smaller_one_in_it(size):
    image = random(cppn(6)).double()
    large = image.resized(size)
    # 6 pixels over 11: every second one is at the same place.
    torch.testing.assert_close(large()[..., ::2, ::2], image(), rtol=0, atol=1e-12)
    assert image().shape == (1, 3, 6, 6)


def test_longer_side_shows_more_of_the_picture():
    image = random(cppn(5)).double()
    wide = image.resized((5, 9))()
    torch.testing.assert_close(wide[..., 2:7], image(), rtol=0, atol=1e-12)


def test_resized_network_shares_its_parameters():
    image = random(cppn(4))
    large = image.resized(8)
    before = large().detach()
    with torch.no_grad():
        image.trainable()[0].add_(1)
    assert not torch.equal(large(), before)
    assert all(a is b for a, b in zip(image.trainable(), large.trainable(), strict=True))


def test_parameters_are_saved_and_loaded(tmp_path):
    image, other = random(cppn(6, batch=2)), random(cppn(9, batch=2))
    torch.save(image.state_dict(), tmp_path / "cppn.pt")
    other.load_state_dict(torch.load(tmp_path / "cppn.pt", weights_only=True))
    assert torch.equal(other.resized(6)(), image())


def test_networks_between_two_lead_from_one_to_the_other():
    one, other = random(cppn(6)), random(cppn(6))
    assert torch.equal(one.interpolated(other, 0)(), one())
    assert torch.equal(one.interpolated(other, 1)(), other())
    half = one.interpolated(other, 0.5)
    for a, b, c in zip(one.trainable(), other.trainable(), half.trainable(), strict=True):
        torch.testing.assert_close(c, (a + b) / 2)
        assert c.requires_grad
        assert c is not a


def test_networks_of_other_layers_have_none_between_them():
    with pytest.raises(
        InputError, match=r"\(1, 24, 2\).*\(1, 8, 2\).*of the same layers and batch"
    ):
        cppn(4).interpolated(cppn(4, num_hidden_channels=8), 0.5)


# Bad input


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"size": 0}, r"\(0, 0\) has to consist of whole numbers of at least 1"),
        ({"size": (3, 4, 5)}, r"size=\(3, 4, 5\) has to be a side in pixels or \(height, width\)"),
        ({"size": 4, "batch": 0}, "batch=0 has to be a whole number of at least 1"),
        ({"size": 4, "num_layers": 0}, "num_layers=0 has to be"),
        ({"size": 4, "num_hidden_channels": 2.5}, "width=2.5 has to be"),
        (
            {"size": 4, "activation_fn": nn.Linear(3, 3)},
            r"Linear.* cannot be applied to a tensor of the shape \(1, 24, 2, 2\).*torch.sin",
        ),
        ({"size": 4, "activation_fn": nn.Threshold}, "cannot be applied"),
        ({"size": 4, "activation_fn": torch.mean}, r"has to return \(B, C, H, W\)"),
    ],
)
def test_arguments_that_cannot_be(arguments, text):
    with pytest.raises(InputError, match=text):
        cppn(**arguments)


def test_numbers_of_another_kind():
    with pytest.raises(InputError, match="batch=None has to be a whole number"):
        cppn(8, batch=None)
    with pytest.raises(InputError, match="layers=0 has to be a whole number"):
        CPPN(8, [])
    with pytest.raises(InputError, match=r"_Function\('relu'\) cannot be applied"):
        cppn(8, activation_fn="relu")
    assert cppn(np.array([8, 9]))().shape == (1, 3, 8, 9)
