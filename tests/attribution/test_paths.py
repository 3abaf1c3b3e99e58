"""Integrated gradients: they add up to how far the score is from that of the baseline."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from lucent.attribution import Path, gradient_x_activation, integrated_gradients
from lucent.errors import InputError, LucentWarning
from lucent.modelzoo import synthnet, synthvit
from lucent.modelzoo.synthnet.data import SynthScenes

PICTURE = tiny.colour(0.5, 0.25, 1.0, size=1)


class Product(nn.Module):
    """Of (r, g, b) it makes r times g."""

    spec = tiny.PLAIN

    def __init__(self):
        super().__init__()
        self.colours = nn.Identity()

    def forward(self, x):
        x = self.colours(x)
        return (x[:, 0] * x[:, 1]).flatten(1)


def small_net(bias, seed=0):
    """Two convolutions and ReLUs; the biases are so small that they matter near zero only."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip
    for name, parameter in model.named_parameters():
        nn.init.normal_(parameter, std=bias if name.endswith("bias") else 1.0)
    model.spec = tiny.PLAIN
    return model


def assert_complete(found, share=0.01):
    difference = found.score - found.baseline_score
    assert (found.total - difference).abs().max() < share * difference.abs().min()


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_of_a_product_both_factors_get_half(steps):
    found = integrated_gradients(Product(), PICTURE, "labels:0", "colours", steps=steps)
    assert torch.allclose(found.values.flatten(), torch.tensor([1, 1, 0]) / 16)
    assert found.score.item() == 0.125
    assert found.baseline_score.item() == 0
    assert abs(found.gap.item()) < 1e-6


def test_of_a_product_the_factor_that_comes_late_gets_more():
    # Early r = 0.5 (2t - t²) and late g = 0.25 t²: the integral of r' g is a sixth of r g.
    path = Path(steps=200, ways=40)
    found = integrated_gradients(Product(), PICTURE, "labels:0", "colours", steps=path)
    shares = {0.5, 1 / 6, 5 / 6}
    single = [
        integrated_gradients(
            Product(), PICTURE, "labels:0", "colours", steps=Path(steps=200, ways=1, seed=seed)
        ).values.flatten()[0] / 0.125
        for seed in range(12)
    ]  # fmt: skip
    nearest = [min(shares, key=lambda share: abs(share - one)) for one in single]
    assert np.abs(np.subtract(single, nearest)).max() < 1e-3
    assert set(nearest) == shares
    assert torch.allclose(found.total, found.score, rtol=1e-3)
    assert 0.4 < found.values.flatten()[0] / 0.125 < 0.6


def test_a_linear_network_is_explained_exactly_in_one_step():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 2), nn.Flatten())
    model.spec = tiny.PLAIN
    picture, baseline = torch.rand(2, 1, 3, 5, 5)
    found = integrated_gradients(model, picture, "labels:3", "input", steps=1, baseline=baseline)
    expected = gradient_x_activation(model, picture, "labels:3", "input").gradient
    assert torch.allclose(found.values, expected * (picture - baseline), atol=1e-6)
    assert torch.allclose(found.total, found.score - found.baseline_score, atol=1e-6)


@pytest.mark.parametrize("bias", [0.5, 1e-3])
@pytest.mark.parametrize("layer", ["input", "0", "1"])
def test_attributions_add_up_in_small_networks(layer, bias):
    # With the small bias, all that the bias does happens in the first thousandth of the way.
    found = integrated_gradients(small_net(bias), torch.rand(1, 3, 12, 12), "labels:1", layer)
    assert_complete(found)
    assert found.gap.abs().max() < 0.01


class Threshold(nn.Module):
    """Falls by one on the first hundredth of the way, and rises by two on the rest."""

    spec = tiny.PLAIN

    def __init__(self):
        super().__init__()
        self.layer = nn.Identity()

    def forward(self, x):
        x = self.layer(x)[:, :1, 0, 0]
        return 2 * x - (100 * x).clamp(max=1)


def test_steps_are_divided_where_the_score_changes_all_at_once():
    white = torch.ones(1, 3, 1, 1)
    found = integrated_gradients(Threshold(), white, "labels:0", "layer")
    assert abs(found.total.item() - 1) < 0.01
    with pytest.warns(LucentWarning, match=r"miss .* % of the way of the score: take more steps"):
        few = integrated_gradients(Threshold(), white, "labels:0", "layer", steps=4)
    # The gradient is 2 wherever there is a point, and so the fall is missed.
    assert few.total.item() == pytest.approx(2)
    assert few.gap.item() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("layer", ["input", "conv2", "mixed3b", "mixed4a", "mixed4b"])
def test_attributions_add_up_in_the_embedded_network(layer):
    picture, label = SynthScenes(30, size=48)[2]
    found = integrated_gradients(synthnet(), picture, label, layer)
    assert_complete(found)


