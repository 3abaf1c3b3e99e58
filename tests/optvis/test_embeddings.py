"""Likeness of embeddings: values from the definitions, gradients, and images that become alike."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import tiny
import torch
from reference import normal
from reference_scores import Pass, cosine

from lucent.errors import InputError
from lucent.optvis.objectives import Objective, embedding
from lucent.optvis.render import render_vis

CPU = torch.device("cpu")


def passed():
    return Pass(
        fc=normal(3, 4).requires_grad_(),
        conv=normal(3, 4, 5, 2, seed=1).requires_grad_(),
        video=normal(3, 4, 2, 3, 2, seed=2).requires_grad_(),
    )


def angle(a, b):
    return math.acos(cosine(a, b))


MEASURES = {"cosine": cosine, "spherical": lambda a, b: -(angle(a, b) ** 2) / 2}


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("layer", ["fc", "conv", "video"])
def test_likeness_of_the_mean_position_to_each_target(layer, measure):
    T, targets = passed(), normal(2, 4, seed=5)
    own = T(layer).detach().reshape(3, 4, -1).mean(2).numpy()
    each = np.array([[MEASURES[measure](a, b) for b in targets.numpy()] for a in own])
    score = -embedding(layer, targets, measure=measure)(T).item()
    assert score == pytest.approx(each.mean(), abs=1e-12)
    score = -embedding(layer, (7 * targets[1]).tolist(), batch=2, measure=measure)(T).item()
    assert score == pytest.approx(each[2, 1], abs=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
def test_gradients(measure):
    target = normal(4, seed=5)
    made = embedding("a", target, measure=measure)
    assert torch.autograd.gradcheck(lambda x: made(lambda _: x), (normal(3, 4).requires_grad_(),))


@pytest.mark.parametrize("scale", [1.0, -1.0])
def test_the_squared_angle_is_exact_and_has_a_gradient_where_embeddings_are_equal_or_opposite(
    scale,
):
    target = normal(4, seed=5)
    aside = normal(4, seed=6)
    aside -= (aside @ target) / (target @ target) * target
    for tilt in (0.0, 1e-7):
        acts = (scale * target + tilt * aside)[None].requires_grad_()
        loss = embedding("a", target, measure="spherical")(lambda _, acts=acts: acts)
        turned = math.atan(tilt * (aside.norm() / target.norm()).item())
        expected = turned if scale > 0 else math.pi - turned
        assert loss.item() == pytest.approx(expected**2 / 2, rel=1e-6, abs=1e-30)
        (gradient,) = torch.autograd.grad(loss, acts)
        assert gradient.isfinite().all()
    # The cosine has nearly none at opposite embeddings, the squared angle pi per unit of angle.
    if scale < 0:
        assert gradient.norm() * target.norm() == pytest.approx(math.pi, rel=1e-5)


@pytest.mark.parametrize("measure", MEASURES)
def test_targets_of_many_terms_are_evaluated_together(measure):
    T, targets = passed(), normal(6, 4, seed=5)
    made = Objective.sum(
        embedding("conv", targets[n], batch, measure=measure)
        for n, batch in enumerate([0, 1, 2, 0, None, -1])
    )
    assert torch.allclose(made.to(CPU).values(T), made.values(T), rtol=0, atol=1e-14)


@pytest.mark.parametrize("measure", MEASURES)
def test_the_image_becomes_like_its_target(measure):
    # A Chain's conv1 makes (r, -g) of a colour: (3, -1) is a red with a little green.
    images = render_vis(
        tiny.Chain(),
        embedding("conv1", [3.0, -1.0], measure=measure),
        lambda: tiny.Pixels(tiny.colour(0.4, 0.6, 0.5)),
        optimizer=lambda params: torch.optim.SGD(params, lr=1.0),
        transforms=[],
        thresholds=(60,),
        preprocess=False,
        progress=False,
        show_image=False,
    )
    red, green, blue = images[0].mean((0, 1, 2))
    assert red / green == pytest.approx(3, rel=0.02)
    assert blue == pytest.approx(0.5)


def test_description_pickle_and_about():
    made = embedding("fc", normal(4, seed=5))
    T = passed()
    assert made.description == "Embedding [fc, ..., cosine, None]"
    assert pickle.loads(pickle.dumps(made))(T) == made(T)
    assert made.about(1)(T) == embedding("fc", normal(4, seed=5), batch=1)(T)


@pytest.mark.parametrize("shape", [(5,), (4, 2), (1, 2, 4), (0,), (0, 4)])
def test_target_of_another_length(shape):
    target = normal(*shape).tolist()
    with pytest.raises(
        InputError, match=r"gives embeddings of 4 numbers: give \(4,\), or \(n, 4\)"
    ):
        embedding("fc", target)(passed())


def test_unknown_measure():
    with pytest.raises(InputError, match="measure='dot' is unknown: it is 'cosine' or 'spherical'"):
        embedding("fc", normal(4), measure="dot")(passed())
