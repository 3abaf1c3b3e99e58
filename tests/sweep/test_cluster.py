"""The way to a cluster, and collecting on one."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from faults import killed_until_done, tree_of_files
from process import environment, run_python
from tiny import Chain
from torch import nn

from lucent.cluster import collect_on_ray, connected, placed, places, shared
from lucent.cluster._collect import _reason, _whole
from lucent.errors import InputError, LucentError, MissingExtra

#: Arguments: the folder, and where.
SCRIPT = """
import sys
import torch
from lucent.cluster import collect_on_ray
from lucent.collect import CollectSettings, collect
from lucent.modelzoo import synthnet
from lucent.modelzoo.synthnet.data import SynthScenes

torch.set_num_threads(1)
out, ray = sys.argv[1:]
options = {
    "layers": ["conv2", "mixed3a"],
    "settings": CollectSettings(shard=4, batch=4, examples=2, spread=16),
}
if ray:
    collect_on_ray(synthnet(), SynthScenes(24), out, address=ray, **options)
else:
    collect(synthnet(), SynthScenes(24), out, **options)
"""


#: Arguments: the folder, and the file that tells of deaths. Like `SCRIPT`, with a deadly image.
DEADLY = """
import os
import sys
import torch
from lucent.cluster import collect_on_ray
from lucent.collect import CollectSettings
from lucent.modelzoo import synthnet

class Deadly:
    def __len__(self):
        return 8

    def __getitem__(self, index):
        if index == 5:
            with open(deaths, "a") as file:
                file.write("x")
            os._exit(1)
        return torch.full((3, 96, 96), index / 8), 0

torch.set_num_threads(1)
deaths = sys.argv[2]
settings = CollectSettings(shard=4, batch=4, examples=2, spread=8)
collect_on_ray(
    synthnet(), Deadly(), sys.argv[1], address="local", layers=["conv1"], settings=settings
)
"""


def test_without_ray_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"torch-lucent\[ray\]"), connected("auto"):
        pass


@pytest.mark.parametrize(("address", "given"), [("local", {}), ("10.0.0.1:1", {"address"})])
def test_connections_end_with_their_block(monkeypatch, address, given):
    asked, ended = [], []
    fake = SimpleNamespace(
        is_initialized=lambda: False, init=lambda **options: asked.append(options),
        shutdown=lambda: ended.append(True),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "ray", fake)
    with connected(address) as ray:
        assert ray is fake
        assert not ended
    assert ended
    assert {"address"} & asked[0].keys() == set(given)


def test_a_connection_that_is_there_stays(monkeypatch):
    fake = SimpleNamespace(is_initialized=lambda: True)
    monkeypatch.setitem(sys.modules, "ray", fake)
    with connected("auto") as ray:  # neither init nor shutdown
        assert ray is fake


def test_a_cluster_that_is_not_there(monkeypatch):
    def init(**options):
        raise ConnectionError("nobody answers")

    fake = SimpleNamespace(is_initialized=lambda: False, init=init)
    monkeypatch.setitem(sys.modules, "ray", fake)
    with pytest.raises(InputError, match="nobody answers.*ray start --head"), connected("auto"):
        pass


def test_networks_travel_without_their_wrappers():
    network = Chain()
    assert shared(SimpleNamespace(put=lambda thing: thing), nn.DataParallel(network)) is network


def test_networks_that_cannot_travel():
    def put(thing):
        raise TypeError("cannot pickle 'generator' object")

    with pytest.raises(InputError, match="This Chain cannot be sent .* 'generator'"):
        shared(SimpleNamespace(put=put), Chain())


def test_workers_compute_with_the_threads_of_the_driver(monkeypatch):
    set_to = []
    where = places(SimpleNamespace(nodes=lambda: [{"Alive": True, "Resources": {"CPU": 99}}]))
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    network = Chain()
    assert placed(network, where) is network
    assert set_to == [torch.get_num_threads()]


def test_rows_of_a_shard_find_each_other():
    pa = pytest.importorskip("pyarrow")

    def table(*rows):
        names = ("number", "of", "name", "content")
        return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows])

    # Bytes that end with zeros stay as they are.
    first, second, other = (4, 2, "a", b"1\0\0"), (4, 2, "b", b"2"), (7, 1, "a", b"")
    found = [*_whole([table(first), table(other, second)])]
    assert found == [(7, {"a": b""}), (4, {"a": b"1\0\0", "b": b"2"})]


def test_the_reason_of_a_failure_is_found():
    own = InputError("not in [0, 1]")
    task = RuntimeError("ray says much")
    task.cause = ValueError("wrapped")
    task.cause.__cause__ = own
    assert _reason(task) is own
    assert isinstance(_reason(ValueError("x")), LucentError)


def test_streams_are_refused(tmp_path):
    pytest.importorskip("pyarrow")

    images = torch.rand(3, 3, 8, 8)

    def stream():
        yield from images

    with pytest.raises(InputError, match="without Ray"):
        collect_on_ray(Chain(), stream, tmp_path, address="local", layers=["conv1"])


@pytest.mark.slow
def test_a_cluster_collects_the_same(tmp_path):
    pytest.importorskip("ray")
    pytest.importorskip("pyarrow")
    here, there = tmp_path / "here", tmp_path / "there"
    done = run_python("-c", SCRIPT, here, "", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    quiet = {**environment(), "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, there, "local"]
    survival = killed_until_done(
        command, cwd=tmp_path, seed=0, kills=1, watch=there, span=2, env=quiet
    )
    assert survival.kills == 1
    assert tree_of_files(there) == tree_of_files(here)


@pytest.mark.slow
def test_a_shard_that_kills_its_workers_is_not_tried_for_ever(tmp_path):
    pytest.importorskip("ray")
    pytest.importorskip("pyarrow")
    deaths = tmp_path / "deaths"
    done = run_python("-c", DEADLY, tmp_path / "out", deaths, cwd=tmp_path)
    assert "LucentError: Collecting failed on a worker" in done.stderr
    assert len(deaths.read_text()) == 5
    assert (tmp_path / "out" / "plan.json").exists()
