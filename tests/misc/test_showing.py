"""Pictures, animations and meshes in a notebook."""

from __future__ import annotations

import base64
import io
import re
from html import unescape

import IPython.display
import numpy as np
import pytest
import torch
from PIL import Image

from lucent.errors import InputError
from lucent.misc.io import show, showing
from lucent.misc.io.collapse_channels import collapse_channels
from lucent.misc.io.pictures import tiled, to_pil

PICTURES = np.random.default_rng(0).random((3, 4, 5, 3))
BYTES = np.arange(60, dtype=np.uint8).reshape(4, 5, 3) * 4


@pytest.fixture(autouse=True)
def displayed(monkeypatch):
    """What was displayed: the HTML of pages, else the thing itself."""
    things = []
    monkeypatch.setattr(
        IPython.display,
        "display",
        lambda thing: things.append(
            thing.data if isinstance(thing, IPython.display.HTML) else thing
        ),
    )
    return things


def shown(html, kind="PNG"):
    """The pictures on a page, as arrays."""
    data = re.findall(rf'src="data:image/{kind};base64,([^"]+)"', html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(part)))) for part in data]


def assert_shows(displayed, pictures):
    (html,) = displayed
    for found, picture in zip(shown(html), pictures, strict=True):
        np.testing.assert_array_equal(found, np.asarray(to_pil(np.asarray(picture))))
    displayed.clear()


def channels_first(array):
    return torch.from_numpy(np.moveaxis(array, -1, -3).copy())


# One picture


def test_identity_matrix_is_shown_as_in_torch_lucent(displayed):
    showing.image(np.eye(5))
    assert displayed[0].startswith(
        '<img src="data:image/PNG;base64,iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAAAAACoBHk5AAAAEklEQVR4'
        'nGP4z8DAwMDAgJ0CAErTBPw/r52mAAAAAElFTkSuQmCC"'
    )


@pytest.mark.parametrize("picture", [PICTURES[0], PICTURES[0, ..., 0], PICTURES[0, ..., :1], BYTES])
def test_one_picture_is_shown_exactly(displayed, picture):
    show(picture)
    assert_shows(displayed, [picture])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_channels_of_a_tensor_come_before_its_places(displayed, dtype):
    picture = channels_first(PICTURES[0]).to(dtype).requires_grad_()
    expected = np.moveaxis(picture.detach().double().numpy(), 0, -1)
    show(picture)
    assert_shows(displayed, [expected])
    show(picture[None])
    assert_shows(displayed, [expected])
    show(picture[0])
    assert_shows(displayed, [expected[..., 0]])


def test_pictures_of_pillow_are_shown(displayed):
    show(Image.fromarray(BYTES))
    assert_shows(displayed, [BYTES])


def test_original_is_not_changed(displayed):
    picture = PICTURES[0].copy()
    showing.image(picture)
    np.testing.assert_array_equal(picture, PICTURES[0])


# Ranges of values


def test_show_takes_values_from_0_to_1_and_image_those_there_are(displayed):
    picture = np.array([[0.25, 0.75]])
    show(picture)
    assert_shows(displayed, [picture])
    showing.image(picture)
    assert_shows(displayed, [np.array([[0.0, 1]])])
    showing.images([picture, picture / 2 + 0.5])
    assert_shows(displayed, [np.array([[0.0, 1]])] * 2)
    show(picture, domain=None)
    assert_shows(displayed, [np.array([[0.0, 1]])])
    show(picture, domain=(0.5, 1))
    assert_shows(displayed, [np.array([[0.0, 0.5]])])


def test_bytes_are_not_clipped_to_black(displayed):
    show(BYTES)
    assert_shows(displayed, [BYTES])
    showing.image(BYTES)
    assert_shows(displayed, [BYTES])
    show(BYTES, domain=(0, 255))
    assert_shows(displayed, [BYTES])
    show(BYTES[None], domain=(0, 118))
    assert_shows(displayed, [BYTES[..., :3] / 118])


