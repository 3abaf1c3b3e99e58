"""From any number of channels to colours."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lucent.errors import InputError
from lucent.misc.io.collapse_channels import (
    collapse_channels,
    hue_to_rgb,
    sparse_channels_to_rgb,
)

ACTS = np.random.default_rng(0).standard_normal((3, 4, 7))


def twin_hue(angle, warp=True):
    """The formula of the description, for one angle, in plain Python."""
    corners = [(1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1)]
    corners = [[c / math.hypot(*corner) for c in corner] for corner in corners]
    angle -= 360 * math.floor(angle / 360)
    n = math.floor(angle / 60)
    d = (angle - 60 * n) / 60
    if warp:
        d = math.sin(math.pi * d / 2) if n % 2 == 0 else 1 - math.sin(math.pi * (1 - d) / 2)
    mixed = [(1 - d) * a + d * b for a, b in zip(corners[n], corners[(n + 1) % 6], strict=True)]
    return [c / math.hypot(*mixed) for c in mixed]


def twin(array):
    """The formula of the description, position by position."""
    if array.min() < 0:
        array = np.concatenate([np.maximum(array, 0), np.maximum(-array, 0)], -1)
    result = np.zeros((*array.shape[:-1], 3))
    count = array.shape[-1]
    for place in np.ndindex(*array.shape[:-1]):
        x = array[place]
        rgb = sum(x[i] * np.array(twin_hue(360 * i / count)) for i in range(count))
        rgb = rgb + (x.sum() - x.max())
        result[place] = rgb / np.linalg.norm(rgb) * np.linalg.norm(x)
    return result


@pytest.mark.parametrize("warp", [True, False])
@pytest.mark.parametrize(
    "angle", [0, 17, 60, 89.5, 120, 155, 200, 299, 359.99, 360, 412, -30, -725]
)
def test_hues_equal_the_twin(angle, warp):
    np.testing.assert_allclose(hue_to_rgb(angle, warp), twin_hue(angle, warp), rtol=0, atol=1e-12)


def test_primary_colours_are_exact():
    for angle, colour in [(0, [1, 0, 0]), (120, [0, 1, 0]), (240, [0, 0, 1])]:
        assert hue_to_rgb(angle).tolist() == colour


@pytest.mark.parametrize("warp", [True, False])
def test_hues_are_of_unit_length_and_have_no_jumps(warp):
    hues = np.stack([hue_to_rgb(angle, warp) for angle in np.arange(0, 720, 0.5)])
    np.testing.assert_allclose(np.linalg.norm(hues, axis=1), 1, rtol=1e-12)
    assert np.abs(np.diff(hues, axis=0)).max() < 0.02


def test_warp_moves_away_from_the_primary_colours():
    for primary in (0, 120, 240):
        for side in (-20, 20):
            plain, warped = hue_to_rgb(primary + side, False), hue_to_rgb(primary + side)
            assert warped @ hue_to_rgb(primary) < plain @ hue_to_rgb(primary)


def test_channels_of_any_sign_equal_the_twin():
    np.testing.assert_allclose(collapse_channels(ACTS), twin(ACTS), rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        sparse_channels_to_rgb(np.abs(ACTS)), twin(np.abs(ACTS)), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("scale", [1e-6, 1, 1e6])
def test_every_colour_is_as_long_as_its_channels_at_any_scale(scale):
    lengths = np.linalg.norm(collapse_channels(ACTS * scale), axis=-1)
    np.testing.assert_allclose(lengths, np.linalg.norm(ACTS * scale, axis=-1), rtol=1e-12)


def test_single_channels_keep_their_hue_and_the_negative_has_the_opposite_one():
    eye = np.eye(3)
    np.testing.assert_array_equal(sparse_channels_to_rgb(eye), eye)
    both = collapse_channels(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]))
    hues = [hue_to_rgb(angle) for angle in (0, 180, 90, 270)]
    np.testing.assert_allclose(both, hues, rtol=0, atol=1e-12)


def test_many_active_channels_are_white_and_none_is_black():
    white = sparse_channels_to_rgb(np.ones((1, 50)))
    assert np.ptp(white) < 0.02 * white.max()
    assert (sparse_channels_to_rgb(np.zeros((2, 5))) == 0).all()


def test_integers_are_taken_as_numbers():
    np.testing.assert_allclose(
        collapse_channels(np.array([[-128, 3]], np.int8)), twin(np.array([[-128.0, 3]]))
    )


@pytest.mark.parametrize("shape", [(), (4, 0)])
def test_nothing_to_make_colours_of(shape):
    with pytest.raises(InputError, match="has no channels"):
        collapse_channels(np.zeros(shape))
