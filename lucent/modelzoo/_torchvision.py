"""Networks of torchvision: by name, and what the transforms and metadata of their weights say.

An instance does not say which builder made it. Its class does in part (most families share one
normalisation); its number of parameters, which the metadata of every weight file states, does the
rest.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from lucent.errors import InputError, suggestion
from lucent.files import fetch
from lucent.modelzoo._sources import INSTEAD, Weights
from lucent.modelzoo.spec import ModelSpec
from lucent.weights import load_state, read_state_dict

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

# Their position tables or window grids are laid out for one size when they are built.
_FIXED_SIZE = ("VisionTransformer", "MaxVit", "MViT")

# Weights of VGG16 without its classifier, for use inside SSD, with a normalisation of their own.
_FEATURES = "IMAGENET1K_FEATURES"

# torch.hub's convention: name-HASH.pth, with the first digits of the SHA-256 of the file.
_HASH = re.compile(r"-([0-9a-f]{8,64})\.\w+$")

# torchvision builds these two so around its published weights, which expect values in [-1, 1]:
# `transform_input` brings images normalised like ImageNet's there. Their auxiliary classifiers
# serve training only.
_WITH_AUXILIARY = ("googlenet", "inception_v3")
_WITHOUT_AUXILIARY = {"transform_input": True, "aux_logits": False, "init_weights": False}
# torchvision's DenseNet files are older than its code: the layer norm1 is norm.1 in them.
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d)\.")

# Frames of a clip in torchvision's recipes for video.
_FRAMES = 16


def names() -> list[str]:
    """Return the names of torchvision's classifiers of pictures."""
    import torchvision

    return torchvision.models.list_models(module=torchvision.models)


def load(name: str, weights: Weights) -> nn.Module:
    """Build a network of torchvision.

    Args:
        name: that of a classifier or of any other, such as "deeplabv3_resnet50", in any case.
        weights: which ones it gets.

    Raises:
        InputError: there is no such network.
        WeightsError: the weights cannot be fetched, read, or matched.
    """
    from torchvision.models import get_model, get_model_weights

    name, path = name.lower(), weights.file
    options = _options(name)
    if path is None and weights.pretrained:
        spec = spec_with(name, get_model_weights(name).DEFAULT)
        path = fetch(str(spec.url), sha256=spec.sha256, instead=INSTEAD)
    if path is None:
        return get_model(name, weights=None, **options)
    state = _renamed(name, read_state_dict(path, trust=weights.trust))
    if name.startswith("vit_"):
        options |= _image_size(state)
    model: nn.Module = get_model(name, weights=None, **options)
    load_state(model, state, source=str(path))
    return model


def _options(name: str) -> dict[str, Any]:
    """Return what the builder of a network has to be told for want of weights."""
    from torchvision.models import get_model_builder, list_models

    if name not in list_models():
        hint = suggestion(name, list_models()) or "torchvision.models.list_models() lists all."
        raise InputError(f"There is no network 'torchvision/{name}'. {hint}")
    if name in _WITH_AUXILIARY:
        return dict(_WITHOUT_AUXILIARY)
    # It would be downloaded otherwise.
    backbone = "weights_backbone" in inspect.signature(get_model_builder(name)).parameters
    return {"weights_backbone": None} if backbone else {}


def _renamed(name: str, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return weights of torchvision under the names that its code has today."""
    if name.startswith("densenet"):
        return {_OLD_DENSENET.sub(r"\1\2.", key): value for key, value in state.items()}
    # Auxiliary classifiers, of segmentation networks too, which serve training only.
    return {key: value for key, value in state.items() if not key.lower().startswith("aux")}


def _image_size(state: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the size that a vision transformer has positions for, one for each patch."""
    table, patches = state.get("encoder.pos_embedding"), state.get("conv_proj.weight")
    if table is None or patches is None:
        return {}
    n_patches = table.shape[1] - 1  # without the class token
    return {"image_size": patches.shape[-1] * math.isqrt(n_patches)}


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
    cropped, resized = (_pair(getattr(preset, f"{step}_size", None)) for step in ("crop", "resize"))
    interpolation = getattr(preset, "interpolation", None)
    video = type(preset).__name__ == "VideoClassification"
    known_hash = _HASH.search(weights.url)
    return ModelSpec(
        name,
        # Detection networks have none, they resize and normalise inside.
        input_size=cropped or resized,
        # The optical flow networks are the only ones whose preset maps to [-1, 1] without a mean.
        value_range=(-1.0, 1.0) if type(preset).__name__ == "OpticalFlow" else (0.0, 1.0),
        mean=tuple(getattr(preset, "mean", (0.0,))),
        std=tuple(getattr(preset, "std", (1.0,))),
        interpolation=interpolation.value if interpolation else None,
        crop=round(cropped[0] / resized[0], 4) if cropped and resized else None,
        depth=_FRAMES if video else None,
        labels=tuple(weights.meta.get("categories") or ()),
        url=weights.url,
        sha256=known_hash[1] if known_hash else None,
        licence=weights.meta.get("license"),
    )


def _pair(size: list[int] | None) -> tuple[int, int] | None:
    """Return (height, width) of a preset's size, which is square where one number is given."""
    return (size[0], size[-1]) if size else None


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
