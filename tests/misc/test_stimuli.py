"""Synthetic pictures: a NumPy twin, the geometry that is known, and every style."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lucent.errors import InputError
from lucent.misc.stimuli import rmin, rounded_corner, sample_binary_image

SIZE = 41
STYLES = [
    {},
    {"alias_factor": 3},
    {"color_a": (0.25, 0.5, 1.0), "color_b": (1.0, 0.75, 0.0)},
    {"boundary_line": True},
    {"boundary_line": True, "boundary_width": 2.5},
    {"blur_beyond_radius": 8},
    {"fade_beyond_radius": 6, "fade_over_distance": 9, "fade_color": (0.1, 0.2, 0.3)},
    {"boundary_line": True, "blur_beyond_radius": 5, "fade_beyond_radius": 10},
]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def disc(radius):
    return lambda x, y: (x - 1) ** 2 + y**2 - radius**2


def positions(size=SIZE):
    x = np.arange(size) - size // 2
    return x[None, :].astype(float), x[:, None].astype(float)


def twin(
    region, size, seed, *, alias_factor=10, color_a=(1, 1, 1), color_b=(0, 0, 0),
    boundary_line=False, boundary_width=1, blur_beyond_radius=np.inf, fade_beyond_radius=np.inf,
    fade_over_distance=10, fade_color=(0.5, 0.5, 0.5),
):  # fmt: skip
    """The picture in NumPy, (size, size, 3), pixel by pixel as Lucid describes it."""
    offsets = torch.rand(alias_factor, 2, generator=seeded(seed)).double().numpy() - 0.5
    x, y = positions(size)
    radius = np.sqrt(x**2 + y**2)
    scale = 1 + np.maximum(0, radius - blur_beyond_radius)
    total = 0
    for dx, dy in offsets:
        if boundary_line:
            circle = 2 * np.pi * np.arange(16) / 16
            hits = np.mean(
                [
                    region(
                        x + scale * (dx + boundary_width * np.cos(angle)),
                        y + scale * (dy + boundary_width * np.sin(angle)),
                    )
                    >= 0
                    for angle in circle
                ],
                axis=0,
            )
            total = total + ((hits == 0) | (hits == 1))
        else:
            total = total + (region(x + scale * dx, y + scale * dy) >= 0)
    share = (total / alias_factor)[..., None]
    image = share * np.array(color_a) + (1 - share) * np.array(color_b)
    fading = np.clip((radius - fade_beyond_radius) / fade_over_distance, 0, 1)[..., None]
    return (1 - fading) * image + fading * np.array(fade_color)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("size", [SIZE, 30])
def test_pictures_equal_their_twin(style, size):
    found = sample_binary_image(size, generator=seeded(3), **style)(disc(9.3))
    assert found.shape == (1, 3, size, size)
    assert found.dtype == torch.float32
    expected = twin(disc(9.3), size, 3, **style)
    assert np.abs(found[0].permute(1, 2, 0).numpy() - expected).max() < 1e-6


def test_it_decorates_a_function():
    @sample_binary_image(SIZE, generator=seeded())
    def image(x, y):
        return x**2 + y**2 - 81

    assert torch.equal(
        image, sample_binary_image(SIZE, generator=seeded())(lambda x, y: x**2 + y**2 - 81)
    )
    assert image[0, :, SIZE // 2, SIZE // 2].tolist() == [0, 0, 0]
    assert image[0, :, 0, 0].tolist() == [1, 1, 1]


def test_the_share_of_black_is_the_area():
    found = 1 - sample_binary_image(SIZE, alias_factor=2000, generator=seeded())(disc(12.5))
    assert found[0, 0].sum().item() == pytest.approx(math.pi * 12.5**2, rel=2e-3)


def test_a_pixel_on_the_edge_is_as_bright_as_the_part_of_it_that_is_white():
    # The edge lies at x = 0.2: white is 0.3 of pixel 0.
    image = sample_binary_image(9, alias_factor=2000, generator=seeded())(lambda x, y: x - 0.2)
    # Four standard deviations of a mean of 2,000.
    assert image[0, 0, 4, 4].item() == pytest.approx(0.3, abs=4 * math.sqrt(0.3 * 0.7 / 2000))
    assert image[0, 0, :, 5:].eq(1).all()
    assert image[0, 0, :, :4].eq(0).all()


@pytest.mark.parametrize("width", [1.0, 1.3])
def test_the_line_reaches_to_both_sides_of_the_boundary(width):
    image = sample_binary_image(
        11, alias_factor=500, boundary_line=True, boundary_width=width, generator=seeded()
    )(lambda x, y: x)
    # Two of the sixteen that look around lie at the very left and right. An offset gives the floor
    # or the ceiling of the width; four standard deviations of a mean of 500.
    found = (1 - image[0, 0, 5]).sum().item()
    assert found == pytest.approx(2 * width, abs=4 * 0.5 / math.sqrt(500))


def test_blur_grows_with_the_distance_and_only_beyond_the_radius():
    options = {"alias_factor": 400, "generator": seeded()}
    sharp = sample_binary_image(61, **options)(lambda x, y: x)
    options = {"alias_factor": 400, "generator": seeded()}
    image = sample_binary_image(61, blur_beyond_radius=10, **options)(lambda x, y: x)
    y, x = np.mgrid[-30:31, -30:31]
    within = torch.from_numpy(np.hypot(x, y) <= 10)
    assert torch.equal(image[0, 0][within], sharp[0, 0][within])
    grey = ((image[0, 0] > 0.02) & (image[0, 0] < 0.98)).sum(1)
    # At height 25 the offsets are 16 pixels wide.
    assert grey[30] == 1
    assert 14 <= grey[55] <= 18


def test_the_generator_decides():
    for make in (
        lambda g: sample_binary_image(SIZE, generator=g)(disc(7)),
        lambda g: rounded_corner(30, 8, size=SIZE, generator=g),
    ):
        assert torch.equal(make(seeded(1)), make(seeded(1)))
        assert not torch.equal(make(seeded(1)), make(seeded(2)))
    torch.manual_seed(5)
    first = sample_binary_image(SIZE)(disc(7))
    torch.manual_seed(5)
    assert torch.equal(sample_binary_image(SIZE)(disc(7)), first)


# The rounded minimum


def test_rmin_is_the_minimum_where_its_arguments_differ():
    x, y = torch.meshgrid(torch.linspace(-5, 5, 41), torch.linspace(-5, 5, 41), indexing="ij")
    for r in (0, 1.0, 3.0):
        apart = (x - y).abs() > r
        assert torch.equal(rmin(x, y, r)[apart], torch.minimum(x, y)[apart])
    assert torch.equal(rmin(x, y, 0), torch.minimum(x, y))


@pytest.mark.parametrize("level", [-2.0, 0.0, 1.5])
def test_level_lines_of_rmin_turn_the_corner_on_a_quarter_of_a_circle(level):
    angle = torch.linspace(0, math.pi / 2, 33, dtype=torch.float64)
    r = 4.0
    x, y = (level + r - r * turn for turn in (angle.cos(), angle.sin()))
    assert (rmin(x, y, r) - level).abs().max() < 1e-12


def test_rmin_equals_the_formula_of_lucid():
    x, y = 3 * np.random.default_rng(0).normal(size=(2, 200))
    for r in (0.5, 2.0, 10.0):
        bent = np.arcsin(np.clip((x - y) / (r * np.sqrt(2)), -1, 1))
        rounded = y + r * np.sin(np.pi / 4 + bent) - r
        expected = np.where(np.abs(x - y) <= r, rounded, np.minimum(x, y))
        found = rmin(torch.from_numpy(x), torch.from_numpy(y), r).numpy()
        assert np.abs(found - expected).max() < 1e-12


# Corners, curves and edges


@pytest.mark.parametrize("orientation", [0, 30, 90, 135, 180, 250, 270, -45])
@pytest.mark.parametrize(("r", "angle"), [(0, 90), (0, 50), (10, 90), (25, 90), (5, 180)])
def test_white_opens_to_the_orientation(orientation, r, angle):
    image = rounded_corner(orientation, r, angle, 101, generator=seeded())[0, 0].numpy()
    x, y = positions(101)
    turn = math.radians(orientation)
    along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    if r and angle == 90:
        # A circle of this radius that touches the centre, and tangents to it.
        tip = r * (1 - math.sqrt(2))
        curved = along < r * (1 - math.sqrt(0.5))
        inside = np.where(
            curved, r - np.hypot(along - r, across), (along - tip - np.abs(across)) / math.sqrt(2)
        )
    else:
        half = math.radians(angle / 2)
        inside = along * math.sin(half) - np.abs(across) * math.cos(half)
    assert (image[inside > 1] == 1).all()
    assert (image[inside < -1] == 0).all()


@pytest.mark.parametrize("r", [0, 5, 20, 60])
@pytest.mark.parametrize("angle", [40, 90, 140, 180])
def test_the_boundary_goes_through_the_centre_whatever_the_radius(r, angle):
    image = rounded_corner(20, r, angle, 101, alias_factor=200, generator=seeded())
    assert 0.02 < image[0, 0, 50, 50] < 0.9
    step = (3 * torch.tensor([math.cos(0.35), math.sin(0.35)])).round().int().tolist()
    assert image[0, 0, 50 + step[1], 50 + step[0]] == 1
    assert image[0, 0, 50 - step[1], 50 - step[0]] == 0


def test_a_larger_radius_bends_less():
    white = [rounded_corner(0, r, size=101, generator=seeded()).mean().item() for r in (0, 20, 80)]
    assert white == sorted(white)
    assert white[0] == pytest.approx(0.25, abs=0.01)
    assert 0.3 < white[2] < 0.45


def test_the_style_reaches_the_corner():
    image = rounded_corner(0, 10, size=51, color_b=(1.0, 0.0, 0.5), generator=seeded())
    assert image[0, :, 25, 0].tolist() == [1, 0, 0.5]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"size": 0}, r"size=0 has to be a whole number of pixels, at least 1"),
        ({"size": 8.5}, r"size=8.5 has to be a whole number of pixels"),
        ({"alias_factor": 0}, r"alias_factor=0 has to be a whole number of at least 1"),
        ({"alias_factor": 1.5}, r"alias_factor=1.5 has to be a whole number"),
        ({"color_b": 1}, r"color_b=\(1,\) is no colour: give three numbers"),
        (
            {"color_a": (255, 0, 0)},
            r"color_a=\(255, 0, 0\) is no colour: give three numbers from 0 to 1",
        ),
        ({"fade_color": (0.5,)}, r"fade_color=\(0.5,\) is no colour"),
        ({"fade_over_distance": 0}, r"fade_over_distance=0 has to be positive"),
        ({"r": -1}, r"r=-1 has to be a radius"),
        ({"angular_width": 270}, r"angular_width=270 has to be .* at most 180.*exchange color_a"),
        ({"angular_width": 0}, r"angular_width=0 has to be more than 0"),
    ],
)
def test_wrong_options(options, text):
    with pytest.raises(InputError, match=text):
        rounded_corner(0, **{"r": 5, **options})


def test_an_unknown_style_was_ignored():
    with pytest.raises(TypeError, match="colour_a"):
        rounded_corner(0, 5, colour_a=(1, 0, 0))
