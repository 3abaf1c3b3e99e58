"""Writing files, and reading them again."""

from __future__ import annotations

import io
import json
import os
import sys
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from lucent.errors import InputError, MissingExtra
from lucent.misc.io import load, save
from lucent.misc.io.pictures import tiled

TEXTURE = np.random.default_rng(0).random((8, 6, 3), dtype=np.float32)
BYTES = np.random.default_rng(1).integers(0, 256, (8, 6, 3), dtype=np.uint8)


def stored(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


# Pictures


def test_bytes_survive_exactly(tmp_path):
    save(BYTES, tmp_path / "a.png")
    np.testing.assert_array_equal(stored(tmp_path / "a.png"), BYTES)
    np.testing.assert_array_equal(np.rint(load(tmp_path / "a.png") * 255), BYTES)


def test_floats_survive_to_half_a_byte(tmp_path):
    save(TEXTURE, tmp_path / "a.png")
    assert np.abs(load(tmp_path / "a.png") - TEXTURE).max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_survive(tmp_path, channels):
    picture = np.random.default_rng(0).integers(0, 256, (4, 5, channels), dtype=np.uint8)
    save(picture, tmp_path / "a.png")
    expected = np.repeat(picture, 3, axis=2) if channels == 1 else picture
    np.testing.assert_array_equal(np.rint(load(tmp_path / "a.png") * 255), expected)


def test_contrast_is_not_stretched(tmp_path):
    save(np.full((2, 2, 3), 0.25) + np.eye(2)[..., None] / 4, tmp_path / "a.png")
    assert sorted(set(stored(tmp_path / "a.png").ravel())) == [64, 128]
    save(np.full((2, 2, 3), 0.25) + np.eye(2)[..., None] / 4, tmp_path / "a.png", domain=None)
    assert sorted(set(stored(tmp_path / "a.png").ravel())) == [0, 255]
    save(np.full((2, 2), -1), tmp_path / "a.png", domain=(-2, 0))
    assert sorted(set(stored(tmp_path / "a.png").ravel())) == [128]


def test_tensors_and_pictures_of_pillow_are_written(tmp_path):
    save(torch.from_numpy(TEXTURE).permute(2, 0, 1)[None].requires_grad_(), tmp_path / "a.png")
    np.testing.assert_array_equal(stored(tmp_path / "a.png"), np.rint(TEXTURE * 255))
    save(Image.fromarray(BYTES), tmp_path / "b.png")
    np.testing.assert_array_equal(stored(tmp_path / "b.png"), BYTES)


def test_pictures_of_pillow_keep_their_kind(tmp_path):
    save(Image.fromarray(BYTES).quantize(16), tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == "P"
    sixteen_bits = np.array([[0, 40000]], np.uint16)
    save(Image.fromarray(sixteen_bits), tmp_path / "a.png")
    np.testing.assert_array_equal(stored(tmp_path / "a.png"), sixteen_bits)


def test_several_pictures_are_written_side_by_side(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (5, 4, 3, 3), dtype=np.uint8)
    save(pictures, tmp_path / "row.png")
    save([pictures[:2], pictures[2:]], tmp_path / "rows.png", columns=2)
    np.testing.assert_array_equal(stored(tmp_path / "row.png"), tiled(pictures))
    np.testing.assert_array_equal(stored(tmp_path / "rows.png"), tiled(pictures, 2))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.jpg", "JPEG"), ("a.JPEG", "JPEG"), ("a.webp", "WEBP"), ("a.png", "PNG")],
)
def test_ending_chooses_the_format(tmp_path, name, kind):
    facts = save(TEXTURE, os.fspath(tmp_path / name))
    assert facts == {"type": "image", "shape": (8, 6, 3), "url": os.fspath(tmp_path / name)}
    assert Image.open(tmp_path / name).format == kind


def test_quality_is_passed_on(tmp_path):
    sizes = [
        (save(TEXTURE, tmp_path / "a.jpg", **options), (tmp_path / "a.jpg").stat().st_size)[1]
        for options in ({"quality": 20}, {}, {"quality": 100})
    ]
    assert sizes == sorted(set(sizes))
    save(BYTES, tmp_path / "a.webp", lossless=True)
    np.testing.assert_array_equal(stored(tmp_path / "a.webp"), BYTES)


def test_misspelt_option_of_a_picture_was_ignored(tmp_path):
    with pytest.raises(InputError, match=r"qualty=3 is no option of .jpg.*Did you mean 'quality'"):
        save(BYTES, tmp_path / "a.jpg", qualty=3)
    save(BYTES, tmp_path / "a.jpg", quality=3, optimize=True, subsampling=0)


def test_lists_of_unequal_arrays_are_no_array(tmp_path):
    with pytest.raises(InputError, match=r"list is no array .*\.npz keeps several"):
        save([np.ones(2), np.ones(3)], tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        ("text", "str is no picture"),
        (np.zeros(3), r"ndarray of shape \(3,\) is no picture"),
        (np.array([[np.nan]]), "NaN"),
    ],
)
def test_what_is_no_picture(tmp_path, thing, text):
    with pytest.raises(InputError, match=text):
        save(thing, tmp_path / "a.png")
    assert os.listdir(tmp_path) == []


