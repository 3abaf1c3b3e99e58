"""Transforms: each alone, and all as one warp."""

from __future__ import annotations

import sys
from collections import Counter

import numpy as np
import pytest
import reference
import reference_transforms as twins
import torch
from reference import doubles, seeded
from torch import nn

from lucent.errors import InputError
from lucent.optvis import transform
from lucent.optvis.transform import (
    compose,
    jitter,
    pad,
    random_rotate,
    random_scale,
    standard_transforms,
)


def grid(height, width):
    return torch.arange(float(height * width)).view(1, 1, height, width)


# Pad


@pytest.mark.parametrize(
    ("mode", "numpy_mode"),
    [("reflect", "reflect"), ("Replicate", "edge"), ("circular", "wrap"), ("CONSTANT", "constant")],
)
def test_pad_equals_numpy(mode, numpy_mode):
    image = doubles(2, 3, 5, 6)
    options = {"constant_values": 0.25} if numpy_mode == "constant" else {}
    expected = np.pad(image, ((0, 0), (0, 0), (3, 3), (3, 3)), mode=numpy_mode, **options)
    np.testing.assert_array_equal(pad(3, mode, constant_value=0.25)(image), expected)


def test_pad_reflects_unless_told_otherwise_and_its_constant_is_grey():
    image = doubles(1, 1, 4, 4)
    assert torch.equal(pad(2)(image), pad(2, "reflect")(image))
    assert pad(1, "constant")(image)[0, 0, 0, 0] == 0.5
    assert torch.equal(pad(0, "constant")(image), image)


def test_pad_of_every_image_and_channel():
    assert (pad(1, "constant", 0.5)(torch.zeros(2, 4, 1, 1)) == 0.5).sum() == 2 * 4 * 8


@pytest.mark.parametrize("width", [-1, 1.5])
def test_pad_of_no_width(width):
    with pytest.raises(InputError, match=rf"pad\({width}\): .* whole number of pixels"):
        pad(width)


def test_pad_of_an_unknown_mode():
    with pytest.raises(
        InputError,
        match="no mode 'mirror'; use 'constant', 'reflect', 'symmetric', 'repl.*'circular'",
    ):
        pad(1, "mirror")


@pytest.mark.parametrize(("mode", "width"), [("reflect", 4), ("circular", 5)])
def test_pad_that_takes_more_than_there_is(mode, width):
    with pytest.raises(InputError, match=rf"pad\({width}.* \(4, 6\) pixels.*mode='constant'"):
        pad(width, mode)(grid(4, 6))
    assert pad(width - 1, mode)(grid(4, 6)).shape[-2] == 4 + 2 * (width - 1)


# Jitter


def test_jitter_crops_at_every_place_equally_often():
    image, draws, generator = grid(5, 6), 2700, seeded()
    corners = Counter()
    for _ in range(draws):
        crop = jitter(2)(image, generator)
        y, x = divmod(int(crop[0, 0, 0, 0]), 6)
        assert torch.equal(crop, image[..., y : y + 3, x : x + 4])
        corners[y, x] += 1
    assert set(corners) == {(y, x) for y in range(3) for x in range(3)}
    # Five standard deviations of a binomial count with p = 1/9.
    assert all(
        abs(count - draws / 9) < 5 * (draws / 9 * 8 / 9) ** 0.5 for count in corners.values()
    )


@pytest.mark.parametrize("d", [0, -1, 2.5])
def test_jitter_by_nothing(d):
    with pytest.raises(InputError, match=rf"jitter\({d}\): .* at least 1"):
        jitter(d)


def test_jitter_of_a_small_image():
    assert jitter(3)(grid(4, 9)).shape == (1, 1, 1, 6)
    with pytest.raises(InputError, match=r"jitter\(4\) leaves nothing of an image of \(4, 9\)"):
        jitter(4)(grid(4, 9))


# Scale


@pytest.mark.parametrize(("scale", "size"), [(1.1, (11, 22)), (1.15, (12, 23)), (2, (20, 40))])
def test_random_scale_rounds_the_size_up(scale, size):
    assert random_scale([scale])(grid(10, 20)).shape[-2:] == size


@pytest.mark.parametrize("scale", [0.3, 0.5, 0.77, 1.0, 1.2, 2.0])
@pytest.mark.parametrize(("height", "width"), [(9, 9), (8, 13)])
def test_random_scale_equals_its_twin(scale, height, width):
    image = doubles(2, 3, height, width)
    expected = twins.random_scale(image.numpy(), scale)
    np.testing.assert_allclose(random_scale([scale])(image), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "scale", "size"), [(100, 1.1, 110), (50, 1.08, 54), (500, 1.1, 550)])
