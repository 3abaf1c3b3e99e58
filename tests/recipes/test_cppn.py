"""Pictures drawn by networks of coordinates: the same at every size, and what lies between two."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tiny import PLAIN, condition, conv
from torch import nn
from torch.nn import functional as F

from lucent.errors import InputError
from lucent.modelzoo import synthnet
from lucent.optvis import param
from lucent.recipes.cppn import cppn_drawing, cppn_interpolation

QUIET = {"seed": 0, "progress": False}


def drawing(**options):
    return cppn_drawing(
        synthnet(), "mixed4a:220", **{"size": 33, "steps": (1, 24), **QUIET, **options}
    )


def scrambled(seed, size=16):
    """A network whose last layer draws something without having learned it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        image = param.cppn(size)
        image.weights[-1].data.normal_()
    return image


def pixels(image):
    with torch.no_grad():
        return image()[0].movedim(0, -1).numpy()


def test_what_the_unit_looks_for_grows_with_the_steps():
    made = drawing(steps=(1, 8, 48))
    assert made.steps == (1, 8, 48)
    assert made.pictures.shape == (3, 33, 33, 3)
    assert made.history.loss[-1] < made.history.loss[8] < made.history.loss[0]
    # It starts as a flat grey.
    assert made.pictures[0].std() < 0.02 < made.pictures[-1].std()
    assert list(made.panels().labels) == ["step 1", "step 8", "step 48"]


def test_twice_the_size_is_the_same_picture_in_more_detail():
    made = drawing()
    last = made.pictures[-1]
    # With one pixel less than twice as many, every second one lies where one lay before.
    assert np.abs(made.at(65)[::2, ::2] - last).max() < 1e-5
    large = torch.from_numpy(made.at(66)).movedim(-1, 0)[None]
    small = F.interpolate(large, (33, 33), mode="area")[0].movedim(0, -1).numpy()
    # The corners of both lie on the same points, so that pixels are shifted by up to half a pixel.
    steepest = max(np.abs(np.diff(last, axis=axis)).max() for axis in (0, 1))
    assert np.abs(small - last).max() < steepest
    assert np.abs(small - last).mean() < 0.1 * last.std()
    assert made.at((20, 40)).shape == (20, 40, 3)


def test_it_goes_on_from_another_network_that_stays():
    first = drawing()
    before = copy.deepcopy(first.image.state_dict())
    second = drawing(start=first.image, steps=(0, 2), size=16)
    assert np.abs(second.pictures[0] - first.at(16)).max() < 1e-6
    assert np.abs(second.pictures[1] - first.at(16)).max() > 1e-4
    assert all(torch.equal(before[key], value) for key, value in first.image.state_dict().items())


def test_an_interpolation_goes_from_one_to_the_other_and_lingers_at_the_ends():
    first, second = scrambled(0), scrambled(1)
    made = cppn_interpolation(first, second, count=5)
    assert np.abs(made.pictures[0] - pixels(first)).max() < 1e-6
    assert np.abs(made.pictures[-1] - pixels(second)).max() < 1e-6
    # (1 - cos(pi s)) / 2 at quarters.
    root = np.sqrt(0.5)
    assert np.allclose(made.fractions, [0, (1 - root) / 2, 0.5, (1 + root) / 2, 1])
    assert made.panels().labels[2] == "0.50"


def test_the_middle_is_exaggerated_by_a_quarter():
    first, second = scrambled(0), scrambled(1)
    middle = copy.deepcopy(first)
    with torch.no_grad():
        for tensor, a, b in zip(
            middle.parameters(), first.parameters(), second.parameters(), strict=True
        ):
            tensor.copy_(1.25 * (a + b) / 2)
    made = cppn_interpolation(first, second, count=3)
    assert np.abs(made.pictures[1] - pixels(middle)).max() < 1e-5


def test_an_interpolation_may_have_another_size_and_leaves_both_as_they_were():
    first, second = scrambled(0), scrambled(1)
    before = [pixels(first), pixels(second)]
    assert cppn_interpolation(first, second, count=2, size=(8, 24)).pictures.shape == (2, 8, 24, 3)
    assert np.array_equal([pixels(first), pixels(second)], before)


def test_the_seed_which_is_0_by_default_repeats_it_and_the_model_stays():
    model = nn.Sequential(conv([[1, 0, 0]]))
    model.spec = PLAIN
    before, state = condition(model), torch.get_rng_state()
    options = {"size": 8, "steps": (4,), "progress": False}
    first, again, other = (
        cppn_drawing(model, "0:0", **seed, **options).pictures
        for seed in ({}, {"seed": 0}, {"seed": 1})
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert condition(model) == before
    assert torch.equal(torch.get_rng_state(), state)


def test_steps_and_counts_that_are_none():
    with pytest.raises(InputError, match=r"thresholds=\(\) has to be whole numbers of steps"):
        drawing(steps=())
    with pytest.raises(InputError, match=r"count=1: an interpolation has at least its two ends"):
        cppn_interpolation(scrambled(0), scrambled(1), count=1)
    with pytest.raises(InputError, match=r"have no parameters between them"):
        cppn_interpolation(scrambled(0), param.cppn(16, num_layers=3))
