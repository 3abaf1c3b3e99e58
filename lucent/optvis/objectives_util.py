"""torch-lucent's helpers for objectives, under the names that scripts import them by."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lucent.optvis.objectives.base import _argument_text
from lucent.optvis.objectives.factories import handle_batch
from lucent.units import window


def _make_arg_str(arg: Any) -> str:
    """Return an argument as descriptions show it, "..." where it is long."""
    return _argument_text(arg)


def _extract_act_pos(acts: Tensor, x: int | None = None, y: int | None = None) -> Tensor:
    """Return the activations at column x and row y, by default in the middle, (B, C, 1, 1)."""
    return window(acts, x, y)


def _T_handle_batch(T: Any, batch: int | None = None) -> Any:
    """Return a `T` that gives one image of each activation, `T` itself for None."""
    return handle_batch(batch)(lambda T: T)(T)
