"""The pages as files: what they say, where they lead, and that names do nothing in them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest
from report.sample import LAYERS, ODD

from lucent.report.pages import Histogram
from lucent.report.writing import Templates

OPENSEADRAGON = "7fdfdc04f10db24346c574104d74d442dadc80881912b3447d695397c629dc0c"
MINUS = "\N{MINUS SIGN}"
EMPTY = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}


class Reading(HTMLParser):
    """Elements with attributes, texts with the elements around them, what is left open."""

    def __init__(self, text, path=None):
        super().__init__()
        self.path, self.open, self.elements, self.texts = path, [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((tuple(self.open), data))

    def all(self, tag, **wanted):
        """Attributes of the elements of a kind that have some of them as wanted."""
        wanted = {name.rstrip("_"): value for name, value in wanted.items()}
        return [a for t, a in self.elements if t == tag and wanted.items() <= a.items()]

    def text_of(self, tag):
        return [data for around, data in self.texts if around and around[-1] == tag]

    def addresses(self):
        for _, attributes in self.elements:
            for name in ("href", "src"):
                if name in attributes:
                    yield attributes[name]


@pytest.fixture(scope="module")
def pages(sample):
    """All pages of the sample by their paths."""
    return {
        path.relative_to(sample.folder).as_posix(): Reading(path.read_text(encoding="utf-8"), path)
        for path in sorted(sample.folder.rglob("*.html"))
    }


@pytest.fixture(scope="module")
def unit(sample, pages):
    """A page that has everything: of a unit of a layer with two neighbours, and what it shows."""
    page = next(page for page in sample.units() if page.name == f"{LAYERS[1]}:1")
    return page, pages[page.path]


def test_there_is_a_page_for_everything(sample, pages):
    expected = {"index.html", sample.site.atlases[0].path}
    expected |= {layer.path for layer in sample.layers}
    expected |= {page.path for page in sample.units()}
    assert set(pages) == expected


def test_every_element_is_closed(pages):
    assert [path for path, page in pages.items() if page.open] == []


def test_every_address_leads_to_a_file_of_the_site(sample, pages):
    for page in pages.values():
        for address in page.addresses():
            parts = urlsplit(address)
            assert (parts.scheme, parts.netloc, parts.query) == ("", "", "")
            if parts.path:
                target = (page.path.parent / unquote(parts.path)).resolve()
                assert target.is_file(), address
                assert target.is_relative_to(sample.folder.resolve())


def test_every_page_can_be_reached_by_links_alone(sample, pages):
    reached, waiting = set(), [sample.folder / "index.html"]
    while waiting:
        page = waiting.pop().resolve()
        if page in reached:
            continue
        reached.add(page)
        links = pages[page.relative_to(sample.folder.resolve()).as_posix()].all("a")
        targets = (page.parent / unquote(link["href"].split("#")[0]) for link in links)
        waiting += [target for target in targets if target.suffix == ".html"]
    assert len(reached) == len(pages)


def test_nothing_of_ours_names_another_host(sample):
    namespaces = re.compile(r"http://www\.w3\.org/2000/svg")
    theirs = {"openseadragon.min.js", "openseadragon.LICENSE.txt"}
    for path in sample.folder.rglob("*"):
        if path.suffix in {".html", ".css", ".js", ".svg"} and path.name not in theirs:
            text = namespaces.sub("", path.read_text(encoding="utf-8"))
            assert not re.search(r"(?:https?|wss?):|[\"'(]//\w|@import", text), path


def test_pages_have_no_code_and_no_style_of_their_own(pages):
    for page in pages.values():
        (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
        assert policy["content"].startswith("default-src 'none';")
        assert "unsafe" not in policy["content"]
        assert page.all("style") == []
        assert all(attributes.keys() >= {"src"} for attributes in page.all("script"))
        for _, attributes in page.elements:
            assert not any(name.startswith("on") or name == "style" for name in attributes)
        for address in page.addresses():
            assert not address.startswith(("javascript:", "data:"))


def test_scripts_evaluate_no_text(sample):
    for path in (sample.folder / "static").glob("*.js"):
        if path.name != "openseadragon.min.js":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"\beval\b|new Function|innerHTML|outerHTML|document\.write", text)


def test_names_are_shown_letter_for_letter(sample, pages):
    shown = {data for page in pages.values() for data in page.text_of("bdi")}
    assert ODD[1] in sample.site.title
    assert {*LAYERS, *ODD[2:], ODD[0], sample.site.title, sample.site.model} <= shown


def test_ids_are_unique_and_what_refers_to_them_finds_them(pages):
    for page in pages.values():
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        for _, attributes in page.elements:
            for name in ("aria-labelledby", "aria-controls"):
                assert attributes.get(name) in {None, *ids}


def test_every_picture_has_words_or_is_decoration(pages):
    for page in pages.values():
        assert all("alt" in attributes for attributes in page.all("img"))
        for attributes in page.all("svg"):
            assert attributes.get("aria-hidden") == "true" or attributes.get("aria-label")
        for attributes in page.all("button"):
            assert attributes.get("type") == "button"


def test_layers_are_listed_in_order(sample, pages):
    links = [a["href"] for a in pages["index.html"].all("a", class_="card")]
    assert links == [*(layer.path for layer in sample.layers), sample.site.atlases[0].path]


def test_a_layer_lists_its_units_for_browsers_without_scripts(sample, pages):
    layer = sample.layers[1]
    page = pages[layer.path]
    listed = {a["href"] for a in page.all("a")}
    assert {f"../units/{layer.slug}/{unit.unit}.html" for unit in layer.units} <= listed
    inside = [data for around, data in page.texts if "noscript" in around and around[-1] == "bdi"]
    assert inside == [unit.label for unit in layer.units if unit.label]


def test_neighbours_are_linked(sample, pages):
    first, second = (pages[f"units/{sample.layers[0].slug}/{unit}.html"] for unit in (0, 1))
    assert first.all("a", rel="prev") == []
    assert [a["href"] for a in first.all("a", rel="next")] == ["1.html"]
    assert [a["href"] for a in second.all("a", rel="prev")] == ["0.html"]
    layer = pages[sample.layers[1].path]
    assert [a["href"] for a in layer.all("a", rel="next")] == [f"../{sample.layers[2].path}"]


def test_all_renders_are_shown(unit):
    page, shown = unit
    files = [file for render in page.renders for file in render.files]
    assert len(files) == 7
    assert [a["src"] for a in shown.all("img")][:7] == [f"../../{file}" for file in files]
    assert [a["data-pictures"] for a in shown.all("figure") if "data-pictures" in a] == list("1141")


def test_icons_are_their_part_of_the_sheet(sample, unit, pages):
    page, shown = unit
    icon = page.similar[5].icon
    assert (icon.column, icon.row, icon.columns, icon.rows) == (5, 0, 10, 3)
    assert shown.all("svg", class_="icon")[-1]["viewbox"] == "5.01 0.01 .98 .98"
    sheets = {a["href"]: a for a in shown.all("image")}
    assert len(sheets) == len(shown.all("image"))
    image = sheets[f"../../{icon.path}"]
    assert (image["width"], image["height"]) == ("10", "3")
    assert (
        shown.all("use")[-1]["href"]
        == f"#{shown.all('g')[list(sheets).index(image['href'])]['id']}"
    )
    # On the overview, where each icon is of another sheet, it lies in its place.
    index = pages["index.html"]
    assert index.all("svg", class_="icon")[1]["viewbox"] == "3.01 0.01 .98 .98"
    assert index.all("image")[1]["href"] == sample.layers[1].icon.path


def test_examples_have_their_heat_and_box(unit):
    page, shown = unit
    assert [len(group.items) for group in page.examples] == [9] * 5
    heats = [a for a in shown.all("use") if "x" in a]
    assert [(a["x"], a["y"]) for a in heats] == [
        (str(-n), str(-row)) for row in range(5) for n in range(9)
    ]
    sheets = {
        f"#{g['id']}": image for g, image in zip(shown.all("g"), shown.all("image"), strict=True)
    }
    assert {sheets[a["href"]]["href"] for a in heats} == {
        f"../../{page.examples[0].items[0].heat.path}"
    }
    box = {"x": "0.25", "y": "0.125", "width": "0.5", "height": "0.5"}
    assert len([a for a in shown.all("rect") if a == box]) == 45


def test_weights_say_their_sign_and_strength(unit):
    shown = unit[1]
    values = [data for data in shown.text_of("span") if data.startswith(("+", MINUS))]
    assert values[:2] == ["+3", "+2.75"]
    assert values[8:10] == [f"{MINUS}3", f"{MINUS}2.75"]
    bars = [a["width"] for a in shown.all("rect") if a["width"].endswith("%")]
    assert bars[:2] == ["100%", "92%"]


def test_bars_of_a_histogram_are_as_high_as_the_root_of_their_share(sample):
    page = next(sample.units())
    data = Histogram((-1.0, -0.1, 0.1, 1.0, 10.0), (4, 100, 25, 0), zero=1, low=-0.5, high=0.75)
    shown = Reading(Templates(sample.site).unit(replace(page, histogram=data, examples=())))
    bars = [a for a in shown.all("rect") if "y" in a]
    assert [float(a["height"]) for a in bars] == [20, 100, 50]
    assert [float(a["y"]) + float(a["height"]) for a in bars] == [100] * 3
    assert [a["x"] for a in bars] == ["0", "1", "2"]
    assert [a.get("class") for a in bars] == [None, "zero", None]
    assert shown.all("svg", width="300")[0]["viewbox"] == "0 0 4 100"
    assert shown.text_of("text") == ["0", f"{MINUS}0.5", "0.75"]
    assert shown.text_of("title")[1:] == [
        f"{MINUS}1 to {MINUS}0.1: 3.1 %",
        f"{MINUS}0.1 to 0.1: 78 %",
        "0.1 to 1: 19 %",
    ]


def test_what_is_missing_is_said_and_leaves_no_empty_section(sample, pages):
    bare = next(page for page in sample.units() if not page.renders)
    shown = pages[bare.path]
    assert "Nothing is known of it." in shown.text_of("p")
    assert shown.text_of("h2") == ["Keys"]
    full = pages[f"units/{sample.layers[0].slug}/1.html"]
    assert "No weights: <b>no model</b> was given." in full.text_of("p")


def test_pages_without_pictures_are_pages(sample):
    layers = tuple(replace(layer, icon=None, sprites=()) for layer in sample.layers)
    site = replace(sample.site, layers=layers, atlases=(), has_sweep=False)
    index = Reading(Templates(site).index())
    assert len(index.all("span", class_="icon blank")) == len(LAYERS)
    assert "Atlases " not in index.text_of("h2")
    unit = replace(next(sample.units()), icon=None, renders=())
    assert Reading(Templates(site).unit(unit)).all("figure", class_="render channel") == []


def test_openseadragon_is_the_published_file(sample):
    found = hashlib.sha256((sample.folder / "static" / "openseadragon.min.js").read_bytes())
    # build/openseadragon/openseadragon.min.js of openseadragon-4.1.1.tgz in the npm registry
    assert found.hexdigest() == OPENSEADRAGON
    licence = (sample.folder / "static" / "openseadragon.LICENSE.txt").read_text(encoding="utf-8")
    assert "Redistribution and use in source and binary forms" in licence
