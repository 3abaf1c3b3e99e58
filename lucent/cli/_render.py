"""`lucent render`: a picture of what units look for."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lucent.cli._shared import INTERRUPTED, MODEL, add_device, add_model, moved, positive
from lucent.errors import InputError

if TYPE_CHECKING:
    from lucent.optvis.objectives import Objective

# What is shown when nothing is said.
_UNIT = "labels:rings"

# Endings of files that hold all numbers of an image instead of a picture.
_NUMBERS = (".npy", ".npz")


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command to those of a parser."""
    command: argparse.ArgumentParser = commands.add_parser(
        "render",
        help="write a picture of what a unit looks for",
        description="Optimise an image for each objective, write one file and print its path.",
    )
    option = command.add_argument
    option(
        "objectives",
        nargs="*",
        metavar="OBJECTIVE",
        help=f"layer:channel, layer:channel:x:y or labels:NAME (default: {_UNIT} of {MODEL})",
    )
    add_model(command)
    option("--size", type=positive, metavar="N", help="side in pixels (default: the model's own)")
    option("--steps", type=positive, default=512, metavar="N", help="default: %(default)s")
    option("--batch", type=positive, default=1, metavar="N", help="images per objective")
    option(
        "--grid", type=positive, metavar="COLUMNS", help="columns of the sheet (default: square)"
    )
    option("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    add_device(command)
    option("--channels", choices=("hue", "tiles"), help="colours of any channels, or each in grey")
    option("--preset", metavar="NAME", help="plain or vit (default: vit for vision transformers)")
    option("--no-transforms", action="store_true", help="do not move the image between steps")
    option(
        "--out", type=_picture, default="lucent.png", metavar="FILE", help="default: %(default)s"
    )
    command.set_defaults(command=_run)
    return command


def _picture(text: str) -> Path:
    """Parse the name of a picture now, because an unknown format would waste the whole run."""
    from PIL import Image

    path, formats = Path(text), Image.registered_extensions()
    ending = path.suffix.lower()
    if ending not in _NUMBERS and formats.get(ending) not in Image.SAVE:
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .png, .jpg, .npy or the like")
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a folder; name a file in it")
    return path


def _run(args: argparse.Namespace) -> int:
    from lucent.modelzoo.registry import load
    from lucent.optvis.defaults import checked_spec, shown_channels
    from lucent.optvis.presets import chosen
    from lucent.optvis.render import default_image, export, render_vis

    if not args.objectives and args.model != MODEL:
        raise InputError(
            f"No objective was given for {args.model}. Type `lucent render LAYER:CHANNEL --model "
            f"{args.model}`; `lucent layers --model {args.model}` lists the layers."
        )
    model = load(args.model, weights=args.weights, trust=args.trust)
    model = moved(model, args.device)
    spec = checked_spec(model, needed=True)
    objectives = args.objectives or [_UNIT]
    pictures = render_vis(
        model,
        _in_rows(objectives, args.batch),
        lambda: default_image(spec, args.size, batch=len(objectives) * args.batch),
        transforms=[] if args.no_transforms else None,
        thresholds=(args.steps,),
        progress=sys.stderr.isatty(),
        show_image=False,
        seed=args.seed,
        preset=chosen(args.preset, None if args.no_transforms else model),
    )
    columns = args.grid or _columns(len(objectives), args.batch)
    channels: Any = args.channels or shown_channels(spec)
    export(pictures[-1], args.out, columns=columns, channels=channels)
    print(args.out)
    return 0 if pictures.history.steps[-1] == args.steps else INTERRUPTED


def _in_rows(objectives: Sequence[str], batch: int) -> Objective:
    """Return one objective that gives `batch` images to each of the objectives in turn."""
    from lucent.optvis.objectives import Objective, as_objective

    each = [as_objective(objective) for objective in objectives for _ in range(batch)]
    return Objective.of(
        replace(term, row=row) for row, one in enumerate(each) for term in one.terms
    )


def _columns(n_objectives: int, batch: int) -> int:
    """Return how many columns give each objective a row, or make a square of single images."""
    return batch if min(n_objectives, batch) > 1 else math.ceil(math.sqrt(n_objectives * batch))
