"""Many terms are evaluated together, and give what they give one by one."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest
import tiny
import torch
from reference import normal, seeded
from reference_scores import Pass
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.optvis.loop import Run, RunSettings
from lucent.optvis.objectives import (
    L1,
    L2,
    Acts,
    Input,
    Objective,
    Term,
    blur_alpha_each_step,
    blur_input_each_step,
    channel,
    channel_weight,
    class_logit,
    deepdream,
    direction,
    direction_neuron,
    gather,
    input_diff,
    localgroup_weight,
    neuron,
    neuron_weight,
    objective,
    penalize_boundary_complexity,
    product,
    tensor_direction,
    total_variation,
    transparency,
    whitened_direction,
    whitened_direction_neuron,
)
from lucent.units import Values

CPU = torch.device("cpu")
WHITE = normal(4, 4, seed=8)
ROWS = {
    "batch": [None] * 5,
    "one-image": [1] * 5,
    "each": [0, 1, 2, 0, 1],
    "negative": [-1, -3, 2, -2, 0],
    "mixed": [None, 2, None, -1, 2],
}


def vector(n, size=4):
    return normal(size, seed=20 + n)


#: Factories of objectives that differ in a number n, and in the image that they are about.
FAMILIES = {
    "channel": lambda n, b: channel("conv", (3 * n) % 4, b),
    "channel-same": lambda n, b: channel("conv", 2, b),
    "channel-fc": lambda n, b: channel("fc", n, b),
    "channel-video": lambda n, b: channel("video", n % 4, b),
    "neuron": lambda n, b: neuron("conv", n % 4, batch=b),
    "neuron-x": lambda n, b: neuron("conv", n % 4, x=n, batch=b),
    "neuron-y": lambda n, b: neuron("conv", 3, y=n, batch=b),
    "neuron-xy": lambda n, b: neuron("conv", n % 4, 7 - n, n, b),
    "neuron-fc": lambda n, b: neuron("fc", n, 0, 0, b),
    "class_logit": lambda n, b: class_logit("fc", n, b),
    "class_logit-text": lambda n, b: class_logit("fc", "abcdef"[n], b),
    "class_logit-same-text": lambda n, b: class_logit("fc", "c", b),
    "channel_weight": lambda n, b: channel_weight("conv", vector(n), b),
    "channel_weight-list": lambda n, b: channel_weight("conv", vector(n).tolist(), b),
    "channel_weight-fc": lambda n, b: channel_weight("fc", vector(n, 6), b),
    "neuron_weight": lambda n, b: neuron_weight("conv", vector(n), batch=b),
    "localgroup_weight": lambda n, b: localgroup_weight("conv", vector(n), 5, 1, 3, 2, b),
    "localgroup_weight-ones": lambda n, b: localgroup_weight("conv", wx=2, batch=b),
    "deepdream": lambda n, b: deepdream("conv", b),
    "direction": lambda n, b: direction("conv", vector(n), b),
    "direction-power": lambda n, b: direction("video", vector(n), b, cossim_pow=1.5),
    "direction_neuron": lambda n, b: direction_neuron("conv", vector(n), 1, 4, b, cossim_pow=0),
    "tensor_direction": lambda n, b: tensor_direction("conv", normal(4, 2, 3, seed=n), b),
    "whitened_direction": lambda n, b: whitened_direction("conv", vector(n), b, whitening=WHITE),
    "whitened_direction_neuron": lambda n, b: whitened_direction_neuron(
        "conv", vector(n), b, whitening=WHITE + n, x=2
    ),
    "total_variation": lambda n, b: total_variation(batch=b),
    "total_variation-video": lambda n, b: total_variation("video", b),
    "L1": lambda n, b: L1("conv", n, b),
    "L1-half": lambda n, b: L1("conv", 0.5, b),
    "L2": lambda n, b: L2("fc", vector(n, 6), batch=b),
    "blur_input_each_step": lambda n, b: blur_input_each_step(batch=b),
    "blur_alpha_each_step": lambda n, b: blur_alpha_each_step(batch=b),
    "penalize": lambda n, b: penalize_boundary_complexity(w=2, C=[0.1, 0.9, 0.3, n / 9], batch=b),
    "input_diff": lambda n, b: input_diff(normal(4, 6, 7, seed=n), b),
    "transparency": lambda n, b: transparency(batch=b),
}


class Counted(Pass):
    """Counts how often each layer is asked for."""

    def __init__(self, draws=1, **acts):
        super().__init__(tuple("abcdef"), **acts)
        self.draws, self.asked = draws, Counter()

    def __call__(self, layer):
        self.asked[layer] += 1
        return super().__call__(layer)


def passed(draws=1):
    acts = {
        "conv": normal(3 * draws, 4, 5, 8),
        "fc": normal(3 * draws, 6, seed=1),
        "video": normal(3 * draws, 4, 2, 3, 5, seed=3),
        "input": torch.rand(3, 4, 6, 7, dtype=torch.float64, generator=seeded(4)),
    }
    return Counted(draws, **{name: values.requires_grad_() for name, values in acts.items()})


def with_gradients(made, T):
    """The values of the terms, and the gradients of a sum of them in which each counts its own."""
    values = made.values(T)
    loss = (values * torch.arange(1, len(values) + 1)).sum()
    return [values, *torch.autograd.grad(loss, list(T.acts.values()), materialize_grads=True)]


@pytest.mark.parametrize("draws", [1, 2])
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("name", FAMILIES)
def test_terms_together_equal_terms_one_by_one(name, rows, draws):
    made = Objective.sum(FAMILIES[name](n, row) for n, row in enumerate(ROWS[rows]))
    placed, T = made.to(CPU), passed(draws)
    expected = with_gradients(made, T)
    for _ in range(2):
        for found, wanted in zip(with_gradients(placed, T), expected, strict=True):
            assert torch.allclose(found, wanted, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", sorted(name for name in FAMILIES if "text" not in name))
def test_a_layer_is_read_once_however_many_terms_there_are(name):
    made = Objective.sum(FAMILIES[name](n % 5, row) for n, row in enumerate([0, 1, 2, -1] * 5))
    placed, T = made.to(CPU), passed()
    placed(T)
    T.asked.clear()
    placed(T)
    assert list(T.asked.values()) == [1]


def test_values_are_in_the_order_of_the_terms():
    kinds = [
        lambda n: channel("conv", n),
        lambda n: channel("fc", n, batch=n),
        lambda n: product(channel("conv", n), transparency()),
        lambda n: neuron("conv", n, batch=2),
        lambda n: Objective(lambda T: T("fc")[:, n].sum()),
    ]
    made = Objective.sum(kind(n) * (n + 1) for n in range(3) for kind in kinds) - 7
    T = passed()
    assert torch.allclose(made.to(CPU).values(T), made.values(T), rtol=0, atol=1e-14)
    assert made.to(CPU)(T).item() == pytest.approx(made(T).item(), abs=1e-13)
    assert made.to(CPU).captions() == made.captions()


def test_activations_in_half_precision_keep_it():
    made = Objective.sum([*(channel("conv", n) for n in range(4)), channel("conv", 0, batch=1)])
    T = Pass(conv=normal(3, 4, 5, 8).bfloat16())
    values = made.to(CPU).values(T)
    assert values.dtype == torch.bfloat16
    # One by one, the mean over the images rounds the means of the images again.
    assert torch.allclose(values, made.values(T), rtol=2**-7, atol=0)


# What a step costs


class Operations(TorchDispatchMode):
    """Counts operations by name."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def operations_of_a_step(objective, batch):
    run = Run(
        tiny.textured(),
        objective,
        tiny.Pixels(torch.rand(batch, 3, 12, 14, generator=seeded(0))),
        optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
        settings=RunSettings(seed=0, preprocess=False),
    )
    with run:
        next(run)
        with Operations() as operations:
            next(run)
    return operations.counts


