"""Vision networks of Hugging Face transformers: by name, and what their image processors say."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from torch import nn

from lucent.errors import LucentWarning, WeightsError
from lucent.modelzoo import _timm
from lucent.modelzoo._sources import INSTEAD, Weights, is_made_by
from lucent.modelzoo.spec import ModelSpec
from lucent.util import optional
from lucent.weights import read_state_dict, unreadable, without_prefixes

EXTRA = "hf"
_PROCESSOR_FILE = "preprocessor_config.json"
# Families whose configurations state a size, but which have no table of positions for it or resize
# that by themselves.
_ANY_SIZE = {
    "convnext", "convnextv2", "dinov2", "dinov2_with_registers", "dinov3_convnext", "dinov3_vit",
    "efficientnet", "focalnet", "mobilenet_v1", "mobilenet_v2", "mobilevit", "mobilevitv2", "swin",
    "swinv2",
}  # fmt: skip
_WITH_LOGITS = ("ForImageClassification", "ForSemanticSegmentation")


def load(name: str, weights: Weights) -> nn.Module:
    """Build a network of the Hugging Face hub, or of a folder that transformers wrote.

    Args:
        name: "facebook/dinov2-base", or the path of a folder.
        weights: which ones it gets; the random ones need its configuration, too.

    Raises:
        WeightsError: the configuration or the weights cannot be had, or do not fit.
    """
    transformers = optional("transformers", EXTRA)
    if Path(name).expanduser().is_dir():
        name = str(Path(name).expanduser())
    published = weights.pretrained and weights.file is None
    options = {"trust_remote_code": weights.trust}
    try:
        config = transformers.AutoConfig.from_pretrained(name, **options)
        auto = _auto_class(transformers, config)
        if published:
            model: nn.Module = auto.from_pretrained(name, config=config, **options)
        else:
            model = auto.from_config(config, **options)
    # Among them the library's for code that is not trusted and for kinds that it does not know.
    except unreadable(EXTRA) as error:
        raise WeightsError(_problem(name, error)) from error
    if weights.file is not None:
        model = _with_state(type(model), config, weights)
    if published:
        _fetch_processor(name)
    # Many are stored in half precision.
    return model.float()


def _with_state(network: Any, config: Any, weights: Weights) -> nn.Module:
    """Build a network with the weights of a file; transformers knows what names they may have."""
    state = without_prefixes(read_state_dict(str(weights.file), trust=weights.trust))
    try:
        model, report = network.from_pretrained(
            None, config=config, state_dict=dict(state), output_loading_info=True
        )
    except (RuntimeError, ValueError) as error:
        raise WeightsError(f"{weights.file} does not fit {network.__name__}: {error}") from error
    if missing := sorted(report["missing_keys"]):
        more = f" (and {len(missing) - 3} more)" if len(missing) > 3 else ""
        raise WeightsError(
            f"{weights.file} does not fit {network.__name__}: {', '.join(missing[:3])}{more} are "
            "missing. Give the weights of this very network."
        )
    fitted: nn.Module = model
    return fitted


def _auto_class(transformers: Any, config: Any) -> Any:
    """Return the class with a classifier where the checkpoint has one."""
    classifies = any("ForImageClassification" in name for name in config.architectures or ())
    return transformers.AutoModelForImageClassification if classifies else transformers.AutoModel


def _problem(name: str, error: Exception) -> str:
    reason = " ".join(str(error).split())
    if "trust_remote_code" in reason:
        return (
            f"hf/{name} comes with code of its own, which is run with trust=True (--trust) only: "
            "do so if you know who made it."
        )
    if Path(name).is_dir():
        return (
            f"hf/{name} could not be loaded ({reason[:300]}). Expected is a folder that "
            "model.save_pretrained(folder) wrote, with config.json and model.safetensors; where "
            f"the configuration alone is good, give {INSTEAD}."
        )
    cache = optional("huggingface_hub.constants", EXTRA).HF_HUB_CACHE
    return (
        f"hf/{name} could not be loaded ({reason[:300]}). Fetch config.json, {_PROCESSOR_FILE} and "
        f"model.safetensors from https://huggingface.co/{name} where that works into a folder, and "
        f"type 'hf/FOLDER'; or copy {cache}; or, with config.json alone: {INSTEAD}."
    )


def _fetch_processor(name: str) -> None:
    """Have the file about the images in the cache, where `spec_of` looks for it."""
    if not Path(name).is_dir():
        with suppress(OSError):  # not every network has one
            optional("huggingface_hub", EXTRA).hf_hub_download(name, _PROCESSOR_FILE)


def spec_of(model: nn.Module) -> ModelSpec | None:
    """Return the spec of a vision network of transformers, None for others."""
    if not is_made_by(model, "transformers"):
        return None
    kind, config = type(model).__name__, _config(model)
    logits = "[logits]" if any(ending in kind for ending in _WITH_LOGITS) else None
    # A network of timm inside knows more.
    if inner := _timm.spec_of(getattr(model, "timm_model", model)):
        return replace(inner, logits=logits)
    facts = {} if config is None else _facts(config)
    if not facts:
        return None
    vision: Any = getattr(config, "vision_config", config)
    size = _size(getattr(vision, "image_size", None))
    values = _values(facts)
    n_channels = getattr(vision, "num_channels", None)
    return ModelSpec(
        f"hf/{config._name_or_path}" if config._name_or_path else kind,
        input_size=size or _size(_cropped(facts)) or _size(facts.get("size")),
        fixed_size=size is not None and vision.model_type not in _ANY_SIZE,
        # Statistics of RGB are adapted to other channels by the caller.
        channels=n_channels if len(values["mean"]) in (1, n_channels) else None,
        labels=_labels(config) if logits else (),
        logits=logits,
        **values,
    )


def _config(model: Any) -> Any:
    return getattr(model, "config", None)


def _values(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an image processor does to the values of an image, as fields of a spec."""
    factor = facts.get("rescale_factor") or 1 / 255
    high = round(255 * factor, 6) if facts.get("do_rescale", True) else 255.0
    # Two spellings of one idea: 1 is subtracted.
    low = -1.0 if facts.get("rescale_offset") or facts.get("offset") else 0.0
    resample = facts.get("resample")
    normalised = facts.get("do_normalize") and facts.get("image_mean")
    used = (facts["image_mean"], facts["image_std"]) if normalised else (0.0, 1.0)
    # One number is for all channels.
    mean, std = ([v] if isinstance(v, int | float) else v for v in used)
    # Said of EfficientNets with a classifier, whose processor divides by it once more.
    if facts.get("include_top"):
        std = [s**2 for s in std]
    return {
        "value_range": (low, low + high),
        "mean": mean,
        "std": std,
        "channel_order": "BGR" if facts.get("do_flip_channel_order") else "RGB",
        "interpolation": None if resample is None else Image.Resampling(resample).name.lower(),
    }


