"""`--data`: data sets by what a user types."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from lucent.errors import InputError, suggestion
from lucent.util import optional

#: Images of the generated data set where no number is given: a few minutes for the embedded
#: network on two cores, and about 36 of each class.
SYNTH_COUNT = 1000

HELP = (
    "a folder of images; synth[:COUNT], generated scenes; torchvision:NAME@FOLDER; "
    "hf:NAME[:SPLIT], of the Hugging Face hub or a folder; wds:PATTERN.tar, WebDataset shards such "
    "as 'wds:photos-{000..127}.tar'; or FILE.py:FUNCTION, which returns a data set or a DataLoader"
)


def data_named(name: str) -> Any:
    """Return a data set as `collect` takes it.

    Args:
        name: as `HELP` says.

    Raises:
        InputError: there is no such data set, or no such folder.
        MissingExtra: it needs a package that is not installed.
    """
    from lucent.modelzoo import _local

    kind, colon, rest = name.partition(":")
    if kind in _KINDS and (colon or kind == "synth"):
        return _KINDS[kind](rest)
    if _local.is_local(name):
        return _local.result_of(name)
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise InputError(
            f"There is no folder {name!r}. --data takes {HELP}. {suggestion(kind, _KINDS)}"
        )
    return _saved(folder) if _is_saved(folder) else folder


def _synth(count: str) -> Any:
    from lucent.modelzoo.synthnet import SynthScenes

    if count and not count.isdecimal():
        raise InputError(f"synth:{count} has to end in a number of images, such as synth:2000.")
    return SynthScenes(int(count or SYNTH_COUNT))


def _torchvision(rest: str) -> Any:
    from torchvision import datasets

    name, at, root = rest.partition("@")
    if not (name and at and root):
        raise InputError(
            f"torchvision:{rest} has to name a data set and the folder it is in, such as "
            "torchvision:CIFAR10@/data/cifar."
        )
    if name not in datasets.__all__:
        raise InputError(
            f"torchvision has no data set {name!r}. {suggestion(name, datasets.__all__)}"
        )
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise InputError(f"There is no folder {root!r} to take {name} from.")
    build = getattr(datasets, name)
    takes = inspect.signature(build).parameters
    try:
        return build(folder, **({"download": False} if "download" in takes else {}))
    except (RuntimeError, TypeError, ValueError, OSError) as error:  # not there, or needs more
        raise InputError(
            f"torchvision's {name} cannot be opened in {root!r} ({str(error).splitlines()[0]}). "
            "Download it there first; where it needs more than a folder, write a function that "
            "returns it and type --data FILE.py:FUNCTION."
        ) from error


def _hugging_face(rest: str) -> Any:
    name, _, split = rest.partition(":")
    folder = Path(name).expanduser()
    if folder.is_dir() and _is_saved(folder):
        return _chosen(_saved(folder), split, name)
    datasets = optional("datasets", "data")
    try:
        return _chosen(datasets.load_dataset(name), split, name)
    except (OSError, ValueError) as error:  # no such data set, no network, several configurations
        raise InputError(
            f"The data set {name!r} cannot be loaded ({str(error).splitlines()[0]}). Check its "
            "name on the Hugging Face hub; where it needs more than a name, write a function that "
            "returns it and type --data FILE.py:FUNCTION."
        ) from error


def _is_saved(folder: Path) -> bool:
    """Tell whether a folder is what `datasets` saves on a disk."""
    return any((folder / name).is_file() for name in ("dataset_info.json", "dataset_dict.json"))


def _saved(folder: Path) -> Any:
    return optional("datasets", "data").load_from_disk(str(folder))


def _chosen(data: Any, split: str, name: str) -> Any:
    """Return one of the splits of a data set."""
    if not isinstance(data, dict):  # it has none
        return data
    known = ", ".join(data)
    if split not in data and (split or len(data) > 1):
        given = f"no split {split!r}" if split else "several splits"
        raise InputError(f"{name} has {given}: type hf:{name}:SPLIT with one of {known}.")
    return data[split or known]


def _web_dataset(pattern: str) -> str:
    if not pattern.endswith((".tar", ".tar}")):
        raise InputError(
            f"wds:{pattern} has to name tar files, such as 'wds:photos-{{000..127}}.tar'."
        )
    return pattern


_KINDS = {
    "synth": _synth,
    "torchvision": _torchvision,
    "hf": _hugging_face,
    "wds": _web_dataset,
}
