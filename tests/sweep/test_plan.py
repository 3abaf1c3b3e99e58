"""Plans: every unit once, seeds of their own, values that JSON carries."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import Chain, FunctionalChain, SharedReLU, conv, count_calls
from torch import nn

from lucent.errors import InputError, LayerError, StorageError
from lucent.hooks import Activations
from lucent.modelzoo import synthnet, synthvit
from lucent.modelzoo.spec import ModelSpec
from lucent.sweep import KINDS, SweepPlan, SweepSettings, plan_sweep, seed_of
from lucent.sweep._rectified import before_rectifiers
from lucent.weights import digest

FOUR = SweepSettings(size=8, batch_size=4)


def planned(**options):
    options = {"layers": ["mixed4a"], "settings": replace(FOUR, size=48), **options}
    return plan_sweep(synthnet(), **options)


def jobs(plan):
    return [job for batch in plan.batches for job in batch.jobs]


def test_every_unit_of_every_layer_is_there_once():
    plan = plan_sweep(Chain(), layers=["conv1", "conv2", "head"], kinds=KINDS, settings=FOUR)
    found = [(job.layer, job.kind, job.unit) for job in jobs(plan)]
    units = {"conv1": 2, "conv2": 1, "head": 2}
    assert sorted(found) == sorted(
        (layer, kind, unit)
        for layer, count in units.items()
        for kind in KINDS
        for unit in range(count)
        # The head has no positions, so its neurons are its channels.
        if (layer, kind) != ("head", "neuron")
    )
    assert plan.shapes == {"conv1": (2, 8, 8), "conv2": (1, 8, 8), "head": (2,)}
    assert plan.layers == ("conv1", "conv2", "head")
    # 5 channels, 3 neurons, 5 times 4 of diversity, 5 negative.
    assert plan.pictures == 33


def test_main_layers_are_taken_where_none_are_named():
    assert plan_sweep(synthnet(), units=[0], settings=FOUR).layers == (
        *("conv1", "conv2", "mixed3a", "mixed3b", "mixed4a", "mixed4b", "head"),
    )


def test_units_are_chosen_for_all_layers_or_for_each():
    assert [job.unit for job in jobs(planned(units=[9, 3, 3]))] == [3, 9]
    plan = planned(layers=["conv1", "mixed4a"], units={"mixed4a": range(2)})
    assert (plan.units("mixed4a"), plan.units("conv1")) == ([0, 1], [*range(32)])
    assert planned(units=[]).batches == ()
    once = planned(layers=["conv1", "mixed4a"], units=iter([3]))
    assert (once.units("mixed4a"), once.units("conv1")) == ([3], [3])


def test_batches_are_of_one_layer_and_kind_and_nearly_equal():
    plan = planned(units=range(9), kinds=["channel", "neuron"])
    assert [(b.kind, len(b.units)) for b in plan.batches] == [
        (kind, 3) for kind in ("channel", "neuron") for _ in range(3)
    ]
    assert len({batch.name for batch in plan.batches}) == 6


def test_pictures_of_one_unit_that_are_to_differ_are_in_one_batch():
    plan = planned(units=range(4), kinds=["diversity"], settings=SweepSettings(batch_size=8))
    assert [len(batch.units) for batch in plan.batches] == [2, 2]


def test_seeds_do_not_depend_on_what_else_is_swept():
    alone, all_ = planned(units=[7]), planned(layers=["conv1", "mixed4a"], kinds=KINDS)
    assert set(jobs(alone)) <= set(jobs(all_))
    assert len({job.seed for job in jobs(all_)}) == len(jobs(all_))
    assert {*jobs(planned(units=[7], settings=replace(FOUR, size=48, seed=1)))}.isdisjoint(
        jobs(alone)
    )
    # Folders of earlier releases go on with their seeds.
    assert seed_of(0, "mixed4a", 7, "channel") == jobs(alone)[0].seed == 996889623759147


def test_a_plan_is_a_value_that_json_carries():
    plan = planned(kinds=KINDS, units=range(5))
    assert SweepPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert plan == planned(kinds=reversed(KINDS), units=reversed(range(5)))
    assert plan != planned(kinds=KINDS, units=range(4))
    with pytest.raises(StorageError, match="no plan of a sweep"):
        SweepPlan.from_json({**plan.to_json(), "settings": {"stairs": 3}})


def test_a_plan_says_all_that_was_left_open():
    network = synthnet()
    plan = plan_sweep(network, layers=["conv1"], settings=SweepSettings(batch_size=4))
    assert (plan.settings.size, plan.settings.preset) == (96, "plain")
    assert (plan.model, plan.weights) == ("synthnet", digest(network))
    assert plan_sweep(nn.DataParallel(network), layers=["conv1"], settings=plan.settings) == plan


def test_layers_are_known_by_one_name():
    short, long = "mixed4a_conv_3x3", "mixed4a.conv_3x3"
    plan = planned(layers=[short, long], units={short: [2]})
    assert (plan.layers, plan.units(long)) == ((long,), [2])


def test_planning_leaves_the_random_numbers_of_others_alone():
    network, before = Chain(), torch.get_rng_state()
    plan_sweep(network, layers=["conv1"], settings=SweepSettings(size=8))
    assert torch.equal(torch.get_rng_state(), before)


def test_numbers_of_numpy_are_numbers():
    one = np.int64(1)
    settings = SweepSettings(
        one, 48 * one, one, batch_size=4 * one, diversity=2 * one, diversity_weight=np.float32(0.5)
    )
    plan = planned(units=np.arange(4), settings=settings)
    assert SweepPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_what_is_left():
    plan = planned(units=range(8))
    first, second = plan.batches
    assert plan.without([first.name]).batches == (second,)
    assert plan.without([]) == plan
    assert plan.without([first.name, second.name]).pictures == 0


def test_only_auto_may_divide_units_in_another_way():
    def divided(size, batch_size):
        plan = planned(units=range(8), settings=replace(FOUR, size=48, batch_size=size))
        return replace(plan, settings=replace(plan.settings, batch_size=batch_size))

    assert divided(4, "auto") != divided(2, "auto")
    assert divided(4, "auto").asks_for_the_same(divided(2, "auto"))
    assert not divided(4, 4).asks_for_the_same(divided(2, 2))
    other = planned(units=range(7), settings=replace(FOUR, size=48))
    other = replace(other, settings=replace(other.settings, batch_size="auto"))
    assert not divided(4, "auto").asks_for_the_same(other)


def test_auto_is_what_pays():
    # The images are so small that 16 of them, the most on a CPU, are kept in memory.
    plan = plan_sweep(synthnet(), layers=["conv2"], settings=SweepSettings(size=32))
    assert [len(batch.units) for batch in plan.batches] == [16] * 4


def test_planning_costs_a_few_passes():
    network = Chain()
    calls = count_calls(network)
    plan_sweep(network, layers=["conv1", "conv2"], kinds=KINDS, settings=FOUR)
    assert calls["conv1"] < 10


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"layers": ["conv9"]}, LayerError, "conv9"),
        ({"layers": []}, InputError, "name at least one"),
        ({"layers": "conv1"}, InputError, r"write \['conv1'\]"),
        ({"units": [32]}, InputError, "the units 0 to 31, not 32"),
        ({"units": [-1]}, InputError, "not -1"),
        ({"units": ["a"]}, InputError, "whole numbers"),
        ({"units": {"conv2": [1]}}, InputError, "not among those swept"),
        ({"units": 3}, InputError, "whole numbers"),
        (
            {"layers": ["mixed4a"], "units": {"mixed4a_conv_3x3": [1], "mixed4a.conv_3x3": [2]}},
            InputError,
            r"'mixed4a\.conv_3x3' twice",
        ),
        ({"kinds": ["chanel"]}, InputError, "Did you mean 'channel'"),
        ({"kinds": []}, InputError, "kinds is empty"),
    ],
)
def test_wishes_that_cannot_be_met(options, error, message):
    with pytest.raises(error, match=message):
        planned(**{"layers": ["conv1"], **options})


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"size": 0},
        {"seed": -1},
        {"seed": 0.5},
        {"diversity": 1},
        {"diversity_weight": -1},
        {"diversity_weight": "much"},
        {"precision": "fp99"},
        {"batch_size": 0},
    ],
)
def test_settings_that_cannot_be(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        SweepSettings(**wrong)


def test_volumes_are_refused():
    network = nn.Sequential(nn.Conv3d(1, 2, 3))
    network.spec = ModelSpec("scans", channels=1, dimensions=3, input_size=(8, 8))
    with pytest.raises(InputError, match="scans takes volumes"):
        plan_sweep(network)


class Joined(nn.Module):
    """Joins a rectified layer, a plain one, and one that is a sum before it is rectified."""

    def __init__(self):
        super().__init__()
        self.first, self.second = conv([[1, 0, 0], [0, 1, 0]]), conv([[0, 0, 1]])
        self.block = self.Block()

    class Block(nn.Module):
        def forward(self, first, second):
            return torch.cat([first.relu(), second, (second + first[:, :1]).relu()], dim=1)

    def forward(self, x):
        return self.block(self.first(x), self.second(x))


class Halves(nn.Module):
    """Rectifies the halves of a layer, one of which has a name, and joins them again."""

    def __init__(self, split):
        super().__init__()
        self.split, self.first = split, conv([[1, 0, 0], [0, -1, 0]])
        self.part, self.block = nn.Identity(), self.Block()

    class Block(nn.Module):
        def forward(self, *halves):
            return torch.cat([half.clamp(min=0) for half in halves], dim=1)

    def forward(self, x):
        first, second = self.split(self.first(x))
        return self.block(first, self.part(second))


@pytest.mark.parametrize(
    ("network", "layer", "channels", "expected"),
    [
        (Chain(), "relu", 2, ("conv1:0", "conv1:1")),
        (Chain(inplace=True), "relu", 2, ("conv1:0", "conv1:1")),
        (Chain(), "conv1", 2, ()),
        (FunctionalChain(), "conv2", 1, ()),
        (SharedReLU(), "relu", 2, ("conv2:0", "conv2:1")),
        (Joined(), "block", 4, ("first:0", "first:1", "second:0", "block.add:0")),
        (Halves(lambda x: x.split([1, 1], dim=1)), "block", 2, ("first:0", "part:0")),
        (Chain(), "relu#0", 2, ()),
        (nn.Sequential(Chain().conv1, nn.ReLU()), "1", 4, ()),
    ],
    ids=[
        "module",
        "inplace",
        "linear",
        "function",
        "shared",
        "joined",
        "halves",
        "address",
        "order",
    ],
)
def test_units_before_their_rectifier(network, layer, channels, expected):
    image = torch.rand(1, 3, 4, 4)
    assert before_rectifiers(network, layer, image, (channels, 4, 4)) == expected


@pytest.mark.parametrize("layer", ["conv2", "mixed4a"])
def test_what_is_before_a_rectifier_gives_the_layer(layer):
    network, image = synthnet(), torch.rand(1, 3, 32, 32)
    with torch.no_grad(), Activations(network, None) as T:
        T.run(image)
        acts = T(layer)[0]
        found = before_rectifiers(network, layer, image, acts.shape)
        assert len(found) == len(acts)
        for unit, target in zip(acts, found, strict=True):
            name, _, number = target.rpartition(":")
            assert torch.equal(T(name)[0, int(number)].relu(), unit)


def test_channels_that_come_last_are_not_mistaken():
    plan = plan_sweep(
        synthvit(), layers=["blocks.3"], kinds=["negative"], settings=SweepSettings(batch_size=64)
    )
    assert [job.target for job in jobs(plan)] == [f"blocks.3:{unit}" for unit in range(128)]


def test_negative_looks_before_the_rectifier():
    plan = plan_sweep(Chain(), layers=["relu"], kinds=["channel", "negative"], settings=FOUR)
    assert [batch.targets for batch in plan.batches] == [
        ("relu:0", "relu:1"),
        ("conv1:0", "conv1:1"),
    ]
