"""`lucent collect`: what a network does on a data set."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lucent.cli._data import HELP, SYNTH_COUNT, data_named
from lucent.cli._estimate import bytes_in, duration, show, size, slope
from lucent.cli._project import Project, add_project, check_new
from lucent.cli._shared import add_ray, epilog, positive

if TYPE_CHECKING:
    from torch import nn

    from lucent.collect import CollectSettings

#: Images that an estimate collects; their difference is what more of them take.
_FEW, _MORE = 16, 48


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command to those of a parser."""
    command: argparse.ArgumentParser = commands.add_parser(
        "collect",
        help="find the images of a data set that each unit responds to",
        description="Put the images of a data set through a network once and keep, in "
        "OUT/collection, the images that excite each unit most (and those in the middle and at "
        "the bottom), its statistics, and activation vectors for atlases; print the folder. Images "
        "that cannot be read are counted and listed. The same command typed again goes on where "
        "it was cut off.",
        **epilog(
            "lucent collect out                            the embedded network and its scenes",
            "lucent collect out --model resnet50 --data photos --device cuda",
            "lucent collect out --model resnet50 --data photos --layers layer3 layer4 --dry-run",
            "lucent collect out --data 'wds:photos-{000..127}.tar' --limit 100000",
        ),
    )
    add_project(command)
    _add_options(command)
    add_ray(command)
    command.set_defaults(command=_run)
    return command


def _add_options(command: argparse.ArgumentParser) -> None:
    option = command.add_argument
    option("--data", metavar="DATA", help=f"{HELP} (default: synth:{SYNTH_COUNT})")
    option(
        "--layers",
        nargs="+",
        metavar="LAYER",
        help="names that `lucent layers` lists (default: one for each learned stage)",
    )
    option(
        "--examples",
        type=positive,
        default=9,
        metavar="N",
        help="of each unit, of every kind (default: %(default)s)",
    )
    option(
        "--vectors",
        type=positive,
        default=1,
        metavar="N",
        help="positions of each image whose activations are kept (default: %(default)s)",
    )
    option(
        "--shard",
        type=positive,
        default=256,
        metavar="N",
        help="images between two savings, a multiple of --batch (default: %(default)s)",
    )
    option("--batch", type=positive, default=32, metavar="N", help="images at a time (default: 32)")
    option(
        "--workers",
        type=int,
        default=min(8, os.cpu_count() or 1),
        metavar="N",
        help="threads that decode pictures (default here: %(default)s)",
    )
    option("--limit", type=positive, metavar="N", help="the first N images only")
    option("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    option(
        "--no-attributions",
        action="store_true",
        help="leave out what positions do for the classes, which atlases of classes need",
    )


def _run(args: argparse.Namespace) -> int:
    from lucent.collect import CollectSettings, collect

    project = Project(args.out)
    check_new(project.collection, args)
    data = data_named(args.data or f"synth:{SYNTH_COUNT}")
    settings = CollectSettings(
        examples=args.examples,
        vectors=args.vectors,
        attributions=not args.no_attributions,
        shard=args.shard,
        batch=args.batch,
        seed=args.seed,
        limit=args.limit,
    )
    model = project.model(args)
    if args.dry_run:
        _estimate(model, data, args.layers, settings)
        return 0
    options: dict[str, Any] = {
        "layers": args.layers,
        "settings": settings,
        "progress": sys.stderr.isatty(),
    }
    if args.ray:
        from lucent.cluster import collect_on_ray

        collect_on_ray(model, data, project.collection, address=args.ray, **options)
    else:
        collect(model, data, project.collection, workers=args.workers, **options)
    print(project.collection)
    return 0


def _estimate(
    model: nn.Module, data: Any, layers: list[str] | None, settings: CollectSettings
) -> None:
    """Print what there is to do, and what it takes by the first images."""
    from lucent.collect import as_source, collect
    from lucent.collect.plans import plan_collection

    source = as_source(data)
    plan = plan_collection(model, source, layers=layers, settings=settings)
    taken: dict[int, int] = {}

    def work(n: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            collect(model, source, folder, layers=layers, settings=replace(settings, limit=n))
            taken[n] = bytes_in(Path(folder))

    few, more = _FEW, _MORE if plan.count is None else min(_MORE, max(_FEW + 1, plan.count))
    an_image = slope(work, few, more)
    growth = max(0, taken[more] - taken[few]) / (more - few)
    rows = {
        "network": f"{plan.model}, pictures of {plan.size[1]} x {plan.size[0]} pixels",
        "images": "as many as there are" if plan.count is None else f"{plan.count:,}",
        "layers": ", ".join(
            f"{layer} ({shape[0]})" for layer, shape in zip(plan.layers, plan.shapes, strict=True)
        ),
    }
    if plan.count is None:
        rows["time"] = f"{1000 * an_image:.0f} ms for each image"
        rows["disk"] = f"at most {size(growth)} for each image"
    else:
        rows["time"] = duration(an_image * plan.count)
        rows["disk"] = f"at most {size(taken[few] + growth * (plan.count - few))}"
    rows["time"] += f" on this machine, by the first {more} images"
    rows["disk"] += ", by the same"
    show(rows)
