"""What a user gets: the wheel is complete, holds nothing else, and works outside the checkout."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from process import environment, run_python

import lucent

CHECKOUT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build from a copy, so that a stale build/ of the checkout cannot lend files to the wheel."""
    source = tmp_path_factory.mktemp("source")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, source)
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("lucent", "tests", "benchmarks"):
        shutil.copytree(CHECKOUT / name, source / name, ignore=ignored)
    pip("wheel", "--no-build-isolation", "--wheel-dir", source / "dist", source)
    return next((source / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Install the wheel into an empty folder."""
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--target", folder, wheel)
    return folder


def pip(command, *arguments):
    # Without its dependencies, which are large, and without an index: nothing may be fetched.
    options = ["--no-deps", "--no-index", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", command, *options, *map(str, arguments)], check=True
    )


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    ours = {name for name in names if not name.split("/")[0].endswith(".dist-info")}
    tree = (path for path in (CHECKOUT / "lucent").rglob("*") if path.is_file())
    expected = {path.relative_to(CHECKOUT).as_posix() for path in tree}
    assert ours == {name for name in expected if "__pycache__" not in name}
    assert {"lucent/py.typed", "lucent/modelzoo/labels/places365.txt"} <= ours


def test_the_metadata_is_that_of_the_package(wheel):
    archive = zipfile.ZipFile(wheel)
    info = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = Parser().parsestr(archive.read(info).decode())
    needed = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert (metadata["Name"], metadata["Version"]) == ("torch-lucent", lucent.__version__)
    assert metadata["Requires-Python"] == ">=3.10"
    assert {re.match(r"[\w-]+", line)[0] for line in needed} == {
        "torch", "torchvision", "numpy", "pillow", "tqdm", "ipython",
    }  # fmt: skip
    extras = {"timm": "timm", "clip": "open_clip_torch", "hf": "transformers"}
    for extra, package in extras.items():
        assert extra in metadata.get_all("Provides-Extra")
        lines = [line.replace("-", "_") for line in metadata.get_all("Requires-Dist")]
        assert [line for line in lines if line.startswith(package) and f'"{extra}"' in line]
    licence = next(name for name in archive.namelist() if name.endswith("licenses/LICENSE"))
    text = archive.read(licence).decode()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


RENDER = """
import lucent
from lucent import modelzoo
from lucent.optvis.render import render_vis

spec = modelzoo.spec_of(modelzoo.load("synthnet"))
images = render_vis(modelzoo.load("synthnet"), "conv1:0", thresholds=(3,), progress=False,
                    show_image=False, save_image=True, image_name="unit.png")
inception = modelzoo.spec_of(modelzoo.inceptionv1())
print(lucent.__file__, len(spec.labels), len(inception.labels), sep="\\n")
"""


def test_an_installed_wheel_renders_outside_the_checkout(installed, tmp_path):
    done = run_python("-c", RENDER, cwd=tmp_path, home=installed)
    assert done.returncode == 0, done.stderr
    where, n_labels, n_inception = done.stdout.splitlines()
    assert Path(where) == installed / "lucent" / "__init__.py"
    assert (int(n_labels), int(n_inception)) == (28, 1008)
    assert np.asarray(Image.open(tmp_path / "unit.png")).std() > 0


def test_the_installed_command_renders(installed, tmp_path):
    command = [installed / "bin" / "lucent", "render", "--steps", "3"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment(installed),
        text=True,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "lucent.png\n"), done.stderr
    assert Image.open(tmp_path / "lucent.png").format == "PNG"