def test_random_scale_gives_one_size_in_every_precision(n, scale, size, dtype):
    # 1.1 is a little more in single precision, and so were 100 * 1.1 pixels rounded up.
    image = torch.zeros(1, 1, n, n, dtype=dtype)
    assert random_scale([scale])(image).shape[2:] == (size, size)


def test_random_scale_pads_a_smaller_picture_to_the_size_it_had():
    tiny = random_scale([0.33])(torch.ones(1, 1, 3, 3))
    assert torch.equal(tiny, torch.tensor([[[[0, 0, 0], [0, 1.0, 0], [0, 0, 0]]]]))
    small = random_scale([0.55])(torch.ones(2, 3, 10, 20))
    expected = torch.zeros(2, 3, 10, 20)
    expected[..., 2:8, 4:15] = 1
    torch.testing.assert_close(small, expected, rtol=0, atol=1e-6)


def test_random_scale_keeps_a_ramp_a_ramp():
    ramp = torch.linspace(0, 1, 16, dtype=torch.float64).expand(1, 1, 16, 16)
    double = random_scale([2])(ramp)
    # The centre of output pixel i lies at (i + 1/2) / 2 - 1/2 of the input's.
    expected = ((torch.arange(32, dtype=torch.float64) + 0.5) / 2 - 0.5) / 15
    np.testing.assert_allclose(double[0, 0, 5, 1:-1], expected[1:-1], rtol=0, atol=1e-12)


def test_random_scale_does_not_alias():
    stripes = torch.arange(33).remainder(2).double().expand(1, 1, 33, 33)
    small = random_scale([1 / 3])(stripes)[..., 12:-12, 12:-12]
    # A triangular filter six pixels wide gives every other stripe 5/9 or 4/9 of its weight.
    assert small.sub(0.5).abs().max() < 1 / 18 + 1e-12


def test_random_scale_draws_each_factor_as_often_as_it_is_listed():
    draws, generator = 2000, seeded()
    grown = sum(
        random_scale([1, 2, 2, 2])(torch.ones(1, 1, 1, 1), generator).numel() == 4
        for _ in range(draws)
    )
    assert abs(grown - draws * 3 / 4) < 5 * (draws * 3 / 16) ** 0.5


@pytest.mark.parametrize("scales", [[], [0], [1, -1], [float("nan")], [float("inf")]])
def test_random_scale_of_no_factor(scales):
    with pytest.raises(InputError, match="random_scale got"):
        random_scale(scales)


# Rotate


@pytest.mark.parametrize("quarters", [-1, 0, 1, 2, 3, 4])
def test_random_rotate_by_right_angles_is_exact_and_counter_clockwise(quarters):
    image = torch.arange(9).view(1, 1, 3, 3)
    rotated = random_rotate([90 * quarters])(image)
    np.testing.assert_array_equal(rotated, np.rot90(image, quarters, (2, 3)))
    radians = random_rotate([quarters * np.pi / 2], units="Radians")(image)
    np.testing.assert_array_equal(radians, rotated)


def test_random_rotate_turns_the_right_column_into_the_top_row():
    assert random_rotate([90])(grid(3, 3))[0, 0, 0].tolist() == [2, 5, 8]


@pytest.mark.parametrize(("height", "width"), [(9, 9), (8, 11), (10, 6)])
@pytest.mark.parametrize("angle", [-37.5, 10, 90, 180, 200])
def test_random_rotate_equals_its_twin(angle, height, width):
    image = doubles(2, 3, height, width)
    into = reference.rotated(angle, (height, width))
    expected = reference.warp(image.numpy(), into, (height, width), 0.0)
    np.testing.assert_allclose(random_rotate([angle])(image), expected, rtol=0, atol=1e-12)


def test_random_rotate_fills_with_zeros_and_keeps_the_size():
    rotated = random_rotate([45])(torch.ones(1, 3, 20, 30))
    assert rotated.shape == (1, 3, 20, 30)
    assert rotated[..., 0, 0].eq(0).all()
    assert rotated[..., 10, 15].eq(1).all()


