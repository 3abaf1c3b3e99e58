"""The redirected ReLU: Lucid's rule to the letter, in every spelling, and gone afterwards."""

from __future__ import annotations

import pytest
import tiny
import torch
from torch import nn
from torch.nn import functional as F

from lucent.errors import InputError
from lucent.optvis import objectives
from lucent.optvis.loop import Run, RunSettings
from lucent.overrides import FunctionalReLUs, redirected_relu

# Ways to write a ReLU; those that work in place overwrite a copy.
RELUS = {
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU in place": nn.Sequential(tiny.Times(1), nn.ReLU(inplace=True)),
    "torch.relu": torch.relu,
    "torch.relu(input=)": lambda x: torch.relu(input=x),
    "torch.relu_": lambda x: torch.relu_(x.clone()),
    "F.relu": F.relu,
    "F.relu(input=)": lambda x: F.relu(input=x),
    "F.relu in place": lambda x: F.relu(x.clone(), inplace=True),
    "F.relu in place by position": lambda x: F.relu(x.clone(), True),
    "F.relu_": lambda x: F.relu_(x.clone()),
    "x.relu": lambda x: x.relu(),
    "x.relu_": lambda x: x.clone().relu_(),
}
RELU6S = {
    "nn.ReLU6": nn.ReLU6(),
    "nn.ReLU6 in place": nn.Sequential(tiny.Times(1), nn.ReLU6(inplace=True)),
    "F.relu6": F.relu6,
    "F.relu6 in place": lambda x: F.relu6(x.clone(), inplace=True),
    "F.hardtanh": lambda x: F.hardtanh(x, 0, 6),
    "F.hardtanh by keywords": lambda x: F.hardtanh(input=x, min_val=0.0, max_val=6.0),
    "F.hardtanh in place": lambda x: F.hardtanh(x.clone(), 0.0, 6.0, inplace=True),
    "F.hardtanh_": lambda x: F.hardtanh_(x.clone(), 0.0, 6.0),
}
BOTH = {**RELUS, **RELU6S}

# (gradient that comes in, input, gradient that goes on), as Lucid's tests have them.
TRUTH = [(1, -1, 0), (-1, -1, -1), (1, 1, 1), (-1, 1, -1), (1, 0, 1), (-1, 0, -1)]
TRUTH_6 = [*TRUTH, (1, 7, 1), (-1, 7, 0), (1, 6, 1), (-1, 6, -1)]


def gradient(relu, x, incoming, *, override=True):
    """The gradient that goes on to x, of the shape of x."""
    x = torch.tensor(x, dtype=torch.float32).requires_grad_()
    model = tiny.Calling(relu)
    if not override:
        return torch.autograd.grad(model(x), x, torch.tensor(incoming, dtype=torch.float32))[0]
    with redirected_relu(model):
        return torch.autograd.grad(model(x), x, torch.tensor(incoming, dtype=torch.float32))[0]


@pytest.mark.parametrize("spelling", RELUS)
def test_truth_table_of_relu(spelling):
    found = [(g, x, gradient(RELUS[spelling], [[x]], [[g]]).item()) for g, x, _ in TRUTH]
    assert found == TRUTH


@pytest.mark.parametrize("spelling", RELU6S)
def test_truth_table_of_relu6(spelling):
    found = [(g, x, gradient(RELU6S[spelling], [[x]], [[g]]).item()) for g, x, _ in TRUTH_6]
    assert found == TRUTH_6


@pytest.mark.parametrize("spelling", BOTH)
def test_values_are_those_of_the_plain_function(spelling):
    x = torch.tensor([[-7.0, -0.0, 0.0, 0.5], [6.0, 6.5, float("inf"), -float("inf")]])
    model = tiny.Calling(BOTH[spelling])
    with redirected_relu(model):
        found = model(x)
    assert torch.equal(found, model(x))


@pytest.mark.parametrize("relu", [F.relu, nn.ReLU()])
def test_an_example_with_any_plain_gradient_keeps_exactly_that(relu):
    x = [[-1, 2], [-1, -2], [-1, 2]]
    incoming = [[-1, 1], [-1, 1], [-1, 0]]
    assert gradient(relu, x, incoming).tolist() == [[0, 1], [-1, 0], [-1, 0]]