def test_other_integers_follow_the_domain(displayed):
    numbers = np.array([[-4, 0, 2, 4, 9]])
    show(numbers, domain=(0, 4))
    assert_shows(displayed, [np.array([[0, 0, 0.5, 1, 1]])])
    show(numbers, domain=None)
    assert_shows(displayed, [(numbers + 4) / 13])
    show(numbers > 0)
    assert_shows(displayed, [(numbers > 0) * 1.0])


# Channels and volumes


def test_other_numbers_of_channels_become_hues(displayed):
    acts = np.random.default_rng(0).standard_normal((2, 4, 5, 7)) / 4
    show(acts[0])
    assert_shows(displayed, [collapse_channels(acts[0])])
    show(list(acts))
    assert_shows(displayed, collapse_channels(acts))
    show(channels_first(acts))
    assert_shows(displayed, collapse_channels(acts))
    show(acts[..., :2])
    assert_shows(displayed, collapse_channels(acts[..., :2]))


def test_all_slices_of_a_volume_are_shown(displayed):
    volumes = np.random.default_rng(0).random((2, 6, 4, 5, 3))
    sheets = [tiled([volume]) for volume in volumes]
    assert sheets[0].shape == (9, 17, 3)
    show(volumes)
    assert_shows(displayed, sheets)
    show(torch.from_numpy(np.moveaxis(volumes, -1, 1).copy()))
    assert_shows(displayed, sheets)


def test_gaps_between_slices_are_white_whatever_the_domain(displayed):
    show(np.zeros((1, 4, 2, 2, 1)), domain=(-8, 8))
    (sheet,) = shown(displayed[0])
    assert sheet[2].tolist() == [255] * 5
    assert sheet[:2, :2].tolist() == [[128] * 2] * 2


# Several pictures


@pytest.mark.parametrize("kind", [np.asarray, list, tuple, channels_first])
def test_several_pictures_are_shown_in_their_order(displayed, kind):
    show(kind(PICTURES))
    assert_shows(displayed, PICTURES)


def test_result_of_a_rendering_is_shown(displayed):
    show([PICTURES[:2].astype(np.float32), PICTURES[2:].astype(np.float32)])
    assert_shows(displayed, PICTURES.astype(np.float32))


def test_several_pictures_of_different_kinds_are_shown(displayed):
    show([channels_first(PICTURES[0]).requires_grad_(), PICTURES[1], Image.fromarray(BYTES)])
    assert_shows(displayed, [PICTURES[0], PICTURES[1], BYTES / 255])


def captions(html):
    return re.findall(r">([^<>]*)<br/>", html)


def test_several_pictures_have_captions(displayed):
    show(PICTURES)
    show(PICTURES, labels=["fox", 7, 0.5])
    assert [captions(html) for html in displayed] == [["0", "1", "2"], ["fox", "7", "0.5"]]


def test_no_labels_leave_the_captions_out(displayed):
    show(PICTURES, labels=[])
    assert captions(displayed[0]) == []
    assert_shows(displayed, PICTURES)


def test_captions_are_text(displayed):
    show(PICTURES[:1], labels=["a < b & c"])
    assert captions(displayed[0]) == ["a &lt; b &amp; c"]


@pytest.mark.parametrize("labels", [["one"], ["1", "2", "3", "4"]])
def test_another_number_of_labels(labels):
    with pytest.raises(InputError, match=f"3 pictures but {len(labels)} labels"):
        show(PICTURES, labels=labels)


# The page


@pytest.mark.parametrize("name", ["width", "w"])
def test_small_pictures_are_enlarged_without_blur(displayed, name):
    show(PICTURES[0], **{name: 200})
    show(PICTURES, **{name: 200})
    assert [html.count('width="200"') for html in displayed] == [1, 3]
    assert all("image-rendering: pixelated" in html for html in displayed)


