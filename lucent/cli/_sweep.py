"""`lucent sweep`: a picture of every unit."""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lucent.cli._estimate import bytes_in, duration, show, size, slope
from lucent.cli._project import Project, add_project, check_new
from lucent.cli._shared import MODEL, add_ray, epilog, positive
from lucent.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from lucent.sweep import Batch, SweepPlan

#: Of the embedded network, whose pictures can be told apart after 64 steps, so that a first look
#: at all its units takes minutes; the pictures of others need those of `SweepSettings`.
_FIRST_LOOK = 64

#: Steps of the batches that an estimate times; their difference is what more of them take.
_FEW, _MORE = 1, 3


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command to those of a parser."""
    command: argparse.ArgumentParser = commands.add_parser(
        "sweep",
        help="render every unit of a network",
        description="Render a picture of every unit of some layers into OUT/sweep, a PNG file for "
        "each, and print the folder. The same command typed again goes on where it was cut off; "
        "the pictures do not depend on that.",
        **epilog(
            "lucent sweep out                              all units of the main layers",
            "lucent sweep out --layers mixed4a --units 0-15,20",
            "lucent sweep out --kinds channel neuron diversity negative",
            "lucent sweep out --model resnet50 --device cuda --dry-run",
            "lucent sweep out --model resnet50 --ray auto  on the cluster of this machine",
        ),
    )
    add_project(command)
    option = command.add_argument
    option(
        "--layers",
        nargs="+",
        metavar="LAYER",
        help="names that `lucent layers` lists (default: one for each learned stage)",
    )
    option("--units", type=units, metavar="LIST", help="such as 0-15,20 (default: all)")
    option(
        "--kinds",
        nargs="+",
        default=["channel"],
        metavar="KIND",
        help="channel: what raises its mean; neuron: what raises the one in the middle; diversity: "
        "several pictures that differ; negative: what lowers the mean (default: channel)",
    )
    option(
        "--steps",
        type=positive,
        metavar="N",
        help=f"of each picture (default: 256; of {MODEL} {_FIRST_LOOK}, for a first look)",
    )
    option("--size", type=positive, metavar="N", help="side in pixels (default: at most 96)")
    option("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    option(
        "--batch-size",
        type=positive,
        metavar="N",
        help="pictures at a time (default: what fits into the memory)",
    )
    add_ray(command)
    command.set_defaults(command=_run)
    return command


def units(text: str) -> list[int]:
    """Parse numbers of units; argparse names the option and the text when they are none.

    >>> units("0-3,20")
    [0, 1, 2, 3, 20]

    Args:
        text: numbers and ranges, the last one included, between commas.
    """
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        numbers = range(int(first), int(last if dash else first) + 1)
        if not numbers:
            raise argparse.ArgumentTypeError(f"{part!r} has no units: the first one comes first")
        found.update(numbers)
    return sorted(found)


def _run(args: argparse.Namespace) -> int:
    from lucent.sweep import SweepSettings, plan_sweep, run_sweep

    project = Project(args.out)
    check_new(project.sweep, args)
    model = project.model(args)
    steps = args.steps or (_FIRST_LOOK if _is_embedded(model) else SweepSettings().steps)
    plan = plan_sweep(
        model,
        layers=args.layers,
        units=args.units,
        kinds=args.kinds,
        settings=SweepSettings(
            steps=steps, size=args.size, seed=args.seed, batch_size=args.batch_size or "auto"
        ),
    )
    if not plan.batches:
        raise InputError("There is nothing to render: name other units or kinds.")
    if args.dry_run:
        _estimate(plan, model)
        return 0
    run_sweep(plan, model, project.sweep, ray=args.ray, progress=sys.stderr.isatty())
    print(project.sweep)
    return 0


def _is_embedded(model: nn.Module) -> bool:
    from lucent.optvis.defaults import checked_spec

    return checked_spec(model, needed=True).name == MODEL


def _estimate(plan: SweepPlan, model: nn.Module) -> None:
    """Print what there is to do, and what it takes by a few steps of a batch of each layer."""
    seconds = n_bytes = 0.0
    for layer in plan.layers:
        own = [batch for batch in plan.batches if batch.layer == layer]
        if own:
            a_step, each = _cost(replace(plan, batches=(own[0],)), model)
            rows = sum(map(partial(_rows, plan), own)) / _rows(plan, own[0])
            seconds += a_step * plan.settings.steps * rows
            n_bytes += each * sum(len(b.units) * plan.pictures_of(b.kind) for b in own)
    print(plan.summary())
    show(
        {
            "time": f"{duration(seconds)} on this machine, by {_MORE} steps of a batch of each "
            "layer",
            "disk": f"{size(n_bytes)}, by the pictures of these batches",
        }
    )


def _rows(plan: SweepPlan, batch: Batch) -> float:
    """Return for how many pictures a batch computes; "diversity" begins with half of another."""
    extra = 0.5 if batch.kind == "diversity" else 0
    return len(batch.units) * (plan.pictures_of(batch.kind) + extra)


def _cost(plan: SweepPlan, model: nn.Module) -> tuple[float, float]:
    """Return the seconds of a step of the batch of a plan, and the bytes of one of its pictures."""
    from lucent.sweep import run_sweep

    taken = 0

    def work(steps: int) -> None:
        nonlocal taken
        short = replace(plan, settings=replace(plan.settings, steps=steps))
        with tempfile.TemporaryDirectory() as folder:
            run_sweep(short, model, folder)
            taken = bytes_in(Path(folder))

    return slope(work, _FEW, _MORE), taken / plan.pictures
