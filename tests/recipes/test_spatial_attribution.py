from __future__ import annotations

import functools
import re
import sys
from html import unescape

import numpy as np
import pytest
import torch
from tiny import PLAIN, conv
from torch import nn

from lucent.attribution import integrated_gradients, logit
from lucent.errors import InputError, LayerError
from lucent.misc.io.overlays import overlaid
from lucent.modelzoo.spec import ModelSpec
from lucent.recipes.spatial_attribution import (
    LayerToLayer,
    SpatialAttribution,
    layer_to_layer,
    spatial_attribution,
)


class Colours(nn.Module):
    """`parts` gives (r, g, b), `pool` their maxima in windows of 2x2; "red" gets 2 r - g - 1 of the
    pool, its mean over positions, "blue" gets b.
    """

    spec = ModelSpec("colours", labels=("red", "blue"), logits="head")

    def __init__(self):
        super().__init__()
        self.parts = conv(np.eye(3).tolist())
        self.pool = nn.MaxPool2d(2)
        self.mix = conv([[2, -1, 0], [0, 0, 1]])
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, x):
        return self.head(self.mix(self.pool(self.parts(x))))


def picture():
    """Red in the upper left quarter, green in the lower right one, blue in the upper right one."""
    made = np.zeros((8, 8, 3), np.float32)
    made[:4, :4, 0] = made[4:, 4:, 1] = made[:4, 4:, 2] = 1
    return made


def test_red_speaks_for_red_and_green_against_it():
    found = spatial_attribution(Colours(), picture(), ["labels:red", "labels:blue"], "pool")
    assert found.scores == ("red", "blue")
    np.testing.assert_allclose(found.values, [0.25, 0.25])
    red, blue = found.maps[0]
    expected = np.kron([[2, 0], [0, -1]], np.ones((2, 2))) / 16
    np.testing.assert_allclose(red, expected, atol=1e-7)
    np.testing.assert_allclose(blue, np.kron([[0, 1], [0, 0]], np.ones((2, 2))) / 16, atol=1e-7)


def test_a_difference_of_classes_has_one_map_per_layer():
    difference = {"red - blue": logit("red", minus="blue")}
    found = spatial_attribution(Colours(), picture(), difference, ["parts", "pool"])
    assert [maps.shape for maps in found.maps] == [(1, 8, 8), (1, 4, 4)]
    np.testing.assert_allclose([maps.sum() for maps in found.maps], [0, 0], atol=1e-6)
    assert found.maps[1][0, 0, 0] > 0 > found.maps[1][0, 0, 3]


def test_max_pools_spread_their_gradient_unless_told_otherwise():
    """Of a window with equal values, a max-pool names one; an average names all four."""
    smooth, own = (
        spatial_attribution(Colours(), picture(), 0, "parts", smooth=kind).maps[0][0]
        for kind in ("avg", None)
    )
    np.testing.assert_allclose(smooth[:4, :4], 2 / 64, rtol=1e-5)
    assert sorted(own[:4, :4].ravel())[-4:] == pytest.approx([2 / 16] * 4)
    assert not sorted(own[:4, :4].ravel())[0]


def test_another_way_to_attribute():
    ways = functools.partial(integrated_gradients, steps=5)
    found = spatial_attribution(Colours(), picture(), "labels:red", "pool", attribute=ways)
    np.testing.assert_allclose(found.maps[0].sum(), 0.25, rtol=1e-4)


def test_panels_are_labelled_rows_of_layers():
    found = spatial_attribution(Colours(), picture(), ["labels:red", 1], ["parts", "pool"])
    panels = found.panels()
    assert panels.columns == 3
    assert panels.labels[0] == "red: 0.25"
    assert panels.labels[3:] == ["blue: 0.25", "parts, +0.25 in all", "pool, +0.25 in all"]
    np.testing.assert_array_equal(panels.pictures[3], picture())
    limit = float(np.quantile(np.abs(found.maps[1]), 0.99))
    expected = overlaid(picture(), found.maps[1][1], limit=limit)
    np.testing.assert_array_equal(panels.pictures[5], expected)


class Shifted(nn.Module):
    """Each position of `late` is that of `early` to its left; both have one channel."""

    spec = PLAIN

    def __init__(self):
        super().__init__()
        self.early = conv([[1, 0, 0]])
        self.late = nn.Conv2d(1, 1, (1, 3), padding=(0, 1), bias=False)
        self.late.weight.data = torch.tensor([[[[1.0, 0.0, 0.0]]]])

    def forward(self, x):
        return self.late(self.early(x))


