"""From arrays to pictures, sheets and files."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from lucent.errors import InputError
from lucent.misc.io.collapse_channels import collapse_channels
from lucent.misc.io.pictures import (
    as_numpy,
    channels_last,
    coloured,
    contact_sheet,
    over_white,
    pictures_of,
    save_picture,
    tiled,
    to_pil,
)

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


def test_many_channels_are_told_how_to_become_colours():
    with pytest.raises(InputError, match=r"collapse_channels\(array\)"):
        to_pil(np.zeros((2, 2, 5)))


# What a picture may be given as


def test_channels_of_arrays_come_last_and_those_of_tensors_before_the_places():
    array = np.random.default_rng(0).random((2, 3, 4, 5, 6))
    assert channels_last(array) is array
    for rank, axis in [(2, -1), (3, 0), (4, 1), (5, 1)]:
        part = array[(0,) * (5 - rank)]
        moved = channels_last(torch.from_numpy(part))
        np.testing.assert_array_equal(moved, np.moveaxis(part, axis, -1))


def test_tensors_of_every_kind_become_arrays():
    assert as_numpy(torch.ones(2, dtype=torch.bfloat16)).dtype == np.float32
    assert as_numpy(torch.ones(2, dtype=torch.float64, requires_grad=True)).dtype == np.float64


@pytest.mark.parametrize(
    ("mode", "shape", "dtype"),
    [
        ("1", (3, 2), np.uint8),
        ("L", (3, 2), np.uint8),
        ("P", (3, 2, 3), np.uint8),
        ("RGB", (3, 2, 3), np.uint8),
        ("RGBA", (3, 2, 4), np.uint8),
        ("LA", (3, 2, 4), np.uint8),
        ("CMYK", (3, 2, 3), np.uint8),
        ("I;16", (3, 2), np.float32),
        ("F", (3, 2), np.float32),
    ],
)
def test_pictures_of_pillow_become_arrays(mode, shape, dtype):
    array = channels_last(Image.new(mode, (2, 3)))
    assert (array.shape, array.dtype) == (shape, dtype)


def test_palette_gives_its_colours_not_their_numbers():
    picture = Image.new("RGB", (1, 1), (255, 128, 0)).quantize(2)
    assert channels_last(picture).tolist() == [[[255, 128, 0]]]


def test_sixteen_bits_are_from_0_to_1():
    numbers = np.array([[0, 32768, 65535]], np.uint16)
    array = channels_last(Image.fromarray(numbers))
    np.testing.assert_array_equal(array, numbers / np.float32(65535))


def test_pictures_are_found_in_batches_lists_and_lists_of_batches():
    batch = np.random.default_rng(0).random((2, 4, 5, 3))
    found = pictures_of([batch, [torch.from_numpy(batch[0]).permute(2, 0, 1)], to_pil(batch[1])])
    assert [picture.shape for picture in found] == [(4, 5, 3)] * 4
    np.testing.assert_array_equal(found[2], batch[0])
    assert [part.shape for part in pictures_of(np.zeros((2, 6, 4, 5, 1)))] == [(6, 4, 5, 1)] * 2


@pytest.mark.parametrize(
    "thing",
    [
        "text",
        None,
        [],
        [1, 2],
        [np.zeros((2, 2)), "text"],
        np.zeros(3),
        np.zeros((0, 2, 2, 3)),
        np.array([["a", "b"]]),
        np.zeros((1,) * 6),
    ],
)
def test_what_consists_of_no_pictures(thing):
    assert pictures_of(thing) == []


def test_channels_that_no_picture_has_become_hues():
    acts = np.random.default_rng(0).random((2, 3, 5)) / 4
    np.testing.assert_array_equal(coloured(acts), collapse_channels(acts))
    np.testing.assert_array_equal(
        coloured(np.full((1, 1, 5), 51, np.uint8)), coloured(acts * 0 + 0.2)[:1, :1]
    )
    for channels in (1, 3, 4):
        assert coloured(acts[..., :channels]).shape[-1] == channels
    assert coloured(acts[..., 0]).shape == (2, 3)


def test_transparent_pictures_lie_on_white():
    picture = to_pil(np.array([[[1.0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0.2]]]))
    assert np.asarray(over_white(picture)).tolist() == [[[255, 0, 0], [255] * 3, [204] * 3]]


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


@pytest.mark.parametrize("pictures", [[], np.zeros((2, 3, 4)), np.zeros((2, 2, 2, 2, 2, 3))])
def test_sheet_of_no_pictures(pictures):
    with pytest.raises(InputError, match="at least one picture"):
        tiled(pictures)


def test_sheet_of_unequal_pictures():
    with pytest.raises(InputError, match=r"one shape; got \[\(2, 2, 3\), \(3, 2, 3\)\]"):
        tiled([np.zeros((3, 2, 3)), np.zeros((2, 2, 3))])
    with pytest.raises(InputError, match="columns=0"):
        tiled(np.zeros((2, 2, 2, 3)), 0)
    with pytest.raises(InputError, match="gap=-1: .* has 0 pixels or more"):
        tiled(np.zeros((2, 2, 2, 3)), gap=-1)
    with pytest.raises(InputError, match="width=0: .*at least a pixel wide"):
        contact_sheet(np.zeros((2, 2, 2, 3)), width=0)


def test_true_is_white():
    mask = np.eye(3) > 0
    np.testing.assert_array_equal(to_pil(mask), 255 * mask)
    np.testing.assert_array_equal(contact_sheet([mask])[..., 0], 255 * mask)


def test_tensors_become_pictures_of_pillow():
    array = np.random.default_rng(0).random((4, 5, 3), np.float32)
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    np.testing.assert_array_equal(to_pil(tensor), to_pil(array))
    with pytest.raises(InputError, match=r"shape \(2, 4, 5, 3\) is no picture.*one of several"):
        to_pil(tensor.expand(2, -1, -1, -1))


def test_slices_of_a_volume_are_laid_out_in_a_square():
    volumes = np.arange(2 * 5 * 2 * 2).reshape(2, 5, 2, 2, 1) / 40
    sheet = tiled(volumes)
    assert sheet.shape == (5, 16, 1)
    np.testing.assert_array_equal(sheet[:2, :2], volumes[0, 0])
    np.testing.assert_array_equal(sheet[3:, 3:5], volumes[0, 4])
    np.testing.assert_array_equal(sheet[:2, 8:10], volumes[1, 0])
    assert (sheet[2] == 1).all()
    assert (sheet[3:, 6:8] == 1).all()


# Contact sheets


def test_contact_sheet_holds_every_picture_exactly():
    pictures = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), dtype=np.uint8)
    sheet = contact_sheet(pictures)
    assert (sheet.shape, sheet.dtype) == ((2 * 6 + 4, 3 * 7 + 2 * 4, 3), np.uint8)
    for n, picture in enumerate(pictures):
        y, x = n // 3 * 10, n % 3 * 11
        np.testing.assert_array_equal(sheet[y : y + 6, x : x + 7], picture)
    assert (sheet[6:10] == 255).all()
    assert contact_sheet(pictures, columns=5, gap=0).shape == (6, 35, 3)


def test_captions_are_written_under_their_pictures():
    grey = np.full((20, 60, 1), 0.5)
    sheet = contact_sheet([grey] * 3, ["one", "", 2], columns=3, gap=0)
    assert sheet.shape == (34, 180, 3)
    ink = [(sheet[20:, x : x + 60] < 128).any() for x in (0, 60, 120)]
    assert ink == [True, False, True]
    assert (sheet[:20] == 128).all()


def test_caption_is_right_under_its_picture_also_where_another_is_higher():
    pictures = [np.zeros((40, 50, 3)), np.zeros((10, 50, 3))]
    sheet = contact_sheet(pictures, ["", "low"], columns=2, gap=0)
    assert (sheet[10:24, 50:] < 128).any()
    assert (sheet[24:, 50:] == 255).all()


def test_long_captions_end_with_their_picture():
    sheet = contact_sheet([np.zeros((10, 50, 3))] * 2, ["m" * 40, ""], columns=2, gap=0)
    assert (sheet[10:, :50] < 128).any()
    assert (sheet[10:, 50:] == 255).all()


def test_caption_that_fits_is_left_whole():
    tile = Image.new("RGB", (80, 14), "white")
    ImageDraw.Draw(tile).text((1, 1), "mixed4a:476", fill="black")
    sheet = contact_sheet(np.zeros((1, 10, 80, 3)), ["mixed4a:476"])
    np.testing.assert_array_equal(sheet[10:], np.asarray(tile))


def test_pictures_of_all_kinds_and_sizes_share_a_sheet():
    pictures = [TEXTURE, torch.zeros(1, 8, 16), np.zeros((1, 4, 4, 4)), Image.new("L", (9, 3), 7)]
    sheet = contact_sheet(pictures, columns=4, width=32, gap=0)
    assert sheet.shape == (32, 128, 3)
    np.testing.assert_array_equal(sheet[:, :32], bytes_of(TEXTURE))
    assert (sheet[:16, 32:64] == 0).all()
    assert (sheet[16:, 32:64] == 255).all()
    assert (sheet[:, 64:96] == 255).all()
    assert (sheet[:11, 96:] == 7).all()


def test_contact_sheet_of_something_else():
    with pytest.raises(InputError, match="3 pictures but 2 captions"):
        contact_sheet(np.zeros((3, 2, 2, 3)), ["a", "b"])
    with pytest.raises(InputError, match="at least one picture.*got list without any"):
        contact_sheet([])
    with pytest.raises(InputError, match="columns=0"):
        contact_sheet(np.zeros((3, 2, 2, 3)), columns=0)


# Files


def test_png_holds_the_picture_exactly(tmp_path):
    expected = bytes_of(TEXTURE)
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
    ending = name[1:] or "a file without ending"
    assert f"A {kind} picture cannot be written as {ending} (" in str(error.value)
    assert "Use the ending .png" in str(error.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt(), MemoryError()])
def test_failure_while_writing_leaves_the_old_file(tmp_path, monkeypatch, error):
    save_picture(TEXTURE, tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()

    def save(self, file, *_, **options):
        file.write(b"half a pic")
        raise error

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises((InputError, KeyboardInterrupt, MemoryError)):
        save_picture(1 - TEXTURE, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == before
    assert os.listdir(tmp_path) == ["a.png"]
