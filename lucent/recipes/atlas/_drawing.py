"""From samples to atlases: layout, cells, icons; with a folder, they go on where they were."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn
from tqdm.auto import tqdm

from lucent.folders import WorkFolder
from lucent.recipes.atlas._cells import Cells, cells
from lucent.recipes.atlas._folder import (
    CHUNK,
    KIND,
    icons_part,
    read_icons,
    read_layout,
    write_icons,
    write_layout,
)
from lucent.recipes.atlas._icons import cell_directions, icon_size, render_cells
from lucent.recipes.atlas.atlases import Atlas
from lucent.recipes.atlas.layout import normalized, reduced, second_moment, whitening
from lucent.recipes.atlas.levels import Level
from lucent.recipes.atlas.samples import Samples
from lucent.recipes.atlas.settings import AtlasSettings
from lucent.weights import digest

Positions = Callable[[], np.ndarray]


@dataclass(frozen=True, eq=False)
class Drawing:
    """What one atlas is made of.

    Attributes:
        model: the network that the icons are of.
        layer: name of the layer.
        samples: those that are on the map, in memory.
        rows: the place of each among those that were given, (n,).
        settings: of the atlas.
        title: what it is of.
        about: classes that it is about.
        weights: of the samples in the averages of cells, (n,), or None.
        options: further arguments of `render_icons`.
    """

    model: nn.Module
    layer: str
    samples: Samples
    rows: np.ndarray
    settings: AtlasSettings
    title: str
    about: tuple[str, ...] = ()
    weights: np.ndarray | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def drawn(
        self,
        positions: Positions,
        out: str | os.PathLike[str] | None = None,
        *,
        progress: bool = False,
        skip: bool = False,
    ) -> Atlas:
        """Return the atlas.

        Args:
            positions: makes the layout, (n, 2).
            out: a folder to fill, or to go on with.
            progress: show a progress bar over the icons.
            skip: leave icons out that are not there yet: Ctrl-C was pressed before.
        """
        with self._folder(out) as work:
            if work is None or not work.done("layout"):
                placed = positions()
                if work is not None:
                    write_layout(work, placed, self.rows)
            else:
                placed, _ = read_layout(work.path)
            grids = [cells(placed, grid, self.settings.density) for grid in self.settings.grids]
            total = sum(map(len, grids))
            levels: list[Level] = []
            interrupted = skip
            with tqdm(total=total, unit="icon", disable=not progress) as bar:
                for grid in grids:
                    own = level(grid, self.samples, self.weights)
                    icons, interrupted = self._icons(own, work, bar, skip=interrupted)
                    levels.append(own.with_icons(*icons))
            made = self._atlas(tuple(levels), placed, interrupted)
            if work is not None and not interrupted:
                made.finish(work)
        return made

    @contextmanager
    def _folder(self, out: str | os.PathLike[str] | None) -> Iterator[WorkFolder | None]:
        if out is None:
            yield None
            return
        plan = {
            "layer": self.layer,
            "title": self.title,
            "about": list(self.about),
            "weights": digest(self.model),
            "samples": self.samples.digest(),
            "settings": self.settings.as_dict(),
            "icon_size": icon_size(self.model, self.settings),
        }
        with WorkFolder.opened(out, KIND, plan) as work:
            yield work

    def _atlas(self, levels: tuple[Level, ...], placed: np.ndarray, interrupted: bool) -> Atlas:
        return Atlas(
            self.layer,
            self.title,
            levels,
            placed,
            self.rows,
            self.about,
            tuple(self.samples.classes) if self.samples.attributions is not None else (),
            interrupted,
        )

    def _icons(
        self, own: Level, work: WorkFolder | None, bar: tqdm, *, skip: bool
    ) -> tuple[tuple[np.ndarray, np.ndarray], bool]:
        """Return the icons of a level and which are done, and whether Ctrl-C was pressed."""
        moment, regularization = self._moment(), self.settings.regularization
        whitened = whitening(moment, regularization) if self.settings.whiten_icons else None
        directions = cell_directions(own.vectors, whitened)
        images, done = [], np.zeros(len(own), bool)
        for number, first in enumerate(range(0, len(own), CHUNK)):
            some = slice(first, first + CHUNK)
            if skip:
                break
            if work is not None and work.done(icons_part(own.grid, number)):
                found, done[some] = read_icons(work.path, own.grid, number)
            else:
                made = render_cells(
                    self.model, self.layer, directions[some], self.settings, **self.options
                )
                found, done[some], skip = made.images, made.done, made.interrupted
                if work is not None and not skip:
                    write_icons(work, own.grid, number, found, done[some])
            images.append(found)
            bar.update(len(found))
        return (self._filled(images, len(own)), done), skip

    def _filled(self, images: list[np.ndarray], count: int) -> np.ndarray:
        """Return all icons of a level, grey ones for those that are missing."""
        size = icon_size(self.model, self.settings)
        shape = images[0].shape[1:] if images else (size, size, 3)
        missing = np.full((count - sum(map(len, images)), *shape), 0.5, np.float32)
        return np.concatenate([*images, missing])

    def _moment(self) -> np.ndarray:
        known = self.samples.moment
        return second_moment(self.samples.vectors) if known is None else known


def plane(samples: Samples, settings: AtlasSettings, *, dimensions: int = 2) -> np.ndarray:
    """Return where samples lie, (n, dimensions) in [0, 1].

    Args:
        samples: in memory.
        settings: of the atlas.
        dimensions: 1 or 2.
    """
    points = laid_out(prepared(samples, settings), settings, dimensions=dimensions)
    return normalized(points)


def prepared(samples: Samples, settings: AtlasSettings) -> np.ndarray:
    """Return the vectors that are laid out, whitened if the settings say so, (n, C)."""
    vectors = np.asarray(samples.vectors, np.float32)
    if not settings.whiten_layout:
        return vectors
    moment = second_moment(vectors) if samples.moment is None else samples.moment
    return (vectors @ whitening(moment, settings.regularization)).astype(np.float32)


def laid_out(vectors: np.ndarray, settings: AtlasSettings, *, dimensions: int = 2) -> np.ndarray:
    """Return vectors as points, as the settings say, (n, dimensions)."""
    return reduced(
        vectors,
        settings.layout,
        dimensions=dimensions,
        seed=settings.seed,
        **settings.layout_options,
    )


def level(found: Cells, samples: Samples, weights: np.ndarray | None = None) -> Level:
    """Return a level without icons.

    Args:
        found: the cells of a grid.
        samples: one for each member of these.
        weights: how much each counts in the average of its cell, (n,); None is alike.
    """
    attributions = samples.attributions
    mean = None if attributions is None else found.means(attributions)
    labels, shares = _named(found, samples)
    return Level(
        found.grid,
        found.rows,
        found.columns,
        found.counts,
        found.means(samples.vectors, weights),
        np.full((len(found), 1, 1, 3), 0.5, np.float32),
        np.zeros(len(found), bool),
        labels,
        shares,
        mean,
    )


def _named(found: Cells, samples: Samples) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the class of most samples of each cell, and their share."""
    labels, names = samples.labels, samples.names
    if labels is None and samples.attributions is not None:
        labels, names = samples.winners(), samples.classes
    if labels is None:
        return (), np.zeros(len(found))
    most, shares = found.dominant(labels)
    called = {-1: "unknown", **dict(enumerate(names))}
    return tuple(called.get(int(n), f"class {n}") for n in most), shares
