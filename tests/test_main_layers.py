"""The layers that everything passes through, on networks whose graph is known."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lucent.errors import InputError
from lucent.layers import main_layers
from lucent.modelzoo import load

KNOWN = {
    "synthnet": "conv1 conv2 mixed3a mixed3b mixed4a mixed4b head",
    "synthvit": "patch_embed.proj blocks.0 blocks.1 blocks.2 blocks.3 head",
    "inceptionv1": "conv2d0 conv2d1 conv2d2 mixed3a mixed3b mixed4a mixed4b mixed4c mixed4d "
    "mixed4e mixed5a mixed5b softmax2",
    "torchvision/resnet18": "relu layer1.0 layer1.1 layer2.0 layer2.1 layer3.0 layer3.1 layer4.0 "
    "layer4.1 fc",
    "torchvision/squeezenet1_0": "features.1 features.3 features.4 features.5 features.7 "
    "features.8 features.9 features.10 features.12 classifier.2",
    "timm/vit_tiny_patch16_224": "patch_embed.proj "
    + " ".join(f"blocks.{n}" for n in range(12))
    + " head",
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_networks_have_their_known_stages(name):
    model = load(name, pretrained=False)
    side = 96 if name.startswith("synth") else 224
    assert main_layers(model, torch.zeros(1, 3, side, side)) == tuple(KNOWN[name].split())


class Skipping(nn.Module):
    """A block with a way around it, whose nonlinearity is in place."""

    def __init__(self, *, skip):
        super().__init__()
        self.inner, self.after, self.relu = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.ReLU(True)
        self.skip = skip

    def forward(self, image):
        found = self.after(self.relu(self.inner(image)))
        return self.relu(found + image if self.skip else found)


def test_a_way_around_hides_what_is_inside():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), Skipping(skip=True))
    assert main_layers(net, torch.zeros(2, 3, 4, 4)) == ("1", "2")


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.left, self.right = (nn.Conv2d(n, 3, 1) for n in (3, 3, 3))
        self.drop, self.head = nn.Dropout(), nn.Conv2d(6, 2, 1)

    def forward(self, image):
        stem = self.stem(image)
        return {"map": self.head(self.drop(torch.cat([self.left(stem), self.right(stem)], 1)))}


def test_branches_are_left_out_and_dropout_is_no_layer():
    net = Branches().train()
    weights = list(net.parameters())
    assert main_layers(net, torch.zeros(1, 3, 4, 4)) == ("stem", "head")
    assert net.training
    assert all(weight.requires_grad and weight.grad is None for weight in weights)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


class Detached(nn.Module):
    def forward(self, image):
        return image.detach() * 2


def test_a_network_without_gradients_is_an_error_that_says_what_to_do():
    with pytest.raises(InputError, match=r"Detached.*name the layers"):
        main_layers(Detached(), torch.zeros(1, 3, 4, 4))
