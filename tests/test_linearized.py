"""Linearised networks: their gradients are the expanded weights, whatever the image."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tiny
import torch
from reference import normal
from torch import nn
from torch.nn import functional as F

from lucent.optvis import objectives
from lucent.optvis.loop import Run, RunSettings
from lucent.overrides import linearization_overrides, linearized, redirected_relu, smoothed_maxpool

RECTIFIERS = {
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU6": nn.ReLU6(),
    "nn.LeakyReLU": nn.LeakyReLU(0.2),
    "nn.RReLU": nn.RReLU().eval(),
    "nn.PReLU": nn.PReLU(),
    "nn.ELU": nn.ELU(),
    "nn.CELU": nn.CELU(),
    "nn.GELU": nn.GELU("tanh"),
    "nn.SiLU": nn.SiLU(),
    "nn.Mish": nn.Mish(),
    "nn.Hardswish": nn.Hardswish(),
    "F.relu": F.relu,
    "torch.relu(input=)": lambda x: torch.relu(input=x),
    "x.relu": lambda x: x.relu(),
    "F.relu6": F.relu6,
    "F.hardtanh": lambda x: F.hardtanh(x, 0, 6),
    "F.leaky_relu": F.leaky_relu,
    "F.leaky_relu(input=)": lambda x: F.leaky_relu(input=x, negative_slope=0.2),
    "F.rrelu": F.rrelu,
    "F.prelu": lambda x: F.prelu(x, torch.tensor([0.25], dtype=x.dtype)),
    "F.elu": F.elu,
    "F.celu": F.celu,
    "F.gelu": F.gelu,
    "F.silu": F.silu,
    "F.mish": F.mish,
    "F.hardswish": F.hardswish,
}
# Each gets a tensor that it may overwrite.
IN_PLACE = {
    "nn.ReLU": nn.ReLU(inplace=True),
    "nn.ReLU6": nn.ReLU6(inplace=True),
    "nn.LeakyReLU": nn.LeakyReLU(inplace=True),
    "nn.ELU": nn.ELU(inplace=True),
    "nn.CELU": nn.CELU(inplace=True),
    "nn.SiLU": nn.SiLU(inplace=True),
    "nn.Mish": nn.Mish(inplace=True),
    "nn.Hardswish": nn.Hardswish(inplace=True),
    "torch.relu_": torch.relu_,
    "x.relu_": lambda x: x.relu_(),
    "F.relu": lambda x: F.relu(x, inplace=True),
    "F.leaky_relu_": F.leaky_relu_,
    "F.elu_": F.elu_,
    "F.rrelu_": F.rrelu_,
    "torch.celu_": torch.celu_,
}
NOT_LINEARISED = [
    nn.SELU(), nn.Softplus(), nn.Tanh(), nn.Softmax(1), nn.LocalResponseNorm(3), nn.Hardtanh(-1, 1)
]  # fmt: skip


def derivative(model, x, incoming=None):
    """The gradient of the sum of the output, or with a weight for each of its values."""
    x = x.clone().requires_grad_()
    value = model(x)
    return torch.autograd.grad(value, x, torch.ones_like(value) if incoming is None else incoming)[
        0
    ]


class Circuit(nn.Module):
    """Convolution 2x2, ReLU, max-pool 2x2 with stride 2, convolution 2x2; 3 -> 4 -> 2 channels."""

    spec = tiny.PLAIN

    def __init__(self, *, functional, inplace=False):
        super().__init__()
        self.functional = functional
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 2), nn.Conv2d(4, 2, 2)
        for seed, parameter in enumerate(self.parameters()):
            parameter.data = normal(*parameter.shape, seed=seed)
        self.relu, self.pool = nn.ReLU(inplace), nn.MaxPool2d(2)

    def forward(self, x):
        x = self.conv1(x)
        x = F.max_pool2d(F.relu(x), 2) if self.functional else self.pool(self.relu(x))
        return self.conv2(x)

    def expanded_weights(self):
        """The weight from each input pixel to each output channel, (2, 3, 5, 5)."""
        first, second = (conv.weight.detach().numpy() for conv in (self.conv1, self.conv2))
        found = np.zeros((2, 3, 5, 5))
        taps = itertools.product(*map(range, (2, 2, 2, 2, 2, 2)))
        for i, j, k, m, y, x in taps:  # second convolution, pool, first convolution
            found[:, :, 2 * i + k + y, 2 * j + m + x] += second[:, :, i, j] @ first[:, :, y, x] / 4
        return found


@pytest.mark.parametrize("override", [linearized, linearization_overrides])
@pytest.mark.parametrize(
    "model",
    [Circuit(functional=False), Circuit(functional=False, inplace=True), Circuit(functional=True)],
)
def test_gradients_of_a_circuit_are_its_expanded_weights(model, override):
    for seed in (3, 4):
        x = normal(1, 3, 5, 5, seed=seed)
        for channel in range(2):
            one = torch.zeros(1, 2, 1, 1, dtype=torch.float64)
            one[0, channel] = 1
            with override(model):
                found = derivative(model, x, one).numpy()
            assert np.abs(found[0] - model.expanded_weights()[channel]).max() < 1e-12
            assert np.abs(derivative(model, x, one).numpy() - found).max() > 0.1


@pytest.mark.parametrize("functional", [False, True])
def test_values_are_those_of_the_linear_network(functional):
    model, x = Circuit(functional=functional), normal(2, 3, 5, 5)
    with linearized(model), torch.no_grad():
        found, constant = model(x), model(torch.zeros_like(x))
    expected = np.tensordot(x.numpy(), model.expanded_weights(), ([1, 2, 3], [1, 2, 3]))
    assert np.abs((found - constant).numpy()[..., 0, 0] - expected).max() < 1e-12


@pytest.mark.parametrize(
    "override", [linearization_overrides, lambda m: linearized(m, values=False)]
)
def test_values_stay_when_only_gradients_are_linear(override):
    for model in (Circuit(functional=False), Circuit(functional=True)):
        x = normal(2, 3, 5, 5).requires_grad_()
        with override(model):
            found = model(x)
        assert torch.equal(found, model(x))


@pytest.mark.parametrize("spelling", RECTIFIERS)
def test_rectifiers_become_the_identity(spelling):
    x, model = 4 * normal(3, 4), tiny.Calling(RECTIFIERS[spelling]).double()
    with linearized(model):
        found = model(x)
        assert torch.equal(found, x)
        assert found.data_ptr() != x.data_ptr()  # a model may overwrite either
        assert torch.equal(derivative(model, x), torch.ones_like(x))
    assert not torch.equal(model(x), x)


@pytest.mark.parametrize("spelling", RECTIFIERS)
def test_rectifiers_keep_their_values_and_get_the_gradient_of_the_identity(spelling):
    x, model = 4 * normal(3, 4), tiny.Calling(RECTIFIERS[spelling]).double()
    with linearization_overrides(model):
        assert torch.equal(model(x.clone().requires_grad_()), model(x))
        assert torch.equal(derivative(model, x, 2 * x), 2 * x)
    assert not torch.equal(derivative(model, x), torch.ones_like(x))


@pytest.mark.parametrize("spelling", IN_PLACE)
def test_rectifiers_that_work_in_place_still_do_when_only_gradients_are_linear(spelling):
    start, model = normal(3, 4).requires_grad_(), tiny.Calling(IN_PLACE[spelling])
    plain = model(start.detach().clone())
    with linearization_overrides(model):
        x = 2 * start / 2
        y = model(x)
    assert y.data_ptr() == x.data_ptr()
    assert torch.equal(x, plain)
    (found,) = torch.autograd.grad(x.sum() + y.sum(), start)
    assert torch.equal(found, torch.full_like(start, 2))


@pytest.mark.parametrize("spelling", IN_PLACE)
def test_rectifiers_that_work_in_place_leave_their_input_when_linear(spelling):
    x, model = normal(3, 4), tiny.Calling(IN_PLACE[spelling])
    with linearized(model):
        y = model(x)
    assert torch.equal(y, normal(3, 4))
    assert torch.equal(x, normal(3, 4))


@pytest.mark.parametrize("layer", NOT_LINEARISED, ids=lambda layer: type(layer).__name__)
def test_other_nonlinearities_stay(layer):
    x = normal(2, 5, 3, 3)
    for override in (linearized, linearization_overrides):
        with override(layer):
            found = layer(x), derivative(layer, x)
        assert torch.equal(found[0], layer(x))
        assert torch.equal(found[1], derivative(layer, x))


def test_max_pools_become_averages_without_their_padding():
    x = normal(1, 2, 6, 5)
    for pool, average in (
        (nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
        (nn.MaxPool2d(3, 2, ceil_mode=True), nn.AvgPool2d(3, 2, ceil_mode=True)),
        (nn.AdaptiveMaxPool2d(2), nn.AdaptiveAvgPool2d(2)),
    ):
        with linearized(pool), torch.no_grad():
            assert torch.allclose(pool(x), average(x), rtol=0, atol=1e-14)


def test_a_window_of_nothing_but_padding_is_zero():
    x = F.pad(torch.ones(1, 1, 2, 2), (2, 0, 0, 0), value=-torch.inf)
    with linearized(pool := nn.MaxPool2d(2)):
        assert pool(x).flatten().tolist() == [0, 1]


def test_indices_of_a_linearised_pool_are_those_of_the_max():
    pool, x = nn.MaxPool2d(2, return_indices=True), normal(1, 2, 4, 4)
    with linearized(pool):
        value, indices = pool(x)
    assert torch.allclose(value, F.avg_pool2d(x, 2), rtol=0, atol=1e-14)
    assert torch.equal(indices, pool(x)[1])


@pytest.mark.parametrize("spelling", [name for name in RECTIFIERS if name.startswith("nn.")])
def test_modules_are_reached_without_their_functional_calls(spelling):
    x, model = 4 * normal(3, 4), RECTIFIERS[spelling].double()
    with linearized(model, functional=False):
        assert torch.equal(model(x), x)


def test_functional_calls_are_left_alone_when_asked():
    x = normal(3, 4)
    for relu, expected in ((nn.ReLU(), x), (F.relu, x.relu())):
        with linearized(model := tiny.Calling(relu), functional=False):
            assert torch.equal(model(x), expected)


@pytest.mark.parametrize("relu", [nn.ReLU(), F.relu])
def test_a_linearised_network_has_no_relu_left_to_redirect(relu):
    model, x = tiny.Calling(relu), normal(3, 4)
    for blocks in ([linearized, redirected_relu], [redirected_relu, linearized]):
        with blocks[0](model), blocks[1](model):
            assert torch.equal(model(x), x)
            assert torch.equal(derivative(model, x, x), x)
    incoming = torch.ones(1, 4, dtype=torch.float64)
    with linearization_overrides(model), redirected_relu(model):
        # Its ReLU is still one, and the inner block wins: nothing pushes further down.
        assert not derivative(model, -incoming, incoming).any()


@pytest.mark.parametrize("model", [tiny.Chain(), tiny.FunctionalChain()])
def test_a_run_redirects_nothing_in_a_linearised_network(model):
    # Of (r, g, b), the linear network makes 2r - 3g; redirected or not, a ReLU would clip -g.
    image = tiny.Pixels(tiny.colour(0.25, 0.5, 0.75))
    settings = RunSettings(steps=2, seed=0, relu_override=True)
    with linearized(model), Run(
        model, objectives.channel("conv2", 0), image, settings=settings,
        optimizer=lambda params: torch.optim.SGD(params, lr=0),
    ) as run:  # fmt: skip
        run.iterate()
    assert [-loss for loss in run.history.loss] == pytest.approx([-1, -1], abs=1e-6)
    assert image.pixels.grad.sum((2, 3)).flatten().tolist() == pytest.approx([-2, 3, 0], abs=1e-6)


@pytest.mark.parametrize("name", ["squeezenet1_1", "densenet121", "googlenet", "efficientnet_b0"])
def test_gradients_of_live_networks_do_not_depend_on_the_image(name):
    from torchvision import models

    torch.manual_seed(0)
    options = {"init_weights": False} if name == "googlenet" else {}
    model = getattr(models, name)(num_classes=4, **options).double().eval().requires_grad_(False)
    if name == "efficientnet_b0":  # its squeeze and excitation multiplies
        model = model.features[:1]
    x = torch.rand(2, 3, 40, 40, dtype=torch.float64)
    with linearized(model), smoothed_maxpool(model, "L2"):
        first, second = (derivative(model, x[n : n + 1]) for n in range(2))
    assert (first - second).abs().max() < 1e-12 * first.abs().max()
    plain = [derivative(model, x[n : n + 1]) for n in range(2)]
    assert (plain[0] - plain[1]).abs().max() > 1e-3 * plain[0].abs().max()
