"""Does an atlas keep classes apart? `python -m benchmarks.atlas` measures it.

The activations of the embedded network's last mixed layer, at one random position of each image of
its generated data set, are laid out without knowing the labels. A cell counts if it holds 5
samples; it agrees if its nearest cell, by the mean place of the samples in each, has the same
dominant class.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from lucent.collect import Collection, CollectSettings, collect
from lucent.modelzoo import synthnet
from lucent.modelzoo.synthnet import SynthScenes
from lucent.recipes.atlas._cells import cells
from lucent.recipes.atlas._drawing import plane
from lucent.recipes.atlas.samples import as_samples
from lucent.recipes.atlas.settings import AtlasSettings

LAYER = "mixed4b"
#: Samples that a cell has at least, and the share of cells that are to agree.
DENSITY, WANTED = 5, 0.8


def agreement(positions: np.ndarray, labels: np.ndarray, grid: int) -> tuple[float, int]:
    """Return the share of cells whose class is that of their nearest cell, and how many there are.

    Args:
        positions: (n, 2) in [0, 1].
        labels: class of each sample, (n,).
        grid: cells along each side.
    """
    found = cells(positions, grid, DENSITY)
    classes, _ = found.dominant(labels)
    places = found.means(positions)
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    return float((classes[apart.argmin(1)] == classes).mean()), len(found)


def measured(collection: Collection, grids: Sequence[int], seeds: Sequence[int]) -> list[str]:
    """Return the rows of the table: agreement of each grid, and of shuffled labels."""
    samples = as_samples(collection, LAYER)
    whole = samples.at(np.arange(len(samples)))
    labels = np.asarray(whole.labels)
    rows = []
    for seed in seeds:
        positions = plane(whole, AtlasSettings(seed=seed))
        shuffled = np.random.default_rng(seed).permutation(labels)
        for grid in grids:
            share, count = agreement(positions, labels, grid)
            control, _ = agreement(positions, shuffled, grid)
            rows.append(f"| {seed} | {grid} x {grid} | {count} | {share:.3f} | {control:.3f} |")
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=8400, help="of the generated data set")
    parser.add_argument("--grids", type=int, nargs="+", default=[20, 40], help="cells along a side")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the layout")
    parser.add_argument("--collection", type=Path, help="folder to keep the activations in")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        collection = collect(
            synthnet(),
            SynthScenes(options.images),
            options.collection or Path(folder) / "collection",
            layers=[LAYER],
            settings=CollectSettings(attributions=False),
        )
        print("| seed | grid | cells | agree | of shuffled labels |\n|---|---|---|---|---|")
        print("\n".join(measured(collection, options.grids, options.seeds)))


if __name__ == "__main__":
    main()
