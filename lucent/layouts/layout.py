"""How the output of a layer becomes (B, C, *spatial)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lucent.errors import InputError, LayerError
from lucent.layouts.coordinates import FIRST_TOKEN, NOWHERE, Coordinates

#: The token of a layer that stands for all patches, as a grid.
PATCHES = "patches"
# Parts of the names that networks give to the parameters that become tokens.
_KINDS = (("dist", "dist"), ("cls", "cls"), ("class", "cls"), ("reg", "reg"))
_ROLES = ("images", "channels", "positions")


@dataclass(frozen=True)
class Tokens:
    """An axis of positions that is a list: what the network added, and a grid.

    Attributes:
        names: of the tokens, "" for one of the grid, in their order.
        grid: shape of the grid, or () if it is none.
    """

    names: tuple[str, ...]
    grid: tuple[int, ...] = ()

    @property
    def first(self) -> int:
        """Number of the first token of the grid."""
        return self.names.index("")

    @property
    def n_patches(self) -> int:
        """Number of tokens of the grid, which are neighbours."""
        return self.names.count("")


@dataclass(frozen=True)
class Layout:
    """Where batch, channels and positions of a tensor are.

    Attributes:
        batch: the axis of the images.
        channels: the axes that together count the channels, the slowest first.
        positions: all others, in the order of space.
        tokens: what the first axis of positions is a list of; None if they are a grid as they are.
        keys: the same of the second axis of positions, of an attention map.
        gathered: of a tensor whose axes mix them, which number of each image goes where,
            (C, *spatial), and how many numbers an image has; the rest does not count then.
    """

    batch: int = 0
    channels: tuple[int, ...] = (1,)
    positions: tuple[int, ...] = ()
    tokens: Tokens | None = None
    keys: Tokens | None = None
    gathered: tuple[Tensor, int] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of tokens that `select` knows."""
        return tuple(n for n in self.tokens.names if n) if self.tokens else ()

    def channels_first(self, acts: Tensor, layer: str = "") -> Tensor:
        """Return activations as (B, C, *spatial): of tokens, the grid of patches.

        An attention map is (B, heads, queries, keys), all of its tokens included.

        Args:
            acts: what the layer gave.
            layer: how errors call it.
        """
        if self.gathered is not None:
            self._check(acts, layer)
            index, n_numbers = self.gathered
            return acts.reshape(-1, n_numbers)[:, index.flatten()].unflatten(1, index.shape)
        acts = self._ordered(acts, layer)
        if self.tokens is None or not self.tokens.n_patches or self.keys is not None:
            return acts
        patches = acts.narrow(2, self.tokens.first, self.tokens.n_patches)
        return patches.unflatten(2, self.tokens.grid) if self.tokens.grid else patches

    def select(self, acts: Tensor, token: str, layer: str) -> Tensor:
        """Return one token of activations, (B, C); of an attention map, where it looks.

        Args:
            acts: what the layer gave.
            token: a name, "patches" for all that are in the grid, or the number of a token.
            layer: how errors call it.

        Raises:
            LayerError: the layer has no such token.
        """
        if token == PATCHES and self.keys is None:
            return self.channels_first(acts, layer)
        if self.tokens is None:
            raise LayerError(
                f"The layer '{layer}' has no tokens, so there is no '@{token}': leave it out."
            )
        names = self.tokens.names
        numbers = [
            n for n, name in enumerate(names) if token == (name or str(n)) or token == str(n)
        ]
        if not numbers:
            known = ", ".join(f"'@{name}'" for name in (*self.names, PATCHES))
            raise LayerError(
                f"The layer '{layer}' has no token '@{token}': it has {known} and the numbers "
                f"'@0' to '@{len(names) - 1}'."
            )
        acts = self._ordered(acts, layer).select(2, numbers[0])
        if self.keys is None:
            return acts
        seen = acts.narrow(2, self.keys.first, self.keys.n_patches)
        return seen.unflatten(2, self.keys.grid) if self.keys.grid else seen

    def _ordered(self, acts: Tensor, layer: str) -> Tensor:
        self._check(acts, layer)
        order = (self.batch, *self.channels, *self.positions)
        if order != tuple(range(acts.dim())):
            acts = acts.permute(order)
        return acts if len(self.channels) == 1 else acts.flatten(1, len(self.channels))

    def _check(self, acts: Tensor, layer: str) -> None:
        n_tokens = None if self.tokens is None else len(self.tokens.names)
        if self.gathered is not None:
            fits = acts.numel() % self.gathered[1] == 0
        else:
            rank = 1 + len(self.channels) + len(self.positions)
            n_positions = acts.shape[self.positions[0]] if self.positions else 1
            fits = acts.dim() == rank and n_tokens in (None, n_positions)
        if not fits:
            raise LayerError(
                f"The layer '{layer}' gives the shape {tuple(acts.shape)}, which does not fit its "
                f"layout {self}: the size of the image must stay the same during a run, or the "
                "layout= given is that of another layer."
            )


