"""Adversarial pictures: bounded changes that change the class, and grids of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from colours import Colours, halves
from tiny import conv
from torch import nn

from lucent.errors import InputError, LucentWarning
from lucent.modelzoo.spec import ModelSpec
from lucent.modelzoo.synthvit import synthvit
from lucent.recipes.adversarial import PerturbedImage, adversarial_grids, attack, log_probability


class Named(Colours):
    """Classes with names and logits ten times as large."""

    spec = ModelSpec(name="named", logits="scaled", labels=("fire", "sea"))

    def __init__(self):
        super().__init__()
        self.scaled = nn.Linear(2, 2, bias=False)
        self.scaled.weight.data = 10 * torch.eye(2)

    def forward(self, x):
        return self.scaled(super().forward(x))


#: A little more red than blue, with black corners where nothing can become darker.
PICTURE = halves((0.52, 0.3, 0.5), (0.5, 0.3, 0.5))
PICTURE[:, 0, 0] = 0


def test_the_class_changes_and_the_picture_hardly_does():
    found = attack(Named(), PICTURE, "sea", epsilon=0.1)
    assert found.probabilities.argmax(1).tolist() == [0, 1]
    np.testing.assert_allclose(found.probabilities.sum(1), 1, rtol=1e-5)
    change = found.adversarial - found.photograph
    assert 0 < np.abs(change).max() <= 0.1 + 1e-6
    np.testing.assert_allclose(found.photograph, PICTURE.permute(1, 2, 0), rtol=1e-6)


def test_the_change_goes_where_the_gradient_says():
    found = attack(Named(), PICTURE, 1, epsilon=0.05, confidence=1.0)
    change = (found.adversarial - found.photograph)[1:]
    np.testing.assert_allclose(change[..., 0], -0.05, atol=1e-5)
    np.testing.assert_allclose(change[..., 1], 0, atol=1e-5)
    np.testing.assert_allclose(change[..., 2], 0.05, atol=1e-5)
    # The black corner: red cannot fall, blue can rise.
    corner = (found.adversarial - found.photograph)[0, 0]
    np.testing.assert_allclose(corner, [0, 0, 0.05], atol=1e-5)


def test_it_ends_when_the_class_is_sure_enough():
    little, much = (attack(Named(), PICTURE, "sea", epsilon=0.3, confidence=p) for p in (0.6, 0.99))
    assert 0.6 <= little.probabilities[1, 1] < 0.9
    assert much.probabilities[1, 1] >= 0.99
    changes = [np.abs(found.adversarial - found.photograph).max() for found in (little, much)]
    assert changes[0] < changes[1] < 0.3


def test_a_warning_says_that_the_class_was_not_reached():
    with pytest.warns(LucentWarning, match="did not become class 'sea'.*a larger epsilon than"):
        attack(Named(), halves((0.9, 0, 0), (0.9, 0, 0)), "sea", epsilon=0.01)


def test_the_perturbed_image_stays_in_its_range():
    image = PerturbedImage(torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1), 0.25)
    with torch.no_grad():
        image.change.values.fill_(-3)
        assert image().flatten().tolist() == [0, 0.25, 0.75]
        image.change.values.fill_(0.5)
        assert image().flatten().tolist() == [0.125, 0.625, 1]


def test_log_probability_is_that_of_the_softmax():
    T = {"labels": torch.tensor([[1.0, 3.0], [0.0, 0.0]])}.get
    assert (-log_probability("labels", 1, batch=0)(T)).exp().item() == pytest.approx(
        np.exp(3) / (np.e + np.exp(3))
    )
    assert (-log_probability("labels", 0, batch=1)(T)).exp().item() == pytest.approx(0.5)


def test_the_figure_names_the_classes():
    panels = attack(Named(), PICTURE, "sea", epsilon=0.1).panels()
    assert panels.labels[0].startswith("fire")
    assert panels.labels[2].startswith("sea 99%") or panels.labels[2].startswith("sea 100%")
    assert all(picture.min() >= 0 and picture.max() <= 1 for picture in panels.pictures)


def test_transformers_are_attacked_in_their_size():
    photo = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = attack(synthvit(), photo, "dots", epsilon=0.3, steps=10)
    assert found.photograph.shape == found.adversarial.shape == (96, 96, 3)
    assert found.probabilities[1, found.target] > 0.9


def test_networks_without_names_number_their_classes():
    model = Colours()
    model.head = conv([[5, 5, 5, -5, -5, -5], [-5, -5, -5, 5, 5, 5]])
    assert attack(model, PICTURE, 1, epsilon=0.1, confidence=0.9).captions()[1].startswith("1 ")


def test_grids_before_and_after():
    pytest.importorskip("sklearn")
    options = {"n_groups": 2, "size": 8, "steps": 4, "transforms": []}
    grids = adversarial_grids(Named(), PICTURE, "sea", "units", epsilon=0.3, **options)
    assert grids.before.groups is grids.after.groups
    assert grids.before.photograph.shape == grids.after.photograph.shape
    np.testing.assert_array_equal(grids.after.photograph, grids.attack.adversarial)
    assert grids.panels().labels[2:] == ("units, before", "units, after")
    blue = [grid.images[..., 2].mean() for grid in (grids.before, grids.after)]
    assert blue[0] < blue[1]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"target": 2}, "no class 2: the network has 2 classes, 0 to 1"),
        ({"target": "tree"}, "tree"),
        ({"target": True}, "target=True has to be a whole number"),
        ({"epsilon": 0}, "epsilon=0 has to be above 0 and at most 1"),
        ({"confidence": 1.5}, "confidence=1.5 has to be above 0 and at most 1"),
        ({"steps": 0}, "steps=0 has to be a number of steps, at least 1"),
        ({"steps": 2.5}, "steps=2.5 has to be a whole number"),
        ({"picture": torch.rand(2, 3, 4, 4)}, "one picture, but got a batch"),
    ],
)
def test_bad_input(arguments, text):
    with pytest.raises(InputError, match=text):
        attack(Named(), **{"picture": PICTURE, "target": 1, **arguments})