def test_format_that_cannot_hold_the_picture(tmp_path):
    with pytest.raises(InputError, match=r"RGBA picture cannot be written as .jpg.*Use the ending"):
        save(np.zeros((2, 2, 4)), tmp_path / "a.jpg")
    assert os.listdir(tmp_path) == []


# Arrays


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        TEXTURE.T,
        np.array(3.5),
        np.array([True]),
        np.zeros((0, 2), np.float16),
        np.array(["a", "bc"]),
    ],
)
@pytest.mark.parametrize("ending", ["npy", "npy.xz"])
def test_arrays_survive(tmp_path, array, ending):
    path = tmp_path / f"a.{ending}"
    assert save(array, path) == {"type": "npy", "shape": array.shape, "url": os.fspath(path)}
    loaded = load(path)
    assert loaded.dtype == array.dtype
    np.testing.assert_array_equal(loaded, array)


def test_tensors_are_written_with_their_axes_as_they_are(tmp_path):
    tensor = torch.arange(24.0).view(2, 3, 4).requires_grad_()
    save(tensor, tmp_path / "a.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), tensor.detach().numpy())


def test_dicts_and_lists_of_arrays_survive(tmp_path):
    arrays = {"file": np.eye(2), "allow_pickle": np.arange(3), "acts/4a": TEXTURE}
    facts = save(arrays, tmp_path / "a.npz")
    loaded = load(tmp_path / "a.npz")
    assert list(loaded) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)
    assert facts["shape"] == {"file": (2, 2), "allow_pickle": (3,), "acts/4a": (8, 6, 3)}
    save([np.eye(2), torch.ones(1)], tmp_path / "b.npz.xz")
    assert list(load(tmp_path / "b.npz.xz")) == ["arr_0", "arr_1"]
    save(np.eye(2), tmp_path / "c.npz")
    with np.load(tmp_path / "c.npz") as numpys:
        np.testing.assert_array_equal(numpys["arr_0"], np.eye(2))
    assert zipfile.is_zipfile(tmp_path / "c.npz")


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_python_objects_are_neither_written_nor_read_unless_allowed(tmp_path, name):
    thing = np.array([{"a": 1}])
    with pytest.raises(InputError, match=r"may run any code.*allow_unsafe_formats=True"):
        save(thing, tmp_path / name)
    assert os.listdir(tmp_path) == []
    save(thing, tmp_path / name, allow_unsafe_formats=True)
    with pytest.raises(InputError, match=r"may run any code.*allow_unsafe_formats=True"):
        load(tmp_path / name)
    loaded = load(tmp_path / name, allow_unsafe_formats=True)
    assert (loaded if name == "a.npy" else loaded["arr_0"]).tolist() == [{"a": 1}]


