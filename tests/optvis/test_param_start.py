"""Images that start from a given one, that fit a photograph, that have opacity or no colour."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import reference
import torch
from reference import doubles, seeded
from torch.nn import functional as F

from lucent.errors import InputError
from lucent.optvis import param

SPACES = {"fft": {}, "pixels": {"fft": False}, "pyramid": {"pyramid": 3}}
DARK, BRIGHT = 1 / 512, 511 / 512


@pytest.fixture(params=SPACES)
def space(request):
    return SPACES[request.param]


def wide(*shape):
    """Values of which a part leaves [0, 1]."""
    return torch.rand(*shape, generator=seeded()) * 1.4 - 0.2


def reached(picture):
    return picture.clamp(DARK, BRIGHT)


# Starting from an image


@pytest.mark.parametrize("size", [(32, 32), (33, 20), (7, 9)])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("decorrelate", [True, False])
@pytest.mark.parametrize(("squash", "tolerance"), [("sigmoid", 1e-4), ("clip", 1e-6)])
def test_first_image_is_the_given_one(space, size, alpha, decorrelate, squash, tolerance):
    picture = wide(2, 3 + alpha, *size)
    image = param.image(
        size[1],
        size[0],
        batch=2,
        init=picture,
        alpha=alpha,
        decorrelate=decorrelate,
        squash=squash,
        **space,
    )
    torch.testing.assert_close(image(), reached(picture), rtol=0, atol=tolerance)


@pytest.mark.parametrize("size", [(112, 112), (75, 101)])
@pytest.mark.parametrize(("squash", "tolerance"), [("sigmoid", 1e-4), ("clip", 1e-6)])
def test_first_image_is_the_photograph(photo, space, size, squash, tolerance):
    picture = F.interpolate(photo, size, mode="bilinear", antialias=True)
    image = param.image(size[1], size[0], init=picture, squash=squash, **space)
    torch.testing.assert_close(image(), reached(picture), rtol=0, atol=tolerance)


def test_steep_spectra_and_other_colours_start_from_an_image_too(space):
    picture, matrix = wide(1, 3, 12, 16), [[2.0, 0.3, 0.0], [0.0, 1.0, 0.2], [1.0, 0.0, 1.0]]
    image = param.image(16, 12, init=picture, color_matrix=matrix, decay_power=2.0, **space)
    torch.testing.assert_close(image(), picture.clamp(DARK, BRIGHT), rtol=0, atol=1e-4)


def test_one_image_starts_all_rows(space):
    picture = torch.rand(3, 8, 10, generator=seeded())
    images = param.image(10, 8, batch=3, init=picture, **space)()
    assert images.shape == (3, 3, 8, 10)
    torch.testing.assert_close(images, picture.clamp(DARK, BRIGHT).expand_as(images))


def test_array_has_its_channels_last(space):
    # Lucid asked an array for its truth, which raised for every real one.
    picture = np.random.default_rng(0).uniform(DARK, BRIGHT, (8, 10, 3))
    image = param.image(10, 8, init=picture, squash="clip", **space)()
    np.testing.assert_allclose(image.detach()[0].permute(1, 2, 0), picture, rtol=0, atol=1e-6)
    again = param.image(10, 8, init=image.detach().numpy().transpose(0, 2, 3, 1), squash="clip")
    torch.testing.assert_close(again(), image, rtol=0, atol=1e-6)


def test_other_channels_and_volumes_start_from_an_image(space):
    for channels, size in [(1, (8, 9)), (5, (8, 9)), (1, (4, 8, 9)), (3, (5, 8, 9))]:
        picture = torch.rand(2, channels, *size, generator=seeded())
        depth = size[0] if len(size) == 3 else None
        space = {**space, "pyramid": space.get("pyramid") and 2}
        image = param.image(9, 8, batch=2, channels=channels, depth=depth, init=picture, **space)
        torch.testing.assert_close(image(), picture.clamp(DARK, BRIGHT), rtol=0, atol=1e-4)


def test_start_in_double_precision():
    picture = doubles(1, 3, 8, 9)
    image = param.image(9, 8, init=picture).double()
    # The parameters were rounded to single precision once.
    torch.testing.assert_close(image(), picture.clamp(DARK, BRIGHT), rtol=0, atol=1e-6)


def test_given_image_stays_as_it_is():
    picture = wide(1, 3, 8, 8).requires_grad_()
    before = picture.detach().clone()
    image = param.image(8, init=picture, fft=False, squash="clip")
    image().sum().backward()
    with torch.no_grad():
        image.trainable()[0].zero_()
    assert torch.equal(picture, before)
    assert picture.grad is None


def test_raw_image_can_be_set_at_any_time(space):
    picture = torch.randn(2, 3, 9, 8, generator=seeded())
    for make in (param.fft_image, param.pixel_image, param.laplacian_pyramid_image):
        raw = make((2, 3, 9, 8))
        raw.start_from(picture)
        torch.testing.assert_close(raw(), picture, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("init", "text"),
    [
        (torch.zeros(3, 8, 9), r"init has the shape \(3, 8, 9\).* has to be \(2, 3, 8, 8\)"),
        (np.zeros((9, 8, 3)), r"shape \(9, 8, 3\), \(1, 3, 9, 8\) with the channels in front"),
        (torch.zeros(3, 3, 8, 8), r"has to be \(2, 3, 8, 8\), or with a batch of one"),
        (torch.zeros(1, 8, 8), r"\(1, 8, 8\)"),
        (torch.zeros(8, 8), r"init has to be a tensor .* its shape is \(8, 8\)"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), "torch.uint8: divide 8-bit values by 255"),
        (np.zeros((8, 8, 3), dtype=np.uint8), "torch.uint8: divide 8-bit values by 255"),
        (torch.full((3, 8, 8), torch.nan), "init .* contains NaN"),
        (np.full((8, 8, 3), np.inf), "init .* infinite"),
        (np.full((8, 8, 3), "a"), "init .* it is of <U1"),
        ("dog_cat.jpg", "init .* not a str"),
    ],
)
def test_image_that_cannot_be_the_first(init, text):
    with pytest.raises(InputError, match=text):
        param.image(8, batch=2, init=init)


@pytest.mark.parametrize("picture", [torch.full((3, 8, 8), 128.0), -2.1 * torch.ones(3, 8, 8)])
def test_start_from_another_range_is_not_a_white_image(picture):
    value = picture[0, 0, 0].item()
    with pytest.raises(InputError, match=f"init has values from {value:g} to {value:g}: .* by 255"):
        param.image(8, init=picture)


def test_array_of_another_byte_order_is_an_image():
    picture = np.random.default_rng(0).uniform(DARK, BRIGHT, (8, 8, 3))
    images = [param.image(8, init=picture.astype(kind)) for kind in ("<f4", ">f4")]
    torch.testing.assert_close(images[0](), images[1](), rtol=0, atol=0)


def test_two_starts():
    with pytest.raises(InputError, match=r"init= and sd=0.1 are two ways to start"):
        param.image(8, sd=0.1, init=torch.zeros(3, 8, 8))


# Fitting a photograph


def steps_to_fit(image, target, limit=1000):
    """The number of steps after which the image differs by less than 0.01 in the mean."""
    params, image_f = image
    optimizer = torch.optim.Adam(params, lr=0.05)
    for step in range(limit):
        error = image_f() - target
        if error.abs().mean() < 0.01:
            return step
        optimizer.zero_grad()
        error.square().mean().backward()
        optimizer.step()
    return pytest.fail(f"still {error.abs().mean():.3f} off after {limit} steps")


def photograph(height, width):
    """A picture as cameras make them: texture whose amplitude falls with frequency, and edges."""
    noise = np.random.default_rng(0).normal(size=(1, 3, height, width // 2 + 1, 2))
    texture = reference.fft_image(noise, (height, width))
    picture = 0.5 + 0.15 * texture / texture.std()
    y, x = np.mgrid[:height, :width]
    picture[0, :, (x - 12) ** 2 + (y - 10) ** 2 < 50] = (0.9, 0.7, 0.1)
    picture[0, :, 18:24, 16:32] = np.array([0.1, 0.3, 0.8]).reshape(3, 1, 1)
    return torch.from_numpy(picture.clip(0.03, 0.97)).float()


@pytest.mark.parametrize("decorrelate", [True, False])
def test_picture_can_be_fitted(space, decorrelate):
    image = param.image(36, 28, decorrelate=decorrelate, **space)
    assert steps_to_fit(image, photograph(28, 36)) > 0


@pytest.mark.parametrize("size", [(112, 112), (75, 101)])
@pytest.mark.parametrize("decorrelate", [True, False])
@pytest.mark.parametrize("squash", ["sigmoid", "clip"])
def test_photograph_can_be_fitted(photo, space, size, decorrelate, squash):
    target = F.interpolate(photo, size, mode="bilinear", antialias=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        image = param.image(size[1], size[0], decorrelate=decorrelate, squash=squash, **space)
    assert steps_to_fit(image, target) > 0


def test_volume_can_be_fitted(space):
    z, y, x = np.mgrid[:8, :10, :12]
    ball = 1 / (1 + np.exp(np.sqrt((z - 4) ** 2 + (y - 5) ** 2 + (x - 6) ** 2) - 3))
    target = np.stack([0.1 + 0.8 * ball, 0.7 - 0.5 * ball, 0.05 + 0.9 * z / 8])
    image = param.image(12, 10, depth=8, **space)
    assert steps_to_fit(image, torch.from_numpy(target[None]).float()) > 0


@pytest.mark.parametrize("bound", [0.0, 1.0])
def test_saturated_pixels_of_a_clipped_image_come_back(bound):
    # Lucid's ball blocked the way in instead of the way out, so that they froze.
    start, target = torch.full((1, 3, 8, 8), bound), torch.full((1, 3, 8, 8), 0.5)
    image = param.image(8, fft=False, decorrelate=False, squash="clip")
    image.image_f.start_from(4 * start - 2)
    assert torch.equal(image(), start)
    assert steps_to_fit(image, target) > 0


# Opacity, grey


def test_alpha_is_a_channel_of_its_own():
    torch.manual_seed(0)
    image = param.image(8, sd=1.0, fft=False, alpha=True)
    (raw,) = image.trainable()
    assert image().shape == (1, 4, 8, 8)
    assert torch.equal(image()[:, 3], raw[:, 3].sigmoid())
    colour = param.to_valid_rgb(lambda: raw[:, :3], decorrelate=True)()
    assert torch.equal(image()[:, :3], colour)


def test_alpha_and_channels():
    with pytest.raises(InputError, match="alpha=True is RGB and opacity: leave channels=5 out"):
        param.image(8, alpha=True, channels=5)


def test_grey_image_has_three_equal_channels(space):
    image = param.grayscale_image_rgb(8, 6, 1.0, 2, **space)
    assert image().shape == (2, 3, 6, 8)
    (channels,) = {tensor.shape[1] for tensor in image.trainable()}
    assert channels == 1
    assert torch.equal(image()[:, 0], image()[:, 1])
    assert torch.equal(image()[:, 0], image()[:, 2])
    assert image().std() > 0.1


def test_grey_image_starts_from_a_grey_one():
    picture = torch.rand(1, 8, 8, generator=seeded())
    image = param.grayscale_image_rgb(8, init=picture)
    torch.testing.assert_close(image()[0, 2], picture[0].clamp(DARK, BRIGHT))


def test_grey_image_refuses_channels():
    with pytest.raises(
        InputError, match=r"leave channels=2 out, or take param.image\(8, channels=2"
    ):
        param.grayscale_image_rgb(8, channels=2)


# Every parametrization is a module


IMAGES = {
    "image": lambda: param.image(8),
    "rgba": lambda: param.image(8, alpha=True, squash="clip"),
    "volume": lambda: param.image(8, depth=4),
    "pyramid": lambda: param.image(8, pyramid=2),
    "grey": lambda: param.grayscale_image_rgb(8),
    "lowres": lambda: param.lowres_tensor((4, 3, 8, 8), (2, 3, 4, 4), 1),
    "stack": lambda: param.stack([param.image(8), torch.zeros(1, 3, 8, 8)]),
    "sum": lambda: param.summed([param.fft_image((2, 3, 8, 8)), param.pixel_image((1, 3, 8, 8))]),
    "mask": lambda: param.masked(param.image(8), torch.zeros(3, 8, 8), torch.eye(8)),
    "basis": lambda: param.multi_interpolation_basis(3, 3, 8),
    "L2": lambda: param.unit_ball_L2((1, 3, 8, 8)),
    "Linf": lambda: param.unit_ball_L_inf((1, 3, 8, 8)),
}


@pytest.mark.parametrize("make", IMAGES.values(), ids=IMAGES)
def test_image_pickles_copies_and_moves(make):
    image = make()
    for again in (pickle.loads(pickle.dumps(image)), copy.deepcopy(image)):
        assert torch.equal(again(), image())
    other = make()
    other.load_state_dict(image.state_dict())
    assert torch.equal(other(), image())
    params, image_f = image
    assert isinstance(params, list)
    assert all(tensor.is_leaf and tensor.requires_grad for tensor in params)
    names = {name for name, _ in image.named_parameters()}
    assert set(image.state_dict()) == names
    before = image().detach()
    assert image.double()().dtype == torch.float64
    torch.testing.assert_close(image_f().float(), before)
    assert image.to("meta")().device.type == "meta"


@pytest.mark.parametrize("make", IMAGES.values(), ids=IMAGES)
def test_every_parameter_gets_a_gradient(make):
    image = make().double()
    with torch.no_grad():
        for tensor in image.trainable():
            # Values near 0, so that those of the unit balls are inside.
            tensor.copy_(0.02 * (torch.rand(tensor.shape, generator=seeded()) - 0.5))
    (image() * doubles(*image().shape)).sum().backward()
    assert all(tensor.grad.any() for tensor in image.trainable())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("make", [*IMAGES.values(), lambda: param.maco(8)], ids=[*IMAGES, "maco"])
def test_image_in_half_precision(make, dtype):
    image = make()
    with torch.no_grad():
        for tensor in image.trainable():
            # Rounded already, so that only what follows is.
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=seeded()).to(dtype))
    before = image().detach()
    assert before.std() > 0.03
    seen = image.to(dtype)()
    assert seen.dtype == dtype
    # Sums of up to nine raw values of about 0.3, each rounded.
    torch.testing.assert_close(seen.float(), before, rtol=0, atol=4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("make", [lambda: param.image(512, sd=1.0), lambda: param.maco(512)])
def test_scale_of_a_large_image_fits_into_float16(make):
    # The lowest coefficients of 512 pixels are multiplied by 262144, float16 ends at 65504.
    torch.manual_seed(0)
    image = make()
    before = image().detach()
    assert before.std() > 0.1
    # Phases up to pi are rounded to 2^-10, and a sigmoid's slope is 1/4 at the most.
    torch.testing.assert_close(image.half()().float(), before, rtol=0, atol=2**-8)
