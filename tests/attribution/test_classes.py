"""Many classes at once: forward mode and reverse mode give the same numbers."""

from __future__ import annotations

import logging

import pytest
import tiny
import torch
from torch import nn

from lucent.attribution import class_attributions, gradient_x_activation
from lucent.errors import InputError, LayerError
from lucent.modelzoo import ModelSpec, synthnet
from lucent.overrides import smoothed_maxpool

N_CLASSES = 40


def net(last=None):
    """Twelve positions or four channels, and forty classes: forward mode pays."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 6, 2), nn.BatchNorm2d(6),
        last or nn.GELU(), nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(N_CLASSES),
    )  # fmt: skip
    model(torch.zeros(1, 3, 6, 5))
    model.spec = ModelSpec("many", labels=[f"class {n}" for n in range(N_CLASSES)])
    return model.eval()


PICTURES = torch.rand(2, 3, 6, 5, generator=torch.Generator().manual_seed(0))
DIRECTIONS = torch.rand(3, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("by", ["positions", "channels", DIRECTIONS], ids=["yx", "c", "g"])
@pytest.mark.parametrize("batch_size", [5, 64])
def test_both_modes_give_the_same_numbers(by, batch_size):
    options = {"by": by, "batch_size": batch_size}
    forward = class_attributions(net(), PICTURES, "0", **options)
    assert forward.mode == "forward"
    some = [7, "class 31"]
    reverse = class_attributions(net(), PICTURES, "0", labels=some, **options)
    assert reverse.mode == "reverse"
    for name in ("values", "logits", "total"):
        whole, part = getattr(forward, name), getattr(reverse, name)
        assert torch.allclose(whole[:, [7, 31]], part, atol=1e-6)
    assert reverse.classes == (7, 31)
    assert reverse.labels == ("class 7", "class 31")


def test_each_class_is_attributed_as_it_would_be_alone():
    found = class_attributions(net(), PICTURES, "0")
    alone = gradient_x_activation(net(), PICTURES, 12, "0")
    assert torch.allclose(found.values[:, 12], alone.spatial(), atol=1e-6)
    assert torch.allclose(found.total[:, 12], alone.total, atol=1e-6)
    assert torch.allclose(found.logits[:, 12], alone.score)
    channels = class_attributions(net(), PICTURES, "0", by="channels")
    assert torch.allclose(channels.values[:, 12], alone.channels(), atol=1e-6)
    directions = class_attributions(net(), PICTURES, "0", by=DIRECTIONS)
    assert torch.allclose(directions.values[:, 12], alone.along(DIRECTIONS), atol=1e-6)


def test_the_embedded_network_in_either_mode():
    model, picture = synthnet(), torch.rand(1, 3, 24, 24)
    forward = class_attributions(model, picture, "mixed4a")  # 3 x 3 positions
    reverse = class_attributions(model, picture, "mixed4a", labels=["checker"])
    assert (forward.mode, reverse.mode) == ("forward", "reverse")
    (index,) = reverse.classes
    assert torch.allclose(forward.values[:, index], reverse.values[:, 0], atol=1e-5)


class NoForward(torch.autograd.Function):
    """The identity, of which there is no derivative in forward mode."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad


def test_what_has_no_forward_mode_is_done_in_reverse(caplog):
    with caplog.at_level(logging.INFO, logger="lucent"):
        found = class_attributions(net(tiny.Calling(NoForward.apply)), PICTURES, "0")
    assert found.mode == "reverse"
    assert "Class attributions go on in reverse mode: " in caplog.text
    expected = class_attributions(net(nn.Identity()), PICTURES, "0")
    assert expected.mode == "forward"
    assert torch.allclose(found.values, expected.values, atol=1e-6)


def test_an_override_of_gradients_is_not_passed_over():
    plain = class_attributions(net(), PICTURES, "0")
    with smoothed_maxpool(model := net()):
        found = class_attributions(model, PICTURES, "0")
        alone = gradient_x_activation(model, PICTURES, 5, "0")
    assert found.mode == "reverse"
    assert torch.allclose(found.values[:, 5], alone.spatial(), atol=1e-6)
    assert not torch.allclose(found.values, plain.values)


def test_the_model_is_as_before():
    model = net().train()
    before = tiny.condition(model)
    class_attributions(model, PICTURES, "0")
    assert tiny.condition(model) == before


@pytest.mark.parametrize(
    ("layer", "options", "error", "says"),
    [
        ("0", {"labels": []}, InputError, "The list of classes is empty"),
        ("0", {"labels": ["wolf"]}, InputError, "has no label 'wolf'"),
        ("0", {"labels": [N_CLASSES]}, InputError, "There is no class 40: the network has 40"),
        ("0", {"by": "pixels"}, InputError, "by='pixels' is unknown"),
        ("0", {"by": torch.ones(2, 5)}, InputError, r"\(G, 4\) is needed"),
        ("6", {}, LayerError, "The layer '6' gives .* has no positions"),
    ],
)
def test_what_cannot_be_used_is_told_so(layer, options, error, says):
    with pytest.raises(error, match=says):
        class_attributions(net(), PICTURES, layer, **options)


def test_one_label_is_a_list_of_one():
    found = class_attributions(synthnet(), torch.rand(1, 3, 64, 64), "mixed4b", labels="star")
    assert found.labels == ("star",)
    assert found.values.shape[1] == 1