@pytest.mark.parametrize("name", ["a.pkl", "a.pickle", "a.PKL.xz"])
def test_pickles_are_neither_written_nor_read_unless_allowed(tmp_path, name):
    with pytest.raises(InputError, match=r"may run any code.*allow_unsafe_formats=True"):
        save({1, 2}, tmp_path / name)
    save({1, 2}, tmp_path / name, allow_unsafe_formats=True)
    with pytest.raises(InputError, match="allow_unsafe_formats"):
        load(tmp_path / name)
    assert load(tmp_path / name, allow_unsafe_formats=True) == {1, 2}


# JSON and text


class Point:
    def to_json(self):
        return {"x": 1}


def test_json_knows_arrays_sets_and_objects_that_say_how(tmp_path):
    thing = {
        "tuple": (1, 2),
        "set": {3},
        "number": np.float32(0.5),
        "truth": np.bool_(True),
        "array": np.arange(4).reshape(2, 2),
        "tensor": torch.ones(2, requires_grad=True),
        "object": [Point()],
        "text": "Grüße",
    }
    facts = save(thing, tmp_path / "a.json")
    assert facts == {"type": "json", "url": os.fspath(tmp_path / "a.json")}
    assert load(tmp_path / "a.json") == {
        "tuple": [1, 2],
        "set": [3],
        "number": 0.5,
        "truth": True,
        "array": [[0, 1], [2, 3]],
        "tensor": [1, 1],
        "object": [{"x": 1}],
        "text": "Grüße",
    }
    assert (tmp_path / "a.json").read_text(encoding="utf-8").startswith('{\n  "tuple"')
    save([1, 2], tmp_path / "a.json", indent=None)
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == "[1, 2]"


def endless():
    thing = []
    thing.append(thing)
    return thing


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        ({"a": object()}, "JSON has no object: <object"),
        ({(1, 2): 3}, "dict cannot be written as JSON: keys must be"),
        (endless(), "list cannot be written as JSON: Circular"),
    ],
)
def test_what_json_does_not_know(tmp_path, thing, text):
    with pytest.raises(InputError, match=text):
        save(thing, tmp_path / "a.json")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.txt.xz"])
def test_texts_survive(tmp_path, name):
    save("Grüße\nund Küsse\n", tmp_path / name)
    assert load(tmp_path / name) == "Grüße\nund Küsse\n"
    assert load(tmp_path / name, split=True) == ["Grüße", "und Küsse"]
    save(["a", 1], tmp_path / name)
    assert load(tmp_path / name) == "a\n1\n"


def test_lines_end_alike_on_every_machine(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"a\r\nb\r\n")
    assert load(tmp_path / "a.txt") == "a\nb\n"


def test_only_texts_have_any_ending(tmp_path):
    facts = save("<svg/>", tmp_path / "a.svg")
    assert facts == {"type": "svg", "url": os.fspath(tmp_path / "a.svg")}
    assert (tmp_path / "a.svg").read_bytes() == b"<svg/>"
    with pytest.raises(InputError, match=r"ending '.pgn' is none of .*Did you mean '.png'.*a str"):
        save(TEXTURE, tmp_path / "a.pgn")
    with pytest.raises(InputError, match="dict is no text: give a str or a list of lines"):
        save({}, tmp_path / "a.txt")


# Every format


def test_unknown_options_are_refused(tmp_path):
    with pytest.raises(InputError, match="quality=3 is no option of .npy files; they take none"):
        save(TEXTURE, tmp_path / "a.npy", quality=3)
    with pytest.raises(InputError, match="fbs=3 is no option of .gif.*domain, fps.*mean 'fps'"):
        save([TEXTURE], tmp_path / "a.gif", fbs=3)


def test_addresses_are_refused():
    with pytest.raises(InputError, match="'https://a.org/b.npy' is no path"):
        save(TEXTURE, "https://a.org/b.npy")


