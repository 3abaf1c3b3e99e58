"""Queries, keys and values of an attention, and its heads, as parts of what a layer gives."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from lucent.errors import LayerError

_PROJECTIONS = ("q", "k", "v")
_HEAD = re.compile(r"head(\d+)")


def attention_part(
    modules: Sequence[nn.Module],
    inputs: tuple[Any, ...],
    output: Any,
    picks: tuple[str, ...],
    layer: str,
) -> tuple[Any, tuple[str, ...]]:
    """Follow `[q]`, `[k]`, `[v]` and `[head3]` from an attention or its joint projection.

    Args:
        modules: the one that gave the output, and the one that it is a part of.
        inputs: what it was given.
        output: what it gave.
        picks: the parts asked for, in turn.
        layer: how errors call it.

    Returns:
        What they lead to, and the picks that are left.

    Raises:
        LayerError: there is no such head, or the number of heads is not known.
    """
    if not picks or picks[0] not in _PROJECTIONS:
        return output, picks
    number, module = _PROJECTIONS.index(picks[0]), modules[0]
    if isinstance(module, nn.MultiheadAttention):
        made = _projected(module, inputs[number], number)
    elif isinstance(module, nn.Linear) and isinstance(output, Tensor):
        if module.out_features % 3:
            return output, picks
        made = output.chunk(3, -1)[number]
    else:
        return output, picks
    if len(picks) > 1 and (head := _HEAD.fullmatch(picks[1])):
        counts = [getattr(own, "num_heads", None) for own in modules]
        n_heads = next((count for count in counts if isinstance(count, int)), None)
        return _head(made, int(head[1]), n_heads, layer), picks[2:]
    return made, picks[1:]


def _projected(attention: nn.MultiheadAttention, given: Tensor, number: int) -> Tensor:
    separate = (attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight)
    joint = attention.in_proj_weight
    weight = separate[number] if joint is None else joint.chunk(3)[number]
    bias = attention.in_proj_bias
    return F.linear(given, weight, None if bias is None else bias.chunk(3)[number])


def _head(acts: Tensor, head: int, n_heads: int | None, layer: str) -> Tensor:
    if n_heads is None or not 0 <= head < n_heads:
        raise LayerError(
            f"The layer '{layer}' has no head {head}: "
            + (
                "how many it has is not known; name its channels instead."
                if n_heads is None
                else f"it has {n_heads}, 0 to {n_heads - 1}."
            )
        )
    return acts.chunk(n_heads, -1)[head]
