"""Neuron groups: which units are active together, where, and what they have to do with a class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from colours import OF_BLUE, OF_RED, Colours, halves
from torch.nn import functional as F

from lucent.attribution import gradient_x_activation
from lucent.errors import InputError, LayerError
from lucent.modelzoo import synthnet, synthvit
from lucent.recipes.neuron_groups import decomposed, neuron_groups

pytest.importorskip("sklearn")

SMALL = {"size": 12, "steps": 12, "transforms": []}
PICTURE = halves((0.9, 0, 0), (0, 0, 0.7))
#: More red than blue; both of length 1.
PLANTED = F.normalize(torch.tensor([OF_RED, OF_BLUE]), dim=1).numpy()


def planted(**options):
    return neuron_groups(Colours(), PICTURE, "groups", n_groups=2, **SMALL, **options)


def test_planted_groups_are_recovered_the_strongest_first():
    groups = planted()
    np.testing.assert_allclose(groups.directions, PLANTED, atol=1e-3)


def test_strengths_are_how_much_of_a_group_there_is_at_a_position():
    red, blue = planted().strengths[0]
    dimmer = np.linspace(1, 0.5, 4)[:, None] * np.ones(2)
    np.testing.assert_allclose(red[:, :2], 0.9 * np.sqrt(6) * dimmer, rtol=1e-2)
    np.testing.assert_allclose(blue[:, 2:], 0.7 * np.sqrt(6) * dimmer, rtol=1e-2)
    assert max(red[:, 2:].max(), blue[:, :2].max()) < 1e-2


def test_icons_show_the_groups():
    assert planted().icons.images.mean((1, 2)).argmax(1).tolist() == [0, 2]


def test_attributions_add_up_to_a_linear_score():
    def score(T):
        return T("head")[:, 0].flatten(1).mean(1)

    # The mean brightness of the lines is 0.75, each colour has half of the picture, and the
    # weights of a group add up to 4.
    expected = [0.9 * 0.75 / 2 * 4, -0.7 * 0.75 / 2 * 4]
    np.testing.assert_allclose(planted(score=score).attributions, [expected], rtol=1e-2)
    assert planted().attributions is None


def test_attributions_count_how_much_of_overlapping_groups_there_is():
    photo = torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(0))
    groups = neuron_groups(synthnet(), photo, "mixed4b", n_groups=3, score=4, size=16, steps=1)
    slopes = gradient_x_activation(synthnet(), photo, 4, "mixed4b").gradient[0]
    assert (groups.directions @ groups.directions.T)[0, 1] > 0.1
    each = np.einsum("gc,chw,ghw->g", groups.directions, slopes, groups.strengths[0])
    np.testing.assert_allclose(groups.attributions[0], each, rtol=1e-3, atol=1e-4)


def test_transformers_see_photographs_in_their_size():
    photo = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    plain = {"preset": "plain", "transforms": [], "steps": 1}
    groups = neuron_groups(synthvit(), photo, "blocks.2", n_groups=1, **plain)
    assert groups.photographs.shape == (1, 96, 96, 3)
    assert groups.strengths.shape == (1, 1, 8, 8)


def test_several_pictures_share_their_groups():
    other = halves((0, 0, 0.5), (0.5, 0, 0))
    groups = neuron_groups(Colours(), [PICTURE, other], "groups", n_groups=2, **SMALL)
    assert groups.photographs.shape[0] == groups.strengths.shape[0] == 2
    np.testing.assert_allclose(groups.directions, PLANTED, atol=1e-3)
    red = groups.strengths[:, 0]
    assert red[0, :, :2].min() > 10 * red[0, :, 2:].max()
    assert red[1, :, 2:].min() > 10 * red[1, :, :2].max()


def test_nmf_finds_groups_of_both_signs():
    vectors = torch.tensor([[1.0, -2.0, 0.0], [0.0, 1.0, -1.0]])
    amounts = torch.tensor([[3.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.5]])
    acts = torch.einsum("gc,gp->cp", vectors, amounts).view(1, 3, 2, 2)
    directions, strengths = decomposed(acts, 2)
    found = torch.einsum("gc,bg...->bc...", directions, strengths)
    torch.testing.assert_close(found, acts, atol=2e-2, rtol=2e-2)
    torch.testing.assert_close(directions, F.normalize(vectors, dim=1), atol=2e-2, rtol=2e-2)


def test_directions_of_other_reductions_point_where_they_are_strongest():
    generator = torch.Generator().manual_seed(0)
    acts = torch.randn(2, 8, 5, 5, generator=generator)
    directions, strengths = decomposed(acts, 3, "PCA")
    each = strengths.movedim(1, 0).flatten(1)
    assert (each.amax(1) >= -each.amin(1)).all()
    torch.testing.assert_close(directions @ directions.T, torch.eye(3), atol=1e-5, rtol=0)
    sums = each.abs().sum(1)
    assert (sums[:-1] >= sums[1:]).all()
    # What is left out is orthogonal to what is kept.
    centred = acts - acts.mean((0, 2, 3), keepdim=True)
    torch.testing.assert_close(
        torch.einsum("gc,bchw->bghw", directions, centred), strengths, atol=1e-4, rtol=0
    )


def test_the_same_groups_come_again():
    acts = torch.rand(1, 12, 6, 6, generator=torch.Generator().manual_seed(1))
    first, again = (decomposed(acts, 4, "FastICA")[0] for _ in range(2))
    torch.testing.assert_close(first, again, rtol=0, atol=0)


def test_the_figure_shows_where_each_group_is():
    groups = planted(score=lambda T: T("head")[:, 0].flatten(1).mean(1))
    panels = groups.panels()
    assert panels.columns == 3
    assert panels.labels[:2] == ["all groups", "group 0: +1.35"]
    assert len(panels.pictures) == 6
    red = panels.pictures[1]
    assert np.ptp(red[:, 0], axis=-1).min() > 5 * np.ptp(red[:, 3], axis=-1).max()


def test_not_more_groups_than_channels_or_positions():
    with pytest.raises(InputError, match="n_groups=7 is too many.*6 channels at 16 positions"):
        neuron_groups(Colours(), PICTURE, "groups", n_groups=7)
    with pytest.raises(InputError, match="6 channels at 4 positions, so there are at most 4"):
        decomposed(torch.rand(1, 6, 2, 2), 5)


def test_the_layer_has_positions():
    with pytest.raises(LayerError, match="no rows and columns"):
        neuron_groups(Colours(), PICTURE, "logits")


def test_photographs_have_one_size():
    with pytest.raises(InputError, match="Photographs of one size are needed"):
        neuron_groups(Colours(), [PICTURE, halves((1, 0, 0), (0, 0, 1), size=6)], "groups")
    with pytest.raises(InputError, match="at least one"):
        neuron_groups(Colours(), [], "groups")