def test_layer_to_layer_finds_where_a_position_comes_from():
    photo = np.random.default_rng(0).random((5, 6, 3)).astype(np.float32)
    found = layer_to_layer(Shifted(), photo, "early", "late", position=(4, 2))
    expected = np.zeros((5, 6))
    expected[2, 3] = photo[2, 3, 0]
    np.testing.assert_allclose(found.maps[2, 4], expected, rtol=1e-5)
    assert found.panels().labels == ["column 4, row 2 of late", "from early"]


def test_layer_to_layer_begins_with_the_strongest_position():
    photo = np.zeros((5, 6, 3), np.float32)
    photo[3, 1] = 1
    assert layer_to_layer(Shifted(), photo, "early", "late").position == (2, 3)


def test_showing_it_hovers_in_both_directions(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda thing: shown.append(thing.data))
    photo = np.random.default_rng(0).random((5, 6, 3))
    layer_to_layer(Shifted(), photo, "early", "late", position=(4, 2)).show()
    page = unescape(re.search('srcdoc="([^"]*)"', shown[0])[1])
    assert "wanted : [0, 4, 2];" in page
    assert page.count("null") == 2
    assert "late: where it comes from" in page
    assert "early: where it goes to" in page


def test_large_layers_are_shown_in_blocks(monkeypatch):
    pages = []
    monkeypatch.setattr(
        sys.modules[LayerToLayer.__module__],  # its name in the package is that of the function
        "hover_maps",
        lambda pictures, maps, **options: pages.append((maps, options["start"])) or "",
    )
    monkeypatch.setattr("IPython.display.display", lambda thing: None)
    maps = np.random.default_rng(0).random((20, 3, 33, 5)).astype(np.float32)
    LayerToLayer(np.zeros((8, 8, 3)), "early", "late", maps, (2, 19)).show()
    (((_, coming), (going, _)), start) = pages[0]
    assert coming.shape == (10, 2, 11, 2)
    assert start == (0, 1, 9)
    # The last two rows and column of the target; rows 3 to 5 and columns 0 to 2 of the source.
    np.testing.assert_allclose(coming[9, 1, 1, 0], maps[18:, 2, 3:6, :3].sum(), rtol=1e-5)
    np.testing.assert_allclose(going, coming.transpose(2, 3, 0, 1))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((picture(), [], "pool"), InputError, "no score to attribute"),
        ((picture(), "labels:red", []), InputError, "no layer to attribute"),
        ((picture(), "labels:green", "pool"), InputError, "no label 'green'"),
        ((picture(), "labels:red", "head"), LayerError, "'head' gives .* no rows and columns"),
        ((picture(), "labels:red", "pol"), LayerError, "pool"),
        ((picture()[..., :2], "labels:red", "pool"), InputError, "2 channels"),
        ((torch.rand(2, 3, 8, 8), "labels:red", "pool"), InputError, "one picture, but got a"),
    ],
)
def test_what_cannot_be_attributed(arguments, error, text):
    with pytest.raises(error, match=text):
        spatial_attribution(Colours(), *arguments)


def test_a_position_that_is_not_there():
    with pytest.raises(InputError, match="'late' has columns 0 to 7 and rows 0 to 7"):
        layer_to_layer(Shifted(), picture(), "early", "late", position=(8, 0))


def test_the_dog_speaks_for_a_retriever_and_the_kitten_for_a_tabby(squeezenet, photo):
    score = {"retriever - tabby": logit("golden retriever", minus="tabby")}
    image = nn.functional.interpolate(photo, (224, 224), mode="bilinear", antialias=True)
    found = spatial_attribution(squeezenet, image, score, ["features.9", "features.12"])
    for maps in found.maps:
        share = maps.shape[1] / 224
        # The head of the dog, and the kitten, in pixels: rows, then columns.
        boxes = [np.array(box) * share for box in (((35, 100), (25, 130)), ((90, 180), (155, 210)))]
        dog, kitten = (
            maps[0, slice(*box[0].round().astype(int)), slice(*box[1].round().astype(int))].mean()
            for box in boxes
        )
        assert dog > 0 > kitten


def test_classes_of_one_name_keep_a_row_each():
    model = Colours()
    model.spec = ModelSpec("colours", labels=("crane", "crane"), logits="head")
    found = spatial_attribution(model, picture(), [0, 1], "parts")
    assert found.scores == ("crane", "crane")
    assert len(found.values) == len(found.maps[0]) == 2
    assert abs(found.maps[0][0] - found.maps[0][1]).max() > 0


def test_a_map_that_is_almost_zero_everywhere_has_the_full_colour_where_it_is_not():
    maps = np.zeros((1, 20, 20))
    maps[0, 3, 4] = 1e-3
    photo = np.full((20, 20, 3), 0.5)
    panels = SpatialAttribution(photo, ("a",), np.ones(1), ("b",), (maps,)).panels()
    np.testing.assert_array_equal(panels.pictures[1], overlaid(photo, maps[0]))
