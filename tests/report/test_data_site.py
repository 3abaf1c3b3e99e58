"""Whole sites from folders: complete, the same again, never broken, never in the wrong place."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from dataclasses import replace
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from faults import tree_of_files
from PIL import Image
from torch import nn

from lucent.collect import CollectSettings, collect
from lucent.errors import InputError
from lucent.folders import slug
from lucent.modelzoo import ModelSpec
from lucent.recipes.atlas import Atlas, Level
from lucent.report import SiteSettings, building, microscope
from lucent.sweep import Sweep, SweepSettings, plan_sweep, run_sweep

ODD = 'блок "a"/<b>&\'{{ 7 * 7 }}'
NAMES = ("<script>injected = 1</script>", "a/../b & 'c'", "花")


class Small(nn.Module):
    """A picture of 12 pixels, two layers of 5 and 4 channels, and three classes."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.layers = nn.Sequential(
            OrderedDict(
                {
                    ODD: nn.Conv2d(3, 5, 3),
                    "relu": nn.ReLU(),
                    "two": nn.Conv2d(5, 4, 3, stride=2),
                    "pool": nn.AdaptiveAvgPool2d(1),
                    "flat": nn.Flatten(),
                }
            )
        )
        self.head = nn.Linear(4, 3)
        for parameter in self.parameters():
            parameter.data.normal_(0, 0.5, generator=generator)
        self.spec = ModelSpec(
            "small <net>", input_size=(12, 12), labels=("cat", *NAMES[:2]), logits="head"
        )

    def forward(self, x):
        return self.head(self.layers(x))


FIRST, LAYERS = f"layers.{ODD}", (f"layers.{ODD}", "layers.two", "head")


@pytest.fixture(scope="module")
def model():
    return Small().eval()


class Pictures:
    """Random pictures of the classes in turn, and of none."""

    classes = NAMES

    def __init__(self, count=40):
        self.pictures = torch.rand(count, 3, 12, 12, generator=torch.Generator().manual_seed(1))

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        return self.pictures[index], index % 3


def collected(model, layers, folder):
    settings = CollectSettings(examples=4, attributions=False)
    return collect(model, Pictures(), folder / "collection", layers=layers, settings=settings)


@pytest.fixture(scope="module")
def collection(model, tmp_path_factory):
    return collected(model, LAYERS, tmp_path_factory.mktemp("collection"))


@pytest.fixture(scope="module")
def sweep(model, tmp_path_factory):
    settings = SweepSettings(steps=1, size=12, batch_size=8, diversity=2)
    plan = plan_sweep(
        model,
        layers=[FIRST, "head"],
        units={FIRST: [0, 3], "head": [0, 1, 2]},
        kinds=("channel", "neuron", "diversity", "negative"),
        settings=settings,
    )
    return run_sweep(plan, model, tmp_path_factory.mktemp("sweep") / "sweep")


def small_atlas():
    """Two cells in each of two levels."""
    levels = []
    for grid in (2, 4):
        places = np.arange(2)
        icons = np.full((2, 16, 16, 3), 0.5, np.float32)
        icons[1] = (1, 0, 0)
        numbers = np.array([7, 9])
        levels.append(
            Level(
                grid=grid,
                rows=places,
                columns=places,
                counts=numbers,
                vectors=np.zeros((2, 5), np.float32),
                icons=icons,
                done=np.ones(2, bool),
                labels=NAMES[:2],
                shares=np.array([0.5, 1.0]),
            )
        )
    points = np.zeros((16, 2), np.float32)
    return Atlas(FIRST, f"Atlas of {NAMES[0]}", tuple(levels), points, np.arange(16))


@pytest.fixture(scope="module")
def site(sweep, collection, model, tmp_path_factory):
    """The folder of a site with everything."""
    out = tmp_path_factory.mktemp("site") / "site"
    atlases = [small_atlas(), small_atlas()]
    first = microscope(out, sweep=sweep, collection=collection, atlases=atlases, model=model)
    assert first == out / "index.html"
    return out


def unit_page(site, layer, unit):
    return (site / "units" / slug(layer) / f"{unit}.html").read_text(encoding="utf-8")


