"""A warp that shrinks: nothing aliases or is dimmed, and what does not shrink is untouched."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import torch
from reference import doubles, seeded
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from lucent.errors import InputError
from lucent.optvis.transform import (
    AffineTransform,
    Fused,
    box_crop,
    compose,
    flip,
    homography,
    jitter,
    pad,
    per_image,
    random_crop,
    random_rotate,
    random_scale,
)
from lucent.optvis.transform.warp import SHARP


def same_size(own):
    return own


def middle(image, n):
    """The central n x n pixels."""
    top, left = ((size - n) // 2 for size in image.shape[-2:])
    return image[..., top : top + n, left : left + n]


def grating(frequency, n=96, angle=0.0, phase=0.3):
    """A wave with so many cycles per pixel, (1, 1, n, n)."""
    y, x = np.mgrid[:n, :n] - (n - 1) / 2
    along = x * np.cos(angle) + y * np.sin(angle)
    return torch.from_numpy(np.cos(2 * np.pi * frequency * along + phase))[None, None]


def antialiased(image, scale):
    return F.interpolate(image, scale_factor=scale, mode="bilinear", antialias=True)


class Given(AffineTransform):
    """A scale that is stated as a matrix."""

    def __init__(self, scale, common=1.0, least=None):
        self.scale, self.common, self.least = scale, common, least

    def matrix(self, draw, size):
        inverse = 1 / self.scale
        return self.common * torch.diag(torch.tensor([inverse, inverse, 1.0]).double())[None]

    def least_scale(self):
        return self.scale if self.least is None else self.least


# Nothing aliases


@pytest.mark.parametrize("angle", [0, np.pi / 2, np.pi / 5])
@pytest.mark.parametrize(
    ("scale", "frequency"),
    [(0.5, 0.5), (0.5, 0.4), (0.3, 0.5), (0.3, 0.4), (0.3, 0.3), (0.25, 0.25), (0.15, 0.25)],
)
def test_a_grating_too_fine_for_the_scale_turns_grey(scale, frequency, angle):
    image = grating(frequency, angle=angle)
    seen = middle(Fused([random_scale([scale])], same_size)(image), int(96 * scale) - 6)
    # The triangle passes sinc^2 of frequency / scale: 0 at whole multiples, .055 at most from one
    # on, .0547 at 0.8 / 0.5. Along a diagonal both axes pass less.
    passed = np.sinc(frequency * np.array([np.cos(angle), np.sin(angle)]) / scale) ** 2
    assert seen.abs().max() < np.prod(passed) + 0.04


def test_a_scale_beyond_any_filter_gives_the_mean():
    image = doubles(1, 1, 40, 40)
    seen = Fused([random_scale([0.01])], same_size)(image)
    # 40 pixels in 0.4: all that is left of the picture, in the four pixels about the middle.
    assert seen.sum().item() == pytest.approx(image.sum().item() * 0.01**2, rel=0.05)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_shrink_by_a_whole_number_is_an_antialiased_resize(n):
    image = doubles(2, 3, 24 * n, 24 * n)
    seen = middle(Fused([random_scale([1 / n])], same_size)(image), 20)
    # The scale is drawn in the precision of the image, so 1 / 3 is not the resize's own.
    np.testing.assert_allclose(seen, middle(antialiased(image, 1 / n), 20), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("scale", "bound"), [(0.2, 1e-12), (0.3, 0.07), (0.4, 0.12), (0.6, 0.23), (0.7, 0.3)]
)
def test_any_shrink_is_close_to_an_antialiased_resize(scale, bound):
    image = doubles(2, 3, 100, 100)
    size = round(100 * scale)
    seen = Fused([random_scale([scale])], same_size)(image)
    seen, expected = (middle(one, size - 8) for one in (seen, antialiased(image, scale)))
    # Of white noise, the hardest case; without a filter the difference is .66 at 0.7, 2.7 at 0.3.
    assert (seen - expected).std() < bound * expected.std()


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_picture_is_shrunk_alike(quarters):
    image = doubles(1, 1, 40, 40)
    made = Fused([random_rotate([90 * quarters]), random_scale([0.4])], same_size)
    expected = torch.rot90(Fused([random_scale([0.4])], same_size)(image), quarters, (2, 3))
    np.testing.assert_allclose(made(image), expected, rtol=0, atol=1e-12)


class Squeezed(AffineTransform):
    """A scale of each axis, x first."""

    def __init__(self, *scales):
        self.scales = scales

    def matrix(self, draw, size):
        return torch.diag(1 / torch.tensor([*self.scales, 1.0], dtype=torch.float64))[None]

    def least_scale(self):
        return min(self.scales)


@pytest.mark.parametrize("scales", [(1.0, 0.5), (0.25, 1.0), (0.5, 0.25)])
def test_each_axis_is_softened_as_far_as_it_shrinks(scales):
    image = doubles(1, 2, 48, 40)
    height, width = int(48 * scales[1]), int(40 * scales[0])
    expected = F.interpolate(image, (height, width), mode="bilinear", antialias=True)
    seen = Fused([Squeezed(*scales)], same_size)(image)
    n = min(height, width) - 4
    np.testing.assert_allclose(middle(seen, n), middle(expected, n), rtol=0, atol=1e-12)


# Nothing is dimmed or moved


@pytest.mark.parametrize("scale", [0.3, 0.5, 0.7])
def test_low_frequencies_and_even_areas_stay(scale):
    made = Fused([random_scale([scale])], same_size)
    n = int(96 * scale) - 8
    even = middle(made(torch.full((1, 2, 96, 96), 0.8, dtype=torch.float64)), n)
    np.testing.assert_allclose(even, 0.8, rtol=0, atol=1e-14)
    # 64 pixels: a triangle of half width 1 / 0.3 passes sinc^2(1 / 0.3 / 64) = .991 of it.
    wave = middle(made(grating(1 / 64)), n)
    expected = middle(Fused([Given(scale, least=1)], same_size)(grating(1 / 64)), n)
    np.testing.assert_allclose(wave, expected, rtol=0, atol=0.01)


@pytest.mark.parametrize("value", [0.25, (0.1, 0.5, 0.9)])
def test_the_edge_of_a_shrunk_picture_blends_with_the_pad(value):
    image = doubles(1, 3, 40, 40)
    made = [pad(20, "constant", value), random_scale([0.5])]
    # Brought to the padded canvas in one: twice the picture's size, which the shrink undoes.
    seen = Fused(made, same_size)(image)
    canvas = antialiased(pad(40, "constant", value)(image), 0.5)
    np.testing.assert_allclose(seen, middle(canvas, 40), rtol=0, atol=1e-12)


def test_an_enlarged_crop_that_is_shrunk_has_no_black_edge():
    class Shrunk(Given):
        uncovers = False

    image = torch.ones(1, 1, 24, 24, dtype=torch.float64)
    seen = Fused([random_crop(8), Shrunk(0.2)], lambda own: (8, 8))(image, seeded())
    np.testing.assert_allclose(seen, 1, rtol=0, atol=1e-13)


# What does not shrink is untouched


def test_a_draw_that_enlarges_is_sampled_as_if_none_could_shrink():
    scales = [0.3, 1, 1.25, 2]
    image, made = doubles(1, 3, 20, 24), Fused([random_scale(scales)], same_size)
    drawn = set()
    for seed in range(12):
        scale = random_scale(scales).sample(image, seeded(seed)).item()
        drawn.add(scale)
        if scale >= 1:
            expected = Fused([random_scale([scale])], same_size)(image)
            np.testing.assert_allclose(made(image, seeded(seed)), expected, rtol=0, atol=1e-13)
    assert len(drawn) == 4


def test_rows_are_softened_by_their_own_scales():
    scales = random_scale([0.4, 1.5])
    made, images = Fused([per_image(scales)], same_size), doubles(6, 3, 20, 20)
    draws = scales.sample(images, seeded(), 6).flatten().tolist()
    assert len(set(draws)) == 2
    for image, draw, seen in zip(images.split(1), draws, made(images, seeded()), strict=True):
        expected = Fused([random_scale([draw])], same_size)(image)
        np.testing.assert_allclose(seen[None], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("scale", [0.75, 0.8, 0.9, 0.99])
def test_from_three_quarters_on_a_scale_is_bilinear(scale):
    image = doubles(1, 2, 20, 20)
    expected = reference.warp(image.numpy(), reference.zoomed(scale, (20, 20)), (20, 20), 0.0)
    seen = Fused([random_scale([scale])], same_size)(image)
    np.testing.assert_allclose(seen, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("made", "scale"),
    [
        (random_scale([0.4, 2, 0.9]), 0.4),
        (box_crop((0.2, 0.25)), 4),
        (box_crop((0.2, 0.5), size_sd=0.05), 1),
        (homography(), 1 / 1.02),
        (homography(shear=0.5), 0.5),
        (jitter(3), 1),
        (flip(), 1),
    ],
    ids=repr,
)
def test_transforms_know_how_far_they_shrink(made, scale):
    assert made.least_scale() == pytest.approx(scale, abs=1e-15)
    image = torch.zeros(1, 1, 30, 30, dtype=torch.float64)
    for seed in range(200):
        matrix = made.matrix(made.sample(image, seeded(seed)), (30, 30))[0, :2, :2]
        # How much further apart the points lie in the input, the largest stretch of any direction.
        stretch = torch.linalg.matrix_norm(matrix, 2).item()
        assert 1 / stretch > scale * (1 - 1e-12)


def test_shrinks_and_enlargements_cancel():
    image = doubles(1, 3, 12, 12)
    seen = Fused([random_scale([4]), random_scale([0.25])], same_size)(image)
    np.testing.assert_allclose(seen, image, rtol=0, atol=1e-12)


def test_a_matrix_says_the_same_at_any_common_factor():
    image = doubles(1, 2, 30, 30)
    expected = Fused([random_scale([0.4])], same_size)(image)
    for common in (1.0, 2.0, 0.25, -1.0, -3.0):
        seen = Fused([Given(0.4, common)], same_size)(image)
        np.testing.assert_allclose(seen, expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(Given(0.4, common)(image), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("matrix", "what"),
    [
        (torch.eye(3)[:2][None], r"Tensor of shape \(1, 2, 3\)"),
        (torch.eye(2), r"Tensor of shape \(2, 2\)"),
        (np.eye(3)[None], r"ndarray of shape \(1, 3, 3\)"),
        (None, r"NoneType of shape \(\)"),
    ],
    ids=str,
)
@pytest.mark.parametrize("fused", [True, False])
def test_a_matrix_of_another_shape_is_refused(matrix, what, fused):
    class Wrong(AffineTransform):
        def matrix(self, draw, size):
            return matrix

    made = Fused([Wrong()], same_size) if fused else Wrong()
    with pytest.raises(InputError, match=rf"Wrong\.matrix returned a {what}: it has to return a t"):
        made(doubles(1, 1, 8, 8))


# The network's size


class Names(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("n", "resizes"), [(80, 0), (64, 0), (60, 0), (59, 1), (40, 1)])
def test_a_shrink_to_the_networks_size_is_a_part_of_the_warp_down_to_three_quarters(n, resizes):
    assert SHARP == 60 / 80
    image = doubles(1, 3, 80, 80)
    with Names() as ran:
        Fused([pad(4, "constant"), jitter(8)], lambda own: (n, n))(image)
    assert ran.names.count("grid_sampler_2d") == 1
    assert sum("upsample" in name for name in ran.names) == resizes
    assert "matmul" not in ran.names
    assert "bmm" not in ran.names


def test_a_shrink_to_the_networks_size_in_the_warp_is_bilinear():
    image = doubles(2, 3, 40, 50)
    seen = Fused([random_rotate([20])], lambda own: (32, 40))(image)
    into = reference.rotated(20, (40, 50)) @ reference.viewed((40, 50), (40, 50), (32, 40))
    expected = reference.warp(image.numpy(), into, (32, 40), 0.0)
    np.testing.assert_allclose(seen, expected, rtol=0, atol=1e-12)


def test_shrinks_of_a_transform_and_of_the_size_count_together():
    # 0.8 each, which neither would soften for.
    image = grating(0.5, n=80)
    seen = middle(Fused([random_scale([0.8])], lambda own: (64, 64))(image), 40)
    plain = middle(Fused([Given(0.8, least=1)], lambda own: (64, 64))(image), 40)
    assert seen.std() < 0.6 * plain.std()


# Types, gradients, no waiting


@pytest.mark.parametrize("made", [[random_scale([0.4, 1.2])], [homography(shear=1.0)]], ids=repr)
def test_gradients_of_a_shrink_are_right(made):
    fused = Fused(per_image(made).transforms, lambda own: (8, 7))
    image = doubles(2, 2, 9, 8).requires_grad_()
    assert torch.autograd.gradcheck(lambda image: fused(image, seeded(2)), image, fast_mode=True)


def test_a_shrink_in_half_precision_and_under_autocast_is_exact():
    made, image = Fused([random_scale([0.4])], same_size), torch.rand(2, 3, 60, 60)
    expected = made(image)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(made(image), expected)
    half = image.bfloat16()
    seen = made(half)
    assert seen.dtype == torch.bfloat16
    assert torch.equal(seen, made(half.float()).bfloat16())


def test_channels_last_shrinks_alike():
    made, image = Fused([random_scale([0.4])], same_size), doubles(2, 3, 20, 24)
    seen = made(image.contiguous(memory_format=torch.channels_last))
    np.testing.assert_allclose(seen, made(image), rtol=0, atol=1e-13)


def test_no_shrink_waits_for_a_gpu_in_a_step():
    made = [random_scale([0.3, 1]), homography(shear=1.0), per_image(random_scale([0.5, 2]))]
    # A tensor without data cannot be looked at.
    image = torch.empty(2, 3, 24, 24, device="meta")
    assert Fused(made, lambda own: (20, 22))(image).shape == (2, 3, 20, 22)


# What was wrong in Lucid and torch-lucent


def test_a_small_scale_in_a_run_does_not_skip_pixels():
    image = torch.arange(64).remainder(2).double().expand(1, 1, 64, 64)
    fused = Fused([pad(12, "constant"), jitter(8), random_scale([1 / 3])], same_size)
    alone = compose([pad(12, "constant"), jitter(8), random_scale([1 / 3])])
    for seed in range(3):
        for made in (fused, alone):
            # Every third stripe of one pixel would be the stripes again, 0 and 1.
            assert middle(made(image, seeded(seed)), 10).sub(0.5).abs().max() < 0.06
