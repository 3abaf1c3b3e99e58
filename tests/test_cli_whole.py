"""The four commands that make a whole network visible: end to end, cut off, out of room."""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from faults import killed_until_done, tree_of_files, with_file_limit
from PIL import Image
from process import environment

from lucent import cli
from lucent.cli import _atlas, _estimate, _sweep
from lucent.collect import Collection
from lucent.modelzoo import synthnet
from lucent.recipes.atlas import Atlas
from lucent.sweep import Sweep
from lucent.weights import digest

#: Everything is real but small.
TINY = {
    "collect": "--data synth:28 --layers conv1 conv2 --examples 1 --shard 8 --batch 8",
    "sweep": "--layers conv2 --units 0-5 --steps 2 --size 32 --batch-size 2",
    "atlas": "--grids 1 2 --method pca --steps 2",
    "microscope": "",
}
FOLDERS = {
    "collect": "collection",
    "sweep": "sweep",
    "atlas": "atlas/conv2",
    "microscope": "site",
}
RESULTS = {**FOLDERS, "microscope": "site/index.html"}


def run(name, *arguments, out="out"):
    return cli.main([name, str(out), *TINY[name].split(), *map(str, arguments)])


def process_of(name):
    return [sys.executable, "-m", "lucent", name, "out", *TINY[name].split()]


