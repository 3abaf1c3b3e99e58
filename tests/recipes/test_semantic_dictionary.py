"""Semantic dictionaries: which units a position excites, and what they look like."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
from colours import Colours, halves

from lucent.errors import InputError, LayerError
from lucent.recipes.semantic_dictionary import semantic_dictionary

SMALL = {"size": 12, "steps": 12, "transforms": []}
#: Red over green on the left, blue over green on the right.
PICTURE = halves((0.9, 0.4, 0.1), (0.1, 0.4, 0.9))


def test_every_position_has_its_planted_unit_first():
    found = semantic_dictionary(Colours(), PICTURE, "units", count=2, **SMALL)
    units = found.units[found.indices]
    assert (units[:, :2] == [0, 1]).all()
    assert (units[:, 2:] == [2, 1]).all()
    assert found.at(0, 0) == [(0, pytest.approx(0.9)), (1, pytest.approx(0.4))]
    assert found.at(3, 0) == [(2, pytest.approx(0.9)), (1, pytest.approx(0.4))]
    assert found.at(3, 3) == [(2, pytest.approx(0.45)), (1, pytest.approx(0.2))]


def test_a_unit_is_drawn_once_and_its_icon_shows_it():
    found = semantic_dictionary(Colours(), PICTURE, "units", count=1, **SMALL)
    assert found.units.tolist() == [0, 2]
    assert len(found.icons.images) == 2
    assert found.icons.images.mean((1, 2)).argmax(1).tolist() == [0, 2]


def test_the_photograph_is_what_the_network_saw():
    found = semantic_dictionary(Colours(), PICTURE, "units", count=1, size=8, steps=1)
    np.testing.assert_allclose(found.photograph, PICTURE.permute(1, 2, 0), rtol=1e-6)


def test_the_figure_marks_positions_and_names_units():
    found = semantic_dictionary(Colours(), PICTURE, "units", count=2, size=8, steps=1)
    panels = found.panels()
    assert panels.labels[:3] == ["x=0, y=0", "0: 0.9", "1: 0.4"]
    marked = panels.pictures[0]
    np.testing.assert_array_equal(marked[0, 0], found.photograph[0, 0])
    assert (marked[1:] < found.photograph[1:]).all()


def test_the_figure_marks_column_and_row():
    picture = torch.full((3, 4, 4), 0.2)
    picture[0, 1, 3] = 0.9
    found = semantic_dictionary(Colours(), picture, "units", count=1, size=8, steps=1)
    panels = found.panels()
    assert panels.labels[0] == "x=3, y=1"
    kept = (panels.pictures[0] == found.photograph).all(-1)
    assert np.argwhere(kept).tolist() == [[1, 3]]


def test_the_positions_of_the_figure_are_not_beside_each_other():
    found = semantic_dictionary(
        Colours(), halves((0.9, 0, 0), (0, 0, 0.9), size=16), "units", count=1, size=8, steps=1
    )
    places = np.array(found._positions())
    distances = np.abs(places[:, None] - places).max(-1) + 99 * np.eye(len(places))
    assert len(places) == 6
    assert distances.min() >= 4


def test_the_notebook_gets_a_page_with_the_names_of_the_units(monkeypatch):
    pages = []
    # The package has the function under the name of the module.
    module = importlib.import_module("lucent.recipes.semantic_dictionary")
    monkeypatch.setattr(module, "show_page", pages.append)
    semantic_dictionary(Colours(), PICTURE, "units", count=1, size=8, steps=1).show()
    assert len(pages) == 1
    assert "units:2" in pages[0]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "1 to 3, the number of units"), (4, "1 to 3, the number of units"), (1.5, "whole number")],
)
def test_there_are_only_so_many_units(count, text):
    with pytest.raises(InputError, match=f"count={count} has to be.*{text}"):
        semantic_dictionary(Colours(), PICTURE, "units", count=count)


@pytest.mark.parametrize("layer", ["logits", "pool"])
def test_the_layer_has_positions(layer):
    with pytest.raises(LayerError, match=f"The layer '{layer}' gives"):
        semantic_dictionary(Colours(), PICTURE, layer)


def test_one_photograph_at_a_time():
    with pytest.raises(InputError, match="one picture, but got a batch"):
        semantic_dictionary(Colours(), torch.stack([PICTURE, PICTURE]), "units")
