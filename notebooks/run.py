"""Run the notebooks from top to bottom: `python notebooks/run.py`, or with the paths of some.

With `--write` their outputs are saved, and the first two cells, a badge and the installation, are
made anew. Nothing is compared: a notebook fails if one of its cells does.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

#: Where the notebooks are published, on GitHub; what is installed comes from there as well.
REPOSITORY = "greentfrapp/lucent"
HERE = Path(__file__).resolve().parent
#: Seconds after which a cell counts as hanging, and the bytes of a notebook's outputs at most.
TIME, SIZE = 600, 700_000
#: Largest output of a cell in bytes, as text; a viewer of meshes has 255,000 for three.js.
OUTPUT_SIZE = 450_000


def badge(path: Path) -> str:
    """Return the first cell of a notebook: a link that opens it in Colab."""
    place = path.resolve().relative_to(HERE).as_posix()
    address = f"https://colab.research.google.com/github/{REPOSITORY}/blob/main/notebooks/{place}"
    image = "https://colab.research.google.com/assets/colab-badge.svg"
    return f"[![Open in Colab]({image})]({address})"


def installation() -> str:
    """Return the second cell of a notebook: it installs lucent where it is not there."""
    return (
        "import importlib.util\n\n"
        'if importlib.util.find_spec("lucent") is None:\n'
        '    %pip install --quiet "torch-lucent[notebooks] @ '
        f'git+https://github.com/{REPOSITORY}"'
    )


def opened(path: Path) -> NotebookNode:
    """Return a notebook with the standard cells in front."""
    notebook = nbformat.read(path, as_version=4)
    cells = notebook.cells
    if cells and cells[0].source.startswith("[![Open in Colab]"):
        cells = cells[2:]
    standard = [
        nbformat.v4.new_markdown_cell(badge(path)),
        nbformat.v4.new_code_cell(installation()),
    ]
    notebook.cells = [*standard, *cells]
    return notebook


def execute(notebook: NotebookNode) -> None:
    """Run all cells, in a folder of their own that is removed."""
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            notebook, timeout=TIME, kernel_name="python3", resources={"metadata": {"path": folder}}
        ).execute()


def tidy(notebook: NotebookNode) -> None:
    """Leave out what differs from run to run: times, identifiers, what progress bars wrote."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", {}
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]


def too_large(notebook: NotebookNode) -> list[str]:
    """Return what exceeds the sizes that a repository of notebooks can bear."""
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    sizes = [len(json.dumps(output)) for output in outputs]
    problems = [f"an output of {size:,} bytes" for size in sizes if size > OUTPUT_SIZE]
    return problems + ([f"{sum(sizes):,} bytes of outputs"] if sum(sizes) > SIZE else [])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the notebooks; return the exit status, 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path, help="by default all")
    parser.add_argument("--write", action="store_true", help="save the outputs")
    options = parser.parse_args(arguments)
    failed = False
    for path in options.paths or sorted(HERE.rglob("*.ipynb")):
        notebook, begin = opened(path), time.monotonic()
        try:
            execute(notebook)
            problems = too_large(notebook)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            problems = [str(error)]
        print(f"{path}: {time.monotonic() - begin:.0f} s", *problems, sep="\n  ", flush=True)
        failed |= bool(problems)
        if options.write and not problems:
            tidy(notebook)
            nbformat.write(notebook, path)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
