"""MACO: magnitudes that stay as given, phases that are optimised, spectra measured of images."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference
import torch
from torch.utils.data import DataLoader

from lucent.errors import InputError, WeightsError
from lucent.modelzoo.synthnet import SPEC, SynthScenes, synthnet
from lucent.optvis.param.maco import MacoImage, maco
from lucent.optvis.param.measured import measured_spectrum
from lucent.optvis.render import render_vis

SIZES = [(8, 8), (7, 7), (6, 9), (9, 6), (1, 5), (5, 1), (2, 2), (12, 4)]


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def noise_spectrum(*shape, seed=0):
    """Magnitudes of an image of noise, and thus possible ones."""
    return np.abs(np.fft.rfft2(np.random.default_rng(seed).normal(size=shape)))


def without_mean(spectrum):
    return np.where(np.indices(spectrum.shape)[-2:].any(axis=0), spectrum, 0)


# Magnitudes


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_image_has_exactly_the_given_magnitudes_up_to_one_factor(height, width):
    given = noise_spectrum(3, height, width)
    image = MacoImage((2, 3, height, width), given).double()
    magnitudes = np.abs(np.fft.rfft2(image().detach().numpy()))
    expected = without_mean(given)
    factor = np.linalg.norm(magnitudes[0]) / np.linalg.norm(expected)
    # The magnitudes are kept in single precision.
    np.testing.assert_allclose(
        magnitudes, factor * expected[None].repeat(2, axis=0), rtol=1e-6, atol=1e-12
    )


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_image_is_standardised_whatever_its_phases_are(height, width):
    image = MacoImage((2, 3, height, width), noise_spectrum(3, height, width)).double()
    with torch.no_grad():
        image.phase.mul_(torch.rand_like(image.phase)).add_(0.3)
    made = image().detach()
    assert made.mean(dim=(2, 3)).abs().max() < 1e-12
    for one in made:
        assert one.std(correction=0).item() == pytest.approx(1, abs=1e-6)


def test_real_images_have_opposite_phases_at_opposite_frequencies_which_peers_leave_out():
    # Phases of those columns that are not odd lose magnitude: up to all of it.
    given = np.zeros((1, 8, 5))
    given[:, [1, 7], [0, 0]] = given[:, [3, 5], [4, 4]] = 1.0
    magnitudes = np.abs(np.fft.rfft2(MacoImage((50, 1, 8, 8), given).double()().detach().numpy()))
    present = magnitudes[:, given > 0]
    np.testing.assert_allclose(present, np.full_like(present, present[0, 0]), rtol=1e-6)


def test_impossible_magnitudes_are_brought_to_their_mean():
    given = np.ones((1, 4, 3))
    given[0, 1, 0], given[0, 3, 0] = 1.0, 3.0
    made = MacoImage((1, 1, 4, 4), given).double()().detach()
    assert made.std(correction=0).item() == pytest.approx(1, abs=1e-6)
    magnitudes = np.abs(np.fft.rfft2(made.numpy()))
    assert magnitudes[0, 0, 1, 0] / magnitudes[0, 0, 1, 1] == pytest.approx(2)
    assert magnitudes[0, 0, 3, 0] / magnitudes[0, 0, 1, 1] == pytest.approx(2)


# Phases


def test_start_phases_are_uniform_so_that_no_place_stands_out():
    # Normal phases around 0, as peers draw them, add up to a blob in the corner.
    images = MacoImage((400, 1, 16, 16), np.ones((1, 16, 9)))().detach()[:, 0]
    power = images.square().mean(dim=0)
    # Means of 400 squares of normal numbers of variance 1, whose own variance is 2.
    assert power.max() < 1 + 5 * math.sqrt(2 / 400)
    angles = np.angle(np.fft.rfft2(images.numpy()))[:, 3, 2]
    counts, _ = np.histogram(angles, bins=4, range=(-math.pi, math.pi))
    assert np.abs(counts - 100).max() < 5 * math.sqrt(400 * 0.25 * 0.75)


def test_only_the_phases_are_optimised():
    image = maco(9, 6, batch=2)
    params, image_f = image
    assert [tuple(tensor.shape) for tensor in params] == [(2, 3, 6, 5)]
    image_f().square().sum().backward()
    weights = torch.rand(2, 3, 6, 9)
    params[0].grad = None
    (image_f() * weights).sum().backward()
    reached = params[0].grad.abs()
    # All but the coefficients that are real in any case: here the mean and half the height.
    assert (reached > 1e-9).float().mean() > 0.99


def test_magnitudes_survive_large_steps():
    given = noise_spectrum(3, 8, 8)
    image = maco(8, spectrum=given)
    raw = image.image_f
    before = np.abs(np.fft.rfft2(raw().detach().numpy()))
    optimizer = torch.optim.NAdam(image.trainable(), lr=1.0)
    target, losses = maco(8, spectrum=given)().detach(), []
    for _ in range(50):
        optimizer.zero_grad()
        loss = (image() - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    after = np.abs(np.fft.rfft2(raw().detach().numpy()))
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)


def test_gradients_are_right():
    image = maco(5, 4).double()
    assert torch.autograd.gradcheck(lambda _: image(), image.trainable()[0])


def test_scale_and_offset_of_the_phases_do_not_matter():
    image = MacoImage((2, 3, 6, 6), noise_spectrum(3, 6, 6)).double()
    before = image().detach()
    with torch.no_grad():
        image.phase.mul_(torch.tensor([3.0, 0.2]).view(2, 1, 1, 1)).add_(1.7)
    torch.testing.assert_close(image(), before, rtol=0, atol=1e-10)


def test_phases_that_were_left_alone_added_up_to_a_spot_in_the_corner():
    # After long optimisation most parameters are small against some.
    image = MacoImage((1, 3, 32, 32), law(32, 32)[None].repeat(3, axis=0))
    with torch.no_grad():
        image.phase.mul_(1e-3)[:, :, 5].add_(50)
        made = image()
    # 3,000 normal numbers of variance 1; the spot would have about a hundred times that.
    assert made.abs().max() < 6


def test_fixed_angles_are_the_same_in_every_process():
    image, other = maco(9, 6), maco(9, 6)
    assert not torch.equal(image(), other())
    with torch.no_grad():
        other.trainable()[0].copy_(image.trainable()[0])
    assert torch.equal(image(), other())


def test_first_phases_are_those_that_were_drawn():
    image = MacoImage((1, 3, 64, 64), noise_spectrum(3, 64, 64)).double()
    angles = np.angle(np.fft.rfft2(image().detach().numpy()))
    difference = angles - (image.angles + image.phase).detach().numpy()
    inner = np.exp(1j * difference)[..., 1:-1]  # without the columns that are mirrored
    # n uniform numbers have a mean of pi / sqrt(3 n) and a relative deviation of 0.45 / sqrt(n).
    assert np.abs(inner - 1).max() < 5 * (math.pi / math.sqrt(3) + 0.45 * math.pi) / math.sqrt(6336)


# Colours and channels


def test_image_is_the_valid_one_of_its_raw_one():
    matrix = [[2.0, 0.0, 0.5], [0.3, 1.0, 0.0], [1.0, 0.0, 1.0]]
    for color_matrix in (matrix, None):
        image = maco(6, 4, batch=2, color_matrix=color_matrix).double()
        expected = reference.valid_rgb(
            image.image_f().detach().numpy(), None if color_matrix is None else np.array(matrix)
        )
        np.testing.assert_allclose(image().detach(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "n_channels"),
    [
        ({}, 3),
        ({"channels": 1}, 1),
        ({"channels": 10}, 10),
        ({"spectrum": noise_spectrum(1, 8, 8)}, 1),
        ({"spectrum": noise_spectrum(3, 8, 8)}, 3),
        ({"spectrum": noise_spectrum(8, 8)}, 3),
        ({"spectrum": noise_spectrum(8, 8), "channels": 2}, 2),
        ({"spectrum": torch.from_numpy(noise_spectrum(3, 8, 8))}, 3),
    ],
)
def test_channels_are_those_of_the_spectrum_or_as_told(arguments, n_channels):
    image = maco(7, 5, batch=2, **arguments)
    made = image()
    assert made.shape == (2, n_channels, 5, 7)
    assert made.min() >= 0
    assert made.max() <= 1
    assert (image.color_matrix is not None) == (n_channels == 3)


def test_spectrum_falls_as_1_over_f_where_none_is_given():
    magnitudes = np.abs(np.fft.rfft2(maco(16, 12).double().image_f().detach().numpy()))[0]
    ratios = (magnitudes / reference.fft_scale(12, 16)).reshape(3, -1)[:, 1:]
    np.testing.assert_allclose(ratios, np.full_like(ratios, ratios[0, 0]), rtol=1e-5)


# Other sizes


def law(h, w):
    """A smooth spectrum, other along x than along y, of frequencies in cycles per pixel."""
    y, x = np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None, :]
    return 3 + np.cos(2 * np.pi * y) + 0.5 * np.cos(2 * np.pi * x)


@pytest.mark.parametrize("target", [(64, 64), (40, 30), (31, 57), (128, 100), (64, 63)])
@pytest.mark.parametrize("source", [(64, 64), (48, 96)])
def test_magnitudes_keep_their_frequencies_at_other_sizes(source, target):
    image = MacoImage((1, 1, *target), law(*source)[None])
    ratios = (image.magnitude.double().numpy()[0] / law(*target)).flatten()[1:]
    # A mean over +-d, a step of the coarser grid, changes a cosine by (2 pi d)^2 / 2 at the most,
    # that is 2 % of 1.5 where the law is at least 1.5.
    assert ratios.max() / ratios.min() - 1 < 0.02


def weight(target, source, spacing):
    """Of one frequency in another: a triangle, as wide as two steps of the coarser grid."""
    distance = abs(target - source) % 1
    return max(0.0, 1 - min(distance, 1 - distance) / spacing)


def resampled(whole, height, width):
    """Magnitudes (height, width // 2 + 1) of those of an FFT in full, by their definition."""
    rows, columns = whole.shape
    out = np.zeros((height, width // 2 + 1))
    for y, x in np.ndindex(*out.shape):
        weights = np.array(
            [
                [
                    weight(y / height, j / rows, max(1 / height, 1 / rows))
                    * weight(x / width, i / columns, max(1 / width, 1 / columns))
                    for i in range(columns)
                ]
                for j in range(rows)
            ]
        )
        out[y, x] = (weights * whole).sum() / weights.sum()
    return out


@pytest.mark.parametrize(("height", "width"), [(5, 5), (5, 7), (9, 10), (12, 8), (15, 17)])
def test_resampling_equals_its_twin(height, width):
    image = np.random.default_rng(0).normal(size=(10, 12))
    whole = np.abs(np.fft.fft2(image))
    made = MacoImage((1, 1, height, width), np.abs(np.fft.rfft2(image))[None]).magnitude[0]
    whole[0, 0] = max(whole[0, 1], whole[1, 0])
    expected = resampled(whole, height, width)
    expected[0, 0] = 0
    # Of images, so that the mirrored columns are symmetric already; they are kept up to a factor.
    ratios = made.numpy().flatten()[1:] / expected.flatten()[1:]
    np.testing.assert_allclose(ratios, np.full_like(ratios, ratios[0]), rtol=1e-6)


def test_rows_of_a_spectrum_stay_symmetric_where_peers_shift_them():
    # Resized like a picture, the rows of negative frequencies end up off by half a step.
    image = MacoImage((1, 1, 32, 32), law(128, 128)[None])
    rows = image.magnitude[0]
    torch.testing.assert_close(rows[1:], rows[1:].flip(0), rtol=1e-5, atol=0)


def test_diagonals_are_not_mixed_up_at_other_sizes():
    given = np.full((1, 32, 17), 0.1)
    given[0, 4:8, 4:8] = 10.0  # one diagonal only
    made = MacoImage((1, 1, 64, 64), given).magnitude[0]
    assert made[12, 12] > 50 * made[-12, 12]


def test_brightness_does_not_leak_into_the_lowest_frequencies():
    given = np.ones((1, 16, 9))
    given[0, 0, 0] = 1e6
    for size in (8, 16, 24, 64):
        made = MacoImage((1, 1, size, size), given).magnitude[0].flatten()[1:]
        torch.testing.assert_close(made, torch.full_like(made, made[0]), rtol=1e-5, atol=0)


# Measured spectra


def test_spectrum_is_the_mean_of_the_magnitudes_of_decorrelated_images():
    images = torch.rand(5, 3, 6, 7, generator=torch.Generator().manual_seed(0))
    inverse = np.linalg.inv(reference.color_matrix())
    raw = np.einsum("ij,bjhw->bihw", inverse, images.double().numpy())
    expected = np.abs(np.fft.rfft2(raw)).mean(axis=0)
    measured = measured_spectrum(images)
    assert (measured.dtype, measured.shape) == (np.float32, (3, 6, 4))
    np.testing.assert_allclose(measured, expected, rtol=1e-6)
    batched = measured_spectrum(DataLoader([(image, 0) for image in images], batch_size=2))
    np.testing.assert_allclose(batched, expected, rtol=1e-6)
    plain = measured_spectrum(images, color_matrix=None)
    np.testing.assert_allclose(
        plain, np.abs(np.fft.rfft2(images.double().numpy())).mean(axis=0), rtol=1e-6
    )


def test_grey_images_have_no_colours_to_decorrelate():
    images = torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    expected = np.abs(np.fft.rfft2(images.double().numpy())).mean(axis=0)
    np.testing.assert_allclose(measured_spectrum(images), expected, rtol=1e-6)


def test_images_of_one_spectrum_give_that_spectrum():
    given = noise_spectrum(3, 8, 9)
    images = MacoImage((20, 3, 8, 9), given).double()().detach()
    measured = measured_spectrum(images, color_matrix=None)
    expected = without_mean(given)
    ratio = measured[expected > 0] / expected[expected > 0]
    np.testing.assert_allclose(ratio, np.full_like(ratio, ratio[0]), rtol=1e-5)


def test_images_of_several_sizes_have_no_common_spectrum():
    with pytest.raises(InputError, match=r"\(3, 4, 4\), then \(3, 4, 5\). Resize or crop"):
        measured_spectrum([torch.rand(3, 4, 4), torch.rand(3, 4, 5)])


def test_spectrum_is_saved_and_loaded(tmp_path):
    spectrum = measured_spectrum(SynthScenes(4, size=12))
    np.save(tmp_path / "spectrum.npy", spectrum)
    for name in (tmp_path / "spectrum.npy", str(tmp_path / "spectrum.npy")):
        torch.manual_seed(0)
        loaded = maco(12, spectrum=name)()
        torch.manual_seed(0)
        assert torch.equal(loaded, maco(12, spectrum=spectrum)())


# Purpose


def test_picture_of_a_unit_keeps_the_spectrum_of_the_networks_world():
    spectrum = measured_spectrum(SynthScenes(56), color_matrix=SPEC.color_matrix)
    image = maco(96, spectrum=spectrum, color_matrix=SPEC.color_matrix)
    run = render_vis(
        synthnet(),
        "head:11",
        lambda: image,
        optimizer=lambda params: torch.optim.NAdam(params, lr=1.0),
        thresholds=(24,),
        show_image=False,
        progress=False,
        seed=0,
    )
    # From no evidence for rings to more than for any other class.
    with torch.no_grad():
        logits = synthnet()(SPEC.preprocess(torch.from_numpy(run[-1]).permute(0, 3, 1, 2)))
    assert logits.argmax() == 11
    magnitudes = np.abs(np.fft.rfft2(image.image_f().detach().numpy()))[0]
    expected = without_mean(spectrum)
    ratio = magnitudes[expected > 0] / expected[expected > 0]
    assert ratio.std() / ratio.mean() < 1e-3


# Bad input


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"w": 0}, r"\(0, 0\) has to consist of whole numbers of at least 1"),
        ({"w": 8, "batch": 0}, "has to consist of whole numbers of at least 1"),
        ({"w": 1}, "no contrast: an image of 1 x 1 pixels"),
        ({"w": 8, "spectrum": np.zeros((3, 8, 5))}, "no contrast: an image of 8 x 8 pixels"),
        (
            {"w": 8, "spectrum": np.ones(5)},
            r"3 channels has the shape \(3, H, W // 2 \+ 1\).*\(5,\)",
        ),
        (
            {"w": 8, "spectrum": np.ones((3, 8, 5)), "channels": 1},
            r"1 channels has the shape .*\(3, 8, 5\)",
        ),
        ({"w": 8, "spectrum": -np.ones((3, 8, 5))}, "values from -1 to -1"),
        ({"w": 8, "spectrum": np.full((3, 8, 5), math.nan)}, "finite magnitudes.*nan"),
    ],
)
def test_arguments_that_cannot_be(arguments, text):
    with pytest.raises(InputError, match=text):
        maco(**arguments)