@pytest.mark.parametrize("directions", [None, torch.eye(280)[:5] + 0.1])
def test_random_ways_add_up_and_repeat_with_their_seed(directions):
    def found(seed):
        path = Path(steps=30, ways=2, seed=seed, directions=directions)
        picture = torch.full((1, 3, 32, 32), 0.3)
        return integrated_gradients(synthnet(), picture, "labels:5", "mixed4a", steps=path)

    assert_complete(found(1))
    assert torch.equal(found(1).values, found(1).values)
    assert not torch.allclose(found(1).values, found(2).values)


def test_tokens_without_a_position_are_part_of_the_sum():
    model = synthvit()
    picture = torch.rand(1, 3, *model.spec.input_size, generator=torch.Generator().manual_seed(0))
    for steps in (100, Path(steps=200, ways=1)):
        found = integrated_gradients(model, picture, "labels:5", "blocks.2", steps=steps)
        assert_complete(found)


def test_each_row_of_a_batch_is_what_it_is_alone():
    pictures = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    both = integrated_gradients(synthnet(), pictures, "labels:5", "mixed4a")
    for row in range(2):
        alone = integrated_gradients(synthnet(), pictures[row], "labels:5", "mixed4a")
        # Where the one needs a finer step, the other gets it, too.
        assert torch.allclose(both.total[row], alone.total[0], rtol=0.01)
        assert (both.values[row] - alone.values[0]).abs().max() < 0.02 * alone.values.abs().max()


def test_a_baseline_is_a_tensor_or_a_picture():
    model, picture = synthnet(), torch.rand(2, 3, 96, 96)
    black = integrated_gradients(
        model, picture, "labels:5", "mixed4b", steps=4, baseline=np.zeros((96, 96, 3))
    )
    acts = gradient_x_activation(model, torch.zeros(1, 3, 96, 96), "labels:5", "mixed4b").acts
    given = integrated_gradients(model, picture, "labels:5", "mixed4b", steps=4, baseline=acts)
    assert torch.allclose(black.baseline, acts.expand_as(black.baseline), atol=1e-5)
    assert torch.allclose(black.values, given.values, atol=1e-5)
    assert black.baseline_score[0] == pytest.approx(float(given.baseline_score[0]), rel=1e-4)
    with pytest.raises(InputError, match=r"The baseline has shape \(3, 5\), which does not fit"):
        integrated_gradients(model, picture, "labels:5", "mixed4b", baseline=torch.zeros(3, 5))


@pytest.mark.parametrize(("rows", "batch_size"), [(1, 4), (2, 6)])
def test_no_more_rows_than_asked_for_pass_at_once(rows, batch_size):
    model, seen = synthnet(), []
    model.head.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    path = Path(steps=20, batch_size=batch_size)
    integrated_gradients(model, torch.rand(rows, 3, 32, 32), "labels:5", "mixed4a", steps=path)
    assert max(seen) == batch_size
    # Gradients, ends of steps, and the first passes, which look for layers.
    assert sum(seen) <= rows * (20 + 2 * 20 + 4)


def test_what_comes_before_the_layer_runs_once_for_all_rows_of_a_picture():
    model, seen = synthnet(), []
    model.conv1.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    integrated_gradients(model, torch.rand(1, 3, 32, 32), "labels:5", "mixed4a", steps=20)
    assert max(seen) <= 2  # a pass of two tells which axis is which


class Around(nn.Module):
    """A concatenation goes around the layer, which takes as many rows on either side."""

    spec = tiny.PLAIN

    def __init__(self):
        super().__init__()
        self.layer, self.last = tiny.conv([[1, 2, 0], [0, 1, -1]]), nn.Flatten()

    def forward(self, x):
        return self.last(torch.cat([self.layer(x).relu() ** 2, x], 1).mean((2, 3)))


class Counting(Around):
    """It knows how many pictures there are before the layer, and counts on it after that."""

    def forward(self, x):
        acts = self.layer(x).relu() ** 2
        return self.last(acts.reshape(len(x), 2, -1).mean(2))


@pytest.mark.parametrize("model", [Around(), Counting()], ids=lambda model: type(model).__name__)
def test_pictures_are_repeated_where_one_row_would_not_do(model):
    picture = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    found = integrated_gradients(model, picture, "last:0", "layer", steps=8)
    # The square of r + 2g is shared out in proportion to its terms.
    assert_complete(found)
    assert torch.allclose(found.score, (picture[:, 0] + 2 * picture[:, 1]).square().mean())


@pytest.mark.parametrize("option", [{"steps": 0}, {"ways": -1}, {"batch_size": 0}])
def test_a_path_of_nothing_is_refused(option):
    ((name, number),) = option.items()
    with pytest.raises(InputError, match=f"{name}={number} has to be"):
        Path(**option)


def test_steps_are_whole():
    with pytest.raises(InputError, match="steps=2.5 has to be a whole number"):
        Path(2.5)
