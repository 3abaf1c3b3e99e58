"""The command line: a picture, a whole network, and what there is to look at.

Results go to stdout and everything else to stderr, so that a pipe gets the result alone. Exit
codes: 0 done, 1 an error of lucent or of a file, 2 a wrong command, 130 interrupted, 141 the reader
of a pipe went away.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lucent import __version__
from lucent.cli import _atlas, _collect, _microscope, _render, _sweep, _tables
from lucent.cli._shared import INTERRUPTED
from lucent.errors import LucentError

# What a shell reports for a program that the signal ended: 128 + SIGPIPE.
_BROKEN_PIPE = 141

_COMMANDS = (
    _render.add,
    _collect.add,
    _sweep.add,
    _atlas.add,
    _microscope.add,
    _tables.add_layers,
    _tables.add_models,
)


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
        if hasattr(args, "resume"):
            print("lucent: interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
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
        # What other packages will drop is nothing that can be done anything about from here.
        for category in (DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        warnings.showwarning = show
        yield


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lucent", description="Feature visualization: see what a vision network has learned."
    )
    parser.add_argument("--version", action="version", version=f"lucent {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in _COMMANDS:
        command = add(commands)
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser
