"""What an atlas is as a result, and its folder."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lucent.folders import WorkFolder, finished
from lucent.misc.io.showing import show_page
from lucent.misc.io.zoom_map import MapLevel, zoom_map
from lucent.recipes.atlas._folder import (
    CHUNK,
    KIND,
    icons_part,
    read_layout,
    read_level,
    write_icons,
    write_layout,
    write_level,
)
from lucent.recipes.atlas.levels import Level
from lucent.recipes.results import Panels, Result

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, eq=False)
class Atlas(Result):
    """A map of what a layer sees: alike activations lie beside each other.

    Attributes:
        layer: its name.
        title: what the map is of.
        levels: the map at several scales, coarse ones first.
        positions: x and y of each sample in [0, 1], y downwards, (n, 2), float32.
        samples: the place of each sample among those that were given, (n,).
        about: the classes of the network that it is about: none, one, or two to compare, the first
            of which is spoken for at the right.
        classes: all classes of the network, where attributions are known.
        interrupted: Ctrl-C ended the rendering.
    """

    layer: str
    title: str
    levels: tuple[Level, ...]
    positions: np.ndarray
    samples: np.ndarray
    about: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    interrupted: bool = False

    def panels(self) -> Panels:
        """Return the maps."""
        labels = tuple(f"{level.grid} x {level.grid}" for level in self.levels)
        canvases = [level.canvas() for level in self.levels]
        return Panels(canvases, labels, len(self.levels), self.title)

    def page(self, *, quality: int = 80) -> str:
        """Return a page of HTML with the map to zoom into; it needs nothing else.

        Args:
            quality: of the icons as WebP, 1 to 100.
        """
        levels = [
            MapLevel(
                level.grid,
                np.stack([level.columns, level.rows], 1),
                level.icons,
                level.texts(self.classes),
            )
            for level in self.levels
        ]
        axis = "← {1} · {0} →".format(*self.about) if len(self.about) > 1 else ""
        return zoom_map(levels, title=self.title, axis=axis, quality=quality)

    def show(self) -> None:
        """Show the map in the notebook: wheel, keys and fingers move it and zoom into it."""
        show_page(self.page())

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the atlas to a new folder.

        Args:
            folder: each level is a folder in it, with a picture of the map.

        Raises:
            InputError: something else is in the folder, such as another atlas.
            StorageError: there is no room.
        """
        plan = {"title": self.title, "layer": self.layer, "content": self._digest()}
        with WorkFolder.opened(folder, KIND, plan) as work:
            if not work.done("layout"):
                write_layout(work, self.positions, self.samples)
            for level in self.levels:
                for number, first in enumerate(range(0, len(level), CHUNK)):
                    some = slice(first, first + CHUNK)
                    if not work.done(icons_part(level.grid, number)):
                        write_icons(work, level.grid, number, level.icons[some], level.done[some])
            self.finish(work)

    def _digest(self) -> str:
        """Return what tells this atlas from others."""
        found = hashlib.sha256(np.ascontiguousarray(self.positions).tobytes())
        for level in self.levels:
            found.update(np.ascontiguousarray(level.vectors).tobytes())
            found.update(np.ascontiguousarray(level.icons).tobytes())
        return found.hexdigest()[:16]

    def finish(self, work: WorkFolder) -> None:
        """Write what is left to write when the layout and all icons are in a folder."""
        for level in self.levels:
            if not work.done(f"level_{level.grid}"):
                write_level(work, level)
        work.finish(
            {
                "layer": self.layer,
                "title": self.title,
                "about": list(self.about),
                "classes": list(self.classes),
                "levels": [
                    {"grid": level.grid, "labels": list(level.labels), "cells": len(level)}
                    for level in self.levels
                ],
            }
        )

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Self:
        """Open the folder of an atlas.

        Args:
            folder: what `save` or `activation_atlas(..., out=folder)` has written.

        Raises:
            InputError: it is not there, not finished, or something else.
            StorageError: it is damaged.
        """
        path = Path(os.path.expanduser(folder))
        _, manifest = finished(path, KIND)
        positions, samples = read_layout(path)
        return cls(
            layer=manifest["layer"],
            title=manifest["title"],
            levels=tuple(read_level(path, known) for known in manifest["levels"]),
            positions=positions,
            samples=samples,
            about=tuple(manifest["about"]),
            classes=tuple(manifest["classes"]),
        )
