"""Data as scripts: they come back as they were, and nothing in them ends or begins anything."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from report.sample import ODD, Sample

from lucent.report.scripts import atlas_data, layer_data, script, search_data

CALL = re.compile(r"lucent\.data\((.*)\);\n", re.DOTALL)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return Sample(tmp_path_factory.mktemp("sample"), n_units=7)


def handed_over(text):
    """The key and the value that a script hands over."""
    return json.loads(f"[{CALL.fullmatch(text)[1]}]")


@pytest.mark.parametrize("number", range(len(ODD)))
def test_odd_names_come_back_and_do_nothing(number):
    value = {ODD[number]: [ODD[number], None, 1.5, -1]}
    text = script(ODD[number], value)
    assert handed_over(text) == [ODD[number], value]
    assert not set(text) & set("<>&\u2028\u2029")


def test_a_page_with_the_script_in_it_has_one_script():
    tags = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append(tag)
    parser.feed(f"<script>{script('labels', ODD)}</script>")
    assert tags == ["script"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_of_json_is_refused(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        script("layer", {"score": [value]})


def test_equal_data_gives_equal_bytes(sample):
    assert script("search", search_data(sample.site)) == script("search", search_data(sample.site))


def test_a_search_finds_every_unit_with_its_label_and_icon(sample):
    data = search_data(sample.site)
    assert [layer["name"] for layer in data["layers"]] == [layer.name for layer in sample.layers]
    for found, layer in zip(data["layers"], sample.layers, strict=True):
        labels = [*found["labels"], ""]  # the place -1 is none
        assert [labels[place] for place in found["label"]] == [u.label for u in layer.units]
        assert found["units"] == [unit.unit for unit in layer.units]
        assert found["sprites"][0]["path"] == layer.sprites[0].path
        assert not {"score", "sparsity"} & found.keys()
    assert data["atlases"] == [{"name": a.name, "slug": a.slug} for a in sample.site.atlases]


def test_labels_are_written_once(sample):
    data = layer_data(sample.layers[0])
    assert len(set(data["labels"])) == len(data["labels"])
    assert "" not in data["labels"]


def test_a_grid_knows_how_strong_and_how_sparse_its_units_are(sample):
    data, layer = layer_data(sample.layers[2]), sample.layers[2]
    assert data["score"] == [unit.score for unit in layer.units]
    assert data["sparsity"] == [unit.sparsity for unit in layer.units]


def test_an_atlas_knows_its_cells_and_where_its_tiles_are(sample):
    page = sample.site.atlases[0]
    data = atlas_data(page)
    assert [level["grid"] for level in data["levels"]] == [5, 10, 20]
    for found, level in zip(data["levels"], page.levels, strict=True):
        labels = [*data["labels"], ""]
        cells = [(c.row, c.column, c.count, c.label, c.share) for c in level.cells]
        assert [(*c[:3], labels[c[3]], c[4]) for c in found["cells"]] == cells
        assert (sample.folder / f"{found['path']}/{found['max_level']}/0_0.webp").is_file()
        assert (sample.folder / f"{found['path']}/{found['min_level']}/0_0.webp").is_file()
