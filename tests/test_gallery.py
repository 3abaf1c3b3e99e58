"""The figures of the gallery show what they are meant to show, after a few steps already."""

from __future__ import annotations

from itertools import pairwise

import gallery
import numpy as np
import pytest
import torch
from PIL import Image

from lucent.hooks import Activations
from lucent.modelzoo import spec_of
from lucent.optvis import objectives
from lucent.optvis.objectives import gram, mean_l1

pytestmark = pytest.mark.slow


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
    pictures = gallery.tutorial(stage)
    names = ["scales", "berries", "scales + berries", "no transforms", "pixels"]
    chosen = [pictures[name] for name in names]
    scales, berries = (
        dict(zip(names, strength(stage, unit, *chosen), strict=True))
        for unit in (gallery.SCALES, gallery.BERRIES)
    )
    assert scales["berries"] < scales["scales + berries"] < scales["scales"]
    assert berries["scales"] < berries["scales + berries"] < berries["berries"]
    assert high_frequencies(pictures["pixels"]) > high_frequencies(pictures["scales"])


def high_frequencies(picture):
    return np.abs(np.diff(picture, axis=0)).mean() + np.abs(np.diff(picture, axis=1)).mean()


def test_negative_neurons_have_opposite_signs(stage):
    pictures = gallery.negative_neurons(stage)
    assert len(pictures) == 4
    for name in (name[1:] for name in pictures if name.startswith("+")):
        layer, _, unit = name.partition(":")
        negative, positive = strength(
            stage, (layer, int(unit)), pictures[f"-{name}"], pictures[f"+{name}"]
        )
        assert negative < 0 < positive


def test_diversity_makes_pictures_less_alike(stage):
    pictures = gallery.diversity(stage)

    def alike(name):
        four = [picture for caption, picture in pictures.items() if caption.startswith(name)]
        acts = activations(stage, "features.10", *four)
        return -objectives.diversity("l")({"l": acts}.get).item()

    assert alike("diverse") < 0.5 * alike("alone")


def test_interaction_has_both_units(stage):
    pictures = gallery.interaction(stage)
    alone = [pictures["arches"], pictures["berries"], pictures["arches + berries"]]
    arches = strength(stage, gallery.ARCHES, *alone)
    berries = strength(stage, gallery.BERRIES, *alone)
    assert arches[1] < arches[2] < arches[0]
    assert berries[0] < berries[2] < berries[1]


def test_interpolation_is_aligned(stage):
    pictures = gallery.aligned_interpolation(stage)

    def steps_between(name):
        six = [picture for caption, picture in pictures.items() if caption.startswith(name)]
        contrast = np.std(six)
        return np.mean([np.abs(a - b).mean() for a, b in pairwise(six)]) / contrast

    assert steps_between("aligned") < 0.8 * steps_between("independent")
    ends = pictures["aligned 0/5"], pictures["aligned 5/5"]
    tents, arches = (strength(stage, unit, *ends) for unit in (gallery.TENTS, gallery.ARCHES))
    assert tents[0] > tents[1]
    assert arches[1] > arches[0]


def test_transparency_keeps_what_matters(stage):
    pictures = gallery.transparency(stage)
    for name in ("berries", "arches"):
        alpha = pictures[f"alpha of {name}"]
        middle = alpha[32:-32, 32:-32].mean()
        border = np.concatenate([alpha[:16].ravel(), alpha[-16:].ravel()]).mean()
        assert border < 0.5 < alpha[48:-48, 48:-48].mean()
        assert border < middle
        assert np.abs(pictures[f"{name} on black"] - pictures[f"{name} on white"]).max() > 0.5


def test_coordinates_give_sharper_pictures_with_time(stage):
    pictures = gallery.xy2rgb(stage)
    for name, unit in (("arches", gallery.ARCHES), ("shells", gallery.SHELLS)):
        early, late = strength(stage, unit, pictures[f"{name}, early"], pictures[f"{name}, late"])
        assert late > early
    assert pictures["a part of arches at 4x"].shape == (gallery.SIDE, gallery.SIDE, 3)


def test_caricatures_resemble_the_photograph(stage):
    pictures = gallery.caricature(stage)
    for layer in gallery.CARICATURED:
        photo, drawn, noise = activations(
            stage,
            layer,
            pictures["photograph"],
            pictures[layer],
            np.random.default_rng(0).random(pictures[layer].shape),
        ).flatten(1)
        drawn_like = torch.cosine_similarity(photo, drawn, dim=0)
        assert drawn_like > torch.cosine_similarity(photo, noise, dim=0)


def test_style_transfer_has_the_subject_and_the_strokes(stage):
    pictures = gallery.style_transfer_2d(stage)
    content, style, both, strokes, *_ = (
        activations(stage, "features.5", picture) for picture in pictures.values()
    )
    named = ["content", "style", "both", "style only", "no transforms", "plain pixels"]
    assert list(pictures) == named
    assert high_frequencies(pictures["plain pixels"]) > high_frequencies(pictures["both"])
    assert mean_l1(both, content) < mean_l1(strokes, content)
    assert mean_l1(gram(both), gram(style)) < mean_l1(gram(content), gram(style))


def test_the_program_writes_a_picture_per_figure(test_data, tmp_path, monkeypatch):
    monkeypatch.setenv("LUCENT_TEST_DATA", str(test_data))
    gallery.main([str(tmp_path), "--only", "negative_neurons", "--steps", "1"])
    (written,) = tmp_path.iterdir()
    assert written.name == "negative_neurons.png"
    assert Image.open(written).width == 4 * gallery.SIDE + 3 * 4
