from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import PLAIN, conv
from torch import nn

from lucent.errors import InputError, LayerError
from lucent.modelzoo import synthnet
from lucent.modelzoo.synthnet import LABELS
from lucent.modelzoo.synthnet.data import draw_class
from lucent.recipes.decomposed import decomposed_feature, decomposed_weights

FEW = {"size": 8, "steps": 2}
#: Two groups of channels that excite the unit, and one that inhibits it, of six channels in all.
GROUPS = np.array([[3, 4, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 0, -2, -1]], np.float64)


class Planted(nn.Module):
    """Of `parts`, the unit `late:1` reads the first group to the left, the second one to the right,
    and the third one in between.
    """

    spec = PLAIN

    def __init__(self):
        super().__init__()
        self.parts = nn.Sequential(
            conv([[1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]]), nn.ReLU()
        )
        self.late = nn.Conv2d(6, 2, 3, padding=1)
        maps = np.zeros((3, 3, 3))
        maps[0, :, 0], maps[1, 1, 2], maps[2, :, 1] = 1, 2, 0.5
        with torch.no_grad():
            self.late.weight[1] = torch.from_numpy(np.einsum("gc,gyx->cyx", GROUPS, maps))

    def forward(self, x):
        return self.late(self.parts(x))


def unit_vectors(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_planted_groups_of_weights_are_found():
    found = decomposed_weights(Planted(), "late:1", "parts", n_facets=3, **FEW)
    order = np.abs(unit_vectors(GROUPS) @ found.directions.T).argmax(1)
    assert sorted(order) == [0, 1, 2]
    np.testing.assert_allclose(found.directions[order], unit_vectors(GROUPS), atol=0.02)
    left, right, between = found.maps[order][:, 0]
    np.testing.assert_allclose(left[:, 0], 5, rtol=0.02)
    assert np.abs(left[:, 1:]).max() < 0.05
    assert right[1, 2] == pytest.approx(2, rel=0.02)
    np.testing.assert_allclose(between[:, 1], 0.5 * np.sqrt(5), rtol=0.02)
    sizes = np.array([3 * 5, 3 * 0.5 * np.sqrt(5), 2])
    np.testing.assert_allclose(found.shares(), sizes / sizes.sum(), atol=0.01)


def test_the_facets_add_up_to_the_weights():
    model = Planted()
    found = decomposed_weights(model, "late:1", "parts", n_facets=3, **FEW)
    made = np.einsum("gc,gyx->cyx", found.directions, found.maps[:, 0])
    np.testing.assert_allclose(made, model.late.weight[1].detach(), atol=0.05)


def test_what_excites_a_unit_in_pictures_is_taken_apart():
    """The left part of one picture is red, the right one of the other green."""
    first, second = np.zeros((2, 6, 8, 3), np.float32)
    first[:, :4, 0] = second[:, 4:, 1] = 1
    found = decomposed_feature(Planted(), [first, second], "late:1", "parts", n_facets=2, **FEW)
    red = int(found.directions[:, 0].argmax())
    np.testing.assert_allclose(found.directions[red], [0.6, 0.8, 0, 0, 0, 0], atol=0.01)
    np.testing.assert_allclose(found.directions[1 - red], [0, 0, 0, 1, 0, 0], atol=0.01)
    assert (found.maps[red, 0, :, :4] > 0).all()
    assert np.abs(found.maps[red, 1]).max() < 1e-3
    assert np.abs(found.maps[red, 0, :, 4:]).max() < 1e-3


def test_a_unit_for_stripes_of_two_orientations_has_a_facet_for_each():
    rng = np.random.default_rng(0)
    kinds = [
        draw_class(LABELS.index(f"{name} stripes"), 3, rng) for name in ("horizontal", "vertical")
    ]
    pictures = torch.cat([torch.from_numpy(kind.images) for kind in kinds]) / 255
    found = decomposed_feature(synthnet(), pictures, "mixed4b:82", "mixed4a", n_facets=2, **FEW)
    horizontal, vertical = found.maps.sum((2, 3)).reshape(2, 2, 3).sum(2).T
    assert sorted([horizontal.argmax(), vertical.argmax()]) == [0, 1]
    assert min(horizontal.max() / horizontal.min(), vertical.max() / vertical.min()) > 4


def test_panels_are_rows_of_an_icon_and_its_maps():
    weights = decomposed_weights(Planted(), "late:1", "parts", n_facets=2, **FEW).panels()
    assert (len(weights.pictures), weights.columns) == (4, 2)
    assert weights.labels[0].startswith("facet 0: ")
    photos = [np.full((6, 8, 3), 0.5)] * 3
    pictures = decomposed_feature(Planted(), photos, "late:1", "parts", n_facets=1, **FEW).panels()
    assert [picture.shape for picture in pictures.pictures] == [(8, 8, 3), *[(6, 8, 3)] * 3]
    assert pictures.labels == ["facet 0: 100%", "", "", ""]


@pytest.mark.parametrize(
    ("unit", "layer", "n_facets", "error", "text"),
    [
        ("late:1", "parts", 7, InputError, r"n_facets=7 .* at most 6 facets"),
        ("late:1", "parts", 0, InputError, r"n_facets=0 is not possible"),
        ("late:1:2:2", "parts", 2, InputError, "has to be a channel of a layer"),
        ("labels:dog", "parts", 2, InputError, "has to be a channel of a layer"),
        ("late:2", "parts", 2, InputError, "no channel 2"),
        ("late:1", "part", 2, LayerError, "parts"),
    ],
)
def test_what_cannot_be_taken_apart(unit, layer, n_facets, error, text):
    with pytest.raises(error, match=text):
        decomposed_weights(Planted(), unit, layer, n_facets=n_facets, **FEW)


def test_a_unit_that_nothing_excites():
    with pytest.raises(InputError, match="pictures that excite the unit"):
        decomposed_feature(Planted(), [np.zeros((6, 8, 3))], "late:1", "parts", **FEW)


def test_weights_of_one_position_say_what_to_do_instead():
    with pytest.raises(InputError, match="decomposed_feature"):
        decomposed_weights(Planted(), "parts:1", "input", n_facets=2, **FEW)
