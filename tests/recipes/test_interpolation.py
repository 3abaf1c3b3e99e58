from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import PLAIN, conv
from torch import nn

from lucent.errors import InputError
from lucent.modelzoo import synthnet
from lucent.optvis import param
from lucent.recipes.interaction import _Blends, neuron_interaction, random_directions
from lucent.recipes.interpolation import interpolation

SMALL = {"size": 48, "fixed_image_size": "native", "steps": 40}


@pytest.fixture(scope="module")
def strips():
    return [
        interpolation(synthnet(), "mixed4a:63", "mixed4a:49", count=4, aligned=aligned, **SMALL)
        for aligned in (True, False)
    ]


def test_neighbours_are_more_alike_than_independent_pictures(strips):
    aligned, independent = strips
    assert aligned.unevenness < 0.6 * independent.unevenness
    assert aligned.images.std() > 0.05


def test_it_leads_from_one_unit_to_the_other(strips):
    for strip in strips:
        first, second = strip.values
        assert first[0] > first[-1]
        assert second[-1] > second[0]
        assert strip.panels().labels == ["mixed4a:63", "33%", "67%", "mixed4a:49"]


def red_and_loud_blue():
    """Units 0, the red, and 1, a hundred times the blue without the red."""
    model = nn.Sequential(conv([[1, 0, 0], [-100, 0, 100]]))
    model.spec = PLAIN
    return model


def test_units_count_the_same_however_large_their_activations_are():
    given = {"size": 16, "fixed_image_size": "native", "steps": 60, "transforms": []}
    strip = interpolation(red_and_loud_blue(), "0:0", "0:1", count=3, **given)
    red = strip.images[..., 0].mean((1, 2))
    # The raw response of the second would drive the red out of all pictures.
    assert red[0] > 0.5 > red[1] > 0.25 > red[2]


def test_an_interpolation_has_two_ends():
    with pytest.raises(InputError, match="count=1: an interpolation has at least 2"):
        interpolation(synthnet(), "mixed4a:63", "mixed4a:49", count=1)
    with pytest.raises(InputError, match="channel"):
        interpolation(synthnet(), "mixed4a:63", "mixed4a:4900", count=2, steps=1)


@pytest.fixture(scope="module")
def grid():
    return neuron_interaction(synthnet(), ["mixed4a:63", "mixed4a:49", "mixed4a:259"], **SMALL)


def test_a_picture_of_two_units_has_some_of_both(grid):
    alone = np.eye(3, dtype=bool)
    np.testing.assert_allclose(grid.values[alone], 1)
    assert (grid.values[~alone] > 0.2).all()
    assert (grid.values[~alone] < 1).any()


def test_the_grid_is_symmetric_and_labelled(grid):
    np.testing.assert_array_equal(grid.images, grid.images.swapaxes(0, 1))
    assert grid.images.shape == (3, 3, 48, 48, 3)
    assert grid.panels().labels[:3] == ["mixed4a:63", "+ mixed4a:49", "+ mixed4a:259"]
    assert grid.panels().columns == 3


def test_a_pair_is_aligned_with_its_units(grid):
    def distance(a, b):
        return np.abs(a - b).mean()

    pair, others = grid.images[0, 1], grid.images[2, 2]
    own = np.mean([distance(pair, grid.images[n, n]) for n in (0, 1)])
    assert own < distance(pair, others)


def test_pairs_do_not_change_the_pictures_of_single_units():
    single, pairs = (param.pixel_image((n, 3, 8, 8)) for n in (3, 3))
    blends = _Blends(single, pairs)
    rows = blends()
    torch.testing.assert_close(
        rows[4] - pairs()[1], (single()[[0, 2]]).mean(0) + blends.shared()[0]
    )
    (of_pairs,) = torch.autograd.grad(rows[3:].sum(), [single.pixels])
    assert not of_pairs.any()
    (own,) = torch.autograd.grad(blends()[:3].sum(), [single.pixels])
    assert (own == 1).all()


def test_interaction_takes_several_units():
    with pytest.raises(InputError, match=r"got 1 unit\(s\).*at least 2"):
        neuron_interaction(synthnet(), ["mixed4a:63"])


def test_random_directions_are_normal_and_grow():
    made = random_directions(synthnet(), "mixed3a", count=3, seed=5, **SMALL)
    np.testing.assert_allclose(np.linalg.norm(made.directions, axis=1), 1, rtol=1e-5)
    assert made.directions.shape == (3, 136)
    assert len(set(made.units)) == 3
    assert made.images.shape == made.unit_images.shape == (3, 48, 48, 3)
    assert made.images.std() > 0.02
    assert made.panels().labels[:1] == [f"mixed3a:{made.units[0]}"]
    again = random_directions(synthnet(), "mixed3a", count=3, seed=5, **SMALL)
    np.testing.assert_array_equal(made.images, again.images)


@pytest.mark.parametrize("count", [0, 137])
def test_there_are_no_more_units_than_channels(count):
    with pytest.raises(InputError, match=f"count={count}: mixed3a has 136 channels"):
        random_directions(synthnet(), "mixed3a", count=count)


@pytest.mark.slow
def test_tents_of_squeezenet_become_arches_in_their_places(squeezenet):
    given = {"size": 128, "fixed_image_size": 128, "steps": 48}
    aligned, independent = (
        interpolation(squeezenet, "features.9:272", "features.9:208", aligned=aligned, **given)
        for aligned in (True, False)
    )
    assert aligned.unevenness < 0.5 * independent.unevenness
    tents, arches = aligned.values
    assert tents[0] > tents[-1]
    assert arches[-1] > arches[0]