STEPS = {
    "channel": lambda n: channel("3", n % 8),
    "channel-image": lambda n: channel("3", n % 8).about(n % 4),
    "neuron": lambda n: neuron("3", n % 8, n % 3, n % 2, batch=n % 4),
    "direction": lambda n: direction("3", vector(n, 8).tolist(), batch=n % 4),
    "two-kinds": lambda n: channel("1", n % 8, batch=n % 4) - total_variation(batch=n % 4),
}


@pytest.mark.parametrize("kind", STEPS)
def test_a_step_does_the_same_operations_for_4_16_and_256_terms(kind):
    counts = [
        operations_of_a_step(Objective.sum(map(STEPS[kind], range(n))), 4) for n in (4, 16, 256)
    ]
    assert counts[0] == counts[1] == counts[2]


def test_one_channel_takes_no_more_operations_than_many():
    counts = [
        operations_of_a_step(Objective.sum(map(STEPS["channel"], range(n))), 1) for n in (1, 16)
    ]
    assert counts[0].total() <= counts[1].total()


@pytest.mark.parametrize("kind", STEPS)
def test_a_step_makes_no_constants_and_reads_nothing_back(kind):
    counts = operations_of_a_step(Objective.sum(map(STEPS[kind], range(100))), 4)
    assert {"lift_fresh", "_local_scalar_dense", "nonzero", "equal"}.isdisjoint(counts)