def test_pictures_have_their_own_width_unless_told_otherwise(displayed):
    show(PICTURES)
    assert "width=" not in displayed[0]


@pytest.mark.parametrize(("fmt", "kind"), [("jpg", "JPEG"), ("JPEG", "JPEG"), ("webp", "WEBP")])
def test_format_of_the_pictures_can_be_chosen(displayed, fmt, kind):
    show(PICTURES[0], fmt=fmt)
    show(PICTURES, fmt=fmt)
    assert [len(shown(html, kind)) for html in displayed] == [1, 3]


def test_unknown_format():
    with pytest.raises(InputError, match=r"fmt='pgn' is no format.*Did you mean 'png'"):
        show(PICTURES[0], fmt="pgn")
    with pytest.raises(InputError, match="RGBA picture cannot be a jpg.*fmt='png'"):
        show(np.zeros((2, 2, 4)), fmt="jpg")


def test_part_of_a_mode_is_no_mode():
    with pytest.raises(InputError, match="mode='dat'"):
        showing._image_url(PICTURES[0], mode="dat")


@pytest.mark.parametrize("thing", ["text", None, 3, [], ["a"], np.zeros(3), {"a": np.eye(2)}])
def test_everything_else_is_displayed_as_it_is(displayed, thing):
    show(thing)
    assert displayed[0] is thing


def test_image_and_images_take_nothing_else():
    with pytest.raises(InputError, match="A list is no picture"):
        showing.image([[0, 1], [1, 0]])
    with pytest.raises(InputError, match="A list without any picture"):
        showing.images(["a"])


def test_no_number_has_no_colour():
    with pytest.raises(InputError, match="NaN"):
        show(np.array([[0, np.nan]]))


@pytest.mark.parametrize("domain", [(1, 0), (0, 0), (0, np.nan), (0, np.inf), (0, 1, 2)])
def test_domain_that_is_no_interval(domain):
    with pytest.raises(InputError, match=re.escape(f"{domain} is no interval")):
        show(PICTURES[0], domain)


# Animations


def frames_in(html, kind):
    data = re.fullmatch(rf'<img src="data:image/{kind};base64,([^"]+)">', html)[1]
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    frames, durations = [], []
    for n in range(picture.n_frames):
        picture.seek(n)
        frames.append(np.asarray(picture.convert("RGB")))
        durations.append(picture.info["duration"])
    return np.stack(frames), durations, picture.info["loop"]


@pytest.mark.parametrize("kind", [np.asarray, list, channels_first])
def test_animation_goes_forth_and_back(displayed, kind):
    sequence = np.random.default_rng(0).random((4, 6, 6, 3))
    showing.animate_sequence(kind(sequence))
    frames, durations, loop = frames_in(displayed[0], "PNG")
    expected = np.rint(sequence * 255)[[0, 1, 2, 3, 2, 1]]
    np.testing.assert_array_equal(frames, expected)
    assert durations == [250] * 6
    assert loop == 0


def test_two_animations_on_a_page_do_not_disturb_each_other(displayed):
    showing.animate_sequence(PICTURES)
    showing.animate_sequence(PICTURES[:1])
    assert "id=" not in "".join(displayed)
    assert "<style" not in "".join(displayed)


@pytest.mark.parametrize(("fmt", "kind"), [("gif", "GIF"), ("webp", "WEBP")])
def test_animation_in_other_formats(displayed, fmt, kind):
    showing.animate_sequence(PICTURES, fmt=fmt)
    frames, durations, _ = frames_in(displayed[0], kind)
    assert len(frames) == 4
    assert sum(durations) == pytest.approx(4000 / 3, abs=5)


def test_domain_of_an_animation_is_that_of_all_its_pictures(displayed):
    showing.animate_sequence(
        np.array([0.0, 1, 4]).reshape(3, 1, 1, 1) * np.ones((1, 2, 2, 1)), None
    )
    frames, _, _ = frames_in(displayed[0], "PNG")
    assert frames[:, 0, 0, 0].tolist() == [0, 64, 255, 64]


