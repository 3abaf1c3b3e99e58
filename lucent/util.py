"""Seeds, devices, and the context managers that leave everything as it was."""

from __future__ import annotations

import functools
import hashlib
import importlib
import itertools
import operator
import os
import random
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lucent import __version__
from lucent.errors import InputError, LucentWarning, MissingExtra

#: Bytes read at a time: hashing gains nothing from more.
_CHUNK = 1 << 20
#: More numbers than this are no constant that a step makes anew; to compare them would take long.
_MOST_KEPT = 64


def set_seed(seed: int) -> None:
    """Seed the global generators of Python, NumPy and PyTorch; make cuDNN deterministic.

    Args:
        seed: any non-negative integer; NumPy gets its low 32 bits.
    """
    _seed_generators(seed)
    torch.backends.cudnn.deterministic = True


def _seed_generators(seed: int) -> None:
    seed = operator.index(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    # PyTorch takes 64 bits.
    torch.manual_seed(seed % 2**64)


@contextmanager
def forked_rng(seed: int | None) -> Iterator[None]:
    """Seed the three global generators inside the block and put their states back after it.

    Args:
        seed: None leaves the generators alone.
    """
    if seed is None:
        yield
        return
    python_state, numpy_state = random.getstate(), np.random.get_state()
    n_gpus = torch.cuda.device_count() if torch.cuda.is_initialized() else 0
    with torch.random.fork_rng(devices=range(n_gpus)):
        _seed_generators(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a block in which products keep the precision of their factors.

    Args:
        device: of the factors; some, such as meta, do not know autocast.
    """
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def constant(values: Any, like: torch.Tensor) -> torch.Tensor:
    """Return numbers as a tensor of the dtype and on the device of another one.

    A few numbers are made once and kept, so the result must not be written to: a copy to a GPU
    takes longer than most kernels, and a captured graph must not contain any.

    Args:
        values: a number, or numbers in nested sequences or an array.
        like: for the dtype and the device.
    """
    if isinstance(values, np.ndarray) and values.size <= _MOST_KEPT:
        values = values.tolist()
    # What stands for a tensor, such as a fake one, makes constants of its own kind.
    if isinstance(values, np.ndarray) or type(like) not in (torch.Tensor, nn.Parameter):
        return _made(values, like.dtype, like.device)
    return _kept(_frozen(values), like.dtype, like.device)


def _frozen(values: Any) -> Any:
    return tuple(map(_frozen, values)) if isinstance(values, list | tuple) else values


@functools.lru_cache(maxsize=1024)
def _kept(values: Any, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    # Autograd refuses a tensor of inference mode later.
    with torch.inference_mode(False):
        return _made(values, dtype, device)


def _made(values: Any, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    # Made on the device directly, they would make the caller wait until a GPU has caught up.
    return torch.tensor(values, dtype=dtype, device="cpu").to(device, non_blocking=True)


def old_device(module: str, name: str, known: str) -> torch.device:
    """Answer scripts that read a device which torch-lucent chose at import, for a `__getattr__`.

    Args:
        module: where the name was looked for.
        name: what was looked for.
        known: the one name that is answered.

    Raises:
        AttributeError: it is another name.
    """
    if name != known:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    warnings.warn(
        f"{module}.{name} is kept for old scripts: images follow the device of the model, so "
        "nothing needs it.",
        LucentWarning,
        stacklevel=3,
    )
    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


def __getattr__(name: str) -> torch.device:
    return old_device(__name__, name, "DEFAULT_DEVICE")


def device_of(model: nn.Module) -> torch.device:
    """Return the device of the model's first floating parameter or buffer, else the CPU."""
    return _first_tensor(model).device


def dtype_of(model: nn.Module) -> torch.dtype:
    """Return the floating-point type of the model's first such parameter or buffer."""
    return _first_tensor(model).dtype


def conditions(model: nn.Module) -> dict[str, Any]:
    """Return what the last bits of computed numbers depend on, beside what is computed.

    Args:
        model: on the device that counts.
    """
    device = device_of(model)
    on_gpu = device.type == "cuda"
    return {
        "lucent": __version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if on_gpu else device.type,
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def memory_format_of(image: torch.Tensor) -> torch.memory_format:
    """Return the memory format of a tensor, the ordinary one if it has both.

    Args:
        image: (B, C, H, W); others have the ordinary one.
    """
    if image.is_contiguous() or not image.is_contiguous(memory_format=torch.channels_last):
        return torch.contiguous_format
    return torch.channels_last


def optional(module: str, extra: str) -> Any:
    """Import an optional package.

    Args:
        module: its name.
        extra: the extra of torch-lucent that installs it.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"This needs the package {module.partition('.')[0]!r}, which is not installed: "
            f'pip install "torch-lucent[{extra}]"'
        ) from error


def _first_tensor(model: nn.Module) -> torch.Tensor:
    tensors = itertools.chain(model.parameters(), model.buffers())
    return next((t for t in tensors if t.is_floating_point()), torch.empty(0))


@contextmanager
def frozen_eval(model: nn.Module) -> Iterator[None]:
    """Put the model into eval mode with frozen parameters; afterwards it is as it was.

    Eval mode keeps batch-norm statistics and dropout out of the picture; frozen parameters save the
    memory that their gradients would need.
    """
    modes = [(module, module.training) for module in model.modules()]
    trainable = [p for p in model.parameters() if p.requires_grad]
    try:
        model.eval()
        for parameter in trainable:
            parameter.requires_grad_(False)
        with kept_buffers(model):
            _fix_ranges(model)
            yield
    finally:
        # train() would recurse into the children, whose modes may differ from their parent's.
        for module, mode in modes:
            module.training = mode
        for parameter in trainable:
            parameter.requires_grad_(True)


def _fix_ranges(model: nn.Module) -> None:
    """Keep fake-quantised modules from adapting their ranges, which they do in eval mode, too."""
    for module in model.modules():
        fix = getattr(module, "disable_observer", None)
        lowest = getattr(getattr(module, "activation_post_process", None), "min_val", None)
        # One that has seen nothing yet has no range to keep.
        if fix and lowest is not None and lowest.numel() and lowest.isfinite().all():
            fix()  # in a buffer, as everything about its ranges


@contextmanager
def kept_buffers(model: nn.Module) -> Iterator[None]:
    """Undo what the block does to the buffers of a model, such as statistics and counters."""
    before = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    try:
        yield
    finally:
        for module, name, buffer, value in before:
            module._buffers[name] = buffer
            if not torch.equal(buffer, value):
                buffer.resize_(value.shape).copy_(value)


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` when the block ends well, and vanishes otherwise.

    Args:
        path: the file to write, "~" being the home folder; missing parent folders are made.

    Raises:
        InputError: the path is that of a folder.
    """
    target = Path(os.path.expanduser(path))
    if target.is_dir():
        raise InputError(f"{str(path)!r} is a folder: name a file in it, such as 'name.png'.")
    target.parent.mkdir(parents=True, exist_ok=True)
    # The suffix is kept because writers choose the format by it.
    handle, name = tempfile.mkstemp(
        prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    """mkstemp makes files that only their owner may read; a result is an ordinary file."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()
