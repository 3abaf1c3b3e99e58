"""What the libraries that networks come from have in common: their names, their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from torch import nn

from lucent.errors import WeightsError
from lucent.files import fetch
from lucent.util import optional

#: What may be typed where published weights cannot be had; ends the sentences that say so.
INSTEAD = "weights=FILE; pretrained=False builds the network with random weights"


@dataclass(frozen=True)
class Weights:
    """Which weights a network is loaded with: those of a file, the published ones, or random ones.

    Attributes:
        pretrained: load the published ones, unless a file is given.
        file: a state dict to load instead.
        trust: run code that comes with the weights, as pickles and models of the hub may have it.
    """

    pretrained: bool = True
    file: str | Path | None = None
    trust: bool = False


def is_installed(package: str) -> bool:
    """Tell whether a package could be imported, without doing so."""
    return find_spec(package) is not None


def is_made_by(model: nn.Module, package: str) -> bool:
    """Tell whether the class of a model, or one that it is derived from, belongs to a package."""
    return any(base.__module__.partition(".")[0] == package for base in type(model).__mro__)


def from_hub(repository: str, names: Sequence[str], *, extra: str) -> Path:
    """Return a file of the Hugging Face hub, from its cache, torch.hub's folder, or the network.

    Args:
        repository: "owner/name".
        names: of the file, in the order of preference.
        extra: the extra of torch-lucent that installs `huggingface_hub`.

    Raises:
        WeightsError: no file of these names can be had.
    """
    hub = optional("huggingface_hub", extra)
    for name in names:
        cached = hub.try_to_load_from_cache(repository, name)
        if isinstance(cached, str):
            return Path(cached)
    problems = []
    for name in names:
        kept_as = f"{repository.replace('/', '--')}--{name}"
        try:
            return fetch(hub.hf_hub_url(repository, name), file_name=kept_as, instead=INSTEAD)
        except WeightsError as error:
            problems.append(error)
    raise problems[0]
