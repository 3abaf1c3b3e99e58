"""The page of an atlas: it holds all it needs, shows texts as texts, and moves and zooms."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from lucent.errors import InputError
from lucent.misc.io.zoom_map import MapLevel, zoom_map

CHROMIUM = Path("/usr/bin/chromium")
EVIL = '</script><script>document.title="broken"</script>"\' & ü'


def level(grid, text="cell"):
    """A full grid whose icons are as red as their column and as green as their row."""
    rows, columns = (axis.ravel() for axis in np.indices((grid, grid)))
    icons = np.zeros((grid * grid, 16, 16, 3), np.float32)
    icons[..., 0] = (columns / grid)[:, None, None]
    icons[..., 1] = (rows / grid)[:, None, None]
    texts = [f"{text} {column},{row}" for column, row in zip(columns, rows, strict=True)]
    return MapLevel(grid, np.stack([columns, rows], 1), icons, texts)


def content(page):
    return json.loads(re.search(r"const levels = (.*);\n", page)[1])


def test_a_page_has_every_icon_and_text():
    found = content(zoom_map([level(2), level(3)]))
    assert [one["grid"] for one in found] == [2, 3]
    assert found[0]["cells"] == [[0, 0], [1, 0], [0, 1], [1, 1]]
    assert found[1]["texts"][5] == "cell 2,1"
    assert all(one["sheet"].startswith("data:image/") for one in found)


def test_texts_cannot_end_the_script():
    page = zoom_map([level(1, EVIL)], title=EVIL, axis=EVIL)
    assert page.count("<script>") == page.count("</script>") == 1
    assert content(page)[0]["texts"] == [f"{EVIL} 0,0"]


def test_a_page_asks_no_other_host():
    assert not re.search(r"""(src|href)=|https?://|@import|url\(""", zoom_map([level(1)]))


@pytest.mark.parametrize("count", [0, 3])
def test_numbers_of_icons_and_texts_have_to_fit(count):
    with pytest.raises(InputError):
        MapLevel(2, np.zeros((count, 2), int), np.zeros((count, 4, 4, 3)), ["one"])
    with pytest.raises(InputError):
        zoom_map([])


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM.exists(), reason="no Chromium")
def test_the_map_moves_and_zooms_in_a_browser(tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    path = tmp_path / "map.html"
    path.write_text(zoom_map([level(2, EVIL), level(80)]), encoding="utf-8")
    problems, view = [], "[view.x, view.y, view.side, current().grid]"
    with playwright.sync_playwright() as run:
        browser = run.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 600, "height": 400})
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_function("view.side > 0")
        x, y, side, grid = page.evaluate(view)
        assert (x, y, grid) == (0.5, 0.5, 2)
        box = page.locator("#map").bounding_box()
        left, top = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(left + 10, top + 10)
        page.wait_for_function("document.querySelector('output').textContent")
        assert page.locator("output").text_content() == f"{EVIL} 1,1"
        page.mouse.wheel(0, -900)
        page.wait_for_function(f"view.side > {2 * side}")
        assert page.evaluate("current().grid") == 80
        before = page.evaluate(view)
        page.mouse.down()
        page.mouse.move(left + 60, top + 10)
        page.mouse.up()
        assert page.evaluate("view.x") < before[0]
        page.locator("#map").press("ArrowDown")
        assert page.evaluate("view.y") > before[1]
        page.locator("#map").press("0")
        assert page.evaluate(view) == [x, y, side, grid]
        browser.close()
    assert problems == []
