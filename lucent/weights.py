"""Weight files: read, and matched to a model.

Nothing in a file is ever run: only tensors are read from it.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lucent.errors import WeightsError

# What torch.load raises for files of other kinds, damaged ones, and pickles that would run code.
_UNREADABLE = (OSError, RuntimeError, ValueError, LookupError, EOFError, pickle.UnpicklingError)


def read_file(path: str | Path) -> Any:
    """Read what `torch.save` wrote onto the CPU, without running any code that it may hold.

    Raises:
        WeightsError: there is no such file, or it is of another kind.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise WeightsError(
            f"There is no weight file {path}: check the name, or leave weights out to download."
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise WeightsError(
            f"{path} could not be read as weights ({reason}). Expected is what "
            "torch.save(model.state_dict(), file) writes."
        ) from error


def read_state_dict(path: str | Path) -> Mapping[str, Tensor]:
    """Read a state dict; see `read_file`.

    Raises:
        WeightsError: the file cannot be read, or it holds something else than a state dict.
    """
    state = read_file(path)
    if isinstance(state, Mapping) and all(isinstance(value, Tensor) for value in state.values()):
        return state
    held = f"the keys {list(state)[:5]}" if isinstance(state, Mapping) else f"a {type(state)}"
    raise WeightsError(
        f"{path} holds {held}, expected is a state dict, names to tensors. Save that alone: "
        "torch.save(model.state_dict(), file)."
    )


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Copy the weights of a file into a model; they take the model's dtype and device.

    Raises:
        WeightsError: the file cannot be read, or its names or shapes are not those of the model.
    """
    load_state(model, read_state_dict(path), source=str(path))


def load_state(model: nn.Module, state: Mapping[str, Tensor], *, source: str) -> None:
    """Copy a state dict into a model, with an error that names its source and the first misfits."""
    try:
        result = model.load_state_dict(state, strict=False)
    except RuntimeError as error:  # shapes; torch lists one per line, after a heading
        problems = [line.strip().rstrip(".") for line in str(error).splitlines()[1:]]
    else:
        problems = [f"{key} is missing" for key in result.missing_keys]
        problems += [f"{key} is unknown to the model" for key in result.unexpected_keys]
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise WeightsError(
            f"{source} does not fit {type(model).__name__}: {'; '.join(problems[:3])}{more}. "
            "Give the weights of this very network, or load them with the model they belong to."
        )
