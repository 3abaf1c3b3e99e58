"""The pages in a browser, opened as files: what people click, type and see."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from report.sample import LAYERS, ODD, Sample

pytestmark = pytest.mark.slow
PHONE = {"viewport": {"width": 390, "height": 780}, "has_touch": True, "is_mobile": True}
#: Two frames later what a scroll event asked for is drawn.
FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def paths(sample):
    """One page of each kind: the one with the oddest names."""
    layer = sample.layers[1]
    unit = f"units/{layer.slug}/3.html"
    full = f"units/{layer.slug}/0.html"
    return ["index.html", layer.path, full, unit, sample.site.atlases[0].path]


def search_box(page):
    return page.locator("#search input")


def options_of(page):
    return page.locator("#results").get_by_role("option")


def on_unit(page, name):
    page.wait_for_url(re.compile(r"/units/"))
    assert page.locator("h1").inner_text().replace("\n", "") == name


def test_from_the_overview_to_a_layer_to_a_unit_and_on(visit, sample):
    page = visit().open("index.html")
    page.get_by_role("link", name=LAYERS[1]).first.click()
    assert page.locator("h1").inner_text() == LAYERS[1]
    page.locator(".grid .cell").nth(5).click()
    on_unit(page, f"{LAYERS[1]}:5")
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/6.html")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url("**/5.html")
    page.keyboard.press("u")
    page.wait_for_url("**/layers/**")
    page.keyboard.press("n")
    page.wait_for_url(f"**/{sample.layers[2].path}")
    page.keyboard.press("p")
    page.wait_for_url(f"**/{sample.layers[1].path}")
    page.keyboard.press("o")
    page.wait_for_url("**/index.html")


def test_weights_and_similar_units_lead_on(visit, sample):
    page = visit().open(f"units/{sample.layers[1].slug}/1.html")
    page.locator(".weights a[href*='units']").nth(2).click()
    on_unit(page, f"{LAYERS[0]}:2")
    page.locator(".similar a").nth(1).click()
    on_unit(page, f"{LAYERS[0]}:1")


def test_search_finds_units_by_name_and_number(visit):
    page = visit().open("index.html")
    page.keyboard.press("/")
    search_box(page).fill("conv1:7")
    assert options_of(page).first.inner_text().startswith("conv1:7")
    page.keyboard.press("Enter")
    on_unit(page, "conv1:7")
    page.keyboard.press("/")
    search_box(page).fill("HEAD 3")
    page.keyboard.press("Enter")
    on_unit(page, "head:3")


def test_search_finds_labels_layers_and_atlases(visit, sample):
    page = visit().open(f"units/{sample.layers[0].slug}/0.html")
    page.get_by_role("button", name="Search").click()
    box, options = search_box(page), options_of(page)
    box.fill("label 7")
    assert options.count() == len(LAYERS)
    assert options.first.inner_text().endswith("label 7")
    box.fill("блок")
    assert "Layer of 24 units" in options.first.inner_text()
    box.fill("atlas of")
    assert options.first.inner_text().endswith("Atlas")
    box.fill("no such thing")
    assert options.count() == 0
    assert "Nothing" in page.get_by_role("status").inner_text()


def test_search_is_walked_with_the_arrows(visit):
    page = visit().open("index.html")
    page.keyboard.press("/")
    box, options = search_box(page), options_of(page)
    box.fill("label")
    options.first.wait_for()
    for key, place in [("ArrowDown", 1), ("ArrowDown", 2), ("ArrowUp", 1), ("ArrowUp", 0)]:
        page.keyboard.press(key)
        assert options.nth(place).get_attribute("aria-selected") == "true"
        assert box.get_attribute("aria-activedescendant") == options.nth(place).get_attribute("id")
    page.keyboard.press("ArrowUp")
    last = options.last
    assert last.get_attribute("aria-selected") == "true"
    target = last.evaluate("link => link.href")
    page.keyboard.press("Enter")
    page.wait_for_url(target)


def test_the_grid_is_sorted_and_filtered_and_says_so_in_its_address(visit, sample):
    layer = sample.layers[1]
    page = visit().open(layer.path)
    cells = page.locator(".grid .cell")

    def shown():
        return [int(cell.split()[0]) for cell in cells.all_inner_texts()]

    def places():
        order = "cells => cells.sort((a, b) => a.getAttribute('aria-posinset') - "
        return page.locator(".grid [role=listitem]").evaluate_all(
            order + "b.getAttribute('aria-posinset')).map(cell => parseInt(cell.innerText))"
        )

    assert shown() == list(range(24))
    page.get_by_label("Sort by").select_option("strength")
    scores = [layer.units[unit].score for unit in places()]
    assert scores == sorted(scores, reverse=True)
    page.get_by_label("Sort by").select_option("sparse")
    sparsities = [layer.units[unit].sparsity for unit in places()]
    assert sparsities == sorted(sparsities, reverse=True)
    page.get_by_label("Filter by label or number").fill("label 1")
    matching = {unit.unit for unit in layer.units if "label 1" in unit.label}
    assert set(places()) == matching
    assert page.locator(".found").inner_text() == f"{len(matching)} of 24 units"
    page.keyboard.press("Tab")
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    page.locator(".found", has_text=f"{len(matching)} of 24 units").wait_for()
    assert set(places()) == matching
    assert page.get_by_label("Sort by").input_value() == "sparse"
    page.goto("about:blank")
    page.goto(address.partition("#")[0] + "#size=0.001&sort=nothing&q=&other=1")
    page.locator(".found", has_text="24 units").wait_for()
    assert places() == list(range(24))
    assert page.get_by_label("Sort by").input_value() == "index"
    assert page.get_by_label("Size").input_value() == "40"


def test_units_have_their_own_icon(visit, sample):
    page = visit().open(sample.layers[0].path)
    page.get_by_label("Sort by").select_option("strength")
    positions = page.locator(".grid [role=listitem]").evaluate_all(
        """cells => cells.map(cell => [
             parseInt(cell.innerText), cell.querySelector('.picture').style.backgroundPosition])"""
    )
    assert len(positions) == 24
    for unit, position in positions:
        row, column = divmod(unit, 10)
        across, down = (float(part.rstrip("%")) for part in position.split())
        # Three rows of ten icons of 64 pixels, without half a pixel on each side: what is left of
        # the place shown, in percent of what does not fit.
        rim = 0.5 / 64
        assert across == pytest.approx(100 * (column + rim) / (9 + 2 * rim), abs=0.01)
        assert down == pytest.approx(100 * (row + rim) / (2 + 2 * rim), abs=0.01)


def test_the_grid_is_walked_with_the_arrows(visit, sample):
    page = visit().open(sample.layers[0].path)
    page.locator(".grid .cell").first.wait_for()

    def at():
        return page.evaluate("parseInt(document.activeElement.innerText)")

    page.keyboard.press("ArrowRight")
    assert at() == 0
    page.keyboard.press("ArrowRight")
    assert at() == 1
    page.keyboard.press("ArrowDown")
    columns = at() - 1
    tops = page.locator(".grid .cell").evaluate_all("c => c.map(x => x.getBoundingClientRect().y)")
    assert columns == tops.count(tops[0])
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    assert at() == 0
    page.keyboard.press("End")
    assert at() == 23
    page.keyboard.press("Enter")
    page.wait_for_url("**/23.html")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A layer of 5,000 units: its page, without those of the units."""
    sample = Sample(tmp_path_factory.mktemp("large"), n_units=5000)
    sample.site = replace(sample.site, atlases=())
    sample.units = list
    sample.write()
    return sample