def test_an_example_is_all_of_its_positions_and_channels():
    x = torch.full((2, 3, 4, 5), -1.0)
    x[0, 2, 3, 4] = 1
    incoming = -torch.ones_like(x)
    expected = -torch.ones_like(x)
    expected[0] = 0
    expected[0, 2, 3, 4] = -1
    assert torch.equal(gradient(nn.ReLU(), x.tolist(), incoming.tolist()), expected)
    flat = (x.flatten(2).tolist(), incoming.flatten(2).tolist())
    assert torch.equal(gradient(nn.ReLU(), *flat), expected.flatten(2))


def test_the_smallest_plain_gradient_counts():
    # The square of this one underflows in float32.
    assert gradient(F.relu, [[-1, 1]], [[-1, 1e-30]])[0, 0] == 0


@pytest.mark.parametrize("spelling", ["nn.ReLU", "F.relu", "F.relu6"])
def test_tensors_without_a_batch_are_one_example(spelling):
    assert gradient(BOTH[spelling], [-1, 2], [-1, 1]).tolist() == [0, 1]
    assert gradient(BOTH[spelling], [-1, -2], [-1, 1]).tolist() == [-1, 0]
    assert [gradient(BOTH[spelling], x, -1).item() for x in (-1, 1)] == [-1, -1]


@pytest.mark.parametrize("relu", [nn.ReLU(inplace=True), lambda x: F.relu_(x), torch.relu_])
def test_working_in_place_stays_working_in_place(relu):
    start = torch.tensor([[-1.0, 2.0]], requires_grad=True)
    x = start * 1
    model = tiny.Calling(relu)
    with redirected_relu(model):
        y = model(x)
    assert y.data_ptr() == x.data_ptr()
    assert x.tolist() == [[0, 2]]
    assert x.grad_fn is y.grad_fn


@pytest.mark.parametrize("function", [lambda x: F.hardtanh(x, -1, 1), F.leaky_relu, F.gelu, abs])
def test_other_functions_keep_their_gradient(function):
    x, incoming = [[-2.0, -0.5, 3.0]], [[-1.0, -1.0, -1.0]]
    plain = gradient(function, x, incoming, override=False)
    assert torch.equal(gradient(function, x, incoming), plain)


class Lower(nn.ReLU):
    """A ReLU with a forward of its own."""

    def forward(self, x):
        return super().forward(x) - 0.5


def test_a_relu_that_computes_something_else_still_does():
    x = torch.tensor([[-1.0, 2.0]])
    changed = nn.ReLU()
    changed.forward = lambda x: F.leaky_relu(x, 0.25)
    for relu, expected in ((Lower(), [[-0.5, 1.5]]), (changed, [[-0.25, 2.0]])):
        with redirected_relu(model := tiny.Calling(relu)):
            assert model(x).tolist() == expected


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_scripted_parts_are_left_alone():
    model = nn.Sequential(torch.jit.script(nn.Sequential(nn.ReLU())), nn.ReLU())
    x = torch.tensor([[-1.0]], requires_grad=True)
    with redirected_relu(model):
        (-model(x)).sum().backward()
    assert x.grad.tolist() == [[0.0]]


def test_functional_calls_are_left_alone_when_asked():
    x = torch.full((1, 2), -1.0, requires_grad=True)
    for relu, expected in ((F.relu, 0), (nn.ReLU(), -1)):
        with redirected_relu(model := tiny.Calling(relu), functional=False):
            (found,) = torch.autograd.grad(model(x).sum(), x, -torch.ones(()))
        assert found.unique().tolist() == [expected]


@pytest.mark.parametrize("name", ["googlenet", "densenet121", "mobilenet_v2", "squeezenet1_1"])
def test_live_networks_keep_their_values_and_gradients(name):
    from torchvision import models

    torch.manual_seed(0)
    options = {"init_weights": False} if name == "googlenet" else {}
    model = getattr(models, name)(num_classes=10, **options).eval().requires_grad_(False)
    image = torch.rand(2, 3, 40, 40, requires_grad=True)

    def value_and_gradient():
        value = model(image)
        return value, torch.autograd.grad(value[:, 3].sum(), image)[0]

    plain = value_and_gradient()
    with redirected_relu(model):
        found = value_and_gradient()
    assert plain[1].any()
    assert torch.equal(found[0], plain[0])
    assert torch.equal(found[1], plain[1])


@pytest.mark.parametrize(
    ("name", "expected"), [("googlenet", 57), ("densenet121", 1), ("squeezenet1_1", 0)]
)
def test_functional_relus_of_real_networks_are_seen(name, expected):
    from torchvision import models

    with torch.device("meta"):
        options = {"init_weights": False} if name == "googlenet" else {}
        model = getattr(models, name)(num_classes=10, **options).eval()
        # Modules call the function themselves; what is left are the calls of the model.
        with redirected_relu(model, functional=False), FunctionalReLUs(redirect=False) as seen:
            model(torch.rand(1, 3, 64, 64))
    assert seen.calls == expected


