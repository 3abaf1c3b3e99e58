"""Transparent pictures: opaque where the unit looks, clear elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import PLAIN, condition, conv
from torch import nn

from lucent.errors import InputError
from lucent.modelzoo import synthnet
from lucent.modelzoo.spec import ModelSpec
from lucent.optvis import objectives, transform
from lucent.optvis.history import History
from lucent.recipes.transparency import Transparency, transparency


def red_in_blocks():
    """Layer "2" is how much redder than green each block of 8 x 8 pixels is."""
    model = nn.Sequential(conv([[1, -1, 0]]), nn.ReLU(), nn.AvgPool2d(8))
    model.spec = PLAIN
    return model


def test_only_what_the_unit_sees_is_opaque():
    # Of a picture of 32 pixels the neuron in the middle sees the block from pixel 16 to 24.
    made = transparency(
        red_in_blocks(),
        objectives.neuron("2", 0),
        size=32,
        steps=160,
        transforms=[transform.collapse_alpha_random()],
        seed=0,
        progress=False,
    )
    seen = np.zeros((32, 32), bool)
    seen[16:24, 16:24] = True
    assert made.alpha[seen].mean() > 0.8
    assert made.alpha[~seen].mean() < 0.1
    red, green, _ = made.picture[seen][:, :3].mean(0)
    assert red > 0.9
    assert green < 0.1


def test_a_class_of_the_embedded_network_stands_alone():
    made = transparency(synthnet(), "labels:flower", size=64, steps=96, seed=0, progress=False)
    border = np.ones((64, 64), bool)
    border[8:-8, 8:-8] = False
    assert made.alpha[border].mean() < 0.05
    assert made.alpha[24:40, 24:40].mean() > 0.5
    assert ((made.alpha < 0.1) | (made.alpha > 0.9)).mean() > 0.7


def test_over_mixes_by_opacity():
    picture = np.zeros((2, 2, 4), np.float32)
    picture[..., 0], picture[..., 3] = 1, [[0, 1], [0.25, 0.5]]
    made = Transparency(picture, History(()))
    assert made.over(0.0)[..., 0].tolist() == [[0, 1], [0.25, 0.5]]
    assert made.over((0, 1, 0))[..., 1].tolist() == [[1, 0], [0.75, 0.5]]
    ground = np.random.default_rng(0).random((2, 2, 3))
    assert np.allclose(made.over(ground)[0, 0], ground[0, 0])
    assert made.over(0.0).dtype == np.float32


def test_panels_are_the_four_of_lucid():
    picture = np.concatenate([np.full((32, 64, 3), 0.8), np.zeros((32, 64, 1))], -1)
    panels = Transparency(picture.astype(np.float32), History(())).panels()
    black, white, board, opacity = panels.pictures
    assert list(panels.labels) == ["on black", "on white", "on a board", "opacity"]
    assert black.max() == 0
    assert white.min() == 1
    assert opacity.shape == (32, 64, 1)
    # Squares of a sixteenth of the longer side.
    assert np.allclose(board[:4, :4], board[0, 0])
    assert np.allclose(board[:4, 4:8], board[4:8, :4])
    assert abs(board[0, 0, 0] - board[0, 4, 0]) == pytest.approx(0.2)


def test_the_network_sees_random_parts_of_a_large_picture():
    model, seen = red_in_blocks(), []
    model[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[2:]))
    made = transparency(
        model, objectives.channel("2", 0), size=64, crop=24, steps=20, seed=0, progress=False
    )
    assert made.picture.shape == (64, 64, 4)
    assert set(seen) == {(24, 24)}
    assert made.alpha.std() > 0.01


def test_the_seed_which_is_0_by_default_repeats_it_and_the_model_stays():
    model = red_in_blocks()
    before, state = condition(model), torch.get_rng_state()
    first, again, other = (
        transparency(model, "2:0", size=16, steps=3, **seed, progress=False).picture
        for seed in ({}, {"seed": 0}, {"seed": 1})
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert condition(model) == before
    assert torch.equal(torch.get_rng_state(), state)


def test_a_crop_larger_than_the_picture_at_its_smallest():
    with pytest.raises(InputError, match=r"crop=100 of a picture of 128 pixels.* be 1 to 76, 0.6"):
        transparency(red_in_blocks(), "2:0", size=128, crop=100)
    with pytest.raises(InputError, match=r"crop=40 of a picture of \(64, 96\) pixels.* be 1 to 38"):
        transparency(red_in_blocks(), "2:0", size=(64, 96), crop=40)


def test_networks_without_colours():
    model = nn.Sequential(nn.Conv2d(1, 2, 3))
    model.spec = ModelSpec(name="grey", channels=1)
    with pytest.raises(InputError, match=r"grey takes images of 1 channels.*RGB and opacity"):
        transparency(model, "0:0")
