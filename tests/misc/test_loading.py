"""Reading files of every kind, from everywhere."""

from __future__ import annotations

import http.server
import io
import json
import lzma
import os
import re
import threading
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from lucent.errors import InputError, WeightsError
from lucent.misc.io import load, save

PICTURE = np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8)


def png(array, mode=None):
    buffer = io.BytesIO()
    picture = Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(buffer, "PNG")
    return buffer.getvalue()


# Pictures


def test_picture_is_floats_from_0_to_1():
    loaded = load(io.BytesIO(png(PICTURE)))
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, PICTURE / np.float32(255))


@pytest.mark.parametrize(
    ("mode", "shape"),
    [("1", (8, 6, 3)), ("L", (8, 6, 3)), ("LA", (8, 6, 4)), ("P", (8, 6, 3)), ("RGBA", (8, 6, 4))],
)
def test_every_kind_of_picture_has_three_channels_or_four(mode, shape):
    loaded = load(io.BytesIO(png(PICTURE, mode)))
    assert loaded.shape == shape
    if mode in ("1", "L"):
        expected = np.asarray(Image.fromarray(PICTURE).convert(mode).convert("L")) / np.float32(255)
        np.testing.assert_array_equal(loaded, expected[..., None] * np.ones(3))


def test_palette_gives_its_colours_not_their_numbers():
    two = np.zeros((4, 4, 3), np.uint8)
    two[:2] = (255, 51, 0)
    np.testing.assert_array_equal(load(io.BytesIO(png(two, "P"))), two / np.float32(255))


def test_sixteen_bits_are_divided_by_their_largest_value():
    numbers = np.array([[0, 1, 32768, 65535]], np.uint16)
    loaded = load(io.BytesIO(png(numbers)))
    np.testing.assert_array_equal(loaded[..., 0], numbers / np.float32(65535))
    assert loaded.shape == (1, 4, 3)


def test_photograph_stands_upright(tmp_path):
    picture, exif = Image.fromarray(PICTURE), Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a right angle
    picture.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(load(tmp_path / "a.png"), np.rot90(PICTURE, -1) / np.float32(255))


def test_picture_is_resized_to_width_and_height(tmp_path):
    save(PICTURE, tmp_path / "a.png")
    expected = Image.fromarray(PICTURE).resize((3, 5), Image.Resampling.LANCZOS)
    loaded = load(tmp_path / "a.png", size=(3, 5))
    np.testing.assert_array_equal(loaded, np.asarray(expected) / np.float32(255))
    numbers = np.array([[0, 0, 65535, 65535]] * 4, np.uint16)
    resized = load(io.BytesIO(png(numbers)), size=(9, 9))
    assert (resized.shape, resized.min(), resized.max()) == ((9, 9, 3), 0, 1)
    for size in ((0, 5), 5, (2.5, 5), (1, 2, 3)):
        with pytest.raises(InputError, match=rf"size={re.escape(repr(size))}.*\(width, height\)"):
            load(tmp_path / "a.png", size=size)


def test_animation_gives_its_first_picture(tmp_path):
    save([np.zeros((2, 2, 3)), np.ones((2, 2, 3))], tmp_path / "a.gif")
    assert (load(tmp_path / "a.gif") == 0).all()


def test_unknown_ending_is_tried_as_a_picture(tmp_path):
    for name in ("a", "a.bmp", "a.dat"):
        Image.fromarray(PICTURE).save(tmp_path / name, "BMP")
        np.testing.assert_array_equal(load(tmp_path / name), PICTURE / np.float32(255))


# Sources


def test_path_is_a_string_a_path_or_a_file_address(tmp_path):
    path = tmp_path / "an ä.json"
    save([1], path)
    assert load(path) == load(os.fspath(path)) == load(path.as_uri()) == [1]


def test_open_file_tells_its_format_by_its_name(tmp_path):
    save([1], tmp_path / "a.json")
    with (tmp_path / "a.json").open("rb") as file:
        assert load(file) == [1]


def test_ending_may_be_in_capitals_and_the_format_may_be_named(tmp_path):
    (tmp_path / "A.JSON").write_bytes(b"[1]")
    (tmp_path / "b").write_bytes(b"[2]")
    (tmp_path / "c.txt.XZ").write_bytes(lzma.compress(b"three"))
    assert load(tmp_path / "A.JSON") == [1]
    assert load(tmp_path / "b", fmt="json") == load(tmp_path / "b", fmt=".JSON") == [2]
    assert load(tmp_path / "c.txt.XZ") == "three"


def test_list_is_read_in_its_order(tmp_path):
    for n in range(20):
        save(n, tmp_path / f"{n}.json")
    assert load([tmp_path / f"{n}.json" for n in range(20)]) == list(range(20))
    assert load(()) == []
    save("a\nb", tmp_path / "a.txt")
    assert load((tmp_path / "a.txt",) * 2, split=True) == [["a", "b"]] * 2


def test_list_with_a_missing_file_is_an_error(tmp_path):
    save(1, tmp_path / "a.json")
    with pytest.raises(WeightsError, match=r"b\.json"):
        load([tmp_path / "a.json", tmp_path / "b.json"])


# Bad input


def test_missing_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError) as error:
        load("not/there.png")
    assert "'not/there.png' cannot be read: No such file" in str(error.value)
    assert f"Paths start from {os.getcwd()}" in str(error.value)


@pytest.mark.parametrize("source", [3, b"[1]", io.StringIO("[1]"), None])
def test_what_is_no_source(source):
    with pytest.raises(InputError, match=f"A {type(source).__name__} cannot be loaded.*'rb'"):
        load(source, fmt="json")


