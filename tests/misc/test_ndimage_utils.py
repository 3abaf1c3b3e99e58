"""Resizing and compositing."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from lucent.errors import InputError
from lucent.misc.ndimage_utils import composite, resize, soft_alpha_blend

IMAGE = np.random.default_rng(0).random((8, 6, 3))


# Sizes


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(4, 9), (16, 3), (1, 1)])
def test_plain_picture_stays_plain(mode, size):
    resized = resize(np.full((8, 6, 2), 0.3), size, mode=mode)
    np.testing.assert_allclose(resized, np.full((*size, 2), 0.3), rtol=1e-12)


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
def test_slope_keeps_its_places(mode):
    """A pixel's value is its centre, in units of the whole width: no half-pixel shift."""
    wide = (np.arange(48) + 0.5) / 48 * np.ones((12, 1))
    for width in (16, 96):
        resized = resize(wide[..., None], (12, width), mode=mode)[..., 0]
        centres = (np.arange(width) + 0.5) / width
        inner = slice(width // 8, -width // 8)  # away from the border, which has one neighbour
        np.testing.assert_allclose(resized[:, inner], centres[inner] * np.ones((12, 1)), atol=1e-12)


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
def test_stripes_that_do_not_fit_become_grey(mode):
    stripes = np.tile([0.0, 1.0], 32) * np.ones((64, 1))
    inner = resize(stripes[..., None], (16, 16), mode=mode)[4:-4, 4:-4]
    np.testing.assert_allclose(inner, 0.5, atol=0.02)


def test_triangle_filter_halves_a_picture_as_it_should():
    """Twice the width of a pixel: weights 1, 3, 3, 1 of 8."""
    line = np.arange(12.0) ** 2
    halved = resize(line[None, :, None] * np.ones((12, 1, 1)), ratios=0.5, mode="bilinear")
    expected = [(line[2 * n - 1 : 2 * n + 3] * [1, 3, 3, 1]).sum() / 8 for n in range(1, 5)]
    np.testing.assert_allclose(halved[2, 1:5, 0], expected, rtol=1e-12)


def test_height_comes_first_and_one_number_is_for_both():
    assert resize(IMAGE, (4, 12)).shape == (4, 12, 3)
    assert resize(IMAGE, 5).shape == (5, 5, 3)
    assert resize(IMAGE, ratios=(0.5, 2)).shape == (4, 12, 3)
    assert resize(IMAGE, ratios=1.5).shape == (12, 9, 3)
    assert resize(np.zeros((9, 9, 1)), ratios=0.5).shape == (4, 4, 1)
    assert resize(IMAGE, np.array([4, 12])).shape == (4, 12, 3)


def test_pictures_of_a_batch_are_resized_alone():
    batch = np.stack([IMAGE, IMAGE[::-1], IMAGE * 2])
    np.testing.assert_array_equal(resize(batch, 5), [resize(image, 5) for image in batch])


def test_channels_are_resized_alone():
    acts = np.random.default_rng(0).random((8, 6, 7))
    parts = [resize(acts[..., n : n + 1], (3, 4)) for n in range(7)]
    np.testing.assert_array_equal(resize(acts, (3, 4)), np.concatenate(parts, -1))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8, np.int64])
def test_dtype_stays(dtype):
    array = (IMAGE * 100).astype(dtype)
    for size in ((5, 5), (8, 6)):
        assert resize(array, size).dtype == dtype


def test_bytes_are_rounded_and_do_not_wrap():
    edge = np.repeat([0, 255], 8)[None, :, None].astype(np.uint8) * np.ones((16, 1, 1), np.uint8)
    resized = resize(edge, 40)
    assert set(resized[0, :10, 0]) == {0}
    assert set(resized[0, -10:, 0]) == {255}
    assert (np.diff(resized[0, :, 0].astype(int)) >= 0).all()
    exact = resize(edge.astype(float), 40).clip(0, 255)
    np.testing.assert_array_equal(resized, np.rint(exact.astype(np.float32)))


def test_result_is_new_also_at_the_same_size():
    for array in (IMAGE, IMAGE[:, ::-1]):
        resized = resize(array, (8, 6))
        np.testing.assert_array_equal(resized, array)
        assert not np.shares_memory(resized, array)
    resize(IMAGE[::-1, ::-1], 3)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "target_size=None, ratios=None: give one of both"),
        ({"target_size": 3, "ratios": 2}, "target_size=3, ratios=2: give one of both"),
        ({"target_size": (0, 3)}, r"No picture has \[0, 3\]"),
        ({"target_size": (2.5, 3)}, "expected whole pixels"),
        ({"ratios": 0.01}, r"No picture has \[0, 0\]"),
        ({"target_size": (1, 2, 3)}, r"\(1, 2, 3\) is for height and width"),
        ({"target_size": 3, "mode": "cubic"}, "mode='cubic' is unknown: take 'bicubic'"),
    ],
)
def test_size_that_is_none(arguments, text):
    with pytest.raises(InputError, match=text):
        resize(IMAGE, **arguments)


