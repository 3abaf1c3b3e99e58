"""Style transfer: the Gram matrices of one picture, the things of another."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import PLAIN, condition, conv
from torch import nn

from lucent.errors import InputError, LayerError
from lucent.hooks import Activations
from lucent.modelzoo import spec_of, synthnet, synthvit
from lucent.modelzoo.synthnet import SynthScenes
from lucent.optvis.objectives import gram, mean_l1
from lucent.recipes.style import StyleLayers, style_transfer

QUIET = {"seed": 0, "progress": False}
SMALL = {"size": 64, "fixed_image_size": "native", **QUIET}
CONTENT, STYLE = "mixed3a", ("conv1", "conv2", "mixed3a", "mixed3b")


def scene(index):
    """A picture of SynthNet's world, (H, W, 3).

    8 has dots, 16 clouds, 17 wood, 18 a disc, 25 an eye.
    """
    return SynthScenes(28)[index][0].movedim(0, -1).numpy()


def acts_of(model, layers, *pictures):
    batch = torch.from_numpy(np.stack(pictures)).movedim(-1, 1).float()
    with Activations(model, layers) as T, torch.no_grad():
        T.run(spec_of(model).preprocess(batch))
        return {layer: T(layer) for layer in layers}


def test_the_style_comes_closer_by_a_factor_of_two_in_every_layer_and_the_content_stays():
    model = synthnet()
    made = style_transfer(model, scene(18), scene(16), steps=64, **SMALL)
    acts = acts_of(model, STYLE, made.content, made.style, made.picture)
    for layer in STYLE:
        content, style, picture = gram(acts[layer])
        assert mean_l1(picture, style) < mean_l1(content, style) / 2
    content, style, picture = acts[CONTENT]
    assert mean_l1(picture, content) < 0.65 * mean_l1(style, content)


def test_more_weight_keeps_more_content():
    model = synthnet()

    def distance(weight):
        made = style_transfer(model, scene(25), scene(8), content_weight=weight, steps=32, **SMALL)
        content, picture = acts_of(model, [CONTENT], made.content, made.picture)[CONTENT]
        return mean_l1(picture, content)

    assert distance(3.0) < 0.7 * distance(0.03)


def linear(gain=1.0):
    """Layers whose activations are as large as one likes; those of grey are none."""
    model = nn.Sequential(conv((gain * np.eye(3)).tolist()), conv(np.eye(3)[::-1].tolist()))
    model.spec = PLAIN
    return model


ALL = StyleLayers(content=["1"], style=["0", "1"])


def test_what_activations_measure_does_not_matter():
    first, large = (
        style_transfer(
            linear(gain), scene(25), scene(8), layers=ALL, steps=8, transforms=[], **SMALL
        )
        for gain in (1, 100)
    )
    assert np.abs(first.picture - large.picture).max() < 0.01
    # In multiples of a grey picture's difference, which is about that of the start.
    assert first.history.loss[0] == pytest.approx(1.3, rel=0.02)


@pytest.mark.parametrize("contrast", [0.0, 0.02])
def test_a_plain_wall_takes_on_the_style_too(contrast):
    noise = np.random.default_rng(0).uniform(-1, 1, (64, 64, 3))
    options = {"layers": ALL, "content_weight": 0.05, "steps": 40, "transforms": [], **SMALL}
    made = style_transfer(linear(), 0.5 + contrast * noise, scene(8), **options)
    content, style, picture = gram(
        acts_of(linear(), ["1"], made.content, made.style, made.picture)["1"]
    )
    assert mean_l1(picture, style) < 0.6 * mean_l1(content, style)


def test_without_content_layers_there_are_strokes_only():
    layers, model = StyleLayers([], STYLE), synthnet()
    first, second = (
        style_transfer(model, scene(index), scene(8), layers=layers, steps=8, **SMALL)
        for index in (18, 25)
    )
    assert np.array_equal(first.picture, second.picture)
    assert not np.array_equal(first.content, second.content)


def test_layers_of_a_transformer_have_a_style_too():
    layers = StyleLayers(["blocks.2"], ["blocks.0", "blocks.1"])
    made = style_transfer(
        synthvit(), scene(18), scene(16), layers=layers, steps=12, transforms=[], **QUIET
    )
    assert made.history.loss[-1] < 0.9 * made.history.loss[0]


def test_pictures_of_other_sizes_and_modes():
    grey = Image.fromarray((255 * scene(25).mean(-1)).astype(np.uint8)).resize((90, 50))
    strokes = torch.from_numpy(scene(8)).movedim(-1, 0)[:, :40, :30]
    made = style_transfer(synthnet(), grey, strokes, size=(32, 48), steps=1, **QUIET)
    for picture in (made.content, made.style, made.picture):
        assert picture.shape == (32, 48, 3)
    assert np.ptp(made.content, axis=-1).max() == 0
    assert list(made.panels().labels) == ["content", "style", "result"]


def test_the_seed_which_is_0_by_default_repeats_it_and_the_model_stays():
    model = linear()
    before, state = condition(model), torch.get_rng_state()
    options = {"layers": ALL, "size": 16, "steps": 2, "progress": False}
    first, again, other = (
        style_transfer(model, scene(25), scene(8), **seed, **options).picture
        for seed in ({}, {"seed": 0}, {"seed": 1})
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert condition(model) == before
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        (None, r"Which layers of plain suit a style transfer is not known.*StyleLayers\(content"),
        (StyleLayers(["0"], []), r"style=\[\]\) has to be .* the second one is not empty"),
        (StyleLayers("0", ["1"]), r"content='0'.* has to be StyleLayers\(content=\[...\]"),
        (["0", "1"], r"layers=\['0', '1'\] has to be StyleLayers"),
    ],
)
def test_layers_that_are_not_known(layers, text):
    with pytest.raises(InputError, match=text):
        style_transfer(linear(), scene(25), scene(8), layers=layers)


def test_a_layer_that_does_not_exist():
    with pytest.raises(LayerError, match=r"mixed9z"):
        style_transfer(synthnet(), scene(25), scene(8), layers=StyleLayers(["mixed9z"], ["conv1"]))


def test_pictures_that_cannot_be_used():
    with pytest.raises(InputError, match=r"takes one picture, but got a batch \(2, 3, 8, 8\)"):
        style_transfer(synthnet(), torch.zeros(2, 3, 8, 8), scene(8))
    with pytest.raises(InputError, match=r"transparency"):
        style_transfer(synthnet(), scene(25), np.zeros((8, 8, 4)))


@pytest.mark.slow
def test_a_photograph_takes_on_a_style_with_a_network_of_photographs(squeezenet, photo):
    picture = photo[0].movedim(0, -1).numpy()
    options = {"size": 112, "fixed_image_size": "native", **QUIET}
    made = style_transfer(squeezenet, picture, scene(17), steps=48, **options)
    layers = [f"features.{n}" for n in (1, 3, 4, 5)]
    acts = acts_of(squeezenet, layers, made.content, made.style, made.picture)
    ratios = []
    for layer in layers:
        content, style, drawn = gram(acts[layer])
        ratios.append(mean_l1(drawn, style) / mean_l1(content, style))
    assert max(ratios) < 0.7
    assert np.mean(ratios) < 0.45
    content, style, drawn = acts["features.5"]
    assert mean_l1(drawn, content) < 0.9 * mean_l1(style, content)