def test_the_score_itself_is_only_asked_in_the_first_step():
    calls = []

    @objective
    def counted(layer: Acts, at: int) -> Tensor:
        calls.append(at)
        return layer[:, at].flatten(1).mean(1)

    @counted.many
    def together(acts, rows, at: Tensor):
        calls.append("together")
        return acts[rows, :, :, at]

    placed, T = Objective.sum(counted("conv", n, batch=n % 3) for n in range(4)).to(CPU), passed()
    placed(T)
    assert calls == [0, 1, 2, 3, "together"]
    placed(T)
    assert calls[5:] == ["together"]
    T.acts["conv"] = normal(3, 4, 6, 8)  # an activation of another shape may be refused
    placed(T)
    assert calls[6:] == [0, 1, 2, 3, "together"]


# What is refused


@pytest.mark.parametrize(
    "bad",
    [
        channel("conv", 99),
        channel("conv", -1),
        channel("conv", 1, batch=3),
        channel("conv", 1, batch=-4),
        channel("conv", 1.5),
        channel("conv", True),
        channel("tokens", 0),
        neuron("conv", 1, x=8),
        neuron("conv", 1, y=-1),
        neuron("conv", 4),
        class_logit("fc", 6),
        class_logit("conv", 0),
        class_logit("fc", "z"),
        channel_weight("conv", vector(0, 5)),
        channel_weight("conv", [1.0, 2.0]),
        direction("conv", vector(0, 3)),
        direction_neuron("conv", vector(0), x=9),
    ],
)
def test_one_bad_term_among_many_is_named_as_it_is_alone(bad):
    (term,) = bad.terms
    layer = dict(term.arguments)["layer"]
    good = [channel("conv", n % 4, batch=n % 3) for n in range(99)]
    good += [neuron("conv", n % 4, n % 8, batch=n % 3) for n in range(20)]
    good += [class_logit("fc", n % 6) for n in range(20)]
    good += [
        direction("conv", vector(n % 5)) + channel_weight("conv", vector(n)) for n in range(20)
    ]
    good += [channel(layer, 0)] if layer == "fc" else []
    T = passed()
    T.acts["tokens"] = normal(3)
    with pytest.raises(InputError) as alone:
        bad(T)
    with pytest.raises(InputError) as among:
        Objective.sum([*good[:60], bad, *good[60:]]).to(CPU)(T)
    assert str(among.value) == str(alone.value)


def test_an_activation_that_becomes_too_small_is_refused_later():
    placed, T = Objective.sum(neuron("conv", n, x=n + 4) for n in range(4)).to(CPU), passed()
    placed(T)
    T.acts["conv"] = normal(3, 4, 5, 7)
    with pytest.raises(InputError, match="x=7, y=2: this layer has 7 columns"):
        placed(T)


@pytest.mark.parametrize("numbers", [["a", 1.0], [[1.0], [2.0, 3.0]], [None, 1.0]])
def test_a_list_that_is_no_numbers_is_refused_with_its_name(numbers):
    with pytest.raises(InputError, match=r"weight.*( cannot be made a tensor| has NaN)"):
        channel_weight("conv", numbers).to(CPU)(passed())


def test_only_what_is_annotated_as_a_list_of_numbers_becomes_a_tensor():
    seen = []

    @objective
    def window(layer: Acts, size: Tensor | tuple[int, int], weight: Values) -> Tensor:
        seen.append((type(size), type(weight)))
        return layer.mean()

    window("conv", (3, 4), (0.5, 1.5)).to(CPU)(passed())
    assert seen == [(tuple, Tensor)]


# Scores of users


@objective
def plain(layer: Acts, at: int) -> Tensor:
    return layer[:, at].flatten(1).mean(1)


@objective(mapped=True)
def toward(layer: Acts, *, goal: Tensor, power: float = 2.0) -> Tensor:
    return -((layer.mean((2, 3)) - goal).abs() ** power).sum(1)


def test_a_score_of_a_user_is_evaluated_one_by_one():
    made, T = Objective.sum(plain("conv", n) for n in range(4)), passed()
    assert torch.equal(made.to(CPU).values(T), made.values(T))
    assert T.asked["conv"] == 8


def test_a_mapped_score_of_a_user_joins():
    made = Objective.sum(toward("conv", goal=vector(n), batch=n % 3) for n in range(9))
    placed, T = made.to(CPU), passed()
    assert torch.allclose(placed.values(T), made.values(T), rtol=0, atol=1e-14)
    T.asked.clear()
    placed.values(T)
    assert T.asked == {"conv": 1}


def test_arguments_that_are_no_tensors_keep_terms_apart():
    made = Objective.sum(toward("conv", goal=vector(n), power=1.5 + n % 2) for n in range(8))
    placed, T = made.to(CPU), passed()
    assert torch.allclose(placed.values(T), made.values(T), rtol=0, atol=1e-14)
    T.asked.clear()
    placed.values(T)
    assert T.asked == {"conv": 2}