def test_thousands_of_units_scroll_with_a_bounded_page(visit, large):
    visitor = visit(large.folder)
    page = visitor.open(large.layers[0].path)
    cells = page.locator(".grid .cell")
    cells.first.wait_for()
    height = page.evaluate("document.documentElement.scrollHeight")
    assert height > 20_000
    sheets = {url for url in visitor.requests if "/icons/" in url}
    assert len(sheets) <= 3
    for part in range(11):
        page.evaluate("y => scrollTo(0, y)", height * part / 10)
        page.evaluate(FRAMES)
        assert 50 < cells.count() < 400
        assert page.evaluate("document.querySelectorAll('*').length") < 2500
        middle = page.evaluate(
            "document.elementFromPoint(innerWidth / 2, innerHeight / 2).closest('.grid') !== null"
        )
        assert middle
    assert "4999" in cells.last.inner_text()
    assert page.locator(".grid [role=listitem]").last.get_attribute("aria-setsize") == "5000"
    page.evaluate("scrollTo(0, 0)")
    cells.first.focus()
    page.keyboard.press("End")
    assert page.evaluate("parseInt(document.activeElement.innerText)") == 4999
    assert page.evaluate(
        """() => { const box = document.activeElement.getBoundingClientRect();
                   return box.top >= 0 && box.bottom <= innerHeight }"""
    )


