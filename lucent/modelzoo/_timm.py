"""Networks of timm: by name, and what their configurations say."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lucent.errors import InputError, WeightsError, suggestion
from lucent.files import fetch
from lucent.modelzoo._sources import INSTEAD, Weights, from_hub, is_made_by
from lucent.modelzoo.spec import ModelSpec
from lucent.util import optional
from lucent.weights import read_state_dict, without_prefixes

EXTRA = "timm"
_FILE = "model.safetensors"


def names() -> list[str]:
    """Return timm's names, without tags."""
    known: list[str] = optional("timm", EXTRA).list_models()
    return known


def load(name: str, weights: Weights) -> nn.Module:
    """Build a network of timm.

    Args:
        name: with or without the tag of published weights, "resnet10t.c3_in1k".
        weights: which ones it gets.

    Raises:
        InputError: there is no such network, or no such tag.
        WeightsError: the weights cannot be fetched, read, or matched.
    """
    timm = optional("timm", EXTRA)
    name = name.lower()
    _check(timm, name)
    path = weights.file
    if path is None and weights.pretrained:
        path = _published(timm, name)
    if path is None:
        model: nn.Module = timm.create_model(name)
        return model
    state = without_prefixes(read_state_dict(path, trust=weights.trust))
    return _with_state(timm, name, state, source=path)


def _check(timm: Any, name: str) -> None:
    architecture, dot, tag = name.partition(".")
    if not timm.is_model(architecture):
        hint = suggestion(architecture, names())
        raise InputError(
            f"timm has no network {architecture!r}. {hint or 'timm.list_models() lists all.'}"
        )
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if dot and tag not in tags:
        known = ", ".join(tags) or "none"
        raise InputError(
            f"timm has no weights {tag!r} of {architecture}, but these: {known}. Type "
            f"'timm/{architecture}' for its default ones."
        )


def _published(timm: Any, name: str) -> Path:
    config = timm.get_pretrained_cfg(name)
    if config is not None and config.hf_hub_id:
        return from_hub(
            config.hf_hub_id.rstrip("/"),
            [config.hf_hub_filename or _FILE, "pytorch_model.bin"],
            extra=EXTRA,
        )
    if config is not None and config.url and not config.custom_load:
        return fetch(config.url, instead=INSTEAD)
    raise WeightsError(f"There are no published weights of timm/{name}: give {INSTEAD}.")


def _with_state(
    timm: Any, name: str, state: Mapping[str, Tensor], *, source: str | Path
) -> nn.Module:
    """Build a network with a state dict; timm renames what it published under older names."""
    overlay = {"state_dict": dict(state), "custom_load": False}
    try:
        model: Any = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
    except (RuntimeError, LookupError) as error:  # its renaming looks for keys, too
        raise WeightsError(
            f"{source} does not fit timm/{name}: {' '.join(str(error).split())[:300]} Give the "
            "weights of this very network."
        ) from error
    # A second copy of the weights otherwise, as long as the model lives.
    model.pretrained_cfg.pop("state_dict", None)
    network: nn.Module = model
    return network


def spec_of(model: nn.Module) -> ModelSpec | None:
    """Return the spec of a network of timm, None for others."""
    config = getattr(model, "pretrained_cfg", None)
    if not is_made_by(model, "timm") or not config:
        return None
    return ModelSpec(
        _name(config),
        input_size=_built_for(model) or tuple(config["input_size"][-2:]),
        fixed_size=bool(config.get("fixed_input_size")) and not _is_flexible(model),
        mean=config["mean"],
        std=config["std"],
        interpolation=config.get("interpolation"),
        crop=config.get("crop_pct"),
        labels=_labels(model, config),
        url=_address(config),
        licence=config.get("license"),
        paper=_paper(config),
    )


def _name(config: Mapping[str, Any]) -> str:
    tag = config.get("tag")
    return f"timm/{config.get('architecture')}{f'.{tag}' if tag else ''}"


def _built_for(model: nn.Module) -> tuple[int, int] | None:
    """Return the size that the first layer was laid out for, which timm's configuration omits."""
    sizes = (getattr(module, "img_size", None) for module in model.modules())
    return next(((s[0], s[1]) for s in sizes if isinstance(s, tuple) and len(s) == 2), None)


def _is_flexible(model: nn.Module) -> bool:
    """Tell whether the network was built to take other sizes than its configuration says."""
    patches = getattr(model, "patch_embed", None)
    strict = getattr(patches, "strict_img_size", True)
    return bool(getattr(model, "dynamic_img_size", False)) or not strict


def _labels(model: nn.Module, config: Mapping[str, Any]) -> tuple[str, ...]:
    n_classes = getattr(model, "num_classes", 0)
    if not n_classes or n_classes != config.get("num_classes"):
        return ()
    subset = optional("timm.data", EXTRA).infer_imagenet_subset(config)
    return _imagenet_labels(subset) if subset else ()


@functools.lru_cache(maxsize=8)
def _imagenet_labels(subset: str) -> tuple[str, ...]:
    info = optional("timm.data", EXTRA).ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(info.num_classes()))


def _address(config: Mapping[str, Any]) -> str | None:
    if repository := config.get("hf_hub_id"):
        name = config.get("hf_hub_filename") or _FILE
        return f"https://huggingface.co/{repository.rstrip('/')}/resolve/main/{name}"
    return config.get("url") or None


def _paper(config: Mapping[str, Any]) -> str | None:
    found = config.get("paper_ids") or ""
    first = found if isinstance(found, str) else found[0]
    return first.replace("arXiv:", "https://arxiv.org/abs/") or None