def test_ending_of_no_format(tmp_path):
    (tmp_path / "a.jsn").write_bytes(b"[1]")
    with pytest.raises(InputError) as error:
        load(tmp_path / "a.jsn")
    for part in ("a.jsn' cannot be read", "'.jsn' is none of", "mean '.json'", "fmt='png'"):
        assert part in str(error.value)
    with pytest.raises(InputError, match="What was given cannot be read: it is no picture"):
        load(io.BytesIO(b"[1]"))


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "gif", "npy", "npz", "json", "npy.xz"])
@pytest.mark.parametrize("content", [b"", b"\x89no file of this kind" * 20])
def test_damaged_file(tmp_path, ending, content):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"a\.{ending}' is damaged or no {ending[:3]}"):
        load(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.npy", "a.npz", "a.npy.xz"])
def test_file_that_ends_too_soon(tmp_path, name):
    save(PICTURE, tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(WeightsError, match=f"{name}' is damaged"):
        load(tmp_path / name)


def test_text_in_another_encoding(tmp_path):
    (tmp_path / "a.txt").write_bytes("Grüße".encode("latin-1"))
    with pytest.raises(WeightsError, match="a.txt' is damaged.*utf-8.*encoding='latin-1'"):
        load(tmp_path / "a.txt")
    assert load(tmp_path / "a.txt", encoding="latin-1") == "Grüße"


def test_damaged_pickle(tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"no pickle")
    with pytest.raises(WeightsError, match="a.pkl' is damaged"):
        load(tmp_path / "a.pkl", allow_unsafe_formats=True)


@pytest.mark.parametrize(
    ("name", "option", "text"),
    [
        ("a.json", {"size": (2, 2)}, r"size=\(2, 2\) is no option of .json.*take encoding\."),
        ("a.txt", {"spilt": True}, "spilt=True is no option of .txt.*Did you mean 'split'"),
        ("a.npy", {"encoding": "utf-8"}, "they take none"),
        ("a", {"split": True}, "no option of such files; they take size"),
    ],
)
def test_unknown_options_are_refused(tmp_path, name, option, text):
    with pytest.raises(InputError, match=text):
        load(tmp_path / name, **option)


def test_objects_within_arrays_are_not_taken_for_damage(tmp_path):
    np.save(tmp_path / "a.npy", np.array([None]), allow_pickle=True)
    with pytest.raises(InputError, match="A .npy file with Python objects may run any code"):
        load(tmp_path / "a.npy")


# Addresses


class Server(http.server.ThreadingHTTPServer):
    """Serves a dict of files and counts how often each was asked for."""

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked = files, []

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        content = self.server.files.get(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", os.fspath(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    with Server({"/a/x.json": b"[1]", "/b/x.json": b"[2]", "/p?q=a.json": png(PICTURE)}) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def kept(tmp_path):
    folder = tmp_path / "torch" / "hub" / "lucent"
    return sorted(folder.iterdir()) if folder.exists() else []


def test_address_is_fetched_once_and_kept(server, tmp_path):
    assert load(server.url("/a/x.json")) == load(server.url("/a/x.json")) == [1]
    assert server.asked == ["/a/x.json"]
    (file,) = kept(tmp_path)
    assert re.fullmatch(r"[0-9a-f]{16}-x\.json", file.name)
    assert load(file) == [1]


def test_same_names_at_different_addresses_are_kept_apart(server, tmp_path):
    assert load([server.url("/a/x.json"), server.url("/b/x.json")]) == [[1], [2]]
    assert len(kept(tmp_path)) == 2


def test_question_in_an_address_is_no_ending(server):
    np.testing.assert_array_equal(load(server.url("/p?q=a.json")), PICTURE / np.float32(255))


def test_cache_can_be_renewed_left_out_and_be_elsewhere(server, tmp_path):
    url = server.url("/a/x.json")
    load(url)
    server.files["/a/x.json"] = b"[3]"
    assert load(url) == [1]
    assert load(url, cache="purge") == load(url) == [3]
    assert len(server.asked) == 2
    server.files["/a/x.json"] = b"[4]"
    assert load(url, cache=False) == [4]
    assert load(url, cache=True) == [3]
    assert load(url, cache=tmp_path / "mine") == [4]
    server.files.clear()
    assert load(url, cache=os.fspath(tmp_path / "mine")) == [4]
    assert len(os.listdir(tmp_path / "mine")) == len(kept(tmp_path)) == 1


def test_damaged_copy_is_fetched_again(server, tmp_path):
    url = server.url("/a/x.json")
    load(url)
    kept(tmp_path)[0].write_bytes(b"[")
    assert load(url) == [1]
    assert load(url) == [1]
    assert len(server.asked) == 2


@pytest.mark.parametrize(("path", "error"), [("/e.json", WeightsError), ("/e", InputError)])
def test_page_of_an_error_is_not_kept(server, tmp_path, path, error):
    server.files[path] = b"<html>come back later</html>"
    with pytest.raises(error, match="'/e"):
        load(server.url(path))
    assert kept(tmp_path) == []
    assert len(server.asked) == 1
    server.files[path] = json.dumps([1]).encode() if path == "/e.json" else png(PICTURE)
    load(server.url(path))


def test_missing_address(server, tmp_path):
    with pytest.raises(WeightsError) as error:
        load(server.url("/none.json"))
    for part in (server.url("/none.json"), "404", "load(FILE)"):
        assert part in str(error.value)
    assert kept(tmp_path) == []


def test_wrong_options_fetch_nothing(server):
    for call in (partial(load, size=(2, 2)), partial(load, fmt="pkl")):
        with pytest.raises(InputError):
            call(server.url("/a/x.json"))
    with pytest.raises(InputError, match="size=0 is no size"):
        load(server.url("/a/x.png"), size=0)
    assert server.asked == []