def test_search_in_thousands_of_units(visit, large):
    page = visit(large.folder).open("index.html")
    page.keyboard.press("/")
    search_box(page).fill("label")
    page.get_by_role("status").filter(has_text="The best 60 of").wait_for()
    assert options_of(page).count() == 60


def test_the_atlas_zooms_into_finer_levels(visit, sample):
    visitor = visit()
    page = visitor.open(sample.site.atlases[0].path)
    seen = page.locator(".map")
    page.wait_for_selector(".map[data-level='10']")
    tile = re.compile(r"/images/atlas/[^/]+/20/\d+/\d+_\d+\.webp$")
    assert not any(tile.search(url) for url in visitor.requests)
    page.get_by_role("button", name="Zoom in").click()
    page.wait_for_selector(".map[data-level='20']")
    page.wait_for_timeout(500)
    assert any(tile.search(url) for url in visitor.requests)
    page.get_by_role("button", name="The whole map").click()
    page.wait_for_selector(".map[data-level='10']")
    for _ in range(3):
        page.get_by_role("button", name="Zoom out").click()
    page.wait_for_timeout(1000)
    assert seen.get_attribute("data-level") in {"5", "10"}


def test_the_atlas_says_what_is_under_the_pointer(visit, sample):
    atlas = sample.site.atlases[0]
    page = visit().open(atlas.path)
    page.wait_for_selector(".map[data-level='10']")
    level = next(level for level in atlas.levels if level.grid == 10)
    box = page.locator(".marks").bounding_box()
    for cell in (level.cells[0], level.cells[-1], level.cells[23]):
        page.mouse.move(
            box["x"] + box["width"] * (cell.column + 0.5) / 10,
            box["y"] + box["height"] * (cell.row + 0.5) / 10,
        )
        noun = "activation" if cell.count == 1 else "activations"
        told = f"{cell.label} (50 %) · " if cell.label else ""
        expected = f"{told}{cell.count} {noun}"
        assert page.locator(".about").text_content() == expected
    # Every second column is empty.
    page.mouse.move(box["x"] + box["width"] * 0.15, box["y"] + box["height"] * 0.5)
    assert page.locator(".about").text_content() == ""


def test_the_atlas_marks_the_cells_of_a_label(visit, sample):
    atlas = sample.site.atlases[0]
    page = visit().open(atlas.path)
    page.wait_for_selector(".map[data-level='10']")
    first = page.locator(".legend button").first
    label = first.locator("bdi").text_content()
    first.click()
    level = next(level for level in atlas.levels if level.grid == 10)
    wanted = sorted((cell.column, cell.row) for cell in level.cells if cell.label == label)
    marked = page.locator(".marks .chosen").evaluate_all(
        "marks => marks.map(mark => [+mark.getAttribute('x'), +mark.getAttribute('y')])"
    )
    assert sorted(map(tuple, marked)) == wanted
    assert first.get_attribute("aria-pressed") == "true"
    first.click()
    assert page.locator(".marks .chosen").count() == 0


