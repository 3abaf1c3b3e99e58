"""Frequency grids and colour statistics."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import reference

from lucent.optvis._spectrum import (
    COLOR_CORRELATION_SVD_SQRT,
    contrast_gain,
    fft_scale,
    normalized_color_matrix,
    rfft2d_freqs,
)


@pytest.mark.parametrize("size", [(1, 1), (4, 6), (6, 4), (5, 7), (8, 5), (1, 8)])
def test_frequencies_and_scales_equal_their_twins(size):
    np.testing.assert_allclose(rfft2d_freqs(*size), reference.frequencies(*size), rtol=1e-15)
    for decay_power in (0, 0.85, 1, 1.5):
        np.testing.assert_allclose(
            fft_scale(*size, decay_power), reference.fft_scale(*size, decay_power), rtol=1e-14
        )


def test_odd_width_has_no_column_that_the_image_ignores():
    np.testing.assert_allclose(rfft2d_freqs(1, 5), [[0, 0.2, 0.4]])


@pytest.mark.parametrize(
    ("n", "lowest", "corner"),
    [(64, 4096, 90.51), (128, 16384, 181.02), (224, 50176, 316.78), (512, 262144, 724.08)],
)
def test_scale_has_lucids_values(n, lowest, corner):
    scale = fft_scale(n, n)
    assert scale[0, 0] == lowest
    # The lowest frequencies have the period of the image: the limit for frequency 0 is theirs.
    assert scale[0, 1] == scale[1, 0] == lowest
    assert round(scale[n // 2, n // 2], 2) == corner


def test_scale_falls_with_frequency_to_the_given_power():
    scale = fft_scale(64, 64, 1.5)
    assert scale[0, 4] / scale[0, 8] == pytest.approx(2**1.5, rel=1e-14)
    np.testing.assert_array_equal(fft_scale(4, 9, 0), np.full((4, 5), 6.0))


def test_scale_limits_the_frequency_by_the_longer_side():
    assert fft_scale(16, 64)[0, 0] == 32 * 64


def test_color_matrix_has_lucids_values():
    norm = np.linalg.norm(np.array(COLOR_CORRELATION_SVD_SQRT), axis=0).max()
    assert round(norm, 6) == 0.461952
    np.testing.assert_array_equal(
        normalized_color_matrix(COLOR_CORRELATION_SVD_SQRT).round(5),
        [[0.56283, 0.19483, 0.04329], [0.58448, 0, -0.10824], [0.58448, -0.19483, 0.06494]],
    )


def test_color_matrix_is_divided_by_its_largest_column_norm():
    matrix = [[3.0, 0.0, 1.0], [4.0, 2.0, 0.0], [0.0, 0.0, 0.0]]
    np.testing.assert_allclose(normalized_color_matrix(matrix), np.array(matrix) / 5, rtol=1e-15)


def variance_over_pixels(scale, size):
    """Of an image with independent coefficients; the variances of each one's share add up."""
    total = 0.0
    for y, x, part in itertools.product(range(size[0]), range(scale.shape[1]), (1, 1j)):
        spectrum = np.zeros(scale.shape, complex)
        spectrum[y, x] = part * scale[y, x]
        total += np.fft.irfft2(spectrum, s=size).var()
    return total


@pytest.mark.parametrize("size", [(12, 16), (15, 11), (8, 7), (1, 1)])
@pytest.mark.parametrize("decay_power", [0.0, 0.5, 1.5, 2.0])
def test_the_contrast_of_an_image_does_not_depend_on_its_decay(size, decay_power):
    scale = contrast_gain(size, decay_power) * fft_scale(*size, decay_power)
    expected = variance_over_pixels(fft_scale(*size, 1.0), size)
    assert variance_over_pixels(scale, size) == pytest.approx(expected, rel=1e-9)
    assert contrast_gain(size, 1.0) == 1
