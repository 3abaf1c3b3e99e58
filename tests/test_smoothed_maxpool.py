"""Max-pools with smooth gradients, against NumPy twins; the values stay."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tiny
import torch
from reference import normal
from torch import nn
from torch.nn import functional as F

from lucent.errors import InputError
from lucent.optvis import objectives
from lucent.optvis.loop import Run, RunSettings
from lucent.overrides import (
    default_overrides,
    linearized,
    pooling_overrides,
    redirected_relu,
    smoothed_maxpool,
)

# Sizes of an input without batch and channels, and options of a max-pool over it.
POOLS = [
    ((7,), {"kernel_size": 3}),
    ((9,), {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2, "ceil_mode": True}),
    ((3,), {"kernel_size": 2, "stride": 4, "padding": 1, "dilation": 2, "ceil_mode": True}),
    ((6, 8), {"kernel_size": 2}),
    ((7, 6), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ((7, 6), {"kernel_size": (3, 2), "stride": (2, 3), "padding": (1, 0)}),
    ((6, 8), {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
    ((6, 9), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ((8, 7), {"kernel_size": 2, "stride": 1, "dilation": (3, 2)}),
    ((9, 8), {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2, "ceil_mode": True}),
    ((4, 5, 6), {"kernel_size": 2, "stride": (2, 1, 2), "padding": (1, 0, 1)}),
    ((5, 4, 5), {"kernel_size": 2, "dilation": 2, "stride": 2}),
]
MODULES = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
FUNCTIONS = {
    1: (F.max_pool1d, torch.max_pool1d),
    2: (F.max_pool2d, torch.max_pool2d),
    3: (F.max_pool3d, torch.max_pool3d),
}
ADAPTIVE = [  # output size, size of an input without batch and channels
    (nn.AdaptiveMaxPool1d, F.adaptive_max_pool1d, F.adaptive_avg_pool1d, 3, (7,)),
    (
        nn.AdaptiveMaxPool1d,
        lambda *a: torch.adaptive_max_pool1d(*a)[0],
        F.adaptive_avg_pool1d,
        3,
        (7,),
    ),
    (nn.AdaptiveMaxPool2d, F.adaptive_max_pool2d, F.adaptive_avg_pool2d, (3, None), (7, 5)),
    (nn.AdaptiveMaxPool3d, F.adaptive_max_pool3d, F.adaptive_avg_pool3d, 2, (5, 4, 3)),
]


def each(value, n_dims):
    return (value,) * n_dims if isinstance(value, int) else value


def windows(sizes, n_out, options):
    """Yield (output position, positions of its window within the input)."""
    n = len(sizes)
    kernel = each(options["kernel_size"], n)
    stride = each(options.get("stride", kernel), n)
    padding, dilation = each(options.get("padding", 0), n), each(options.get("dilation", 1), n)
    for out in itertools.product(*map(range, n_out)):
        sides = [
            [at for k in range(kernel[d])
             if 0 <= (at := out[d] * stride[d] - padding[d] + k * dilation[d]) < sizes[d]]
            for d in range(n)
        ]  # fmt: skip
        yield out, list(itertools.product(*sides))


def gradient_twin(x, g, options, kind, epsilon=0.01):
    """The gradient of the smooth pool, (batch, channels, *sizes) in NumPy."""
    found = np.zeros_like(x)
    for b, c in np.ndindex(*x.shape[:2]):
        for out, window in windows(x.shape[2:], g.shape[2:], options):
            values = np.array([x[(b, c, *at)] for at in window])
            if kind == "avg":
                slopes = np.full(len(window), 1 / len(window))
            else:
                squares, size = np.mean(values**2), epsilon + np.mean(np.abs(values))
                slopes = (2 * values / size - squares * np.sign(values) / size**2) / len(window)
            for at, slope in zip(window, slopes, strict=True):
                found[(b, c, *at)] += g[(b, c, *out)] * slope
    return found


def outcome(model, x, *, seed=1, **options):
    """(value, gradient that came in, gradient that goes on) under the override."""
    x = x.clone().requires_grad_()
    with smoothed_maxpool(model, **options):
        value = model(x)
    incoming = normal(*value.shape, seed=seed).to(value.dtype)
    return value, incoming, torch.autograd.grad(value, x, incoming)[0]


@pytest.mark.parametrize("kind", ["avg", "L2"])
@pytest.mark.parametrize(("sizes", "options"), POOLS)
def test_gradient_is_that_of_the_smooth_pool_and_the_value_that_of_the_max(sizes, options, kind):
    x, n = normal(2, 3, *sizes), len(sizes)
    module = MODULES[n](**options)
    functions = [lambda x, f=f: f(x, **options) for f in FUNCTIONS[n]]
    expected = None
    for model in (nn.Sequential(module), *map(tiny.Calling, functions)):
        value, incoming, gradient = outcome(model, x, kind=kind)
        assert torch.equal(value, module(x))
        if expected is None:
            expected = gradient_twin(x.numpy(), incoming.numpy(), options, kind)
        assert np.abs(gradient.numpy() - expected).max() < 1e-12


@pytest.mark.parametrize(("sizes", "options"), POOLS)
def test_indices_come_with_the_values_when_asked_for(sizes, options):
    x = normal(2, 3, *sizes)
    module = MODULES[len(sizes)](**options, return_indices=True)
    function = FUNCTIONS[len(sizes)][0]
    with smoothed_maxpool(module):
        found = module(x.clone().requires_grad_())
        called = function(x.clone().requires_grad_(), **options, return_indices=True)
    for value, indices in (found, called):
        assert torch.equal(value, module(x)[0])
        assert torch.equal(indices, module(x)[1])
    incoming = normal(*found[0].shape)
    y = x.clone().requires_grad_()
    with smoothed_maxpool(module):
        (gradient,) = torch.autograd.grad(module(y)[0], y, incoming)
    expected = gradient_twin(x.numpy(), incoming.numpy(), options, "avg")
    assert np.abs(gradient.numpy() - expected).max() < 1e-12


@pytest.mark.parametrize(("kind", "function", "average", "size", "sizes"), ADAPTIVE)
def test_adaptive_pools_average_over_their_own_cells(kind, function, average, size, sizes):
    x = normal(2, 3, *sizes)
    for model in (module := kind(size), tiny.Calling(lambda x: function(x, size))):
        for name, smooth in {
            "avg": lambda x: average(x, size),
            "L2": lambda x: average(x * x, size) / (0.01 + average(x.abs(), size)),
        }.items():
            value, incoming, gradient = outcome(model, x, kind=name)
            assert torch.equal(value, module(x))
            like = x.clone().requires_grad_()
            (expected,) = torch.autograd.grad(smooth(like), like, incoming)
            assert torch.allclose(gradient, expected, rtol=0, atol=1e-12)


def test_epsilon_is_that_of_the_l2_pool():
    x, options = normal(1, 2, 6, 6), {"kernel_size": 2}
    _, incoming, gradient = outcome(nn.MaxPool2d(2), x, kind="L2", epsilon=0.5)
    expected = gradient_twin(x.numpy(), incoming.numpy(), options, "L2", epsilon=0.5)
    assert np.abs(gradient.numpy() - expected).max() < 1e-12


def test_the_l2_gradient_of_a_window_of_zeros_is_zero():
    _, _, gradient = outcome(nn.MaxPool2d(2), torch.zeros(1, 1, 4, 4), kind="L2")
    assert not gradient.any()


@pytest.mark.parametrize("kind", ["avg", "L2"])
def test_padding_with_minus_infinity_has_no_part_in_the_average(kind):
    x = normal(2, 3, 6, 7)
    padded = tiny.Calling(lambda x: F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-torch.inf), 3, 2))
    _, incoming, gradient = outcome(padded, x, kind=kind)
    assert gradient.isfinite().all()
    options = {"kernel_size": 3, "stride": 2}  # windows that stick out at the far sides
    expected = gradient_twin(x.numpy(), incoming.numpy(), options, kind)
    assert np.abs(gradient.numpy() - expected).max() < 1e-12
    _, _, nothing = outcome(nn.MaxPool2d(2), torch.full((1, 1, 4, 4), -torch.inf), kind=kind)
    assert not nothing.any()


@pytest.mark.parametrize(("sizes", "pool"), [((5,), nn.MaxPool1d(2, 1)), ((6, 5), nn.MaxPool2d(2))])
def test_blur_weighs_the_gradient_of_a_pixel_and_its_neighbours(sizes, pool):
    x = normal(1, 2, *sizes)
    for kind in ("avg", "L2"):
        _, _, sharp = outcome(pool, x, kind=kind)
        _, _, blurred = outcome(pool, x, kind=kind, blur=True)
        g = np.pad(sharp.numpy(), [(0, 0), (0, 0), *[(1, 1)] * len(sizes)])
        if len(sizes) == 1:
            expected = 0.5 * g[..., 1:-1] + 0.25 * g[..., :-2] + 0.25 * g[..., 2:]
        else:
            # The sums of lucid's notebooks: four neighbours at the edges, four at the corners.
            mid, low, high = slice(1, -1), slice(None, -2), slice(2, None)
            edges = [(low, mid), (high, mid), (mid, low), (mid, high)]
            corners = [(low, low), (low, high), (high, low), (high, high)]
            expected = (1 - 0.5 - 0.25) * g[..., mid, mid]
            expected = expected + 0.5 * np.mean([g[(..., *at)] for at in edges], axis=0)
            expected = expected + 0.25 * np.mean([g[(..., *at)] for at in corners], axis=0)
        assert np.abs(blurred.numpy() - expected).max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite_and_keeps_its_type(dtype):
    x = (300 * normal(2, 3, 6, 6)).to(dtype)  # the squares are beyond float16
    for options in ({}, {"kind": "L2"}, {"blur": True}):
        value, _, gradient = outcome(nn.MaxPool2d(3, 2, 1), x, **options)
        assert value.dtype == gradient.dtype == dtype
        assert gradient.isfinite().all()
        _, _, exact = outcome(nn.MaxPool2d(3, 2, 1), x.double(), **options)
        # Sums of up to four roundings, each of half a unit in the last place.
        assert (gradient - exact).abs().max() <= 4 * torch.finfo(dtype).eps * exact.abs().max()


def test_memory_format_stays():
    x = normal(2, 4, 6, 6).to(memory_format=torch.channels_last)
    value, _, gradient = outcome(nn.MaxPool2d(2), x)
    assert value.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(gradient, outcome(nn.MaxPool2d(2), x.contiguous())[2])


def test_pooled_values_may_be_overwritten():
    x = normal(1, 2, 4, 4)
    _, incoming, gradient = outcome(nn.Sequential(nn.MaxPool2d(2), nn.ReLU(inplace=True)), x)
    passed = incoming * (F.max_pool2d(x, 2) > 0)
    expected = gradient_twin(x.numpy(), passed.numpy(), {"kernel_size": 2}, "avg")
    assert np.abs(gradient.numpy() - expected).max() < 1e-12


@pytest.mark.parametrize(
    "function",
    [lambda x: F.avg_pool2d(x, 2), lambda x: x.amax((2, 3)), lambda x: F.lp_pool2d(x, 2, 2)],
)
def test_other_pools_keep_their_gradient(function):
    x = normal(1, 2, 4, 4).abs().requires_grad_()
    with smoothed_maxpool(model := tiny.Calling(function)):
        (found,) = torch.autograd.grad(model(x).sum(), x)
    assert torch.equal(found, torch.autograd.grad(function(x).sum(), x)[0])


class Halved(nn.MaxPool2d):
    """A max-pool with a forward of its own."""

    def forward(self, x):
        return x[..., ::2, ::2]


def test_a_pool_that_computes_something_else_still_does():
    changed = nn.MaxPool2d(2)
    changed.forward = lambda x: -x
    x = normal(1, 2, 4, 4)
    for model, expected in ((Halved(2), x[..., ::2, ::2]), (nn.Sequential(changed), -x)):
        with smoothed_maxpool(model):
            assert torch.equal(model(x), expected)


def test_functional_calls_are_left_alone_when_asked():
    x = normal(1, 1, 4, 4).requires_grad_()
    for pool, n_reached in ((nn.MaxPool2d(2), 16), (lambda x: F.max_pool2d(x, 2), 4)):
        with smoothed_maxpool(model := tiny.Calling(pool), functional=False):
            (found,) = torch.autograd.grad(model(x).sum(), x)
        assert found.count_nonzero() == n_reached


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"kind": "l2"}, r"kind='l2' is unknown: it is one of 'avg' and 'L2'"),
        ({"kind": "max"}, r"kind='max' is unknown"),
        ({"kind": "L2", "epsilon": 0}, r"epsilon=0 has to be a positive number, such as 0\.01"),
        ({"epsilon": float("nan")}, r"epsilon=nan has to be"),
    ],
)
def test_wrong_options(options, text):
    with pytest.raises(InputError, match=text), smoothed_maxpool(nn.MaxPool2d(2), **options):
        pass


# Blocks in blocks, wrappers, and what is left afterwards


def slopes(model, x):
    """The gradient of the sum of the output."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x).sum(), x)[0]


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), lambda x: F.max_pool2d(x, 2)])
def test_the_inner_block_wins_and_leaves_the_outer_one_in_force(pool):
    model, x = tiny.Calling(pool), normal(1, 1, 4, 4)
    plain = slopes(model, x)
    with smoothed_maxpool(model):
        average = slopes(model, x)
        with smoothed_maxpool(model, "L2"):
            assert not torch.allclose(slopes(model, x), average)
        assert torch.equal(slopes(model, x), average)
    assert torch.equal(average, torch.full_like(x, 0.25))
    assert torch.equal(slopes(model, x), plain)


