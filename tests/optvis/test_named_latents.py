"""Latents that a model knows by name: a layer whose channels are the latents."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import tiny
import torch
from reference import normal, seeded
from torch import nn

from lucent.encoders import NamedLatents
from lucent.errors import InputError, LayerError
from lucent.hooks import Activations
from lucent.optvis import param
from lucent.optvis.batch import render_many
from lucent.optvis.loop import Run, RunSettings
from lucent.optvis.objectives import Latents, Objective, channel, latent, latent_neuron, neuron
from lucent.optvis.render import render_vis

GIVEN = {"transforms": [], "thresholds": (6,), "seed": 1, "preprocess": False}
QUIET = {"progress": False, "show_image": False}


class Coder(nn.Linear):
    """An encoder that counts its copies, and its calls with theirs."""

    def __init__(self, width=8, n_latents=5):
        super().__init__(width, n_latents)
        self.weight.data = normal(n_latents, width).float()
        self.calls, self.n_copies = [], 0
        calls = self.calls
        self.register_forward_hook(lambda *_: calls.append(1))

    def __deepcopy__(self, memo):
        self.n_copies += 1
        made = nn.Linear(self.in_features, self.out_features)
        made.weight, made.bias = (memo[id(p)] for p in (self.weight, self.bias))
        calls = self.calls
        made.register_forward_hook(lambda *_: calls.append(1))
        return made


@pytest.fixture
def coder():
    return Coder()


@pytest.fixture
def model(coder):
    made = tiny.textured()
    made.units = {"sae": Latents("3", coder), "probe": Latents("1", nn.Linear(8, 2))}
    return made


def image():
    return param.image(14)


def test_the_name_is_a_layer_whose_channels_are_the_latents(model, coder):
    pictures = torch.rand(2, 3, 12, 14, generator=seeded(0))
    with torch.no_grad(), Activations(model, ["sae", "probe"]) as T:
        T.run(pictures)
        expected = coder(T("3").movedim(1, -1)).movedim(-1, 1)
        coder.calls.clear()
        assert torch.allclose(T("sae"), expected, rtol=0, atol=1e-6)
        assert T("sae") is T("sae")
        assert T("probe").shape == (2, 2, 10, 12)
        assert T.layers == {"3", "1"}
        assert len(coder.calls) == 1
        T.run(pictures / 2)
        assert not torch.allclose(T("sae"), expected, rtol=0, atol=1e-3)
        assert len(coder.calls) == 2


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("sae:3", lambda coder: latent("3", coder, 3)),
        ("sae:3:1:2", lambda coder: latent_neuron("3", coder, 3, x=1, y=2)),
    ],
)
def test_strings_mean_the_latents(model, coder, text, same):
    found = render_vis(model, text, image, **GIVEN, **QUIET)
    expected = render_vis(model, same(coder), image, **GIVEN, **QUIET)
    assert np.allclose(found[0], expected[0], rtol=0, atol=1e-5)
    assert found.history.loss == pytest.approx(expected.history.loss, abs=1e-6)


def test_all_latents_of_a_step_are_one_pass_of_the_encoder(model, coder):
    objective = Objective.sum([*(channel("sae", n) for n in range(5)), neuron("sae", 2, 1, 1)])
    with Run(model, objective, image(), settings=RunSettings(preprocess=False)) as run:
        next(run)
        coder.calls.clear()
        next(run)
    assert len(coder.calls) == 1
    assert coder.n_copies == 1


def test_render_many_takes_names_beside_layers(model):
    wanted = ["sae:3", "3:1", "sae:0", "probe:1"]
    results = {r.index: r for r in render_many(model, wanted, image, **GIVEN)}
    for n, text in enumerate(wanted):
        alone = render_vis(model, text, image, **GIVEN, **QUIET)
        assert np.allclose(results[n].images[0], alone[0][0], rtol=0, atol=1e-4)


def test_silent_latents_start_as_those_without_a_name(model):
    gated = nn.Sequential(nn.Linear(8, 3), nn.ReLU())
    gated[0].weight.data, gated[0].bias.data = normal(3, 8).float(), torch.full((3,), -5.0)
    model.units = {"sae": Latents("3", gated)}
    start = image()
    with Run(model, channel("sae", 1), start, settings=RunSettings(preprocess=False)) as run:
        run.keep_gradient = True
        next(run)
    assert run.history.loss == [0.0]
    assert run.gradient.any()


def test_a_token_of_the_layer_is_encoded_as_well(model):
    named = NamedLatents(model)
    assert named.base("sae@cls") == "3@cls"
    assert "sae@cls" in named
    assert named.base("conv@cls") == "conv@cls"
    found = named.latents("sae@cls", normal(2, 8).float())
    assert found.shape == (2, 5)


def test_nothing_is_kept_after_the_passes(model, coder):
    with Activations(model, ["sae"]) as T:
        T.run(torch.rand(1, 3, 12, 12))
        kept = weakref.ref(T("sae"))
    gc.collect()
    assert kept() is None
    assert tiny.hooked(model) == []


def test_the_model_and_the_encoder_stay_as_they_were(model, coder):
    before, own = tiny.condition(model), tiny.condition(model.units["probe"].encoder)
    render_vis(model, "probe:1", image, **GIVEN, **QUIET)
    assert tiny.condition(model) == before
    assert tiny.condition(model.units["probe"].encoder) == own


def test_an_attribute_of_the_network_of_that_name_is_its_own_business():
    for units in (64, nn.ModuleDict({"a": nn.ReLU()}), {"a": 3}, {}):
        model = tiny.textured()
        model.units = units
        with Activations(model, ["3"]) as T:
            T.run(torch.rand(1, 3, 12, 12))
        with pytest.raises(LayerError, match="no layer 'sae'"):
            Activations(model, ["sae"])


@pytest.mark.parametrize(
    ("units", "said"),
    [
        (
            {"sae": Latents("3", Coder()), "x": 3},
            r"model.units\['x'\] is 3; expected Latents\(layer",
        ),
        (
            {"3": Latents("3", Coder())},
            "cannot be called '3' in model.units, because that is a layer",
        ),
        ({"input": Latents("3", Coder())}, "'input' in model.units, because that is a layer"),
        ({"labels": Latents("3", Coder())}, "'labels' in model.units, because that is a layer"),
        ({"a:b": Latents("3", Coder())}, "'a:b' in model.units, because that is no plain word"),
        ({"sae": Latents("33", Coder())}, "no layer '33'"),
    ],
)
def test_units_that_cannot_be_used(units, said):
    model = tiny.textured()
    model.units = units
    with pytest.raises((InputError, LayerError), match=said):
        Activations(model, ["sae"])


def test_latent_that_does_not_exist(model):
    with pytest.raises(
        InputError, match="There is no channel 5: this layer has 5 channels, 0 to 4"
    ):
        render_vis(model, "sae:5", image, **GIVEN, **QUIET)


def test_latents_print_and_their_encoder_is_found_by_name():
    assert repr(Latents("3", nn.Linear(8, 2))) == "Latents(layer='3', encoder=Linear)"
