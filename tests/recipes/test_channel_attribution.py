from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from tiny import PLAIN, conv
from torch import nn

from lucent.attribution import integrated_gradients
from lucent.errors import InputError, LayerError
from lucent.misc.io.overlays import AGAINST, FOR
from lucent.modelzoo import load
from lucent.modelzoo.spec import ModelSpec
from lucent.recipes._marks import barred, framed
from lucent.recipes.channel_attribution import channel_attribution, strongest

FEW = {"size": 8, "steps": 2}


class Voters(nn.Module):
    """The channels of `parts` are the relus of r, g, b, -r, r + g; "yes" gets 3, -2, 1, 5 and -1 of
    their means, "no" nothing.
    """

    spec = ModelSpec("voters", labels=("yes", "no"), logits="head")

    def __init__(self):
        super().__init__()
        weights = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [1, 1, 0]]
        self.parts = nn.Sequential(conv(weights), nn.ReLU())
        self.votes = conv([[3, -2, 1, 5, -1], [0, 0, 0, 0, 0]])
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, x):
        return self.head(self.votes(self.parts(x)))


PHOTO = np.broadcast_to(np.float32([0.5, 1, 0.25]), (6, 6, 3))
#: 3 r, -2 g, b, nothing of -r, and -(r + g)
EXPECTED = [1.5, -2, 0.25, 0, -1.5]


def test_each_channel_has_its_share_of_the_score():
    found = channel_attribution(Voters(), PHOTO, "labels:yes", "parts", **FEW)
    np.testing.assert_allclose(found.attributions, EXPECTED, rtol=1e-5)
    assert found.value == pytest.approx(sum(EXPECTED))
    assert found.units == (0, 2, 1, 4)
    assert found.icons.labels == ("parts:0", "parts:2", "parts:1", "parts:4")
    assert found.icons.images.shape == (4, 8, 8, 3)


def test_integrated_gradients_will_do_as_well():
    way = functools.partial(integrated_gradients, steps=4)
    found = channel_attribution(Voters(), PHOTO, 0, "parts", count=1, attribute=way, **FEW)
    np.testing.assert_allclose(found.attributions, EXPECTED, rtol=1e-4)
    assert found.units == (0, 1)
    assert found.score == "yes"


def test_icons_stand_over_bars_in_two_rows():
    panels = channel_attribution(Voters(), PHOTO, "labels:yes", "parts", **FEW).panels()
    assert panels.columns == 2
    assert panels.labels == ["0: +1.5", "2: +0.25", "1: -2", "4: -1.5"]
    assert panels.title == "yes = -1.75, parts"
    # As long as its share of the strongest: 1.5 / 2 of 8 pixels, and all 8.
    assert (panels.pictures[0][-1] == np.float32(FOR)).all(-1).tolist() == [True] * 6 + [False] * 2
    assert (panels.pictures[2][-1] == np.float32(AGAINST)).all()


def test_rows_of_different_lengths_are_not_lined_up():
    found = channel_attribution(Voters(), PHOTO * [1, 0, 1], "labels:yes", "parts", **FEW)
    assert found.units == (0, 2, 4)
    assert found.panels().columns is None


@pytest.mark.parametrize(
    ("values", "count", "expected"),
    [([0, 0], 3, ()), ([-1, -2], 1, (1,)), ([1, 2, 3], 2, (2, 1)), ([2, -1, 2], 5, (0, 2, 1))],
)
def test_the_strongest_of_both_signs(values, count, expected):
    assert strongest(np.array(values, float), count) == expected


@pytest.mark.parametrize("channels", [1, 3, 4, 5])
def test_a_bar_goes_under_an_icon_of_any_channels(channels):
    icon = np.full((24, 10, channels), 0.5, np.float32)
    made = barred(icon, -0.5)
    assert made.shape == (26, 10, 3)
    assert (made[25, :5] == np.float32(AGAINST)).all()
    assert (made[25, 5:] == 1).all()
    assert (made[24] == 1).all()


def test_a_frame_lies_within_its_position():
    made = framed(np.zeros((12, 18, 3)), 2, 1, (3, 6))
    white = np.zeros((12, 18))
    white[4:8, 6:9] = 1
    white[5:7, 7] = 0
    np.testing.assert_array_equal(made, white[..., None].repeat(3, -1))


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        (("labels:maybe", "parts"), {}, InputError, "no label 'maybe'"),
        (("labels:no", "parts"), {}, InputError, "No channel of 'parts' has a part in no"),
        (("labels:yes", "parts"), {"count": 0}, InputError, "count=0"),
        ((7, "parts"), {}, InputError, "no class 7"),
        (("labels:yes", "part"), {}, LayerError, "parts"),
        (([], "parts"), {}, InputError, "no score to attribute"),
    ],
)
def test_what_cannot_be_attributed(arguments, options, error, text):
    with pytest.raises(error, match=text):
        channel_attribution(Voters(), PHOTO, *arguments, **options, **FEW)


def test_the_last_block_of_a_transformer_hints_at_its_class_token():
    model = load("synthvit")
    with pytest.raises(InputError, match="those of a token: 'blocks.3@cls'"):
        channel_attribution(model, PHOTO, "labels:face", "blocks.3", **FEW)
    found = channel_attribution(model, PHOTO, "labels:face", "blocks.3@cls", count=1, steps=1)
    assert len(found.units) == 2


def test_several_scores_are_refused():
    with pytest.raises(InputError, match="one score, not 2"):
        channel_attribution(Voters(), PHOTO, ["labels:yes", "labels:no"], "parts", **FEW)


def test_a_vector_has_channels_too():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 36, 4), nn.ReLU(), nn.Linear(4, 2))
    model.spec = PLAIN
    with torch.no_grad():
        model[3].weight.copy_(torch.tensor([[1.0, -1, 1, -1], [0, 0, 0, 0]]))
    found = channel_attribution(model, PHOTO, lambda T: T("3")[:, 0], "1", size=6, steps=1)
    assert len(found.attributions) == 4