def test_the_atlas_is_moved_by_keys(visit, sample):
    page = visit().open(sample.site.atlases[0].path)
    page.wait_for_selector(".map[data-level='10']")
    page.keyboard.press("+")
    page.wait_for_selector(".map[data-level='20']")
    canvas = page.locator(".openseadragon-canvas")
    canvas.focus()
    page.wait_for_timeout(800)
    before = page.locator(".marks").bounding_box()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(800)
    after = page.locator(".marks").bounding_box()
    assert after["x"] < before["x"] - 10
    assert after["width"] == pytest.approx(before["width"], rel=0.01)
    page.keyboard.press("r")
    page.keyboard.press("f")
    page.wait_for_timeout(800)
    assert page.locator(".marks").bounding_box()["width"] == pytest.approx(after["width"], rel=0.01)
    page.keyboard.press("0")
    page.wait_for_selector(".map[data-level='10']")


def test_the_address_of_the_atlas_names_the_place(visit, sample):
    page = visit().open(sample.site.atlases[0].path)
    page.wait_for_selector(".map[data-level='10']")
    for button in ("Zoom in", "Zoom in"):
        page.get_by_role("button", name=button).click()
    page.locator(".openseadragon-canvas").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(1200)
    before, address = page.locator(".marks").bounding_box(), page.url
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector(".map[data-level='20']")
    after = page.locator(".marks").bounding_box()
    assert after == pytest.approx(before, abs=2)
    page.get_by_role("button", name="The whole map").click()
    page.wait_for_url(lambda url: "#" not in url)


def test_colours_follow_the_system_until_they_are_chosen(visit):
    def ground(page):
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3

    assert ground(visit(color_scheme="light").open("index.html")) > 230
    page = visit(color_scheme="dark").open("index.html")
    assert ground(page) < 40
    button = page.get_by_role("button", name="Dark colours")
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert ground(page) > 230
    page.reload()
    assert ground(page) > 230
    button.click()
    assert ground(page) < 40


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(visit, sample, scheme):
    page = visit(color_scheme=scheme).open(f"units/{sample.layers[1].slug}/0.html")
    for place in ("h1", ".label", ".value", ".note", ".over", ".excites h4", "h2 small"):
        ratio = page.evaluate(
            """(place) => {
              const light = (colour) => {
                const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
                  .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
              };
              const text = light(getComputedStyle(document.querySelector(place)).color);
              const ground = light(getComputedStyle(document.body).backgroundColor);
              return (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
            }""",
            place,
        )
        # The contrast that WCAG 2.2 asks for in 1.4.3.
        assert ratio >= 4.5, place


def test_switches_show_heat_maps_and_fields_and_are_remembered(visit, sample):
    page = visit(reduced_motion="reduce").open(f"units/{sample.layers[1].slug}/0.html")

    def opacity(of):
        return page.locator(f".stack {of}").nth(7).evaluate("e => getComputedStyle(e).opacity")

    assert (opacity("use"), opacity("rect")) == ("0", "0")
    page.locator(".examples li").nth(7).focus()
    assert (opacity("use"), opacity("rect")) == ("1", "1")
    page.locator(".examples li").first.focus()
    page.keyboard.press("h")
    assert (opacity("use"), opacity("rect")) == ("1", "0")
    page.get_by_label("Fields of view").check()
    page.reload()
    assert (opacity("use"), opacity("rect")) == ("1", "1")


def test_heat_maps_and_boxes_lie_on_their_picture(visit, sample):
    page = visit().open(f"units/{sample.layers[1].slug}/0.html")
    places = page.locator(".stack").evaluate_all(
        """stacks => stacks.map((stack) => ['img', 'use', 'rect'].map((part) => {
             const box = stack.querySelector(part).getBoundingClientRect();
             return [box.x, box.y, box.width, box.height];
           }))"""
    )
    assert len(places) == 45
    shapes = {3: 96 / 64, 6: 48 / 96}
    for number, (picture, sheet, field) in enumerate(places):
        x, y, width, height = picture
        row, column = divmod(number, 9)
        assert width / height == pytest.approx(shapes.get(column, 1), abs=0.02)
        # The sheet of nine by five heat maps is where the one of this example covers the picture.
        over = (x - column * width, y - row * height, 9 * width, 5 * height)
        assert sheet == pytest.approx(over, abs=1)
        assert field == pytest.approx(
            (x + 0.25 * width, y + 0.125 * height, 0.5 * width, 0.5 * height), abs=2
        )


