"""Presets: where a rendering takes the parts from that the caller says nothing about."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.conv import _ConvNd

from lucent.errors import InputError
from lucent.layers import unwrap
from lucent.modelzoo._inputs import input_form
from lucent.modelzoo.spec import ModelSpec
from lucent.optvis.objectives import Objective, total_variation
from lucent.optvis.param import Image
from lucent.optvis.settings import OptimizerFactory
from lucent.optvis.transform import (
    RandomTransform,
    color_jitter,
    color_offset,
    roll,
    scheduled,
    standard_transforms,
)
from lucent.optvis.transform.base import Transform

__all__ = ["PLAIN", "PRESETS", "VIT", "Fading", "Preset", "is_transformer"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preset:
    """A way to render; parts that are None are those that `render_vis` takes for any network.

    A changed one is made with `dataclasses.replace(VIT, draws=2)`.

    Attributes:
        name: what the log calls it.
        transforms: from the number of steps of a run to its transforms.
        optimizer: from the number of steps of a run to what makes its optimizer.
        image: from a model's spec to the image.
        penalty: subtracted from every objective.
        draws: independent draws of the transforms per step, at least 1.
    """

    name: str
    transforms: Callable[[int], Sequence[Transform]] | None = None
    optimizer: Callable[[int], OptimizerFactory] | None = None
    image: Callable[[ModelSpec], Image] | None = None
    penalty: Objective | None = None
    draws: int = 1


@dataclass(frozen=True)
class Fading:
    """A shift of whole channels that falls to 0 on a straight line; a schedule of transforms.

    Attributes:
        sd: standard deviation of the shift in the first step, in units of the image's values.
        steps: number of the step from which on it is 0.
    """

    sd: float
    steps: int

    def __call__(self, step: int) -> RandomTransform:
        """Return the transform after so many steps."""
        return color_offset(self.sd * max(0.0, 1 - step / max(self.steps, 1)))


@dataclass(frozen=True)
class ViTTransforms:
    """What a picture for a vision transformer must survive, the standard transforms included.

    Attributes:
        mean: width of the jitter of each channel's mean, as in `color_jitter`.
        log_std: width of that of its standard deviation, as there.
        offset: standard deviation of the shift of channels in the first step; it fades.
        pixels: largest shift of the picture, whose sides meet.
    """

    mean: float
    log_std: float
    offset: float
    pixels: int

    def __call__(self, steps: int) -> list[Transform]:
        """Return the transforms of a run of so many steps."""
        offset = scheduled(Fading(self.offset, steps))
        colors: list[Transform] = [color_jitter(self.mean, self.log_std), offset]
        return [*colors, roll(self.pixels), *standard_transforms]


#: Lucid's way: image by the model's spec, its standard transforms, Adam.
PLAIN = Preset("plain")
#: For vision transformers: the parts of Ghiasi et al. 2022, What do Vision Transformers Learn? A
#: Visual Exploration (https://arxiv.org/abs/2212.06727). Where it leaves them, pictures of SynthViT
#: scored better against what is known about its world (benchmarks/README.md): the image is plain's
#: instead of pixels, colours are jittered by a quarter and shifted by half, the standard transforms
#: follow, half the draws do, and Adam is plain's, whose learning rate stays.
VIT = Preset(
    "vit",
    transforms=ViTTransforms(mean=0.25, log_std=0.25, offset=0.25, pixels=32),
    penalty=3e-4 * total_variation(),
    draws=4,
)
PRESETS = {preset.name: preset for preset in (PLAIN, VIT)}


def chosen(preset: Preset | str | None, model: nn.Module | None) -> Preset:
    """Return the preset that a rendering is done with.

    Args:
        preset: it or its name; None leaves it to the model.
        model: the network, None where the caller has chosen parts of the rendering himself.

    Raises:
        InputError: there is no such preset.
    """
    if isinstance(preset, Preset):
        return preset
    if preset is None:
        if model is None or not is_transformer(model):
            return PLAIN
        name = type(unwrap(model)).__name__
        # It takes several times as long, so it is said where nothing is configured, too.
        logger.warning(
            "%s is a vision transformer: it is rendered with preset='vit', %d draws a step; "
            "preset='plain' does without.",
            name,
            VIT.draws,
        )
        return VIT
    if preset not in PRESETS:
        raise InputError(
            f"preset={preset!r} is unknown: it is one of {sorted(PRESETS)}, a "
            "lucent.optvis.presets.Preset, or None."
        )
    return PRESETS[preset]


def is_transformer(model: nn.Module) -> bool:
    """Tell whether a network looks at pictures by self-attention, as vision transformers do.

    It is one with at least two modules of attention, by the names of their classes, more linear
    layers than convolutions, and no batch norm; of CLIP models the image tower counts. Those of
    volumes and videos are none.

    Args:
        model: the network; it is only read.
    """
    network = unwrap(model)
    # The towers of open_clip's and of transformers' models.
    towers = (getattr(network, name, None) for name in ("visual", "vision_model"))
    tower = next((tower for tower in towers if isinstance(tower, nn.Module)), network)
    modules = list(tower.modules())
    names = [type(module).__name__.lower() for module in modules]
    linear, convolutions = (
        sum(isinstance(module, kind) for module in modules) for kind in (nn.Linear, _ConvNd)
    )
    return (
        sum("attention" in name or "attn" in name for name in names) >= 2
        and linear > convolutions
        and not any("batchnorm" in name for name in names)
        and input_form(tower)[1] != 3
    )
