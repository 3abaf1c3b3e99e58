"""What a network expects and knows, as data: `ModelSpec` and `spec_of`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from importlib import resources
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lucent.errors import InputError
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
    # which way round the network takes them; all else here, and every image, is in RGB
    channel_order: Literal["RGB", "BGR"] = "RGB"
    # class names in the order of the logits
    labels: tuple[str, ...] = field(default=(), repr=False)
    logits: str | None = None  # dotted name of the layer that gives class logits, None = the output
    # further layer names, each with the dotted name that it stands for
    aliases: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    # square root of the colour covariance of the training images, one row for each of R, G, B
    color_matrix: tuple[tuple[float, ...], ...] | None = None
    decay_power: float | None = None  # p of the 1/f^p amplitude of the training images
    image_size: int | None = None  # side in pixels of the image rendered when no size is given
    # channels of its images, None = as many as means, or what the first convolution takes
    channels: int | None = None
    dimensions: int | None = None  # 2 = pictures, 3 = volumes, None = by the first convolution
    depth: int | None = None  # slices of the volumes that it was trained on
    interpolation: str | None = None  # how photographs are resized to it: "bilinear", "bicubic" ...
    crop: float | None = None  # how much of a resized photograph's shorter side input_size is
    url: str | None = None  # where the weights are fetched from
    sha256: str | None = None  # of that file, in hexadecimal; a leading part will do
    licence: str | None = None  # of the weights: SPDX name or link
    paper: str | None = None  # link to the paper that describes the network

    def __post_init__(self) -> None:
        for fact in fields(self):
            object.__setattr__(self, fact.name, _hashable(getattr(self, fact.name)))
        self._check_forms()
        if len({len(self.mean), len(self.std)} - {1}) > 1 or 0 in self.std:
            raise InputError(
                f"The spec of {self.name} has mean {self.mean} and std {self.std}: give as many of "
                "one as of the other (or a single one for all channels), and no std of 0."
            )
        self._complete()

        if self.channel_order not in ("RGB", "BGR"):
            raise InputError(
                f"The spec of {self.name} has channel_order={self.channel_order!r}: type 'RGB', or "
                "'BGR' for networks that came from Caffe or OpenCV."
            )

    def _check_forms(self) -> None:
        expected = {
            "input_size": (2, "(height, width) in pixels, or None for any"),
            "value_range": (2, "(low, high), where 0 and 1 of an image are mapped to"),
            "mean": (None, "(0.5,), or one number for each channel"),
            "std": (None, "(0.25,), or one number for each channel"),
            "labels": (None, "the names of the classes, ('cat', 'dog')"),
        }
        for name, (length, form) in expected.items():
            value = getattr(self, name)
            fits = isinstance(value, tuple) and length in (None, len(value))
            if not fits and (name, value) != ("input_size", None):
                raise InputError(f"The spec of {self.name} has {name}={value!r}: give {form}.")
        if self.fixed_size and self.input_size is None:
            raise InputError(
                f"The spec of {self.name} has fixed_size=True, but no input_size: give the size."
            )

    def _complete(self) -> None:
        """State what follows: channels from several means, volumes from a depth."""
        if self.channels is None and self._n_channels > 1:
            object.__setattr__(self, "channels", self._n_channels)
        if self.dimensions is None and self.depth:
            object.__setattr__(self, "dimensions", 3)
        if self._n_channels not in (1, self.channels):
            raise InputError(
                f"The spec of {self.name} has channels={self.channels} but {self._n_channels} "
                "means or stds: give one for each channel, or a single one for all."
            )
        if self.dimensions not in (None, 2, 3) or (self.depth and self.dimensions == 2):
            raise InputError(
                f"The spec of {self.name} has dimensions={self.dimensions}, depth={self.depth}: "
                "pictures have 2 dimensions and no depth, volumes have 3."
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
        values = torch.addcmul(shifts, image, scales)
        return values.flip(1) if self.channel_order == "BGR" else values

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


def read_labels(name: Literal["imagenet", "inception5h", "places365"]) -> tuple[str, ...]:
    """Return ImageNet's class names, in torchvision's order or InceptionV1's, or Places365's.

    >>> read_labels("imagenet")[208]
    'Labrador retriever'
    """
    path = resources.files("lucent.modelzoo") / "labels" / f"{name}.txt"
    return tuple(path.read_text(encoding="utf-8").splitlines())


def spec_of(model: nn.Module) -> ModelSpec:
    """Return what is known about a network.

    A `ModelSpec` in the attribute `spec` of the model comes first; the networks of torchvision,
    timm, open_clip and transformers follow, with what the transforms and configurations of their
    published weights say; any other network is treated like those trained on ImageNet, with a
    warning. DataParallel and compiled wrappers are looked through.

    Args:
        model: the network itself; it is only read.
    """
    # These build ModelSpecs, so this module comes first.
    from lucent.modelzoo import _inputs, _open_clip, _timm, _torchvision, _transformers

    if isinstance(spec := getattr(model, "spec", None), ModelSpec):
        return spec
    network = unwrap(model)
    if isinstance(spec := getattr(network, "spec", None), ModelSpec):
        return spec
    for library in (_torchvision, _timm, _open_clip, _transformers):
        if found := library.spec_of(network):
            return _inputs.fitted(found, network)
    return _inputs.assumed(network)
