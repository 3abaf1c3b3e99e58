"""Objectives about the image itself, most of them to be subtracted: noise, size, distance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import EllipsisType

import torch
from torch import Tensor
from torch.nn import functional as F

from lucent.errors import InputError
from lucent.optvis.objectives.factories import objective
from lucent.optvis.objectives.reading import Acts, Input
from lucent.units import (
    IMAGE,
    Values,
    channel_vector,
    fitted,
    mean_per_image,
    spread,
    whole,
)
from lucent.util import without_autocast


@objective(mapped=True)
def total_variation(layer: Acts = IMAGE) -> Tensor:
    """Sum of the absolute differences of neighbouring positions, also over the batch.

    Subtract it to keep noise out.

    Args:
        layer: name of a layer that gives (B, C, *spatial), by default the image.
        batch: the image it is about; None takes the sum over the batch.

    Raises:
        InputError: the layer has no positions.

    Source: Mahendran and Vedaldi 2015, Understanding Deep Image Representations by Inverting Them
    (https://arxiv.org/abs/1412.0035).
    """
    if layer.dim() < 4:
        raise InputError(
            f"Total variation needs a layer with neighbouring positions, (B, C, H, W), not "
            f"{tuple(layer.shape)}."
        )
    steps = [layer.diff(dim=axis).abs().sum() for axis in range(2, layer.dim())]
    return torch.stack(steps).sum()


@objective(mapped=True)
def L1(layer: Acts = IMAGE, constant: Values | float = 0) -> Tensor:
    """Sum of the absolute differences from a constant, also over the batch; subtract it.

    Args:
        layer: name of a layer, by default the image.
        constant: a number, or numbers in a shape that broadcasts to the layer's.
        batch: the image it is about; None takes the sum over the batch.

    Raises:
        InputError: the constant does not fit the layer.
    """
    return (layer - spread(constant, layer, "constant")).abs().sum()


@objective(mapped=True)
def L2(layer: Acts = IMAGE, constant: Values | float = 0, epsilon: float = 1e-6) -> Tensor:
    """Root of epsilon plus the sum of squared differences from a constant; subtract it.

    The sum also goes over the batch.

    Args:
        layer: name of a layer, by default the image.
        constant: a number, or numbers in a shape that broadcasts to the layer's.
        epsilon: keeps the gradient finite where there is no difference.
        batch: the image it is about; None takes the sum over the batch.

    Raises:
        InputError: the constant does not fit the layer.
    """
    squares = (layer - spread(constant, layer, "constant")) ** 2
    return (epsilon + squares.sum()).sqrt()


@objective(mapped=True)
def blur_input_each_step(image: Input) -> Tensor:
    """Half the squared distance of the image from a blurred copy; subtract it to blur.

    The copy counts as a constant, so the gradient is the image minus the copy: a step of size k
    against it is a blend of the image with k of its blur.

    Args:
        batch: the image it is about; None takes the sum over the batch.

    Source: Nguyen et al. 2015, Deep Neural Networks are Easily Fooled
    (https://arxiv.org/abs/1412.1897).
    """
    return _sharpness(image)


@objective(mapped=True)
def blur_alpha_each_step(image: Input) -> Tensor:
    """Half the squared distance of the alpha channel from a blurred copy; subtract it to blur.

    Args:
        batch: the image it is about; None takes the sum over the batch.

    Raises:
        InputError: the image has no alpha channel.

    Source: Mordvintsev et al. 2018, Differentiable Image Parameterizations
    (https://distill.pub/2018/differentiable-parameterizations).
    """
    return _sharpness(_alpha_of(image))


@objective(mapped=True)
def penalize_boundary_complexity(
    image: Input,
    shp: Sequence[int] | None = None,
    w: int = 20,
    mask: Values | None = None,
    C: Values | float = 0.5,
) -> Tensor:
    """Calm of the border of the image: minus its squared distance from its blur and a colour.

    It is the sum of (blur - image)² + 0.8 (image - C)² over the border and the batch, negative, so
    add it.

    Args:
        shp: Lucid's first argument, the shape of the image; it need not be given.
        w: width of the border, in pixels; without effect where there is a mask.
        mask: where to look and how much, in a shape that broadcasts to the image's.
        C: the colour, one value or one per channel, in [0, 1].
        batch: the image it is about; None takes the sum over the batch.

    Raises:
        InputError: the image has another shape than `shp`, or another argument does not fit it.

    Source: Carter et al. 2019, Activation Atlas (https://distill.pub/2019/activation-atlas).
    """
    if shp is not None and tuple(shp)[1:] != image.shape[1:]:
        raise InputError(
            f"shp={tuple(shp)} is not the shape of the image, {tuple(image.shape)}: leave it out."
        )
    where = _border(image, w) if mask is None else spread(mask, image, "mask")
    color = fitted(C, image, "C")
    color = channel_vector(color, image, "C") if color.dim() else color
    complexity = (blur(image, 5) - image) ** 2 + 0.8 * (image - color) ** 2
    return -(where * complexity).sum()


@objective(mapped=True)
def input_diff(image: Input, orig_img: Values) -> Tensor:
    """Root of the mean squared difference from a given image; subtract it to stay near.

    The mean goes over the batch, too. Where there is no difference, the gradient is zero.

    Args:
        orig_img: in a shape that broadcasts to the image's, (C, H, W) or (B, C, H, W).
        batch: the image it is about; None takes the mean over the batch.

    Raises:
        InputError: the given image does not fit.

    Source: Lucid, `objectives.input_diff` (https://github.com/tensorflow/lucid).
    """
    return root_mean_square(image - spread(orig_img, image, "orig_img"))


@objective(mapped=True)
def transparency(image: Input) -> Tensor:
    """Mean transparency of the image, 0 to 1: 1 minus the mean of its alpha channel.

    Args:
        batch: the image it is about; None takes the mean over the batch.

    Raises:
        InputError: the image has no alpha channel.

    Source: Mordvintsev et al. 2018, Differentiable Image Parameterizations
    (https://distill.pub/2018/differentiable-parameterizations).
    """
    return 1 - mean_per_image(_alpha_of(image))


def root_mean_square(values: Tensor) -> Tensor:
    """Return the root of the mean square, 0-d, whose gradient at zero is zero."""
    return torch.linalg.vector_norm(values) / math.sqrt(values.numel())


def blur(image: Tensor, size: int = 3) -> Tensor:
    """Return an image blurred by Lucid's kernel: 1 inside, 0.5 on the rim, scaled to a sum of 1.

    The part of the kernel that lies beyond the edge does not count, so a plain image stays as it
    is.

    Args:
        image: (B, C, H, W) or (B, C, D, H, W).
        size: of the kernel, odd.

    Source: Lucid, `objectives._tf_blur` (https://github.com/tensorflow/lucid).
    """
    axes = image.dim() - 2
    kernel = image.new_full((1, 1, *[size] * axes), 0.5)
    _inner(kernel, 1).fill_(1)
    planes = image.flatten(0, 1)[:, None]
    convolve = F.conv2d if axes == 2 else F.conv3d
    with without_autocast(image.device):
        total = convolve(torch.ones_like(planes[:1]), kernel, padding=size // 2)
        return (convolve(planes, kernel, padding=size // 2) / total).view_as(image)


def _sharpness(image: Tensor) -> Tensor:
    return 0.5 * ((image - blur(image).detach()) ** 2).sum()


def _alpha_of(image: Tensor) -> Tensor:
    if image.shape[1] != 4:
        raise InputError(
            f"The image has {image.shape[1]} channels and no alpha: make it with "
            "param.image(128, alpha=True)."
        )
    return image[:, 3:]


def _border(image: Tensor, width: int) -> Tensor:
    """Return 1 within so many pixels of an edge and 0 elsewhere."""
    if whole(width, "w") < 1:
        raise InputError(f"w={width} has to be the width of a border, at least 1 pixel.")
    border = torch.ones_like(image)
    _inner(border, width).zero_()
    return border


def _inner(tensor: Tensor, width: int) -> Tensor:
    """Return a view of what is further than so many positions from every edge."""
    index: tuple[EllipsisType | slice, ...] = (..., *[slice(width, -width)] * (tensor.dim() - 2))
    return tensor[index]