def test_home_folder_is_found_by_its_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    save("hello", "~/notes/a.txt")
    assert (tmp_path / "notes" / "a.txt").read_text() == load("~/notes/a.txt") == "hello"
    save("hello", "~a.txt")
    assert sorted(os.listdir(tmp_path)) == ["notes", "~a.txt"]


def test_folders_are_made(tmp_path):
    save([1], tmp_path / "new" / "folder" / "a.json")
    assert load(tmp_path / "new" / "folder" / "a.json") == [1]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("a.json", [1], {"a": [1, object()]}),
        ("a.gif", [BYTES], [BYTES, BYTES[1:]]),
        ("a.png", BYTES, np.array([[np.nan]])),
        ("a.txt", "old", 3),
    ],
)
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, name, old, new):
    save(old, tmp_path / name)
    before = (tmp_path / name).read_bytes()
    with pytest.raises(InputError):
        save(new, tmp_path / name)
    assert (tmp_path / name).read_bytes() == before
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.npy.xz"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt(), MemoryError()])
def test_half_an_array_is_never_left(tmp_path, monkeypatch, name, error):
    save(BYTES, tmp_path / name)
    before = (tmp_path / name).read_bytes()

    def write_array(file, *_, **__):
        file.write(b"half an arr")
        raise error

    monkeypatch.setattr(np.lib.format, "write_array", write_array)
    with pytest.raises(type(error)):
        save(TEXTURE, tmp_path / name)
    assert (tmp_path / name).read_bytes() == before
    assert os.listdir(tmp_path) == [name]


def test_file_is_as_readable_as_any_other(tmp_path):
    save("", tmp_path / "a.txt")
    (tmp_path / "b").touch()
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_same_thing_gives_the_same_file(tmp_path):
    for name in ("a.npz", "a.json", "a.png", "a.gif"):
        save([TEXTURE, TEXTURE[::-1]] if name != "a.png" else TEXTURE, tmp_path / name)
        first = (tmp_path / name).read_bytes()
        save([TEXTURE, TEXTURE[::-1]] if name != "a.png" else TEXTURE, tmp_path / name)
        assert (tmp_path / name).read_bytes() == first


# Videos

# Each picture is plain, so that neither 256 colours nor a codec changes it much.
PLAIN = np.random.default_rng(0).random((7, 1, 1, 3)) * np.ones((1, 10, 14, 1))


def gif_frames(path):
    with Image.open(path) as picture:
        frames, durations = [], []
        for n in range(picture.n_frames):
            picture.seek(n)
            frames.append(np.asarray(picture.convert("RGB")))
            durations.append(picture.info["duration"])
        return np.stack(frames), durations, picture.info.get("loop")


def test_gif_holds_every_picture_in_order_and_repeats(tmp_path):
    facts = save(PLAIN, tmp_path / "a.gif")
    frames, durations, loop = gif_frames(tmp_path / "a.gif")
    np.testing.assert_array_equal(frames, np.rint(PLAIN * 255))
    assert durations == [100] * 7
    assert loop == 0
    assert facts == {
        "type": "video",
        "shape": (7, 10, 14, 3),
        "url": os.fspath(tmp_path / "a.gif"),
    }


@pytest.mark.parametrize(
    "kind", [np.array, Image.fromarray, lambda array: torch.tensor(array).permute(2, 0, 1)]
)
@pytest.mark.parametrize("name", ["a.gif", "a.mp4"])
def test_single_picture_is_a_video_of_one(tmp_path, name, kind):
    pytest.importorskip("av")
    picture = np.random.default_rng(0).integers(0, 256, (6, 4, 3)).astype(np.uint8)
    assert save(kind(picture), tmp_path / name)["shape"] == (1, 6, 4, 3)


def test_gif_of_any_speed_takes_its_time(tmp_path):
    save(PLAIN, tmp_path / "a.gif", fps=30)
    _, durations, _ = gif_frames(tmp_path / "a.gif")
    assert durations == [30, 40, 30, 30, 40, 30, 30]
    save(PLAIN, tmp_path / "a.gif", fps=3)
    assert sum(gif_frames(tmp_path / "a.gif")[1]) == 2330


