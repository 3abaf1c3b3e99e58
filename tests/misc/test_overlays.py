from __future__ import annotations

import numpy as np
import pytest

from lucent.errors import InputError
from lucent.misc.io.overlays import AGAINST, FOR, hued, hues, overlaid

GREY = np.full((4, 8, 3), 0.5)


def test_positive_is_orange_and_negative_blue():
    over = overlaid(GREY, np.array([[2.0, 0.0, -2.0]]))
    left, middle, right = over[0, 0], over[0, 4], over[0, -1]
    np.testing.assert_allclose(left, 0.15 * 0.5 + 0.85 * np.array(FOR), atol=1e-6)
    np.testing.assert_allclose(right, 0.15 * 0.5 + 0.85 * np.array(AGAINST), atol=1e-6)
    assert np.ptp(middle) < 0.2


def test_nothing_leaves_the_photograph_grey_and_pale():
    photo = np.random.default_rng(0).random((4, 8, 3))
    over = overlaid(photo, np.zeros((2, 2)))
    np.testing.assert_allclose(
        over, 0.2 + 0.6 * photo.mean(-1, keepdims=True) + 0 * photo, atol=2e-3
    )


def test_the_limit_sets_the_full_colour():
    half = overlaid(GREY, np.full((1, 1), 1.0), limit=2.0)[0, 0]
    np.testing.assert_allclose(half, 0.575 * 0.5 + 0.425 * np.array(FOR), atol=1e-6)
    beyond = overlaid(GREY, np.full((1, 1), 9.0), limit=2.0)[0, 0]
    np.testing.assert_allclose(beyond, 0.15 * 0.5 + 0.85 * np.array(FOR), atol=1e-6)


def test_maps_have_colours_of_their_own():
    maps = np.zeros((3, 1, 3))
    maps[[0, 1, 2], 0, [0, 1, 2]] = 1
    over = hued(GREY[:, :3], maps)
    assert [int(pixel.argmax()) for pixel in over[0]] == [0, 1, 2]
    np.testing.assert_allclose(hues(3), np.eye(3), atol=1e-12)


def test_bytes_and_tensors_are_pictures_too():
    import torch

    expected = overlaid(GREY, np.ones((1, 1)))
    np.testing.assert_allclose(
        overlaid(torch.full((3, 4, 8), 0.5), np.ones((1, 1))), expected, atol=1e-6
    )
    np.testing.assert_allclose(
        overlaid(np.full((4, 8, 3), 128, np.uint8), np.ones((1, 1))), expected, atol=1e-2
    )


@pytest.mark.parametrize(
    ("maps", "text"),
    [
        (np.ones((2, 2)), r"expected \(n, h, w\)"),
        (-np.ones((1, 2, 2)), "none negative"),
        (np.full((1, 2, 2), np.nan), "finite"),
    ],
)
def test_what_are_no_maps_is_refused(maps, text):
    with pytest.raises(InputError, match=text):
        hued(GREY, maps)


def test_a_colour_for_every_map():
    with pytest.raises(InputError, match=r"There are 2 maps, but colours of shape \(1, 3\)"):
        hued(GREY, np.ones((2, 1, 1)), colours=[(1, 0, 0)])


@pytest.mark.parametrize("limit", [-1, float("nan")])
def test_a_limit_is_not_negative(limit):
    with pytest.raises(InputError, match="limit="):
        overlaid(np.zeros((4, 4, 3)), np.ones((2, 2)), limit=limit)
