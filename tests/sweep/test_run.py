"""Sweeps in this process: the right pictures, and folders that are never wrong."""

from __future__ import annotations

import json
import math
import resource
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from faults import tree_of_files
from PIL import Image
from tiny import PLAIN, Chain, condition, textured
from torch import nn

from lucent.errors import DivergenceError, InputError, LucentWarning, StorageError
from lucent.hooks import Activations
from lucent.modelzoo import synthnet
from lucent.optvis import objectives
from lucent.sweep import KINDS, Sweep, SweepSettings, _render, plan_sweep, run, run_sweep

#: Of red, green and blue; steps enough for a plain colour.
FEW = SweepSettings(steps=24, size=8, batch_size=2, diversity=2)


@contextmanager
def calls_of(monkeypatch, *, fail_after=math.inf, error=KeyboardInterrupt):
    """Count the batches rendered, and fail at one of them."""
    done = []

    def watched(model, settings, batch):
        if len(done) >= fail_after:
            raise error
        done.append(batch.name)
        return _render.render_batch(model, settings, batch)

    with monkeypatch.context() as patch:
        patch.setattr(run, "render_batch", watched)
        yield done


def colours(sweep, layer, unit, kind):
    """The mean colour of each picture."""
    files = sweep.files(layer, unit, kind)
    return [np.asarray(Image.open(file)).mean((0, 1)) / 255 for file in files]


@pytest.fixture(scope="module")
def plan():
    return plan_sweep(Chain(), layers=["conv1", "relu"], kinds=KINDS, settings=FEW)


