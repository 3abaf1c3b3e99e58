"""What the README shows works as it stands there."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest
from process import run_python

from lucent import cli

CHECKOUT = Path(__file__).parents[1]
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")

BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
SNIPPETS = [code for language, code in BLOCKS if language == "python"]
# Weights that are not part of the package would have to be downloaded.
DOWNLOADING = [code for code in SNIPPETS if "pretrained=True" in code]
RUNNABLE = [code for code in SNIPPETS if code not in DOWNLOADING]
SHELL = "".join(code for language, code in BLOCKS if language == "bash")
COMMANDS = re.findall(r"^(?:pip install \S+ && )?(lucent\b[^#|\n]*)", SHELL, re.MULTILINE)


@pytest.mark.parametrize("code", RUNNABLE, ids=range(len(RUNNABLE)))
def test_snippets_run(code, tmp_path, monkeypatch):
    # Without a screen, render_vis shows its pictures in temporary files.
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    done = run_python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "LucentWarning" not in done.stderr


@pytest.mark.parametrize("code", DOWNLOADING, ids=range(len(DOWNLOADING)))
def test_what_the_other_snippets_import_exists(code, tmp_path):
    imports = [n for n in ast.parse(code).body if isinstance(n, ast.Import | ast.ImportFrom)]
    done = run_python("-c", "\n".join(map(ast.unparse, imports)), cwd=tmp_path)
    assert imports
    assert done.returncode == 0, done.stderr


def test_the_commands_are_understood():
    assert COMMANDS
    for command in COMMANDS:
        args = cli._parser().parse_args(shlex.split(command)[1:])
        assert args.command in (cli._render, cli._layers, cli._models)


def test_the_first_two_commands_are_shown():
    assert "pip install . && lucent render\n" in SHELL
    assert "pip install tox && tox\n" in SHELL


def test_links_and_pictures_exist():
    targets = re.findall(r"\]\(([^)#\s]+)", README)
    local = [target for target in targets if "://" not in target]
    assert local
    assert [target for target in local if not (CHECKOUT / target).exists()] == []
