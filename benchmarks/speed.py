"""How long does a step take, and how close is that to the least it can take?

Every workload is run in several ways: `render_vis`, `Run` without callbacks, the *floor*, which is
a step written by hand for that network, and the *naive* way, which is that of torch-lucent. The
ways take turns, so that a slower minute of the machine slows all of them.
"""

from __future__ import annotations

import argparse
import math
import platform
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import torch

from benchmarks.contenders import (
    DISCARDED,
    Contender,
    Sample,
    Setup,
    Stopwatch,
    contenders,
    open_run,
)
from benchmarks.processes import (
    beyond_torch,
    first_picture_seconds,
    import_seconds,
    memory_growth,
)
from benchmarks.worker import Worker
from benchmarks.workloads import SEED, WORKLOADS
from lucent.optvis.objectives import Objective
from lucent.optvis.render import render_vis

HEADER = (
    "workload", "batch", "way", "CPU ms/step", "wall ms/step",
    "CPU / floor", "wall / floor", "CPU / naive", "peak MB",
)  # fmt: skip
EMBEDDED = "synthnet mixed4a"
#: Of the run that must not grow.
GROWTH_STEPS = (200, 2000)


@dataclass(frozen=True)
class Result:
    """The samples of one way to do one workload, one for each repeat, and its peak memory in MB."""

    samples: Sequence[Sample]
    peak: float = math.nan

    def values(self, clock: str) -> list[float]:
        """Return the seconds per step of one clock, "cpu" or "wall"."""
        return [getattr(sample, clock) for sample in self.samples]

    def relative_to(self, other: Result, clock: str) -> float:
        """Return the median of the ratios of samples taken in the same repeat."""
        pairs = zip(self.values(clock), other.values(clock), strict=True)
        return statistics.median(a / b for a, b in pairs)


def race(ways: Mapping[str, Contender], *, steps: int, repeats: int) -> dict[str, list[Sample]]:
    """Return samples of every way; they take turns, and each turn begins with another one."""
    for way in ways.values():
        way(1)
    names, samples = list(ways), {name: [] for name in ways}
    for repeat in range(repeats):
        first = repeat % len(names)
        for name in [*names[first:], *names[:first]]:
            samples[name].append(ways[name](steps))
    return samples


def measure(name: str, batch: int, threads: int, options: argparse.Namespace) -> dict[str, Result]:
    """Return the results of all ways to do a workload, each in a process of its own."""
    steps = options.steps * WORKLOADS[name].pace
    with ExitStack() as stack:
        workers = {
            way: stack.enter_context(
                Worker(way, name, batch, device=options.device, threads=threads)
            )
            for way in contenders(torch.device(options.device))
        }
        samples = race(workers, steps=steps, repeats=options.repeats)
        return {way: Result(own, workers[way].peak()) for way, own in samples.items()}


def rows(name: str, batch: int, results: Mapping[str, Result]) -> list[list[str]]:
    """Return the lines of the table about a workload."""
    floor, naive = results["floor"], results["naive"]
    return [
        [
            name,
            str(batch),
            way,
            spread(result.values("cpu")),
            spread(result.values("wall")),
            f"{result.relative_to(floor, 'cpu'):.2f}",
            f"{result.relative_to(floor, 'wall'):.2f}",
            f"{result.relative_to(naive, 'cpu'):.2f}",
            f"{result.peak:.0f}",
        ]
        for way, result in results.items()
    ]


def spread(seconds: Sequence[float]) -> str:
    """Return median, lowest and highest in milliseconds.

    >>> spread([0.1, 0.3, 0.12])
    '120.0 (100.0-300.0)'
    """
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    return f"{1e3 * middle:.1f} ({1e3 * low:.1f}-{1e3 * high:.1f})"


def table(header: Sequence[str], lines: Iterable[Sequence[str]], *, markdown: bool) -> str:
    """Return lines of cells as text in columns, or as a table in Markdown."""
    cells = [list(header), *map(list, lines)]
    if markdown:
        cells.insert(1, ["---"] * len(header))
        return "\n".join(f"| {' | '.join(line)} |" for line in cells)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def machine() -> str:
    """Return what the figures depend on, in one line."""
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
    else:
        name = f"{platform.machine()} with {torch.backends.cpu.get_cpu_capability()}"
    return f"torch {torch.__version__}, Python {platform.python_version()}, {name}"


def profile(name: str, batch: int, options: argparse.Namespace) -> str:
    """Return where the time of the steps of `Run` goes, operation by operation."""
    device = torch.device(options.device)
    setup = Setup.of(name, batch, device)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with open_run(setup) as run:
        for _ in range(DISCARDED[device.type] + 1):
            next(run)
        with torch.profiler.profile(activities=activities) as profiler:
            for _ in range(options.steps * WORKLOADS[name].pace):
                next(run)
    order = f"self_{device.type}_time_total"
    return profiler.key_averages().table(sort_by=order, row_limit=25, max_name_column_width=40)


