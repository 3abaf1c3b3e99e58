"""What only a fresh process can tell: time to start, growth."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.contenders import Setup
from lucent.optvis.loop import Run
from lucent.optvis.render import render_vis

ROOT = Path(__file__).parents[1]

#: What is imported, with the statement that does it.
IMPORTS = {
    "import torch": "import torch",
    "import torch, lucent": "import torch, lucent",
    "the names of a script": (
        "import torch; from lucent.optvis import render, param, objectives, transform; "
        "from lucent.modelzoo import inceptionv1"
    ),
}


def memory_growth(steps: Sequence[int]) -> list[float]:
    """Return the memory of a process in MB after so many steps of one run of the small network."""
    return [float(line) for line in _call("print_memory_at", *steps)]


def print_memory_at(*steps: int) -> None:
    """Run the embedded network and print the memory of this process after so many steps."""
    setup = Setup.of("synthnet mixed4a", 1, torch.device("cpu"))

    def callback(run: Run) -> None:
        if run.step in steps:
            print(resident_megabytes())

    render_vis(
        setup.model,
        setup.workload.objective,
        thresholds=(max(steps),),
        progress=False,
        show_image=False,
        callbacks=[callback],
    )


def resident_megabytes() -> float:
    """Return the memory that this process has now; Linux only."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def import_seconds(repeats: int) -> dict[str, list[float]]:
    """Return how long new interpreters take for the imports, one sample for each repeat."""
    seconds: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(repeats):
        for name, statement in IMPORTS.items():
            seconds[name].append(_wall([sys.executable, "-c", statement]))
    return seconds


def beyond_torch(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Return the medians of the imports less that of torch alone, repeat by repeat."""
    torch_alone = seconds["import torch"]
    return {
        name: statistics.median(a - b for a, b in zip(own, torch_alone, strict=True))
        for name, own in seconds.items()
        if own is not torch_alone
    }


def first_picture_seconds(steps: int) -> float:
    """Return how long `lucent render` takes from nothing to the file of its picture."""
    with tempfile.TemporaryDirectory() as folder:
        target = str(Path(folder, "picture.png"))
        return _wall(
            [sys.executable, "-m", "lucent", "render", "--steps", str(steps), "--out", target]
        )


def _wall(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    return time.perf_counter() - start


def _call(function: str, *arguments: object) -> list[str]:
    """Call a function of this module in a new process; return the lines that it prints."""
    values = ", ".join(map(repr, arguments))
    done = subprocess.run(
        [sys.executable, "-c", f"from benchmarks import processes; processes.{function}({values})"],
        check=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return done.stdout.split("\n")[:-1]
