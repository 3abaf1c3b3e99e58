"""Collecting survives sudden deaths and full disks: the folder is that of an unbroken run."""

from __future__ import annotations

import resource
import sys
from contextlib import contextmanager

import pytest
import torch
from collect.world import World, images
from faults import killed_until_done, tree_of_files
from PIL import Image

from lucent.collect import CollectSettings, collect, collecting
from lucent.errors import StorageError

COUNT = 120
SETTINGS = CollectSettings(examples=3, spread=40, shard=8, batch=4)
#: The same as `run` in a process of its own.
SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
import torch
from collect.test_faults import run
torch.set_num_threads(1)
run(".", sys.argv[1])
"""


def run(home, out):
    return collect(
        World(), f"{home}/pictures", f"{home}/{out}", layers=["second", "first"], settings=SETTINGS
    )


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with pictures, one of them truncated, and the result of an unbroken run."""
    home = tmp_path_factory.mktemp("faults")
    (home / "pictures").mkdir()
    for n, picture in enumerate(images(COUNT)):
        Image.fromarray(picture).save(home / "pictures" / f"{n:03d}.png")
    broken = home / "pictures" / "050.png"
    broken.write_bytes(broken.read_bytes()[:60])
    found = run(home, "unbroken")
    assert [one.key for one in found.unreadable] == ["050.png"]
    return home


def survives(home, kills, tests):
    out = home / f"killed-{kills}"
    (home / "run.py").write_text(SCRIPT.format(tests=str(tests)))
    command = [sys.executable, "run.py", out.name]
    survival = killed_until_done(command, cwd=home, seed=3, kills=kills, watch=out, span=0.3)
    assert survival.kills == kills
    assert tree_of_files(out) == tree_of_files(home / "unbroken")


def test_kills_at_random_moments_change_nothing(home, request):
    survives(home, 2, request.config.rootpath / "tests")


@pytest.mark.slow
def test_twenty_kills_change_nothing(home, request):
    survives(home, 20, request.config.rootpath / "tests")


@contextmanager
def file_limit(size):
    """No file gets larger than `size` bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_a_clear_error_wherever_it_comes_and_the_run_goes_on(home, monkeypatch):
    unbroken, full = tree_of_files(home / "unbroken"), home / "full"
    begun = []

    def fails(limit):
        with file_limit(limit), pytest.raises(StorageError) as caught:
            run(home, "full")
        assert str(caught.value).startswith("There is no room to write in ")
        assert "run the same again, and it goes on" in str(caught.value)
        assert not list(full.glob(".part-*"))
        begun.append({path.name for path in full.iterdir()} - {".lock"})

    fails(10)
    fails(3000)
    assert begun == [set(), {"plan.json"}]
    # Each limit stops the run at a later file of what follows the shards, and then of the pictures.
    for stage, limits in (("merge_images", (500, 2000, 5000, 15_000)), ("Gallery", (500, 2000))):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(collecting, stage, stop)
            run(home, "full")
        for limit in limits:
            fails(limit)
    assert any("images" in names and "layer-second" not in names for names in begun)
    assert any("layer-second" in names and "layer-first" not in names for names in begun)
    assert any("layer-first" in names for names in begun)
    run(home, "full")
    assert tree_of_files(full) == unbroken


def stop(*_):
    raise KeyboardInterrupt
