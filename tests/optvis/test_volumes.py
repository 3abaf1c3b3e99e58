"""Volumes under random shifts, scales and turns."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from reference import doubles, seeded

from lucent.errors import InputError
from lucent.generators import Generators
from lucent.optvis.transform import per_image, standard_volume_transforms, tumble

STILL = {"scale": 1, "angle": 0}


def twin(volume, shift, turn, scale, fill):
    """Move one volume (D, H, W), point by point."""
    depth, height, width = volume.shape
    stretch = max(height, width) / depth
    angle = np.linalg.norm(turn)
    axis = turn / angle if angle else turn
    middle = (np.array(volume.shape[::-1]) - 1) / 2
    result = np.empty(volume.shape)
    for z, y, x in np.ndindex(*volume.shape):
        point = np.array([x, y, z]) - middle
        point[2] *= stretch
        point -= shift
        # Rodrigues' formula of the turn back.
        point = (
            point * np.cos(angle)
            - np.cross(axis, point) * np.sin(angle)
            + axis * (axis @ point) * (1 - np.cos(angle))
        ) / scale
        point[2] /= stretch
        result[z, y, x] = trilinear(volume, point + middle, fill)
    return result


def trilinear(volume, point, fill):
    base, total = np.floor(point).astype(int), 0.0
    for corner in itertools.product((0, 1), repeat=3):
        place = base + corner
        inside = all(0 <= n < m for n, m in zip(place, volume.shape[::-1], strict=True))
        value = volume[tuple(place[::-1])] if inside else fill
        total += value * np.prod(1 - np.abs(point - place))
    return total


@pytest.mark.parametrize("size", [(5, 5, 5), (3, 6, 7), (6, 4, 4), (1, 5, 4)])
def test_a_tumbled_volume_equals_its_twin(size):
    move, volume = tumble(2, scale=(0.8, 1.2), angle=40, fill=0.3), doubles(2, 2, *size)
    draw = move.sample(volume, seeded(), 2)
    found = move.apply(volume, draw)
    for row, (channels, numbers) in enumerate(zip(volume.numpy(), draw.numpy(), strict=True)):
        shift, turn, scale = numbers[:3], np.radians(numbers[3:6]), numbers[6]
        expected = [twin(channel, shift, turn, scale, 0.3) for channel in channels]
        np.testing.assert_allclose(found[row].numpy(), expected, atol=1e-12)


def test_a_volume_that_is_not_moved_stays():
    volume = doubles(1, 2, 4, 5, 6)
    torch.testing.assert_close(tumble(0, **STILL)(volume), volume, rtol=0, atol=1e-14)


@pytest.mark.parametrize("axis", range(3))
def test_a_shift_by_a_voxel_moves_to_the_right_down_and_back(axis):
    volume = doubles(1, 1, 4, 4, 4)
    draw = torch.zeros(1, 7, dtype=torch.float64)
    draw[0, axis], draw[0, 6] = 1, 1
    moved = tumble(1, fill=0.25).apply(volume, draw)
    dim = 4 - axis
    expected = volume.roll(1, dim)
    expected.select(dim, 0).fill_(0.25)
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("axis", "dims"), [(0, (3, 2)), (1, (2, 4)), (2, (4, 3))])
def test_a_quarter_turn_about_an_axis(axis, dims):
    volume = doubles(1, 1, 5, 5, 5)
    draw = torch.zeros(1, 7, dtype=torch.float64)
    draw[0, 3 + axis], draw[0, 6] = 90, 1
    turned = tumble(angle=90).apply(volume, draw)
    torch.testing.assert_close(turned, torch.rot90(volume, -1, dims[::-1]), rtol=0, atol=1e-12)


def test_draws_are_uniform_in_their_ranges():
    move = tumble(6, scale=(0.9, 1.1), angle=10)
    draws = move.sample(doubles(1, 1, 2, 2, 2), seeded(), 4000).numpy()
    low = np.array([-6] * 3 + [-10] * 3 + [0.9])
    high = np.array([6] * 3 + [10] * 3 + [1.1])
    parts = (draws - low) / (high - low)
    assert parts.min() >= 0
    assert parts.max() <= 1
    # Of 4000 uniform numbers, four standard errors.
    np.testing.assert_allclose(parts.mean(0), 0.5, atol=4 * np.sqrt(1 / 12 / 4000))
    correlations = np.corrcoef(parts.T) - np.eye(7)
    assert np.abs(correlations).max() < 5 / np.sqrt(4000)


def test_a_flat_clip_does_not_leave_its_frames():
    # In voxels, ten degrees would move its border by ten frames.
    frames = torch.arange(16.0).view(1, 1, 16, 1, 1).expand(1, 1, 16, 112, 112).double()
    draw = torch.tensor([[0, 0, 6, 10, 0, 0, 1]]).double()
    moved = tumble().apply(frames, draw)
    middle = moved[0, 0, 4:12, 8:-8, 8:-8]
    expected = frames[0, 0, 4:12, 8:-8, 8:-8]
    # The border moves by 6 + 56 sin 10 pixels of the plane, and 8 frames shrink by the cosine.
    border = 16 / 112 * (6 + 56 * np.sin(np.radians(10))) + 8 * (1 - np.cos(np.radians(10)))
    assert (middle - expected).abs().max() < border


def test_rows_have_draws_of_their_own_where_that_is_asked_for():
    volume = doubles(1, 1, 4, 5, 6).expand(3, -1, -1, -1, -1)
    shared = tumble()(volume, seeded())
    assert torch.equal(shared[0], shared[2])
    own = per_image(tumble())(volume, Generators(range(3), "cpu"))
    assert not torch.equal(own[0], own[2])
    alone = tumble()(volume[2:], Generators([2], "cpu"))
    torch.testing.assert_close(own[2:], alone, rtol=0, atol=1e-14)


def test_gradients():
    volume = doubles(1, 1, 3, 4, 4).requires_grad_()
    draw = tumble().sample(volume, seeded())
    torch.autograd.gradcheck(lambda v: tumble().apply(v, draw), volume)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_positions_are_exact_in_half_precision(dtype):
    volume = doubles(1, 1, 20, 20, 20).to(dtype)
    draw = tumble().sample(volume, seeded())
    expected = tumble().apply(volume.float(), draw).to(dtype)
    assert torch.equal(tumble().apply(volume, draw), expected)


def test_the_standard_list_keeps_the_size_and_says_what_it_does():
    (move,) = standard_volume_transforms
    assert repr(move) == "Tumble(shift=6.0, scale=(0.9, 1.1), angle=10.0, fill=0.5)"
    assert move(doubles(2, 3, 4, 5, 6)).shape == (2, 3, 4, 5, 6)


def test_pictures_are_refused():
    with pytest.raises(InputError, match=r"takes volumes \(B, C, D, H, W\).*for pictures use jit"):
        tumble()(torch.zeros(1, 3, 4, 4))


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"shift": -1}, "shift=-1, angle=10.0"),
        ({"angle": float("nan")}, r"tumble got \[6.0, nan, 0.5\]: .* finite"),
        ({"fill": float("nan")}, r"tumble got \[6.0, 10.0, nan\]: .* finite"),
        ({"shift": "far"}, r"tumble got \('far', 10.0, 0.5\): give numbers"),
        ({"scale": 0}, "scale=0: .* scales are positive"),
        ({"scale": (1.2, 0.8)}, r"tumble got \(1.2, 0.8\): give one number, or a pair"),
    ],
)
def test_numbers_that_cannot_be(wrong, text):
    with pytest.raises(InputError, match=text):
        tumble(**wrong)
