"""The arithmetic and the memory format of the network inside a run."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from lucent.errors import InputError
from lucent.optvis import param
from lucent.optvis.loop import Run, RunSettings
from lucent.optvis.objectives import as_objective, channel, direction
from lucent.optvis.settings import tf32
from lucent.util import set_seed


class Seen(nn.Module):
    """Passes its input on, and notes what it was."""

    def __init__(self):
        super().__init__()
        self.inputs = []

    def forward(self, x):
        self.inputs.append((x.dtype, x.is_contiguous(memory_format=torch.channels_last)))
        return x


class Flattens(nn.Module):
    """Needs ordinary memory, as networks that call `.view` do."""

    def forward(self, x):
        return x.view(len(x), -1)


class FlattensGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.contiguous() * 1

    @staticmethod
    def backward(ctx, grad):
        return (grad.contiguous(memory_format=torch.channels_last).view(-1) * 1).view_as(grad)


class NeedsOrdinaryGradient(nn.Module):
    def forward(self, x):
        ordinary = not x.is_contiguous(memory_format=torch.channels_last)
        return x if ordinary else FlattensGradient.apply(x)


def network(*more, dtype=torch.float32):
    set_seed(1)
    seen = Seen()
    first, second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 3)
    model = nn.Sequential(first, nn.ReLU(), seen, second, nn.Tanh(), *more).to(dtype)
    return model, seen


def finished(model, wanted, *, steps=6, **settings):
    set_seed(2)
    settings = RunSettings(steps=steps, seed=0, preprocess=False, **settings)
    with Run(model, as_objective(wanted), param.image(16, batch=2), settings=settings) as run:
        run.iterate()
        return run, run.snapshot()


@pytest.mark.parametrize("wanted", [channel("4", 2), direction("1", torch.arange(8.0))])
def test_channels_last_changes_the_memory_and_not_the_picture(wanted):
    pictures = {}
    for channels_last in (False, None, True):
        model, seen = network(dtype=torch.float64)
        _, pictures[channels_last] = finished(model, wanted, channels_last=channels_last)
        if wanted.layers == {"4"}:
            assert {format for _, format in seen.inputs} == {channels_last is not False}
    torch.testing.assert_close(pictures[None], pictures[False], rtol=1e-9, atol=1e-9)
    assert torch.equal(pictures[None], pictures[True])


def test_the_weights_stay_as_they_are():
    model, _ = network()
    before = {name: (p.data_ptr(), p.stride()) for name, p in model.named_parameters()}
    finished(model, channel("4", 2))
    assert {name: (p.data_ptr(), p.stride()) for name, p in model.named_parameters()} == before


def test_a_network_without_convolutions_gets_ordinary_memory():
    seen = Seen()
    model = nn.Sequential(seen, nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
    finished(model, channel("2", 1))
    assert {format for _, format in seen.inputs} == {False}


def test_objectives_get_ordinary_memory():
    def by_view(T):
        return -T("4").view(2, -1)[:, 3 * 12 * 12 : 4 * 12 * 12].mean()

    model, seen = network()
    run, _ = finished(model, by_view)
    # The network itself did not have to go back to it.
    assert seen.inputs[-1][1]
    expected, _ = finished(model, channel("4", 3))
    assert run.history.loss == pytest.approx(expected.history.loss, rel=1e-5)


@pytest.mark.parametrize("part", [Flattens, NeedsOrdinaryGradient])
def test_a_network_that_needs_ordinary_memory_gets_it(part, caplog):
    model, seen = network(part(), nn.Identity())
    with caplog.at_level(logging.INFO, "lucent"):
        run, picture = finished(model, channel("6", 3))
    assert "channels_last=False" in caplog.text
    assert len(caplog.messages) == 1
    assert {format for _, format in seen.inputs[-4:]} == {False}
    expected, same = finished(model, channel("6", 3), channels_last=False)
    assert torch.equal(picture, same)
    # The first step was recorded once.
    assert len(run.history.loss) == len(expected.history.loss) == 6


def test_other_errors_of_the_network_are_not_taken_for_one():
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("my own trouble")

    model, _ = network(Broken(), nn.Identity())
    with pytest.raises(RuntimeError, match="my own trouble"):
        finished(model, channel("6", 0))


def test_bfloat16_is_for_the_network_alone():
    model, seen = network()
    got = []

    def wanted(T):
        got.append((T("4").dtype, T("input").dtype))
        return -T("4")[:, 2].mean()

    run, picture = finished(model, wanted, precision="bf16")
    # What an unknown function reads is found out by a pass that does not count.
    assert {dtype for dtype, _ in seen.inputs[-6:]} == {torch.bfloat16}
    assert set(got) == {(torch.float32, torch.float32)}
    assert {p.dtype for p in run.image.parameters()} == {torch.float32}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    exact, expected = finished(model, wanted, precision="fp32")
    assert run.history.loss != exact.history.loss
    # Eight bits of mantissa.
    assert run.history.loss == pytest.approx(exact.history.loss, abs=2e-2)
    assert run.history.loss[-1] < run.history.loss[0]
    torch.testing.assert_close(picture, expected, rtol=0, atol=0.1)


def switches():
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if hasattr(matmul, "fp32_precision"):
        return matmul.fp32_precision, cudnn.conv.fp32_precision
    return matmul.allow_tf32, cudnn.allow_tf32


def test_tf32_is_allowed_and_forbidden_for_as_long_as_it_should():
    before = switches()
    seen = []
    with tf32(True):
        seen.append(switches())
        with tf32(False):
            seen.append(switches())
    with pytest.raises(KeyError), tf32(not before[0]):
        raise KeyError
    assert seen in ([(True, True), (False, False)], [("tf32", "tf32"), ("ieee", "ieee")])
    assert switches() == before
    with tf32(None):
        assert switches() == before


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("tf32", {True, "tf32"}), ("fp32", {False, "ieee"})],
)
def test_a_step_is_computed_in_the_precision_asked_for(precision, expected):
    seen, before = [], switches()

    class Looks(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            seen.extend(switches())
            return x * 1

        @staticmethod
        def backward(ctx, grad):
            seen.extend(switches())
            return grad * 1

    class Module(nn.Module):
        def forward(self, x):
            return Looks.apply(x)

    model, _ = network(Module())
    finished(model, channel("5", 2), precision=precision)
    assert set(seen) <= expected
    assert switches() == before


def test_an_unknown_precision_is_refused():
    with pytest.raises(InputError, match="precision='fp16' is unknown: it is 'fp32', 'tf32', 'bf1"):
        RunSettings(precision="fp16")


@pytest.mark.parametrize("seed", [[], "12", 1.5, (1, None), torch.tensor([1, 2])])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(InputError, match=r"seed=.* has to be a whole number, a list of them"):
        RunSettings(seed=seed)
