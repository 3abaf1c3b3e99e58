"""Crops, flips, rolls, homographies and boxes: each with a given draw, and its draws."""

from __future__ import annotations

import numpy as np
import pytest
import reference_transforms as twins
import torch
from reference import doubles, seeded

from lucent.errors import InputError
from lucent.optvis.transform import (
    box_crop,
    crop_or_pad_to,
    flip,
    homography,
    jitter,
    pad,
    random_crop,
    roll,
)

DRAWS = 4000


def draws_of(made, image=None, rows=DRAWS):
    image = doubles(2, 3, 20, 24) if image is None else image
    return made.sample(image, seeded(1), rows).numpy()


def assert_uniform(values, low, high, *, bins=8):
    assert values.min() >= low
    assert values.max() <= high
    counts, _ = np.histogram(values, bins, (low, high))
    n = values.size
    # Five standard deviations of a binomial count.
    assert abs(counts - n / bins).max() < 5 * np.sqrt(n * (1 / bins) * (1 - 1 / bins))


def assert_share(found, n, expected):
    assert abs(found / n - expected) < 5 * np.sqrt(expected * (1 - expected) / n)


def assert_truncated_normal(values, sd):
    assert abs(values).max() <= 2 * sd
    # Of a normal distribution cut off at two standard deviations: 68.27 of 95.45 percent within
    # one, and the mean of squares.
    assert_share((abs(values) < sd).sum(), values.size, 0.682689 / 0.954500)
    assert_share((values < 0).sum(), values.size, 0.5)
    assert values.std() / sd == pytest.approx(0.8796, abs=5 * 0.8796 / np.sqrt(values.size))


# Pads


@pytest.mark.parametrize("shape", [(2, 3, 5, 6), (1, 2, 4, 5, 6)])
@pytest.mark.parametrize("mode", ["symmetric", "SYMMETRIC"])
@pytest.mark.parametrize("width", [0, 1, 4])
def test_symmetric_pad_repeats_the_edge(mode, width, shape):
    image = doubles(*shape)
    widths = [(0, 0)] * 2 + [(width, width)] * (len(shape) - 2)
    expected = np.pad(image, widths, mode="symmetric")
    np.testing.assert_array_equal(pad(width, mode)(image), expected)


@pytest.mark.parametrize(
    ("mode", "numpy_mode"),
    [("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap"), ("constant", "constant")],
)
def test_pad_of_volumes_takes_all_three_axes(mode, numpy_mode):
    image = doubles(1, 2, 4, 5, 6)
    options = {"constant_values": 0.5} if mode == "constant" else {}
    expected = np.pad(image, [(0, 0)] * 2 + [(2, 2)] * 3, mode=numpy_mode, **options)
    np.testing.assert_array_equal(pad(2, mode)(image), expected)


@pytest.mark.parametrize("values", [(0.25, 0.5, 1.0), [0.25, 0.5, 1], np.array([0.25, 0.5, 1])])
def test_constant_pad_takes_a_value_for_each_channel(values):
    image = doubles(2, 3, 4, 5)
    padded = pad(2, "constant", values)(image)
    for channel, value in enumerate((0.25, 0.5, 1.0)):
        expected = np.pad(image[:, channel], [(0, 0), (2, 2), (2, 2)], constant_values=value)
        np.testing.assert_array_equal(padded[:, channel], expected)


def test_constant_pad_of_another_number_of_channels():
    made = pad(1, "constant", (0, 0.5, 1))
    with pytest.raises(InputError, match=r"3 values, \(0.0, 0.5, 1.0\), .* 4 channels: give one"):
        made(doubles(1, 4, 3, 3))


def test_uniform_pad_draws_one_value_for_all_channels_images_and_sides():
    made = pad(1, "constant", "uniform")
    padded = made(torch.full((2, 3, 2, 2), 2.0), seeded())
    border = padded[padded != 2]
    assert border.numel() == 2 * 3 * 12
    assert border.unique().numel() == 1
    assert not torch.equal(made(torch.full((2, 3, 2, 2), 2.0), seeded(1)), padded)
    assert_uniform(draws_of(made), 0, 1)


