"""Every architecture of benchmarks/architectures.py is rendered as it is, with no wrapper."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

# At the end of the path: the lucent under test is the one installed.
sys.path.append(str(Path(__file__).parents[1]))

from benchmarks import models
from benchmarks.architectures import ARCHITECTURES, REFUSED, Architecture
from lucent.errors import LayerError
from lucent.hooks import Activations
from lucent.layers import LayerNames
from lucent.modelzoo.util import get_model_layers


def by_speed(architecture):
    marks = [pytest.mark.slow] if architecture.slow else []
    return pytest.param(architecture, marks=marks, id=str(architecture))


def named(name):
    """The architecture whose name this is."""
    (found,) = (each for each in ARCHITECTURES if str(each) == name)
    return found


def in_use(model):
    """A network as somebody has it who trains it: there is a mode, a gradient, a frozen weight."""
    first, *_, last = model.train().parameters()
    first.requires_grad_(False)
    last.grad = torch.ones_like(last)
    return model


def condition(model):
    return {
        "hooks": tiny.hooked(model),
        "modes": [module.training for module in model.modules()],
        "trainable": [p.requires_grad for p in model.parameters()],
        "gradients": [None if p.grad is None else p.grad.sum().item() for p in model.parameters()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
    }


@pytest.mark.parametrize("architecture", [*map(by_speed, ARCHITECTURES)])
def test_an_early_a_middle_and_a_late_layer_are_rendered(architecture):
    pytest.importorskip(architecture.source)
    model = in_use(architecture.model())
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    before = condition(model)
    for layer in architecture.layers:
        module = LayerNames(model).resolve(layer).module
        assert module.replace(".", "_") in ["", *get_model_layers(model)]
        found = models.outcome(architecture, model, layer)
        assert [picture.shape[1:] for picture in found.pictures] == 2 * [
            (*architecture.shape[1:], architecture.shape[0])
        ]
        assert all(np.isfinite(picture).all() for picture in found.pictures)
        assert found.after > found.before
    assert condition(model) == before
    assert model.state_dict().keys() == weights.keys()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


def test_the_matrix_has_forty_architectures_of_four_libraries():
    assert len({str(each) for each in ARCHITECTURES}) == len(ARCHITECTURES) >= 40
    sources = {each.source for each in ARCHITECTURES}
    assert sources == {"torchvision", "timm", "transformers", "open_clip"}


def test_the_page_is_about_these_architectures():
    text = models.PAGE.read_text(encoding="utf-8")
    for names, architectures in (("{0.name}", ARCHITECTURES), ("{0}", REFUSED)):
        for each in architectures:
            lines = [f"| {names.format(each)} | `{layer}` | " for layer in each.layers]
            assert [line for line in lines if f"\n{line}" not in text] == []
    cells = [line.strip(" |").split(" | ") for line in text.splitlines() if " x " in line]
    scores = [row[-2:] for row in cells if len(row) == len(models.HEADER)]
    assert len(scores) == 3 * len(ARCHITECTURES)
    assert all(float(before) < float(after) for before, after in scores)


def test_a_vision_transformer_runs_no_further_than_the_block_needed():
    model = named("torchvision/VisionTransformer").model()
    calls = tiny.count_calls(model)
    with Activations(model, ["encoder.layers.encoder_layer_1"]) as T:
        for _ in range(4):
            T.run(torch.rand(1, 3, 64, 64))
    blocks = [calls[f"encoder.layers.encoder_layer_{n}"] for n in range(4)]
    # One planning pass goes to the end.
    assert blocks == [5, 5, 1, 1]
    assert calls["encoder.ln"] == calls["heads.head"] == 1


@pytest.mark.parametrize("architecture", [*map(by_speed, REFUSED)])
def test_what_is_refused_says_how_to_help(architecture):
    pytest.importorskip(architecture.source)
    model = in_use(architecture.model())
    before = condition(model)
    for layer in architecture.layers:
        with pytest.raises(LayerError, match=r"Which axis .* cannot be told.*layout=\{"):
            models.outcome(architecture, model, layer)
    assert condition(model) == before


def test_a_layer_that_fails_has_its_reason_in_the_table():
    tiny_one = Architecture("tests", "chain", ("conv1", "missing", "head"), tiny.Chain, (3, 8, 8))
    first, second, third = models.rows(tiny_one)
    assert first[:4] == ["chain", "`conv1`", "1 x 2 x 8 x 8", "2 x 8 x 8"]
    assert float(first[5]) < float(first[6])
    assert second[:2] == ["chain", "`missing`"]
    assert second[2].startswith("There is no layer 'missing'")
    assert third[2:4] == ["1 x 2", "2"]


def test_the_score_is_that_of_the_unit_over_positions():
    model = tiny.Chain()
    tiny_one = Architecture("tests", "chain", ("conv1",) * 3, tiny.Chain, (3, 8, 8))
    found = models.outcome(tiny_one, model, "conv1")
    start, end = found.pictures
    # Of (r, g, b), `conv1` gives (r, -g).
    assert found.unit == 0
    np.testing.assert_allclose(found.before, start[0, ..., 0].mean(), rtol=1e-6)
    np.testing.assert_allclose(found.after, end[0, ..., 0].mean(), rtol=1e-6)
