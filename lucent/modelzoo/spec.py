"""What a network expects and knows, as data: `ModelSpec` and `spec_of`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, fields
from importlib import resources
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lucent.errors import InputError, LucentWarning
from lucent.labels import label_index
from lucent.layers import LABELS, unwrap
from lucent.util import constant

# Of ImageNet's training images in [0, 1]: what nearly every network trained on them expects.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_COLLAPSE = "; an image with alpha needs transform.collapse_alpha_random() among its transforms"


@dataclass(frozen=True)
class ModelSpec:
    """Facts about a network that rendering, captions and downloads need.

    Describe a network of your own with `model.spec = ModelSpec(...)`. The defaults are those of one
    that takes images in [0, 1] as they are.

    >>> spec = ModelSpec("mine", mean=(0.5,) * 3, std=(0.25,) * 3, labels=("cat", "dog, hound"))
    >>> spec.preprocess(torch.full((1, 3, 2, 2), 0.75)).unique().item()
    1.0
    >>> spec.label_index("Hound")
    1
    """

    name: str  # how the registry and captions call the network
    input_size: tuple[int, int] | None = None  # (height, width) that it was trained on, None = any
    fixed_size: bool = False  # it accepts input_size only, as vision transformers do
    value_range: tuple[float, float] = (0.0, 1.0)  # where image values 0 and 1 are mapped to, first
    mean: tuple[float, ...] = (0.0,)  # subtracted after that; one per channel, or one for all
    std: tuple[float, ...] = (1.0,)  # divided by last; one per channel, or one for all
    # class names in the order of the logits
    labels: tuple[str, ...] = field(default=(), repr=False)
    logits: str | None = None  # dotted name of the layer that gives class logits, None = the output
    # further layer names, each with the dotted name that it stands for
    aliases: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    # square root of the colour covariance of the training images, one row for each of R, G, B
    color_matrix: tuple[tuple[float, ...], ...] | None = None
    decay_power: float | None = None  # p of the 1/f^p amplitude of the training images
    image_size: int | None = None  # side in pixels of the image rendered when no size is given
    url: str | None = None  # where the weights are fetched from
    sha256: str | None = None  # of that file, in hexadecimal; a leading part will do
    licence: str | None = None  # of the weights: SPDX name or link
    paper: str | None = None  # link to the paper that describes the network

    def __post_init__(self) -> None:
        for fact in fields(self):
            object.__setattr__(self, fact.name, _hashable(getattr(self, fact.name)))
        if len({len(self.mean), len(self.std)} - {1}) > 1 or 0 in self.std:
            raise InputError(
                f"The spec of {self.name} has mean {self.mean} and std {self.std}: give as many of "
                "one as of the other (or a single one for all channels), and no std of 0."
            )

    @property
    def layer_aliases(self) -> dict[str, str]:
        """Further names of layers, "labels" for the class logits among them."""
        return {**dict(self.aliases), LABELS: self.logits or ""}

    def preprocess(self, image: Tensor) -> Tensor:
        """Bring an image to the values that the network was trained on; the size stays as it is.

        Args:
            image: (B, C, *spatial), any floating dtype and device, values in [0, 1].

        Raises:
            InputError: the dtype is not floating, or there are other channels than the spec has
                means.
        """
        self._check(image)
        low, high = self.value_range
        mean, std = (
            values * self._n_channels if len(values) == 1 else values
            for values in (self.mean, self.std)
        )
        scale = [(high - low) / s for s in std]
        shift = [(low - m) / s for m, s in zip(mean, std, strict=True)]
        constants = constant([scale, shift], like=image)
        scales, shifts = constants.view(2, self._n_channels, *[1] * (image.dim() - 2))
        return torch.addcmul(shifts, image, scales)

    @property
    def _n_channels(self) -> int:
        return max(len(self.mean), len(self.std))

    def _check(self, image: Tensor) -> None:
        if not image.is_floating_point():
            raise InputError(
                f"{self.name} was given an image of {image.dtype}, but takes floating values in "
                "[0, 1]: convert bytes with image.float() / 255."
            )
        if image.dim() < 2 or self._n_channels not in (1, image.shape[1]):
            channels = self._n_channels if self._n_channels > 1 else "C"
            raise InputError(
                f"{self.name} takes images (B, {channels}, *spatial), but was given the shape "
                f"{tuple(image.shape)}: make the image with that many channels, or set model.spec"
                f"{_COLLAPSE if image.dim() > 1 and image.shape[1] == 4 else ''}."
            )

    def label_index(self, text: str) -> int:
        """Return the index of the class with this label or synonym, or with it as a part.

        Raises:
            InputError: no label or several fit, or the network has no labels.
        """
        return label_index(self.labels, text, self.name)


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


def read_labels(name: Literal["imagenet", "inception5h"]) -> tuple[str, ...]:
    """Return ImageNet's class names, in torchvision's order or that of InceptionV1's outputs.

    >>> read_labels("imagenet")[208]
    'Labrador retriever'
    """
    path = resources.files("lucent.modelzoo") / "labels" / f"{name}.txt"
    return tuple(path.read_text(encoding="utf-8").splitlines())


def spec_of(model: nn.Module) -> ModelSpec:
    """Return what is known about a network.

    A `ModelSpec` in the attribute `spec` of the model comes first; torchvision's networks follow,
    with what the transforms of their published weights say; any other network is treated like those
    trained on ImageNet, with a warning. DataParallel and compiled wrappers are looked through.

    Args:
        model: the network itself; it is only read.
    """
    from lucent.modelzoo import _torchvision  # it builds ModelSpecs, so it cannot come first

    if isinstance(spec := getattr(model, "spec", None), ModelSpec):
        return spec
    network = unwrap(model)
    if isinstance(spec := getattr(network, "spec", None), ModelSpec):
        return spec
    if torchvision_spec := _torchvision.spec_of(network):
        return torchvision_spec
    name = type(network).__name__
    warnings.warn(
        f"Nothing is known about {name}: ImageNet's normalisation and 224 px are assumed. "
        f"If it expects others, set model.spec = lucent.modelzoo.ModelSpec({name!r}, "
        "input_size=(height, width), mean=..., std=...).",
        LucentWarning,
        stacklevel=2,
    )
    return ModelSpec(name, (224, 224), mean=IMAGENET_MEAN, std=IMAGENET_STD)