@pytest.mark.parametrize(
    "array", [IMAGE[..., 0], np.zeros((0, 2, 3)), IMAGE > 0, np.zeros((1,) * 5)]
)
def test_what_has_no_size(array):
    with pytest.raises(InputError, match="cannot be resized"):
        resize(array, 3)


# One on another


def test_picture_lies_where_it_was_put():
    background, small = np.zeros((20, 40, 3)), np.ones((4, 5, 3))
    for position, (y, x) in {(0, 0): (0, 0), (1, 1): (12, 30), (0.5, 0.25): (6, 7)}.items():
        result = composite(background, small, 0.25, position)
        expected = np.zeros((20, 40, 3))
        expected[y : y + 8, x : x + 10] = 1
        np.testing.assert_allclose(result, expected, atol=1e-12)
    assert (background == 0).all()


def test_aspect_ratio_is_kept():
    result = composite(np.zeros((40, 40, 1)), np.ones((2, 8, 1)), 0.5)
    assert (result > 0).sum() == 5 * 20


def test_opacity_mixes():
    background = np.full((4, 4, 3), 0.5)
    small = np.ones((2, 2, 4)) * [1, 0, 1, 0.25]
    result = composite(background, small, 1)
    np.testing.assert_allclose(result, np.ones((4, 4, 3)) * [0.625, 0.375, 0.625], atol=1e-12)
    whole = composite(np.full((4, 4, 3), 103, np.uint8), np.full((2, 2, 4), 51, np.uint8), 1)
    assert whole.dtype == np.uint8
    assert set(whole.ravel()) == {93}  # 0.8 * 103 + 0.2 * 51 is 92.6


def test_colours_on_top_stay_within_their_range():
    result = composite(np.full((40, 40, 1), 0.5), np.tile([[0.0], [1.0]], (5, 5, 1)), 0.9)
    assert (result.min(), result.max()) == (0, 1)


def test_nothing_on_top():
    np.testing.assert_array_equal(composite(IMAGE, IMAGE, 0), IMAGE)


def test_pictures_that_do_not_fit():
    with pytest.raises(InputError, match=r"shape \(24, 6, 3\).*onto one of \(8, 6, 3\)"):
        composite(IMAGE, np.ones((8, 2, 3)), 1.0)
    with pytest.raises(InputError, match="3 channels or one more"):
        composite(IMAGE, np.ones((2, 2, 1)))
    with pytest.raises(InputError, match="dtype uint8 cannot be put onto.*float64"):
        composite(IMAGE, np.ones((2, 2, 3), np.uint8), 0.5)


@pytest.mark.parametrize(
    ("width", "place"), [(-0.5, (0, 0)), (2, (0, 0)), (0.5, (2, 0)), (0.5, (0, -1)), (0.5, (0,))]
)
def test_shares_that_are_none(width, place):
    with pytest.raises(InputError, match=rf"width {width} at .*shares of the background from 0 to"):
        composite(IMAGE, np.ones((2, 2, 3)), width, place)


@pytest.mark.parametrize("function", [partial(resize, ratios=2), soft_alpha_blend])
def test_what_is_no_array(function):
    with pytest.raises(InputError, match=r"A Tensor is no array \(H, W, C\).*channels_last"):
        function(torch.rand(4, 8, 6))


# Transparency


def test_transparent_picture_is_blended_in_linear_light():
    rgba = np.random.default_rng(0).random((3, 4, 4))
    result = soft_alpha_blend(rgba)
    for place in np.ndindex(3, 4):
        *rgb, alpha = rgba[place]
        for c in range(3):
            behind = 0.333 * rgb[c] + 0.667
            light = alpha * rgb[c] ** 2.2 + (1 - alpha) * behind**2.2
            assert result[place][c] == pytest.approx(light ** (1 / 2.2), abs=1e-12)


def test_opaque_picture_is_itself_and_nothing_is_white():
    opaque = np.concatenate([IMAGE, np.ones((8, 6, 1))], -1)
    np.testing.assert_allclose(soft_alpha_blend(opaque), IMAGE, rtol=1e-12)
    clear = np.concatenate([IMAGE, np.zeros((8, 6, 1))], -1)
    np.testing.assert_allclose(soft_alpha_blend(clear, amount_background=0), 1, rtol=1e-12)
    batch = soft_alpha_blend(np.stack([opaque, clear]), gamma=1)
    np.testing.assert_allclose(batch[1], 0.333 * IMAGE + 0.667, rtol=1e-12)


def test_bytes_are_shares_of_255():
    picture = np.random.default_rng(0).integers(0, 256, (4, 5, 4)).astype(np.uint8)
    np.testing.assert_array_equal(soft_alpha_blend(picture), soft_alpha_blend(picture / 255))


def test_colours_beyond_the_screen_are_clipped():
    beyond = np.array([[[-0.1, 1.1, 0.5, 0.5]], [[-0.1, 1.1, 0.5, -0.2]]])
    np.testing.assert_array_equal(soft_alpha_blend(beyond), soft_alpha_blend(beyond.clip(0, 1)))


def test_picture_without_transparency():
    with pytest.raises(InputError, match=r"shape \(8, 6, 3\) has no transparency"):
        soft_alpha_blend(IMAGE)
