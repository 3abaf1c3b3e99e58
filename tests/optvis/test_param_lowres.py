"""Images of fewer numbers than pixels: interpolation, shifts, shared rows, pyramids."""

from __future__ import annotations

import numpy as np
import pytest
import reference_images as twins
import torch
from reference import normal

from lucent.errors import InputError
from lucent.optvis import param
from lucent.optvis.param.resize_bilinear_nd import collapse_shape, product, resize_bilinear_nd


def filled(image):
    """The image in double precision with random parameters, and these."""
    image = image.double()
    with torch.no_grad():
        for parameter in image.parameters():
            parameter.copy_(normal(*parameter.shape))
    return image, [parameter.detach().numpy() for parameter in image.parameters()]


# Resizing


@pytest.mark.parametrize(
    ("shape", "target"),
    [
        ((4,), (9,)),
        ((9,), (4,)),
        ((5, 3), (5, 7)),
        ((2, 1, 4, 3), (6, 3, 8, 5)),
        ((1, 2, 2, 3, 4), (3, 2, 5, 3, 9)),
        ((3, 4), (1, 4)),
        ((6, 5), (6, 5)),
    ],
)
def test_resizing_equals_its_twin(shape, target):
    t = normal(*shape)
    resized = resize_bilinear_nd(t, target)
    np.testing.assert_allclose(resized, twins.resized(t.numpy(), target), rtol=0, atol=1e-14)


def test_ramp_of_two_rows_is_a_ramp():
    # Lucid's legacy interpolation gives 0, 1/3, 2/3, 1, 1, 1: the last three frames were the same.
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    expected = torch.arange(6, dtype=torch.float64) / 5
    torch.testing.assert_close(resize_bilinear_nd(ends, [6]), expected, rtol=0, atol=1e-15)


def test_first_and_last_elements_keep_their_values_exactly():
    # F.interpolate misses the last one for sizes such as 42, 48 and 56.
    ends = torch.tensor([0.3, 0.7])
    for n in range(2, 200):
        resized = resize_bilinear_nd(ends, [n])
        assert (resized[0], resized[-1]) == (ends[0], ends[-1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_resizing_keeps_the_type(dtype):
    t = normal(2, 3, 4, 5).to(dtype)
    resized = resize_bilinear_nd(t, (2, 3, 8, 10))
    assert resized.dtype == dtype
    expected = resize_bilinear_nd(t.double(), (2, 3, 8, 10))
    # Two sums of two products; weights and values have the resolution of the type.
    torch.testing.assert_close(
        resized.double(), expected, rtol=0, atol=4 * torch.finfo(dtype).eps * 3
    )


def test_resizing_has_the_right_gradient():
    t = normal(2, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: resize_bilinear_nd(t, (5, 3, 2)), t)


def test_resizing_takes_memory_in_any_order():
    t = normal(2, 3, 4, 5)
    last = t.contiguous(memory_format=torch.channels_last)
    expected = resize_bilinear_nd(t, (4, 3, 7, 8))
    torch.testing.assert_close(resize_bilinear_nd(last, (4, 3, 7, 8)), expected)


def test_resizing_to_another_rank():
    with pytest.raises(InputError, match=r"\(2, 3\) cannot become \(4, 3, 2\): both need as many"):
        resize_bilinear_nd(torch.zeros(2, 3), (4, 3, 2))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (0, 2, [1, 1, 2, 60]),
        (1, 3, [1, 2, 3, 20]),
        (3, 5, [6, 4, 5, 1]),
        (4, 6, [24, 5, 1, 1]),
        (-1, 1, [1, 1, 1, 120]),
    ],
)
def test_collapsed_shape(a, b, expected):
    assert collapse_shape((1, 2, 3, 4, 5), a, b) == expected


def test_product():
    assert (product([2, 3, 4]), product([])) == (24, 1)


# Low resolutions


SHAPE, UNDERLYING = (6, 3, 8, 10), (2, 3, 4, 5)