@pytest.fixture(scope="module")
def sweep(plan, tmp_path_factory):
    return run_sweep(plan, Chain(), tmp_path_factory.mktemp("whole") / "sweep")


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Pictures that had the time to become what units look for."""
    settings = replace(FEW, steps=64, size=32, batch_size=4)
    plan = plan_sweep(Chain(), layers=["conv1", "relu"], kinds=KINDS, settings=settings)
    return run_sweep(plan, Chain(), tmp_path_factory.mktemp("shown"))


def test_pictures_show_what_units_look_for(shown):
    # Channel 0 is red, channel 1 minus green.
    assert colours(shown, "conv1", 0, "channel")[0][0] > 0.65
    assert colours(shown, "conv1", 1, "channel")[0][1] < 0.35
    assert min(colour[0] for colour in colours(shown, "conv1", 0, "diversity")) > 0.65


def test_negative_pictures_show_the_opposite_behind_a_rectifier_too(shown):
    for layer in ("conv1", "relu"):
        assert colours(shown, layer, 0, "negative")[0][0] < 0.35
        assert colours(shown, layer, 1, "negative")[0][1] > 0.65


def test_neurons_look_at_the_middle_only(shown):
    red = np.asarray(Image.open(shown.files("conv1", 0, "neuron")[0])).astype(float)[..., 0]
    assert red[12:20, 12:20].mean() > red.mean() + 25


def test_scores_are_activations_of_the_files(sweep):
    network = Chain()
    for record in sweep.records():
        layer, _, unit = record.target.rpartition(":")
        assert (len(record.files), record.error) == (2 if record.kind == "diversity" else 1, None)
        for file, score in zip(record.files, record.scores, strict=True):
            pixels = np.asarray(Image.open(sweep.path / file)).astype(np.float32) / 255
            with torch.no_grad(), Activations(network, [layer]) as T:
                T.run(torch.from_numpy(pixels).permute(2, 0, 1)[None])
                acts = T(layer)[0, int(unit)]
            expected = acts[4, 4] if record.kind == "neuron" else acts.mean()
            assert score == pytest.approx(expected.item(), rel=1e-5)


def test_reading(sweep, plan):
    assert sweep.plan == plan
    assert (sweep.model, sweep.weights) == (plan.model, plan.weights)
    assert (sweep.layers, sweep.kinds, sweep.settings) == (("conv1", "relu"), KINDS, plan.settings)
    assert sweep.shape("conv1") == (2, 8, 8)
    assert sweep.units("relu") == [0, 1]
    two = sweep.record("conv1", 0, "diversity").scores
    assert sweep.score("conv1", 0, "diversity") == sum(two) / 2
    assert [file.name for file in sweep.files("conv1", 1, "diversity")] == [
        "00001-0.png",
        "00001-1.png",
    ]
    assert [sweep.has(*unit) for unit in (("conv1", 1), ("conv1", 2), ("conv2", 0))] == [
        *(True, False, False),
    ]
    with pytest.raises(InputError, match="Did you mean 'conv1'"):
        sweep.files("conv11", 0)
    with pytest.raises(InputError, match="no 'channel' of conv1:5"):
        sweep.files("conv1", 5)


def test_diverse_pictures_differ(tmp_path):
    network, unit = synthnet(), ("mixed4a", 63)

    def likeness(weight):
        settings = SweepSettings(steps=32, size=48, diversity_weight=weight, diversity=3)
        plan = plan_sweep(
            network, layers=[unit[0]], units=[unit[1]], kinds=["diversity"], settings=settings
        )
        files = run_sweep(plan, network, tmp_path / str(weight)).files(*unit, "diversity")
        pictures = np.stack([np.asarray(Image.open(file)) for file in files]) / 255
        with torch.no_grad(), Activations(network, [unit[0]]) as T:
            T.run(network.spec.preprocess(torch.from_numpy(pictures).float().permute(0, 3, 1, 2)))
            acts = T(unit[0]).flatten(2)
        grams = nn.functional.normalize((acts @ acts.mT).flatten(1), dim=1)
        return float((grams @ grams.T).sum() - 3) / 6

    assert likeness(2.0) < likeness(0.0) - 0.1


def test_each_unit_differs_within_itself_only():
    acts = torch.rand(6, 4, 3, 3)
    for first in (0, 3):
        alone = objectives.diversity("layer")(lambda _, first=first: acts[first : first + 3])
        assert _render.likeness("layer", first, 3)(lambda _: acts) == alone


@pytest.mark.parametrize("kind", ["channel", "diversity"])
def test_a_picture_does_not_depend_on_what_is_beside_it(tmp_path, kind):
    network = textured()
    pictures = []
    for units in ([2], [0, 2, 4]):
        settings = SweepSettings(steps=8, size=16, batch_size=6, diversity=2)
        plan = plan_sweep(network, layers=["3"], units=units, kinds=[kind], settings=settings)
        files = run_sweep(plan, network, tmp_path / str(len(units))).files("3", 2, kind)
        pictures.append([np.asarray(Image.open(file)).astype(int) for file in files])
    # Sums in another order differ in their last bits, so bytes may in their last one.
    assert np.abs(np.subtract(*pictures)).max() <= 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_sweep_that_was_cut_goes_on(plan, sweep, tmp_path, monkeypatch, error):
    network = Chain()
    before = condition(network)
    for _ in range(2):
        with calls_of(monkeypatch, fail_after=3, error=error) as done, pytest.raises(error):
            run_sweep(plan, network, tmp_path)
        assert len(done) == 3
        with pytest.raises(InputError, match="not finished"):
            Sweep.open(tmp_path)
    with calls_of(monkeypatch) as done:
        run_sweep(plan, network, tmp_path)
    assert done == [batch.name for batch in plan.batches[6:]]
    assert tree_of_files(tmp_path) == tree_of_files(sweep.path)
    assert condition(network) == before


def test_nothing_is_done_twice(plan, sweep, monkeypatch):
    before = tree_of_files(sweep.path)
    with calls_of(monkeypatch) as done:
        run_sweep(plan, Chain(), sweep.path)
    assert done == []
    assert tree_of_files(sweep.path) == before


@pytest.mark.parametrize("damage", ["changed", "lost", "all lost"])
def test_what_was_damaged_is_made_again(plan, sweep, tmp_path, monkeypatch, damage):
    run_sweep(plan, Chain(), tmp_path)
    part = tmp_path / plan.batches[1].name
    file = part / "00000.png"
    if damage == "changed":
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    for lost in {"lost": [file], "all lost": [*part.iterdir()]}.get(damage, []):
        lost.unlink()
    with calls_of(monkeypatch) as done, pytest.warns(LucentWarning, match="made again"):
        run_sweep(plan, Chain(), tmp_path)
    assert done == [part.name]
    assert tree_of_files(tmp_path) == tree_of_files(sweep.path)


@contextmanager
def full_disk():
    """No file can have more than ten bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_loses_nothing(plan, sweep, tmp_path, monkeypatch):
    with calls_of(monkeypatch, fail_after=3), pytest.raises(KeyboardInterrupt):
        run_sweep(plan, Chain(), tmp_path)
    before = tree_of_files(tmp_path)
    with full_disk(), pytest.raises(StorageError, match="make room and run the same again"):
        run_sweep(plan, Chain(), tmp_path)
    assert tree_of_files(tmp_path) == before
    with calls_of(monkeypatch) as done:
        run_sweep(plan, Chain(), tmp_path)
    assert len(done) == len(plan.batches) - 3
    assert tree_of_files(tmp_path) == tree_of_files(sweep.path)


