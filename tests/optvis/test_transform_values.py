"""Noise, blur, colour, gradients and transparency: each with a given draw, and its draws."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import reference_transforms as twins
import torch
from reference import doubles, seeded

from lucent.errors import InputError
from lucent.optvis._spectrum import correlated, natural_noise
from lucent.optvis.transform import (
    collapse_alpha_random,
    color_jitter,
    color_offset,
    compose,
    contrast,
    gaussian_blur,
    hue,
    noise,
    normalize_gradient,
    per_image,
    saturation,
)

DRAWS = 4000
PICTURE, VOLUME = (2, 3, 7, 8), (2, 3, 4, 5, 6)


def draws_of(made, shape=(1, 3, 4, 4), rows=DRAWS):
    return made.sample(doubles(*shape), seeded(1), rows).numpy()


def row(*values):
    return torch.tensor([values], dtype=torch.float64)


def assert_moments(values, mean, sd, kurtosis):
    """Mean, deviation and fourth moment within five standard deviations of theirs."""
    n = values.size
    assert abs(values.mean() - mean) < 5 * sd / np.sqrt(n)
    assert abs(values.var() - sd**2) < 5 * sd**2 * np.sqrt((kurtosis - 1) / n)
    # The eighth moments of what is drawn here lie below 105, that of the normal distribution.
    fourth = ((values - mean) ** 4).mean() / sd**4
    assert abs(fourth - kurtosis) < 5 * np.sqrt((105 - kurtosis**2) / n)


def assert_uniform(values, low, high):
    assert values.min() >= low
    assert values.max() <= high
    assert_moments(values, (low + high) / 2, (high - low) / np.sqrt(12), 9 / 5)


def assert_normal(values, sd):
    assert_moments(values, 0, sd, 3)


#: Of a normal distribution cut off at two standard deviations: deviation and kurtosis.
TRUNCATED = 0.87963, 2.37


def assert_truncated_normal(values, mean, sd):
    assert abs(values - mean).max() <= 2 * sd + 1e-12
    assert_moments(values, mean, sd * TRUNCATED[0], TRUNCATED[1])


def test_moments_of_a_truncated_normal_distribution():
    x = (np.arange(400_000) + 0.5) / 100_000 - 2
    density = np.exp(-(x**2) / 2) / np.exp(-(x**2) / 2).sum()
    sd = np.sqrt((density * x**2).sum())
    assert (round(sd, 5), round((density * x**4).sum() / sd**4, 2)) == TRUNCATED


# Noise


def test_noise_is_added():
    image, draw = doubles(2, 3, 4, 5), doubles(1, 3, 4, 5)
    np.testing.assert_array_equal(noise().apply(image, draw), image.numpy() + draw.numpy())


def test_noise_is_normal_or_uniform_or_both():
    assert_normal(draws_of(noise(0.3, uniform=0)), 0.3)
    assert_uniform(draws_of(noise(0, uniform=0.3)), -0.3, 0.3)


def test_noise_has_half_its_deviation_as_uniform_range_as_horama_faccent_and_xplique():
    both = noise(0.08)
    assert both == noise(0.08, uniform=0.04)
    assert both == noise()
    assert draws_of(both).var() == pytest.approx(0.08**2 + 0.08**2 / 12, rel=0.02)


def test_noise_differs_from_pixel_to_pixel_and_from_channel_to_channel():
    draw = noise().sample(doubles(4, 3, 5, 6), seeded(), 2)
    assert draw.shape == (2, 3, 5, 6)
    assert draw.unique().numel() == draw.numel()


def test_noise_of_negative_width():
    with pytest.raises(InputError, match="noise got -0.1: widths have to be 0 or more"):
        noise(-0.1, uniform=0)
    with pytest.raises(InputError, match="noise got -0.5"):
        noise(0.1, uniform=-0.5)


# Blur


@pytest.mark.parametrize("sigma", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("shape", [PICTURE, VOLUME])
def test_gaussian_blur_equals_its_twin(shape, sigma):
    image = doubles(*shape)
    blurred = gaussian_blur(sigma)(image)
    np.testing.assert_allclose(
        blurred, twins.gaussian_blur(image.numpy(), sigma), rtol=0, atol=1e-13
    )


def test_gaussian_blur_leaves_a_constant_image_also_at_its_border():
    image = torch.full((1, 3, 9, 12), 0.7, dtype=torch.float64)
    np.testing.assert_allclose(gaussian_blur(2.5)(image), image, rtol=0, atol=1e-14)


def test_gaussian_blur_draws_its_width_uniformly():
    assert_uniform(draws_of(gaussian_blur((1, 3))), 1, 3)
    assert (draws_of(gaussian_blur(2)) == 2).all()


@pytest.mark.parametrize("sigma", [0, -1, (0, 1), (2, 1), (1, 2, 3), float("nan")])
def test_gaussian_blur_of_no_width(sigma):
    with pytest.raises(InputError, match="gaussian_blur got"):
        gaussian_blur(sigma)


# Colour


@pytest.mark.parametrize("shape", [PICTURE, VOLUME])
def test_colour_transforms_equal_their_twins(shape):
    image = doubles(*shape)
    numbers = image.numpy()
    mean, log_std = np.array([0.1, -0.7, 0.4]), np.array([-0.5, 0.2, 0.9])
    for made, draw, expected in (
        (contrast(), row(0.7), twins.contrast(numbers, 0.7)),
        (hue(90), row(40), twins.chroma(numbers, np.exp(1j * np.radians(40)))),
        (saturation(0.9), row(1.6), twins.chroma(numbers, 1.6)),
        (
            color_jitter(),
            torch.tensor(np.stack([mean, log_std])[None]),
            twins.color_jitter(numbers, mean, log_std),
        ),
        (color_offset(), row(*mean), twins.color_jitter(numbers, -mean, 0 * mean)),
    ):
        np.testing.assert_allclose(made.apply(image, draw), expected, rtol=0, atol=1e-13)


def test_hue_and_saturation_leave_brightness_grey_and_alpha():
    image = doubles(2, 4, 5, 6)
    luma = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).view(3, 1, 1)
    grey = doubles(1, 1, 4, 4).expand(1, 3, 4, 4)
    for made in (hue(120), saturation(0.9)):
        changed = made(image, seeded())
        assert (changed[:, :3] - image[:, :3]).abs().max() > 0.01
        assert torch.equal(changed[:, 3], image[:, 3])
        difference = ((changed - image)[:, :3] * luma).sum(dim=1)
        np.testing.assert_allclose(difference, 0, atol=1e-14)
        np.testing.assert_allclose(made(grey, seeded()), grey, rtol=0, atol=1e-14)


def test_saturation_of_zero_is_grey():
    colourless = saturation(1).apply(doubles(1, 3, 4, 4), row(0.0))
    np.testing.assert_allclose(colourless[:, 0], colourless[:, 2], rtol=0, atol=1e-14)


def test_contrast_keeps_the_mean_of_each_channel():
    image = doubles(2, 3, 6, 7)
    changed = contrast(2, 2)(image)
    np.testing.assert_allclose(changed.mean((2, 3)), image.mean((2, 3)), rtol=0, atol=1e-14)
    np.testing.assert_allclose(changed.std((2, 3)), 2 * image.std((2, 3)), rtol=0, atol=1e-14)


def test_colour_transforms_draw_from_their_distributions():
    assert_uniform(draws_of(contrast()), 0.8, 1.2)
    assert_truncated_normal(draws_of(hue(30)), 0, 15)
    assert_truncated_normal(draws_of(saturation(0.5)), 1, 0.25)
    jitter = draws_of(color_jitter(0.5, 2))
    assert jitter.shape == (DRAWS, 2, 3)
    assert_uniform(jitter[:, 0], -0.5, 0.5)
    assert_uniform(jitter[:, 1], -2, 2)
    offset = draws_of(color_offset(0.25))
    assert offset.shape == (DRAWS, 3)
    assert_normal(offset, 0.25)
    for draws in (jitter[:, 0], jitter[:, 1], offset):
        assert abs(np.corrcoef(draws.T) - np.eye(3)).max() < 5 / np.sqrt(DRAWS)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: contrast(1.2, 0.8), r"contrast\(1.2, 0.8\): .* the lower one first"),
        (lambda: contrast(-1, 0.8), r"contrast\(-1, 0.8\): factors have to be 0 or more"),
        (lambda: hue(-3), "hue got -3: widths of distributions have to be 0 or more"),
        (lambda: saturation(-3), "saturation got -3"),
        (lambda: color_jitter(log_std=-3), "color_jitter got -3"),
        (lambda: color_offset(float("nan")), r"color_offset got \[nan\]"),
    ],
)
def test_colour_transforms_of_wrong_arguments(make, text):
    with pytest.raises(InputError, match=text):
        make()


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("made", [hue(30), saturation(0.3)])
def test_hue_and_saturation_of_what_has_no_colours(made, channels):
    with pytest.raises(InputError, match=f"needs images of 3 channels.*not of {channels}: leave"):
        made(doubles(1, channels, 3, 3))


# Gradients


@pytest.mark.parametrize(
    ("scales", "lengths"), [(None, [1, 1, 1]), (0.5, [0.5] * 3), ([1, 2, 3], [1, 2, 3])]
)
@pytest.mark.parametrize("shape", [(3, 2, 4, 5), (3, 2, 2, 3, 4)])
def test_normalize_gradient_gives_the_stated_gradient(shape, scales, lengths):
    image = doubles(*shape).requires_grad_()
    made = normalize_gradient(scales)
    weights = torch.randn(shape, dtype=torch.float64, generator=seeded(5))
    same = made(image)
    assert torch.equal(same, image)
    (same * weights).sum().backward()
    g = weights.numpy()
    lengths_now = np.sqrt((g**2).sum(axis=tuple(range(1, g.ndim)), keepdims=True))
    expected = g / lengths_now * np.reshape(lengths, [-1] + [1] * (g.ndim - 1))
    np.testing.assert_allclose(image.grad, expected, rtol=1e-14)


def test_normalize_gradient_of_zero_is_zero_and_not_nan():
    image = doubles(2, 1, 3, 3).requires_grad_()
    normalize_gradient(1e30)(image)[0].sum().backward()
    assert image.grad[1].eq(0).all()
    assert image.grad[0].norm().item() == pytest.approx(1e30)


def test_normalize_gradient_of_half_precision_does_not_overflow():
    image = torch.zeros(1, 1, 8, 8, dtype=torch.float16, requires_grad=True)
    (normalize_gradient()(image) * 60000).sum().backward()
    np.testing.assert_allclose(image.grad, 1 / 8)


def test_normalize_gradient_acts_where_it_stands():
    image = doubles(1, 1, 2, 2).requires_grad_()
    compose([lambda image: 3 * image, normalize_gradient()])(image).sum().backward()
    assert image.grad.norm().item() == pytest.approx(3, rel=1e-14)


def test_normalize_gradient_of_an_image_that_needs_none():
    image = doubles(1, 1, 2, 2)
    assert torch.equal(normalize_gradient()(image), image)


def test_normalize_gradient_of_another_batch():
    with pytest.raises(InputError, match="3 lengths for a batch of 2: give one for each image"):
        normalize_gradient([1, 2, 3])(doubles(2, 1, 2, 2))
    with pytest.raises(InputError, match="got the length -1.0"):
        normalize_gradient([1, -1])


# Transparency


def test_collapse_alpha_random_equals_its_twin():
    image, background = doubles(2, 4, 5, 6), doubles(1, 3, 5, 6)
    collapsed = collapse_alpha_random().apply(image, background)
    expected = twins.collapsed(image.numpy(), background.numpy())
    np.testing.assert_allclose(collapsed, expected, rtol=0, atol=1e-15)


def test_collapse_alpha_random_shows_what_is_opaque_and_only_that():
    image = doubles(1, 4, 8, 8)
    image[:, 3], image[:, 3, 4:] = 1, 0
    seen, again = (collapse_alpha_random()(image, seeded(seed)) for seed in (0, 1))
    assert torch.equal(seen[..., :4, :], image[:, :3, :4])
    assert (seen - again)[..., 4:, :].abs().min() > 0
    assert seen.shape == (1, 3, 8, 8)


def test_collapse_alpha_random_puts_lucids_image_sample_behind():
    made = collapse_alpha_random()
    background = made.sample(doubles(1, 4, 128, 128), seeded(), 48)
    # Lucid's image_sample at sd=0.5 and 128 pixels: mean 0.505, deviation 0.13 over one batch.
    assert background.mean().item() == pytest.approx(0.5, abs=0.01)
    assert background.std().item() == pytest.approx(0.13, abs=0.005)
    assert background.unique(dim=0).shape[0] == 48
    assert collapse_alpha_random(0).sample(doubles(1, 4, 4, 4), None).eq(0.5).all()


def test_collapse_alpha_random_of_each_image_has_a_background_of_its_own():
    clear = torch.zeros(2, 4, 8, 8)
    first, second = collapse_alpha_random()(clear, seeded())
    assert torch.equal(first, second)
    first, second = per_image(collapse_alpha_random())(clear, seeded())
    assert not torch.equal(first, second)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_collapse_alpha_random_of_what_is_no_rgba(channels):
    with pytest.raises(InputError, match=f"4 channels, RGB and alpha, not of {channels}: .*alpha"):
        collapse_alpha_random()(doubles(1, channels, 4, 4))


def test_collapse_alpha_random_of_negative_contrast():
    with pytest.raises(InputError, match="sd=-1: it has to be 0 or more"):
        collapse_alpha_random(-1)


# Noise with a natural spectrum


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (6, 11)])
@pytest.mark.parametrize("decay_power", [0.0, 1.0, 1.5])
def test_natural_noise_equals_its_twin(size, decay_power):
    like = doubles(1)
    made = natural_noise(
        (2, 3, *size), sd=0.5, decay_power=decay_power, generator=seeded(), like=like
    )
    parts = torch.randn(2, 3, size[0], size[1] // 2 + 1, 2, dtype=like.dtype, generator=seeded())
    expected = twins.natural(0.5 * parts.numpy(), size, decay_power)
    np.testing.assert_allclose(made, expected, rtol=1e-11, atol=1e-12)


def test_natural_noise_has_the_power_of_the_fourier_parametrization():
    made = natural_noise((400, 3, 16, 16), sd=0.01, generator=seeded(), like=doubles(1))
    shares = reference.fft_variances(16)
    # The mean square is a sum of squares of normal numbers with these shares.
    sd = np.sqrt(2 * (shares**2).sum() / 1200)
    assert made.square().mean().item() == pytest.approx(shares.sum(), abs=5 * sd)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_natural_noise_has_the_type_asked_for(dtype):
    made = natural_noise((1, 4, 5), sd=1, like=torch.empty(0, dtype=dtype))
    assert (made.shape, made.dtype) == ((1, 4, 5), dtype)


def test_correlated_colours_equal_their_twin():
    image = doubles(2, 3, 4, 5)
    made = correlated(image, reference.COLOR_MATRIX)
    expected = np.einsum("ij,bjhw->bihw", reference.color_matrix(), image.numpy())
    np.testing.assert_allclose(made, expected, rtol=1e-13)
