"""Calls of functions inside of a module, as layers: `"inception3a.branch1.relu"`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from lucent.layouts import function_name


class FunctionCalls(TorchFunctionMode):
    """Tells of the calls of functions that a module does itself, not the modules inside of it.

    They are named as in the graph of `torch.fx`: `relu`, then `relu_1`.

    Args:
        modules: by name.
        observe: called with the name of a call and what it returned; what it returns takes the
            place of that, if it is not None.
    """

    def __init__(
        self, modules: Mapping[str, nn.Module], observe: Callable[[str, Any], Any]
    ) -> None:
        super().__init__()
        self._observe = observe
        # The modules that are running, and what each has called so far; None for one within.
        self._running: list[tuple[str, Counter[str]] | None] = []
        self._hooks: list[RemovableHandle] = []
        for name, module in modules.items():
            self._watch(module, name)
            # Not its children alone: a module calls those inside a ModuleList itself.
            for part in module.modules():
                if part not in modules.values():
                    self._watch(part, None)

    def _watch(self, module: nn.Module, name: str | None) -> None:
        def enter(*_: Any) -> None:
            self._running.append(None if name is None else (name, Counter()))

        def leave(*_: Any) -> None:
            self._running.pop()

        self._hooks += [
            module.register_forward_pre_hook(enter),
            module.register_forward_hook(leave),
        ]

    def __exit__(self, *exc: Any) -> None:
        super().__exit__(*exc)
        for hook in self._hooks:
            hook.remove()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if not self._running or self._running[-1] is None:
            return output
        module, seen = self._running[-1]
        name = function_name(func)
        number = f"_{seen[name]}" if seen[name] else ""
        seen[name] += 1
        replaced = self._observe(f"{module}.{name}{number}", output)
        return output if replaced is None else replaced
