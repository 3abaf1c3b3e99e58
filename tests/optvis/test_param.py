"""Parametrizations: they equal their twins, start as they should, and can describe a picture."""

from __future__ import annotations

import copy
import math
import re

import numpy as np
import pytest
import reference
import reference_images
import torch

from lucent.errors import InputError
from lucent.optvis import param
from lucent.optvis._spectrum import contrast_gain
from lucent.optvis.param import FunctionImage, Image, as_image

SIZES = [(1, 1), (8, 8), (6, 9), (9, 6), (7, 7), (1, 5), (5, 1)]


def doubles(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


# Twins


@pytest.mark.parametrize("decay_power", [1.0, 0.85])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_fft_image_equals_its_twin(height, width, decay_power):
    image = param.fft_image((2, 3, height, width), decay_power=decay_power).double()
    (coefficients,) = image.trainable()
    assert coefficients.shape == (2, 3, height, width // 2 + 1, 2)
    with torch.no_grad():
        coefficients.copy_(doubles(*coefficients.shape))
    expected = reference.fft_image(coefficients.detach().numpy(), (height, width), decay_power)
    np.testing.assert_allclose(image().detach(), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("decay_power", [1.0, 1.5])
@pytest.mark.parametrize("size", [(4, 4, 4), (3, 4, 5), (5, 1, 2), (1, 6, 6)])
def test_fourier_volume_equals_its_twin(size, decay_power):
    image = param.fft_image((2, 1, *size), decay_power=decay_power).double()
    (coefficients,) = image.trainable()
    assert coefficients.shape == (2, 1, *size[:2], size[2] // 2 + 1, 2)
    with torch.no_grad():
        coefficients.copy_(doubles(*coefficients.shape))
    expected = reference_images.fft_image(coefficients.detach().numpy(), size, decay_power)
    np.testing.assert_allclose(image().detach(), expected, rtol=0, atol=1e-10)


def test_flat_volume_is_a_picture():
    volume, picture = (param.fft_image(shape).double() for shape in [(1, 3, 1, 6, 7), (1, 3, 6, 7)])
    with torch.no_grad():
        picture.trainable()[0].copy_(volume.trainable()[0][:, :, 0])
    torch.testing.assert_close(volume()[:, :, 0], picture(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 3, 7), (2, 3, 2, 3, 4)])
def test_colours_equal_their_twin(shape):
    raw = doubles(*shape)
    np.testing.assert_allclose(
        param.to_valid_rgb(lambda: raw, decorrelate=True)(),
        reference.valid_rgb(raw.numpy()),
        rtol=0,
        atol=1e-12,
    )
    np.testing.assert_allclose(
        param.to_valid_rgb(lambda: raw)(),
        reference.valid_rgb(raw.numpy(), None),
        rtol=0,
        atol=1e-12,
    )


def test_colour_matrix_can_be_chosen():
    matrix = [[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
    image = param.image(6, 4, 1.0, fft=False, color_matrix=matrix).double()
    (pixels,) = image.trainable()
    expected = reference.valid_rgb(pixels.detach().numpy(), np.array(matrix))
    np.testing.assert_allclose(image().detach(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("fft", [True, False])
def test_gradients_are_right(fft):
    image = param.image(5, 4, 1.0, fft=fft).double()
    (parameters,) = image.trainable()
    assert torch.autograd.gradcheck(lambda _: image(), parameters)


@pytest.mark.parametrize("width", [1, 2, 5, 8])
def test_every_frequency_column_reaches_the_image(width):
    image = param.fft_image((1, 1, 6, width)).double()
    (image() * doubles(1, 1, 6, width)).sum().backward()
    assert image.trainable()[0].grad.abs().sum(dim=(0, 1, 2, 4)).min() > 1e-6


# Start


def test_raw_fft_image_starts_with_the_expected_mean_square():
    image = param.fft_image((32, 4, 64, 64))
    shares = reference.fft_variances(64)
    deviation = math.sqrt(2 * (shares**2).sum() / (32 * 4))
    assert abs(image().square().mean().item() - shares.sum()) < 5 * deviation


@pytest.mark.parametrize("n", [64, 128])
def test_image_starts_near_grey_with_the_expected_spread(n):
    batch = 16
    image = param.image(n, batch=batch)().detach().double()
    shares = reference.fft_variances(n)
    # In the basis of the eigenvectors of M'M, the three raw channels are independent.
    gains = np.linalg.eigvalsh(reference.color_matrix().T @ reference.color_matrix()) / 3
    expected = gains.sum() * shares.sum()
    deviation = math.sqrt(2 * (gains**2).sum() * (shares**2).sum() / batch)
    assert abs(image.logit().square().mean().item() - expected) < 5 * deviation
    # The mean of a raw channel is its lowest coefficient, sd n^2 / (4 n^2); a sigmoid's slope is
    # 1/4 at the most.
    weights = reference.color_matrix().mean(axis=0)
    deviation = 0.25 * np.linalg.norm(weights) * 0.01 / 4 / math.sqrt(batch)
    assert abs(image.mean().item() - 0.5) < 5 * deviation


@pytest.mark.parametrize(
    ("n", "std", "slope"),
    [
        (64, 0.0026, 1 / 4),
        (128, 0.0028, 1 / 4),
        (224, 0.0029, 1 / 4),
        (512, 0.0031, 1 / 4),
        (128, 0.0112, 1),
    ],
)
def test_spread_that_lucid_gives_is_one_of_ours(n, std, slope):
    gains = np.linalg.eigvalsh(reference.color_matrix().T @ reference.color_matrix()) / 3
    shares = reference.fft_variances(n)
    # Lucid's figures are of one image; they lie within twice the deviation of one of ours.
    deviation = math.sqrt(2 * (gains**2).sum() * (shares**2).sum())
    assert abs((std / slope) ** 2 - gains.sum() * shares.sum()) < 2 * deviation


@pytest.mark.parametrize("sd", [None, 0.3])
@pytest.mark.parametrize("make", [param.pixel_image, param.fft_image])
def test_start_values_are_normal_with_the_given_deviation(make, sd):
    (values,) = make((4, 3, 32, 32), sd).trainable()
    n, expected = values.numel(), 0.01 if sd is None else sd
    # The relative error of a standard deviation of n normal draws is 1 / sqrt(2 n).
    assert values.std().item() == pytest.approx(expected, rel=5 / math.sqrt(2 * n))
    assert abs(values.mean().item()) < 5 * expected / math.sqrt(n)
    assert values.abs().max() > 3 * expected


@pytest.mark.parametrize("fft", [True, False])
def test_no_deviation_is_no_noise(fft):
    assert torch.equal(param.image(8, sd=0, fft=fft)(), torch.full((1, 3, 8, 8), 0.5))


@pytest.mark.parametrize("fft", [True, False])
def test_images_of_a_batch_differ(fft):
    images = param.image(16, batch=4, fft=fft)()
    assert len({tuple(image.flatten().tolist()) for image in images}) == 4


@pytest.mark.parametrize("fft", [True, False])
def test_start_repeats_with_the_global_seed(fft):
    torch.manual_seed(5)
    first = param.image(8, fft=fft)()
    torch.manual_seed(5)
    assert torch.equal(param.image(8, fft=fft)(), first)
    assert not torch.equal(param.image(8, fft=fft)(), first)


# Arguments


def test_positional_arguments_have_torch_lucents_order():
    image = param.image(6, 4, 0.5, 2, False, False, 10)
    assert image().shape == (2, 10, 4, 6)
    (pixels,) = image.trainable()
    assert pixels.std() > 0.4
    assert torch.equal(image(), pixels.sigmoid())


@pytest.mark.parametrize("fft", [True, False])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_width_comes_before_height(height, width, fft):
    assert param.image(width, height, fft=fft)().shape == (1, 3, height, width)


@pytest.mark.parametrize("channels", [1, 2, 4, 10])
def test_other_numbers_of_channels_are_independent(channels):
    image = param.image(8, sd=1.0, fft=False, channels=channels)
    assert torch.equal(image(), image.trainable()[0].sigmoid())


def test_three_channels_are_decorrelated_unless_told_otherwise():
    made = []
    for arguments in ({}, {"channels": 3}, {"decorrelate": False}):
        torch.manual_seed(0)
        made.append(param.image(8, sd=1.0, fft=False, **arguments))
    assert torch.equal(made[0](), made[1]())
    assert torch.equal(made[2](), made[2].trainable()[0].sigmoid())
    assert not torch.equal(made[0](), made[2]())


def test_decay_power_reaches_the_spectrum():
    image = param.image(8, 6, 1.0, decay_power=1.5).double()
    (coefficients,) = image.trainable()
    # At the contrast of 1/f, with the product of both factors kept in float32; fft_image takes the
    # power as Lucid does.
    raw = contrast_gain((6, 8), 1.5) * reference.fft_image(
        coefficients.detach().numpy(), (6, 8), 1.5
    )
    np.testing.assert_allclose(image().detach(), reference.valid_rgb(raw), rtol=0, atol=1e-7)
    plain = param.fft_image((1, 3, 6, 8), 1.0, 1.5).double()
    (coefficients,) = plain.trainable()
    expected = reference.fft_image(coefficients.detach().numpy(), (6, 8), 1.5)
    np.testing.assert_allclose(plain().detach(), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("sd", [1.0, 1e4])
def test_values_stay_in_the_unit_interval(sd):
    image = param.image(16, sd=sd)()
    assert image.min() >= 0
    assert image.max() <= 1


def test_pixel_image_has_any_shape_and_no_bounds():
    image = param.pixel_image((1, 1), sd=100.0)
    assert image().shape == (1, 1)
    assert image() is image.trainable()[0]


@pytest.mark.parametrize("kind", [{}, {"fft": False}, {"pyramid": 2}])
def test_volumes_have_a_depth(kind):
    volume = param.image(6, 5, batch=2, depth=4, **kind)
    assert volume().shape == (2, 3, 4, 5, 6)
    assert (volume() - 0.5).abs().max() < 0.05


@pytest.mark.parametrize("decay_power", [1.0, 1.5])
def test_planes_through_a_volume_fall_as_pictures_do(decay_power):
    volume, picture = (
        param.image(64, depth=depth, decay_power=decay_power).get_submodule("image_f").scale
        for depth in (64, None)
    )
    # Coefficients across the plane add up in it, independently.
    plane = volume.double().square().sum(0)[0]
    k = np.arange(3, 11)
    slopes = [
        np.polyfit(np.log(k), np.log(power[k].numpy()), 1)[0]
        for power in (plane, picture.double()[0].square())
    ]
    assert slopes[1] == pytest.approx(-2 * decay_power, abs=1e-6)
    # The highest frequencies across it are missing, which makes it a little steeper.
    assert slopes[0] == pytest.approx(-2 * decay_power, abs=0.15)


def test_pyramid_replaces_fourier_and_pixels():
    image = param.image(16, pyramid=3)
    assert [tensor.shape[-1] for tensor in image.trainable()] == [16, 8, 4]


@pytest.mark.parametrize(
    "make",
    [
        lambda device: param.image(8, device=device),
        lambda device: param.image(8, None, None, None, True, True, None, device),
        lambda device: param.pixel_image((1, 3, 8, 8), None, device),
        lambda device: param.fft_image((1, 3, 8, 8), None, 1, device),
        lambda device: param.lowres_tensor((1, 3, 8, 8), (1, 3, 4, 4), None, 0.01, device),
    ],
)
def test_device_can_be_given_as_to_torch_lucents_master(make):
    assert make("meta").trainable()[0].device.type == "meta"
    assert make(None).trainable()[0].device.type == "cpu"


@pytest.mark.parametrize(
    "arguments",
    [{"w": 0}, {"w": 8, "h": 0}, {"w": 8.5}, {"w": 8, "batch": 0}, {"w": -8}, {"w": 8, "depth": 0}],
)
def test_size_that_cannot_be(arguments):
    with pytest.raises(InputError, match="has to consist of whole numbers of at least 1"):
        param.image(**arguments)


@pytest.mark.parametrize("value", [None, math.nan, math.inf, "8"])
def test_size_that_is_no_number(value):
    with pytest.raises(InputError, match=rf"{value}.* whole numbers of at least 1"):
        param.image(value)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_power_that_cannot_be(value):
    for make in (
        lambda: param.image(8, decay_power=value),
        lambda: param.fft_image((1, 1, 2, 2), 1, value),
    ):
        with pytest.raises(InputError, match=f"decay_power={value} has to be a finite number"):
            make()


@pytest.mark.parametrize("fft", [True, False])
@pytest.mark.parametrize(
    ("sd", "text"), [(-1, "sd=-1 is negative"), (math.nan, "nan is not"), (math.inf, "inf is not")]
)
def test_deviation_that_cannot_be(fft, sd, text):
    with pytest.raises(InputError, match=text):
        param.image(8, sd=sd, fft=fft)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 2, 2, 2, 2)])
def test_fft_image_of_another_rank(shape):
    text = rf"needs a shape \(B, C, H, W\), or .* volumes, not {re.escape(str(shape))}"
    with pytest.raises(InputError, match=text):
        param.fft_image(shape)


def test_colours_of_another_number_of_channels():
    image = param.to_valid_rgb(param.pixel_image((1, 5, 8, 8)), decorrelate=True)
    with pytest.raises(InputError, match=r"5 channels .* matrix for 3: use decorrelate=False"):
        image()


# Use


def test_image_unpacks_into_parameters_and_function():
    params, image_f = param.image(8)
    assert isinstance(params, list)
    assert all(tensor.is_leaf and tensor.requires_grad for tensor in params)
    before = image_f().detach()
    optimizer = torch.optim.Adam(params, lr=0.1)
    image_f().sum().backward()
    optimizer.step()
    assert image_f().mean() < before.mean()


def test_parameters_can_be_joined_as_in_torch_lucent():
    params, fft = param.fft_image((2, 3, 8, 8))
    more, pixels = param.pixel_image((1, 3, 8, 8))
    params += more
    image = as_image((params, param.to_valid_rgb(lambda: fft() + pixels(), decorrelate=True)))
    assert len(image.trainable()) == 2
    assert len(fft.trainable()) == 1
    image().square().sum().backward()
    assert all(tensor.grad.any() for tensor in image.trainable())


def test_list_of_parameters_is_the_callers_own():
    image = as_image(([torch.zeros(1, requires_grad=True)], lambda: None))
    params, _ = image
    params += [torch.zeros(1, requires_grad=True)]
    assert len(image.trainable()) == 1


@pytest.mark.parametrize("fft", [True, False])
def test_image_moves_with_its_model(fft):
    image = param.image(8, fft=fft)
    before = image().detach()
    image = image.to(torch.float64)
    assert image().dtype == torch.float64
    # Single precision resolves values near 0.5 to 2^-24; a few operations came before.
    assert (image() - before).abs().max() < 8 * 2**-24
    meta = image.to("meta")
    assert meta().device.type == "meta"


def test_copies_and_states_hold_the_parameters_and_nothing_else():
    image = param.image(8)
    again = copy.deepcopy(image)
    assert torch.equal(again(), image())
    with torch.no_grad():
        again.trainable()[0].add_(1)
    assert not torch.equal(again(), image())
    assert [tuple(value.shape) for value in image.state_dict().values()] == [(1, 3, 8, 5, 2)]


def test_function_image_asks_its_function_every_time():
    leaf, calls = torch.zeros(1, 3, 2, 2, requires_grad=True), []

    def image_f():
        calls.append(None)
        return leaf + len(calls)

    image = as_image([[leaf], image_f])
    assert isinstance(image, FunctionImage)
    assert (image().mean(), image().mean()) == (1, 2)
    assert image.trainable()[0] is leaf
    params, function = image
    assert params[0] is leaf
    assert function().mean() == 3


def test_function_image_takes_a_generator_of_parameters():
    net = torch.nn.Linear(2, 2)
    image = as_image((net.parameters(), lambda: net.weight.view(1, 1, 2, 2)))
    assert [id(tensor) for tensor in image.trainable()] == [id(net.weight), id(net.bias)]


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (torch.zeros(2, requires_grad=True) * 2, r"tensor .*\(2,\) with requires_grad=True"),
        (torch.zeros(2), r"tensor .*\(2,\) with requires_grad=False"),
        (np.zeros(2), "ndarray"),
    ],
)
def test_parameter_that_cannot_be_optimised(tensor, text):
    with pytest.raises(InputError, match=f"leaf tensors that require gradients. Got a {text};"):
        as_image(([tensor], lambda: None))


def test_image_without_parameters():
    with pytest.raises(InputError, match="nothing to optimise"):
        as_image(([], lambda: None))


@pytest.mark.parametrize(
    ("thing", "kind"),
    [
        (None, "a NoneType"),
        (torch.zeros(1, 3, 4, 4), r"a tensor of shape \(1, 3, 4, 4\) with requires_grad=False"),
        (([], lambda: None, 3), "a tuple"),
        (([], torch.zeros(1)), "a tuple"),
    ],
)
def test_thing_that_is_no_image(thing, kind):
    with pytest.raises(InputError, match=rf"param_f has to return .* It returned {kind}"):
        as_image(thing)


def test_image_stays_itself():
    image = param.image(8)
    assert isinstance(image, Image)
    assert as_image(image) is image


@pytest.mark.parametrize(
    ("wrong", "text"), [({"alpha": True}, "alpha=True"), ({"channels": 2}, "channels=2")]
)
def test_grey_images_have_neither_opacity_nor_other_channels(wrong, text):
    text = rf"three equal channels: leave {text} out, or take param\.image\(8, {text}\)"
    with pytest.raises(InputError, match=text):
        param.grayscale_image_rgb(8, **wrong)
