"""What `--dry-run` says: the plan, and what it takes by what a little of the work took."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path


def slope(work: Callable[[int], object], few: int, more: int) -> float:
    """Return the seconds that each further item takes, whatever beginning takes.

    Args:
        work: does so many items.
        few: so many at first, which also brings about what only the first call takes.
        more: so many then.
    """
    work(few)
    seconds = [_seconds(work, n) for n in (few, more)]
    # Where a clock is too coarse or the machine too busy, the whole is an upper bound.
    rise = seconds[1] - seconds[0]
    return rise / (more - few) if rise > 0 else seconds[1] / more


def _seconds(work: Callable[[int], object], n: int) -> float:
    start = time.perf_counter()
    work(n)
    return time.perf_counter() - start


def duration(seconds: float) -> str:
    """Return a time for people, in two digits.

    >>> [duration(seconds) for seconds in (0.4, 42, 150, 5400, 400000)]
    ['1 s', '42 s', '2.5 min', '1.5 h', '4.6 days']
    """
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{_rounded(seconds / length)} {unit}"
    return f"{max(1, math.ceil(seconds))} s"


def size(n_bytes: float) -> str:
    """Return a number of bytes for people, in two digits.

    >>> [size(n) for n in (900, 31_400_000, 1_250_000_000)]
    ['1 kB', '31 MB', '1.2 GB']
    """
    for unit, length in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= length:
            return f"{_rounded(n_bytes / length)} {unit}"
    return f"{max(1, math.ceil(n_bytes / 1e3))} kB"


def _rounded(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def bytes_in(folder: Path) -> int:
    """Return the size of all files under a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def show(rows: dict[str, str]) -> None:
    """Print what is planned, a line for each fact."""
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name.ljust(width)}  {value}")
