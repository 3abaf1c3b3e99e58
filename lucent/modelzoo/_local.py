"""Networks, and other things, that a function in a Python file of the user's builds."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from lucent.errors import InputError, suggestion
from lucent.modelzoo._sources import Weights
from lucent.weights import load_weights

_NAME = re.compile(r".+\.py:\w+")


def is_local(name: str) -> bool:
    """Tell whether a name has the form "file.py:function"."""
    return _NAME.fullmatch(name) is not None


def load(name: str, weights: Weights) -> nn.Module:
    """Build the network that a function returns when it is called without arguments.

    Args:
        name: "file.py:function"; the function may be a class.
        weights: those of a file are loaded into the network; what else it has is up to the
            function.

    Raises:
        InputError: there is no such file or function, or it returns no network.
        WeightsError: the weights cannot be read or matched.
    """
    model = result_of(name)
    if not isinstance(model, nn.Module):
        file, _, function = name.rpartition(":")
        raise InputError(
            f"{function} in {file} returned a {type(model).__name__}, expected is a "
            "torch.nn.Module: end it with `return model`."
        )
    if weights.file is not None:
        load_weights(model, weights.file, trust=weights.trust)
    return model


def result_of(name: str) -> object:
    """Return what a function gives when it is called without arguments.

    Args:
        name: "file.py:function"; the function may be a class.

    Raises:
        InputError: there is no such file or function, or it needs arguments.
    """
    file, _, function = name.rpartition(":")
    path = Path(file).expanduser()
    # Also while it runs: a function may import, too.
    with _neighbours_of(path):
        return _builder(_imported(path), file, function)()


def _builder(module: ModuleType, file: str, function: str) -> Callable[[], object]:
    build: Any = getattr(module, function, None)
    if not callable(build):
        known = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        hint = suggestion(function, known) or f"It has {', '.join(known) or 'none'}."
        raise InputError(f"{file} has no function {function!r}. {hint}")
    if needed := _needed(build):
        raise InputError(
            f"{function} in {file} needs {', '.join(needed)}, but is called without arguments: "
            f"give {'it a default' if len(needed) == 1 else 'them defaults'}."
        )
    return build  # type: ignore[no-any-return]


def _needed(build: Callable[..., Any]) -> list[str]:
    """Return the names of the parameters without a default."""
    parameters: list[inspect.Parameter] = []
    with suppress(ValueError):  # some callables written in C have no signature
        parameters += inspect.signature(build).parameters.values()
    anything = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    return [p.name for p in parameters if p.default is p.empty and p.kind not in anything]


def _imported(file: Path) -> ModuleType:
    if not file.is_file():
        raise InputError(f"There is no file {file}: 'FILE.py:FUNCTION' names a function in a file.")
    # The prefix keeps a file "torch.py" from taking the place of the package.
    name = f"_of_lucent_{file.stem}"
    loader = SourceFileLoader(name, str(file))
    module = module_from_spec(ModuleSpec(name, loader, origin=str(file)))
    sys.modules[name] = module  # dataclasses and pickle look their module up there
    loader.exec_module(module)
    return module


@contextmanager
def _neighbours_of(file: Path) -> Iterator[None]:
    """Let a file import those beside it, as a script does."""
    folder = str(file.resolve().parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