@pytest.mark.parametrize("order", [(linearized, smoothed_maxpool), (smoothed_maxpool, linearized)])
@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), lambda x: F.max_pool2d(x, 2)])
def test_a_linearised_network_has_no_max_pool_left(pool, order):
    model, x = tiny.Calling(pool), normal(1, 1, 4, 4)
    outer, inner = order
    modules_only = [{"functional": False}] if isinstance(pool, nn.Module) else []
    for options in ({}, *modules_only):
        with outer(model, **options), inner(model, **options):
            assert torch.allclose(model(x), F.avg_pool2d(x, 2), rtol=0, atol=1e-15)


def net():
    layers = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), tiny.Calling(lambda x: F.max_pool2d(x, 2)))
    layers.spec = tiny.PLAIN
    return layers


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda m: torch.compile(m, backend="eager")])
def test_wrapped_networks_are_looked_through(wrap):
    x, inner = normal(2, 1, 4, 4).abs(), net()
    model = wrap(inner)
    plain = slopes(model, x)  # compiles it
    for overridden in (model, inner):
        with smoothed_maxpool(overridden):
            assert torch.allclose(slopes(model, x), torch.full_like(x, 1 / 16))
        with smoothed_maxpool(overridden, functional=False):
            assert slopes(model, x).count_nonzero() == 2 * 4  # the functional one picks
        assert torch.equal(slopes(model, x), plain)