def layout_of(coordinates: Coordinates, tokens: Sequence[str]) -> Layout | None:
    """Return the layout of a tensor by the coordinates of its numbers, None if they are lost.

    Args:
        coordinates: of a batch of at least two images.
        tokens: the names of what the network added, in the order of their numbers.
    """
    if (parts := coordinates.parts) is not None and _differ(parts.images, parts.channels):
        return Layout(positions=tuple(range(2, len(coordinates.shape))))
    axes = _Axes(coordinates)
    if axes.mixed:
        return _gathered(coordinates)
    if axes.batch is None or axes.channels is None:
        return None
    layout = Layout(axes.batch, axes.channels, axes.positions)
    if not len(axes.places) or len(axes.positions) - (coordinates.keys is not None) != 1:
        return layout
    listed = _tokens(axes.places, coordinates.grid, tokens)
    if listed is None:
        return None
    if listed.names.count("") != len(listed.names) or len(coordinates.grid) > 1:
        layout = replace(layout, tokens=listed)
    if coordinates.keys is not None:
        keys = _tokens(coordinates.keys, coordinates.grid, tokens)
        layout = replace(layout, tokens=listed, keys=keys)
    return layout


def _differ(*counted: Tensor) -> bool:
    """Whether each counts without coming to a number twice."""
    return all(len(numbers.unique()) == numbers.numel() for numbers in counted)


class _Axes:
    """What each axis of a tensor counts: along a line through a place of the image it shows.

    Attributes:
        mixed: an axis counts several things at once, or not in their order.
        batch: the axis of the images.
        channels: the axes of the channels, the slowest first; None if there are none.
        positions: the axes of the positions and those that count nothing.
        places: the positions along the first of them.
    """

    def __init__(self, coordinates: Coordinates) -> None:
        self.mixed = False
        self.batch: int | None = None
        self.channels: tuple[int, ...] | None = None
        self.positions: tuple[int, ...] = ()
        self.places = torch.empty(0, dtype=torch.long)
        self._codes, self._in_grid = coordinates.codes, coordinates.positions < FIRST_TOKEN
        if not self._in_grid.any():  # it is about tokens alone
            self._in_grid = self._codes != NOWHERE
        found = self._in_grid.nonzero()
        if not len(found):
            return
        self._origin = found[-1].tolist()
        roles = [self._roles(coordinates, axis) for axis in range(self._codes.dim())]
        roles = self._as_units(roles)
        self.mixed = any(len(role) > 1 for role in roles) or not self._adds_up()
        if self.mixed:
            return
        of = {name: [a for a, role in enumerate(roles) if role == [name]] for name in _ROLES}
        idle = [axis for axis, role in enumerate(roles) if not role]
        self._assign(coordinates, of, idle)

    def _assign(self, coordinates: Coordinates, of: dict[str, list[int]], idle: list[int]) -> None:
        single = [axis for axis in idle if self._codes.shape[axis] == 1]
        if not of["images"] and single:
            of["images"] = [single.pop(0)]  # a batch of one
        if not of["channels"] and single:
            of["channels"] = single[:1]  # the only channel there is
        if len(of["images"]) == 1:
            self.batch = of["images"][0]
        if of["channels"]:
            self.channels = self._slowest_first(of["channels"])
        rest = [axis for axis in idle if axis not in (*of["images"], *of["channels"])]
        places = list(self._slowest_first(of["positions"]))
        # Axes that count nothing stay where they are, if the others are in order.
        together = sorted([*places, *rest])
        in_order = [axis for axis in together if axis in places] == places
        self.positions = tuple(together if in_order else [*places, *rest])
        if coordinates.keys is not None:
            self.positions = (*places, *rest)
        if places:
            self.places = coordinates.positions[self._line(self.positions[0])]

    def _line(self, axis: int) -> tuple[Any, ...]:
        return tuple(slice(None) if n == axis else at for n, at in enumerate(self._origin))

    def _roles(self, coordinates: Coordinates, axis: int) -> list[str]:
        """Return what changes along an axis; tokens belong to the positions."""
        line, in_grid = self._line(axis), self._in_grid[self._line(axis)]
        varying = []
        for name in _ROLES:
            numbers = getattr(coordinates, name)[line][in_grid]
            steps = numbers.diff()
            if (steps != 0).any():
                varying.append(name)
                # What comes twice is two things at once as well; channels may be shuffled.
                once = len(numbers.unique()) == len(numbers)
                in_order = once if name == "channels" else bool((steps > 0).all())
                varying += [] if in_order else [name]
        tokens = bool((~in_grid).any())
        return [*varying, "positions"] if tokens and "positions" not in varying else varying

    def _as_units(self, roles: list[list[str]]) -> list[list[str]]:
        """Read axes along which channels and positions change together as the layer sees them.

        Patches that were made channels are channels, if no other axis is; channels that were made
        places of a finer grid are places.
        """
        only = sum("channels" in role for role in roles) == 1
        return [
            ["channels" if only else "positions"]
            if {*role} == {"channels", "positions"} and self._in_grid[self._line(axis)].all()
            else role
            for axis, role in enumerate(roles)
        ]

    def _adds_up(self) -> bool:
        """Whether every number is where the lines through one of them say."""
        origin = self._codes[tuple(self._origin)]
        total = origin
        for axis in range(self._codes.dim()):
            line = self._codes[self._line(axis)] - origin
            total = total + line.view(-1, *[1] * (self._codes.dim() - 1 - axis))
        return bool((total == self._codes)[self._in_grid].all())

    def _slowest_first(self, axes: Sequence[int]) -> tuple[int, ...]:
        codes = {axis: self._codes[self._line(axis)] for axis in axes}
        in_grid = {axis: self._in_grid[self._line(axis)] for axis in axes}
        step = {
            a: int(codes[a][in_grid[a]].diff().abs().amax()) if sum(in_grid[a]) > 1 else 0
            for a in axes
        }
        return tuple(sorted(axes, key=lambda axis: -step[axis]))


