"""What the speed is measured on: networks, layers, sizes.

The networks have random weights, so that nothing is downloaded: a step takes as long with one set
of weights as with another, as long as the signal neither vanishes nor becomes denormal numbers,
which a processor computes slowly. He's initialisation keeps it alive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lucent.modelzoo import inceptionv1, synthnet
from lucent.modelzoo.spec import spec_of
from lucent.optvis.objectives import Objective, channel
from lucent.optvis.param import Image
from lucent.optvis.render import default_image

SEED = 0


@dataclass(frozen=True)
class Workload:
    """A unit of a network to be rendered.

    Attributes:
        build: makes the network, in eval mode.
        layer: name of the unit's layer, as `render_vis` takes it.
        unit: number of the unit, one that is not dead on the start image.
        size: side of the image in pixels.
        seen: side of what the network sees of it.
        tokens: the layer gives (B, tokens, features), the class token first, not (B, C, H, W).
        pace: how many steps of it to do where another workload does one.
    """

    build: Callable[[], nn.Module]
    layer: str
    unit: int
    size: int = 128
    seen: int = 224
    tokens: bool = False
    pace: int = 1

    @property
    def objective(self) -> Objective:
        """What `render_vis` maximises; the floor and the naive way maximise `score`."""
        return channel(self.layer, self.unit)

    def score(self, acts: Tensor) -> Tensor:
        """Return the mean of the unit over all positions, ()."""
        return (acts[:, 1:, self.unit] if self.tokens else acts[:, self.unit]).mean()

    def image(self, model: nn.Module, batch: int) -> Image:
        """Return the image that `render_vis` makes of the network's spec."""
        return default_image(spec_of(model), self.size, batch=batch)


def he_initialised(model: nn.Module) -> nn.Module:
    """Draw the weights so that activations keep their size from layer to layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
    return model.eval()


def _torchvision(name: str) -> nn.Module:
    from torchvision.models import get_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model: nn.Module = get_model(name, weights=None)
    # A transformer's own small weights are what its residual stream was made for.
    return model.eval() if name.startswith("vit") else he_initialised(model)


def _inceptionv1() -> nn.Module:
    return he_initialised(inceptionv1())


def _resnet50() -> nn.Module:
    return _torchvision("resnet50")


def _vit() -> nn.Module:
    return _torchvision("vit_b_16")


WORKLOADS = {
    "inceptionv1 mixed4a": Workload(_inceptionv1, "mixed4a", 471),
    "resnet50 layer1": Workload(_resnet50, "layer1", 7, pace=2),
    "resnet50 layer2": Workload(_resnet50, "layer2", 7),
    "resnet50 layer4": Workload(_resnet50, "layer4", 7),
    "vit_b_16 block 6": Workload(_vit, "encoder.layers.encoder_layer_6", 7, tokens=True),
    "synthnet mixed4a": Workload(synthnet, "mixed4a", 215, size=96, seen=96, pace=10),
}
