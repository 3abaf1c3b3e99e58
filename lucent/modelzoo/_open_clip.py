"""Networks of open_clip: by name, and what they are given images like."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from lucent.errors import InputError, WeightsError, suggestion
from lucent.files import fetch
from lucent.modelzoo import _timm
from lucent.modelzoo._sources import INSTEAD, Weights, from_hub, is_made_by
from lucent.modelzoo.spec import ModelSpec
from lucent.util import optional
from lucent.weights import load_state, read_state_dict, unreadable

EXTRA = "clip"
_PAPER = "https://arxiv.org/abs/2103.00020"
# open_clip's names of what most repositories keep in both kinds.
_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


def names() -> list[str]:
    """Return open_clip's architectures."""
    known: list[str] = optional("open_clip", EXTRA).list_models()
    return known


def load(name: str, weights: Weights) -> nn.Module:
    """Build a network of open_clip, both of its towers.

    Args:
        name: "ViT-B-32", or with published weights "ViT-B-32/openai" or "ViT-B-32:openai".
        weights: which ones it gets; where no tag says which, OpenAI's or the first in the list.

    Raises:
        InputError: there is no such network, or no such tag.
        WeightsError: the weights cannot be fetched, read, or matched.
    """
    open_clip = optional("open_clip", EXTRA)
    published = weights.pretrained and weights.file is None
    architecture, tag = _resolve(open_clip, name, default=published)
    config = open_clip.get_pretrained_cfg(architecture, tag)
    if not published:
        model = _built(open_clip, architecture, config)
        if weights.file is not None:
            state = read_state_dict(weights.file, trust=weights.trust)
            load_state(model, state, source=str(weights.file))
        return model
    if not config:
        raise WeightsError(f"There are no published weights of open_clip/{name}: give {INSTEAD}.")
    path = _published(config)
    model = _built(open_clip, architecture, config)
    try:
        open_clip.load_checkpoint(model, str(path), weights_only=True)
    except unreadable(EXTRA) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise WeightsError(
            f"{path} does not fit open_clip/{name} or is damaged: {reason} Delete it to fetch it "
            f"anew, or give {INSTEAD}."
        ) from error
    return _described(model, replace(_known(model), name=f"open_clip/{architecture}/{tag}"))


def _described(model: Any, spec: ModelSpec) -> nn.Module:
    """Keep what is known about a network with it, where `spec_of` looks first."""
    model.spec = spec
    network: nn.Module = model
    return network


def _resolve(open_clip: Any, name: str, *, default: bool) -> tuple[str, str]:
    """Return the architecture as open_clip spells it, and the tag of its weights, "" for none."""
    wanted, _, tag = name.replace(":", "/").partition("/")
    spelled = {known.lower(): known for known in names()}
    if wanted.lower() not in spelled:
        hint = suggestion(wanted, spelled.values()) or "open_clip.list_models() lists all."
        raise InputError(f"open_clip has no network {wanted!r}. {hint}")
    architecture = spelled[wanted.lower()]
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    tag = tag.lower().replace("-", "_")  # as open_clip does
    if tag and tag not in tags:
        raise InputError(
            f"open_clip has no weights {tag!r} of {architecture}, but these: "
            f"{', '.join(tags) or 'none'}. Type 'open_clip/{architecture}' for the default ones."
        )
    if default and not tag:
        tag = "openai" if "openai" in tags else next(iter(tags), "")
    return architecture, tag


def _published(config: dict[str, Any]) -> Path:
    repository, _, name = config.get("hf_hub", "").rpartition("/")
    if repository:
        return from_hub(repository, [name] if name else _FILES, extra=EXTRA)
    return fetch(config["url"], instead=INSTEAD)


def _built(open_clip: Any, architecture: str, config: dict[str, Any]) -> nn.Module:
    """Build a network with random weights as its published weights, if any, were trained."""
    try:
        model: nn.Module = open_clip.create_model(
            architecture,
            pretrained_text=False,
            force_quick_gelu=bool(config.get("quick_gelu")),
            force_preprocess_cfg=config,
        )
    except OSError as error:  # some text towers read their configuration from the hub
        raise WeightsError(
            f"open_clip/{architecture} could not be built: {' '.join(str(error).split())} "
            "Build it once where the hub of Hugging Face can be reached, and copy its cache."
        ) from error
    return model


def spec_of(model: nn.Module) -> ModelSpec | None:
    """Return the spec of a network of open_clip or its image tower, None for others."""
    tower = getattr(model, "visual", model)
    if not is_made_by(model, "open_clip") or not hasattr(tower, "image_size"):
        return None
    return _known(model)


def _known(model: nn.Module) -> ModelSpec:
    open_clip = optional("open_clip", EXTRA)
    tower: Any = getattr(model, "visual", model)
    stated = getattr(tower, "preprocess_cfg", None) or {}
    size = tower.image_size
    return ModelSpec(
        f"open_clip/{type(model).__name__}",
        input_size=(size, size) if isinstance(size, int) else size,
        fixed_size=_is_fixed(tower),
        mean=stated.get("mean") or open_clip.OPENAI_DATASET_MEAN,
        std=stated.get("std") or open_clip.OPENAI_DATASET_STD,
        interpolation=stated.get("interpolation", "bicubic"),
        crop=1.0,
        paper=_PAPER,
    )


def _is_fixed(tower: nn.Module) -> bool:
    """Tell whether there is a table of positions: in all towers but convolutional ones of timm."""
    trunk, pools = getattr(tower, "trunk", None), getattr(tower, "head", ())
    if trunk is None:
        return True
    spec = _timm.spec_of(trunk)
    return spec is None or spec.fixed_size or hasattr(pools, "pool")
