"""Feature grids: several units, each looked for in several ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from lucent.errors import InputError, suggestion
from lucent.optvis.objectives import Objective, as_objective, neuron
from lucent.recipes.icons import render_icons
from lucent.recipes.results import Panels, Result
from lucent.units import parsed

#: From a unit as a string to an objective.
Kind = Callable[[str], Objective]


@dataclass(frozen=True, eq=False)
class FeatureGrid(Result):
    """Pictures of units, a row for each unit, a column for each way to look for it.

    Attributes:
        units: as given.
        kinds: names of the columns.
        images: (units, kinds, H, W, C) in [0, 1]; those that were not finished are 0.5.
        done: (units, kinds), True for those that were finished.
    """

    units: tuple[str, ...]
    kinds: tuple[str, ...]
    images: np.ndarray
    done: np.ndarray

    def panels(self) -> Panels:
        """Return the pictures with units and columns."""
        labels = [f"{unit} {kind}" for unit in self.units for kind in self.kinds]
        pictures = self.images.reshape(-1, *self.images.shape[2:])
        return Panels(list(pictures), labels, columns=len(self.kinds))


def _centre(unit: str) -> Objective:
    """Return the unit at the position in the middle: what alone excites it."""
    layer, numbers = parsed(unit)
    if isinstance(numbers, str) or len(numbers) != 1:
        raise InputError(
            f"{unit!r} has no neuron in the middle: give 'layer:channel', or leave out the kind "
            "'neuron'."
        )
    return neuron(layer, numbers[0])


def _lowered(unit: str) -> Objective:
    return -as_objective(unit)


#: Ways to look for a unit, by their names.
KINDS: Mapping[str, Kind] = {"channel": as_objective, "neuron": _centre, "negative": _lowered}


def feature_grid(
    model: nn.Module,
    units: Sequence[str],
    *,
    kinds: Sequence[str] | Mapping[str, Kind] = ("channel", "neuron"),
    **options: Any,
) -> FeatureGrid:
    """Render several units, each in several ways.

    >>> from lucent.modelzoo import synthnet
    >>> grid = feature_grid(synthnet(), ["mixed4a:3", "mixed4a:7"], size=32, steps=2)
    >>> grid.images.shape
    (2, 2, 32, 32, 3)

    Args:
        model: any network of pictures.
        units: strings such as "mixed4a:476".
        kinds: names out of "channel", "neuron" (at the position in the middle) and "negative" (what
            lowers it, for a layer before its ReLU), or functions of your own by names, each from a
            unit to an objective.
        options: further keyword arguments of `render_icons`, such as `size` and `steps`.

    Raises:
        InputError: there are no units or kinds, or an unknown kind.
        LayerError: a unit names a layer that does not exist.

    Source: Olah et al. 2017, Feature Visualization
    (https://distill.pub/2017/feature-visualization).
    """
    ways = _checked(kinds)
    if isinstance(units, str) or not len(units):
        raise InputError(f"units={units!r} has to be a list of at least one, as ['mixed4a:476'].")
    icons = render_icons(model, [way(unit) for unit in units for way in ways.values()], **options)
    shape = len(units), len(ways)
    images = icons.images.reshape(*shape, *icons.images.shape[1:])
    return FeatureGrid(tuple(units), tuple(ways), images, icons.done.reshape(shape))


def _checked(kinds: Any) -> Mapping[str, Kind]:
    names = [kinds] if isinstance(kinds, str) else list(kinds)
    if not names:
        raise InputError(f"kinds={kinds!r} has to name at least one of {', '.join(KINDS)}.")
    ways = kinds if isinstance(kinds, Mapping) else KINDS
    if unknown := [name for name in names if name not in ways]:
        raise InputError(
            f"There is no kind {unknown[0]!r}. {suggestion(str(unknown[0]), KINDS)} It is one of "
            f"{', '.join(KINDS)}; others are functions, kinds={{'name': function}}."
        )
    return {name: ways[name] for name in names}
