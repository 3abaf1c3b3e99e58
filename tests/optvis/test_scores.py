"""Every score against its NumPy twin, its gradient, and what climbing it does."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import reference_scores as twin
import torch
from reference import normal, seeded
from reference_scores import Pass
from torch._subclasses.fake_tensor import FakeTensorMode

from lucent.optvis.objectives import (
    L1,
    L2,
    Objective,
    activation_difference,
    alignment,
    blur_alpha_each_step,
    blur_input_each_step,
    channel,
    channel_interpolate,
    channel_weight,
    class_logit,
    deepdream,
    direction,
    direction_neuron,
    diversity,
    dot_compare,
    gram,
    input_diff,
    localgroup_weight,
    mean_l2,
    neuron,
    neuron_weight,
    penalize_boundary_complexity,
    product,
    style,
    tensor_direction,
    total_variation,
    transparency,
    whitened_direction,
    whitened_direction_neuron,
)

ACTS = {
    "conv": normal(3, 4, 5, 8),
    "fc": normal(3, 6, seed=1),
    "deep": normal(3, 2, 7, 3, seed=2),
    "video": normal(3, 4, 2, 3, 5, seed=3),
    "input": torch.rand(3, 4, 6, 7, dtype=torch.float64, generator=seeded(4)),
}
LABELS = ("cat", "dog, hound", "fox", "cow", "bee", "ant")

VEC = normal(4, seed=5)
VEC6 = normal(6, seed=6)
PATCH = normal(4, 2, 3, seed=7)
WHITE = normal(4, 4, seed=8)
PHOTO = torch.rand(4, 6, 7, dtype=torch.float64, generator=seeded(9))
MASK = torch.rand(6, 7, dtype=torch.float64, generator=seeded(10))
COLOR = [0.1, 0.9, 0.3, 0.6]
TARGETS = {"conv": normal(4, 4, seed=11), "fc": normal(1, 6, 6, seed=12)}
GREY = np.full(4, 0.5)


def position_mean(acts):
    return acts.flatten(2).mean(2)


def per_row(name, make, score):
    """A score that takes `batch`: its twin gets the chosen rows of all activations."""
    rows = {None: slice(None), 0: slice(0, 1), 2: slice(2, 3), -1: slice(2, 3)}
    rows[np.int64(1)] = slice(1, 2)
    return [
        pytest.param(
            make(batch),
            lambda a, chosen=chosen: score(of_rows(a, chosen)),
            id=name if batch is None else f"{name}-row-{batch}",
        )
        for batch, chosen in rows.items()
    ]


def whole(name, made, score):
    return [pytest.param(made, score, id=name)]


def of_rows(acts, rows):
    return {layer: values[rows] for layer, values in acts.items()}


CASES = [
    *per_row("channel", lambda b: channel("video", 1, b), lambda a: a["video"][:, 1].mean()),
    *per_row(
        "neuron", lambda b: neuron("conv", 3, 6, 1, b), lambda a: a["conv"][:, 3, 1, 6].mean()
    ),
    *per_row(
        "neuron_weight",
        lambda b: neuron_weight("conv", VEC, 7, 0, b),
        lambda a: twin.weighted(a["conv"][:, :, 0, 7], VEC.numpy()),
    ),
    *per_row(
        "neuron_weight-center-ones",
        lambda b: neuron_weight("conv", None, batch=b),
        lambda a: a["conv"][:, :, 2, 4].mean(),
    ),
    *per_row(
        "neuron_weight-fc",
        lambda b: neuron_weight("fc", VEC6.numpy(), batch=b),
        lambda a: twin.weighted(a["fc"], VEC6.numpy()),
    ),
    *per_row(
        "channel_weight",
        lambda b: channel_weight("conv", VEC, b),
        lambda a: twin.weighted(a["conv"], VEC.numpy()),
    ),
    *per_row(
        "channel_weight-fc",
        lambda b: channel_weight("fc", VEC6.tolist(), b),
        lambda a: twin.weighted(a["fc"], VEC6.numpy()),
    ),
    *per_row(
        "channel_weight-video",
        lambda b: channel_weight("video", VEC, b),
        lambda a: twin.weighted(a["video"], VEC.numpy()),
    ),
    *per_row(
        "localgroup_weight",
        lambda b: localgroup_weight("conv", VEC, 5, 1, 3, 2, b),
        lambda a: twin.weighted(a["conv"][:, :, 1:3, 5:8], VEC.numpy()),
    ),
    *per_row(
        "localgroup_weight-center-ones",
        lambda b: localgroup_weight("deep", wx=2, wy=4, batch=b),
        lambda a: a["deep"][:, :, 1:5, 0:2].mean(),
    ),
    *per_row("deepdream", lambda b: deepdream("conv", b), lambda a: (a["conv"] ** 2).mean()),
    *per_row("class_logit", lambda b: class_logit("fc", "hound", b), lambda a: a["fc"][:, 1].sum()),
    *per_row("class_logit-index", lambda b: class_logit("fc", 5, b), lambda a: a["fc"][:, 5].sum()),
    *[
        case
        for power in (None, 0, 1, 2.5)
        for case in [
            *per_row(
                f"direction-{power}",
                lambda b, p=power: direction("conv", VEC, b, cossim_pow=p),
                lambda a, p=power: twin.along(a["conv"], VEC.numpy(), p),
            ),
            *per_row(
                f"direction_neuron-{power}",
                lambda b, p=power: direction_neuron("conv", VEC, 1, 4, b, cossim_pow=p),
                lambda a, p=power: twin.along(a["conv"][:, :, 4, 1], VEC.numpy(), p),
            ),
            *per_row(
                f"tensor_direction-{power}",
                lambda b, p=power: tensor_direction("conv", PATCH, b, cossim_pow=p),
                lambda a, p=power: twin.tensor_along(a["conv"], PATCH.numpy(), p),
            ),
            *per_row(
                f"direction-fc-{power}",
                lambda b, p=power: direction("fc", VEC6, b, cossim_pow=p),
                lambda a, p=power: twin.along(a["fc"], VEC6.numpy(), p),
            ),
        ]
    ],
    *per_row(
        "direction-video",
        lambda b: direction("video", VEC, b, cossim_pow=1),
        lambda a: twin.along(a["video"], VEC.numpy(), 1),
    ),
    *[
        case
        for power in (0, 2, 4)
        for case in [
            *per_row(
                f"whitened_direction-{power}",
                lambda b, p=power: whitened_direction(
                    "conv", VEC, b, whitening=WHITE, cossim_pow=p
                ),
                lambda a, p=power: twin.whitened(a["conv"], VEC.numpy(), WHITE.numpy(), p),
            ),
            *per_row(
                f"whitened_direction_neuron-{power}",
                lambda b, p=power: whitened_direction_neuron(
                    "conv", VEC, b, whitening=WHITE, x=3, cossim_pow=p
                ),
                lambda a, p=power: twin.whitened(
                    a["conv"][:, :, 2:3, 3], VEC.numpy(), WHITE.numpy(), p
                ),
            ),
        ]
    ],
    *per_row(
        "total_variation",
        lambda b: total_variation(batch=b),
        lambda a: twin.total_variation(a["input"]),
    ),
    *per_row(
        "total_variation-video",
        lambda b: total_variation("video", b),
        lambda a: twin.total_variation(a["video"]),
    ),
    *per_row("L1", lambda b: L1("conv", 0.5, b), lambda a: np.abs(a["conv"] - 0.5).sum()),
    *per_row(
        "L1-photo",
        lambda b: L1(constant=PHOTO, batch=b),
        lambda a: np.abs(a["input"] - PHOTO.numpy()).sum(),
    ),
    *per_row("L1-fc", lambda b: L1("fc", batch=b), lambda a: np.abs(a["fc"]).sum()),
    *per_row(
        "L2",
        lambda b: L2("conv", 0.5, 0.25, b),
        lambda a: np.sqrt(0.25 + ((a["conv"] - 0.5) ** 2).sum()),
    ),
    *per_row("L2-input", lambda b: L2(batch=b), lambda a: np.sqrt(1e-6 + (a["input"] ** 2).sum())),
    *per_row(
        "blur_input_each_step",
        lambda b: blur_input_each_step(batch=b),
        lambda a: twin.sharpness(a["input"]),
    ),
    *per_row(
        "blur_alpha_each_step",
        lambda b: blur_alpha_each_step(batch=b),
        lambda a: twin.sharpness(a["input"][:, 3:]),
    ),
    *per_row(
        "penalize_boundary_complexity",
        lambda b: penalize_boundary_complexity((3, 4, 6, 7), 2, batch=b),
        lambda a: twin.boundary(a["input"], 2, GREY),
    ),
    *per_row(
        "penalize_boundary_complexity-mask-color",
        lambda b: penalize_boundary_complexity(mask=MASK, C=COLOR, batch=b),
        lambda a: twin.boundary(a["input"], 0, np.array(COLOR), MASK.numpy()),
    ),
    *per_row(
        "input_diff",
        lambda b: input_diff(PHOTO.numpy(), b),
        lambda a: twin.l2(a["input"], PHOTO.numpy()),
    ),
    *per_row(
        "transparency",
        lambda b: transparency(batch=b),
        lambda a: (1 - a["input"][:, 3]).mean(),
    ),
    *per_row(
        "product",
        lambda b: product(transparency(batch=b), deepdream("conv", b)),
        lambda a: (1 - a["input"][:, 3]).mean() * (a["conv"] ** 2).mean(),
    ),
    *per_row(
        "style",
        lambda b: style(TARGETS, batch=b),
        lambda a: (
            -sum(
                twin.l1(twin.gram(a[layer]).mean(0), TARGETS[layer].numpy().reshape(n, n))
                for layer, n in (("conv", 4), ("fc", 6))
            )
        ),
    ),
    *per_row(
        "style-means-l2",
        lambda b: style({"conv": VEC}, style_func=position_mean, loss_func=mean_l2, batch=b),
        lambda a: -twin.l2(a["conv"].mean((0, 2, 3)), VEC.numpy()),
    ),
    *whole(
        "channel_interpolate",
        channel_interpolate("conv", 1, "deep", 0),
        lambda a: twin.interpolated(a["conv"], 1, a["deep"], 0),
    ),
    *whole("alignment", alignment("conv"), lambda a: twin.alignment(a["conv"], 2)),
    *whole("alignment-fc", alignment("fc", 3.5), lambda a: twin.alignment(a["fc"], 3.5)),
    *whole("diversity", diversity("conv"), lambda a: twin.diversity(a["conv"])),
    *whole("diversity-fc", diversity("fc"), lambda a: twin.diversity(a["fc"])),
    *whole("diversity-video", diversity("video"), lambda a: twin.diversity(a["video"])),
    *[
        case
        for power in (0, 0.5, 2)
        for case in whole(
            f"dot_compare-{power}",
            dot_compare("conv", 2, power),
            lambda a, p=power: twin.dot_compare(a["conv"], 2, 0, p),
        )
    ],
    *whole(
        "dot_compare-reference",
        dot_compare("fc", 0, 1, reference=-1),
        lambda a: twin.dot_compare(a["fc"], 0, 2, 1),
    ),
    *whole(
        "activation_difference",
        activation_difference(["conv", "fc"], difference_to=2),
        lambda a: twin.l1(a["conv"][0], a["conv"][2]) + twin.l1(a["fc"][0], a["fc"][2]),
    ),
    *whole(
        "activation_difference-grams",
        activation_difference("deep", mean_l2, gram, batch=2),
        lambda a: twin.l2(*twin.gram(a["deep"])[[2, 1]]),
    ),
]
FIRST_OF_EACH = [case for case in CASES if "-row-" not in case.id]


def arrays():
    return {layer: values.numpy() for layer, values in ACTS.items()}


def score_of(made, acts=ACTS):
    return -made(Pass(LABELS, **acts))


def leaves(made):
    """Copies of the activations that an objective reads, to differentiate by."""
    acts = {layer: values.clone().requires_grad_() for layer, values in ACTS.items()}
    gradients = torch.autograd.grad(score_of(made, acts), [*acts.values()], allow_unused=True)
    return {
        layer: acts[layer].detach()
        for layer, gradient in zip(acts, gradients, strict=True)
        if gradient is not None
    }, [gradient for gradient in gradients if gradient is not None]


@pytest.mark.parametrize(("made", "expected"), CASES)
def test_score_equals_its_twin(made, expected):
    assert score_of(made).ndim == 0
    assert score_of(made).item() == pytest.approx(expected(arrays()), abs=1e-10, rel=1e-12)


# Gradients

#: Their gradient is deliberately another one than the derivative; see the two tests after the next.
STATED = {"blur_input_each_step", "blur_alpha_each_step"}


@pytest.mark.parametrize(
    "made", [pytest.param(c.values[0], id=c.id) for c in FIRST_OF_EACH if c.id not in STATED]
)
def test_gradient_is_the_derivative(made):
    read, _ = leaves(made)

    def score(*values):
        return score_of(made, {**ACTS, **dict(zip(read, values, strict=True))})

    assert torch.autograd.gradcheck(score, [v.requires_grad_() for v in read.values()])


@pytest.mark.parametrize(
    ("made", "channels"), [(blur_input_each_step(), [0, 1, 2, 3]), (blur_alpha_each_step(), [3])]
)
def test_gradient_of_the_blur_is_the_image_minus_its_blur(made, channels):
    _, (gradient,) = leaves(made)
    image = ACTS["input"].numpy()[:, channels]
    expected = np.zeros((3, 4, 6, 7))
    expected[:, channels] = image - twin.blur(image, 3)
    np.testing.assert_allclose(gradient.numpy(), expected, atol=1e-14)


def test_gradient_of_an_averaged_style_is_that_of_the_current_view_at_the_average():
    made = style({"conv": TARGETS["conv"]}, ema_decay=0.75, loss_func=mean_l2)
    T = Pass(**ACTS)
    made(T)
    acts = normal(3, 4, 5, 8, seed=20).requires_grad_()
    T.acts = {"conv": acts}
    (gradient,) = torch.autograd.grad(-made(T), acts)

    now = gram(acts).mean(0)
    average = (0.75 * gram(ACTS["conv"]).mean(0) + 0.25 * now).detach().requires_grad_()
    (slope,) = torch.autograd.grad(-mean_l2(average, TARGETS["conv"]), average)
    (expected,) = torch.autograd.grad(now, acts, slope)
    assert torch.allclose(gradient, expected, atol=1e-15, rtol=1e-12)


@pytest.mark.parametrize("made", [pytest.param(c.values[0], id=c.id) for c in FIRST_OF_EACH])
def test_climbing_the_gradient_raises_the_score(made):
    read, gradients = leaves(made)
    length = torch.stack([gradient.norm() for gradient in gradients]).norm()
    assert length > 0
    step = 1e-4 / length
    moved = {layer: v + step * g for (layer, v), g in zip(read.items(), gradients, strict=True)}
    before, after = score_of(made).item(), score_of(made, {**ACTS, **moved}).item()
    assert after > before
    if made.name not in STATED:
        # A step of this length follows the slope, but for the curvature.
        assert after - before == pytest.approx(1e-4 * length.item(), rel=0.01)


# What kind of value an objective is


@pytest.mark.parametrize("made", [pytest.param(c.values[0], id=c.id) for c in FIRST_OF_EACH])
def test_objectives_are_pickled_and_printed(made):
    again = pickle.loads(pickle.dumps(made))
    assert torch.equal(score_of(again), score_of(made))
    assert repr(again) == repr(made)
    assert repr(made).startswith(("<Objective ", "<Objective Sum("))
    assert (again.layers, again.captions()) == (made.layers, made.captions())


@pytest.mark.parametrize("made", [pytest.param(c.values[0], id=c.id) for c in FIRST_OF_EACH])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_numbers_follow_the_dtype_of_the_activations(made, dtype):
    score = score_of(made, {layer: values.to(dtype) for layer, values in ACTS.items()})
    assert score.dtype == dtype
    # Sums are accumulated in single precision; what remains are a few roundings of single numbers.
    few = 2 * torch.finfo(dtype).eps
    assert score.item() == pytest.approx(score_of(made).item(), rel=few, abs=few)


@pytest.mark.parametrize("made", [pytest.param(c.values[0], id=c.id) for c in FIRST_OF_EACH])
def test_memory_format_makes_no_difference(made):
    def channels_last(acts):
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        return acts.to(memory_format=formats.get(acts.dim(), torch.contiguous_format))

    score = score_of(made, {layer: channels_last(values) for layer, values in ACTS.items()})
    assert score.item() == pytest.approx(score_of(made).item(), rel=1e-13)


def fakes_gpus():
    """Whether this release of PyTorch imitates copies to a GPU without asking for its driver."""
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            torch.ones(1).to("cuda", non_blocking=True)
    except RuntimeError:
        return False
    return True


@pytest.mark.skipif(not fakes_gpus(), reason="this PyTorch needs a driver to imitate a GPU")
@pytest.mark.parametrize("made", [pytest.param(c.values[0], id=c.id) for c in FIRST_OF_EACH])
def test_scores_stay_on_the_device_and_do_not_wait_for_it(made):
    # Fake tensors have a device without there being one, and refuse to tell their values.
    with FakeTensorMode(allow_non_fake_inputs=True):
        shapes = {layer: values.shape for layer, values in ACTS.items()}
        acts = {layer: torch.empty(shape, device="cuda") for layer, shape in shapes.items()}
        score = score_of(made, acts)
    assert score.device.type == "cuda"


def test_five_thousand_terms_of_mixed_kinds():
    kinds = [case.values[0] for case in CASES]
    parts = [kinds[n % len(kinds)] * (n % 7 - 3) for n in range(5000)]
    many = Objective.sum(parts)
    repeats = [len(range(start, 5000, len(kinds))) for start in range(len(kinds))]
    assert sum(repeats) == 5000
    weights = np.zeros(len(kinds))
    for n in range(5000):
        weights[n % len(kinds)] += n % 7 - 3
    expected = sum(w * score_of(kind).item() for w, kind in zip(weights, kinds, strict=True))
    again = pickle.loads(pickle.dumps(many))
    assert score_of(again).item() == pytest.approx(expected, rel=1e-10)
    assert repr(again) == repr(many)
    assert repr(many).count(" +\n") == len(many.terms) - 1 >= 4999
