from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import PLAIN, Pixels, conv
from torch import nn

from lucent.errors import InputError, LayerError, MissingExtra
from lucent.hooks import Activations
from lucent.modelzoo import load
from lucent.modelzoo.spec import ModelSpec
from lucent.optvis import param
from lucent.optvis.objectives import channel
from lucent.optvis.render import render_vis
from lucent.recipes.facets import facet, facets, probe

FEW = {"size": 8, "steps": 48, "transforms": []}


class TwoFacets(nn.Module):
    """The channels of `parts` are (r, g, b, r); the unit `late:0` is r + g - b."""

    spec = PLAIN

    def __init__(self):
        super().__init__()
        weights = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]
        self.parts = nn.Sequential(conv(weights), nn.ReLU())
        self.late = conv([[1, 1, -1, 0], [0, 0, 0, 0]])

    def forward(self, x):
        return self.late(self.parts(x))


def score(objective, image, model=None):
    model = model or TwoFacets()
    with Activations(model, objective.layers) as T:
        T.run(image.clone().requires_grad_())
        return -objective(T).item()


def picture(batch=1):
    return torch.rand(batch, 3, 4, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("direction", "expected"),
    [
        ([1, 0, 0, 0], lambda r, g, b: r),
        ([0, 1, 0, 0], lambda r, g, b: g),
        ([1, -0.5, 0, 0], lambda r, g, b: r - 0.5 * g),
        ([0, 0, 1, 0], lambda r, g, b: 0),  # its gradient is negative
        ([0, 0, 0, 1], lambda r, g, b: 0),  # it has none
    ],
)
def test_a_facet_is_the_part_of_the_unit_that_comes_from_a_direction(direction, expected):
    image = picture()
    objective = facet("late:0", "parts", direction)
    assert score(objective, image) == pytest.approx(
        float(expected(*image.mean((0, 2, 3)))), abs=1e-6
    )


def test_the_length_of_a_direction_does_not_matter():
    image = picture()
    first, second = (facet("late:0", "parts", [n, -n, 0, n]) for n in (0.1, 10))
    assert score(first, image) == pytest.approx(score(second, image))


def test_of_a_batch_it_is_the_mean_and_about_one_image_that_image():
    images, objective = picture(3), facet("late:0", "parts", [1, 0, 0, 0])
    each = images[:, 0].mean((1, 2)).tolist()
    assert score(objective, images) == pytest.approx(sum(each) / 3)
    assert score(objective.about(1), images) == pytest.approx(each[1])


def test_the_gradient_counts_as_a_constant():
    """Of a unit r * g, gradient and activation are both about r: only one of them is followed."""

    class Product(TwoFacets):
        def forward(self, x):
            acts = self.parts(x)
            return self.late(acts * acts[:, 1:2])

    image = picture().requires_grad_()
    with Activations(Product(), ["parts", "late"]) as T:
        T.run(image)
        facet("late:0", "parts", [1, 0, 0, 0])(T).backward()
    np.testing.assert_allclose(image.grad[:, 0], -image.detach()[:, 1] / 20, rtol=1e-5)
    assert not image.grad[:, 1:].any()


def test_each_draw_counts_on_its_own():
    options = {"transforms": [], "thresholds": (6,), "show_image": False, "progress": False}
    made = [
        render_vis(
            TwoFacets(),
            facet("late:0", "parts", [1, 0, 0, 0]),
            lambda: param.image(4),
            seed=0,
            draws=draws,
            **options,
        )[-1]
        for draws in (1, 2)
    ]
    np.testing.assert_allclose(*made, atol=1e-5)


class Rivals(TwoFacets):
    """Colours have length 1, so that more of one is less of the others."""

    #: Its pictures have independent colours.
    spec = ModelSpec("rivals", color_matrix=np.eye(3).tolist())

    def forward(self, x):
        return super().forward(x / torch.linalg.vector_norm(x, dim=1, keepdim=True))


