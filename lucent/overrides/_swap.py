"""How an override reaches the operations of a model: through its modules and its function calls."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, handle_torch_function, has_torch_function_unary


class FunctionOverride(TorchFunctionMode):
    """Replaces calls of certain functions inside its block.

    Args:
        removes: the functions are gone from the model, rather than given other gradients.

    Attributes:
        modules: those that call these functions, to be overridden one by one.
        removes: as given.
    """

    modules: tuple[type[nn.Module], ...] = ()

    def __init__(self, *, removes: bool = False) -> None:
        super().__init__()
        self.removes = removes

    @abstractmethod
    def replacement(
        self, func: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
    ) -> Callable[[], Any] | None:
        """Return what to call in place of `func(*args, **options)`, None to leave it alone."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call the replacement of a function, or the function itself where there is none."""
        options = dict(kwargs or {})
        if func is _is_removed and self.removes:
            return True
        replacement = self.replacement(func, args, options)
        if replacement is None:
            return func(*args, **options)
        if not self.removes and _is_removed():
            return func(*args, **options)
        return replacement()


def _is_removed() -> bool:
    """Whether a block further out removes the functions; that block answers in our place."""
    if has_torch_function_unary(None):  # true where any block is open
        return bool(handle_torch_function(_is_removed, ()))
    return False


def needs_gradient(x: Tensor) -> bool:
    """Whether a gradient may flow back to x, so that replacing it makes a difference."""
    return torch.is_grad_enabled() and x.requires_grad


class Substituted(torch.autograd.Function):
    """One value with the gradient of another one.

    `Substituted.apply(like, (value,))` is `value`, but passes its gradient on to `like`.
    """

    @staticmethod
    def forward(ctx: Any, like: Tensor, held: tuple[Tensor]) -> Tensor:
        """Return the value.

        Args:
            ctx: the autograd context.
            like: where the gradient goes, of the shape of the value.
            held: the value without a gradient; in a tuple, because autograd would make a tensor
                argument that is returned a view, which no later operation may overwrite.
        """
        return held[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """Return the gradient for `like`."""
        return grads[0], None


class _Forward:
    """The forward of one module under an override."""

    def __init__(self, module: nn.Module, override: FunctionOverride) -> None:
        self.override = override
        self._module = module

    def __call__(self, *args: Any, **options: Any) -> Any:
        with self.override:
            return type(self._module).forward(self._module, *args, **options)


@contextmanager
def overridden(model: nn.Module, override: FunctionOverride, *, functional: bool) -> Iterator[None]:
    """Put an override into force in a model.

    Args:
        model: any network; its modules are as before when the block ends.
        override: what to replace.
        functional: replace all functional calls in the block as well.
    """
    with ExitStack() as stack:
        # To compile a model, or one that it is a part of, anew for each block would take longer
        # than a block lasts.
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        for module in model.modules():
            if _is_open_to(module, override):
                stack.enter_context(swapped_forward(module, _Forward(module, override)))
        if functional:
            stack.enter_context(override)
        yield


def _is_open_to(module: nn.Module, override: FunctionOverride) -> bool:
    """Whether the module computes what its class says, as it is or under another override."""
    # The class of a scripted module has no forward.
    if getattr(type(module), "forward", None) not in [known.forward for known in override.modules]:
        return False
    forward = vars(module).get("forward")
    return forward is None or (isinstance(forward, _Forward) and not forward.override.removes)


@contextmanager
def swapped_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Give a module another forward inside the block."""
    before = vars(module).get("forward")
    vars(module)["forward"] = forward
    try:
        yield
    finally:
        if before is None:
            del vars(module)["forward"]
        else:
            vars(module)["forward"] = before
