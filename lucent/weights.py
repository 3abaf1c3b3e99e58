"""Weight files: read, and matched to a model.

Nothing in a file is ever run, unless it is trusted: only tensors are read from it.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lucent.errors import WeightsError
from lucent.util import optional

# What torch.load and safetensors raise for files of other kinds, damaged ones, pickles that would
# run code, and trusted ones whose classes are not here.
_UNREADABLE: tuple[type[Exception], ...] = (
    OSError, RuntimeError, ValueError, LookupError, EOFError, pickle.UnpicklingError,
    AttributeError, ImportError,
)  # fmt: skip
_SAFETENSORS = ".safetensors"
# Under these names training scripts keep the state dict beside other things.
_WITHIN = ("state_dict", "model_state_dict", "model")
# What wrappers put in front of every name.
_PREFIXES = ("module.", "_orig_mod.")


def read_file(path: str | Path, *, trust: bool = False) -> Any:
    """Read what `torch.save` or safetensors wrote onto the CPU.

    Args:
        path: the file; one that ends in .safetensors is read as such.
        trust: run the code that a pickle may hold. Without it there is an error instead.

    Raises:
        WeightsError: there is no such file, it is of another kind, or it would run code.
        MissingExtra: safetensors is needed, and not installed.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise WeightsError(
            f"There is no weight file {path}: check the name, or leave weights out to download."
        )
    problems = unreadable() if path.suffix == _SAFETENSORS else _UNREADABLE
    try:
        return _content(path, trust)
    except problems as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise WeightsError(
            f"{path} could not be read as weights ({reason}). Expected is what "
            "torch.save(model.state_dict(), file) writes, or a .safetensors file."
            + ("" if trust else _hint(error))
        ) from error


def unreadable(extra: str = "hf") -> tuple[type[Exception], ...]:
    """Return the errors that torch and safetensors raise for files that are damaged or no weights.

    Args:
        extra: the extra of torch-lucent that installs safetensors.

    Raises:
        MissingExtra: safetensors is not installed.
    """
    return (*_UNREADABLE, optional("safetensors", extra).SafetensorError)


def _content(path: Path, trust: bool) -> Any:
    if path.suffix == _SAFETENSORS:
        return optional("safetensors.torch", "hf").load_file(path)
    return torch.load(path, map_location="cpu", weights_only=not trust)


def _hint(error: Exception) -> str:
    if not isinstance(error, pickle.UnpicklingError):
        return ""
    return (
        " A file that holds more than tensors is read with trust=True (on the command line "
        "--trust), which runs the code in it: only do so if you know who made it."
    )


def read_state_dict(path: str | Path, *, trust: bool = False) -> Mapping[str, Tensor]:
    """Read a state dict, alone or in a checkpoint; see `read_file`.

    Of a trusted file that holds a whole model, its state dict is taken.

    Args:
        path: the file.
        trust: run the code that a pickle may hold.

    Raises:
        WeightsError: the file cannot be read, or it holds something else than a state dict.
    """
    content = read_file(path, trust=trust)
    for state in _candidates(content):
        if isinstance(state, nn.Module):
            state = state.state_dict()
        if _is_state_dict(state):
            return state  # type: ignore[no-any-return]
    held = f"the keys {list(content)[:5]}" if isinstance(content, Mapping) else f"a {type(content)}"
    raise WeightsError(
        f"{path} holds {held}, expected is a state dict, names to tensors. Save that alone: "
        "torch.save(model.state_dict(), file)."
    )


def _is_state_dict(content: Any) -> bool:
    if not isinstance(content, Mapping) or not content:
        return False
    return all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())


def _candidates(content: Any) -> list[Any]:
    if not isinstance(content, Mapping):
        return [content]
    within = (content.get(key) for key in _WITHIN)
    return [
        content,
        *(value for value in within if isinstance(value, Mapping | nn.Module) and value),
    ]


def without_prefixes(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return a state dict without what DataParallel and compiled models put before every name.

    >>> without_prefixes({"module.fc.bias": torch.zeros(2)}).keys()
    dict_keys(['fc.bias'])
    """
    for prefix in _PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            return without_prefixes({n.removeprefix(prefix): v for n, v in state.items()})
    return state


def load_weights(model: nn.Module, path: str | Path, *, trust: bool = False) -> None:
    """Copy the weights of a file into a model; they take the model's dtype and device.

    Args:
        model: what the weights are for.
        path: a file with a state dict.
        trust: run the code that a pickle may hold.

    Raises:
        WeightsError: the file cannot be read, or its names or shapes are not those of the model.
    """
    load_state(model, read_state_dict(path, trust=trust), source=str(path))


def load_state(model: nn.Module, state: Mapping[str, Tensor], *, source: str) -> None:
    """Copy a state dict into a model, with an error that names its source and the first misfits.

    Prefixes of wrappers are dropped where the model has no such names.
    """
    if model.state_dict().keys().isdisjoint(state):
        state = without_prefixes(state)
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


def digest(model: nn.Module) -> str:
    """Return 16 hexadecimal digits that tell a network from others: of its numbers and their names.

    >>> digest(nn.Linear(2, 2)) == digest(nn.Linear(2, 2))
    False

    Args:
        model: its parameters and buffers count, on whatever device they are.
    """
    found = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        if isinstance(tensor, Tensor):  # quantised modules keep other things there, too
            numbers = tensor.detach().cpu().contiguous()
            if numbers.is_quantized:
                numbers = numbers.int_repr()
            found.update(f"{name} {tuple(numbers.shape)} {numbers.dtype}".encode())
            found.update(numbers.flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()[:16]