@pytest.mark.parametrize(
    ("offset", "pixels"),
    [
        (None, [0, 0, 0, 0]),
        (False, [0, 0, 0, 0]),
        (2, [2, 2, 2, 2]),
        (True, [1, 0, 1, 1]),
        ([1, False, 3, True], [1, 0, 3, 1]),
        ((0, 2, None, 10), [0, 2, 0, 10]),
    ],
)
def test_low_resolution_equals_its_twin(offset, pixels):
    image, (underlying,) = filled(param.lowres_tensor(SHAPE, UNDERLYING, offset))
    expected = twins.lowres(underlying, SHAPE, pixels)
    np.testing.assert_allclose(image().detach(), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("offset", [None, 5, [1, False, 1, True]])
def test_low_resolution_has_torch_lucents_shapes(offset):
    params, image_f = param.lowres_tensor((6, 3, 128, 128), (1, 3, 64, 64), offset=offset)
    assert [tensor.shape for tensor in params] == [(1, 3, 64, 64)]
    assert image_f().shape == (6, 3, 128, 128)


def test_shift_along_each_dimension_is_that_dimensions_own():
    # torch-lucent gave them to F.pad in the order of the dimensions, which F.pad reads backwards:
    # the shift of the batch moved columns, that of the height moved rows, the others did nothing.
    for dim in range(4):
        offset = [0] * 4
        offset[dim] = 1
        image, (underlying,) = filled(param.lowres_tensor((4, 3, 5, 6), (4, 3, 5, 6), offset))
        moved = image().detach().numpy()
        kept = [slice(None)] * 4
        kept[dim] = [0, *range(underlying.shape[dim] - 1)]
        np.testing.assert_array_equal(moved, underlying[tuple(kept)])


def test_offsets_stay_the_callers_own():
    offset = [1, False, 1, True]
    param.lowres_tensor((6, 3, 8, 8), (1, 3, 4, 4), offset)
    assert offset == [1, False, 1, True]
    assert offset[3] is True


def test_shift_may_exceed_the_size_and_be_negative():
    image, (underlying,) = filled(param.lowres_tensor((3,), (3,), 8))
    np.testing.assert_array_equal(image().detach(), twins.lowres(underlying, (3,), [8]))
    image, (underlying,) = filled(param.lowres_tensor((3,), (3,), -1))
    np.testing.assert_array_equal(image().detach(), underlying[[1, 2, 2]])


def test_low_resolution_has_the_right_gradient():
    image, _ = filled(param.lowres_tensor((4, 1, 5, 6), (2, 1, 3, 3), (1, 0, 2, 7)))
    (parameter,) = image.trainable()
    assert torch.autograd.gradcheck(lambda _: image(), parameter)


def test_one_row_is_shared_and_two_are_a_ramp():
    image, (underlying,) = filled(param.lowres_tensor((3, 1, 2, 2), (1, 1, 2, 2)))
    np.testing.assert_array_equal(image().detach(), np.repeat(underlying, 3, axis=0))
    image, (underlying,) = filled(param.lowres_tensor((3, 1, 2, 2), (2, 1, 2, 2)))
    expected = [underlying[0], underlying.mean(axis=0), underlying[1]]
    np.testing.assert_allclose(image().detach(), expected, rtol=0, atol=1e-15)


def test_volume_of_low_resolution():
    image, (underlying,) = filled(param.lowres_tensor((1, 2, 6, 8, 4), (1, 2, 3, 4, 2)))
    expected = twins.resized(underlying, (1, 2, 6, 8, 4))
    np.testing.assert_allclose(image().detach(), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("sd", "expected"), [((), 0.01), ((None,), 0.01), ((0.5,), 0.5), ((0,), 0)]
)
def test_start_values_of_low_resolution(sd, expected):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        (values,) = param.lowres_tensor((1, 3, 64, 64), (1, 3, 32, 32), None, *sd).trainable()
    # The relative error of a standard deviation of n normal draws is 1 / sqrt(2 n).
    assert values.std().item() == pytest.approx(expected, rel=5 / np.sqrt(2 * values.numel()))


def test_low_resolution_of_another_rank():
    with pytest.raises(InputError, match=r"\(3, 4\) cannot become \(1, 3, 8\): both need as many"):
        param.lowres_tensor((1, 3, 8), (3, 4))


def test_offsets_of_numpy_are_taken_as_pythons():
    offsets = np.array([False, False, True, True])
    for offset in (offsets, list(offsets), offsets.tolist()):
        image = param.lowres_tensor((1, 1, 8, 8), (1, 1, 2, 2), offset)
        assert image.offset == [0, 0, 2, 2]
    whole = param.lowres_tensor((1, 1, 8, 8), (1, 1, 2, 2), np.array([0, 0, 1, 3]))
    assert whole.offset == [0, 0, 1, 3]


@pytest.mark.parametrize("offset", [2.5, "1", float("nan")])
def test_offset_of_a_part_of_a_pixel(offset):
    with pytest.raises(
        InputError, match=rf"offset '?{offset}'? has to be a number of whole pixels"
    ):
        param.lowres_tensor((1, 1, 8, 8), (1, 1, 2, 2), [0, 0, offset, 0])


def test_offsets_of_another_number():
    with pytest.raises(InputError, match=r"offset=\[1, 2\] has 2 entries for the 4 dimensions"):
        param.lowres_tensor(SHAPE, UNDERLYING, [1, 2])


@pytest.mark.parametrize("shape", [(0, 3), (2.5, 3), (-1, 3)])
def test_low_resolution_that_cannot_be(shape):
    with pytest.raises(InputError, match="whole numbers of at least 1"):
        param.lowres_tensor((4, 3), shape)


# Laplacian pyramid


def test_pyramid_is_the_sum_of_its_levels():
    image, levels = filled(param.laplacian_pyramid_image((2, 3, 12, 9), 3))
    assert [level.shape[2:] for level in levels] == [(12, 9), (6, 4), (3, 2)]
    expected = sum(twins.resized(level, (2, 3, 12, 9)) for level in levels)
    np.testing.assert_allclose(image().detach(), expected, rtol=0, atol=1e-13)


def test_pyramid_has_lucids_four_levels():
    sizes = [tuple(p.shape) for p in param.laplacian_pyramid_image((1, 3, 16, 24)).trainable()]
    assert sizes == [(1, 3, 16, 24), (1, 3, 8, 12), (1, 3, 4, 6), (1, 3, 2, 3)]


def test_shape_of_a_pyramid_may_be_a_list():
    # Lucid added a tuple to it.
    assert param.laplacian_pyramid_image([2, 3, 8, 8])().shape == (2, 3, 8, 8)


def test_volume_of_a_pyramid():
    image, levels = filled(param.laplacian_pyramid_image((1, 2, 4, 6, 8), 2))
    assert levels[1].shape == (1, 2, 2, 3, 4)
    expected = sum(twins.resized(level, (1, 2, 4, 6, 8)) for level in levels)
    np.testing.assert_allclose(image().detach(), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("levels", [0, 4])
def test_level_of_less_than_a_pixel(levels):
    with pytest.raises(InputError, match=rf"n_levels={levels} has to be 1 to 3 .*\(4, 9\)"):
        param.laplacian_pyramid_image((1, 3, 4, 9), levels)
