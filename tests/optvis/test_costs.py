"""What a step computes, counted: nothing twice, nothing for nobody, nothing to wait for."""

from __future__ import annotations

from collections import Counter

import pytest
import tiny
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lucent.modelzoo import synthnet
from lucent.optvis import param, transform
from lucent.optvis.loop import CHECK_EVERY, Run, RunSettings
from lucent.optvis.objectives import channel, diversity
from lucent.optvis.transform.base import Fused
from lucent.overrides import REDIRECTED_STEPS

#: A step after the redirected ReLU's, and not one at which a NaN is looked for.
STEP = REDIRECTED_STEPS + 2
assert STEP % CHECK_EVERY


class Operations(TorchDispatchMode):
    """Counts operations by name, and the weight gradients that convolutions are asked for."""

    def __init__(self):
        super().__init__()
        self.counts, self.weight_gradients = Counter(), 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        self.counts[name] += 1
        if name == "convolution_backward":
            _input, weight, bias = args[-1]
            self.weight_gradients += weight or bias
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def step():
    """The operations of one step of a default rendering, and the calls of each layer in it."""
    model = synthnet()
    objective = channel("mixed4b", 24, batch=0) + channel("mixed3a", 2) - diversity("mixed3b")
    run = Run(
        model,
        objective,
        param.image(96, batch=2),
        transforms=Fused(transform.standard_transforms, lambda own: own),
        # Adam reads its own count of steps, which is kept on the CPU.
        optimizer=lambda params: torch.optim.SGD(params, lr=1.0),
        settings=RunSettings(seed=0, relu_override=True),
    )
    with run:
        for _ in range(STEP):
            next(run)
        before = [(module, dict(vars(module))) for module in model.modules()]
        calls = tiny.count_calls(model)
        try:
            with Operations() as operations:
                next(run)
        finally:
            for module, own in before:
                module.forward = own.get("forward")
                if module.forward is None:
                    del module.forward
    return operations, calls


def test_the_image_is_made_once(step):
    operations, _ = step
    assert operations.counts["_fft_c2r"] == 1


def test_all_transforms_sample_once(step):
    operations, _ = step
    assert operations.counts["grid_sampler_2d"] == 1
    assert operations.counts["grid_sampler_2d_backward"] == 1


def test_no_gradient_of_a_weight_is_computed(step):
    operations, _ = step
    assert operations.counts["convolution_backward"] > 5
    assert operations.weight_gradients == 0


def test_no_layer_runs_twice_or_after_the_last_one_needed(step):
    _, calls = step
    parts = {name.partition(".")[0] for name in calls}
    up_to_the_last = {
        "conv1",
        "pool1",
        "conv2",
        "mixed3a",
        "mixed3b",
        "pool3",
        "mixed4a",
        "mixed4b",
    }
    assert parts - {""} == up_to_the_last
    assert set(calls.values()) == {1}


def test_nothing_is_read_back(step):
    operations, _ = step
    waits = {"_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select"}
    assert waits.isdisjoint(operations.counts)


def test_a_wasteful_step_would_be_seen():
    weight, image = torch.ones(1, 1, 1, 1, requires_grad=True), torch.ones(1, 1, 2, 2)
    with Operations() as operations:
        loss = torch.conv2d(image, weight).sum()
        torch.autograd.grad(loss, weight)
        loss.item()
    assert operations.weight_gradients == 1
    assert operations.counts["_local_scalar_dense"] == 1