def _tokens(places: Tensor, grid: Sequence[int], names: Sequence[str]) -> Tokens | None:
    """Return what a list of positions is, None if its grid is not in one piece."""
    in_grid = places < FIRST_TOKEN
    patches = places[in_grid]
    numbers = in_grid.nonzero().flatten()
    if (numbers.diff() != 1).any() or (patches.diff() <= 0).any():
        return None
    added = [names[n] if n < len(names) else "" for n in (places[~in_grid] - FIRST_TOKEN).tolist()]
    titles = iter(_titles(added))
    listed = tuple("" if inside else next(titles) for inside in in_grid.tolist())
    return Tokens(listed, _sides(patches, grid))


def _titles(names: Sequence[str]) -> list[str]:
    """Return what tokens are called in addresses by the names of their parameters.

    >>> _titles(["embeddings.cls_token", "register_tokens", "register_tokens"])
    ['cls', 'reg0', 'reg1']
    """
    last = [name.rpartition(".")[2].lower() for name in names]
    kinds = [next((kind for part, kind in _KINDS if part in name), "token") for name in last]
    total, seen, titles = Counter(kinds), Counter[str](), []
    for kind in kinds:
        several = kind in ("reg", "token") or total[kind] > 1
        titles.append(f"{kind}{seen[kind]}" if several else kind)
        seen[kind] += 1
    return titles


def _sides(places: Tensor, grid: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of the grid that the places of a list fill, () if it is none."""
    if len(grid) < 2 or not len(places):
        return ()
    counted = np.unravel_index(places.cpu().numpy(), tuple(grid))
    sides = tuple(len(np.unique(along)) for along in counted)
    return sides if int(np.prod(sides)) == len(places) else ()


def _gathered(coordinates: Coordinates) -> Layout | None:
    """Return the layout of a tensor whose axes mix things, such as windows and images."""
    n_images = int(coordinates.images.max()) + 1
    in_grid = (coordinates.positions < FIRST_TOKEN).reshape(n_images, -1)
    images = coordinates.images.reshape(n_images, -1)
    rows = torch.arange(n_images, device=images.device)[:, None]
    if not (images == rows)[in_grid].all():
        return None
    numbers = in_grid[0].nonzero().flatten()
    channels, positions = (
        torch.unique(own.reshape(n_images, -1)[0][numbers], return_inverse=True)
        for own in (coordinates.channels, coordinates.positions)
    )
    shape = len(channels[0]), len(positions[0])
    where = channels[1] * shape[1] + positions[1]
    if len(where) != shape[0] * shape[1] or len(torch.unique(where)) != len(where):
        return None
    index = torch.empty_like(numbers)
    index[where] = numbers
    sides = _sides(positions[0], coordinates.grid) or (shape[1],)
    return Layout(gathered=(index.view(shape[0], *sides), in_grid.shape[1]))


def layout_from(letters: str, shape: Sequence[int]) -> Layout:
    """Return the layout that letters spell, one for each axis.

    Args:
        letters: N batch, C channels, D H W space, L tokens: a square grid of patches behind what
            there is besides, a class token where it is one. Other letters are further positions.
        shape: of the tensor.

    Raises:
        InputError: the letters do not fit the shape.
    """
    spelt = letters.upper()
    known = len(set(spelt)) == len(spelt) and {"N", "C"} <= set(spelt)
    if not known or len(spelt) != len(shape):
        raise InputError(
            f"layout={letters!r} does not fit an activation of shape {tuple(shape)}: give a letter "
            "for each axis, N batch, C channels, D H W space, L tokens, for example 'NHWC' or "
            "'NLC'."
        )
    space = [letter for letter in "DHWL" if letter in spelt]
    space += [letter for letter in spelt if letter not in "NCDHWL"]
    layout = Layout(
        spelt.index("N"), (spelt.index("C"),), tuple(spelt.index(letter) for letter in space)
    )
    if space[:1] != ["L"]:
        return layout
    length = shape[spelt.index("L")]
    side = math.isqrt(length)
    n_added = length - side**2
    added = ("cls",) if n_added == 1 else tuple(f"token{n}" for n in range(n_added))
    return replace(layout, tokens=Tokens((*added, *[""] * side**2), (side, side)))
