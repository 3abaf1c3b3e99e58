"""The ways to do a step, each as a function that does some steps and tells how long they took."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks.floor import Floor
from benchmarks.naive import Naive
from benchmarks.workloads import SEED, WORKLOADS, Workload
from lucent.optvis.loop import Run, RunSettings
from lucent.optvis.render import render_vis
from lucent.optvis.transform import standard_transforms
from lucent.optvis.transform.base import Fused

#: Steps at the beginning of a measurement that do not count: they find memory, and on a GPU
#: they hold the capture.
DISCARDED = {"cpu": 3, "cuda": 20}


@dataclass(frozen=True)
class Sample:
    """Seconds per step: of all cores together, and on the clock."""

    cpu: float
    wall: float


@dataclass(frozen=True)
class Setup:
    """A workload on a device, with its network.

    Attributes:
        workload: what to render.
        model: its network, on the device.
        batch: number of images.
    """

    workload: Workload
    model: nn.Module
    batch: int

    @classmethod
    def of(cls, name: str, batch: int, device: torch.device) -> Setup:
        """Build the network of a workload."""
        return cls(WORKLOADS[name], WORKLOADS[name].build().to(device), batch)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.model.parameters()).device


#: Does the discarded steps and then so many; returns how long those took.
Contender = Callable[[int], Sample]


class Stopwatch:
    """Measures some steps; on a GPU it waits for them.

    Args:
        device: that computes.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._start = (0.0, 0.0)
        self._cpu = self._wall = 0.0

    def start(self) -> None:
        """Begin, or go on."""
        self._start = self._now()

    def stop(self) -> None:
        """End, for now."""
        cpu, wall = self._now()
        self._cpu += cpu - self._start[0]
        self._wall += wall - self._start[1]

    def sample(self, steps: int) -> Sample:
        """Return the time between starts and stops per step."""
        return Sample(self._cpu / steps, self._wall / steps)

    def of_runs(self, steps: int) -> dict[str, Any]:
        """Return the options that have runs do so many steps after the discarded ones, measured."""
        first = DISCARDED[self._device.type]

        def callback(run: Run) -> None:
            if run.step == first:
                self.start()
            elif run.step == first + steps:
                self.stop()

        # The redirected ReLU lasts 17 of 512 steps and would take most of a short measurement.
        return {"thresholds": (first + steps,), "callbacks": [callback], "relu_override": False}

    def _now(self) -> tuple[float, float]:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.process_time(), time.perf_counter()


def measure_render(setup: Setup, steps: int, **options: Any) -> Sample:
    """Measure `render_vis` between two of its steps."""
    watch = Stopwatch(setup.device)
    render_vis(
        setup.model,
        setup.workload.objective,
        partial(setup.workload.image, setup.model, setup.batch),
        progress=False,
        show_image=False,
        seed=SEED,
        **watch.of_runs(steps),
        **options,
    )
    return watch.sample(steps)


def measure_run(setup: Setup, steps: int) -> Sample:
    """Measure `Run` without callbacks."""
    with open_run(setup) as run:
        return _measured(partial(next, run), setup.device, steps)


def open_run(setup: Setup) -> Run:
    """Return the run that `render_vis` would make."""
    workload = setup.workload
    return Run(
        setup.model,
        workload.objective,
        workload.image(setup.model, setup.batch),
        transforms=Fused(standard_transforms, lambda own: (workload.seen, workload.seen)),
        settings=RunSettings(seed=SEED),
    )


def _measured(step: Callable[[], object], device: torch.device, steps: int) -> Sample:
    for _ in range(DISCARDED[device.type]):
        step()
    watch = Stopwatch(device)
    watch.start()
    for _ in range(steps):
        step()
    watch.stop()
    return watch.sample(steps)


def _by_hand(kind: type[Floor] | type[Naive], setup: Setup) -> Contender:
    contender = kind(setup.workload, setup.model, setup.batch)
    # Without the setup, whose network it has a copy of.
    return partial(_measured, contender.step, setup.device)


#: By name: what makes a contender of a setup. The order is that of the table.
CONTENDERS: dict[str, Callable[[Setup], Contender]] = {
    "render_vis": lambda setup: partial(measure_render, setup),
    "Run": lambda setup: partial(measure_run, setup),
    "floor": partial(_by_hand, Floor),
    "naive": partial(_by_hand, Naive),
}

#: Those that only a GPU has; "render_vis" and "Run" leave it to the library whether to capture.
GPU_OPTIONS: dict[str, dict[str, Any]] = {
    "eager": {"capture": False, "precision": "fp32"},
    "captured": {"capture": True, "precision": "fp32"},
    "captured, tf32": {"capture": True, "precision": "tf32"},
    "captured, bf16": {"capture": True, "precision": "bf16"},
}


def contenders(device: torch.device) -> dict[str, Callable[[Setup], Contender]]:
    """Return what makes the contenders that there are on a device, by name."""
    if device.type != "cuda":
        return CONTENDERS
    return CONTENDERS | {name: partial(_with, options) for name, options in GPU_OPTIONS.items()}


def _with(options: dict[str, Any], setup: Setup) -> Contender:
    return partial(measure_render, setup, **options)
