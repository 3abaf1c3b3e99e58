"""Options that several commands have, and what becomes of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lucent.errors import InputError

if TYPE_CHECKING:
    from torch import nn

#: The network that needs no download.
MODEL = "synthnet"

# What a shell reports for a program that the signal ended: 128 + SIGINT.
INTERRUPTED = 130


def add_model(command: argparse.ArgumentParser, *, default: str | None = MODEL) -> None:
    """Add the options that name a network.

    Args:
        command: the parser to add them to.
        default: the network where none is named; None leaves that to the command.
    """
    add = command.add_argument
    add(
        "--model",
        default=default,
        metavar="NAME",
        help="a name that `lucent models` lists, hf/OWNER/NAME, hf/FOLDER, or FILE.py:FUNCTION "
        f"(default: {default or f'that of OUT, at first {MODEL}'})",
    )
    add(
        "--weights",
        type=Path,
        metavar="FILE",
        help="a state dict in place of the published one: .safetensors, or of torch.save",
    )
    add("--trust", action="store_true", help="run code that comes with weights, as in pickles")


def add_device(command: argparse.ArgumentParser) -> None:
    """Add the option that says where to compute."""
    command.add_argument(
        "--device", default="cpu", metavar="NAME", help="cpu, cuda, mps ... (default: %(default)s)"
    )


def add_ray(command: argparse.ArgumentParser) -> None:
    """Add the option that says on which machines to compute."""
    command.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="share the work out over a Ray cluster: its address; auto, the one that this machine "
        "belongs to; local, one that is started here",
    )


def epilog(*examples: str) -> dict[str, Any]:
    """Return arguments of a parser that let its help end with commands, a line for each."""
    lines = "\n".join(f"  {example}" for example in examples)
    return {
        "epilog": f"examples:\n{lines}",
        "formatter_class": _Help,
    }


class _Help(argparse.RawDescriptionHelpFormatter):
    """Wraps the description as usual and leaves the lines of the examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("examples:"):
            return super()._fill_text(text, width, indent)
        return argparse.HelpFormatter._fill_text(self, text, width, indent)


def positive(text: str) -> int:
    """Parse a count; argparse names the option and the text when it is not one."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def moved(model: nn.Module, device: str) -> nn.Module:
    """Return the model on a device.

    Raises:
        InputError: the device is unknown, or this machine has none of it.
    """
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:  # torch's, for an unknown and for a missing one
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"The device {device!r} cannot be used ({reason}). Type --device cpu, or the name of "
            "one that this machine has."
        ) from error