def test_pad_of_an_unknown_value():
    with pytest.raises(InputError, match="no constant_value 'grey'; use a number.*'uniform'"):
        pad(1, "constant", "grey")
    with pytest.raises(InputError, match=r"pad got \[nan\]: .* finite"):
        pad(1, "constant", float("nan"))


def test_symmetric_pad_that_takes_more_than_there_is():
    with pytest.raises(InputError, match=r"pad\(5, 'symmetric'\).* \(4, 6\) pixels"):
        pad(5, "symmetric")(doubles(1, 1, 4, 6))


# Crops


@pytest.mark.parametrize(
    ("shape", "size", "place"),
    [
        ((2, 3, 9, 12), (5, 4), (0.0, 0.999)),
        ((2, 3, 9, 12), (9, 12), (0.7, 0.2)),
        ((1, 1, 6, 7, 8), (2, 3, 4), (0.1, 0.5, 0.9)),
    ],
)
def test_random_crop_equals_its_twin(shape, size, place):
    image = doubles(*shape)
    draw = torch.tensor([place], dtype=torch.float64)
    cropped = random_crop(size).apply(image, draw)
    np.testing.assert_array_equal(cropped, twins.random_crop(image.numpy(), place, size))


def test_random_crop_takes_every_place_equally_often():
    image = torch.arange(20.0).view(1, 1, 4, 5)
    generator, draws = seeded(), 1800
    made = random_crop((2, 4))
    corners = [int(made(image, generator)[0, 0, 0, 0]) for _ in range(draws)]
    places, counts = np.unique(corners, return_counts=True)
    assert places.tolist() == [0, 1, 5, 6, 10, 11]
    assert abs(counts - draws / 6).max() < 5 * np.sqrt(draws * 5 / 36)


def test_random_crop_of_a_draw_that_was_rounded_up_to_one():
    cropped = random_crop(3).apply(doubles(1, 1, 5, 5), torch.ones(1, 2))
    assert torch.equal(cropped, doubles(1, 1, 5, 5)[..., 2:, 2:])


def test_random_crop_of_one_number_is_for_all_axes():
    assert random_crop(3)(doubles(1, 1, 5, 6)).shape[2:] == (3, 3)
    assert random_crop(3)(doubles(1, 1, 5, 6, 7)).shape[2:] == (3, 3, 3)


def test_random_crop_that_does_not_fit():
    with pytest.raises(InputError, match=r"random_crop\(\(4, 7\)\) cannot .* \(5, 6\) pixels"):
        random_crop((4, 7))(doubles(1, 1, 5, 6))
    with pytest.raises(InputError, match="a size for every axis"):
        random_crop((4, 4, 4))(doubles(1, 1, 5, 6))
    with pytest.raises(InputError, match=r"random_crop\(0\): .* at least 1"):
        random_crop((4, 0))


@pytest.mark.parametrize("size", [(5, 8), (9, 3), (4, 4), (6, 7), (7, 6), (1, 20)])
def test_crop_or_pad_to_equals_tensorflows(size):
    image = doubles(2, 3, 6, 7)
    np.testing.assert_array_equal(
        crop_or_pad_to(*size)(image), twins.crop_or_pad_to(image.numpy(), *size)
    )


def test_crop_or_pad_to_leaves_the_depth_of_a_volume():
    image = doubles(1, 2, 5, 6, 7)
    np.testing.assert_array_equal(
        crop_or_pad_to(8, 4)(image), twins.crop_or_pad_to(image.numpy(), 8, 4)
    )


def test_crop_or_pad_to_no_size():
    with pytest.raises(InputError, match=r"crop_or_pad_to\(0\): .* at least 1"):
        crop_or_pad_to(8, 0)


def test_jitter_crops_all_three_axes_of_a_volume():
    image = doubles(1, 1, 5, 6, 7)
    cropped = jitter(2).apply(image, torch.tensor([[0.0, 1, 2]]))
    assert torch.equal(cropped, image[:, :, 2:5, 1:5, 0:5])
    assert jitter(2)(image).shape[2:] == (3, 4, 5)


# Flip and roll


@pytest.mark.parametrize("axes", ["x", "y", "xy", "yx", "X"])
def test_flip_mirrors_its_axes(axes):
    image = doubles(2, 3, 5, 6)
    numbers = [{"x": 3, "y": 2}[axis] for axis in axes.lower()]
    np.testing.assert_array_equal(flip(axes, 1)(image), np.flip(image.numpy(), numbers))
    assert torch.equal(flip(axes, 0)(image), image)