def test_snapshots_of_a_run_become_a_video(tmp_path):
    snapshots = [np.stack([picture, 1 - picture]) for picture in PLAIN]
    save(snapshots, tmp_path / "a.gif")
    frames, _, _ = gif_frames(tmp_path / "a.gif")
    np.testing.assert_array_equal(frames[:, :, :14], np.rint(PLAIN * 255))
    np.testing.assert_array_equal(frames[:, :, 14:], np.rint((1 - PLAIN) * 255))
    save(torch.from_numpy(np.moveaxis(PLAIN, -1, 1).copy()), tmp_path / "b.gif")
    np.testing.assert_array_equal(gif_frames(tmp_path / "b.gif")[0], np.rint(PLAIN * 255))


def test_domain_of_a_video_is_that_of_all_its_pictures(tmp_path):
    save([np.full((2, 2), value) for value in (-1, 0, 1)], tmp_path / "a.gif", domain=None)
    frames, _, _ = gif_frames(tmp_path / "a.gif")
    assert frames[:, 0, 0, 0].tolist() == [0, 128, 255]


def mp4_frames(path):
    av = pytest.importorskip("av")
    with av.open(os.fspath(path)) as container:
        (stream,) = container.streams.video
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
        return frames, stream.average_rate, stream.codec_context.name


@pytest.mark.parametrize("size", [(10, 14), (9, 13)])
def test_mp4_holds_every_picture_in_order(tmp_path, size):
    pytest.importorskip("av")
    pictures = PLAIN[:, : size[0], : size[1]]
    facts = save(pictures, tmp_path / "a.mp4", fps=24)
    frames, speed, codec = mp4_frames(tmp_path / "a.mp4")
    assert (frames.shape, speed, codec) == ((7, 10, 14, 3), 24, "h264")
    # 8-bit colours of video cannot tell every colour of a screen apart.
    np.testing.assert_allclose(frames, (PLAIN * 255), atol=4)
    assert facts["shape"] == (7, *size, 3)


def test_mp4_without_its_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtra, match=r'pip install "torch-lucent\[video\]"'):
        save(PLAIN, tmp_path / "a.mp4")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("fps", [0, -1, 1e-4, np.inf, np.nan])
@pytest.mark.parametrize("name", ["a.gif", "a.mp4"])
def test_impossible_speed(tmp_path, name, fps):
    pytest.importorskip("av")
    with pytest.raises(InputError, match=f"fps={fps}: the number of pictures a second is positive"):
        save(PLAIN, tmp_path / name, fps=fps)
    assert os.listdir(tmp_path) == []


def test_speed_is_a_number_of_any_type(tmp_path):
    pytest.importorskip("av")
    for name in ("a.gif", "a.mp4"):
        for fps in (np.float32(3), np.int64(3)):
            assert save(PLAIN, tmp_path / name, fps=fps)["type"] == "video"


def test_speed_that_no_gif_has(tmp_path):
    with pytest.raises(InputError, match="fps=60: a GIF shows at most 50 pictures"):
        save(PLAIN, tmp_path / "a.gif", fps=60)
    with pytest.raises(InputError, match="An animation takes at least one picture"):
        save(np.zeros((0, 2, 2, 3)), tmp_path / "a.gif")


def test_transparent_videos_lie_on_white(tmp_path):
    save([np.zeros((2, 2, 4)), np.ones((2, 2, 4)) * [0, 0, 0, 1]], tmp_path / "a.gif")
    frames, _, _ = gif_frames(tmp_path / "a.gif")
    assert frames[:, 0, 0].tolist() == [[255] * 3, [0] * 3]


def test_json_of_another_program_is_read(tmp_path):
    (tmp_path / "a.json").write_bytes(json.dumps({"a": "ü"}).encode("utf-16"))
    assert load(tmp_path / "a.json", encoding="utf-16") == {"a": "ü"}
    assert load(io.BytesIO(b"[1]"), fmt="json") == [1]
