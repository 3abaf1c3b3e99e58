from __future__ import annotations

import re
from html import unescape

import numpy as np
import pytest
import torch
from tiny import PLAIN, conv

from lucent.errors import InputError, LayerError
from lucent.modelzoo import synthnet
from lucent.recipes.similarity import Similarity, cosine_similarity


class Mixer(torch.nn.Module):
    """Its layer `mix` gives (r + g, g, b) at every position; `flat` has no positions."""

    spec = PLAIN

    def __init__(self):
        super().__init__()
        self.mix = conv([[1, 1, 0], [0, 1, 0], [0, 0, 1]])
        self.flat = torch.nn.Flatten()

    def forward(self, x):
        return self.flat(self.mix(x))


def pictures(count=2, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.random((4, 5, 3)).astype(np.float32) for _ in range(count)]


def vectors(given):
    return np.stack(given) @ np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]])


@pytest.mark.parametrize("centred", [False, True])
def test_the_cosines_of_all_positions_of_all_photographs(centred):
    given = pictures()
    found = cosine_similarity(Mixer(), given, "mix", centred=centred)
    expected = vectors(given)
    expected = expected - expected.mean((0, 1, 2)) if centred else expected
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    np.testing.assert_allclose(found.at(1, 3, 2), expected @ expected[1, 2, 3], atol=1e-5)
    np.testing.assert_allclose(found.at(1, 3, 2)[1, 2, 3], 1, atol=1e-5)


def test_it_begins_where_the_first_photograph_is_strongest():
    given = [np.full((4, 5, 3), 0.1), np.full((4, 5, 3), 0.9)]
    given[0][3, 1] = 0.5
    assert cosine_similarity(Mixer(), given, "mix", centred=False).position == (0, 1, 3)


def test_what_is_dark_is_like_nothing():
    given = pictures(1)
    given[0][2, 2] = 0
    found = cosine_similarity(Mixer(), given[0], "mix", centred=False).at(0, 2, 2)
    assert not found.any()


def test_a_class_lights_up_in_the_other_photograph():
    """Stripes to the left and dots to the right, and the other way round."""
    stripes = np.indices((96, 48)).sum(0)[..., None] // 6 % 2 * np.ones(3)
    dots = (np.hypot(*(np.indices((96, 48)) % 12 - 6)) < 3)[..., None] * np.ones(3)
    first = np.concatenate([stripes, dots], 1)
    pair = [first, first[:, ::-1].copy()]
    found = cosine_similarity(synthnet(), pair, "mixed4b", position=(0, 3, 6))
    _, other = found.at(*found.position)
    assert other[:, 6:].mean() > 0.1 > -0.3 > other[:, :6].mean()


def test_panels_mark_the_position():
    found = cosine_similarity(Mixer(), pictures(), "mix", position=(1, 4, 0))
    first, second = found.panels().pictures
    assert first.shape == second.shape == (4, 5, 3)
    assert "column 4, row 0 of photograph 1" in found.panels().title
    large = Similarity(np.zeros((1, 40, 50, 3)), "mix", found.directions[1:], (0, 4, 0))
    (picture,) = large.panels().pictures
    assert (picture[0, 40:] == 1).all()
    assert (picture[:10, 49] == 1).all()
    assert not (picture[1:9, 41:49] == 1).any()


def test_showing_it_hovers_over_few_positions(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda thing: shown.append(thing.data))
    directions = np.random.default_rng(0).standard_normal((2, 40, 30, 3)).astype(np.float32)
    Similarity(np.zeros((2, 8, 8, 3)), "mix", directions, (1, 29, 3)).show()
    page = unescape(re.search('srcdoc="([^"]*)"', shown[0])[1])
    assert page.count('"rows": 14, "columns": 10, "values"') == 4
    assert "wanted : [1, 9, 1];" in page


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (([], "mix"), InputError, "at least one; got"),
        ((pictures(), "flat"), LayerError, "'flat' gives .* no rows and columns"),
        ((pictures(), "mixed"), LayerError, "mix"),
        (([np.zeros((4, 5, 4))], "mix"), InputError, "transparency"),
    ],
)
def test_what_cannot_be_compared(arguments, error, text):
    with pytest.raises(error, match=text):
        cosine_similarity(Mixer(), *arguments)


@pytest.mark.parametrize("position", [(2, 0, 0), (0, 5, 0), (0, 0, 4), (0, -1, 0)])
def test_a_position_that_is_not_there(position):
    with pytest.raises(InputError, match=r"column \(0 to 4\) and a row \(0 to 3\)"):
        cosine_similarity(Mixer(), pictures(), "mix", position=position)
