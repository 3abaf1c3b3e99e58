"""Transforms of values: normalisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from lucent.util import constant


@dataclass(frozen=True)
class Normalize:
    """Subtracts a mean and divides by a standard deviation, channel by channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, image: Tensor) -> Tensor:
        """Return the normalised image, (B, C, H, W)."""
        mean, std = (
            constant(values, like=image).view(-1, *[1] * (image.dim() - 2))
            for values in (self.mean, self.std)
        )
        return (image - mean) / std


def normalize() -> Callable[[Tensor], Tensor]:
    """Return the normalisation of torchvision's ImageNet networks, for images in [0, 1]."""
    return Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def preprocess_inceptionv1() -> Callable[[Tensor], Tensor]:
    """Return the map of [0, 1] to [-117, 138] that InceptionV1 was trained on."""
    return Normalize((117 / 255,), (1 / 255,))
