"""Specs of torchvision's networks, read from the transforms and metadata of their weights.

An instance does not say which builder made it. Its class does in part (most families share one
normalisation); its number of parameters, which the metadata of every weight file states, does the
rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import nn

from lucent.modelzoo.spec import ModelSpec

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

# Their position tables or window grids are laid out for one size when they are built.
_FIXED_SIZE = ("VisionTransformer", "MaxVit", "MViT")

# Weights of VGG16 without its classifier, for use inside SSD, with a normalisation of their own.
_FEATURES = "IMAGENET1K_FEATURES"

# torch.hub's convention: name-HASH.pth, with the first digits of the SHA-256 of the file.
_HASH = re.compile(r"-([0-9a-f]{8,64})\.\w+$")


def spec_of(model: nn.Module) -> ModelSpec | None:
    """Return the spec of a network of torchvision, or of a class derived from one; None otherwise.

    Of several weights that fit a network its builder's default ones count. A network of a depth or
    width that was never published gets what all published members of its family share, and None
    where their normalisations differ.
    """
    family = next(
        (c for c in type(model).__mro__ if c.__module__.startswith("torchvision.models.")), None
    )
    published = [] if family is None else list(_published(family.__module__))
    if family is None or not published:
        return None
    size = _Size(model)
    fitting = [spec_with(name, weights) for name, weights in published if size.fits(weights)]
    spec = fitting[0] if fitting else _shared(published, family.__name__)
    if spec is None:
        return None
    side = getattr(model, "image_size", spec.input_size)
    return replace(
        spec,
        input_size=(side, side) if isinstance(side, int) else side,
        fixed_size=family.__name__ in _FIXED_SIZE,
        labels=spec.labels if size.n_classes in (None, len(spec.labels)) else (),
    )


def _shared(published: list[tuple[str, WeightsEnum]], family: str) -> ModelSpec | None:
    """Return what the specs of a family agree on, None if not on the normalisation."""
    specs = [spec_with(name, weights) for name, weights in published if weights.name != _FEATURES]
    if len({(spec.value_range, spec.mean, spec.std) for spec in specs}) > 1:
        return None
    if len({spec.name for spec in specs}) == 1:
        return specs[0]
    sizes = {spec.input_size for spec in specs}
    common = replace(specs[0], name=family, url=None, sha256=None, licence=None)
    return replace(common, input_size=sizes.pop() if len(sizes) == 1 else None)


def spec_with(name: str, weights: WeightsEnum) -> ModelSpec:
    """Return the spec of the network that a builder of torchvision makes with some weights.

    Args:
        name: the builder.
        weights: a member of its weights enumeration.
    """
    preset = weights.transforms()
    size = getattr(preset, "crop_size", None) or getattr(preset, "resize_size", None)
    known_hash = _HASH.search(weights.url)
    return ModelSpec(
        name,
        # Square where one number is given; detection networks have none, they resize and normalise
        # inside.
        input_size=(size[0], size[-1]) if size else None,
        # The optical flow networks are the only ones whose preset maps to [-1, 1] without a mean.
        value_range=(-1.0, 1.0) if type(preset).__name__ == "OpticalFlow" else (0.0, 1.0),
        mean=tuple(getattr(preset, "mean", (0.0,))),
        std=tuple(getattr(preset, "std", (1.0,))),
        labels=tuple(weights.meta.get("categories") or ()),
        url=weights.url,
        sha256=known_hash[1] if known_hash else None,
        licence=weights.meta.get("license"),
    )


def _published(module: str) -> Iterator[tuple[str, WeightsEnum]]:
    """Yield the builders in a module of torchvision with their weights, default weights first."""
    from torchvision.models import get_model_builder, get_model_weights, list_models

    for name in list_models():
        if get_model_builder(name).__module__ == module:
            weights = get_model_weights(name)
            yield from ((name, w) for w in sorted(weights, key=lambda w: w is not weights.DEFAULT))


class _Size:
    """The numbers of parameters and of classes of a network, which tell whether weights fit it."""

    def __init__(self, model: nn.Module) -> None:
        self.n_parameters = sum(parameter.numel() for parameter in model.parameters())
        # The last of these layers gives the logits in all of torchvision's classifiers.
        layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.Conv3d)]
        self.n_classes = layers[-1].weight.shape[0] if layers else None
        self._head = (
            sum(parameter.numel() for parameter in layers[-1].parameters()) if layers else 0
        )

    def fits(self, weights: WeightsEnum) -> bool:
        """Tell whether the weights are for such a network, be it with another number of classes."""
        expected = weights.meta["num_params"]
        if self.n_classes and (labels := weights.meta.get("categories")):
            expected += self._head // self.n_classes * (self.n_classes - len(labels))
        return bool(expected == self.n_parameters)