def test_flip_mirrors_the_depth_of_a_volume():
    image = doubles(1, 2, 4, 5, 6)
    np.testing.assert_array_equal(flip("z", 1)(image), np.flip(image.numpy(), 2))


def test_flip_draws_each_axis_for_itself():
    signs = draws_of(flip("xy", 0.3))
    assert set(np.unique(signs)) == {-1, 1}
    for share, found in (
        (0.3, signs[:, 0] < 0),
        (0.3, signs[:, 1] < 0),
        (0.09, (signs < 0).all(axis=1)),
    ):
        assert_share(found.sum(), DRAWS, share)
    assert (draws_of(flip("y", 1)) == [1, -1]).all()


@pytest.mark.parametrize(("axes", "p"), [("z", 0.5), ("xz", 0.5)])
def test_flip_of_an_axis_that_pictures_do_not_have(axes, p):
    with pytest.raises(InputError, match=f"flip\\('{axes}'\\) needs volumes .*'x' and 'y'"):
        flip(axes, p)(doubles(1, 1, 3, 3))


def test_flip_of_wrong_arguments():
    for axes in ("", "w", "xw"):
        with pytest.raises(InputError, match=f"no axes '{axes}'; use 'x', 'y' or 'xy'"):
            flip(axes)
    for p in (-0.1, 1.5, float("nan")):
        with pytest.raises(InputError, match="a probability is between 0 and 1"):
            flip("x", p)


@pytest.mark.parametrize("shape", [(2, 3, 5, 6), (1, 2, 4, 5, 6)])
def test_roll_equals_numpy(shape):
    image = doubles(*shape)
    shift = [-2, 9, 1][: len(shape) - 2]
    axes = [len(shape) - 1 - n for n in range(len(shift))]
    rolled = roll(9).apply(image, torch.tensor([shift], dtype=torch.float64))
    np.testing.assert_array_equal(rolled, np.roll(image, shift, axes))


def test_roll_draws_every_shift_equally_often():
    shifts = draws_of(roll(3))
    for axis in (0, 1):
        values, counts = np.unique(shifts[:, axis], return_counts=True)
        assert values.tolist() == [-3, -2, -1, 0, 1, 2, 3]
        assert abs(counts - DRAWS / 7).max() < 5 * np.sqrt(DRAWS * 6 / 49)
    assert abs(np.corrcoef(shifts.T)[0, 1]) < 5 / np.sqrt(DRAWS)


def test_roll_by_nothing():
    with pytest.raises(InputError, match=r"roll\(0\): .* at least 1"):
        roll(0)


# Homography

STRONG = {
    "translation": 3,
    "rotation": 40,
    "shear_angle": 30,
    "shear": 0.15,
    "perspective": 0.01,
    "last_translation": 2,
}


@pytest.mark.parametrize("options", [{}, STRONG])
@pytest.mark.parametrize("shape", [(2, 3, 17, 17), (1, 1, 12, 23)])
def test_homography_equals_its_twin(shape, options):
    image, made = doubles(*shape), homography(**options)
    for seed in range(4):
        draw = made.sample(image, seeded(seed))
        expected = twins.homography(image.numpy(), draw[0].numpy())
        np.testing.assert_allclose(made.apply(image, draw), expected, rtol=0, atol=1e-12)


def test_homography_without_deviations_changes_nothing():
    image = doubles(1, 3, 9, 12)
    made = homography(**dict.fromkeys(STRONG, 0))
    np.testing.assert_allclose(made(image), image, rtol=0, atol=1e-14)


def test_homography_draws_lucids_truncated_normals():
    draws = draws_of(homography())
    deviations = [3, 3, 2.5, 2.5, 0.01, 0.01, 1e-4, 1e-4, 2, 2]
    for values, sd in zip(draws.T, deviations, strict=True):
        assert_truncated_normal(values, sd)
    correlations = np.corrcoef(draws.T) - np.eye(10)
    assert abs(correlations).max() < 5 / np.sqrt(DRAWS)