def test_pictures_show_the_facet_that_is_accentuated():
    both = {"red": [1, 0, 0, 0], "green": [0, 1, 0, 0]}
    found = facets(Rivals(), "late:0", "parts", both, **FEW)
    alone, red, green = found.icons.images.mean((1, 2))
    assert abs(alone[0] - alone[1]) < 0.05
    assert red[0] > red[1] + 0.2
    assert green[1] > green[0] + 0.2
    assert found.panels().labels == ["the unit alone", "red", "green"]


def test_a_facet_of_weight_zero_is_the_unit_alone():
    found = facets(TwoFacets(), "late:0", "parts", {"red": [1, 0, 0, 0]}, strength=0, **FEW)
    np.testing.assert_allclose(*found.icons.images, atol=1e-5)


def test_an_objective_of_any_kind_has_facets():
    unit = channel("late", 0) + 0.5 * channel("late", 1)
    found = facets(TwoFacets(), unit, "parts", {"red": np.array([1.0, 0, 0, 0])}, **FEW)
    assert found.icons.done.all()


def test_a_probe_points_at_what_tells_the_pictures_apart():
    rng = np.random.default_rng(0)
    pictures = [rng.random((4, 4, 3)).astype(np.float32) * 0.5 for _ in range(24)]
    examples = [np.add(picture, [0, 0.5, 0]) for picture in pictures[:12]]
    found = probe(TwoFacets(), examples, pictures[12:], "parts")
    assert found.shape == (4,)
    assert found[1] > 3 * found[[0, 2, 3]].abs().max()


def test_a_stronger_regularisation_shares_the_weight():
    rng = np.random.default_rng(0)
    pictures = [rng.random((4, 4, 3)).astype(np.float32) * 0.5 for _ in range(8)]
    examples = [np.add(picture, [0, 0.5, 0]) for picture in pictures]
    weak, strong = (
        probe(TwoFacets(), examples, pictures, "parts", regularization=n) for n in (0.01, 100)
    )
    assert strong.norm() < 0.1 * weak.norm()


def test_a_probe_needs_scikit_learn(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.linear_model", None)
    with pytest.raises(MissingExtra, match=r"torch-lucent\[reduce\]"):
        probe(TwoFacets(), [np.zeros((4, 4, 3))], [np.ones((4, 4, 3))], "parts")


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("late:0", "parts", {}), InputError, "There is no facet"),
        (("late:0", "parts", {"a": [0, 0, 0, 0]}), InputError, "largest magnitude is 0"),
        (("late:0", "parts", {"a": [1, float("nan")]}), InputError, "largest magnitude is nan"),
        (("late:0", "parts", {"a": [1, 0]}), InputError, "2 values .* 4 channels"),
        (("parts:0", "late", {"a": [1, 0]}), InputError, "does not depend on the layer 'late'"),
        (("late:0", "part", {"a": [1, 0]}), LayerError, "part"),
    ],
)
def test_what_has_no_facets(arguments, error, text):
    with pytest.raises(error, match=text):
        facets(TwoFacets(), *arguments, **FEW)


@pytest.mark.parametrize(
    ("examples", "options", "error", "text"),
    [
        ([], {}, InputError, "at least one"),
        (torch.rand(2, 3, 4, 4), {"regularization": 0}, InputError, "regularization=0"),
    ],
)
def test_what_cannot_be_probed(examples, options, error, text):
    with pytest.raises(error, match=text):
        probe(TwoFacets(), examples, torch.rand(2, 3, 4, 4), "parts", **options)


def test_a_picture_of_ones_own_goes_with_an_objective_of_facets():
    model, start = TwoFacets(), torch.full((1, 3, 4, 4), 0.5)
    (made,) = render_vis(
        model,
        facet("late:0", "parts", [1, 0, 0, 0]),
        lambda: Pixels(start),
        thresholds=(4,),
        transforms=[],
        show_image=False,
        progress=False,
    )
    assert (made[..., 0] > 0.6).all()
    np.testing.assert_allclose(made[..., 1:], 0.5)


def test_a_facet_of_a_class_token():
    found = facets(load("synthvit"), "labels:disc", "blocks.2@cls", {"a": np.ones(128)}, steps=1)
    assert found.icons.done.all()