class Bursting(Chain):
    """Channel 0 of the last layer is no number."""

    def __init__(self):
        super().__init__()
        self.last = nn.Identity()

    def forward(self, x):
        acts = self.conv1(x)
        return self.last(torch.cat([(acts[:, :1] - 9).log(), acts[:, :1]], dim=1))


def test_units_that_diverge_leave_the_others_alone(tmp_path):
    kinds = ["channel", "diversity"]
    plan = plan_sweep(Bursting(), layers=["last"], kinds=kinds, settings=FEW)
    sweep = run_sweep(plan, Bursting(), tmp_path)
    good = sweep.record("last", 1)
    assert (len(good.files), good.error) == (1, None)
    # The correlations of all channels, in which pictures are to differ, contain the bad one.
    for bad in (("last", 0, "channel"), ("last", 0, "diversity"), ("last", 1, "diversity")):
        record = sweep.record(*bad)
        assert (record.files, record.scores) == ((), ())
        assert "The loss became" in record.error
        assert math.isnan(sweep.score(*bad))
        assert not sweep.has(*bad)


def test_of_diverse_pictures_the_unit_to_blame_is_found(tmp_path, monkeypatch):
    together = _render._together

    def fail(given, settings, groups):
        if any(group.unit.description == "Channel [3, 2, None]" for group in groups):
            raise DivergenceError("unit 2")
        return together(given, settings, groups)

    monkeypatch.setattr(_render, "_together", fail)
    settings = SweepSettings(steps=4, size=16, batch_size=6, diversity=2)
    plan = plan_sweep(
        textured(), layers=["3"], units=[0, 2, 4], kinds=["diversity"], settings=settings
    )
    assert len(plan.batches) == 1
    sweep = run_sweep(plan, textured(), tmp_path)
    errors = {record.unit: record.error for record in sweep.records()}
    assert errors == {0: None, 2: "unit 2", 4: None}
    # A file is not that of another unit.
    scores = {unit: sweep.score("3", unit, "diversity") for unit in (0, 4)}
    alone = plan_sweep(textured(), layers=["3"], units=[4], kinds=["diversity"], settings=settings)
    again = run_sweep(alone, textured(), tmp_path / "alone")
    assert scores[4] == pytest.approx(again.score("3", 4, "diversity"), rel=0.02)


def test_auto_goes_on_with_the_batches_it_began_with(tmp_path, monkeypatch):
    def planned(size):
        plan = plan_sweep(Chain(), layers=["conv1"], settings=replace(FEW, batch_size=size))
        return replace(plan, settings=replace(plan.settings, batch_size="auto"))

    begun, other = planned(1), planned(2)
    with calls_of(monkeypatch, fail_after=1), pytest.raises(KeyboardInterrupt):
        run_sweep(begun, Chain(), tmp_path)
    assert run_sweep(other, Chain(), tmp_path).plan == begun != other


def test_another_plan_or_network_is_refused(plan, sweep):
    other = replace(plan, settings=replace(plan.settings, seed=1))
    with pytest.raises(InputError, match=r"another plan \(settings.seed: 0 before, 1 now\)"):
        run_sweep(other, Chain(), sweep.path)
    with pytest.raises(InputError, match="The plan is for plain"):
        run_sweep(plan, textured(), sweep.path)


def test_other_threads_are_a_warning(plan, tmp_path, monkeypatch):
    with calls_of(monkeypatch, fail_after=0), pytest.raises(KeyboardInterrupt):
        run_sweep(plan, Chain(), tmp_path)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    with (
        calls_of(monkeypatch, fail_after=0),
        pytest.warns(LucentWarning, match="threads: .* 77 now"),
        pytest.raises(KeyboardInterrupt),
    ):
        run_sweep(plan, Chain(), tmp_path)


def test_a_damaged_manifest_says_what_to_do(plan, tmp_path):
    run_sweep(plan, Chain(), tmp_path)
    file = tmp_path / "manifest.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "records": [{"layer": 3}]}))
    with pytest.raises(StorageError, match="delete manifest.json"):
        Sweep.open(tmp_path)
    file.unlink()
    assert run_sweep(plan, Chain(), tmp_path).units("conv1") == [0, 1]


def test_grey_and_many_channels_are_pictures_too(tmp_path):
    for channels in (1, 5):
        network = nn.Sequential(nn.Conv2d(channels, 2, 3))
        network.spec = replace(PLAIN, channels=channels)
        plan = plan_sweep(network, layers=["0"], settings=FEW)
        sweep = run_sweep(plan, network, tmp_path / str(channels))
        assert Image.open(sweep.files("0", 1)[0]).size == (8, 8)