def files_of(folder):
    """The files of a folder, without those that only say that a process is at work there."""
    found = tree_of_files(folder)
    return {name: sha256 for name, sha256 in found.items() if not name.endswith(".lock")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder that the four commands filled, one after the other, and what each said."""
    home, said = tmp_path_factory.mktemp("whole"), {}
    with chdir(home):
        for name in TINY:
            out, err = io.StringIO(), io.StringIO()
            with redirect_stdout(out), redirect_stderr(err):
                code = run(name)
            said[name] = (code, out.getvalue(), err.getvalue())
    return home / "out", said


@contextmanager
def chdir(folder):
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def filled(whole, here, *names):
    """Make a folder `out` that holds what the commands before have left."""
    (here / "out").mkdir()
    for name in ("project.json", *(FOLDERS[name] for name in names)):
        source = whole[0] / name
        if source.is_dir():
            shutil.copytree(source, here / "out" / name)
        else:
            shutil.copy(source, here / "out" / name)


def test_results_go_to_stdout_and_nothing_else_anywhere(whole):
    assert whole[1] == {name: (0, f"out/{path}\n", "") for name, path in RESULTS.items()}


def test_what_is_made_can_be_opened(whole):
    out, _ = whole
    collection = Collection.open(out / "collection")
    assert (collection.layers, collection.n_images) == (("conv1", "conv2"), 28)
    sweep = Sweep.open(out / "sweep")
    assert sweep.units("conv2") == [*range(6)]
    assert np.asarray(Image.open(sweep.files("conv2", 3)[0])).shape == (32, 32, 3)
    assert [level.grid for level in Atlas.open(out / "atlas" / "conv2").levels] == [1, 2]
    assert "conv2" in (out / "site" / "index.html").read_text(encoding="utf-8")
    assert collection.weights == sweep.weights == digest(synthnet())


def test_a_second_time_nothing_is_done_again(whole, here, capsys):
    filled(whole, here, "collect", "sweep", "atlas")
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*") if path.is_file()}
    for name in ("collect", "sweep", "atlas"):
        assert run(name) == 0
        assert capsys.readouterr().out == f"out/{RESULTS[name]}\n"
    after = {path: path.stat().st_mtime_ns for path in here.rglob("*") if path.is_file()}
    changed = {path.name for path in before if before[path] != after[path]}
    assert changed <= {".lock", "manifest.json"}


def test_another_plan_is_an_error_that_says_what_differs(whole, here, capsys):
    filled(whole, here, "collect", "sweep")
    for name, option, word in (("collect", "--seed", "seed"), ("sweep", "--steps", "steps")):
        assert run(name, option, 7) == 1
        said = capsys.readouterr().err
        assert said.startswith("lucent: error: ")
        assert word in said
        assert "7 now" in said


def test_a_folder_can_be_refused(whole, here, capsys):
    filled(whole, here, "sweep")
    assert run("sweep", "--no-resume") == 1
    assert "Leave --no-resume out" in capsys.readouterr().err


def test_the_folder_knows_its_network(here, capsys):
    state = {name: value * 0.5 for name, value in synthnet().state_dict().items()}
    torch.save(state, here / "half.pth")
    assert run("sweep", "--weights", "half.pth", "--units", 0) == 0
    # Without options the second command takes the weights of the first one.
    assert run("sweep", "--units", 0) == 0
    halved = synthnet()
    halved.load_state_dict(state)
    assert Sweep.open("out/sweep").weights == digest(halved)
    assert run("collect", "--model", "synthnet") == 1
    said = capsys.readouterr().err
    assert "a folder holds one network" in said
    assert digest(synthnet()) in said


def test_a_network_of_the_user_is_found_from_other_folders(here, monkeypatch):
    (here / "net.py").write_text("from lucent.modelzoo import synthnet as build\n")
    assert run("sweep", "--model", "net.py:build", "--units", 0) == 0
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert run("sweep", "--units", 0, out="../out") == 0


@pytest.mark.parametrize(
    ("name", "words"),
    [("atlas", "lucent collect out"), ("microscope", "lucent sweep out")],
)
def test_what_is_missing_is_an_error_that_names_the_command(here, capsys, name, words):
    assert run(name) == 1
    assert words in capsys.readouterr().err
    assert not (here / "out").exists()


def test_a_site_shows_what_there_is(whole, here):
    filled(whole, here, "sweep")
    assert run("microscope", "--title", "My network") == 0
    assert "My network" in (here / "out/site/index.html").read_text(encoding="utf-8")


def test_atlases_of_classes_lie_beside_those_of_layers(whole, here, capsys, monkeypatch):
    filled(whole, here, "collect")
    asked = []

    def note(*_, **options):
        asked.append({name: options.get(name) for name in ("label", "labels")})
        return SimpleNamespace(interrupted=False)

    for name in ("activation_atlas", "class_atlas", "compare_classes"):
        monkeypatch.setattr(f"lucent.recipes.atlas.{name}", note)
    for labels in ([], ["rings"], ["rings", "no/such"]):
        assert run("atlas", "--layer", "conv1", *(["--class", *labels] if labels else [])) == 0
    assert asked == [
        {"label": None, "labels": None},
        {"label": "rings", "labels": None},
        {"label": None, "labels": ("rings", "no/such")},
    ]
    folders = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert len({*folders}) == 3
    assert {folder.parent for folder in folders} == {Path("out/atlas")}


@pytest.mark.parametrize(
    ("shapes", "layer"),
    [({"a": (3, 4, 4), "b": (5, 2), "fc": (7,)}, "b"), ({"fc1": (5,), "fc2": (7,)}, "fc2")],
)
def test_the_last_layer_with_positions_is_mapped(shapes, layer):
    collection = SimpleNamespace(layers=tuple(shapes), shape=shapes.__getitem__)
    assert _atlas._last(collection) == layer


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--class", "a", "b", "c"], "one name or two"),
        (["--class", "poodle"], "poodle"),
        (["--layer", "mixed9"], "mixed9"),
    ],
)
def test_wishes_that_an_atlas_cannot_fulfil_are_errors(whole, here, capsys, options, word):
    filled(whole, here, "collect")
    assert run("atlas", *options) == 1
    said = capsys.readouterr().err
    assert said.startswith("lucent: error: ")
    assert word in said


@pytest.mark.parametrize("name", TINY)
def test_a_plan_is_printed_and_nothing_written(whole, here, capsys, monkeypatch, name):
    filled(whole, here, *{"atlas": ["collect"], "microscope": ["sweep"]}.get(name, []))
    scratch = here / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    before = files_of(here)
    assert run(name, "--dry-run") == 0
    said = capsys.readouterr()
    assert files_of(here) == before
    assert not (here / "out" / FOLDERS[name]).exists()
    for word in ("time", "disk", "on this machine, by"):
        assert word in said.out
    assert {"collect": "28", "sweep": "6 pictures", "atlas": "2 x 2", "microscope": "conv2 (6)"}[
        name
    ] in said.out


def test_an_estimate_is_what_further_items_take(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(_estimate.time, "perf_counter", lambda: clock[0])

    def work(n):
        clock[0] += 5 + 0.25 * n

    assert _estimate.slope(work, 4, 12) == pytest.approx(0.25)


def test_units_are_numbers_and_ranges():
    assert _sweep.units("7,0-3,2-4") == [0, 1, 2, 3, 4, 7]


@pytest.mark.parametrize(
    "arguments",
    [
        ("sweep", "out", "--units", "3-1"),
        ("sweep", "out", "--units", "a"),
        ("sweep", "out", "--units", ""),
        ("sweep",),
        ("collect", "out", "--batch", "0"),
        ("atlas", "out", "--method", "magic"),
    ],
)
def test_wrong_commands_are_usage_errors(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert "usage: lucent" in capsys.readouterr().err


def test_an_interrupted_command_says_how_to_go_on(here, capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("lucent.sweep.run_sweep", interrupt)
    assert run("sweep") == 130
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "the same command goes on" in streams.err


def test_ray_is_asked_for_by_its_address(here, monkeypatch):
    asked = []
    monkeypatch.setattr("lucent.sweep.run_sweep", lambda *_, ray, **__: asked.append(ray))
    monkeypatch.setattr(
        "lucent.cluster.collect_on_ray", lambda *_, address, **__: asked.append(address)
    )
    for name in ("sweep", "collect"):
        assert run(name, "--ray", "10.0.0.1:6379") == 0
    assert asked == ["10.0.0.1:6379"] * 2


def before_command(name):
    """The commands that have to come before one."""
    return {"atlas": ["collect"], "microscope": ["collect", "sweep", "atlas"]}.get(name, [])


def survive(name, whole, home, *, kills, seed):
    """Kill a command again and again and check that its result is that of an unbroken run."""
    home.mkdir()
    filled(whole, home, *before_command(name))
    survival = killed_until_done(
        process_of(name), cwd=home, seed=seed, kills=kills, watch=home / "out"
    )
    assert files_of(home / "out" / FOLDERS[name]) == files_of(whole[0] / FOLDERS[name])
    return survival.kills


def test_a_killed_command_goes_on(whole, tmp_path):
    # A command may end before the moment comes.
    tries = (survive("sweep", whole, tmp_path / str(n), kills=1, seed=n) for n in range(10))
    assert any(tries)


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_twenty_kills_change_nothing(whole, tmp_path, name):
    kills = runs = 0
    while kills < 20:
        kills += survive(name, whole, tmp_path / str(runs), kills=20 - kills, seed=runs)
        runs += 1
        assert runs < 40, "the command ends before it can be killed"


@pytest.mark.parametrize(
    ("name", "size"), [("sweep", 1200), pytest.param("collect", 40_000, marks=pytest.mark.slow)]
)
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(whole, here, name, size):
    full = subprocess.run(
        with_file_limit(process_of(name), size),
        cwd=here,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (full.returncode, full.stdout) == (1, "")
    assert full.stderr.startswith("lucent: error: There is no room")
    assert full.stderr.count("\n") == 1
    assert run(name) == 0
    assert files_of(here / "out" / FOLDERS[name]) == files_of(whole[0] / FOLDERS[name])


DOCS = Path(__file__).parents[1] / "docs"
GUIDE = (DOCS / "guide.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
SHELL = "".join(code for language, code in BLOCKS if language == "bash")
SNIPPETS = [code for language, code in BLOCKS if language == "python"]


def test_the_commands_of_the_guide_are_understood():
    commands = [shlex.split(line) for line in SHELL.splitlines()]
    assert {words[0] for words in commands} == {"lucent"}
    assert {words[1] for words in commands} == {*TINY}
    for words in commands:
        # A wrong one would end the test.
        assert callable(cli._parser().parse_args(words[1:]).command)


@pytest.mark.parametrize("code", SNIPPETS, ids=range(len(SNIPPETS)))
def test_the_snippets_of_the_guide_run(here, code):
    exec(compile(code, "<guide>", "exec"), {"__name__": "guide"})


@pytest.mark.parametrize("page", ["guide.md", "scale.md"])
def test_links_of_the_pages_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)", (DOCS / page).read_text(encoding="utf-8"))
    assert [t for t in targets if "://" not in t and not (DOCS / t).exists()] == []
