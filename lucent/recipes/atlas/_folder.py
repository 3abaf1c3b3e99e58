"""The files of an atlas: parts of a folder that a job fills."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lucent.folders import WorkFolder, check_part
from lucent.misc.io.saving import save
from lucent.recipes.atlas.levels import Level

#: What folders of atlases say they are.
KIND = "atlas"
#: Icons in a part of a folder: what is lost when a run is cut off.
CHUNK = 32
#: Arrays of a level beside its icons.
_ARRAYS = ("rows", "columns", "counts", "vectors", "shares")


def write_layout(work: WorkFolder, positions: np.ndarray, samples: np.ndarray) -> None:
    """Write where samples lie, (n, 2), and which they are, (n,)."""
    with work.part("layout") as part:
        np.save(part / "positions.npy", positions)
        np.save(part / "samples.npy", samples)


def read_layout(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return where samples lie, (n, 2), and which they are, (n,).

    Raises:
        StorageError: they are damaged.
    """
    part = folder / "layout"
    check_part(part)
    return array(part / "positions.npy"), array(part / "samples.npy")


def icons_part(grid: int, number: int) -> str:
    """Return the name of a part with icons."""
    return f"icons_{grid}_{number:04d}"


def write_icons(
    work: WorkFolder, grid: int, number: int, icons: np.ndarray, done: np.ndarray
) -> None:
    """Write some of the icons of a level, which are multiples of 1 / 255."""
    with work.part(icons_part(grid, number)) as part:
        np.save(part / "icons.npy", np.rint(255 * icons).astype(np.uint8))
        np.save(part / "done.npy", done)


def read_icons(folder: Path, grid: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return some of the icons of a level, and which are finished.

    Raises:
        StorageError: they are damaged.
    """
    part = folder / icons_part(grid, number)
    check_part(part)
    done = array(part / "done.npy")
    icons = array(part / "icons.npy") / np.float32(255)
    return np.where(done[:, None, None, None], icons, np.float32(0.5)), done


def write_level(work: WorkFolder, level: Level) -> None:
    """Write a level without its icons, and its map as a picture."""
    with work.part(f"level_{level.grid}") as part:
        for name in _ARRAYS:
            np.save(part / f"{name}.npy", getattr(level, name))
        if level.attributions is not None:
            np.save(part / "attributions.npy", level.attributions)
        save(level.canvas(), part / f"level_{level.grid}.png")


def read_level(folder: Path, known: Mapping[str, Any]) -> Level:
    """Return a level.

    Args:
        folder: of the atlas.
        known: what its manifest says about the level.

    Raises:
        StorageError: it is damaged.
    """
    grid, part = known["grid"], folder / f"level_{known['grid']}"
    check_part(part)
    chunks = [read_icons(folder, grid, n) for n in range(-(-known["cells"] // CHUNK))]
    icons, done = (np.concatenate(arrays) for arrays in zip(*chunks, strict=True))
    attributions = part / "attributions.npy"
    return Level(
        grid=grid,
        icons=icons,
        done=done,
        labels=tuple(known["labels"]),
        attributions=array(attributions) if attributions.exists() else None,
        **{name: array(part / f"{name}.npy") for name in _ARRAYS},
    )


def array(path: Path) -> np.ndarray:
    """Return an array of a part that was checked."""
    read: np.ndarray = np.load(path, allow_pickle=False)
    return read