def data_of(site, key):
    text = (site / "data" / f"{key}.js").read_text(encoding="utf-8")
    return json.loads(text[text.index(",") + 1 : text.rindex(")")])


def test_every_file_that_a_page_or_its_data_names_is_there(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        named = re.findall(r'(?:src|href)="([^"#]+)', text)
        named += re.findall(r"url\(['\"]?([^'\")]+)", text.replace("&#34;", '"'))
        assert named
        for address in named:
            assert (page.parent / unquote(address)).resolve().is_relative_to(site)
            assert (page.parent / unquote(address)).is_file(), (page, address)
    for script in (site / "data").glob("*.js"):
        for path in re.findall(r'"path":"([^"]+\.\w+)"', script.read_text(encoding="utf-8")):
            assert (site / path).is_file()


def test_there_is_a_page_for_every_layer_and_unit(site):
    names = {path.name for path in (site / "layers").glob("*.html")}
    assert names == {f"{slug(layer)}.html" for layer in LAYERS}
    for layer, count in zip(LAYERS, (5, 4, 3), strict=True):
        pages = (site / "units" / slug(layer)).glob("*.html")
        assert sorted(int(page.stem) for page in pages) == [*range(count)]
    assert [layer["name"] for layer in data_of(site, "search")["layers"]] == [*LAYERS]


def test_names_are_on_the_pages_but_never_as_they_are(site):
    everything = [*site.rglob("*.html"), *(site / "data").glob("*.js")]
    texts = [path.read_text(encoding="utf-8") for path in everything]
    assert not any(NAMES[0] in text or ODD in text for text in texts)
    assert any("&lt;script&gt;injected = 1&lt;/script&gt;" in text for text in texts)
    assert {unit for layer in data_of(site, "search")["layers"] for unit in layer["labels"]} >= {
        "cat",
        NAMES[0],
    }


def test_classes_are_the_labels_of_logits(site):
    data = data_of(site, "layer-head")
    assert [data["labels"][place] for place in data["label"]] == ["cat", *NAMES[:2]]


def test_units_are_called_after_what_most_of_their_strongest_examples_are(site, collection):
    data = data_of(site, f"layer-{slug(FIRST)}")
    for unit, place in zip(data["units"], data["label"], strict=True):
        labels = [example.label for example in collection.examples(FIRST, unit, "top")]
        counts = [labels.count(number) for number in range(3)]
        if max(counts) > len(labels) / 2:
            assert data["labels"][place] == NAMES[counts.index(max(counts))]
        else:
            assert place == -1
    assert data["sparsity"] == collection.moments(FIRST).sparsity.tolist()


def test_scores_are_those_of_the_sweep(site, sweep):
    data = data_of(site, f"layer-{slug(FIRST)}")
    scores = [sweep.score(FIRST, unit, "channel") if unit in (0, 3) else None for unit in range(5)]
    assert data["score"] == scores


def test_icons_are_renders_where_there_are_any_and_else_what_units_see(site, sweep, collection):
    (sprite,) = data_of(site, f"layer-{slug(FIRST)}")["sprites"]
    sheet = np.asarray(Image.open(site / sprite["path"]).convert("RGB"), float)
    size = sprite["size"]

    def difference(unit, picture):
        found = sheet[:size, unit * size : (unit + 1) * size]
        expected = picture.convert("RGB").resize((size, size), Image.Resampling.LANCZOS)
        return np.abs(found - np.asarray(expected, float)).mean()

    for unit in range(5):
        if unit in (0, 3):
            picture = Image.open(sweep.files(FIRST, unit, "channel")[0])
        else:
            example = collection.examples(FIRST, unit, "top")[0]
            picture = Image.fromarray(collection.picture(example.index)).crop(example.box)
        assert difference(unit, picture) < 12
        assert difference((unit + 1) % 5, picture) > difference(unit, picture)


def test_the_unit_that_responds_most_stands_for_its_layer(sweep, tmp_path):
    records = [
        record.from_json({**record.to_json(), "scores": [9.0]})
        if (record.layer, record.unit, record.kind) == ("head", 1, "channel")
        else record
        for record in sweep.records()
    ]
    microscope(tmp_path / "site", sweep=Sweep(sweep.path, sweep.plan, tuple(records)))
    with Image.open(sweep.files("head", 1, "channel")[0]) as picture:
        expected = picture.convert("RGB").resize((192, 192), Image.Resampling.LANCZOS)
    found = Image.open(tmp_path / "site" / "units" / "head" / "layer.webp").convert("RGB")
    difference = np.abs(np.asarray(found, float) - np.asarray(expected, float))
    assert difference.mean() < 8
    index = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "units/head/layer.webp" in index


def test_a_page_has_all_kinds_of_pictures_and_numbers(site):
    text = unit_page(site, FIRST, 3)
    for kind in ("channel-0", "neuron-0", "diversity-0", "diversity-1", "negative-0"):
        assert f"3-{kind}.webp" in text
    assert "3-heat.webp" in text
    assert "3-out.png" in text
    assert "3-in.png" not in text
    assert "pictures/0/" in text


def test_what_is_not_there_is_said(sweep, collection, model, tmp_path):
    pages = {}
    for name, sources in (("sweep", {"sweep": sweep}), ("collection", {"collection": collection})):
        microscope(tmp_path / name, **sources)
        pages[name] = unit_page(tmp_path / name, FIRST, 3)
    assert "There are no examples and no statistics of this unit" in pages["sweep"]
    assert "There are no pictures made for this unit" in pages["collection"]
    assert all("There are no weights to and from neighbours" in text for text in pages.values())
    assert data_of(tmp_path / "sweep", f"layer-{slug(FIRST)}")["units"] == [0, 3]
    assert not (tmp_path / "sweep" / "pictures").exists()


def test_a_picture_that_failed_is_told(site, sweep, collection, tmp_path, monkeypatch):
    records = [
        record.from_json({**record.to_json(), "files": [], "scores": [], "error": "it diverged"})
        if record.unit == 3 and record.kind == "channel"
        else record
        for record in sweep.records()
    ]
    failed = Sweep(sweep.path, sweep.plan, tuple(records))
    microscope(tmp_path / "site", sweep=failed, collection=collection)
    assert "Channel: it diverged" in unit_page(tmp_path / "site", FIRST, 3)
    assert "it diverged" not in unit_page(tmp_path / "site", FIRST, 0)


def test_a_dead_unit_has_a_page_that_says_so(tmp_path):
    model = Small().eval()
    model.layers[0].weight.data[2] = 0
    model.layers[0].bias.data[2] = 0
    model.layers[2].weight.data[:, 2] = 0
    of_model = collected(model, [FIRST, "layers.two"], tmp_path)
    microscope(tmp_path / "site", collection=of_model, model=model)
    dead, alive = (unit_page(tmp_path / "site", FIRST, unit) for unit in (2, 0))
    assert "All weights between this unit and those shown of layers.two are zero." in dead
    assert "Strongest weights" not in dead
    assert "Strongest weights" in alive
    assert "All weights" not in alive


def test_similar_units_are_active_in_the_same_places(tmp_path):
    model = Small().eval()
    weight, bias = model.layers[0].weight.data, model.layers[0].bias.data
    weight[1], weight[2], bias[2] = 2 * weight[0], -weight[0], -bias[0]
    weight[3:], bias[3:] = 0, 0
    of_model = collected(model, [FIRST], tmp_path)
    microscope(tmp_path / "site", collection=of_model)
    pages = [unit_page(tmp_path / "site", FIRST, unit) for unit in range(5)]
    shown = [re.findall(r'class="name">(\d)', page.partition("Similar units")[2]) for page in pages]
    assert shown == [["1"], ["0"], [], [], []]


def test_the_same_again_has_the_same_bytes(site, sweep, collection, model, tmp_path):
    microscope(
        tmp_path / "again",
        sweep=sweep.path,
        collection=collection,
        atlases=[small_atlas(), small_atlas()],
        model=model,
    )
    assert tree_of_files(tmp_path / "again") == tree_of_files(site)


def test_atlases_of_one_name_have_pages_of_their_own(site):
    pages = sorted(page.stem for page in (site / "atlas").iterdir() if page.suffix == ".html")
    assert len(pages) == 2
    data = data_of(site, f"atlas-{pages[0]}")
    assert data["name"] == f"Atlas of {NAMES[0]}"
    assert data["layer_slug"] == slug(FIRST)
    assert data["labels"] == [*NAMES[:2]]
    assert data["levels"][1]["cells"] == [[0, 0, 7, 0, 0.5], [1, 1, 9, 1, 1.0]]
    tile = Image.open(site / data["levels"][0]["path"] / "5" / "0_0.webp").convert("RGBA")
    assert tile.size == (32, 32)
    assert tile.getpixel((24, 24))[0] > 240
    assert tile.getpixel((24, 8))[3] == 0


def test_only_some_layers_are_shown(collection, tmp_path):
    settings = SiteSettings(title="Some", layers=["head", "layers.two"])
    microscope(tmp_path / "site", collection=collection, settings=settings)
    names = [layer["name"] for layer in data_of(tmp_path / "site", "search")["layers"]]
    assert names == ["layers.two", "head"]
    assert "Some" in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")


def test_one_layer_may_be_given_by_its_name_but_not_none(collection, tmp_path):
    microscope(tmp_path / "one", collection=collection, settings=SiteSettings(layers="head"))
    assert [layer["name"] for layer in data_of(tmp_path / "one", "search")["layers"]] == ["head"]
    with pytest.raises(InputError, match="layers is empty: name the layers"):
        microscope(tmp_path / "none", collection=collection, settings=SiteSettings(layers=[]))


class CutOffError(Exception):
    pass


def cut(*_):
    raise CutOffError


@pytest.mark.parametrize("after", [2, 7])
def test_what_was_cut_off_goes_on_and_an_old_site_stays(
    site, sweep, collection, model, tmp_path, monkeypatch, after
):
    made = []
    part = building.WorkFolder.part

    def counted(self, name):
        if len(made) == after:
            raise CutOffError
        made.append(name)
        return part(self, name)

    out, everything = tmp_path / "site", {"sweep": sweep, "collection": collection}
    everything |= {"model": model, "atlases": [small_atlas(), small_atlas()]}
    microscope(out, collection=collection)
    old = tree_of_files(out)
    with monkeypatch.context() as patch:
        patch.setattr(building.WorkFolder, "part", counted)
        with pytest.raises(CutOffError):
            microscope(out, **everything)
    assert tree_of_files(out) == old
    first = [*made]
    made.clear()
    after = 100
    with monkeypatch.context() as patch:
        patch.setattr(building.WorkFolder, "part", counted)
        microscope(out, **everything)
    assert not set(first) & set(made)
    assert tree_of_files(out) == tree_of_files(site)
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_what_was_begun_from_something_else_is_begun_anew(collection, sweep, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(building.Templates, "unit", cut)
        with pytest.raises(CutOffError):
            microscope(tmp_path / "site", sweep=sweep)
    microscope(tmp_path / "site", collection=collection)
    microscope(tmp_path / "other", collection=collection)
    assert tree_of_files(tmp_path / "site") == tree_of_files(tmp_path / "other")


def test_what_was_begun_with_other_labels_is_begun_anew(sweep, tmp_path, monkeypatch):
    models = [Small().eval(), Small().eval()]
    models[1].spec = replace(models[1].spec, labels=("dog", *NAMES[:2]))
    part = building.WorkFolder.part

    def late(self, name):
        return cut() if name == "layers" else part(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(building.WorkFolder, "part", late)
        with pytest.raises(CutOffError):
            microscope(tmp_path / "site", sweep=sweep, model=models[0])
    microscope(tmp_path / "site", sweep=sweep, model=models[1])
    assert "dog" in unit_page(tmp_path / "site", "head", 0)


def test_a_site_that_was_moved_away_comes_back(collection, tmp_path, monkeypatch):
    microscope(tmp_path / "site", collection=collection)
    before = tree_of_files(tmp_path / "site")
    (tmp_path / "site").rename(tmp_path / ".site.old")  # where it is while the new one comes
    with monkeypatch.context() as patch:
        patch.setattr(building.Templates, "unit", cut)
        with pytest.raises(CutOffError):
            microscope(tmp_path / "site", collection=collection)
    assert tree_of_files(tmp_path / "site") == before
    microscope(tmp_path / "site", collection=collection)
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_no_folder_with_something_else_is_replaced(collection, tmp_path):
    (tmp_path / "thesis.txt").write_text("three years")
    with pytest.raises(InputError, match=r"is not empty, and holds no site.*name a new folder"):
        microscope(tmp_path, collection=collection)
    assert (tmp_path / "thesis.txt").read_text() == "three years"


@pytest.mark.parametrize("name", ["CNAME", ".git/HEAD", "units/head/notes.txt", "mine/part.json"])
def test_a_site_with_other_files_in_it_is_left_alone(collection, tmp_path, name):
    settings = SiteSettings(layers=["head"])
    microscope(tmp_path / "site", collection=collection, settings=settings)
    file = tmp_path / "site" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("{}")
    before = tree_of_files(tmp_path / "site")
    with pytest.raises(InputError, match=r"is no part of the site.*move it elsewhere"):
        microscope(tmp_path / "site", collection=collection, settings=settings)
    assert tree_of_files(tmp_path / "site") == before


def test_what_came_into_a_site_while_the_next_was_made_stays(collection, tmp_path, monkeypatch):
    settings, file = SiteSettings(layers=["head"]), tmp_path / "site" / "CNAME"
    microscope(tmp_path / "site", collection=collection, settings=settings)
    index = building.Templates.index

    def late(self):
        file.write_text("a host")
        return index(self)

    with monkeypatch.context() as patch:
        patch.setattr(building.Templates, "index", late)
        with pytest.raises(InputError, match=r"CNAME' is no part of the site"):
            microscope(tmp_path / "site", collection=collection, settings=settings)
    assert file.read_text() == "a host"
    file.unlink()
    microscope(tmp_path / "site", collection=collection, settings=settings)
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_files_of_desktops_are_no_hindrance(collection, tmp_path):
    settings = SiteSettings(layers=["head"])
    microscope(tmp_path / "site", collection=collection, settings=settings)
    (tmp_path / "site" / "units" / ".DS_Store").write_bytes(b"")
    microscope(tmp_path / "site", collection=collection, settings=settings)
    assert not (tmp_path / "site" / "units" / ".DS_Store").exists()


def test_behind_a_link_the_folder_is_replaced(collection, tmp_path):
    settings, link = SiteSettings(layers=["head"]), tmp_path / "link"
    (tmp_path / "real").mkdir()
    link.symlink_to(tmp_path / "real", target_is_directory=True)
    for _ in range(2):
        assert microscope(link, collection=collection, settings=settings).exists()
    assert link.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


def test_a_file_is_no_folder(collection, tmp_path):
    (tmp_path / "site").write_text("a file")
    with pytest.raises(InputError, match="is a file: name a folder"):
        microscope(tmp_path / "site", collection=collection)


def test_an_empty_folder_is_taken(collection, tmp_path):
    assert microscope(tmp_path, collection=collection) == tmp_path / "index.html"


def test_a_site_takes_a_sweep_or_a_collection(tmp_path):
    with pytest.raises(InputError, match=r"takes a sweep or a collection.*sweep='sweep'"):
        microscope(tmp_path / "site")


def test_everything_has_to_be_of_one_network(sweep, collection, tmp_path):
    other = Small().eval()
    other.head.weight.data += 1
    with pytest.raises(InputError, match=r"not of one network.*sweep \w{16}, model \w{16}"):
        microscope(tmp_path / "site", sweep=sweep, model=other)
    of_other = collected(other, ["head"], tmp_path)
    with pytest.raises(InputError, match=r"not of one network.*sweep \w{16}, collection \w{16}"):
        microscope(tmp_path / "site", sweep=sweep, collection=of_other)


def test_a_layer_that_is_not_there_is_told(collection, tmp_path):
    settings = SiteSettings(layers=["layers.tow"])
    with pytest.raises(InputError, match=r"has the layer 'layers.tow'. Did you mean 'layers.two'"):
        microscope(tmp_path / "site", collection=collection, settings=settings)
