"""From arrays to the bytes of picture files, and to JavaScript."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from lucent.errors import InputError
from lucent.misc.io.serialize_array import (
    JS_ARRAY_TYPES,
    _normalize_array,
    _serialize_normalized_array,
    array_to_jsbuffer,
    data_url,
    serialize_array,
)

TEXTURE = np.random.default_rng(0).random((16, 16, 3), dtype=np.float32)


def decoded(data):
    return np.asarray(Image.open(io.BytesIO(data)))


# Bytes


def test_domain_becomes_black_to_white_and_is_rounded():
    values = np.array([[-9.0, -2, -1.985, 0, 1.99, 2, 9]])
    np.testing.assert_array_equal(
        _normalize_array(values, (-2, 2)), [[0, 0, 1, 128, 254, 255, 255]]
    )
    np.testing.assert_array_equal(_normalize_array(values, None), np.rint((values + 9) * 255 / 18))


def test_the_nearest_byte_is_taken_not_the_one_below():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(_normalize_array(levels / np.float32(255)), levels)


def test_integers_are_neither_blackened_nor_wrapped():
    levels = np.arange(250, 256, dtype=np.uint8).reshape(2, 3)
    for domain in [(0, 1), [0, 1], None, (0, 255)]:
        np.testing.assert_array_equal(_normalize_array(levels, domain), levels)
    np.testing.assert_array_equal(
        _normalize_array(levels, (251, 256)), [[0, 0, 51], [102, 153, 204]]
    )
    np.testing.assert_array_equal(_normalize_array(levels.astype(int), (0, 255)), levels)
    extremes = np.array([[-128, 127]], np.int8)
    np.testing.assert_array_equal(_normalize_array(extremes, None), [[0, 255]])
    np.testing.assert_array_equal(_normalize_array(extremes == 127), [[0, 255]])


def test_half_precision_does_not_overflow():
    values = np.array([[-60000, 0, 60000]], np.float16)
    np.testing.assert_array_equal(_normalize_array(values, None), [[0, 128, 255]])


def test_picture_without_contrast_is_black():
    assert (_normalize_array(np.full((2, 2), 7.0), None) == 0).all()


@pytest.mark.parametrize(
    ("shape", "result"),
    [
        ((1, 4, 5, 3), (4, 5, 3)),
        ((1, 1, 4, 5, 1), (4, 5)),
        ((4, 5, 1), (4, 5)),
        ((1, 5, 3), (1, 5, 3)),
        ((4, 1, 3), (4, 1, 3)),
        ((1, 5), (1, 5)),
    ],
)
def test_axes_of_one_are_dropped_but_not_rows_and_columns(shape, result):
    assert _normalize_array(np.zeros(shape)).shape == result


def test_original_is_neither_changed_nor_shared():
    for array in (TEXTURE.copy(), np.zeros((2, 2), np.uint8)):
        before = array.copy()
        _normalize_array(array)[...] = 9
        np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros((0, 3)), r"shape \(0, 3\)"),
        (np.zeros((2, 2), complex), "dtype complex128"),
        (np.array([["a"]]), "dtype <U1"),
        (np.array([[None]]), "dtype object"),
    ],
)
def test_what_has_no_colours(array, text):
    with pytest.raises(InputError, match=text + ".*no picture"):
        serialize_array(array)


def test_numbers_without_a_place_in_the_domain():
    with pytest.raises(InputError, match="NaN"):
        serialize_array(np.array([[np.nan]]))
    with pytest.raises(InputError, match=r"\(0.0, inf\) is no interval"):
        serialize_array(np.array([[0, np.inf]]), domain=None)


# Files


def test_png_holds_the_picture_exactly():
    expected = np.rint(TEXTURE * 255)
    np.testing.assert_array_equal(decoded(serialize_array(TEXTURE)), expected)
    np.testing.assert_array_equal(
        decoded(serialize_array(torch.from_numpy(TEXTURE).permute(2, 0, 1)[None])), expected
    )
    np.testing.assert_array_equal(
        decoded(serialize_array(Image.fromarray(np.uint8(expected)))), expected
    )


@pytest.mark.parametrize(
    ("fmt", "kind"), [("jpg", "JPEG"), ("jpeg", "JPEG"), ("PNG", "PNG"), ("webp", "WEBP")]
)
def test_format_can_be_chosen(fmt, kind):
    assert Image.open(io.BytesIO(serialize_array(TEXTURE, fmt=fmt))).format == kind


def test_quality_is_seventy_unless_told_otherwise():
    def error(data):
        return np.abs(decoded(data) - TEXTURE * 255).mean()

    pillow = io.BytesIO()
    Image.fromarray(np.uint8(np.rint(TEXTURE * 255))).save(pillow, "JPEG", quality=70)
    assert serialize_array(TEXTURE, fmt="jpg") == pillow.getvalue()
    assert error(serialize_array(TEXTURE, fmt="jpg", quality=95)) < error(pillow.getvalue())
    assert _serialize_normalized_array(np.uint8(np.rint(TEXTURE * 255)), "jpg") == pillow.getvalue()


def test_address_of_a_picture_names_its_format():
    assert data_url(b"abc", "jpg") == "data:image/JPEG;base64,YWJj"


def test_format_that_is_none():
    with pytest.raises(InputError, match="fmt='bmp' is no format of pictures: take one of png"):
        serialize_array(TEXTURE, fmt="bmp")
    with pytest.raises(InputError, match="RGBA picture cannot be a jpeg.*take fmt='png'"):
        serialize_array(np.zeros((2, 2, 4)), fmt="jpeg")
    with pytest.raises(InputError, match=r"shape \(2, 2, 5\) is no picture"):
        serialize_array(np.zeros((2, 2, 5)))


# JavaScript


@pytest.mark.parametrize("name", sorted(JS_ARRAY_TYPES))
def test_javascript_gets_the_same_numbers(name):
    array = np.array([0, 1, 2, 100], name)
    for given in (array, array.astype(array.dtype.newbyteorder(">")), np.repeat(array, 2)[::2]):
        script = array_to_jsbuffer(given)
        ours = r'new (\w+)Array\(Uint8Array.from\(atob\("(.*)"\), (.*)\).buffer\)'
        kind, data, decode = re.fullmatch(ours, script).groups()
        assert decode == "(c) => c.charCodeAt(0)"
        assert kind == name.capitalize()
        little = array.dtype.newbyteorder("<")
        np.testing.assert_array_equal(np.frombuffer(base64.b64decode(data), little), array)


def test_dtypes_of_javascript():
    assert {"int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64"} == set(
        JS_ARRAY_TYPES
    )


def test_what_javascript_does_not_know():
    with pytest.raises(TypeError, match=r"one axis, got the shape \(2, 2\).*array.ravel\(\)"):
        array_to_jsbuffer(np.zeros((2, 2)))
    with pytest.raises(TypeError, match="no array of int64: .*float32"):
        array_to_jsbuffer(np.zeros(2, np.int64))
