"""Sweeps that are killed: nothing is lost but the work in flight, and nothing is wrong."""

from __future__ import annotations

import importlib.util
import sys

import pytest
from faults import (
    descendants,
    killed_until_done,
    tree_of_files,
)
from process import environment, run_python

#: Arguments: the folder, the kinds, where.
SCRIPT = """
import sys
import torch
from lucent.modelzoo import synthnet
from lucent.sweep import SweepSettings, plan_sweep, run_sweep

torch.set_num_threads(1)
out, kinds, ray = sys.argv[1:]
plan = plan_sweep(
    synthnet(), layers=["conv2", "mixed3a"], units=range(4), kinds=kinds.split(","),
    settings=SweepSettings(steps=8, size=32, batch_size=2, diversity=2),
)
run_sweep(plan, synthnet(), out, ray=ray or None)
"""

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed"
)


def command(out, kinds="channel", ray=""):
    return [sys.executable, "-c", SCRIPT, out, kinds, ray]


def quiet():
    """The environment of a process that starts a cluster."""
    return {**environment(), "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """What sweeps of one kind and of all give when nothing goes wrong, by their kinds."""
    folder = tmp_path_factory.mktemp("unbroken")

    def files(kinds):
        out = folder / kinds
        if not out.exists():
            done = run_python("-c", SCRIPT, out, kinds, "", cwd=folder)
            assert done.returncode == 0, done.stderr
        return tree_of_files(out)

    return files


@pytest.mark.parametrize(
    ("kinds", "kills"),
    [
        ("channel", 2),
        pytest.param("channel,neuron,diversity,negative", 20, marks=pytest.mark.slow),
    ],
)
def test_killed_drivers_go_on(tmp_path, unbroken, kinds, kills):
    out = tmp_path / "sweep"
    survival = killed_until_done(
        command(out, kinds), cwd=tmp_path, seed=kills, kills=kills, watch=out, span=0.3
    )
    assert survival.kills == kills
    assert tree_of_files(out) == unbroken(kinds)


def an_actor(pid):
    """The process of an actor that renders."""
    found = descendants(pid).items()
    return next((child for child, line in found if line.startswith("ray::_Artist")), None)


@needs_ray
@pytest.mark.slow
def test_a_cluster_makes_the_same_pictures(tmp_path, unbroken):
    kinds = "channel,neuron,diversity,negative"
    out = tmp_path / "sweep"
    killed_until_done(command(out, kinds, "local"), cwd=tmp_path, seed=0, kills=0, env=quiet())
    assert tree_of_files(out) == unbroken(kinds)


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize(("who", "kills"), [("worker", 4), ("driver", 3)])
def test_killed_workers_and_drivers_of_a_cluster(tmp_path, unbroken, who, kills):
    kinds = "channel,neuron,diversity,negative"
    out = tmp_path / "sweep"
    survival = killed_until_done(
        command(out, kinds, "local"),
        cwd=tmp_path,
        seed=0,
        kills=kills,
        watch=out,
        victim=an_actor if who == "worker" else None,
        env=quiet(),
    )
    assert survival.kills == kills
    assert tree_of_files(out) == unbroken(kinds)
