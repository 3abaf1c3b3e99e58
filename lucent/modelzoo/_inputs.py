"""What images a network takes, as far as its modules tell: channels, pictures or volumes."""

from __future__ import annotations

import warnings
from dataclasses import replace

from torch import nn
from torch.nn.modules.conv import _ConvNd

from lucent.errors import LucentWarning
from lucent.modelzoo.spec import IMAGENET_MEAN, IMAGENET_STD, ModelSpec

_OF_PICTURES = (nn.Conv2d, nn.ConvTranspose2d)
_OF_VOLUMES = (nn.Conv3d, nn.ConvTranspose3d)


def input_form(model: nn.Module) -> tuple[int | None, int | None]:
    """Return the channels and the dimensions of the images that a network takes.

    The first convolution tells, which in a transformer is the patch embedding. A space-to-depth
    layer before it is taken into account.

    Args:
        model: the network, unwrapped.

    Returns:
        Channels, and 2 for pictures or 3 for volumes; None where that cannot be told, as the
        channels of a lazy convolution that has not run yet.
    """
    first, blocks = _first_convolution(model), 1
    for module in model.modules():
        if isinstance(module, nn.PixelUnshuffle):
            blocks *= module.downscale_factor**2
        elif type(module).__name__ == "SpaceToDepth":  # timm's
            blocks *= int(getattr(module, "bs", 1)) ** 2
        elif first is not None and module is first:
            dimensions = 3 if isinstance(module, _OF_VOLUMES) else 2
            # A lazy one counts its inputs when it sees the first of them, and has 0 until then.
            return first.in_channels // blocks or None, dimensions
    return None, None


def _first_convolution(model: nn.Module) -> _ConvNd | None:
    """Return the convolution that sees the image, None if there is none."""
    kinds = _OF_PICTURES + _OF_VOLUMES
    every: list[_ConvNd] = [module for module in model.modules() if isinstance(module, kinds)]
    given = {module.out_channels for module in every}
    colours = [module for module in every if module.in_channels == 3]
    # Modules come in the order of their assignment: a head may be assigned before its stem.
    if colours and 3 not in given and every[0].in_channels in given:
        return colours[0]
    return every[0] if every else None


def completed(spec: ModelSpec, model: nn.Module) -> ModelSpec:
    """Return a spec with channels and dimensions, found in the model where they are not stated.

    Args:
        spec: facts about the model.
        model: the network, unwrapped.
    """
    channels, dimensions = input_form(model)
    return replace(
        spec, channels=spec.channels or channels, dimensions=spec.dimensions or dimensions
    )


def fitted(spec: ModelSpec, model: nn.Module) -> ModelSpec:
    """Return the spec of a published network for one like it that takes other channels.

    It gets the average of the means and that of the standard deviations, with a warning.

    Args:
        spec: with a mean for each of the published network's channels.
        model: the network, unwrapped.
    """
    channels, _ = input_form(model)
    if channels is None or spec.channels in (None, channels):
        return spec
    mean, std = _average(spec.mean), _average(spec.std)
    warnings.warn(
        f"{spec.name} is published for images of {spec.channels} channels, but the first "
        f"convolution of this one takes {channels}: mean {mean} and std {std} are assumed for all, "
        "the averages of the published ones. If it expects others, set model.spec = "
        f"lucent.modelzoo.ModelSpec({spec.name!r}, mean=..., std=..., channels={channels}).",
        LucentWarning,
        stacklevel=3,
    )
    return replace(
        spec, mean=(mean,), std=(std,), channels=channels, color_matrix=None, url=None, sha256=None
    )


def assumed(model: nn.Module) -> ModelSpec:
    """Return what is assumed of a network that nothing is known about, with a warning.

    Of RGB that is ImageNet's normalisation, of other channels the averages of it for all; of
    pictures ImageNet's size, of volumes none.

    Args:
        model: the network, unwrapped.
    """
    name = type(model).__name__
    channels, dimensions = input_form(model)
    rgb, volumes = channels in (None, 3), dimensions == 3
    mean = IMAGENET_MEAN if rgb else (_average(IMAGENET_MEAN),)
    std = IMAGENET_STD if rgb else (_average(IMAGENET_STD),)
    values = "" if rgb else f", averaged to mean {mean[0]} and std {std[0]} in every channel"
    warnings.warn(
        f"Nothing is known about {name}: ImageNet's normalisation{values}"
        f"{' is' if volumes else ' and 224 px are'} assumed. "
        f"If it expects others, set model.spec = lucent.modelzoo.ModelSpec({name!r}, "
        f"{'depth=..., ' if volumes else ''}input_size=(height, width), mean=..., std=...).",
        LucentWarning,
        stacklevel=3,
    )
    size = None if volumes else (224, 224)
    return ModelSpec(name, size, mean=mean, std=std, channels=channels, dimensions=dimensions)


def _average(values: tuple[float, ...]) -> float:
    return round(sum(values) / len(values), 3)
