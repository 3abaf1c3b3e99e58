from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import PLAIN, condition, conv
from torch import nn

from lucent.errors import InputError, LayerError
from lucent.hooks import Activations
from lucent.modelzoo import spec_of, synthnet, synthvit
from lucent.modelzoo.synthnet import SynthScenes
from lucent.recipes.caricature import caricature, feature_inversion

SMALL = {"size": 48, "fixed_image_size": "native"}


def scene(index=18):
    """A photograph of one object of SynthNet's world, (H, W, 3)."""
    return SynthScenes(28)[index][0].movedim(0, -1).numpy()


def acts_of(model, layer, *pictures):
    batch = torch.from_numpy(np.stack(pictures)).movedim(-1, 1).float()
    with Activations(model, [layer]) as T, torch.no_grad():
        T.run(spec_of(model).preprocess(batch))
        return T.channels_first(layer).flatten(1)


def test_a_caricature_is_nearer_to_the_photograph_than_noise_is_and_beyond_it():
    model, layers = synthnet(), ["conv2", "mixed3a", "mixed4a"]
    made = caricature(model, scene(), layers, steps=32, **SMALL)
    noise = np.random.default_rng(0).random(made.photograph.shape)
    for layer, image in zip(layers, made.images, strict=True):
        photo, drawn, random = acts_of(model, layer, made.photograph, image, noise)
        assert photo @ drawn > photo @ random
        assert photo @ drawn > photo @ photo
        assert torch.cosine_similarity(photo, drawn, 0) > torch.cosine_similarity(photo, random, 0)


def linear(gain=1.0):
    """A layer "0" that gives `gain` times the picture, and nothing for black."""
    model = nn.Sequential(conv((gain * np.eye(3)).tolist()))
    model.spec = PLAIN
    return model


def test_things_stay_in_their_places():
    photo = np.zeros((32, 32, 3), dtype=np.float32)
    photo[4:12, 18:28] = 1
    made = caricature(
        linear(), photo, "0", cossim_pow=0, steps=40, transforms=[], fixed_image_size="native"
    )
    image, there = made.images[0], photo.mean(-1) > 0
    assert image[there].mean() > image[~there].mean() + 0.2


def test_a_large_power_does_not_overflow():
    made = caricature(linear(1000), scene(), "0", cossim_pow=4, steps=20, **SMALL)
    assert made.images.std() > 0.02
    assert np.isfinite(made.images).all()


def test_a_larger_power_keeps_nearer_to_the_photograph():
    def cosine(power):
        made = caricature(synthnet(), scene(), "mixed3a", cossim_pow=power, steps=32, **SMALL)
        return torch.cosine_similarity(
            *acts_of(synthnet(), "mixed3a", made.photograph, made.images[0]), dim=0
        )

    assert cosine(4) > cosine(0)


def test_an_inversion_of_a_layer_that_keeps_all_is_the_photograph():
    made = feature_inversion(
        linear(), scene(), "0", steps=150, transforms=[], size=24, fixed_image_size="native"
    )
    assert np.abs(made.images[0] - made.photograph).mean() < 0.03


def test_an_inversion_lowers_the_difference_of_activations():
    model = synthnet()
    made = feature_inversion(model, scene(), ["conv2", "mixed3a"], steps=48, **SMALL)
    for layer, image in zip(made.layers, made.images, strict=True):
        grey = np.full_like(image, 0.5)
        photo, inverted, plain = acts_of(model, layer, made.photograph, image, grey)
        assert (photo - inverted).norm() < 0.6 * (photo - plain).norm()


def test_transformers_are_caricatured_by_their_patches():
    made = caricature(synthvit(), scene(), ["blocks.1", "blocks.3"], steps=3, draws=1)
    assert made.images.shape == (2, 96, 96, 3)
    assert made.images[0].std() > 0.001


def test_the_result_names_its_layers_and_the_seed_makes_the_picture():
    given = {"steps": 2, **SMALL}
    first, same, other = (
        caricature(synthnet(), scene(), ["conv2", "mixed3a"], seed=seed, **given)
        for seed in (3, 3, 4)
    )
    assert first.panels().labels == ("photograph", "conv2", "mixed3a")
    np.testing.assert_array_equal(first.images, same.images)
    assert (first.images != other.images).any()
    np.testing.assert_allclose(first.panels().pictures[0], first.photograph)


def test_the_model_is_left_as_it_was():
    model = synthnet().train()
    before = condition(model)
    caricature(model, scene(), "conv2", steps=2, **SMALL)
    assert condition(model) == before


@pytest.mark.parametrize(
    ("picture", "layers", "error", "text"),
    [
        (scene(), [], InputError, "no layer to look through"),
        (torch.zeros(2, 3, 48, 48), "conv2", InputError, r"one picture, but got.*\(2, 3, 48, 48\)"),
        (np.zeros((40, 60, 4)), "conv2", InputError, "transparency"),
        (scene(), "conv9", LayerError, "conv9"),
    ],
)
def test_what_cannot_be_used_is_refused(picture, layers, error, text):
    with pytest.raises(error, match=text):
        caricature(synthnet(), picture, layers, steps=1)


def test_photographs_of_any_size_and_mode_become_that_of_the_network():
    made = caricature(synthnet(), np.zeros((30, 50), dtype=np.uint8), "conv2", steps=1)
    assert made.photograph.shape == (96, 96, 3)


def test_results_of_a_network_in_double_precision_are_single():
    made = caricature(linear().double(), scene(), "0", steps=1, **SMALL)
    assert made.photograph.dtype == made.images.dtype == np.float32


@pytest.mark.slow
def test_layers_of_squeezenet_caricature_a_dog_and_a_cat(squeezenet, photo):
    layers = ["features.4", "features.7", "features.12"]
    picture = photo[0].movedim(0, -1).numpy()
    made = caricature(squeezenet, picture, layers, size=160, fixed_image_size=160, steps=48)
    noise = np.random.default_rng(0).random(made.photograph.shape)
    for layer, image in zip(layers, made.images, strict=True):
        dog_cat, drawn, random = acts_of(squeezenet, layer, made.photograph, image, noise)
        assert dog_cat @ drawn > 1.5 * (dog_cat @ random)
