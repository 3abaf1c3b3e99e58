"""The figures of docs/scale.md: formulas against numbers worked out by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from tiny import Chain

# At the end of the path: the lucent under test is the one installed.
sys.path.append(str(Path(__file__).parents[1]))

from benchmarks import costs, scale
from lucent.collect import CollectSettings, as_source
from lucent.collect.plans import plan_collection
from lucent.modelzoo.spec import ModelSpec

#: Of 1x1 convolutions over 8 x 8 positions, 3 -> 2 and 2 -> 1; a multiply-add is two operations.
FORWARD = 2 * 64 * 3 * 2 + 2 * 64 * 2 * 1
#: Of the products of all pairs of channels, of the colours and of both layers.
PRODUCTS = 2 * 64 * (3 * 3 + 2 * 2 + 1 * 1)


def planned(**settings):
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    plan = plan_collection(
        Chain(),
        as_source(images),
        layers=["conv1", "conv2"],
        settings=CollectSettings(batch=1, shard=1, **settings),
    )
    return images, plan


def test_operations_of_an_image_are_a_pass_to_the_deepest_layer_and_products_of_channels():
    found = costs._flops_of_an_image(Chain(), *planned(attributions=False))
    assert found == FORWARD + PRODUCTS


def test_bytes_of_an_image_are_vectors_and_attributions_in_half_precision():
    assert costs._bytes(planned(attributions=False)[1]) == 2 * (2 + 1)
    assert costs._bytes(planned(vectors=3)[1]) == 2 * 3 * (2 + 1 + 2 * 2)


def test_operations_of_a_step_are_a_pass_forward_and_one_back_to_the_image():
    forward = 32 * 32 * (2 * 3 * 2 + 2 * 2 * 1)  # at the 32 pixels that follow

    def step(size):
        model = Chain()
        model.spec = ModelSpec(name="plain", input_size=(size, size))
        return costs._flops_of_a_step(model, "conv2")

    # Colours are turned by a matrix, also forward and backward, at the same number of pixels.
    found = step(32)
    assert found >= 2 * forward
    assert found == pytest.approx(step(64) / 4, rel=0.05)


def test_a_sweep_is_units_times_steps():
    cost = costs.Cost({"a": 3, "b": 5}, {"a": 10, "b": 100}, (1, 2), (1, 2), 0.5, 0.5)
    assert (cost.n_units, cost.sweep(4)) == (8, 4 * (3 * 10 + 5 * 100))


def test_hours_follow_from_the_peak():
    assert costs.hours(67e12 * 3600, 1.0, gpus=1, precision="FP32") == pytest.approx(1)
    assert costs.hours(989e12 * 3600, 0.5, gpus=8, precision="BF16") == pytest.approx(0.25)


@pytest.mark.parametrize("job", scale.JOBS)
def test_every_size_is_measured(job, monkeypatch):
    monkeypatch.setattr(scale, "STEPS", 1)
    # The calls of a process of its own are made here.
    found = scale.measured(job, 2, torch.get_num_threads())
    assert found["cpu"] > 0
    assert found["peak"] > 100
    assert found["disk"] > 0


def test_what_each_further_item_takes_leaves_the_start_out(monkeypatch):
    seconds = {1000: 15.0, 2000: 25.0, 4000: 45.0, 16: 1.0, 32: 2.0, 64: 4.0}
    monkeypatch.setattr(
        scale,
        "in_a_process",
        lambda job, count, threads: {"wall": 0, "cpu": seconds[count], "peak": 0, "disk": 0},
    )
    assert [row[4] for row in scale.growth_rows(1)] == ["", "10.0", "10.0", "", "62.5", "62.5"]
