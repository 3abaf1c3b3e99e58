"""Activation grids as rows of batches against their cells one by one: time and memory.

Each way is measured in processes of its own, which take turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from benchmarks.speed import table
from benchmarks.worker import peak_megabytes
from lucent.modelzoo import photograph
from lucent.modelzoo.synthnet import SynthScenes, synthnet
from lucent.optvis.defaults import default_image
from lucent.optvis.objectives import direction
from lucent.optvis.render import render_vis
from lucent.recipes.activation_grid import activation_grid
from lucent.recipes.icons import render_icons

ROOT = Path(__file__).parents[1]
#: Photographs of 112 pixels have 14 x 14 positions there.
LAYER, PHOTOGRAPH, CELL, POSITIONS = "mixed4a", 112, 60, 14


def whole_grid(model: nn.Module, photo: torch.Tensor, steps: int) -> None:
    """Make the activation grid, its groups included."""
    grid = activation_grid(model, photo, LAYER, size=CELL, steps=steps)
    if grid.done.sum() != POSITIONS**2:
        raise RuntimeError(f"Only {grid.done.sum()} cells were finished.")


def one_by_one(model: nn.Module, photo: torch.Tensor, steps: int) -> None:
    """Render as many cells by as many calls of `render_vis`."""
    vectors = torch.randn(POSITIONS**2, 280, generator=torch.Generator().manual_seed(0)).abs()
    for vector in vectors:
        render_vis(
            model,
            direction(LAYER, vector, cossim_pow=1),
            lambda: default_image(model.spec, CELL),
            thresholds=(steps,),
            fixed_image_size="native",
            progress=False,
            show_image=False,
            seed=0,
        )


WAYS: dict[str, Callable[[nn.Module, torch.Tensor, int], None]] = {
    "activation_grid": whole_grid,
    "cells one by one": one_by_one,
}


def measured(way: str, steps: int, threads: int) -> dict[str, float]:
    """Return what one way takes: seconds of the processor and of the clock, most memory in MB."""
    torch.set_num_threads(threads)
    model = synthnet()
    image, _ = SynthScenes(28, size=PHOTOGRAPH)[11]
    photo = photograph(model, image)
    render_icons(model, [f"{LAYER}:0"], size=CELL, steps=2)  # what only the first call takes
    cpu, wall = time.process_time(), time.perf_counter()
    WAYS[way](model, photo, steps)
    return {
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
        "megabytes": peak_megabytes(torch.device("cpu")),
    }


def in_a_process(way: str, steps: int, threads: int) -> dict[str, float]:
    """Return what `measured` says in a new process."""
    command = ["-m", "benchmarks.grids", "--way", way, "--steps", str(steps)]
    done = subprocess.run(
        [sys.executable, *command, "--threads", str(threads)],
        check=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    sample: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return sample


def main() -> None:
    """Print one table: medians over the rounds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grids", description=__doc__)
    parser.add_argument("--steps", type=int, default=32, help="of each cell")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--way", choices=WAYS, help="measure this one, here, and print JSON")
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measured(options.way, options.steps, options.threads)))
        return
    samples: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way, own in samples.items():
            own.append(in_a_process(way, options.steps, options.threads))
    middle = {
        way: {key: statistics.median(sample[key] for sample in own) for key in own[0]}
        for way, own in samples.items()
    }
    slowest = middle["cells one by one"]
    lines = [
        [
            way,
            f"{own['cpu']:.1f}",
            f"{own['wall']:.1f}",
            f"{slowest['cpu'] / own['cpu']:.2f}",
            f"{own['megabytes']:.0f}",
        ]
        for way, own in middle.items()
    ]
    print(table(["", "CPU s", "wall s", "CPU ratio", "peak MB"], lines, markdown=True))


if __name__ == "__main__":
    main()
