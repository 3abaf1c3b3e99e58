"""Tensors in a unit ball: what they are, their stated gradients, and ways back inside."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import normal, seeded

from lucent.errors import InputError
from lucent.optvis import param
from lucent.optvis.param import constrain_L2, constrain_L_inf


def gradient(function, x, g, *arguments):
    """What arrives at x where g arrives at the function's value."""
    x = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    function(x, *arguments).backward(torch.tensor(g, dtype=torch.float64))
    return x.grad.tolist()


def descended(image, target, steps, lr=0.1):
    """Plain gradient descent of the squared distance to a target."""
    for _ in range(steps):
        image.zero_grad()
        (image() - target).square().sum().backward()
        with torch.no_grad():
            for parameter in image.trainable():
                parameter -= lr * parameter.grad
    return image().detach()


def test_vector_is_divided_by_its_norm_where_that_exceeds_one():
    for scale in (0.0, 0.5, 1.0, 3.0):
        x = scale * torch.tensor([0.6, 0.8], dtype=torch.float64)
        expected = x.numpy() / max(1.0, scale)
        np.testing.assert_allclose(constrain_L2(x), expected, rtol=0, atol=1e-15)


def test_batch_is_one_vector_as_in_lucid():
    x = torch.randn(2, 3, 4, 4, generator=seeded())
    assert constrain_L2(x).norm().item() == pytest.approx(1, abs=1e-6)


def test_values_are_clipped():
    x = torch.tensor([-2.0, -1.0, -0.3, 0.0, 0.3, 1.0, 2.0])
    assert constrain_L_inf(x).tolist() == x.clamp(-1, 1).tolist()
    assert constrain_L_inf(x, True).tolist() == x.clamp(-1, 1).tolist()


@pytest.mark.parametrize(
    ("x", "g", "expected"),
    [
        ([0.3, 0.4], [-1.0, -2.0], [-1.0, -2.0]),  # inside: as it is
        ([0.6, 0.8], [-3.0, -4.0], [-3.0, -4.0]),  # on the surface, too
        ([3.0, 4.0], [3.0, 4.0], [3.0, 4.0]),  # outside, the step leads in
        ([3.0, 4.0], [-3.0, -4.0], [0.0, 0.0]),  # the step leads straight out
        ([3.0, 4.0], [-4.0, 3.0], [-4.0, 3.0]),  # along the surface
        ([0.0, 2.0], [5.0, -1.0], [5.0, 0.0]),  # slides
    ],
)
def test_gradient_of_the_euclidean_ball(x, g, expected):
    assert gradient(constrain_L2, x, g) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("x", "g", "expected"),
    [
        (0.5, -3.0, -3.0),  # inside: as it is
        (2.0, 3.0, 3.0),  # above, the step leads in
        (2.0, -3.0, 0.0),  # above, the step leads out
        (-2.0, -3.0, -3.0),
        (-2.0, 3.0, 0.0),
        (1.0, -3.0, 0.0),  # at the limit
        (-1.0, -3.0, -3.0),
    ],
)
def test_gradient_of_the_largest_value_ball(x, g, expected):
    assert gradient(constrain_L_inf, [x], [g]) == [expected]
    assert gradient(constrain_L_inf, [x], [g], True) == [np.sign(expected)]


def test_gradient_in_other_types():
    for dtype in (torch.float32, torch.bfloat16):
        for function in (constrain_L2, constrain_L_inf):
            x = torch.tensor([3.0, 4.0], dtype=dtype, requires_grad=True)
            function(x).sum().backward()
            assert function(x).dtype == x.grad.dtype == dtype
            assert x.grad.tolist() == [1, 1]


@pytest.mark.parametrize("make", [param.unit_ball_L2, param.unit_ball_L_inf])
def test_ball_starts_at_zero(make):
    ball = make((2, 3))
    assert torch.equal(ball(), torch.zeros(2, 3))
    assert [tensor.shape for tensor in ball.trainable()] == [(2, 3)]


def test_euclidean_ball_finds_the_nearest_point():
    ball = param.unit_ball_L2((2,)).double()
    inside = torch.tensor([0.3, -0.4], dtype=torch.float64)
    torch.testing.assert_close(descended(ball, inside, 200), inside)
    outside = torch.tensor([3.0, -4.0], dtype=torch.float64)
    torch.testing.assert_close(descended(ball, outside, 400), outside / 5)


def test_value_that_left_the_ball_comes_back():
    # Lucid took the gradient for the step, and so it blocked the way in instead of the way out.
    for ball in (param.unit_ball_L2((2,)), param.unit_ball_L_inf((2,), precondition=False)):
        with torch.no_grad():
            ball.trainable()[0].copy_(torch.tensor([3.0, 4.0]))
        target = torch.tensor([0.2, -0.1])
        torch.testing.assert_close(descended(ball, target, 300), target, rtol=0, atol=1e-5)


def test_values_that_are_pushed_out_stay_near_the_limit():
    for ball in (param.unit_ball_L2((2,)), param.unit_ball_L_inf((2,))):
        descended(ball, torch.tensor([5.0, 0.0]), 100)
        # The step that left the ball is the last one outward.
        assert 1 <= ball.trainable()[0][0] < 2


def test_preconditioned_values_move_alike():
    ball = param.unit_ball_L_inf((2,))
    descended(ball, torch.tensor([100.0, 0.001]), 1)
    assert ball().tolist() == pytest.approx([0.1, 0.1])


@pytest.mark.parametrize("make", [param.unit_ball_L2, param.unit_ball_L_inf])
def test_ball_that_cannot_be(make):
    with pytest.raises(InputError, match="whole numbers of at least 1"):
        make((0, 3))


@pytest.mark.parametrize("constrain", [constrain_L2, constrain_L_inf])
def test_vectorised_over_rows_a_ball_is_one_for_each(constrain):
    rows, towards = normal(4, 3).requires_grad_(), normal(4, 3, seed=1)
    together = torch.vmap(constrain)(rows)
    (gradient,) = torch.autograd.grad((together * towards).sum(), rows)
    for n, row in enumerate(rows.detach()):
        row.requires_grad_()
        alone = constrain(row)
        (own,) = torch.autograd.grad((alone * towards[n]).sum(), row)
        torch.testing.assert_close(together[n], alone, rtol=0, atol=1e-15)
        torch.testing.assert_close(gradient[n], own, rtol=0, atol=1e-15)