@pytest.mark.parametrize("units", ["degrees", "DEGREES", "radians", "rads", "rad", "Rad"])
def test_random_rotate_knows_units(units):
    angle = 30 if units.lower() == "degrees" else np.pi / 6
    image = doubles(1, 1, 7, 7)
    expected = random_rotate([30])(image)
    np.testing.assert_allclose(random_rotate([angle], units)(image), expected, rtol=0, atol=1e-13)


def test_random_rotate_of_wrong_arguments():
    with pytest.raises(InputError, match="no units 'turns'; use 'degrees' or 'radians'"):
        random_rotate([1], units="turns")
    with pytest.raises(InputError, match="give at least one number"):
        random_rotate([])


def test_integer_images_are_not_turned_by_truncated_factors():
    image = torch.arange(25).view(1, 1, 5, 5)
    for made in (random_rotate([10.5]), random_scale([1.5])):
        assert torch.equal(made(image), made(image.float()))


# Randomness


def test_draws_come_from_the_global_generator_without_another():
    image = doubles(1, 1, 12, 12)
    for made in (jitter(4), random_scale([0.5, 1, 2]), random_rotate(range(360))):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            first = made(image)
            torch.manual_seed(3)
            assert torch.equal(made(image), first)


def test_images_of_a_batch_share_the_draws_of_a_chain():
    image = doubles(1, 3, 16, 16).expand(3, 3, 16, 16)
    for seed in range(5):
        first, *others = compose(standard_transforms)(image, seeded(seed))
        assert all(torch.equal(first, other) for other in others)


# Composition


def test_compose_applies_left_to_right():
    made = compose([lambda image: image + 1, lambda image: image * 2])
    assert made(torch.ones(1, 1, 1, 1)).item() == 4
    assert torch.equal(compose([])(grid(2, 2)), grid(2, 2))


def test_compose_hands_on_the_generator():
    nested = compose([jitter(2), compose([jitter(3)])])
    generator = seeded()
    expected = jitter(3)(jitter(2)(grid(9, 9), generator), generator)
    assert torch.equal(nested(grid(9, 9), seeded()), expected)


def test_compose_takes_modules_and_functions():
    made = compose([nn.Upsample(scale_factor=2), jitter(2), torch.flip])
    with pytest.raises(TypeError, match="flip"):
        made(grid(4, 4))
    made = compose([nn.Upsample(scale_factor=2), jitter(2), transform.normalize()])
    assert made(torch.ones(1, 3, 4, 4)).shape == (1, 3, 6, 6)


def test_compose_of_what_is_no_transform():
    with pytest.raises(InputError, match="'noise' is not a transform"):
        compose([jitter(2), "noise"])
    with pytest.raises(InputError, match=r"write compose\(\[Jitter\(pixels=2\)\]\)"):
        compose(jitter(2))


def test_standard_transforms_alone_give_the_sizes_that_come_of_rounding_up():
    outer, first, scales, rotate, last = standard_transforms
    sizes = []
    for scale in scales.scales:
        made = compose([outer, first, random_scale([scale]), rotate, last])
        sizes.append(made(torch.zeros(1, 1, 128, 128)).shape[-2:])
    # 144 scaled, never smaller than 144, less 4: 144 * 1.02 = 146.88 gives 147 - 4.
    assert sizes == [(n, n) for n in (140, 140, 140, 140, 140, 140, 143, 146, 149, 152, 155)]


def test_standard_transforms_are_lucids():
    kinds = [type(made).__name__ for made in standard_transforms]
    assert kinds == ["ConstantPad", "Jitter", "RandomScale", "RandomRotate", "Jitter"]
    outer, first, scale, rotate, last = standard_transforms
    assert (outer.width, outer.value, first.pixels, last.pixels) == (12, 0.5, 8, 4)
    assert scale.scales == pytest.approx([0.9 + 0.02 * n for n in range(11)], abs=1e-15)
    assert Counter(rotate.angles) == {**dict.fromkeys(range(-10, 11), 1), 0: 6}


# What was wrong in Lucid and torch-lucent


def test_jitter_crops_and_does_not_fill_with_black():
    assert jitter(8)(torch.ones(1, 3, 16, 16)).eq(1).all()


def test_jitter_does_not_drift():
    place = torch.arange(17.0).expand(1, 1, 17, 17)
    generator = seeded()
    first = torch.stack([jitter(8)(place, generator)[0, 0, 0, 0] for _ in range(900)])
    # Uniform over 0 to 8: mean 4, standard deviation sqrt(80 / 12).
    assert first.mean().item() == pytest.approx(4, abs=5 * (80 / 12 / 900) ** 0.5)