def test_a_phone_scrolls_in_one_direction_only(visit, sample):
    visitor = visit(**PHONE)
    for path in paths(sample):
        page = visitor.open(path)
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        page.get_by_role("button", name="Search", exact=True).tap()
        box = search_box(page)
        box.fill("label")
        options_of(page).first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path


@pytest.mark.parametrize("width", [320, 700, 1000, 1920])
def test_no_width_needs_a_horizontal_bar(visit, sample, width):
    visitor = visit(viewport={"width": width, "height": 800})
    for path in paths(sample):
        page = visitor.open(path)
        page.wait_for_timeout(100)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_names_are_what_they_are_and_do_nothing(visit, sample):
    visitor = visit()
    for path in paths(sample):
        page = visitor.open(path)
        page.keyboard.press("/")
        search_box(page).fill("injected")
        options_of(page).first.wait_for()
        page.wait_for_timeout(100)
        assert page.evaluate("window.injected") is None
        assert sample.site.title in page.title()
        assert page.locator(".home").text_content() == sample.site.title
        scripts = page.locator("script").evaluate_all("found => found.map(script => script.text)")
        assert set(scripts) == {""}
        assert page.locator("img[src='x'], i, b:not(.foot b, .weights b)").count() == 0


def test_odd_labels_are_found_and_shown(visit, sample):
    layer = sample.layers[1]
    page = visit().open(layer.path)
    shown = page.locator(".grid .cell bdi").evaluate_all("e => e.map(bdi => bdi.textContent)")
    assert shown == [unit.label for unit in layer.units]
    page.keyboard.press("/")
    for label in set(ODD) & {unit.label for unit in layer.units}:
        search_box(page).evaluate(
            "(box, text) => { box.value = text; box.dispatchEvent(new Event('input')) }", label
        )
        found = options_of(page).first.locator(".note").text_content()
        assert found == label
    page.keyboard.press("Escape")
    page.locator("#search").wait_for(state="hidden")


def test_the_policy_refuses_what_would_slip_in(visit, sample, tmp_path, browser):
    text = (sample.folder / "index.html").read_text(encoding="utf-8")
    bad = "<script>window.injected = 1</script><img src=x onerror='window.injected = 2'>"
    target = sample.folder.parent / "tampered.html"
    target.write_text(text.replace("</footer>", f"</footer>{bad}"), encoding="utf-8")
    page = browser.new_page()
    refused = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto(target.as_uri())
    page.wait_for_timeout(300)
    assert page.evaluate("window.injected") is None
    assert len([line for line in refused if "Content Security Policy" in line]) >= 2
    page.close()


def test_pages_can_be_read_without_scripts(visit, sample):
    visitor = visit(java_script_enabled=False)
    page = visitor.open(sample.layers[1].path)
    assert page.get_by_role("link", name=re.compile("^12")).count() == 1
    page.get_by_role("link", name=re.compile("^12")).click()
    page.wait_for_url("**/12.html")
    assert not page.get_by_role("button").first.is_visible()
    page = visitor.open(f"units/{sample.layers[1].slug}/0.html")
    assert page.get_by_role("img", name=re.compile("^Activations from")).is_visible()
    assert page.locator(".similar .icon use").first.is_visible()
    assert visitor.open(sample.site.atlases[0].path).locator("img.preview").is_visible()


def test_keys_are_told(visit, sample):
    page = visit().open(f"units/{sample.layers[1].slug}/0.html")
    page.keyboard.press("?")
    assert "previous, next unit" in page.locator("#keys").inner_text()
    page.keyboard.press("Escape")
    assert not page.locator("#keys").is_visible()


def test_a_folder_that_was_torn_apart_says_so(sample, browser, tmp_path):
    text = (sample.folder / sample.layers[0].path).read_text(encoding="utf-8")
    for name, content in {"layers/page.html": text}.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(content, encoding="utf-8")
    (tmp_path / "static").symlink_to(sample.folder / "static")
    page = browser.new_page()
    page.goto((tmp_path / "layers" / "page.html").as_uri())
    page.locator(".found", has_text="data/layer-conv1.js is missing").wait_for()
    page.close()
