"""The four commands of the README, as they stand there, and the site that they make."""

from __future__ import annotations

import pytest
from process import run_python
from report.browser import Visitor, chromium
from test_readme import COMMANDS

WHOLE = [command for command in COMMANDS if command.split()[-1] == "out"]

# Everything is real but how much of it there is.
SHORTENED = {
    "collect": ["--limit", "280"],
    "sweep": ["--units", "0-15", "--steps", "32"],
    "atlas": ["--grids", "5", "10", "--steps", "24"],
    "microscope": [],
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site."""
    folder = tmp_path_factory.mktemp("whole")
    for command in WHOLE:
        words = command.split()
        done = run_python("-m", *words, *SHORTENED[words[1]], cwd=folder)
        assert done.returncode == 0, done.stderr
        printed = folder / done.stdout.strip()
        assert printed.exists()
    assert printed == folder / "out" / "site" / "index.html"
    return printed.parent


@pytest.fixture
def page(site):
    """The first page, looked at by someone who has nothing to complain about."""
    with chromium() as browser:
        visitor = Visitor(browser, site)
        yield visitor.open("index.html")
        visitor.check()


def test_the_readme_shows_all_four():
    assert [command.split()[1] for command in WHOLE] == list(SHORTENED)


def test_from_the_overview_to_a_layer_to_a_unit(page):
    for layer in ("conv1", "mixed3a", "mixed4b", "head"):
        assert page.get_by_role("link", name=layer).count() > 0
    page.get_by_role("link", name="mixed4a").first.click()
    page.locator(".grid .cell").nth(3).click()
    page.wait_for_url("**/units/mixed4a/3.html")
    broken = "pictures => pictures.filter(p => p.complete && !p.naturalWidth).map(p => p.src)"
    assert page.locator("img").count() > 20
    assert page.locator("img").evaluate_all(broken) == []
    assert page.locator(".weights a[href*='mixed3b']").count() > 0
    assert page.locator(".similar a").count() > 0


def test_search_knows_units_and_labels(page):
    page.keyboard.press("/")
    page.locator("#search input").fill("mixed4b:24")
    page.keyboard.press("Enter")
    page.wait_for_url("**/units/mixed4b/24.html")
    page.keyboard.press("/")
    page.locator("#search input").fill("rings")
    options = page.locator("#results").get_by_role("option")
    options.first.wait_for()
    assert any(text.startswith("head:") for text in options.all_inner_texts())


def test_the_atlas_is_zoomed(page):
    page.locator("a[href^='atlas/']").first.click()
    page.wait_for_url("**/atlas/**")
    page.wait_for_selector("[data-level]")
    page.wait_for_timeout(1500)  # fading in
    canvas, button = page.locator("canvas").first, page.get_by_role("button", name="Zoom in")
    before = canvas.screenshot()
    assert canvas.screenshot() == before
    button.click()
    page.wait_for_timeout(1500)
    assert canvas.screenshot() != before
