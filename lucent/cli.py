"""The command line: `lucent render`, `lucent layers`, `lucent models`.

Results go to stdout and everything else to stderr, so that a pipe gets the result alone. Exit
codes: 0 done, 1 an error of lucent or of a file, 2 a wrong command, 130 interrupted, 141 the reader
of a pipe went away.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lucent import __version__
from lucent.errors import InputError, LucentError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lucent.optvis.objectives import Objective

# What `lucent render` shows when it is told nothing: a unit of the network that needs no download.
_MODEL, _UNIT = "synthnet", "labels:rings"

_HUB = "those of the Hugging Face hub are not in the list: type hf/OWNER/NAME."

# Endings of files that hold all numbers of an image instead of a picture.
_NUMBERS = (".npy", ".npz")

# What a shell reports for a program that the signal ended: 128 + SIGINT, 128 + SIGPIPE.
_INTERRUPTED, _BROKEN_PIPE = 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Args:
        arguments: what follows `lucent` on the command line; None takes them from there.
    """
    args = _parser().parse_args(arguments)
    try:
        with _short_warnings():
            code: int = args.command(args)
            sys.stdout.flush()
            return code
    except BrokenPipeError:
        # Python flushes stdout once more when it ends, which would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (LucentError, OSError) as error:
        if args.debug:
            raise
        return _failed(str(error))
    except (RuntimeError, MemoryError) as error:  # torch's and NumPy's, mostly for want of memory
        if args.debug:
            raise
        return _failed(
            f"{str(error) or type(error).__name__} (a smaller --size or --batch may help; --debug "
            "shows where it happened)"
        )


def _failed(reason: str) -> int:
    print(f"lucent: error: {' '.join(reason.split())}", file=sys.stderr)
    return 1


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Show a warning in one line, once: the place in the code means nothing on the command line."""
    shown: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        if str(message) not in shown:
            shown.add(str(message))
            print(f"lucent: warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lucent", description="Feature visualization: see what a vision network has learned."
    )
    parser.add_argument("--version", action="version", version=f"lucent {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_render, _add_layers, _add_models):
        command = add(commands)
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _add_render(commands: Any) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        "render",
        help="write a picture of what a unit looks for",
        description="Optimise an image for each objective, write one file and print its path.",
    )
    add = command.add_argument
    add(
        "objectives",
        nargs="*",
        metavar="OBJECTIVE",
        help=f"layer:channel, layer:channel:x:y or labels:NAME (default: {_UNIT} of {_MODEL})",
    )
    _add_model(command)
    add("--size", type=_positive, metavar="N", help="side in pixels (default: the model's own)")
    add("--steps", type=_positive, default=512, metavar="N", help="default: %(default)s")
    add("--batch", type=_positive, default=1, metavar="N", help="images per objective")
    add("--grid", type=_positive, metavar="COLUMNS", help="columns of the sheet (default: square)")
    add("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    add("--device", default="cpu", metavar="NAME", help="cpu, cuda, mps ... (default: %(default)s)")
    add("--channels", choices=("hue", "tiles"), help="colours of any channels, or each in grey")
    add("--preset", metavar="NAME", help="plain or vit (default: vit for vision transformers)")
    add("--no-transforms", action="store_true", help="do not move the image between steps")
    add("--out", type=_picture, default="lucent.png", metavar="FILE", help="default: %(default)s")
    command.set_defaults(command=_render)
    return command


def _add_layers(commands: Any) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        "layers",
        help="list the layers of a model",
        description="List names, types, output shapes (without the batch) and channel counts.",
    )
    _add_model(command)
    command.add_argument(
        "--size", type=_positive, metavar="N", help="side in pixels (default: the model's own)"
    )
    command.set_defaults(command=_layers)
    return command


def _add_model(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add(
        "--model",
        default=_MODEL,
        metavar="NAME",
        help="a name that `lucent models` lists, hf/OWNER/NAME, hf/FOLDER, or FILE.py:FUNCTION "
        "(default: %(default)s)",
    )
    add(
        "--weights",
        type=Path,
        metavar="FILE",
        help="a state dict in place of the published one: .safetensors, or of torch.save",
    )
    add("--trust", action="store_true", help="run code that comes with weights, as in pickles")


def _add_models(commands: Any) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser("models", help="list the models")
    command.add_argument(
        "pattern", nargs="?", default="", metavar="PATTERN", help="a part of the name"
    )
    command.set_defaults(command=_models)
    return command


def _positive(text: str) -> int:
    """Parse a count; argparse names the option and the text when it is not one."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


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


def _render(args: argparse.Namespace) -> int:
    from lucent.modelzoo.registry import load
    from lucent.optvis.defaults import checked_spec, shown_channels
    from lucent.optvis.presets import chosen
    from lucent.optvis.render import default_image, export, render_vis

    if not args.objectives and args.model != _MODEL:
        raise InputError(
            f"No objective was given for {args.model}. Type `lucent render LAYER:CHANNEL --model "
            f"{args.model}`; `lucent layers --model {args.model}` lists the layers."
        )
    model = load(args.model, weights=args.weights, trust=args.trust)
    model = _moved(model, args.device)
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
    return 0 if pictures.history.steps[-1] == args.steps else _INTERRUPTED


def _moved(model: nn.Module, device: str) -> nn.Module:
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:  # torch's, for an unknown and for a missing one
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"The device {device!r} cannot be used ({reason}). Type --device cpu, or the name of "
            "one that this machine has."
        ) from error


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


def _layers(args: argparse.Namespace) -> int:
    from lucent.layers import layer_table
    from lucent.modelzoo.registry import load

    model = load(args.model, pretrained=False, weights=args.weights, trust=args.trust)
    rows = [("layer", "type", "output", "channels")]
    for row in layer_table(model, _blank(model, args.size)):
        shape = "-" if row.shape is None else "x".join(map(str, row.shape[1:]))
        rows.append((row.name, row.type, shape, str(row.channels or "-")))
    _print_table(rows)
    return 0


def _blank(model: nn.Module, side: int | None) -> Tensor:
    """Return an image of zeros as a model takes it."""
    import torch

    from lucent.optvis.defaults import DEFAULT_VOLUME_SIZE, checked_spec
    from lucent.util import device_of, dtype_of

    spec = checked_spec(model, needed=True)
    volumes = spec.dimensions == 3
    # Fully convolutional networks have no size of their own: that of ImageNet's crops, then.
    sides = spec.input_size or (DEFAULT_VOLUME_SIZE if volumes else 224,) * 2
    if side is not None and not spec.fixed_size:
        sides = (side, side)
    depth = [spec.depth or sides[0]] if volumes else []
    shape = 1, spec.channels or 3, *depth, *sides
    return torch.zeros(shape, dtype=dtype_of(model), device=device_of(model))


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _models(args: argparse.Namespace) -> int:
    from lucent.modelzoo.registry import names

    found = names(args.pattern)
    if not found:
        raise InputError(
            f"No model has {args.pattern!r} in its name. `lucent models` lists all; {_HUB}"
        )
    print(*found, sep="\n")
    if not args.pattern:
        print(f"lucent: {_HUB}", file=sys.stderr)
    return 0
