"""A CUDA graph imitated on the CPU, operation by operation.

Recording runs the work and then takes back what it did to memory that was there before, because a
graph that is captured does nothing yet. A replay repeats the operations, without Python, on the
memory of the recording: numbers of the host, the shape of everything and the order stay, whatever
has changed since.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Tape(TorchDispatchMode):
    """Records the operations of a step, as `lucent.optvis.capture.Recorder` says."""

    def __init__(self):
        super().__init__()
        self.operations, self.replays = [], 0
        self._kept, self._own = {}, set()

    def record(self, work, generator):
        state = generator.get_state()
        with self:
            result = work()
        generator.set_state(state)
        with torch.no_grad():
            for tensor, before in self._kept.values():
                tensor.copy_(before)
        return result

    @torch.no_grad()
    def replay(self):
        self.replays += 1
        for func, args, kwargs, results in self.operations:
            for old, new in zip(results, tensors_of(func(*args, **kwargs)), strict=True):
                if new.data_ptr() != old.data_ptr():
                    old.copy_(new)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if torch.Tag.data_dependent_output in func.tags:
            raise RuntimeError("operation not permitted when stream is capturing")
        self._keep_what_is_written(func, args, kwargs)
        result = func(*args, **kwargs)
        if not any(
            returned.alias_info and not returned.alias_info.is_write
            for returned in func._schema.returns
        ):
            self.operations.append((func, args, kwargs, tensors_of(result)))
            self._own |= {tensor.untyped_storage().data_ptr() for tensor in tensors_of(result)}
        return result

    def _keep_what_is_written(self, func, args, kwargs):
        names = [argument.name for argument in func._schema.arguments]
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        for argument in func._schema.arguments:
            if argument.alias_info is not None and argument.alias_info.is_write:
                for tensor in tensors_of(given.get(argument.name)):
                    if tensor.untyped_storage().data_ptr() not in self._own:
                        self._kept.setdefault(tensor.data_ptr(), (tensor, tensor.detach().clone()))


def tensors_of(values):
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]
