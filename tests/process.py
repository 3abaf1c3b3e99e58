"""Python in a process of its own, which sees the lucent under test but not the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import lucent

#: Where the lucent under test lies: site-packages, or the checkout in an editable installation.
LUCENT_HOME = Path(lucent.__file__).parents[1]


def environment(home: Path = LUCENT_HOME) -> dict[str, str]:
    """Return an environment without a screen, where `import lucent` finds the package in `home`."""
    kept = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return {**kept, "PYTHONPATH": str(home)}


def run_python(
    *arguments: object, cwd: Path, home: Path = LUCENT_HOME, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run the interpreter of this test in the folder `cwd`, which should not be the checkout."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=environment(home), text=True, check=False, **{**streams, **options}
    )
