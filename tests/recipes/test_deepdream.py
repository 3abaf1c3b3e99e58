from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import PLAIN, condition, conv
from torch import nn

from lucent.errors import InputError, LayerError
from lucent.modelzoo import synthnet, synthvit
from lucent.modelzoo.synthnet import SynthScenes
from lucent.recipes.deepdream import NormalizedSteps, Octaves, deepdream

SHORT = Octaves(count=3, steps=6, step=0.001)


def scene(index=18, size=96):
    return SynthScenes(28, size=size)[index][0].movedim(0, -1).numpy()


def correlation(dream):
    return np.corrcoef(dream.photograph.ravel(), dream.image.ravel())[0, 1]


@pytest.mark.parametrize(
    ("normalize", "step"), [("laplacian", 0.002), ("fourier", 0.01), ("pixels", 0.004)]
)
def test_a_dream_is_more_of_what_the_layer_sees_in_the_photograph(normalize, step):
    octaves = Octaves(count=3, steps=6, step=step, normalize=normalize)
    dream = deepdream(synthnet(), scene(), "mixed4a", octaves=octaves)
    assert dream.values[1] > 1.3 * dream.values[0]
    assert 0.6 < correlation(dream) < 0.999


def test_octaves_grow_and_go_on_from_each_other():
    dream = deepdream(synthnet(), scene(), "mixed4a", octaves=SHORT)
    assert [picture.shape[0] for picture in dream.octaves] == [49, 69, 96]
    np.testing.assert_allclose(dream.image, dream.octaves[-1], atol=1e-5)
    # The last octave alone has changed less: what was found before was carried over.
    alone = deepdream(synthnet(), scene(), "mixed4a", octaves=Octaves(count=1, steps=6, step=0.001))
    assert correlation(dream) < correlation(alone)
    assert dream.values[1] > alone.values[1]


def test_changes_of_an_octave_are_carried_to_the_next():
    model = nn.Sequential(conv([[1, 0, 0]]))
    model.spec = PLAIN
    octaves = Octaves(count=2, steps=5, step=0.01, normalize="pixels")
    dream = deepdream(model, np.full((64, 64, 3), 0.5), "0:0", octaves=octaves)
    reds = [0.5, *(picture[..., 0].mean() for picture in dream.octaves)]
    assert reds[0] + 0.02 < reds[1] < reds[2] - 0.02


def test_a_unit_or_an_objective_may_be_dreamt_of():
    for target in ("mixed4a:63", "labels:rings"):
        dream = deepdream(synthnet(), scene(), target, octaves=SHORT)
        assert dream.values[1] > dream.values[0]


def test_tiles_take_as_many_more_steps_as_there_are_tiles():
    octaves = Octaves(count=1, steps=4, tile=32)
    assert octaves.steps_at((64, 96)) == 4 * 2 * 3
    assert octaves.steps_at((16, 16)) == 4
    seen = []
    model = nn.Sequential(conv([[1, 0, 0]]))
    model.spec = PLAIN
    model[0].register_forward_hook(lambda module, given, out: seen.append(out.shape[2:]))
    dream = deepdream(model, np.full((48, 64, 3), 0.5), "0:0", octaves=octaves, size=(48, 64))
    assert (32, 32) in seen[1:]
    assert dream.image.shape == (48, 64, 3)
    # Every part had its turn.
    assert (dream.image[..., 0] > 0.5).mean() > 0.95


def test_networks_of_one_size_dream_too():
    octaves = Octaves(count=2, steps=3, normalize="fourier", step=0.02)
    dream = deepdream(synthvit(), scene(), "blocks.2", octaves=octaves, size=128)
    assert dream.image.shape == (128, 128, 3)
    assert dream.values[1] > dream.values[0]


def test_an_interruption_ends_it_with_what_there_is():
    def interrupt(run):
        if run.step == 2:
            raise KeyboardInterrupt

    dream = deepdream(synthnet(), scene(), "mixed4a", octaves=SHORT, callbacks=[interrupt])
    assert len(dream.octaves) == 1
    assert dream.image.shape == (96, 96, 3)
    assert (dream.image != dream.photograph).any()


def test_a_callback_that_ends_an_octave_does_not_end_the_dream():
    def enough(run):
        if run.step == 2:
            run.stop()

    dream = deepdream(synthnet(), scene(), "mixed3a", octaves=SHORT, callbacks=[enough])
    assert len(dream.octaves) == 3


def test_steps_have_the_mean_size_of_the_rate_in_each_tensor():
    tensors = [torch.zeros(4, requires_grad=True), torch.zeros(2, 2, requires_grad=True)]
    still = torch.ones(3, requires_grad=True)
    optimizer = NormalizedSteps([*tensors, still], lr=0.5)
    tensors[0].grad = torch.tensor([1.0, -3.0, 0.0, 0.0])
    tensors[1].grad = 1e-9 * torch.ones(2, 2)
    still.grad = torch.zeros(3)
    optimizer.step()
    assert tensors[0].tolist() == [-0.5, 1.5, 0, 0]
    torch.testing.assert_close(tensors[1], torch.full((2, 2), -0.5))
    assert still.tolist() == [1, 1, 1]


def test_the_model_is_left_as_it_was():
    model = synthnet().train()
    before = condition(model)
    dream = deepdream(model, scene(), "mixed3a", octaves=Octaves(count=1, steps=1))
    assert condition(model) == before
    assert dream.panels().labels == ("photograph", "dream")


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Octaves(steps=0), InputError, "steps=0"),
        (lambda: Octaves(scale=1), InputError, "scale is larger than 1"),
        (lambda: Octaves(normalize="wavelet"), InputError, "normalize='wavelet' is unknown"),
        (lambda: Octaves(count=5).sizes((96, 96)), InputError, r"5 octaves.*begin with \(25, 25\)"),
        (
            lambda: deepdream(synthnet(), torch.zeros(2, 3, 64, 64), "mixed3a"),
            InputError,
            r"one picture, but got a batch \(2, 3, 64, 64\)",
        ),
        (lambda: deepdream(synthnet(), scene(), "mixed9"), LayerError, "mixed9"),
        (
            lambda: deepdream(synthnet(), scene(), "mixed3a", steps=3, transforms=[]),
            InputError,
            r"\['steps', 'transforms'\], which follow from its octaves",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(make, error, text):
    with pytest.raises(error, match=text):
        make()
