"""Many transforms as one warp."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import reference
import reference_transforms as twins
import torch
from reference import doubles, seeded
from torch import nn

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
    standard_transforms,
)
from lucent.optvis.transform.warp import centred


def same_size(own):
    return own


class FixedSize:
    """A size function that can be pickled."""

    def __init__(self, *size):
        self.size = size

    def __call__(self, own):
        return self.size


@pytest.mark.parametrize(
    "made",
    [
        [jitter(4)],
        [pad(3, "constant", 0.5), jitter(4), jitter(2)],
        [pad(3, "constant"), compose([jitter(4), compose([jitter(3)])])],
        [pad(2, "constant", 0.25), pad(3, "constant", 0.75), jitter(10)],
        [pad(2, "reflect"), jitter(4)],
        [jitter(6), pad(3, "constant", 0.5)],
        [pad(3, "constant", 0.5), jitter(4), pad(1, "constant", 0.5), jitter(2)],
        [pad(3, "constant"), lambda image: image**2, jitter(6)],
    ],
)
def test_fused_shifts_equal_the_chain(made):
    image = doubles(2, 3, 16, 19)
    for seed in range(4):
        chain = compose(made)(image, seeded(seed))
        # What the network sees is no larger than the picture's own size.
        top, left = (max(0, n - m) // 2 for n, m in zip(chain.shape[2:], (16, 19), strict=True))
        chain = chain[..., top : top + 16, left : left + 19]
        fused = Fused(made, FixedSize(*chain.shape[-2:]))(image, seeded(seed))
        # The positions are rounded, relative to a size below 32, at slopes below 1.
        np.testing.assert_allclose(fused, chain, rtol=0, atol=1e-13)


@pytest.mark.parametrize("odd", [1, 2, 3])
def test_fused_crop_of_an_odd_remainder_stays_on_the_pixel_grid(odd):
    image = doubles(1, 1, 9, 9)
    made = Fused([pad(2, "constant"), jitter(odd)], same_size)
    padded = pad(2, "constant")(image)
    chain = jitter(odd)(padded, seeded())
    start = (13 - odd - 9) // 2
    expected = chain[..., start : start + 9, start : start + 9]
    np.testing.assert_allclose(made(image, seeded()), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("width", [2, 5])
@pytest.mark.parametrize(
    ("own", "size"), [((16, 16), (16, 16)), ((12, 18), (24, 36)), ((17, 11), (40, 30))]
)
def test_fused_transforms_equal_one_warp_by_hand(own, size, width):
    made = [
        pad(width, "constant", 0.5),
        jitter(3),
        random_scale([0.8, 0.9, 1.1, 1.3]),
        random_rotate(range(-30, 30)),
        jitter(2),
    ]
    image = doubles(2, 3, *own)
    outer = tuple(n + 2 * width - 3 for n in own)
    canvas = tuple(n - 2 for n in outer)
    window = tuple(min(n, m) for n, m in zip(own, canvas, strict=True))
    for seed in range(3):
        generator = seeded(seed)
        draws = [step.sample(image, generator)[0].tolist() for step in made]
        into = (
            reference.shift(-width, -width)
            @ reference.shift(*draws[1])
            @ reference.zoomed(*draws[2], outer)
            @ reference.rotated(*draws[3], outer)
            @ reference.shift(*draws[4])
            @ reference.viewed(canvas, window, size)
        )
        expected = reference.warp(image.numpy(), into, size, 0.5)
        fused = Fused(made, FixedSize(*size))(image, seeded(seed))
        np.testing.assert_allclose(fused, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("nest", [list, lambda made: [made[0], compose(made[1:])]])
def test_fused_neighbours_are_sampled_once(nest):
    made = nest(
        [random_rotate([20]), random_rotate([-20]), random_scale([4]), random_scale([0.25])]
    )
    image = doubles(1, 3, 12, 12)
    # There and back is no change unless something is interpolated in between.
    np.testing.assert_allclose(Fused(made, same_size)(image), image, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(32, 32), (48, 40), (20, 64)])
@pytest.mark.parametrize(
    "made",
    [
        [],
        standard_transforms,
        [*standard_transforms, lambda image: image],
        [nn.Identity()],
        [pad(4)],
        [random_scale([2])],
    ],
)
def test_fused_always_ends_at_the_size(made, size):
    for seed in range(4):
        fused = Fused(made, FixedSize(*size))(torch.rand(1, 3, 24, 24), seeded(seed))
        assert fused.shape == (1, 3, *size)


def radius_of_disc(image):
    return (image.sum().item() / np.pi) ** 0.5


def disc(size, radius):
    y, x = torch.meshgrid(*[torch.arange(size) - (size - 1) / 2] * 2, indexing="ij")
    # Softened by a pixel, so that its area does not depend on the grid.
    return (radius + 0.5 - torch.hypot(x, y)).clamp(0, 1).double().view(1, 1, size, size)


@pytest.mark.parametrize("after", [[], [lambda image: image], [random_rotate([20])]])
@pytest.mark.parametrize("scale", [0.8, 1.0, 1.25])
def test_fused_scale_stays_visible_to_the_network(scale, after):
    made = [pad(6, "constant", 0.0), jitter(3), random_scale([scale]), *after]
    image = disc(64, 12)
    for size in (64, 128):
        seen = Fused(made, FixedSize(size, size))(image, seeded())
        expected = radius_of_disc(image) * scale * size / 64
        # Sampling a softened edge changes the area by far less than a ring a tenth of a pixel wide.
        assert radius_of_disc(seen) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("made", [[], [random_rotate([0])], [random_rotate([90])], [jitter(2)]])
def test_fused_shrinking_does_not_alias(made):
    size = 33 + sum(getattr(step, "pixels", 0) for step in made)
    stripes = torch.arange(size).remainder(2).double().expand(1, 1, size, size)
    small = Fused(made, FixedSize(11, 11))(stripes)
    # A third of the size has no room for stripes of one pixel. A triangular filter six pixels wide
    # has the weights 0, 1/3, 2/3, 1, 2/3, 1/3: those of every other pixel sum up to 5/9 or 4/9.
    assert small[..., 1:-1, 1:-1].sub(0.5).abs().max() < 1 / 18 + 1e-12


def test_fused_fill_is_the_pads_also_beside_a_turned_picture():
    made = Fused([pad(4, "constant", 0.5), random_rotate([45])], same_size)
    turned = made(torch.ones(1, 3, 32, 32))
    assert (turned[..., 0, 0] == 0.5).all()
    assert (turned[..., 16, 16] == 1).all()
    assert Fused([random_rotate([45])], same_size)(torch.ones(1, 1, 32, 32))[0, 0, 0, 0] == 0


def halved(profile):
    """A row at half its size, its ends being outside: triangles of half width 2."""
    profile = np.pad(profile, 1, mode="edge")
    taps = np.stack([profile[start : start + len(profile) - 3 : 2] for start in range(4)])
    return np.array([1, 3, 3, 1]) / 8 @ taps


def test_fused_pads_of_two_values_keep_both():
    made = [pad(2, "constant", 0.25), pad(2, "constant", 0.75)]
    chain = compose(made)(torch.ones(1, 1, 8, 8))
    # The picture fills the last canvas but for the pads when the network's size is twice its own.
    seen = Fused([*made, lambda image: image], FixedSize(8, 8))(torch.ones(1, 1, 8, 8))
    np.testing.assert_allclose(seen, chain[..., 4:-4, 4:-4], atol=1e-6)
    zoomed_out = Fused([*made, random_scale([0.5])], FixedSize(8, 8))(torch.ones(1, 1, 8, 8))
    expected = halved([0.75] * 2 + [0.25] * 2 + [1] * 8 + [0.25] * 2 + [0.75] * 2)
    np.testing.assert_allclose(zoomed_out[0, 0, 4], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("own", "size", "edge"),
    [((3, 4), (112, 150), 0), ((97, 129), (224, 298), 0), ((3, 4), (112, 151), 1)],
)
def test_fused_rounding_of_the_size_leaves_no_grey_edge(own, size, edge):
    # 4 * 112 / 3 is 149.3: less than a pixel is missing in the first, more in the last.
    seen = Fused([], FixedSize(*size))(torch.ones(1, 1, *own))
    assert seen.shape[2:] == size
    assert seen.ne(1).any(dim=2).sum() == 2 * edge


def test_fused_asks_for_the_size_by_the_pictures_own():
    asked = []

    def size(own):
        asked.append(own)
        return 2 * own[0], 3 * own[1]

    assert Fused([pad(5), jitter(2)], size)(torch.rand(1, 3, 6, 8)).shape == (1, 3, 12, 24)
    assert asked == [(6, 8)]


@pytest.mark.parametrize("network", [(40, 40), (30, 50), (16, 16), (10, 12)])
def test_fused_transforms_after_the_last_warp_see_the_picture_at_its_own_scale(network):
    seen = []
    made = [pad(6, "constant"), jitter(3), lambda image: seen.append(image) or image]
    image = doubles(1, 2, 20, 24)
    Fused(made, FixedSize(*network))(image, seeded(1))
    expected = compose(made[:2])(image, seeded(1))
    np.testing.assert_allclose(seen[0], centred(expected, (20, 24), 0), rtol=0, atol=1e-12)


def test_fused_without_transforms_only_resizes():
    image = doubles(1, 3, 8, 8)
    assert Fused([], same_size)(image) is image
    wide = Fused([], FixedSize(8, 12))(image)
    assert torch.equal(wide[..., 2:10], image)
    assert (wide[..., :2] == 0.5).all()
    assert (wide[..., 10:] == 0.5).all()
    small = Fused([], FixedSize(4, 4))(image)
    assert small.mean().item() == pytest.approx(image.mean().item(), abs=0.05)


def test_fused_transforms_that_leave_nothing():
    with pytest.raises(InputError, match=r"jitter\(4\) leaves nothing of an image of \(4, 4\)"):
        Fused([jitter(4), jitter(4)], same_size)(torch.rand(1, 3, 8, 8))


def test_fused_of_what_is_no_transform():
    with pytest.raises(InputError, match="'noise' is not a transform"):
        Fused([jitter(2), "noise"], same_size)


def test_fused_draws_come_from_the_generator_alone_and_are_shared():
    made = Fused(standard_transforms, same_size)
    image = doubles(1, 3, 16, 16).expand(3, 3, 16, 16)
    before = torch.get_rng_state()
    first = made(image, seeded(3))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(made(image, seeded(3)), first)
    assert not torch.equal(made(image, seeded(4)), first)
    assert torch.equal(first[0], first[1])
    assert torch.equal(first[0], first[2])


@pytest.mark.parametrize("made", [[], standard_transforms, [pad(1), jitter(2)]])
def test_fused_gradients_are_right(made):
    fused = Fused(made, FixedSize(9, 7))
    image = doubles(2, 3, 10, 9).requires_grad_()
    assert torch.autograd.gradcheck(lambda image: fused(image, seeded(2)), image, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fused_keeps_the_type_of_the_image(dtype):
    image = torch.rand(2, 3, 32, 32, dtype=dtype)
    assert Fused(standard_transforms, FixedSize(40, 40))(image).dtype == dtype


def test_fused_is_a_value():
    made = Fused(standard_transforms, FixedSize(24, 24))
    image = torch.rand(1, 3, 32, 32)
    for again in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        assert torch.equal(again(image, seeded()), made(image, seeded()))
    assert repr(Fused([jitter(8)], same_size)) == "Fused([Jitter(pixels=8)])"


# What a warp can do besides


def fused_alone(made, image, seed):
    """The transforms as one warp that ends at the canvas they leave."""
    chain = compose(made)(image, seeded(seed))
    canvas = FixedSize(*chain.shape[-2:])
    # A transform that does nothing keeps the warp from enlarging its crop to the size of the image.
    return chain, Fused([*made, nn.Identity()], canvas)(image, seeded(seed))


@pytest.mark.parametrize("rows", ["shared", "own"])
@pytest.mark.parametrize(
    "made",
    [
        [jitter(5)],
        [random_rotate([-37.5, 20, 200])],
        [random_rotate([90, 180])],
        [flip("xy")],
        [homography(rotation=20, perspective=0.004)],
        [box_crop((0.3, 0.9))],
        [random_crop((9, 12))],
        [pad(3, "constant", (0.1, 0.5, 0.9)), jitter(6)],
        [pad(3, "constant", "uniform"), jitter(6)],
        [flip("x"), jitter(3), flip("xy"), random_crop((7, 9))],
        [pad(2, "constant", (0.1, 0.5, 0.9)), flip("y"), jitter(4), flip("xy")],
    ],
    ids=repr,
)
def test_fused_equals_the_transforms_one_by_one(made, rows):
    made = [per_image(one) for one in made] if rows == "own" else made
    image = doubles(3, 3, 16, 19)
    for seed in range(4):
        chain, fused = fused_alone(made, image, seed)
        np.testing.assert_allclose(fused, chain, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [0.25, 0.5, 1, 1.25, 1.5, 2])
def test_fused_scale_equals_the_scale_alone_inside_the_picture(scale):
    image, made = doubles(2, 3, 16, 24), random_scale([scale])
    chain, fused = made(image), Fused([made], same_size)(image)
    # All sizes are even, so that the middles are alike. Where the picture ends the two differ.
    edge = 2 if scale < 1 else 0
    height, width = (min(n, int(n * scale)) - 2 * edge for n in (16, 24))
    inside, expected = (centred(one, (height, width), 0.0) for one in (fused, chain))
    np.testing.assert_allclose(inside, expected, rtol=0, atol=1e-12)


def test_fused_neighbours_with_own_draws_differ_and_shared_ones_do_not():
    image = doubles(1, 3, 16, 16).expand(4, 3, 16, 16)
    mixed = Fused([jitter(4), per_image(random_rotate(range(-20, 20))), flip()], same_size)
    first, *others = mixed(image, seeded())
    assert all(not torch.equal(first, other) for other in others)
    first, *others = Fused([jitter(4), flip()], same_size)(image, seeded())
    assert all(torch.equal(first, other) for other in others)


def test_fused_own_draws_are_one_warp():
    made = per_image([random_rotate([20]), random_rotate([-20]), flip("x", 1), flip("x", 1)])
    image = doubles(2, 3, 12, 12)
    # There and back is no change unless something is interpolated in between.
    np.testing.assert_allclose(Fused([made], same_size)(image), image, rtol=0, atol=1e-12)


def test_fused_homography_and_its_neighbours_are_one_projective_map():
    image = doubles(1, 2, 18, 18)
    draws = [
        homography(rotation=10, perspective=0.01).sample(image, seeded(seed)) for seed in (0, 1)
    ]
    one, other = (homography().matrix(draw, (18, 18))[0].numpy() for draw in draws)

    class Given(AffineTransform):
        def __init__(self, matrix):
            self.given = torch.from_numpy(matrix)[None]

        def matrix(self, draw, size):
            return self.given

    seen = Fused([Given(one), Given(other)], same_size)(image)
    y, x = np.mgrid[:18, :18] - 8.5
    u, v, w = np.tensordot(one @ other, np.stack([x, y, np.ones_like(x)]), 1)
    expected = twins.sampled(image.numpy(), u / w + 8.5, v / w + 8.5, 0.0)
    np.testing.assert_allclose(seen, expected, rtol=0, atol=1e-12)


def test_fused_pad_fills_corners_with_the_value_of_each_channel():
    made = [pad(4, "constant", (0.25, 0.5, 0.75)), random_rotate([45])]
    turned = Fused(made, same_size)(torch.ones(2, 3, 32, 32))
    assert turned[..., 0, 0].tolist() == [[0.25, 0.5, 0.75]] * 2
    assert (turned[..., 16, 16] == 1).all()


def test_fused_uniform_pad_fills_all_corners_with_one_draw_per_step():
    made = Fused([pad(4, "constant", "uniform"), random_rotate([45])], same_size)
    image = torch.ones(2, 3, 32, 32, dtype=torch.float64)
    values = []
    for seed in range(40):
        corner = made(image, seeded(seed))[..., [0, 0, -1, -1], [0, -1, 0, -1]]
        assert corner.unique().numel() == 1
        values.append(corner[0, 0, 0].item())
    assert 0 < min(values) < 0.2
    assert 0.8 < max(values) < 1


def test_fused_uniform_pads_keep_a_draw_each():
    made = [pad(2, "constant", "uniform"), pad(2, "constant", "uniform"), nn.Identity()]
    image = torch.full((1, 1, 8, 8), 2.0, dtype=torch.float64)
    seen = Fused([*made[:2], random_scale([0.5]), made[2]], FixedSize(8, 8))(image, seeded())
    generator = seeded()
    inner, outer = (one.sample(image, generator).item() for one in made[:2])
    assert outer != inner
    expected = halved([outer] * 2 + [inner] * 2 + [2] * 8 + [inner] * 2 + [outer] * 2)
    np.testing.assert_allclose(seen[0, 0, 4], expected, atol=1e-12)


def test_fused_crops_do_not_fade_into_black_at_the_edge():
    image = torch.ones(1, 1, 12, 12, dtype=torch.float64)
    for made in ([jitter(2)], [flip(), box_crop()], [random_crop(3)], per_image([jitter(2)])):
        seen = Fused([made] if callable(made) else made, FixedSize(24, 24))(image, seeded())
        np.testing.assert_allclose(seen, 1, rtol=0, atol=1e-13)


def test_fused_crop_is_enlarged_to_the_size_of_the_network():
    image = doubles(1, 1, 12, 12)
    seen = Fused([random_crop(6)], FixedSize(12, 12))(image, seeded())
    crop = random_crop(6)(image, seeded())
    expected = nn.functional.interpolate(crop, (12, 12), mode="bilinear")
    # Within half a pixel of its edge the crop knows less than the image it is cut from.
    inner = np.s_[..., 1:-1, 1:-1]
    np.testing.assert_allclose(seen[inner], expected[inner], rtol=0, atol=1e-12)


def test_fused_whole_numbers_become_floats():
    image = torch.arange(2 * 144).view(2, 1, 12, 12)
    made = Fused(standard_transforms, same_size)
    assert torch.equal(made(image, seeded()), made(image.float(), seeded()))


@pytest.mark.parametrize(
    "made",
    [
        [pad(2, "constant", "uniform"), homography(), flip()],
        [box_crop(), random_crop(5)],
        per_image(
            [pad(2, "constant", (0, 0.5, 1)), jitter(2), random_scale([0.8, 1.2])]
        ).transforms,
    ],
)
def test_fused_gradients_of_every_kind_of_warp_are_right(made):
    fused = Fused(made, FixedSize(9, 7))
    image = doubles(2, 3, 10, 9).requires_grad_()
    assert torch.autograd.gradcheck(lambda image: fused(image, seeded(2)), image, fast_mode=True)
