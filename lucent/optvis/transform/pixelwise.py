"""Transforms of values: normalisation, noise, blur, transparency, and of the gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lucent.errors import InputError
from lucent.optvis._spectrum import COLOR_CORRELATION_SVD_SQRT, correlated, natural_noise
from lucent.optvis.transform.draws import (
    Generator,
    bounds,
    draw_dtype,
    finite_numbers,
    no_draw,
    normal,
    uniform,
)
from lucent.optvis.transform.kinds import RandomTransform
from lucent.util import constant, without_autocast


@dataclass(frozen=True)
class Normalize:
    """Subtracts a mean and divides by a standard deviation, channel by channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, image: Tensor) -> Tensor:
        """Return the normalised image, (B, C, H, W).

        Raises:
            InputError: the image has another number of channels.
        """
        if len(self.mean) not in (1, image.shape[1]):
            raise InputError(
                f"{self!r} takes images (B, {len(self.mean)}, H, W), not a tensor of shape "
                f"{tuple(image.shape)}: collapse_alpha_random() makes RGB of RGBA."
            )
        mean, std = (
            constant(values, like=image).view(-1, *[1] * (image.dim() - 2))
            for values in (self.mean, self.std)
        )
        return (image - mean) / std


@dataclass(frozen=True)
class Noise(RandomTransform):
    """Adds noise to every value."""

    sd: float
    uniform: float
    volumes = True

    def sample(self, image: Tensor, generator: Generator, rows: int = 1) -> Tensor:
        """Return the noise, (rows, C, *spatial)."""
        shape = rows, *image.shape[1:]
        return self.sd * normal(image, shape, generator) + uniform(
            image, shape, generator, -self.uniform, self.uniform
        )

    def apply(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the image with the noise."""
        return image + draw.to(image.dtype)


@dataclass(frozen=True)
class GaussianBlur(RandomTransform):
    """Blurs; the width may be random."""

    sigma: tuple[float, float]
    volumes = True

    def sample(self, image: Tensor, generator: Generator, rows: int = 1) -> Tensor:
        """Return the standard deviation in pixels, uniform in its range, (rows, 1)."""
        return uniform(image, (rows, 1), generator, *self.sigma)

    def apply(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the blurred image; weights add up to 1 at the border, too."""
        for axis in range(2, image.dim()):
            n = image.shape[axis]
            place = torch.arange(n, dtype=draw.dtype, device=draw.device)
            distance = (place - place[:, None]) / draw[:, :, None]
            # Normalised exponentials of -distance^2 / 2, so the softmax of the exponents.
            weights = (distance.square() / -2).softmax(dim=-1).to(image.dtype)
            weights = weights.view(-1, *[1] * (image.dim() - 3), n, n)
            with without_autocast(image.device):
                image = (weights @ image.movedim(axis, -2)).movedim(-2, axis)
        return image


@dataclass(frozen=True)
class NormalizeGradient(RandomTransform):
    """Leaves images as they are and gives the gradient of each a certain length."""

    scales: tuple[float, ...]
    volumes = True

    def check(self, image: Tensor) -> None:
        """Refuse a batch of another size than the list of lengths."""
        super().check(image)
        if len(self.scales) not in (1, len(image)):
            raise InputError(
                f"normalize_gradient has {len(self.scales)} lengths for a batch of {len(image)}: "
                "give one for each image, or one for all."
            )

    def apply(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the image."""
        same = image.view_as(image)
        if same.requires_grad:
            same.register_hook(self.normalized)
        return same

    def normalized(self, gradient: Tensor) -> Tensor:
        """Return the gradient in the lengths wanted; one that is zero stays so."""
        axes = tuple(range(1, gradient.dim()))
        length = torch.linalg.vector_norm(
            gradient, dim=axes, keepdim=True, dtype=draw_dtype(gradient)
        )
        wanted = constant(self.scales, like=length).view(-1, *[1] * len(axes))
        factor = torch.where(length > 0, wanted / length, 0)
        return (gradient * factor).to(gradient.dtype)


@dataclass(frozen=True)
class CollapseAlphaRandom(RandomTransform):
    """Puts a picture with alpha in front of noise that looks like natural images."""

    sd: float

    def check(self, image: Tensor) -> None:
        """Refuse what is not RGBA."""
        super().check(image)
        if image.shape[1] != 4:
            raise InputError(
                f"collapse_alpha_random needs images of 4 channels, RGB and alpha, not of "
                f"{image.shape[1]}: make one with param.image(..., alpha=True)."
            )

    def sample(self, image: Tensor, generator: Generator, rows: int = 1) -> Tensor:
        """Return the backgrounds, (rows, 3, H, W), in [0, 1]."""
        shape = rows, 3, *image.shape[2:]
        noise = natural_noise(shape, sd=self.sd, generator=generator, like=no_draw(image))
        return correlated(noise, COLOR_CORRELATION_SVD_SQRT).sigmoid()

    def apply(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the picture in front of the background, (B, 3, H, W)."""
        rgb, alpha = image[:, :3], image[:, 3:]
        return alpha * rgb + (1 - alpha) * draw.to(image.dtype)


def normalize() -> Callable[[Tensor], Tensor]:
    """Return the normalisation of torchvision's ImageNet networks, for images in [0, 1]."""
    return Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def preprocess_inceptionv1() -> Callable[[Tensor], Tensor]:
    """Return the map of [0, 1] to [-117, 138] that InceptionV1 was trained on."""
    return Normalize((117 / 255,), (1 / 255,))


def noise(sd: float = 0.08, *, uniform: float | None = None) -> RandomTransform:
    """Add normal and uniform noise to every value.

    Args:
        sd: standard deviation of the normal part, in units of the image's values. The default is
            xplique's.
        uniform: the uniform part lies between minus and plus this; None is half of `sd`, as in
            Horama, faccent and xplique.

    Raises:
        InputError: a number is negative or not finite.
    """
    values = finite_numbers((sd, sd / 2 if uniform is None else uniform), "noise")
    if min(values) < 0:
        raise InputError(f"noise got {min(values)}: widths have to be 0 or more.")
    return Noise(*values)


def gaussian_blur(sigma: float | Sequence[float]) -> RandomTransform:
    """Blur with a Gaussian, normalised at the border.

    Args:
        sigma: standard deviation in pixels, or (lowest, highest) of a uniform distribution.

    Raises:
        InputError: the standard deviation is not positive, or the range is empty.
    """
    ends = bounds(sigma, "gaussian_blur")
    if ends[0] <= 0:
        raise InputError(f"gaussian_blur got sigma={sigma!r}: it has to be positive.")
    return GaussianBlur(ends)


def normalize_gradient(grad_scales: float | Sequence[float] | None = None) -> RandomTransform:
    """Leave images as they are and give the gradient of each a certain length.

    Args:
        grad_scales: L2 norm of the gradient of each image, one or a list; None is 1. An image whose
            gradient is zero keeps it.

    Raises:
        InputError: a length is negative or not finite.
    """
    given = 1.0 if grad_scales is None else grad_scales
    values = finite_numbers(np.ravel(given).tolist(), "normalize_gradient")
    if min(values) < 0:
        raise InputError(
            f"normalize_gradient got the length {min(values)}: lengths have to be 0 or more."
        )
    return NormalizeGradient(values)


def collapse_alpha_random(sd: float = 0.5) -> RandomTransform:
    """Put a picture with alpha in front of noise that looks like natural images, anew in each step.

    What is transparent then looks like anything but the picture, so that only what matters to the
    score stays opaque. Where it stands in a list of transforms matters: pads and rotations before
    it add an alpha channel of the values that they fill with.

    Args:
        sd: standard deviation of the noise's Fourier coefficients before they are scaled.

    Raises:
        InputError: the standard deviation is negative or not finite.

    Source: Mordvintsev et al. 2018, Differentiable Image Parameterizations
    (https://distill.pub/2018/differentiable-parameterizations).
    """
    if not (math.isfinite(sd) and sd >= 0):
        raise InputError(f"collapse_alpha_random got sd={sd}: it has to be 0 or more.")
    return CollapseAlphaRandom(float(sd))