def test_shape_that_cannot_be():
    with pytest.raises(InputError, match=r"needs a shape \(B, C, H, W\), not \(3, 8, 8\)"):
        MacoImage((3, 8, 8), np.ones((3, 8, 5)))


def test_spectrum_file_that_cannot_be_read(tmp_path):
    (tmp_path / "page.npy").write_text("<html>")
    np.save(tmp_path / "objects.npy", np.array([object()]), allow_pickle=True)
    for name in ("page.npy", "objects.npy", "missing.npy"):
        with pytest.raises(WeightsError, match=rf"{name} could not be read .*measured_spectrum"):
            maco(8, spectrum=tmp_path / name)
    np.savez(tmp_path / "several.npz", np.ones(3))
    with pytest.raises(WeightsError, match=r"several.npz holds several arrays"):
        maco(8, spectrum=tmp_path / "several.npz")


def test_spectrum_of_another_kind():
    with pytest.raises(InputError, match="A spectrum .* not a list: param.measured_spectrum"):
        maco(8, spectrum=[[1.0, 2.0]])
    with pytest.raises(InputError, match="whole numbers of at least 1"):
        maco(8, channels=0)


def test_colours_of_grey_images_do_not_decorrelate_a_spectrum():
    with pytest.raises(InputError, match="has no inverse .*: use color_matrix=None"):
        measured_spectrum([torch.rand(3, 8, 8)], color_matrix=np.ones((3, 3)))
