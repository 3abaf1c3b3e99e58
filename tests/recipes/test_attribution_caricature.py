from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import conv
from torch import nn

from lucent.errors import InputError, LayerError
from lucent.hooks import Activations
from lucent.modelzoo import load
from lucent.modelzoo.spec import ModelSpec
from lucent.optvis.objectives import as_objective, direction
from lucent.recipes._pictures import activations
from lucent.recipes.attribution_caricature import _caricature, attribution_caricature

FEW = {"steps": 24, "transforms": []}


class Two(nn.Module):
    """`parts` gives (r, g, b); "red" is the mean of r, "green" that of g - b."""

    spec = ModelSpec("two", labels=("red", "green"), logits="head")

    def __init__(self):
        super().__init__()
        self.parts = conv(np.eye(3).tolist())
        self.mix = conv([[1, 0, 0], [0, 1, -1]])
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, x):
        return self.head(self.mix(self.parts(x)))


def photo():
    """Red to the left, green to the right, where there is also some blue."""
    made = np.full((6, 8, 3), 0.05, np.float32)
    made[:, :4, 0] = made[:, 4:, 1] = 0.8
    made[:, 4:, 2] = 0.4
    return made


@pytest.mark.parametrize("power", [0, 1, 2])
def test_the_score_is_the_product_with_the_attribution_of_the_photograph(power):
    model, rng = Two(), np.random.default_rng(0)
    image = rng.random((6, 8, 3)).astype(np.float32)
    objective = _caricature(as_objective("labels:green"), "parts", 1, power)
    batch = torch.from_numpy(np.stack([photo(), image])).movedim(-1, 1)
    with Activations(model, objective.layers) as T:
        T.labels = model.spec.labels
        T.run(batch.requires_grad_())
        found = -objective(T).item()
    # The gradient of g - b is (0, 1, -1) over 48 positions.
    attribution = photo() * [0, 1, -1] / 48
    dot = (image * attribution).sum() / np.linalg.norm(attribution)
    cosine = max(0.1, dot / np.linalg.norm(image))
    assert found == pytest.approx(dot * cosine**power, rel=1e-4)


def test_each_score_shows_what_speaks_for_it_where_it_is():
    found = attribution_caricature(Two(), photo(), ["labels:red", "labels:green"], "parts", **FEW)
    red, green = found.images
    assert found.scores == ("red", "green")
    # Red to the left in one image; in the other more green and less blue to the right.
    assert red[:, :4, 0].mean() > 0.15 + red[:, 4:, 0].mean()
    assert green[:, 4:, 1].mean() > 0.15 + green[:, :4, 1].mean()
    less_blue = (green[..., 1] - green[..., 2]).reshape(6, 2, 4).mean((0, 2))
    assert less_blue[1] > 0.1 + less_blue[0]
    assert abs(red[..., 1] - 0.5).max() < 0.3


def test_it_follows_the_attribution_more_than_noise_does():
    model = Two()
    found = attribution_caricature(model, photo(), "labels:red", "parts", **FEW)
    attribution = photo() * [1, 0, 0]
    with activations(model, ["parts"], found.images) as T:
        acts = T("parts")[0].movedim(0, -1).numpy()
    noise = np.random.default_rng(0).random(acts.shape)
    likeness = [(each * attribution).sum() / np.linalg.norm(each) for each in (acts, noise)]
    assert likeness[0] > 1.3 * likeness[1]


def test_panels_begin_with_the_photograph():
    scores = {"one": "labels:red", "two": as_objective("parts:1") - as_objective("parts:0")}
    panels = attribution_caricature(Two(), photo(), scores, "parts", steps=1).panels()
    assert panels.labels == ["photograph", "one", "two"]
    np.testing.assert_array_equal(panels.pictures[0], photo())


@pytest.mark.parametrize(
    ("scores", "layer", "error", "text"),
    [
        ([], "parts", InputError, "There is no score"),
        ("labels:blue", "parts", InputError, "no label 'blue'"),
        ("labels:red", "part", LayerError, "parts"),
        ("parts:0", "mix", InputError, "does not depend on the layer 'mix'"),
    ],
)
def test_what_cannot_be_caricatured(scores, layer, error, text):
    with pytest.raises(error, match=text):
        attribution_caricature(Two(), photo(), scores, layer, steps=1)


def test_scores_of_one_name_are_different_scores():
    wanted = [direction("mix", [1.0, 0.0]), direction("mix", [0.0, 1.0])]
    found = attribution_caricature(Two(), photo(), wanted, "parts", **FEW)
    assert len(found.scores) == len(found.images) == 2
    assert abs(found.images[0] - found.images[1]).max() > 0.1


@pytest.mark.parametrize("several", [False, True])
def test_a_bare_function_is_told_how_to_become_an_objective(several):
    def score(T):
        return -T("mix")[:, 0].mean()

    with pytest.raises(InputError, match="bare function.*objectives.objective"):
        attribution_caricature(Two(), photo(), [score] if several else score, "parts", steps=1)


def test_of_a_class_token():
    made = attribution_caricature(load("synthvit"), torch.rand(3, 96, 96), "labels:disc",
                                  "blocks.2@cls", steps=1)  # fmt: skip
    assert np.isfinite(made.images).all()