def test_compiled_networks_are_not_compiled_again():
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    x, model = normal(2, 1, 4, 4), torch.compile(net(), backend=backend)
    slopes(model, x)
    n = len(graphs)
    assert n > 0
    with smoothed_maxpool(model), redirected_relu(model):
        slopes(model, x)
    slopes(model, x)
    assert len(graphs) == n


@pytest.mark.parametrize("override", [smoothed_maxpool, linearized, default_overrides])
@pytest.mark.parametrize("kind", [None, KeyboardInterrupt])
def test_everything_is_undone(override, kind):
    model = nn.Sequential(nn.MaxPool2d(2), nn.ReLU6(), nn.AdaptiveMaxPool1d(2), tiny.Chain())
    own = model[2].forward = lambda x: x + 1
    before = tiny.condition(model)

    def block():
        with override(model), override(model):
            assert "forward" in vars(model[0])
            assert vars(model[2])["forward"] is own
            if kind:
                raise kind

    if kind:
        with pytest.raises(kind):
            block()
    else:
        block()
    assert tiny.condition(model) == before
    x = normal(1, 1, 4, 4)
    assert slopes(lambda x: F.max_pool2d(x, 2), x).count_nonzero() == 4


def test_names_of_lucid():
    x = torch.full((1, 1, 2, 2), -1.0).requires_grad_()
    model = nn.Sequential(nn.MaxPool2d(2), nn.ReLU())
    assert pooling_overrides is smoothed_maxpool
    with default_overrides(model):
        (found,) = torch.autograd.grad(-model(x).sum(), x)
    assert found.flatten().tolist() == [-0.25] * 4  # through a dead ReLU, to the whole window
    with redirected_relu(model):
        (found,) = torch.autograd.grad(-model(x).sum(), x)
    assert found.count_nonzero() == 1


def test_a_run_inside_the_block_has_smooth_gradients():
    model = net()
    start = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    reached = {}
    for name, block in {"max": redirected_relu, "smooth": smoothed_maxpool}.items():
        image = tiny.Pixels(start)
        with block(model), Run(
            model, objectives.channel("2", 1), image, settings=RunSettings(steps=1, seed=0)
        ) as run:  # fmt: skip
            run.iterate()
        reached[name] = image.pixels.grad[0, 1].count_nonzero().item()
    assert reached == {"max": 4, "smooth": 64}
