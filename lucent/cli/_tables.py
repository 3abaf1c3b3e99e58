"""`lucent layers` and `lucent models`: what there is to look at."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lucent.cli._shared import add_model, positive
from lucent.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

_HUB = "those of the Hugging Face hub are not in the list: type hf/OWNER/NAME."


def add_layers(commands: Any) -> argparse.ArgumentParser:
    """Add the command that lists layers to those of a parser."""
    command: argparse.ArgumentParser = commands.add_parser(
        "layers",
        help="list the layers of a model",
        description="List names, types, output shapes (without the batch) and channel counts.",
    )
    add_model(command)
    command.add_argument(
        "--size", type=positive, metavar="N", help="side in pixels (default: the model's own)"
    )
    command.set_defaults(command=_layers)
    return command


def add_models(commands: Any) -> argparse.ArgumentParser:
    """Add the command that lists networks to those of a parser."""
    command: argparse.ArgumentParser = commands.add_parser("models", help="list the models")
    command.add_argument(
        "pattern", nargs="?", default="", metavar="PATTERN", help="a part of the name"
    )
    command.set_defaults(command=_models)
    return command


def _layers(args: argparse.Namespace) -> int:
    from lucent.layers import layer_table
    from lucent.modelzoo.registry import load

    model = load(args.model, pretrained=False, weights=args.weights, trust=args.trust)
    rows = [("layer", "type", "output", "channels")]
    for row in layer_table(model, blank(model, args.size)):
        shape = "-" if row.shape is None else "x".join(map(str, row.shape[1:]))
        rows.append((row.name, row.type, shape, str(row.channels or "-")))
    _print_table(rows)
    return 0


def blank(model: nn.Module, side: int | None = None) -> Tensor:
    """Return an image of zeros as a model takes it.

    Args:
        model: any network that takes pictures or volumes.
        side: in pixels; None is the model's own. One that takes no other keeps its own.
    """
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
