"""From arrays to pictures and files."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
from PIL import Image

from lucent.errors import InputError
from lucent.misc.io.pictures import png, save_picture, tiled, to_pil

TEXTURE = np.random.default_rng(0).random((32, 32, 3), dtype=np.float32)


def bytes_of(array):
    return np.asarray(to_pil(array))


# One picture


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_byte_survives_the_way_to_the_unit_interval_and_back(dtype):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(bytes_of((levels / 255).astype(dtype)), levels)


def test_values_are_rounded_to_the_nearest_byte_and_clipped():
    values = np.array([[0.4, 0.6, 254.4, 254.6]]) / 255
    np.testing.assert_array_equal(bytes_of(values), [[0, 1, 254, 255]])
    np.testing.assert_array_equal(bytes_of(np.array([[-3, 7, -np.inf, np.inf]])), [[0, 255] * 2])


def test_bytes_are_taken_as_they_are():
    levels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20
    np.testing.assert_array_equal(bytes_of(levels), levels)


@pytest.mark.parametrize(
    ("shape", "mode"),
    [((2, 3), "L"), ((2, 3, 1), "L"), ((2, 3, 3), "RGB"), ((2, 3, 4), "RGBA")],
)
def test_number_of_channels_tells_the_kind_of_picture(shape, mode):
    picture = to_pil(np.zeros(shape))
    assert (picture.mode, picture.size) == (mode, (3, 2))


def test_channels_stay_in_order():
    assert to_pil(np.array([[[1.0, 0.0, 0.2, 0.4]]])).getpixel((0, 0)) == (255, 0, 51, 102)


def test_original_is_not_changed():
    array = np.full((2, 2, 3), 3.0)
    to_pil(array)
    assert (array == 3).all()


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2), (2, 2, 5), (1, 2, 2, 3)])
def test_shape_of_no_picture(shape):
    with pytest.raises(InputError) as error:
        to_pil(np.zeros(shape))
    assert f"shape {shape} is no picture" in str(error.value)
    assert "C = 1, 3 or 4" in str(error.value)


def test_values_of_no_picture():
    with pytest.raises(InputError, match="NaN"):
        to_pil(np.array([[0.5, np.nan]]))
    with pytest.raises(InputError, match=r"int64 has no known range.*astype\(np.uint8\)"):
        to_pil(np.full((2, 2), 200))


# Several in one


def test_pictures_are_laid_out_row_by_row():
    pictures = np.arange(5.0).reshape(5, 1, 1, 1) * np.ones((1, 2, 3, 1)) / 8
    sheet = tiled(pictures, columns=3, gap=1)
    white = 1.0
    assert sheet.shape == (5, 11, 1)
    numbers = sheet[::3, ::4, 0]
    np.testing.assert_array_equal(numbers * 8, [[0, 1, 2], [3, 4, 8 * white]])
    assert (sheet[2] == white).all()
    assert (sheet[:, [3, 7]] == white).all()
    np.testing.assert_array_equal(sheet[:2, 4:7], pictures[1])


def test_pictures_stand_side_by_side_unless_told_otherwise():
    pictures = np.random.default_rng(0).random((3, 2, 4, 3))
    np.testing.assert_array_equal(tiled(pictures), np.concatenate(list(pictures), axis=1))
    np.testing.assert_array_equal(tiled(pictures, 1), np.concatenate(list(pictures), axis=0))
    np.testing.assert_array_equal(tiled(list(pictures), 7), tiled(pictures))


def test_sheet_of_bytes_is_of_bytes():
    sheet = tiled(np.zeros((2, 1, 1, 3), np.uint8), gap=1)
    assert sheet.dtype == np.uint8
    assert sheet[0, :, 0].tolist() == [0, 255, 0]


@pytest.mark.parametrize("pictures", [[], np.zeros((2, 3, 4)), [np.zeros((2, 2, 3))] * 0])
def test_sheet_of_no_pictures(pictures):
    with pytest.raises(InputError, match="at least one picture"):
        tiled(pictures)


def test_sheet_of_unequal_pictures():
    with pytest.raises(InputError, match=r"one shape; got \[\(2, 2, 3\), \(3, 2, 3\)\]"):
        tiled([np.zeros((3, 2, 3)), np.zeros((2, 2, 3))])
    with pytest.raises(InputError, match="columns=0"):
        tiled(np.zeros((2, 2, 2, 3)), 0)


# Files


def test_png_holds_the_picture_exactly(tmp_path):
    expected = bytes_of(TEXTURE)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png(TEXTURE)))), expected)
    save_picture(TEXTURE, tmp_path / "new" / "folder" / "a.png")
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "new" / "folder" / "a.png")), expected
    )


@pytest.mark.parametrize(
    ("name", "kind"), [("a.jpg", "JPEG"), ("a.JPEG", "JPEG"), ("a.webp", "WEBP"), ("a.png", "PNG")]
)
def test_ending_chooses_the_format(tmp_path, name, kind):
    save_picture(TEXTURE, str(tmp_path / name))
    assert Image.open(tmp_path / name).format == kind
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("ending", ["jpg", "webp"])
def test_compressed_formats_keep_more_texture_than_pillow_would(tmp_path, ending):
    save_picture(TEXTURE, tmp_path / f"ours.{ending}")
    to_pil(TEXTURE).save(tmp_path / f"pillow.{ending}")

    def error(name):
        stored = np.asarray(Image.open(tmp_path / f"{name}.{ending}")).astype(float)
        return np.abs(stored - bytes_of(TEXTURE)).mean()

    assert error("ours") < error("pillow")


def test_grey_picture_is_written(tmp_path):
    save_picture(TEXTURE[..., :1], tmp_path / "grey.jpg")
    assert Image.open(tmp_path / "grey.jpg").mode == "L"


def test_file_is_as_readable_as_any_other(tmp_path):
    save_picture(TEXTURE, tmp_path / "a.png")
    (tmp_path / "b").touch()
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize(
    ("array", "name", "kind"),
    [
        (np.zeros((2, 2, 4)), "a.jpg", "RGBA"),
        (TEXTURE, "a.xyz", "RGB"),
        (TEXTURE, "a", "RGB"),
    ],
)
def test_format_that_cannot_hold_the_picture(tmp_path, array, name, kind):
    with pytest.raises(InputError) as error:
        save_picture(array, tmp_path / name)
    assert f"A {kind} picture cannot be written as '{tmp_path / name}'" in str(error.value)
    assert "Use the ending .png" in str(error.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt(), MemoryError()])
def test_failure_while_writing_leaves_the_old_file(tmp_path, monkeypatch, error):
    save_picture(TEXTURE, tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()

    def save(self, path, **options):
        path.write_bytes(b"half a pic")
        raise error

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises((InputError, KeyboardInterrupt, MemoryError)):
        save_picture(1 - TEXTURE, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == before
    assert os.listdir(tmp_path) == ["a.png"]