def test_random_scale_does_not_swap_the_padding_of_the_axes():
    assert random_scale([0.5])(torch.ones(1, 3, 10, 40)).shape == (1, 3, 10, 40)
    assert random_scale([0.5])(torch.ones(1, 1, 4, 8))[0, 0].tolist() == [
        [0.0] * 8,
        [0.0] * 2 + [1.0] * 4 + [0.0] * 2,
        [0.0] * 2 + [1.0] * 4 + [0.0] * 2,
        [0.0] * 8,
    ]


def test_numbers_of_numpy_are_taken_for_numbers():
    image = doubles(1, 3, 12, 12)
    for made, expected in (
        (jitter(np.int64(4)), jitter(4)),
        (pad(np.int32(2), "constant", np.float32(0.5)), pad(2, "constant", 0.5)),
        (random_scale(np.array([1.5])), random_scale([1.5])),
        (random_rotate(np.arange(3)), random_rotate([0, 1, 2])),
    ):
        assert made == expected
        assert torch.equal(made(image, seeded()), expected(image, seeded()))


def test_random_rotate_needs_no_kornia_and_no_version_of_it():
    assert "kornia" not in sys.modules
    assert random_rotate([3])(doubles(1, 3, 8, 8)).shape == (1, 3, 8, 8)


def test_random_rotate_does_not_round_to_single_precision():
    image = doubles(1, 1, 9, 9)
    there_and_back = random_rotate([90 + 1e-9])(random_rotate([-90])(image))
    # A ten-millionth of a pixel, which single precision would not resolve.
    np.testing.assert_allclose(there_and_back, image, rtol=0, atol=1e-9)
    assert not torch.equal(there_and_back, image)


def test_normalize_takes_the_batch_at_once():
    batch = doubles(3, 3, 4, 5)
    alone = torch.cat([transform.normalize()(image) for image in batch.split(1)])
    assert torch.equal(transform.normalize()(batch), alone)
    assert transform.normalize()(batch[:0]).shape == (0, 3, 4, 5)


def test_draws_do_not_come_from_numpy():
    image, images, before = doubles(1, 3, 16, 16), [], np.random.get_state()
    for seed in (0, 1):
        np.random.seed(seed)
        with torch.random.fork_rng():
            torch.manual_seed(7)
            images.append(compose(standard_transforms)(image))
    np.random.set_state(before)
    assert torch.equal(*images)


def test_repr_tells_the_arguments():
    assert repr(pad(12, "constant")) == "ConstantPad(width=12, value=0.5)"
    assert repr(compose([jitter(8)])) == "compose([Jitter(pixels=8)])"


# Values


def test_normalize_is_that_of_imagenet():
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    image = doubles(2, 3, 4, 5)
    expected = (image.numpy() - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_allclose(transform.normalize()(image), expected, rtol=0, atol=1e-14)


def test_preprocess_inceptionv1_gives_minus_117_to_138():
    image = torch.tensor([0.0, 117 / 255, 1.0], dtype=torch.float64).view(1, 1, 1, 3)
    made = transform.preprocess_inceptionv1()(image.expand(2, 3, 1, 3))
    np.testing.assert_allclose(made[1, 2, 0], [-117, 0, 138], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: random_scale(1.1), r"random_scale got 1.1: give numbers, in a list"),
        (lambda: random_rotate(5), r"random_rotate got 5: give numbers, in a list"),
        (lambda: random_rotate(["left"]), r"random_rotate got \['left'\]: give numbers"),
        (lambda: jitter("8"), r"jitter\(8\): .* whole number"),
        (lambda: jitter(None), r"jitter\(None\): .* whole number"),
        (lambda: jitter(1.5), r"jitter\(1.5\): .* whole number"),
        (lambda: pad("3"), r"pad\(3\): .* whole number"),
        (lambda: pad(3, 7), "pad has no mode '7'"),
    ],
)
def test_arguments_of_another_type(make, text):
    with pytest.raises(InputError, match=text):
        make()


@pytest.mark.parametrize("shape", [(1, 4, 5, 6), (1, 1, 5, 6), (3, 5, 6)])
def test_normalize_of_another_number_of_channels(shape):
    with pytest.raises(InputError, match=r"takes images \(B, 3, H, W\).*collapse_alpha_random"):
        transform.normalize()(torch.zeros(shape))
