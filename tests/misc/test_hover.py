"""Pages to hover over: their data, and in a browser, if there is one, what they do with it."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
from html import unescape

import numpy as np
import pytest
from PIL import Image

from lucent.errors import InputError
from lucent.misc.io.hover import frame_for_maps, hover_icons, hover_maps
from lucent.misc.io.showing import show_page

PHOTO = np.random.default_rng(0).random((30, 40, 3)).astype(np.float32)
#: Five plain icons, each of a brightness of its own.
ICONS = np.broadcast_to(np.linspace(0, 1, 5)[:, None, None, None], (5, 8, 6, 3))
#: Over 2 rows and 3 columns, two icons each.
INDICES = np.array([[[0, 1], [1, 2], [2, 3]], [[3, 4], [4, 0], [0, 2]]])
VALUES = np.array([[[3, 1], [2, 1], [5, 0]], [[9, 4], [1, -2], [2, 1]]], np.float64)
NASTY = '</script><script>document.title = "taken"</script><!-- <b>"quoted" & ünï\u2028'


def typed(page, kind):
    """The typed arrays of a kind on a page."""
    found = re.findall(rf'new {kind}Array\(Uint8Array.from\(atob\("([^"]*)"\)', page)
    return [np.frombuffer(base64.b64decode(data), kind.lower()) for data in found]


def pictures_on(page):
    found = re.findall(r"data:image/WEBP;base64,([^\"]+)\"", page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) / 255 for data in found]


def planes(grid, others):
    """For each position of a grid, a map of others that holds the number of the position."""
    count = grid[0] * grid[1]
    return np.broadcast_to(np.arange(count).reshape(*grid, 1, 1), (*grid, *others))


def test_icons_and_numbers_are_on_the_page():
    page = hover_icons(PHOTO, ICONS, INDICES, VALUES)
    photo, sheet = pictures_on(page)
    assert photo.shape == (30, 40, 3)
    np.testing.assert_allclose(sheet[4, 3::6].mean(-1), np.linspace(0, 1, 5), atol=0.02)
    np.testing.assert_array_equal(typed(page, "Uint32")[0], INDICES.ravel())
    np.testing.assert_array_equal(typed(page, "Float32")[0], VALUES.ravel())


def test_the_page_begins_where_something_is_strongest():
    assert "wanted : [0, 0, 1];" in hover_icons(PHOTO, ICONS, INDICES, VALUES)


def test_maps_are_scaled_to_the_largest_of_their_position():
    maps = planes((2, 3), (4, 5)) * np.linspace(-1, 1, 20).reshape(4, 5)
    (values,) = typed(hover_maps([PHOTO], [[maps]]), "Int8")
    shown = values.reshape(2, 3, 4, 5)
    assert not shown[0, 0].any()
    np.testing.assert_array_equal(shown[0, 1], np.rint(127 * np.linspace(-1, 1, 20).reshape(4, 5)))
    np.testing.assert_array_equal(shown[0, 1], shown[1, 2])


def test_a_position_has_one_scale_over_all_pictures():
    maps = [[planes((1, 2), (3, 3)), 2 * planes((1, 2), (2, 2))]] * 2
    values = typed(hover_maps([PHOTO, PHOTO], maps), "Int8")
    assert [found[-1] for found in values[:2]] == [64, 127]


def test_a_limit_is_the_full_colour():
    maps = planes((1, 3), (2, 2)) - 0.5
    (values,) = typed(hover_maps([PHOTO], [[maps]], limit=1), "Int8")
    np.testing.assert_array_equal(values.reshape(3, 4)[:, 0], [-64, 64, 127])


@pytest.mark.parametrize(
    "page",
    [
        hover_icons(PHOTO, ICONS, INDICES, VALUES, labels=[NASTY] * 5),
        hover_maps([PHOTO], [[planes((2, 3), (2, 3))]], labels=[NASTY]),
    ],
    ids=["icons", "maps"],
)
def test_pages_are_whole_and_labels_stay_texts(page):
    assert not re.search("https?:|//[a-z]+[.]", page)
    assert not re.search(r"\$[a-z]", page)
    assert page.count("<script") == page.count("</script>") == 1
    assert "<!-- " not in page
    texts = re.findall(r'"labels?": \[?("(?:[^"\\]|\\.)*")', page)
    assert NASTY in map(json.loads, texts)


def test_the_frame_holds_the_pictures():
    assert frame_for_maps([PHOTO]) == (840, 270 + 120)
    # Two rows of three, as high as the highest picture.
    assert frame_for_maps([PHOTO, PHOTO.transpose(1, 0, 2), PHOTO, PHOTO])[1] > 2 * 260 * 4 / 3


def test_pages_are_the_same_every_time():
    first, second = (hover_icons(PHOTO, ICONS, INDICES, VALUES) for _ in range(2))
    assert first == second


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Returns the page as it is after its scripts have run."""
    if (program := shutil.which("chromium") or shutil.which("google-chrome")) is None:
        pytest.skip("there is no Chromium to open pages with")
    folder = tmp_path_factory.mktemp("browser")

    def opened(page, position):
        (folder / "page.html").write_text(page, encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        command = [program, *options, f"--user-data-dir={folder}", "--dump-dom"]
        address = (folder / "page.html").as_uri() + position
        done = subprocess.run([*command, address], capture_output=True, check=True, timeout=60)
        return done.stdout.decode()

    return opened


def test_a_browser_shows_the_icons_of_a_position(browser):
    labels = [NASTY, "one", "two", "three", "four"]
    shown = browser(hover_icons(PHOTO, ICONS, INDICES, VALUES, labels=labels), "#0,1,1")
    icons = re.findall(r'<div class="icon".*?</b>(.*?)</div>', shown, re.DOTALL)
    assert [unescape(icon) for icon in icons] == ["four\n1.00", NASTY + "\n-2.00"]
    assert re.findall(r"<b style=\"width: ([\d.]+)px", shown) == ["0.666667", "0"]
    assert "<title>Units</title>" in shown
    assert "column 1, row 1</output>" in shown


def test_a_browser_lays_maps_over_all_pictures(browser):
    grids = [(2, 3), (4, 5)]
    maps = [[planes(own, other) for other in grids] for own in grids]
    shown = browser(hover_maps([PHOTO, PHOTO], maps, labels=["first", "second"]), "#1,4,2")
    sizes = re.findall(r'<canvas width="(\d+)" height="(\d+)">', shown)
    assert sizes == [("3", "2"), ("5", "4")]
    assert "second, column 4, row 2</output>" in shown


def test_a_browser_leaves_pictures_without_a_map_as_they_are(browser):
    maps = [[None, planes((2, 3), (4, 5))], [planes((4, 5), (2, 3)), None]]
    shown = browser(hover_maps([PHOTO, PHOTO], maps), "#0,1,1")
    assert re.findall('class="(picture[^"]*)"', shown) == ["picture", "picture faded"]
    assert re.findall("<canvas([^>]*)>", shown) == [' hidden=""', ' width="5" height="4"']


def test_a_page_is_shown_in_a_frame(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda thing: shown.append(thing.data))
    show_page('<p class="a">1 & 2</p>', width=300, height=200)
    (frame,) = shown
    assert 'width="300" height="200"' in frame
    assert unescape(re.search('srcdoc="([^"]*)"', frame)[1]) == '<p class="a">1 & 2</p>'


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"values": VALUES[:1]}, r"\(2, 3, 2\) and values \(1, 3, 2\)"),
        ({"indices": INDICES + 1}, "from 0 to 4; got int64 from 1 to 5"),
        ({"indices": INDICES / 1}, "integers from 0 to 4; got float64"),
        ({"labels": ["one"]}, "There are 5 icons but 1 labels"),
        ({"values": VALUES * np.nan}, "values has NaN"),
    ],
)
def test_icons_that_do_not_fit(changed, text):
    with pytest.raises(InputError, match=text):
        hover_icons(PHOTO, **{"icons": ICONS, "indices": INDICES, "values": VALUES, **changed})


@pytest.mark.parametrize(
    ("maps", "options", "text"),
    [
        ([[np.ones((2, 3, 2, 3))]], {"labels": ["a", "b"]}, "1 pictures, 2 labels"),
        ([[np.ones((2, 3, 2, 3))] * 2], {}, r"maps for 1 pictures of \[2\]"),
        ([[np.ones((2, 3))]], {}, r"shapes \[\(2, 3\)\]: expected \(rows, columns, h, w\)"),
        ([[None]], {}, r"shapes \[\]: expected"),
        ([[np.full((1, 1, 1, 1), np.inf)]], {}, "maps has NaN or infinite"),
        ([[np.ones((1, 1, 1, 1))]], {"limit": 0}, "limit=0 has to be"),
    ],
)
def test_maps_that_do_not_fit(maps, options, text):
    with pytest.raises(InputError, match=text):
        hover_maps([PHOTO], maps, **options)


def test_icons_of_several_sizes_are_refused():
    icons, one = [np.zeros((4, 4, 3)), np.zeros((5, 4, 3))], np.zeros((1, 1, 1))
    with pytest.raises(InputError, match="Icons have to be of one shape"):
        hover_icons(np.zeros((8, 8, 3)), icons, one.astype(int), one)