def _facts(config: Any) -> dict[str, Any]:
    """Return the settings of the image processor: its class's, and over them the network's own."""
    settings, name = _class_settings(config.model_type), config._name_or_path
    own = _own_settings(name) if name else {}
    if settings and name and not own:
        local = Path(name).is_dir()
        way = "Put it there" if local else f"lucent.modelzoo.load('hf/{name}') fetches it"
        warnings.warn(
            f"There is no {_PROCESSOR_FILE} of {name} on this machine: the mean "
            f"{settings.get('image_mean')} of all {config.model_type} networks is assumed. {way}; "
            "or set model.spec.",
            LucentWarning,
            stacklevel=4,
        )
    return {**settings, **own}


def _class_settings(family: str) -> dict[str, Any]:
    """Return the defaults of the image processor that a family of networks has, {} for none."""
    auto = optional("transformers.models.auto.image_processing_auto", EXTRA)
    # A part has the type of the whole, and something behind it: "clip_vision_model".
    while family not in auto.IMAGE_PROCESSOR_MAPPING_NAMES:
        family, cut, _ = family.rpartition("_")
        if not cut:
            return {}
    named = auto.IMAGE_PROCESSOR_MAPPING_NAMES[family]
    # By the way they compute in transformers 5, (slow, fast) in 4.
    classes = named.values() if isinstance(named, Mapping) else named
    processor = getattr(optional("transformers", EXTRA), next(filter(None, classes)))()
    return {key: getattr(processor, key, None) for key in dir(processor) if key in _SETTINGS}


_SETTINGS = (
    "image_mean", "image_std", "size", "crop_size", "resample", "rescale_factor", "do_center_crop",
    "do_flip_channel_order", "do_normalize", "do_rescale", "include_top", "offset",
    "rescale_offset",
)  # fmt: skip


def _own_settings(name: str) -> dict[str, Any]:
    """Return the settings that were stored with a network, if they are on this machine."""
    path: Any = Path(name) / _PROCESSOR_FILE
    if not path.is_file():
        path = None
        with suppress(ValueError):  # no name of the hub, but a folder that is gone
            hub = optional("huggingface_hub", EXTRA)
            path = hub.try_to_load_from_cache(name, _PROCESSOR_FILE)
    if not isinstance(path, str | Path):
        return {}
    stored: Any = None
    with suppress(ValueError):
        stored = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(stored, dict):
        raise WeightsError(
            f"{path} is damaged, it holds no settings in JSON: delete it, or set model.spec."
        )
    return {key: value for key, value in stored.items() if key in _SETTINGS}


def _cropped(facts: Mapping[str, Any]) -> Any:
    return facts.get("crop_size") if facts.get("do_center_crop") else None


def _size(value: Any) -> tuple[int, int] | None:
    """Return (height, width) of the spellings of sizes in configurations."""
    if isinstance(value, int):
        return value, value
    if isinstance(value, list | tuple):
        return value[0], value[-1]
    sides = value if isinstance(value, Mapping) else getattr(value, "__dict__", {})
    height, width = (sides.get(side) or sides.get("shortest_edge") for side in ("height", "width"))
    return (height, width) if height and width else None


def _labels(config: Any) -> tuple[str, ...]:
    labels = tuple(config.id2label[index] for index in sorted(config.id2label))
    # What transformers calls classes that nobody named.
    return () if labels[:1] == ("LABEL_0",) else labels
