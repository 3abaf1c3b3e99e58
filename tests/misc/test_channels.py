"""How arrays of any number of channels are shown."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from lucent.errors import InputError
from lucent.misc.io import load, save
from lucent.misc.io.animation import frames_of
from lucent.misc.io.collapse_channels import collapse_channels, collapse_image, hue_to_rgb
from lucent.misc.io.pictures import coloured, contact_sheet, side_by_side, through_depth

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.random((2, 6, 7, 12))
ACTS = RANDOM.standard_normal((2, 6, 7, 12))


# Colours of images


def test_three_channels_of_an_image_are_red_green_and_blue():
    image = RANDOM.random((4, 5, 3))
    np.testing.assert_allclose(collapse_image(image), image, rtol=0, atol=1e-15)


@pytest.mark.parametrize("channels", [1, 2, 4, 12])
def test_an_image_without_anything_is_grey_and_one_channel_has_its_hue(channels):
    image = np.full((channels + 1, 2, channels), 0.5)
    for n in range(channels):
        image[n] = 0.5
        image[n, 0, n], image[n, 1, n] = 0.9, 0.1
    rgb = collapse_image(image)
    np.testing.assert_array_equal(rgb[-1], np.full((2, 3), 0.5))
    hues = np.stack([hue_to_rgb(360 * n / channels) for n in range(channels)])
    if channels > 1:
        hues *= max(1, hues.sum() / 3) / hues.sum(axis=0)
    for n in range(channels):
        np.testing.assert_allclose(rgb[n, 0] - 0.5, 0.4 * hues[n])
        np.testing.assert_allclose(rgb[n, 1] - 0.5, -0.4 * hues[n])


@pytest.mark.parametrize("channels", [2, 3, 4, 5, 12])
def test_channels_that_are_alike_are_grey(channels):
    shades = np.linspace(0, 1, 7)
    rgb = collapse_image(np.repeat(shades[:, None], channels, axis=1))
    np.testing.assert_allclose(rgb, np.repeat(rgb[:, :1], 3, axis=1))
    np.testing.assert_allclose(rgb[[0, -1]], [[0] * 3, [1] * 3], atol=1e-12)


def test_channels_together_are_not_clipped_but_scaled():
    image = np.stack([np.ones((2, 2, 12)), np.full((2, 2, 12), 0.75)])
    rgb = collapse_image(image)
    assert rgb.max() == 1
    np.testing.assert_allclose(rgb[1] - 0.5, (rgb[0] - 0.5) / 2)
    assert rgb.min() >= 0


def test_colours_of_an_image_are_visible_where_those_of_activations_are_nearly_white():
    image = 0.5 + np.clip(ACTS / 10, -0.5, 0.5)
    as_image, as_acts = (
        colours.max(-1) - colours.min(-1)
        for colours in (coloured(image), coloured(image, image=False))
    )
    assert as_image.mean() > 4 * as_acts.mean()


# Images and activations


def test_what_has_its_mean_near_the_middle_is_an_image():
    for image in IMAGES:
        np.testing.assert_array_equal(coloured(image), collapse_image(image))
        in_bytes = np.rint(255 * image).astype(np.uint8)
        for domain in ((0, 1), None):
            np.testing.assert_array_equal(
                coloured(in_bytes, domain), collapse_image(in_bytes / 255)
            )
    dark = IMAGES[0] * (0.24 / IMAGES[0].mean())
    np.testing.assert_array_equal(coloured(dark, image=True), collapse_image(dark))
    np.testing.assert_allclose(
        coloured(dark), collapse_channels(dark) / max(1, collapse_channels(dark).max())
    )
    bright = dark * (0.26 / 0.24)
    np.testing.assert_array_equal(coloured(bright), collapse_image(bright))
    outside = np.concatenate([IMAGES[0], np.full((1, 7, 12), 1.01)])
    assert np.abs(coloured(outside) - collapse_image(outside)).max() > 0.1


def test_activations_of_any_size_are_not_white():
    for size in (1, 30):
        rgb = coloured(size * ACTS[0])
        colours = collapse_channels(size * ACTS[0])
        np.testing.assert_allclose(rgb, colours / colours.max(), atol=1e-12)
        assert (rgb.max(-1) == 1).sum() == 1


def test_small_activations_stay_as_dark_as_they_are():
    acts = ACTS[0] / 100
    np.testing.assert_array_equal(coloured(acts), collapse_channels(acts))
    np.testing.assert_array_equal(coloured(acts, None), collapse_channels(acts))


def test_another_domain_is_where_the_values_lie():
    image = 10 * IMAGES[0] - 5
    np.testing.assert_allclose(
        coloured(image, (-5, 5)), 10 * collapse_image(IMAGES[0]) - 5, atol=1e-13
    )
    for domain in ((1, 1), (0, np.inf), (0, 1, 2)):
        with pytest.raises(InputError, match=r"The domain \(.*\) is no interval"):
            coloured(image, domain)


# One tile for each channel


def test_tiles_show_the_channels_one_by_one():
    image = IMAGES[0][..., :5]
    tiles = coloured(image, channels="tiles")
    assert tiles.shape == (2 * 6 + 1, 3 * 7 + 2, 1)
    for n in range(5):
        y, x = n // 3 * 7, n % 3 * 8
        np.testing.assert_array_equal(tiles[y : y + 6, x : x + 7, 0], image[..., n])
    assert (tiles[6] == 1).all()
    assert (tiles[:, 7] == 1).all()
    assert coloured(IMAGES, channels="tiles").shape == (2, 3 * 7 - 1, 4 * 8 - 1, 1)


@pytest.mark.parametrize("domain", [(-4, 4), None])
def test_the_gap_between_tiles_is_white_in_any_domain(domain):
    tiles = coloured(ACTS[0], domain, "tiles")
    assert tiles[6, 0] == (ACTS[0].max() if domain is None else 4)


def test_ways_that_do_not_exist():
    with pytest.raises(InputError, match="channels='hues' is unknown: it is 'hue', 'tiles', or"):
        coloured(IMAGES[0], channels="hues")


# Sheets, animations, files


def test_images_side_by_side_have_one_kind_of_channels():
    assert side_by_side(IMAGES).shape == (6, 14, 3)
    assert side_by_side(IMAGES, 1).shape == (12, 7, 3)
    assert side_by_side(IMAGES[..., :1]).shape == (6, 14, 1)
    dark = IMAGES / 100
    np.testing.assert_array_equal(side_by_side(dark)[:, :7], collapse_image(dark[0]))


def test_a_single_image_is_no_batch():
    for shape in ((6, 7), (6, 7, 3)):
        with pytest.raises(InputError, match=r"no batch of images .* with array\[None\]"):
            side_by_side(np.zeros(shape))


def test_no_channels_have_no_colours():
    with pytest.raises(InputError, match=r"\(6, 7, 0\) has no channels"):
        collapse_image(IMAGES[0, ..., :0])


def test_the_slices_of_volumes_one_after_the_other():
    volumes = RANDOM.random((2, 5, 3, 4, 1))
    frames = through_depth(volumes)
    np.testing.assert_array_equal(frames[3], np.concatenate([volumes[0, 3], volumes[1, 3]], axis=1))
    with pytest.raises(InputError, match=r"\(5, 3, 4, 1\) is no batch of volumes .*array\[None\]"):
        through_depth(volumes[0])


def test_frames_share_their_scale():
    acts = np.stack([ACTS[0], 2 * ACTS[0]])
    dark, bright = (np.asarray(frame).astype(int) for frame in frames_of(acts, (0, 1)))
    assert bright.max() == 255
    np.testing.assert_allclose(bright, 2 * dark, atol=1)


def test_frames_may_be_grey_pictures_of_rank_two():
    assert [frame.mode for frame in frames_of([np.eye(5), np.eye(5)], (0, 1))] == ["L", "L"]


def test_any_number_of_channels_can_be_saved(tmp_path):
    save(IMAGES[0], tmp_path / "a.png")
    expected = np.rint(255 * collapse_image(IMAGES[0]))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), expected)
    facts = save(IMAGES, tmp_path / "a.gif", channels="tiles")
    assert facts["shape"] == (2, 3 * 7 - 1, 4 * 8 - 1, 3)
    assert contact_sheet(IMAGES).shape == (6, 7 + 4 + 7, 3)


def test_stacks_of_pages(tmp_path):
    path = tmp_path / "a.tiff"
    assert save(ACTS, path)["shape"] == (24, 6, 7)
    np.testing.assert_array_equal(load(path)[12], ACTS[1, ..., 0].astype(np.float32))
    save(ACTS[0, ..., 0], path)  # outside [0, 1], which a picture is not
    np.testing.assert_array_equal(load(path), ACTS[:1, ..., 0].astype(np.float32))
    assert load(path, size=(3, 4)).shape == (4, 3, 3)  # a picture
    Image.fromarray(np.full((6, 7), 51, dtype=np.uint8)).save(path)
    np.testing.assert_array_equal(load(path), np.full((6, 7, 3), np.float32(0.2)))
    save(ACTS, tmp_path / "b.tif.xz")
    assert load(tmp_path / "b.tif.xz").shape == (24, 6, 7)
    for wrong in ("text", [np.ones((2, 2)), np.ones((3, 3))]):
        with pytest.raises(InputError, match=r"is no stack of pages: a \.tiff file takes"):
            save(wrong, path)
    save(ACTS, path)
    with pytest.raises(
        InputError, match=r"size=\(3, 3\) is for a single picture, not for 24 pages"
    ):
        load(path, size=(3, 3))
