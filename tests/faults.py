"""What goes wrong on long jobs, made on purpose: sudden deaths at random moments, a full disk."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from process import environment

#: How often a running command is looked at, in seconds.
_TICK = 0.01
#: A run that does not end within this many seconds hangs.
_LONGEST = 600
#: Python ignores the signal of a file that gets too large, so that writing it raises OSError.
_LIMITED = (
    "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2); "
    "os.execv(sys.argv[2], sys.argv[2:])"
)


@dataclass(frozen=True)
class Survival:
    """How a command got to its end.

    Attributes:
        kills: how often something of it was killed while it ran.
        runs: how often it was started.
        output: standard output and errors of the last run.
    """

    kills: int
    runs: int
    output: str


def killed_until_done(
    command: Sequence[object],
    *,
    cwd: Path,
    seed: int,
    kills: int | None = None,
    watch: Path | None = None,
    span: float = 0.5,
    victim: Callable[[int], int | None] | None = None,
    env: Mapping[str, str] | None = None,
) -> Survival:
    """Run a command, kill -9 it at a random moment, and start it again, until it ends well.

    Args:
        command: what to run, in a process group of its own.
        cwd: where.
        seed: of the moments.
        kills: after so many it is left alone; None goes on until it ends before its moment.
        watch: the folder that it fills. The clock of a run starts when something in it changes, so
            that the time before, for imports, does not count; None starts it with the process.
        span: seconds within which the first moments lie. The span doubles after a run that left
            no new file in `watch` (without it: after every run), so the command comes to its end.
        victim: from the process id of the command to that of the process to kill, None as long as
            there is none. The command is expected to survive that, so it is done several times in
            one run. None kills the whole group.
        env: of the command; None is that of `process.environment`.

    Raises:
        RuntimeError: the command ended badly by itself, or hangs.
    """
    moments = np.random.default_rng(seed)
    killed = runs = 0
    while True:
        before, runs = _files(watch), runs + 1
        with tempfile.TemporaryFile("w+") as output, _started(command, cwd, env, output) as process:
            left = _LONGEST if kills is None else kills - killed
            hits = 0
            while hits < left and _shot(process, moments.uniform(0, span), watch, victim):
                hits += 1
                if victim is None:
                    break
            _end(process)
            output.seek(0)
            text = output.read()
        killed += hits
        if process.returncode == 0:
            return Survival(killed, runs, text)
        if not hits or victim is not None:
            raise RuntimeError(f"Run {runs} ended with {process.returncode}:\n{text}")
        if watch is None or _files(watch) <= before:
            span *= 2


def _started(
    command: Sequence[object], cwd: Path, env: Mapping[str, str] | None, output: IO[str]
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*map(str, command)],
        cwd=cwd,
        env=environment() if env is None else dict(env),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _shot(
    process: subprocess.Popen[str],
    moment: float,
    watch: Path | None,
    victim: Callable[[int], int | None] | None,
) -> bool:
    """Kill when the moment has come; tell whether something was there to kill."""
    at_start, begun = _files(watch), time.monotonic()
    started = begun if watch is None else None
    while process.poll() is None and time.monotonic() < begun + _LONGEST:
        if started is None and _files(watch) != at_start:
            started = time.monotonic()
        if started is not None and time.monotonic() >= started + moment:
            target = process.pid if victim is None else victim(process.pid)
            if target is not None:
                return _killed(target, group=victim is None)
        time.sleep(_TICK)
    return False


def _killed(pid: int, *, group: bool) -> bool:
    try:
        (os.killpg if group else os.kill)(pid, signal.SIGKILL)
    except ProcessLookupError:  # it ended in this moment
        return False
    return True


def _end(process: subprocess.Popen[str]) -> None:
    """Wait for the end of a command, and bring it about where it does not come."""
    try:
        process.wait(_LONGEST)
    except subprocess.TimeoutExpired:
        _killed(process.pid, group=True)


def _files(folder: Path | None) -> set[str]:
    # Unlike Path.rglob, os.walk goes on when a folder vanishes under it.
    found = () if folder is None else os.walk(folder)
    return {os.path.join(path, name) for path, folders, files in found for name in folders + files}


def descendants(pid: int) -> dict[int, str]:
    """Return the process ids and command lines of all that a process started, and they did."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The name of a process may contain spaces and brackets; what follows it does not.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it is gone
                continue
            parents[int(entry.name)] = int(fields[1])
    found, frontier = {}, {pid}
    while frontier := {child for child, parent in parents.items() if parent in frontier}:
        found.update({child: _command_line(child) for child in frontier})
    return found


def _command_line(pid: int) -> str:
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return text.replace(b"\0", b" ").decode(errors="replace").strip()


def with_file_limit(command: Sequence[object], size: int) -> list[str]:
    """Return a command that cannot write files of more than `size` bytes, as on a full disk.

    Args:
        command: its first word is the path of a program.
        size: in bytes; writing more raises `OSError`.
    """
    return [sys.executable, "-c", _LIMITED, str(size), *map(str, command)]


def tree_of_files(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file under a folder by its path in it."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
