from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.modelzoo import synthnet
from lucent.optvis.objectives import channel
from lucent.recipes.diversity import diversity

SMALL = {"size": 64, "fixed_image_size": "native", "steps": 48}


@pytest.fixture(scope="module")
def facets():
    return diversity(synthnet(), "mixed4b:40", count=3, **SMALL)


def test_pictures_are_half_as_alike_and_still_of_the_unit(facets):
    assert facets.alike < 0.5 * facets.plain_alike
    assert facets.values.mean() > 0.3 * facets.plain_values.mean() > 0


def test_likeness_is_the_cosine_of_gram_matrices(facets):
    model = synthnet()
    batch = torch.from_numpy(facets.images).movedim(-1, 1)
    with Activations(model, ["mixed4b"]) as T, torch.no_grad():
        T.run(model.spec.preprocess(batch))
        acts = T("mixed4b").flatten(2)
    grams = [a @ a.T for a in acts]
    expected = [[F.cosine_similarity(a.flatten(), b.flatten(), 0) for a in grams] for b in grams]
    np.testing.assert_allclose(facets.likeness, expected, rtol=1e-3)
    np.testing.assert_allclose(facets.alike, (np.sum(expected) - 3) / 6, rtol=1e-3)
    np.testing.assert_allclose(facets.values, acts[:, 40].mean(1), rtol=1e-4)


def test_without_weight_they_are_the_plain_ones(facets):
    plain = diversity(synthnet(), "mixed4b:40", count=2, weight=0, **{**SMALL, "steps": 3})
    np.testing.assert_allclose(plain.images, plain.plain, atol=1e-5)


def test_both_rows_are_shown_with_responses(facets):
    panels = facets.panels()
    assert panels.columns == 3
    assert panels.labels[0] == f"mixed4b:40 {facets.plain_values[0]:.2f}"
    assert panels.labels[3] == f"diverse {facets.values[0]:.2f}"


def test_an_interruption_before_there_are_two_kinds_ends_it():
    def interrupt(run):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        diversity(synthnet(), "mixed4b:40", count=2, callbacks=[interrupt], **SMALL)


def test_what_cannot_differ_is_refused():
    with pytest.raises(InputError, match="count=1: pictures that differ are at least 2"):
        diversity(synthnet(), "mixed4b:40", count=1)
    both = channel("mixed4b", 40) + channel("mixed4a", 3)
    with pytest.raises(InputError, match=r"\['mixed4a', 'mixed4b'\]: say by layer="):
        diversity(synthnet(), both)
    made = diversity(synthnet(), both, layer="mixed3a", count=2, **{**SMALL, "steps": 1})
    assert made.layer == "mixed3a"
