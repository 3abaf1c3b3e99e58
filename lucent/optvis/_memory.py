"""How many images a batch should have, by what one of them takes."""

from __future__ import annotations

import numbers
from typing import Any

import torch
from torch import Tensor, nn

from lucent.errors import InputError
from lucent.optvis.loop import Run

#: A GPU is busy with that many rows, and results should not come too late.
_MOST_ON_GPU = 256
#: The share of a GPU's free memory that is planned with: the rest goes to fragments.
_SHARE = 0.8
#: Small rows gain from sharing what a pass costs whatever its size, until there are about 16.
_MOST_ON_CPU = 16
#: Large rows gain less, and sooner. CPU time of a step per row at 224 px on one core, in batches of
#: 1, 2, 4, 8: InceptionV1 to mixed4a (38 MiB kept per row) 101, 93, 89, 92 ms; ResNet-50 to layer1
#: (22 MiB) 107, 91, 87, 89 ms.
_BYTES_ON_CPU = 192 * 2**20


def rows_that_pay(run: Run, model: nn.Module) -> int:
    """Return how many images like the one of a run a batch should have, by doing one step of it.

    Args:
        run: open, with at least one step left.
        model: its network, whose own tensors do not count.
    """
    device = run.image.trainable()[0].device
    if device.type != "cuda":
        return max(1, min(_MOST_ON_CPU, _BYTES_ON_CPU // max(1, _bytes_saved(run, model))))
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    next(run)
    taken = max(1, torch.cuda.max_memory_allocated(device) - before)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = torch.cuda.mem_get_info(device)[0] + unused
    return max(1, min(_MOST_ON_GPU, int(_SHARE * free / taken)))


def _bytes_saved(run: Run, model: nn.Module) -> int:
    """Do a step and return the bytes that it keeps for the backward pass, beside the weights."""
    weights = [*model.parameters(), *model.buffers()]
    known = {weight.untyped_storage().data_ptr() for weight in weights}
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        next(run)
    return sum(size for place, size in sizes.items() if place not in known)


def checked_size(size: Any) -> int | None:
    """Return a number of rows, None for "auto".

    Raises:
        InputError: it is neither.
    """
    if size == "auto":
        return None
    if isinstance(size, bool) or not isinstance(size, numbers.Integral) or size < 1:
        raise InputError(
            f"batch_size={size!r} has to be 'auto' or a number of objectives, 1 or more."
        )
    return int(size)
