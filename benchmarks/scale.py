"""Whole networks: time grows with the work, memory does not; what follows for large networks.

Each size is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchmarks.costs import NETWORKS, cost_of, decoding, measured_rows, peak, predicted_rows
from benchmarks.speed import machine, table
from benchmarks.worker import peak_megabytes
from lucent.collect import CollectSettings, collect
from lucent.modelzoo.synthnet import SynthScenes, synthnet
from lucent.sweep import SweepSettings, plan_sweep, run_sweep

ROOT = Path(__file__).parents[1]
#: Images that are collected, units that are swept: each size is twice the one before.
SIZES = {"collect": (1000, 2000, 4000), "sweep": (16, 32, 64)}
#: Where the embedded network is looked at: its last two mixed layers, and the last of them.
LAYERS, LAYER = ("mixed4a", "mixed4b"), "mixed4b"
STEPS, BATCH = 32, 8
#: Images of which the values of all units are kept; while there are fewer, each further one is.
SPREAD = 256


def collected(n_images: int, out: str) -> None:
    """Collect so many generated scenes, every one of which is drawn for it."""
    settings = CollectSettings(attributions=False, shard=128, spread=SPREAD)
    collect(synthnet(), SynthScenes(n_images), out, layers=LAYERS, settings=settings)


def swept(n_units: int, out: str) -> None:
    """Render so many units."""
    model = synthnet()
    settings = SweepSettings(steps=STEPS, batch_size=BATCH)
    plan = plan_sweep(model, layers=[LAYER], units=range(n_units), settings=settings)
    run_sweep(plan, model, out)


JOBS: dict[str, Callable[[int, str], None]] = {"collect": collected, "sweep": swept}


def measured(job: str, count: int, threads: int) -> dict[str, float]:
    """Return what a job takes in this process: seconds, most memory in MB, MB that it wrote."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        cpu, wall = time.process_time(), time.perf_counter()
        JOBS[job](count, folder)
        taken = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        files = [file for file in Path(folder).rglob("*") if file.is_file()]
        written = sum(file.stat().st_size for file in files)
    return {**taken, "peak": peak_megabytes(torch.device("cpu")), "disk": written / 1e6}


def in_a_process(job: str, count: int, threads: int) -> dict[str, float]:
    """Return what `measured` says in a new process."""
    command = ["-m", "benchmarks.scale", "--job", job, "--count", str(count)]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *command, "--threads", str(threads)],
        check=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )
    sample: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return sample


def growth_rows(threads: int) -> Sequence[Sequence[str]]:
    """Return a line for each job and size, with what its last items took one by one."""
    lines = []
    for job, sizes in SIZES.items():
        before: tuple[int, float] | None = None
        for count in sizes:
            own = in_a_process(job, count, threads)
            an_item = "" if before is None else _each(own["cpu"], count, before)
            before = (count, own["cpu"])
            numbers = [f"{own['wall']:.1f}", f"{own['cpu']:.1f}", an_item]
            sizes_mb = [f"{own['peak']:.0f}", f"{own['disk']:.1f}"]
            lines.append([job, str(count), *numbers, *sizes_mb])
    return lines


def _each(cpu: float, count: int, before: tuple[int, float]) -> str:
    return f"{1000 * (cpu - before[1]) / (count - before[0]):.1f}"


def main() -> None:
    """Print the tables of docs/scale.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--costs", action="store_true", help="operations and predictions instead")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=[*NETWORKS])
    parser.add_argument("--job", choices=JOBS, help="measure this one, here, and print JSON")
    parser.add_argument("--count", type=int, default=0, help="of its images or units")
    options = parser.parse_args()
    if options.job:
        print(json.dumps(measured(options.job, options.count, options.threads)))
        return
    print(machine(), end="\n\n")
    if not options.costs:
        header = ["", "n", "wall s", "CPU s", "CPU ms for each further", "peak MB", "disk MB"]
        print(table(header, growth_rows(options.threads), markdown=True))
        return
    torch.set_num_threads(1)  # so that seconds of the processor are those of a thread
    costs = {name: cost_of(name, NETWORKS[name]) for name in options.networks}
    print(f"matrix products: {peak() / 1e9:.0f} GFLOP/s", end="\n\n")
    header = [
        "",
        "units",
        "GFLOP a step",
        "PFLOP a sweep",
        "GFLOP an image",
        "kB an image",
        "share",
    ]
    print(table(header, measured_rows(costs), markdown=True), end="\n\n")
    gpus = ["1 H100, FP32", "8", "100", "1 H100, BF16"]
    print(table(["", "", "PFLOP", *gpus], predicted_rows(costs), markdown=True), end="\n\n")
    print(f"decoding: {1000 * decoding():.1f} ms of a core for a picture")


if __name__ == "__main__":
    main()
