"""Attributions of single positions: those of all positions, in one pass for each."""

from __future__ import annotations

import logging

import pytest
import tiny
import torch
from torch import nn
from torch.autograd import forward_ad

from lucent.attribution import PositionSlopes, class_attributions, position_attributions, positions
from lucent.errors import InputError, LayerError
from lucent.hooks import Activations
from lucent.modelzoo import ModelSpec, synthnet

PICTURES = torch.rand(3, 3, 8, 7, generator=torch.Generator().manual_seed(0))
WHERE = torch.tensor([[0, 3], [5, 5], [11, 2]])


class OnlyBackward(torch.autograd.Function):
    """Doubles, and has no forward mode."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


class Doubling(nn.Module):
    def forward(self, x):
        return OnlyBackward.apply(x)


def net(middle=None):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), middle or nn.GELU(), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Linear(16, 6),
    )  # fmt: skip
    model.spec = ModelSpec("six")
    return model.eval()


def picked(model, layer):
    """The same by attributing every position of a picture."""
    every = class_attributions(model, PICTURES, layer).values.flatten(2)
    return torch.stack([own[:, at].T for own, at in zip(every, WHERE, strict=True)])


@pytest.mark.parametrize("layer", ["0", "1", "2"])
def test_they_are_those_of_all_positions(layer):
    found = position_attributions(net(), PICTURES, layer, WHERE)
    assert found.shape == (3, 2, 6)
    assert found.abs().max() > 1e-3
    assert torch.allclose(found, picked(net(), layer), atol=1e-7)


def test_a_network_without_forward_mode_goes_backward(caplog):
    with caplog.at_level(logging.INFO):
        found = position_attributions(net(Doubling()), PICTURES, "1", WHERE)
    assert "reverse mode" in caplog.text
    assert torch.allclose(found, picked(net(Doubling()), "1"), atol=1e-7)


def test_each_layer_goes_forward_where_it_can_in_every_batch(monkeypatch):
    model, went = net(Doubling()), []
    reverse = positions._reverse
    monkeypatch.setattr(
        positions, "_reverse", lambda *args: went.append(args[1].name) or reverse(*args)
    )
    where = {"3": WHERE % 4, "1": WHERE}
    with Activations(model, ["3", "1", "labels"]) as T, torch.no_grad():
        slopes = PositionSlopes(model, T)
        for _ in range(2):
            T.run(PICTURES)
            slopes(PICTURES, where)
    assert went == ["1", "1"]


def test_a_lack_of_memory_is_not_taken_for_a_lack_of_forward_mode():
    class Full(nn.Module):
        def forward(self, x):
            if forward_ad._current_level >= 0:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return x

    with pytest.raises(torch.OutOfMemoryError):
        position_attributions(net(Full()), PICTURES, "1", WHERE)


def test_attention_has_a_forward_mode(caplog):
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0)

    class Tokens(nn.Module):
        spec = ModelSpec("tokens", logits="head")

        def __init__(self):
            super().__init__()
            self.patch, self.encoder, self.head = nn.Conv2d(3, 8, 2, 2), encoder, nn.Linear(8, 5)

        def forward(self, x):
            tokens = self.patch(x).flatten(2).transpose(1, 2)
            return self.head(self.encoder(tokens).mean(1))

    torch.manual_seed(0)
    model, picture = Tokens(), torch.rand(2, 3, 6, 6)
    where = torch.tensor([[4], [8]])
    fast = torch.backends.mha.get_fastpath_enabled()
    with caplog.at_level(logging.INFO):
        found = position_attributions(model, picture, "patch", where)
    assert caplog.text == ""
    assert torch.backends.mha.get_fastpath_enabled() == fast
    every = class_attributions(model, picture, "patch").values.flatten(2)
    assert torch.allclose(found[:, 0], every[[0, 1], :, [4, 8]], atol=1e-7)


def test_a_layer_without_positions_has_one():
    found = position_attributions(synthnet(), torch.rand(1, 3, 32, 32), "head", torch.tensor([[0]]))
    logits = class_attributions(synthnet(), torch.rand(1, 3, 32, 32), "mixed4b").logits
    assert found.shape == (1, 1, logits.shape[1])


@pytest.mark.parametrize("where", [[[0]], [[99], [0], [0]], [[-1], [0], [0]], [0, 1, 2]])
def test_positions_that_are_not_there_are_an_error(where):
    with pytest.raises(InputError, match=r"Positions are \(3, n\), from 0 to 29 at '0'"):
        position_attributions(net(), PICTURES, "0", torch.tensor(where))


def test_a_part_cannot_be_attributed():
    model = tiny.Several(lambda *parts: parts)
    with pytest.raises(LayerError, match="nothing can be put in its place"):
        position_attributions(model, PICTURES, "part[0]", WHERE)


def test_logits_that_do_not_depend_on_the_layer_are_an_error():
    model = tiny.Several(lambda first, second: first)
    model.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.forward = lambda x: (model.part(x), model.head(x))[1]
    with pytest.raises(InputError, match="does not depend on the layer 'part'"):
        position_attributions(model, PICTURES, "part", WHERE)


def test_the_model_is_as_before():
    model = net()
    before = tiny.condition(model)
    position_attributions(model, PICTURES, "0", WHERE)
    assert tiny.condition(model) == before