def test_what_cannot_be_animated():
    with pytest.raises(InputError, match="fmt='jpg' holds one picture only"):
        showing.animate_sequence(PICTURES, fmt="jpg")
    with pytest.raises(InputError, match="at least one picture.*got none"):
        showing.animate_sequence([])
    with pytest.raises(InputError, match=r"\[\(2, 2, 3\), \(4, 5, 3\)\]"):
        showing.animate_sequence([PICTURES[0], np.zeros((2, 2, 3))])


# Meshes

MESH = {
    "position": np.float32([[2, 0, 0], [6, 0, 0], [2, 3, 0]]),
    "uv": np.float32([[0, 0], [1, 0], [0, 1]]),
    "face": np.int32([0, 1, 2]),
}


def page_of(displayed):
    (html,) = displayed
    return unescape(re.search('srcdoc="([^"]*)"', html)[1])


def numbers(page, kind):
    """The typed arrays of a kind on a page."""
    found = re.findall(rf'new {kind}Array\(Uint8Array.from\(atob\("([^"]*)"\)', page)
    return [np.frombuffer(base64.b64decode(data), kind.lower()) for data in found]


def test_page_of_a_mesh_holds_the_mesh(displayed):
    texture = np.zeros((4, 4, 3), np.float32)
    showing.textured_mesh(MESH, texture, background="0xabcdef")
    page = page_of(displayed)
    position, uv = numbers(page, "Float32")
    # The box around it is centred, and the corners farthest from there lie on the unit ball.
    np.testing.assert_allclose(
        position.reshape(3, 3), [[-0.8, -0.6, 0], [0.8, -0.6, 0], [-0.8, 0.6, 0]], rtol=1e-6
    )
    np.testing.assert_array_equal(uv, MESH["uv"].ravel())
    assert numbers(page, "Uint32")[0].tolist() == [0, 1, 2]
    assert "background: #abcdef" in page
    assert "data:image/WEBP;base64," in page
    assert (texture == 0).all()


def test_page_of_a_mesh_needs_no_network(displayed):
    showing.textured_mesh(MESH, BYTES)
    page = page_of(displayed)
    assert not re.search("https?:|//[a-z]+[.]", page)
    assert not re.search(r"\$[a-z]", page)


def test_page_of_a_mesh_is_the_same_every_time(displayed):
    showing.textured_mesh(MESH, channels_first(BYTES))
    showing.textured_mesh({**MESH, "face": [[0, 1, 2]]}, BYTES, background="#FFFFFF")
    first, second = (html.replace("FFFFFF", "ffffff") for html in displayed)
    assert first == second
    times = [
        base64.b64decode(pack)[4:8] for pack in re.findall('unpacked\\("([^"]+)', page_of([first]))
    ]
    assert times == [bytes(4)] * 3  # a time of writing would change them from second to second


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"uv": np.zeros((2, 2))}, r"uv \(2, 2\).*expected \(V, 3\)"),
        ({"position": np.zeros((3, 2))}, r"position \(3, 2\)"),
        ({"face": np.int32([0, 1])}, r"face \(2,\)"),
        ({"face": np.int32([0, 1, 3])}, "integers from 0 to 2; got int32 from 0 to 3"),
        ({"face": np.float32([0, 1, 2])}, "got float32"),
    ],
)
def test_mesh_that_is_none(change, text):
    with pytest.raises(InputError, match=text):
        showing.textured_mesh({**MESH, **change}, BYTES)


def test_mesh_without_its_parts():
    with pytest.raises(InputError, match="has no uv, face: .*it has position"):
        showing.textured_mesh({"position": MESH["position"]}, BYTES)
    with pytest.raises(InputError, match="background='white' is no colour"):
        showing.textured_mesh(MESH, BYTES, "white")