# Regressions


@pytest.mark.parametrize("relu", [F.relu, nn.ReLU()])
def test_a_tenth_of_the_gradient_leaked_through_every_closed_relu(relu):
    # The first example is alive; the second is dead, but descent would close it further.
    assert gradient(relu, [[-1, 2], [-1, -2]], [[-1, 1], [1, 1]]).tolist() == [[0, 1], [0, 0]]
    # Outside of the block, as for an attribution, nothing is redirected.
    assert gradient(relu, [[-1, -2]], [[-1, -1]], override=False).tolist() == [[0, 0]]


# What is left afterwards


@pytest.mark.parametrize("kind", [None, KeyboardInterrupt])
def test_everything_is_undone(kind):
    model = nn.Sequential(nn.ReLU(), nn.ReLU6(), nn.ReLU(), tiny.Chain())
    model[2].forward = lambda x: x + 1
    before = tiny.condition(model)

    def block():
        with redirected_relu(model):
            assert [name for name, m in model.named_modules() if "forward" in vars(m)] == [
                "0",
                "1",
                "2",
                "3.relu",
            ]
            if kind:
                raise kind

    if kind:
        with pytest.raises(kind):
            block()
    else:
        block()
    assert tiny.condition(model) == before
    x = torch.full((1, 2), -1.0, requires_grad=True)
    (found,) = torch.autograd.grad(F.relu(model[0](x)).sum(), x, -torch.ones(()))
    assert not found.any()


# In a run


def gradients(model, n_steps, objective, *, relu_override=True):
    """The largest gradient at each step of an image that never moves."""
    found = []
    image = tiny.Pixels(tiny.colour(0.5, 0.5, 0.5))
    with Run(
        model,
        objective,
        image,
        optimizer=lambda params: torch.optim.SGD(params, lr=0),
        settings=RunSettings(steps=n_steps, seed=0, relu_override=relu_override),
    ) as run:
        run.iterate([lambda run: run.step and found.append(image.pixels.grad.abs().max().item())])
    return found


@pytest.mark.parametrize("relu", [nn.ReLU(), nn.ReLU6(), F.relu, F.relu6])
def test_a_run_redirects_at_steps_0_to_16_only(relu):
    found = gradients(tiny.Dead(relu), 20, objectives.channel("labels", 0))
    assert [step for step, gradient in enumerate(found) if gradient] == list(range(17))
    assert len(found) == 20


@pytest.mark.filterwarnings("ignore:The gradient is zero")
def test_a_run_redirects_only_when_asked():
    found = gradients(tiny.Dead(), 2, objectives.channel("relu", 0), relu_override=False)
    assert found == [0, 0]


class CheckpointedDead(nn.Module):
    """The dead ReLU in a region that the backward pass computes anew."""

    spec = tiny.PLAIN

    def __init__(self, relu):
        super().__init__()
        self.dead = tiny.Dead(relu)
        self.after = nn.Identity()

    def forward(self, x):
        from torch.utils.checkpoint import checkpoint

        return self.after(checkpoint(self.dead, x, use_reentrant=False))


def test_a_run_redirects_inside_a_checkpointed_region():
    for layer in ("after", "dead.relu"):
        found = gradients(CheckpointedDead(nn.ReLU()), 3, objectives.channel(layer, 0))
        assert all(found)


def test_a_functional_relu_in_a_checkpointed_region_is_an_error_that_tells_the_way_out():
    model, objective = CheckpointedDead(F.relu), objectives.channel("dead.conv", 0)
    with pytest.raises(InputError, match=r"checkpoint.*relu_override=False"):
        gradients(model, 3, objectives.channel("after", 0))
    found = gradients(model, 3, objective, relu_override=False)
    assert all(found)


@pytest.mark.parametrize("model", [tiny.Chain(), tiny.FunctionalChain()])
def test_a_run_leaves_the_relus_of_objective_and_image_alone(model):
    def hinge(T):
        return -F.relu(T("input").mean() - 5) - 0 * T("conv2").mean()

    with pytest.warns(UserWarning, match="The gradient is zero at the start"):
        found = gradients(model, 2, objectives.as_objective(hinge))
    assert found == [0, 0]
