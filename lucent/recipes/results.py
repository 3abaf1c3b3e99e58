"""What every recipe returns: data, and what it looks like.

A result says its pictures and their labels; drawing them, for a notebook, a file or a paper, is the
same for all and is here.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lucent.errors import InputError
from lucent.misc.io.pictures import coloured, contact_sheet
from lucent.misc.io.showing import show
from lucent.util import optional

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Height of a label in a figure, in inches: a line of 7 points and some air.
_LABEL_HEIGHT = 0.2


@dataclass(frozen=True, eq=False)
class Panels:
    """Labelled pictures in rows.

    Attributes:
        pictures: each (H, W, C) with C = 1, 3 or 4, in [0, 1].
        labels: one for each, or none at all.
        columns: pictures in a row; None makes about a square.
        title: of all.

    Raises:
        InputError: there is no picture, or another number of labels.
    """

    pictures: Sequence[np.ndarray]
    labels: Sequence[str] = ()
    columns: int | None = None
    title: str = ""

    def __post_init__(self) -> None:
        if not len(self.pictures) or len(self.labels) not in (0, len(self.pictures)):
            raise InputError(
                f"A figure takes at least one picture and a label for each, or none; got "
                f"{len(self.pictures)} pictures and {len(self.labels)} labels."
            )


class Result(ABC):
    """What a recipe found, as data that can be drawn."""

    @abstractmethod
    def panels(self) -> Panels:
        """Return what it looks like."""

    def sheet(self, *, width: int | None = None) -> np.ndarray:
        """Return the panels as one picture, for a file.

        Args:
            width: of each panel, in pixels; None is that of the widest.

        Returns:
            (H, W, 3), uint8.
        """
        panels = self.panels()
        return contact_sheet(
            list(panels.pictures),
            panels.labels or None,
            columns=panels.columns,
            width=width or max(picture.shape[1] for picture in panels.pictures),
        )

    def show(self) -> None:
        """Show it in the notebook."""
        show(self.sheet(), fmt="webp")

    def plot(self, *, size: float = 1.6) -> Figure:
        """Return a figure for a paper: `plot().savefig("figure.pdf")`, or .svg.

        A PDF keeps text as text, an SVG with `matplotlib.rcParams["svg.fonttype"] = "none"`.

        Args:
            size: side of a panel, in inches.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        panels = self.panels()
        count = len(panels.pictures)
        columns = min(panels.columns or math.ceil(math.sqrt(count)), count)
        rows = math.ceil(count / columns)
        height = rows * (size + (_LABEL_HEIGHT if panels.labels else 0))
        # Not by pyplot, which would keep every figure until it is closed.
        figure: Figure = optional("matplotlib.figure", "plot").Figure(
            (columns * size, height + (_LABEL_HEIGHT if panels.title else 0)), layout="constrained"
        )
        figure.suptitle(panels.title, fontsize=9)
        every = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in every:
            axes.set_axis_off()
        for axes, picture in zip(every, panels.pictures, strict=False):
            shown = np.clip(coloured(picture, image=True), 0, 1)
            shown = shown[..., 0] if shown.shape[-1] == 1 else shown
            axes.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        for axes, label in zip(every, panels.labels, strict=False):
            axes.set_title(label, fontsize=7, parse_math=False)
        return figure
