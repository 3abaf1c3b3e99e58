"""What a layer is taken apart into, and what gradients and activations of the parts make."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from lucent.attribution._passes import Place
from lucent.attribution.results import (
    along,
    check_positions,
    fitted_directions,
    over_positions,
    projected,
)
from lucent.errors import InputError

#: What a layer is taken apart into: positions, channels, or directions (G, C).
Parts: TypeAlias = Literal["positions", "channels"] | Tensor


def check_parts(parts: Parts) -> None:
    """Raise an error about what is no kind of parts.

    Raises:
        InputError: it is a text that is not known, or something else.
    """
    if not isinstance(parts, Tensor) and parts not in ("positions", "channels"):
        raise InputError(
            f"by={parts!r} is unknown: it is 'positions', 'channels', or a tensor (G, C) of "
            "directions."
        )


def numbers_of(acts: Tensor, parts: Parts, layer: str) -> Tensor:
    """Return what each part of a layer of one image counts by.

    Args:
        acts: (1, C, *spatial).
        parts: what the layer is taken apart into.
        layer: its name, for errors.
    """
    if isinstance(parts, Tensor):
        return over_positions(acts)[0] @ fitted_directions(parts, acts).T
    if parts == "channels":
        return over_positions(acts)[0]
    check_positions(acts, layer)
    return torch.linalg.vector_norm(acts[0], dim=0)


def attributed(place: Place, gradients: Tensor, parts: Parts) -> Tensor:
    """Return gradient x activation of each part of a layer, (n, B, *parts).

    Args:
        place: the layer.
        gradients: n of them, (n, *shape of the layer).
        parts: what the layer is taken apart into.
    """
    slopes = place.ordered(torch.cat(tuple(gradients), place.batch))
    acts = place.ordered(place.value)
    acts = acts.repeat(len(gradients), *[1] * (acts.dim() - 1))
    if isinstance(parts, Tensor):
        values = along(acts, slopes, parts)
    elif parts == "channels":
        values = over_positions(acts * slopes)
    else:
        check_positions(acts, place.name)
        values = (acts * slopes).sum(1)
    return values.unflatten(0, (len(gradients), -1))


def number_of(acts: Tensor, parts: Parts, layer: str) -> int:
    """Return how many parts a layer is taken apart into."""
    if isinstance(parts, Tensor):
        return len(fitted_directions(parts, acts))
    if parts == "channels":
        return acts.shape[1]
    check_positions(acts, layer)
    return acts[0, 0].numel()


def shares(acts: Tensor, parts: Parts, some: range) -> Tensor:
    """Return what some of the parts have of activations, (n, B, C, *spatial).

    Args:
        acts: (B, C, *spatial).
        parts: what the layer is taken apart into.
        some: numbers of the n parts.
    """
    if isinstance(parts, Tensor):
        directions = fitted_directions(parts, acts)
        strengths = projected(acts, directions)[:, some.start : some.stop]
        return torch.einsum("bg...,gc->gbc...", strengths, directions[some.start : some.stop])
    which = torch.arange(some.start, some.stop, device=acts.device)
    if parts == "channels":
        own = F.one_hot(which, acts.shape[1]).view(len(some), 1, -1, *[1] * (acts.dim() - 2))
    else:
        own = F.one_hot(which, acts[0, 0].numel()).view(len(some), 1, 1, *acts.shape[2:])
    return own.to(acts) * acts