def test_a_shared_argument_may_be_anything():
    weird = np.array([1, "a"], dtype=object)

    @objective(mapped=True)
    def strange(layer: Acts, thing: Values | np.ndarray) -> Tensor:
        return layer.flatten(1).mean(1) * thing[0]

    made, T = Objective.sum(strange("conv", weird, batch=n) for n in range(3)), passed()
    assert torch.allclose(made.to(CPU).values(T), made.values(T), rtol=0, atol=1e-14)


def two_layers(first: Acts, second: Acts) -> Tensor:
    return first.mean() * second.mean()


def image_and_layer(image: Input, layer: Acts) -> Tensor:
    return image.mean() * layer.mean()


def with_all(layer: Acts, T: Activations) -> Tensor:
    return layer.mean() * T.step


@pytest.mark.parametrize("score", [two_layers, image_and_layer, with_all])
def test_a_score_that_reads_more_than_one_layer_cannot_be_mapped(score):
    message = f"'{score.__name__}' cannot be evaluated together: its score has to read one layer"
    with pytest.raises(InputError, match=message):
        objective(mapped=True)(score)


def test_terms_made_by_hand_keep_their_arguments_apart():
    white = (("layer", "conv"), ("direction", vector(0)))
    given = [
        Term(direction_neuron.score, (*white, ("x", 1))),
        Term(direction_neuron.score, (*white, ("y", 1))),
        Term(neuron.score, (("layer", "conv"), ("n_channel", 0), ("x", 1), ("y", 3))),
        Term(neuron.score, (("layer", "conv"), ("n_channel", 1), ("y", 1), ("x", 3))),
        Term(neuron.score, (("layer", "conv"), ("n_channel", 2), ("x", 4))),
        Term(neuron.score, (("layer", "conv"), ("n_channel", 3), ("x", 5))),
    ]
    made, T = Objective.of(given), passed()
    assert torch.allclose(made.to(CPU).values(T), made.values(T), rtol=0, atol=1e-14)


# Objectives stay values


def test_a_placed_objective_is_pickled_and_printed():
    made = Objective.sum(toward("conv", goal=vector(n), batch=n % 3) for n in range(9)) + A_FEW
    placed, T = made.to(CPU), passed()
    again = pickle.loads(pickle.dumps(placed))
    assert torch.equal(again.values(T), placed.values(T))
    assert repr(again) == repr(placed) == repr(made)


A_FEW = channel("conv", 0) + channel("conv", 1) - 2 * channel("conv", 2)


def test_what_is_made_of_a_placed_objective_follows_its_own_terms():
    placed, T = A_FEW.to(CPU), passed()
    expected = A_FEW(T).item()
    placed(T)
    for changed, factor in [(2 * placed, 2), (-placed, -1), (placed - placed, 0)]:
        assert changed(T).item() == pytest.approx(factor * expected, abs=1e-14)
        assert changed.to(CPU)(T).item() == pytest.approx(factor * expected, abs=1e-14)


def test_weights_follow_the_type_of_the_values_and_are_made_once(monkeypatch):
    made = []
    constant = gather.constant
    monkeypatch.setattr(gather, "constant", lambda *args: made.append(1) or constant(*args))
    weights = [0.1 * n + 0.05 for n in range(70)]
    placed = Objective.sum(w * channel("conv", n % 4) for n, w in enumerate(weights)).to(CPU)
    for dtype in (torch.float64, torch.float32, torch.float64):
        values = torch.rand(70, dtype=dtype, generator=seeded(2))
        expected = -(torch.tensor(weights, dtype=dtype) * values).sum()
        assert torch.equal(placed.loss(values), expected)
        assert torch.equal(placed.loss(values), expected)
    assert len(made) == 3


def halving(step):
    return 0.5**step


def test_weights_with_a_schedule_follow_the_step():
    placed, T = (A_FEW + channel("conv", 3).scheduled(halving)).to(CPU), passed()
    for step in range(3):
        T.step = step
        expected = A_FEW(T) + 0.5**step * channel("conv", 3)(T)
        assert placed(T).item() == pytest.approx(expected.item(), abs=1e-14)


@pytest.mark.parametrize(("device", "dtype"), [("mps", torch.float32), ("cuda", torch.float64)])
@pytest.mark.parametrize("numbers", [vector(0), vector(0).tolist()])
def test_double_precision_is_given_up_where_a_device_has_none(monkeypatch, device, dtype, numbers):
    seen = []

    def to(tensor, where, wanted=None):
        seen.append((where.type, wanted or tensor.dtype))
        return tensor

    (term,) = channel_weight("conv", numbers).terms
    monkeypatch.setattr(Tensor, "to", to)
    term.to(torch.device(device))
    assert seen[-1] == (device, dtype)
