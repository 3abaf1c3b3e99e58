"""Objectives that compare the images of a batch; each is one number for the whole batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lucent.errors import InputError
from lucent.optvis.objectives.factories import objective
from lucent.optvis.objectives.reading import Acts
from lucent.units import channel_of, mean_per_image, with_channels

#: Images further apart in the batch than this are not aligned, as in Lucid.
_FARTHEST = 4


@objective(whole_batch=True)
def channel_interpolate(layer1: Acts, n_channel1: int, layer2: Acts, n_channel2: int) -> Tensor:
    """From one channel to another along the batch, the sum over the images.

    Image n of N counts (1 - n / (N - 1)) times the mean of the first channel plus n / (N - 1) times
    the mean of the second.

    Args:
        layer1: layer of the channel that the first image shows.
        n_channel1: 0 to C - 1.
        layer2: layer of the channel that the last image shows.
        n_channel2: 0 to C - 1.

    Raises:
        InputError: there is no such channel, or there are not several images.

    Source: Olah et al. 2017, Feature Visualization
    (https://distill.pub/2017/feature-visualization).
    """
    first = mean_per_image(channel_of(_several(layer1, "channel_interpolate"), n_channel1))
    second = mean_per_image(channel_of(layer2, n_channel2))
    return first.lerp(second, _ramp(first)).sum()


@objective(whole_batch=True)
def alignment(layer: Acts, decay_ratio: float = 2) -> Tensor:
    """Likeness of images that are neighbours in the batch: minus their mean square differences.

    It is zero for equal images and negative otherwise, so add it to keep things in their places.

    Args:
        layer: name of a layer that gives (B, ...).
        decay_ratio: images d places apart count 1 / decay_ratio ** d, up to d = 4.

    Raises:
        InputError: there are not several images.

    Source: Mordvintsev et al. 2018, Differentiable Image Parameterizations
    (https://distill.pub/2018/differentiable-parameterizations).
    """
    acts = _several(layer, "alignment")
    apart = range(1, min(_FARTHEST + 1, len(acts)))
    parts = [mean_per_image((acts[:-d] - acts[d:]) ** 2).sum() / decay_ratio**d for d in apart]
    return -torch.stack(parts).sum()


@objective(whole_batch=True)
def diversity(layer: Acts) -> Tensor:
    """Likeness of the channel correlations of all pairs of images, so subtract it for variety.

    It is the cosine of the images' Gram matrices, summed over the other images and averaged over
    the batch: from 0 to B - 1, which equal images have.

    >>> from lucent.optvis import objectives
    >>> objectives.channel("mixed5a", 9) - 1e2 * objectives.diversity("mixed5a")
    <Objective Sum(Channel [mixed5a, 9, None] +
    Diversity [mixed5a])>

    Args:
        layer: name of a layer that gives (B, C) or (B, C, *spatial).

    Raises:
        InputError: there are not several images, or the channel axis of the layer cannot be told.

    Source: Olah et al. 2017, Feature Visualization
    (https://distill.pub/2017/feature-visualization).
    """
    acts = with_channels(_several(layer, "diversity")).reshape(*layer.shape[:2], -1)
    # The floor keeps images without any activation from dividing by zero; 1e-5 is Lucid's.
    grams = F.normalize((acts @ acts.mT).flatten(1), dim=1, eps=1e-5)
    cosines = grams @ grams.T
    return (cosines.sum() - cosines.diagonal().sum()) / len(acts)


def _several(acts: Tensor, name: str) -> Tensor:
    if len(acts) < 2:
        raise InputError(
            f"{name} compares the images of a batch, and this batch has {len(acts)}: make more, "
            "for example with param.image(128, batch=4)."
        )
    return acts


def _ramp(values: Tensor) -> Tensor:
    """Return as many numbers as there are values, from 0 to 1."""
    return torch.arange(len(values), dtype=values.dtype, device=values.device) / (len(values) - 1)