def test_homography_shows_nothing_of_what_lies_behind_its_horizon():
    image = torch.ones(1, 1, 9, 9, dtype=torch.float64)
    draw = torch.zeros(1, 10, dtype=torch.float64)
    draw[0, 6] = 0.5  # the scale is 1 + x / 2, so the horizon is at x = -2 from the centre
    seen = homography().apply(image, draw)
    assert seen[..., :3].eq(0).all()
    np.testing.assert_allclose(seen[..., 4:], 1, rtol=0, atol=1e-14)


def test_homography_of_wrong_deviations():
    with pytest.raises(InputError, match=r"homography got -1.0: standard deviations"):
        homography(rotation=-1)
    with pytest.raises(InputError, match="finite"):
        homography(shear=float("inf"))


# Boxes


@pytest.mark.parametrize("shape", [(2, 3, 16, 16), (1, 2, 11, 20)])
def test_box_crop_equals_its_twin(shape):
    image, made = doubles(*shape), box_crop((0.1, 1.0), center_sd=0.3)
    for seed in range(6):
        draw = made.sample(image, seeded(seed))
        expected = twins.box_crop(image.numpy(), draw[0].numpy())
        np.testing.assert_allclose(made.apply(image, draw), expected, rtol=0, atol=1e-12)


def test_box_of_the_whole_image_changes_nothing():
    image = doubles(1, 3, 9, 12)
    np.testing.assert_allclose(box_crop(1.0)(image), image, rtol=0, atol=1e-14)


def test_boxes_never_leave_the_image():
    image = torch.ones(1, 1, 24, 30, dtype=torch.float64)
    made = box_crop((0.05, 1.0), size_sd=0.3, center_sd=1.0)
    side, x, y = draws_of(made).T
    for centre in (x, y):
        assert (centre - side / 2).min() >= -1e-15
        assert (centre + side / 2).max() <= 1 + 1e-15
    for seed in range(8):
        np.testing.assert_allclose(made(image, seeded(seed)), image, rtol=0, atol=1e-14)


def test_box_crop_draws_uniform_sides_as_horama():
    assert_uniform(draws_of(box_crop())[:, 0], 0.2, 0.25)


def test_box_crop_adds_normal_noise_to_the_side_within_limits_as_xplique():
    side = draws_of(box_crop(0.5, size_sd=0.05))[:, 0]
    assert side.mean() == pytest.approx(0.5, abs=5 * 0.05 / np.sqrt(DRAWS))
    assert side.std() == pytest.approx(0.05, abs=5 * 0.05 / np.sqrt(2 * DRAWS))
    small = draws_of(box_crop(0.05, size_sd=0.05))[:, 0]
    assert small.min() == 0.05
    assert_share((small == 0.05).sum(), DRAWS, 0.5)
    assert draws_of(box_crop(1.0, size_sd=0.05))[:, 0].max() == 1
    assert (draws_of(box_crop(0.02))[:, 0] == 0.02).all()


def test_box_crop_draws_normal_centres_about_the_middle():
    centre = draws_of(box_crop(0.05, center_sd=0.1))[:, 1:]
    assert centre.mean() == pytest.approx(0.5, abs=5 * 0.1 / np.sqrt(2 * DRAWS))
    assert centre.std() == pytest.approx(0.1, abs=5 * 0.1 / np.sqrt(4 * DRAWS))
    assert abs(np.corrcoef(centre.T)[0, 1]) < 5 / np.sqrt(DRAWS)


def test_box_crop_of_any_place_takes_all_places_alike():
    for centre in draws_of(box_crop(0.4, center_sd=None))[:, 1:].T:
        assert_uniform(centre, 0.2, 0.8)


@pytest.mark.parametrize("size", [0, -0.1, 1.1, (0.1, 2), (0.3, 0.2), (0.1, 0.2, 0.3), []])
def test_box_crop_of_a_size_out_of_range(size):
    with pytest.raises(InputError, match="box_crop got"):
        box_crop(size)


@pytest.mark.parametrize("options", [{"size_sd": -0.1}, {"center_sd": float("nan")}])
def test_box_crop_of_wrong_deviations(options):
    with pytest.raises(InputError, match="box_crop got size_sd=.*have to be 0 or more"):
        box_crop(**options)