def many(name: str, options: argparse.Namespace) -> list[str]:
    """Return the line of a workload about many units at once against one after the other."""
    from lucent.optvis.batch import render_many

    setup = Setup.of(name, 1, torch.device(options.device))
    objectives = [_unit(name, number) for number in range(options.many)]
    shared = {
        "param_f": partial(setup.workload.image, setup.model, 1),
        "progress": False,
        "seed": SEED,
    }

    def together(steps: int) -> Sample:
        watch = Stopwatch(setup.device)
        list(render_many(setup.model, objectives, **shared, **watch.of_runs(steps)))
        return watch.sample(steps * len(objectives))

    def one_by_one(steps: int) -> Sample:
        watch = Stopwatch(setup.device)
        for each in objectives:
            render_vis(setup.model, each, show_image=False, **shared, **watch.of_runs(steps))
        return watch.sample(steps * len(objectives))

    ways = {"render_many": together, "render_vis": one_by_one}
    steps = options.steps * WORKLOADS[name].pace
    measured = {
        way: Result(samples)
        for way, samples in race(ways, steps=steps, repeats=options.repeats).items()
    }
    alone = measured["render_vis"]
    return [
        name,
        *(spread(result.values("cpu")) for result in measured.values()),
        *(f"{measured['render_many'].relative_to(alone, clock):.2f}" for clock in ("cpu", "wall")),
    ]


def _unit(name: str, number: int) -> Objective:
    """Return the objective of a workload for another unit of its layer."""
    return replace(WORKLOADS[name], unit=number).objective


def startup(repeats: int) -> str:
    """Return times to start and the growth of a long run, as lines."""
    seconds = import_seconds(repeats)
    lines = [f"{name}: {statistics.median(own):.2f} s" for name, own in seconds.items()]
    lines += [f"{name}, beyond torch: {own:.2f} s" for name, own in beyond_torch(seconds).items()]
    for steps in (8, 512):
        spent = [first_picture_seconds(steps) for _ in range(min(repeats, 3))]
        lines.append(
            f"first picture from a cold process, {steps} steps: {statistics.median(spent):.1f} s"
        )
    memory = memory_growth(GROWTH_STEPS)
    for steps, megabytes in zip(GROWTH_STEPS, memory, strict=True):
        lines.append(f"memory after {steps} steps: {megabytes:.1f} MB")
    return "\n".join(lines)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    add = parser.add_argument
    add("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="NAME",
        help=f"of: {', '.join(WORKLOADS)}")  # fmt: skip
    add("--batch", type=int, nargs="+", default=[1], metavar="N", help="images at once")
    add("--steps", type=int, default=3, metavar="N", help="in each turn; more of the quick ones")
    add("--repeats", type=int, default=7, metavar="N", help="turns")
    add("--threads", type=int, nargs="+", default=[1], metavar="N", help="one table for each")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", metavar="NAME")
    add("--markdown", action="store_true", help="tables as Markdown")
    add("--quick", action="store_true", help="the embedded network only, two turns")
    add("--profile", action="store_true", help="instead: where the time of a step goes")
    add("--many", type=int, nargs="?", const=16, metavar="N",
        help="instead: so many units by render_many and one by one")  # fmt: skip
    add("--startup", action="store_true", help="instead: imports, first picture, growth")
    options = parser.parse_args(arguments)
    if options.quick:
        options.workloads, options.repeats = [EMBEDDED], 2
    return options


def main(arguments: list[str] | None = None) -> None:
    """Print what the options ask for."""
    options = parse(arguments)
    print(machine())
    if options.startup:
        print(startup(options.repeats))
        return
    for threads in options.threads:
        torch.set_num_threads(threads)
        print(f"\nthreads: {threads}\n")
        for text in _tables(options, threads):
            print(text, flush=True)


def _tables(options: argparse.Namespace, threads: int) -> Iterator[str]:
    if options.many:
        header = (
            "workload",
            "render_many CPU ms/step",
            "one by one CPU ms/step",
            "CPU ratio",
            "wall ratio",
        )
        lines = [many(name, options) for name in options.workloads]
        yield table(header, lines, markdown=options.markdown)
        return
    pairs = [(name, batch) for batch in options.batch for name in options.workloads]
    if options.profile:
        yield from (f"{name}\n{profile(name, batch, options)}" for name, batch in pairs)
        return
    lines = [
        line
        for name, batch in pairs
        for line in rows(name, batch, measure(name, batch, threads, options))
    ]
    yield table(HEADER, lines, markdown=options.markdown)


if __name__ == "__main__":
    main()
