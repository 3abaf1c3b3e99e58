"""Colour: the constants, both ways into [0, 1], their inverse, and colours measured of images."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference
import torch
from reference import normal
from torch.utils.data import DataLoader

from lucent.errors import InputError
from lucent.modelzoo.synthnet import SynthScenes
from lucent.optvis.param import color
from lucent.optvis.param.color import ValidRGB, to_valid_rgb
from lucent.optvis.param.images import image
from lucent.optvis.param.measured import measured_color_matrix
from lucent.optvis.param.spatial import pixel_image

MATRIX = [[2.0, 0.0, 0.5], [0.3, 1.0, 0.0], [1.0, 0.0, 1.0]]


def values(*shape):
    """Values in [0, 1], both ends included."""
    drawn = torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    drawn.view(-1)[:2] = torch.tensor([0.0, 1.0])
    return drawn


# Constants


def test_constants_are_lucids_in_torch_lucents_types():
    assert color.color_correlation_svd_sqrt.dtype == np.float32
    np.testing.assert_array_equal(
        color.color_correlation_svd_sqrt, reference.COLOR_MATRIX.astype(np.float32)
    )
    assert color.max_norm_svd_sqrt.dtype == np.float32
    assert round(float(color.max_norm_svd_sqrt), 6) == 0.461952
    assert color.color_correlation_normalized.dtype == np.float32
    expected = [[0.56283, 0.19483, 0.04329], [0.58448, 0, -0.10824], [0.58448, -0.19483, 0.06494]]
    np.testing.assert_allclose(color.color_correlation_normalized, expected, rtol=0, atol=5e-6)
    assert color.color_mean == [0.48, 0.46, 0.41]


# Into the unit interval


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 2, 3, 4)])
@pytest.mark.parametrize("decorrelate", [True, False])
def test_clipping_equals_its_twin(shape, decorrelate):
    raw = normal(*shape)
    rgb = raw.numpy()
    if decorrelate:
        matrix = reference.as_kept(reference.color_matrix())
        rgb = np.moveaxis(np.moveaxis(rgb, 1, -1) @ matrix.T + [0.48, 0.46, 0.41], -1, 1)
    else:
        rgb = rgb + 0.5
    made = to_valid_rgb(lambda: raw, decorrelate, squash="clip")()
    np.testing.assert_allclose(made, rgb.clip(0, 1), rtol=0, atol=1e-15)


def test_raw_zero_is_grey_wherever_it_can_change():
    zeros = torch.zeros(1, 4, 2, 2)
    assert to_valid_rgb(lambda: zeros, True, squash="clip")()[0, :, 0, 0].tolist() == pytest.approx(
        [0.48, 0.46, 0.41, 0.5]
    )
    assert (to_valid_rgb(lambda: zeros, squash="clip")() == 0.5).all()
    assert (to_valid_rgb(lambda: zeros, decorrelate=True)() == 0.5).all()


@pytest.mark.parametrize("squash", ["sigmoid", "clip"])
def test_channel_after_the_colours_is_alpha_and_left_alone(squash):
    raw = normal(2, 4, 3, 3)
    rgba = to_valid_rgb(lambda: raw, True, squash=squash)()
    rgb = to_valid_rgb(lambda: raw[:, :3], True, squash=squash)()
    alpha = to_valid_rgb(lambda: raw[:, 3:], False, squash=squash)()
    assert torch.equal(rgba, torch.cat([rgb, alpha], dim=1))


@pytest.mark.parametrize("n_channels", [1, 2, 5])
def test_colours_of_another_number_of_channels(n_channels):
    made = to_valid_rgb(pixel_image((1, n_channels, 4, 4)), decorrelate=True)
    with pytest.raises(
        InputError, match=rf"{n_channels} channels .* matrix for 3: use decorrelate=False"
    ):
        made()


@pytest.mark.parametrize(
    ("value", "gradient", "passes"),
    [
        (0.7, 1.0, True),  # beyond white, the descent step leads back
        (0.7, -1.0, False),
        (-0.7, -1.0, True),
        (-0.7, 1.0, False),
        (0.2, 1.0, True),
        (0.2, -1.0, True),
    ],
)
def test_saturated_pixel_froze_in_lucid(value, gradient, passes):
    raw = torch.full((1, 1, 1, 1), value, requires_grad=True)
    (to_valid_rgb(lambda: raw, squash="clip")() * gradient).sum().backward()
    assert raw.grad.item() == (gradient if passes else 0)


def test_clipped_image_finds_back_from_saturation():
    raw = torch.tensor([3.0, -3.0]).view(1, 1, 1, 2).requires_grad_(True)
    made = to_valid_rgb(lambda: raw, squash="clip")
    optimizer = torch.optim.SGD([raw], lr=0.5)
    for _ in range(50):
        optimizer.zero_grad()
        (made() - 0.4).square().sum().backward()
        optimizer.step()
    assert made().flatten().tolist() == pytest.approx([0.4, 0.4], abs=1e-5)


def test_saturated_pixel_does_not_run_away():
    raw = torch.tensor([3.0]).view(1, 1, 1, 1).requires_grad_(True)
    (-to_valid_rgb(lambda: raw, squash="clip")()).sum().backward()
    assert raw.grad.item() == 0


@pytest.mark.parametrize("squash", ["sigmoid", "clip"])
def test_gradients_are_right(squash):
    raw = 0.1 * normal(2, 4, 3, 2)  # within the range, where clipping is the identity
    made = ValidRGB(lambda: raw, MATRIX, squash=squash)
    assert torch.autograd.gradcheck(lambda _: made(), raw.requires_grad_(True))


@pytest.mark.parametrize("squash", ["sigmoid", "clip"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtype_and_memory_format_are_the_images(squash, dtype):
    raw = normal(2, 3, 4, 5).to(dtype)
    made = to_valid_rgb(lambda: raw, True, squash=squash)()
    assert made.dtype == dtype
    last = raw.to(memory_format=torch.channels_last)
    again = to_valid_rgb(lambda: last, True, squash=squash)()
    # One rounding of the sum over three channels.
    assert (again - made).abs().max() <= 4 * torch.finfo(dtype).eps


def test_constants_are_not_made_on_the_device_in_every_step():
    valid = to_valid_rgb(lambda: None, decorrelate=True)
    assert [name for name, _ in valid.named_buffers()] == ["color_matrix"]
    assert valid.to("meta").color_matrix.device.type == "meta"


def test_squash_that_is_unknown():
    with pytest.raises(InputError, match=r"squash='tanh' is unknown: it is 'sigmoid' or 'clip'"):
        to_valid_rgb(lambda: None, squash="tanh")


@pytest.mark.parametrize(
    ("matrix", "text"),
    [
        ([[1.0, 0.0]], r"C x C and not zero.*\(1, 2\).*measured_color_matrix"),
        (np.zeros((3, 3)), r"not zero"),
        (1.0, r"C x C.*\(\)"),
        ([[math.nan, 0.0], [0.0, 1.0]], r"\[\[nan, 0.0\], \[0.0, 1.0\]\] is not finite"),
    ],
)
def test_colour_matrix_that_cannot_be(matrix, text):
    with pytest.raises(InputError, match=text):
        ValidRGB(lambda: None, matrix)


# And back


@pytest.mark.parametrize("matrix", [None, MATRIX, reference.COLOR_MATRIX])
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 4, 4, 4), (1, 3, 2, 3, 4)])
@pytest.mark.parametrize("squash", ["sigmoid", "clip"])
def test_inverse_gives_the_image_back(squash, shape, matrix):
    given, raw = values(*shape), []
    reached = given.clamp(1 / 512, 511 / 512)
    valid = ValidRGB(lambda: raw[0], matrix, squash=squash)
    raw.append(valid.inverse(given))
    assert raw[0].dtype == torch.float64
    assert (valid() - reached).abs().max() < 1e-12
    raw[0] = valid.inverse(given.float())
    assert raw[0].dtype == torch.float32
    # Through the inverse of the matrix, whose condition number is below ten.
    assert (valid() - reached).abs().max() < 1e-6


def test_inverse_of_a_valid_image_is_the_raw_one():
    raw = normal(2, 3, 4, 4)
    valid = to_valid_rgb(lambda: raw, decorrelate=True)
    np.testing.assert_allclose(valid.inverse(valid()), raw, rtol=0, atol=1e-12)


def test_matrix_of_grey_images_has_no_inverse():
    grey = values(1, 1, 4, 4).expand(1, 3, 4, 4)
    valid = ValidRGB(lambda: None, measured_color_matrix(grey))
    with pytest.raises(InputError, match=r"has no inverse, as that of grey .*decorrelate=False"):
        valid.inverse(grey)


# Colours measured of images


def covariance(images):
    pixels = torch.cat([one.double().flatten(1) for one in images], dim=1).numpy()
    return np.cov(pixels, bias=True)


def assert_is_root(matrix, expected):
    """The matrix is U sqrt(S) of the covariance: columns at right angles, largest first."""
    matrix = np.array(matrix)
    np.testing.assert_allclose(matrix @ matrix.T, expected, rtol=0, atol=1e-14)
    products = matrix.T @ matrix
    np.testing.assert_allclose(products, np.diag(np.diag(products)), rtol=0, atol=1e-14)
    assert (np.diff(np.diag(products)) <= 1e-14).all()
    assert (matrix[0] >= 0).all()


def test_covariance_that_images_were_made_with_is_measured():
    root = np.array([[0.10, 0.04, 0.01], [0.11, 0.0, -0.03], [0.09, -0.05, 0.01]])
    pixels = normal(3, 10, 100, 100).flatten(1).numpy()
    images = torch.from_numpy(0.5 + root @ pixels).view(3, 10, 100, 100).transpose(0, 1)
    measured = np.array(measured_color_matrix(images))
    # 10^5 pixels: covariances have a relative error of about sqrt(2 / 10^5).
    np.testing.assert_allclose(measured @ measured.T, root @ root.T, atol=5 * 0.0045 * 0.017)


def test_matrix_is_the_root_of_numpys_covariance_of_images_of_several_sizes():
    images = [values(3, 4, 6), 0.2 * values(3, 7, 3), 0.5 + 0.1 * values(3, 1, 1)]
    assert_is_root(measured_color_matrix(images), covariance(images))


def test_pixels_count_alike_however_the_images_are_batched():
    images = values(7, 3, 5, 4) * torch.linspace(0.1, 1, 7).view(7, 1, 1, 1).double()
    labelled = [(one, n) for n, one in enumerate(images)]
    expected = np.array(measured_color_matrix(images))
    for batched in (
        labelled,
        [images[:3], images[3:]],
        DataLoader(labelled, batch_size=3),
        iter(images),
        [images],
    ):
        np.testing.assert_allclose(measured_color_matrix(batched), expected, rtol=0, atol=1e-14)


def test_channels_of_a_batch_were_mixed_up_by_captum():
    # Reshaped without moving the channels to the end, red, green and blue would look alike.
    batch = torch.stack([values(6, 6), torch.zeros(6, 6), torch.zeros(6, 6)]).unsqueeze(0)
    matrix = np.array(measured_color_matrix([batch]))
    assert matrix[0, 0] > 0.1
    assert np.abs(matrix[1:]).max() < 1e-12


def test_brightness_from_image_to_image_was_left_out_by_captum():
    images = [torch.full((1, 4, 4), level) for level in (0.0, 0.5, 1.0)]
    assert measured_color_matrix(images)[0][0] == pytest.approx(math.sqrt(1 / 6))


def test_large_means_do_not_spoil_small_variances():
    images = [1e6 + values(1, 8, 8), 1e6 + values(1, 8, 8)]
    # Double precision resolves numbers of a million to 1e-10.
    expected = values(8, 8).std(correction=0).item()
    assert measured_color_matrix(images)[0][0] == pytest.approx(expected, abs=1e-9)


def test_bytes_are_taken_as_fractions():
    bytes_ = (255 * values(3, 5, 5)).round().to(torch.uint8)
    assert measured_color_matrix([bytes_]) == measured_color_matrix([bytes_.double() / 255])


def test_measured_matrix_is_what_an_image_takes():
    matrix = measured_color_matrix(SynthScenes(28, size=16))
    made = image(6, sd=1.0, fft=False, color_matrix=matrix).double()
    raw = made.trainable()[0].detach().numpy()
    np.testing.assert_allclose(
        made().detach(), reference.valid_rgb(raw, np.array(matrix)), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(
    ("images", "text"),
    [
        ([], "no images to measure"),
        ([torch.zeros(4, 4)], r"tensors \(C, H, W\) or \(B, C, H, W\).*Got \(4, 4\)"),
        ([("a.png", 3)], "Got str"),
        ([np.zeros((3, 4, 4))], "Got ndarray"),
        ([torch.zeros(3, 0, 4)], r"Got \(3, 0, 4\)"),
        ([torch.zeros(3, 2, 2), torch.zeros(1, 2, 2)], "differ in channels: 3, then 1"),
        ([torch.full((3, 2, 2), math.nan)], "NaN or infinite"),
    ],
)
def test_images_that_cannot_be_measured(images, text):
    with pytest.raises(InputError, match=text):
        measured_color_matrix(images)


def test_tensor_is_no_unconstrained_image():
    with pytest.raises(InputError, match="one such as param.fft_image.*, not a Tensor"):
        to_valid_rgb(torch.zeros(1, 3, 8, 8))
