"""Networks by name: one grammar for lucent's own, the libraries', and those of the user's files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

from torch import nn

from lucent.errors import InputError, suggestion
from lucent.modelzoo import _local, _open_clip, _timm, _torchvision, _transformers
from lucent.modelzoo._sources import Weights, is_installed
from lucent.modelzoo.inceptionv1 import InceptionV1, InceptionV1Places365
from lucent.modelzoo.synthnet import synthnet
from lucent.modelzoo.synthvit import synthvit
from lucent.weights import load_weights


class _Source(Protocol):
    """A library of networks."""

    def load(self, name: str, weights: Weights) -> nn.Module:
        """Build a network by its name in the library."""


_SOURCES: dict[str, _Source] = {
    "torchvision": _torchvision,
    "timm": _timm,
    "open_clip": _open_clip,
    "hf": _transformers,
}
# The names of all other sources are known to themselves only.
_LISTED = {"timm": _timm, "open_clip": _open_clip}


_OWN: dict[str, Callable[..., nn.Module]] = {
    "inceptionv1": InceptionV1,
    "inceptionv1_places365": InceptionV1Places365,
    "synthnet": synthnet,
    "synthvit": synthvit,
}


def names(pattern: str = "") -> list[str]:
    """Return the names that `load` knows: lucent's own, torchvision's, those of installed sources.

    The networks of the Hugging Face hub are not among them.

    Args:
        pattern: part of the names wanted, in any case, with shell wildcards: "resnet", "vgg*_bn",
            "timm/vit_*".
    """
    wanted = f"*{pattern.lower()}*"
    return [name for name in _all_names(pattern) if fnmatchcase(name.lower(), wanted)]


def _all_names(pattern: str) -> Iterator[str]:
    yield from (*_OWN, *_torchvision.names())
    for source, library in _LISTED.items():
        # Importing a library takes seconds, for nothing if another is named.
        other = pattern.partition("/")[0].lower() in {*_SOURCES} - {source}
        if is_installed(source) and not other:
            yield from (f"{source}/{name}" for name in library.names())


def load(
    name: str,
    *,
    pretrained: bool = True,
    weights: str | Path | None = None,
    trust: bool = False,
) -> nn.Module:
    """Build a network in eval mode.

    Args:
        name: one of `names()`; "torchvision/resnet50", "timm/resnet10t.c3_in1k",
            "open_clip/ViT-B-32/openai", "hf/facebook/dinov2-base" or "hf/FOLDER"; or
            "file.py:function" of yours, a function that returns a network.
        pretrained: load the published weights, from where they are kept or the network.
        weights: a file with a state dict to load instead, .safetensors or of `torch.save`.
        trust: run code that comes with weights: in a pickle, or beside a network of the hub.

    Raises:
        InputError: no network has that name.
        WeightsError: the weights cannot be fetched, read, or matched.
        MissingExtra: the library is not installed.
    """
    wanted = Weights(pretrained, weights, trust)
    source, slash, within = name.partition("/")
    if _local.is_local(name):
        model = _local.load(name, wanted)
    elif slash and source.lower() in _SOURCES:
        model = _SOURCES[source.lower()].load(within, wanted)
    elif name.lower() in _OWN:
        model = _own(name.lower(), wanted)
    elif name.lower() in _torchvision.names():
        model = _torchvision.load(name, wanted)
    else:
        raise InputError(f"There is no network {name!r}. {_hint(name)}")
    return model.eval()


def _own(name: str, weights: Weights) -> nn.Module:
    model = _OWN[name](pretrained=weights.pretrained and weights.file is None)
    if weights.file is not None:
        load_weights(model, weights.file, trust=weights.trust)
    return model


def _hint(name: str) -> str:
    if Path(name).suffix == ".py":
        return f"Name the function in the file that returns the network: '{name}:FUNCTION'."
    if Path(name).expanduser().is_file():
        return f"Name the network that the weights are of: load(NAME, weights={name!r})."
    near = suggestion(name, [*_OWN, *_torchvision.names()]) or suggestion(name, names())
    some = f"Some of them: {', '.join(_OWN)}."
    return f"{near or some} `lucent models` lists all of them."
