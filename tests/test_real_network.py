"""On a network trained on photographs: dead units come to life, logits show their class."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lucent.errors import LucentWarning
from lucent.hooks import Activations
from lucent.modelzoo import spec_of
from lucent.optvis import objectives, param
from lucent.optvis.render import render_vis

QUIET = {"progress": False, "show_image": False, "seed": 0}

# Units whose activation and gradient are exactly zero on the grey start image.
DEAD = [("features.8", 28), ("features.10", 0)]
MORE_DEAD = [("features.8", 3), ("features.8", 7), ("features.10", 13)]

CLASSES = [1, 33, 97, 130, 207, 277, 291, 323, 340, 386, 417, 472, 574, 852, 954, 985]


def network_input(model, images):
    """The pictures as the network is to see them, without transforms."""
    spec = spec_of(model)
    batch = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    size = spec.input_size
    return spec.preprocess(torch.nn.functional.interpolate(batch, size, mode="bilinear"))


def probabilities(model, images):
    with torch.no_grad():
        return model(network_input(model, images)).softmax(1)


def render_unit(model, layer, unit, **options):
    options = {"transforms": [], "param_f": lambda: param.image(224), **QUIET, **options}
    return render_vis(model, f"{layer}:{unit}", **options)


def test_the_network_knows_a_dog(squeezenet, photo):
    image = torch.nn.functional.interpolate(photo, (224, 224), mode="bilinear", antialias=True)
    with torch.no_grad():
        found = squeezenet(spec_of(squeezenet).preprocess(image)).softmax(1)
    assert spec_of(squeezenet).labels[int(found.argmax())] == "golden retriever"
    assert found.max() > 0.9


@pytest.mark.parametrize(
    ("layer", "unit"),
    [*DEAD, *(pytest.param(*unit, marks=pytest.mark.slow) for unit in MORE_DEAD)],
)
def test_dead_units_come_to_life(squeezenet, layer, unit):
    (start, end) = render_unit(squeezenet, layer, unit, thresholds=(0, 48))
    with Activations(squeezenet, [layer]) as T, torch.no_grad():
        T.run(network_input(squeezenet, np.concatenate([start, end])))
        before, after = T(layer)[:, unit].flatten(1).amax(1).tolist()
    assert before == 0
    assert after > 0
    assert start.std() < 0.01
    assert end.std() > 0.05


@pytest.mark.parametrize(("layer", "unit"), [*DEAD, *MORE_DEAD])
def test_without_the_override_they_stay_dead_and_a_warning_says_so(squeezenet, layer, unit):
    with pytest.warns(LucentWarning, match=r"gradient is zero at the start.*relu_override=True"):
        (start, end) = render_unit(squeezenet, layer, unit, thresholds=(0, 2), relu_override=False)
    assert np.array_equal(start, end)


def render_classes(model, classes, size, n_steps):
    parts = [objectives.channel("labels", c, batch=row) for row, c in enumerate(classes)]
    (images,) = render_vis(
        model,
        objectives.Objective.sum(parts),
        lambda: param.image(size, batch=len(classes)),
        thresholds=(n_steps,),
        **QUIET,
    )
    return probabilities(model, images)[range(len(classes)), classes]


def test_pictures_of_classes_are_classified_as_such(squeezenet):
    assert (render_classes(squeezenet, [1, 207], size=128, n_steps=24) > 0.9).all()


@pytest.mark.slow
def test_pictures_of_sixteen_classes_are_classified_as_such(squeezenet):
    found = render_classes(squeezenet, CLASSES, size=192, n_steps=256)
    assert (found > 0.9).sum() >= 15
