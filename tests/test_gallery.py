"""The recipes show what they are meant to show on a real network, after a few steps already."""

from __future__ import annotations

from itertools import pairwise

import gallery
import numpy as np
import pytest
import torch
from PIL import Image

from lucent.hooks import Activations
from lucent.modelzoo import spec_of
from lucent.modelzoo.synthnet.truth import high_frequency_share
from lucent.optvis.objectives import gram, mean_l1

pytestmark = pytest.mark.slow

#: The dog and the cat: columns and rows as shares of the photograph.
DOG, CAT = np.s_[0.0:0.66, 0.15:0.88], np.s_[0.71:0.95, 0.42:0.89]


@pytest.fixture(scope="module")
def stage(squeezenet, photo):
    return gallery.Stage(squeezenet, photo, steps=24)


def activations(stage, layer, *pictures):
    """What a layer gives for pictures (H, W, 3), as (B, C, H', W')."""
    batch = torch.from_numpy(np.stack(pictures)).movedim(-1, 1).contiguous().float()
    with Activations(stage.network, [layer]) as T, torch.no_grad():
        T.run(spec_of(stage.network).preprocess(batch))
        return T(layer)


def strength(stage, unit, *pictures):
    """How active a unit is on average, for each picture."""
    layer, channel = unit
    return activations(stage, layer, *pictures)[:, channel].mean((1, 2)).tolist()


def test_tutorial_pictures_show_their_units(stage):
    images = gallery.tutorial(stage).images
    scales = strength(stage, gallery.SCALES, *images)
    berries = strength(stage, gallery.BERRIES, *images)
    assert scales[1] < scales[2] < scales[0]
    assert berries[0] < berries[2] < berries[1]


def test_regularization_takes_fine_noise_away(stage):
    found = gallery.regularization(stage)
    shares = dict(zip(found.settings, high_frequency_share(found.images[:, -1]), strict=True))
    assert shares["transforms, Fourier"] < 0.5 * shares["none"]
    assert shares["transforms"] < shares["none"]


def test_negative_neurons_have_opposite_signs(stage):
    found = gallery.negative_neurons(stage)
    for unit, (negative, positive) in zip(found.units, found.images, strict=True):
        layer, _, channel = unit.partition(":")
        low, high = strength(stage, (layer, int(channel)), negative, positive)
        assert low < 0 < high


def test_diversity_makes_pictures_less_alike(stage):
    found = gallery.diversity(stage)
    others = ~np.eye(len(found.images), dtype=bool)
    assert found.likeness[others].mean() < 0.8 * found.plain_likeness[others].mean()


def test_interaction_has_both_units(stage):
    images = gallery.interaction(stage).images
    alone = [images[0, 0], images[1, 1], images[0, 1]]
    arches = strength(stage, gallery.ARCHES, *alone)
    berries = strength(stage, gallery.BERRIES, *alone)
    assert arches[1] < arches[2] < arches[0]
    assert berries[0] < berries[2] < berries[1]


def test_interpolation_is_aligned(stage):
    found = gallery.aligned_interpolation(stage)
    first, last = found.images[0], found.images[-1]
    tents, arches = (strength(stage, u, first, last) for u in (gallery.TENTS, gallery.ARCHES))
    assert tents[0] > tents[1]
    assert arches[1] > arches[0]
    steps = [np.abs(a - b).mean() for a, b in pairwise(found.images)]
    assert max(steps) < np.abs(first - np.roll(first, 32, axis=1)).mean()


def test_transparency_keeps_what_matters(stage):
    alpha = gallery.transparency(stage).picture[..., 3]
    border = np.concatenate([alpha[:16].ravel(), alpha[-16:].ravel()]).mean()
    assert border < 0.5 < alpha[48:-48, 48:-48].mean()


def test_coordinates_give_stronger_pictures_with_time(stage):
    early, late = gallery.xy2rgb(stage).pictures
    before, after = strength(stage, gallery.ARCHES, early, late)
    assert after > before


def test_caricatures_resemble_the_photograph(stage):
    found = gallery.caricature(stage)
    noise = np.random.default_rng(0).random(found.photograph.shape)
    for layer, drawn in zip(found.layers, found.images, strict=True):
        photo, own, other = activations(stage, layer, found.photograph, drawn, noise).flatten(1)
        assert torch.cosine_similarity(photo, own, dim=0) > torch.cosine_similarity(
            photo, other, dim=0
        )


def test_style_transfer_has_the_subject_and_the_strokes(stage):
    found = gallery.style_transfer_2d(stage)
    content, style, made = (
        activations(stage, "features.5", picture)
        for picture in (found.content, found.style, found.picture)
    )
    assert mean_l1(made, content) < mean_l1(style, content)
    assert mean_l1(gram(made), gram(style)) < mean_l1(gram(content), gram(style))


def within(box, maps):
    """The mean of maps (..., h, w) inside a box of columns and rows from 0 to 1."""
    columns, rows = box
    h, w = maps.shape[-2:]
    return maps[
        ...,
        round(rows.start * h) : round(rows.stop * h),
        round(columns.start * w) : round(columns.stop * w),
    ].mean((-2, -1))


def test_the_dog_speaks_for_the_dog_and_the_cat_against_it(stage):
    (maps,) = gallery.spatial_attribution(stage).maps
    assert within(DOG, maps[0]) > 0 > within(CAT, maps[0])


def test_groups_of_neurons_tell_the_dog_from_the_cat(stage):
    found = gallery.neuron_groups(stage)
    dog, cat = within(DOG, found.strengths[0]), within(CAT, found.strengths[0])
    assert (dog > 5 * cat).any()
    assert (cat > 5 * dog).any()


def test_the_cells_of_a_grid_look_like_their_positions(stage):
    found = gallery.activation_grid(stage)
    assert found.done.all()
    acts = activations(stage, gallery.BLOCKS, found.photograph)[0].flatten(1).T
    cells = found.images.reshape(-1, *found.images.shape[2:])
    own = activations(stage, gallery.BLOCKS, *cells).mean((2, 3))
    likeness = torch.cosine_similarity(own[:, None], acts[None], dim=2)
    others = (likeness.sum(1) - likeness.diagonal()) / (len(acts) - 1)
    assert (likeness.diagonal() > others).double().mean() > 0.8


def test_a_dictionary_has_the_strongest_units(stage):
    found = gallery.semantic_dictionary(stage)
    acts = activations(stage, gallery.BLOCKS, found.photograph)[0]
    strongest = acts.topk(found.values.shape[-1], dim=0).values.movedim(0, -1)
    np.testing.assert_allclose(found.values, strongest, rtol=1e-4)


def test_the_program_writes_a_picture_per_figure(test_data, tmp_path, monkeypatch):
    monkeypatch.setenv("LUCENT_TEST_DATA", str(test_data))
    gallery.main([str(tmp_path), "--only", "negative_neurons", "--steps", "1"])
    (written,) = tmp_path.iterdir()
    assert written.name == "negative_neurons.png"
    assert Image.open(written).width >= 2 * gallery.SIDE
