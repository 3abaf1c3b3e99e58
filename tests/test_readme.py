"""What the README shows works as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
from process import run_python

from lucent import cli
from lucent.modelzoo import inceptionv1

CHECKOUT = Path(__file__).parents[1]
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")

BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
SNIPPETS = [code for language, code in BLOCKS if language == "python"]
SHELL = "".join(code for language, code in BLOCKS if language == "bash")
COMMANDS = re.findall(r"^(?:pip install \S+ && )?(lucent\b[^#|\n]*)", SHELL, re.MULTILINE)


# Everything is real but the number of steps.
SHORTENED = """
from lucent.optvis import defaults
checked = defaults.checked_thresholds
defaults.checked_thresholds = lambda thresholds: [min(n, 4) for n in checked(thresholds)]
"""


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    """A torch.hub folder with the weights that a snippet would download, here random."""
    home = tmp_path_factory.mktemp("torch")
    (home / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(inceptionv1().state_dict(), home / "hub" / "checkpoints" / "inception5h.pth")
    return home


@pytest.mark.parametrize("code", SNIPPETS, ids=range(len(SNIPPETS)))
def test_snippets_run(code, tmp_path, downloads, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(downloads))
    # Without a screen, render_vis shows its pictures in temporary files.
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    done = run_python("-c", SHORTENED + code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "LucentWarning" not in done.stderr


def test_the_commands_are_understood():
    assert COMMANDS
    for command in COMMANDS:
        args = cli._parser().parse_args(shlex.split(command)[1:])
        assert callable(args.command)


def test_the_first_two_commands_are_shown():
    assert "pip install . && lucent render\n" in SHELL
    assert "pip install tox && tox\n" in SHELL


def test_links_and_pictures_exist():
    targets = re.findall(r"\]\(([^)#\s]+)", README)
    local = [target for target in targets if "://" not in target]
    assert local
    assert [target for target in local if not (CHECKOUT / target).exists()] == []
