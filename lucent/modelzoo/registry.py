"""Networks by name: lucent's own and torchvision's classifiers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lucent.errors import InputError, suggestion
from lucent.files import fetch
from lucent.modelzoo import _torchvision
from lucent.weights import load_state, read_state_dict

_OWN = ("inceptionv1", "synthnet")
_PREFIX = "torchvision/"

# torchvision builds these two so around its published weights, which expect values in [-1, 1]:
# `transform_input` brings images normalised like ImageNet's there. Their auxiliary classifiers
# serve training only.
_WITH_AUXILIARY = ("googlenet", "inception_v3")
_WITHOUT_AUXILIARY = {"transform_input": True, "aux_logits": False, "init_weights": False}
# torchvision's DenseNet files are older than its code: the layer norm1 is norm.1 in them.
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d)\.")


def names(pattern: str = "") -> list[str]:
    """Return the names that `load` knows, lucent's own first.

    Args:
        pattern: part of the names wanted, in any case, with shell wildcards: "resnet", "vgg*_bn".
    """
    wanted = f"*{pattern.lower()}*"
    return [name for name in (*_OWN, *_torchvision_names()) if fnmatchcase(name, wanted)]


def load(name: str, *, pretrained: bool = True, weights: str | Path | None = None) -> nn.Module:
    """Build a network in eval mode.

    Args:
        name: one of `names()`; torchvision's may be written "torchvision/resnet50".
        pretrained: load the published weights, from torch.hub's folder or the network.
        weights: a file with a state dict to load instead.

    Raises:
        InputError: no network has that name.
        WeightsError: the weights cannot be fetched, read, or matched.
    """
    known = name.lower().removeprefix(_PREFIX)
    if known in _OWN and known == name.lower():
        model = _own(known, pretrained=pretrained, weights=weights)
    elif known in _torchvision_names():
        model = _from_torchvision(known, pretrained=pretrained, weights=weights)
    else:
        hint = suggestion(known, names()) or f"Some of them: {', '.join(names()[:5])}."
        raise InputError(f"There is no network {name!r}. {hint} `lucent models` lists all of them.")
    return model.eval()


def _own(name: str, *, pretrained: bool, weights: str | Path | None) -> nn.Module:
    if name == "inceptionv1":
        from lucent.modelzoo.inceptionv1 import InceptionV1

        return InceptionV1(pretrained=pretrained, weights=weights)
    from lucent.modelzoo.synthnet import synthnet

    return synthnet(pretrained=pretrained, weights=weights)


def _torchvision_names() -> list[str]:
    import torchvision

    return torchvision.models.list_models(module=torchvision.models)


def _from_torchvision(name: str, *, pretrained: bool, weights: str | Path | None) -> nn.Module:
    from torchvision.models import get_model, get_model_weights

    options: dict[str, Any] = dict(_WITHOUT_AUXILIARY) if name in _WITH_AUXILIARY else {}
    if weights is None and pretrained:
        spec = _torchvision.spec_with(name, get_model_weights(name).DEFAULT)
        weights = fetch(str(spec.url), sha256=spec.sha256)
    if weights is None:
        return get_model(name, weights=None, **options)
    state = read_state_dict(weights)
    if name in _WITH_AUXILIARY:
        state = {key: value for key, value in state.items() if not key.lower().startswith("aux")}
    if name.startswith("densenet"):
        state = {_OLD_DENSENET.sub(r"\1\2.", key): value for key, value in state.items()}
    if name.startswith("vit_"):
        options |= _image_size(state)
    model: nn.Module = get_model(name, weights=None, **options)
    load_state(model, state, source=str(weights))
    return model


def _image_size(state: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the size that a vision transformer has positions for, one for each patch."""
    table, patches = state.get("encoder.pos_embedding"), state.get("conv_proj.weight")
    if table is None or patches is None:
        return {}
    n_patches = table.shape[1] - 1  # without the class token
    return {"image_size": patches.shape[-1] * math.isqrt(n_patches)}
