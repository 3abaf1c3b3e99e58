"""Steps recorded and replayed, on a tape that imitates a CUDA graph on the CPU."""

from __future__ import annotations

import inspect
import logging
import random
import weakref
from contextlib import contextmanager
from functools import partial

import pytest
import torch
import torchvision
from tape import Tape
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from lucent.generators import Generators
from lucent.hooks import Activations
from lucent.modelzoo import synthnet
from lucent.optvis import capture, param, transform
from lucent.optvis.capture import MOST_CHANGES, PROOFS, WARM_UP, Capture, Watch, refusal
from lucent.optvis.loop import Run, RunSettings, adam
from lucent.optvis.objectives import (
    Acts,
    as_objective,
    channel,
    diversity,
    objective,
    product,
    style,
)
from lucent.optvis.param import as_image
from lucent.optvis.transform.base import Fused
from lucent.optvis.transform.kinds import RandomTransform
from lucent.overrides import REDIRECTED_STEPS
from lucent.util import set_seed

STEPS = 30
sgd = partial(torch.optim.SGD, lr=1.0)


@pytest.fixture
def tapes(monkeypatch):
    made = []

    def recorder_for(device):
        made.append(Tape())
        return made[-1]

    monkeypatch.setattr(capture, "recorder_for", recorder_for)
    return made


def fused(transforms=None):
    return Fused(transform.standard_transforms if transforms is None else transforms, lambda s: s)


def run_of(
    *,
    capture,
    wanted=None,
    image=None,
    transforms=None,
    optimizer=adam,
    callbacks=(),
    steps=STEPS,
    **settings,
):
    set_seed(3)
    run = Run(
        synthnet(),
        channel("mixed3a", 5) if wanted is None else wanted,
        param.image(32) if image is None else image(),
        transforms=fused() if transforms is None else transforms,
        optimizer=optimizer,
        settings=RunSettings(steps=steps, seed=7, capture=capture, **settings),
    )
    with run:
        run.iterate(callbacks)
        return run, run.snapshot()


def replays(tapes):
    return sum(tape.replays for tape in tapes)


@pytest.mark.parametrize("optimizer", [adam, sgd, partial(torch.optim.SGD, lr=1.0, momentum=0.9)])
@pytest.mark.parametrize("redirected", [False, True])
def test_replayed_steps_are_the_steps_themselves(tapes, optimizer, redirected):
    options = {"optimizer": optimizer, "relu_override": redirected}
    eager, expected = run_of(capture=False, **options)
    assert not tapes
    replayed, image = run_of(capture=True, **options)
    warm = WARM_UP + 1 + (REDIRECTED_STEPS if redirected else 0)
    assert [tape.replays for tape in tapes] == [STEPS - warm]
    assert torch.equal(image, expected)
    assert replayed.history.loss == eager.history.loss
    assert replayed.history.terms == eager.history.terms


def test_a_replay_runs_no_python_of_the_step(tapes):
    class Counted(param.Image):
        calls = 0

        def __init__(self):
            super().__init__()
            self.inner = param.image(32)

        def forward(self):
            Counted.calls += 1
            return self.inner()

    run_of(capture=True, image=Counted, steps=20)
    # The first step, the warm-up, the recording, the steps that it is compared with, the snapshot.
    assert Counted.calls == 1 + WARM_UP + 1 + PROOFS + 1


def test_every_replay_draws_anew(tapes):
    seen = []

    def look(run):
        seen.append(run.gradient)

    def keep(run):
        run.keep_gradient = True

    # A learning rate of zero: only the draws can make a difference.
    still = partial(torch.optim.SGD, lr=0.0)
    run, _ = run_of(capture=True, optimizer=still, callbacks=[keep, look], steps=12)
    assert replays(tapes) == 12 - WARM_UP - 1
    assert len(set(run.history.loss)) == 12
    kept = torch.stack(seen[1:])
    assert (kept.flatten(1).std(0) > 0).any()
    # What was handed out is not overwritten by the next replay.
    assert len({gradient.sum().item() for gradient in seen[1:]}) == 12


def test_a_gradient_asked_for_in_a_captured_run_is_that_of_its_step(tapes):
    def gradients(*, capture):
        seen = []

        def ask_late(run):
            run.keep_gradient = 10 <= run.step < 18
            if run.step > 10:
                seen.append(run.gradient)

        run_of(capture=capture, callbacks=[ask_late], steps=18)
        return torch.stack(seen)

    assert torch.equal(gradients(capture=True), gradients(capture=False))
    assert [tape.replays > 0 for tape in tapes] == [True, True]


def test_a_state_taken_over_is_no_change_of_what_a_step_computes(tapes):
    captured, generator = Capture(torch.device("cpu"), None), torch.Generator()
    for _ in range(MOST_CHANGES + 2):
        while captured(lambda: [torch.ones(1)], "the same", generator, list) is None:
            pass
        captured.forget()
    assert replays(tapes) == MOST_CHANGES + 2


def test_a_captured_run_resumes_bit_for_bit(tapes):
    _, expected = run_of(capture=True)
    set_seed(3)
    settings = RunSettings(steps=STEPS, seed=7, capture=True)
    make = partial(Run, synthnet(), channel("mixed3a", 5), transforms=fused(), settings=settings)
    with make(param.image(32)) as first:
        for _ in range(13):
            next(first)
        state = first.state_dict()
    with make(param.image(32)) as second:
        for _ in range(7):  # its own graph must not survive
            next(second)
        second.load_state_dict(state)
        second.iterate()
        assert torch.equal(second.snapshot(), expected)


def test_a_new_learning_rate_is_recorded_anew(tapes):
    def options(made):
        def make(params):
            made.append(torch.optim.Adam(params, lr=0.05, fused=True))
            return made[-1]

        def decay(run):
            if run.step == 10:
                made[-1].param_groups[0]["lr"] = 0.01

        return {"optimizer": make, "callbacks": [decay]}

    _, expected = run_of(capture=False, **options([]))
    _, image = run_of(capture=True, **options([]))
    assert [tape.replays > 3 for tape in tapes] == [True, True]
    assert torch.equal(image, expected)


def test_a_parameter_given_other_memory_is_recorded_anew(tapes):
    def clamp(run):
        if run.step == 10:
            (parameter,) = run.image.trainable()
            parameter.data = parameter.data.clamp(-0.1, 0.1)

    _, expected = run_of(capture=False, callbacks=[clamp])
    _, image = run_of(capture=True, callbacks=[clamp])
    assert [tape.replays > 3 for tape in tapes] == [True, True]
    assert torch.equal(image, expected)


def test_a_state_leaves_to_the_run_how_its_optimizer_computes():
    plain = partial(torch.optim.Adam, lr=0.05)
    with Run(synthnet(), channel("mixed3a", 5), param.image(32), optimizer=plain) as run:
        next(run)
        state = run.state_dict()
        # As a captured run on a GPU saves it; on a CPU it would be refused.
        state["optimizer"]["param_groups"][0] |= {"capturable": True, "fused": None}
        run.load_state_dict(state)
        next(run)
        kept = run.state_dict()["optimizer"]["param_groups"][0]
    assert (run.step, kept["capturable"], kept["fused"]) == (2, False, None)


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.RMSprop, torch.optim.Rprop])
def test_capture_does_no_harm_to_optimizers_on_a_cpu(optimizer, caplog):
    _, expected = run_of(capture=False, steps=6, optimizer=optimizer)
    _, image = run_of(capture=True, steps=6, optimizer=optimizer)
    assert torch.equal(image, expected)
    assert "not captured" in caplog.text


def test_a_backward_pass_has_nothing_in_common_with_the_one_before():
    # A parameter's end of a backward pass runs on the stream where it was made, for as long as any
    # part of that pass is alive; if that is not the recording stream, a recording breaks off.
    class Looks(param.Image):
        def __init__(self):
            super().__init__()
            self.inner, self.old = param.image(32), []

        def forward(self):
            (parameter,) = self.trainable()
            if torch.is_grad_enabled():
                end = parameter.view_as(parameter).grad_fn.next_functions[0][0]
                self.old.append("known" in end.metadata)
                end.metadata["known"] = True
            return self.inner()

    def keep(run):
        run.keep_gradient = True

    run, _ = run_of(capture=False, image=Looks, callbacks=[keep], steps=4, relu_override=True)
    assert run.image.old == [False] * 4


def test_a_run_that_is_over_holds_no_graph(tapes):
    run, _ = run_of(capture=True, steps=8)
    tape = weakref.ref(tapes.pop())
    assert tape() is None
    assert run.step == 8


def test_where_gradients_are_off_a_run_still_records(tapes):
    _, expected = run_of(capture=False, steps=8)
    with torch.no_grad():
        _, image = run_of(capture=True, steps=8)
    assert replays(tapes) == 8 - WARM_UP - 1
    assert torch.equal(image, expected)


def test_what_changes_all_the_time_is_not_recorded_for_ever(tapes, caplog):
    made = []

    def make(params):
        made.append(sgd(params))
        return made[-1]

    def decay(run):
        made[-1].param_groups[0]["lr"] = 1 / (1 + run.step // 6)

    options = {"optimizer": make, "callbacks": [decay], "steps": 60}
    _, expected = run_of(capture=False, **options)
    _, image = run_of(capture=True, **options)
    assert len(tapes) == MOST_CHANGES + 1
    assert torch.equal(image, expected)
    assert "keeps changing" in caplog.text


def reads_back(image):
    return image * (2.0 if image.mean().item() > 0.5 else 1.0)


def masks(image):
    return image + image[image > 0.4].mean()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"transforms": fused([reads_back])}, "reads a value back"),
        ({"transforms": fused([masks])}, "depends on values"),
        (
            {"transforms": transform.scheduled(lambda step: transform.jitter(2))},
            "transforms change",
        ),
        ({"wanted": channel("mixed3a", 5).scheduled(lambda step: 1.0)}, "weight of a term changes"),
        ({"optimizer": partial(torch.optim.LBFGS, max_iter=2)}, "LBFGS"),
        ({"optimizer": partial(torch.optim.Adagrad, lr=0.01)}, "Adagrad"),
    ],
)
def test_what_cannot_be_captured_is_done_step_by_step(tapes, caplog, options, reason):
    eager, expected = run_of(capture=False, steps=9, **options)
    with caplog.at_level(logging.WARNING, "lucent"):
        replayed, image = run_of(capture=True, steps=9, **options)
    assert replays(tapes) == 0
    assert torch.equal(image, expected)
    assert replayed.history.loss == eager.history.loss
    (message,) = caplog.messages
    assert "not captured" in message
    assert reason in message


def test_an_objective_that_keeps_state_is_not_captured(tapes):
    wanted = style({"mixed3a": torch.rand(136, 136)}, ema_decay=0.5)
    _, expected = run_of(capture=False, wanted=wanted)
    _, image = run_of(capture=True, wanted=wanted)
    assert replays(tapes) == 0
    assert torch.equal(image, expected)


@objective
def brightness(layer: Acts) -> torch.Tensor:
    return layer.mean()


@objective
def later(layer: Acts, T: Activations) -> torch.Tensor:
    return layer.mean() * T.step


class Dimmed(RandomTransform):
    def sample(self, image, generator, rows=1):
        return image.new_full((rows, 1), random.random())

    def apply(self, image, draw):
        return image * draw.view(-1, 1, 1, 1)


class Still(param.Image):
    def __init__(self):
        super().__init__()
        self.inner = param.image(8)

    def forward(self):
        return self.inner() * random.random()


def pair():
    pixels = torch.zeros(1, 3, 8, 8, requires_grad=True)
    return [pixels], lambda: pixels.sigmoid()


TRUSTED = [
    {},
    {"wanted": diversity("mixed3a") - 2 * channel("mixed3b", 1)},
    {"wanted": product(channel("mixed3a", 1), channel("mixed3a", 2))},
    {"wanted": brightness("input")},
    {"transforms": fused([nn.Upsample(24), *transform.standard_transforms])},
    {"transforms": transform.per_image(transform.standard_transforms)},
    {"image": param.stack([param.image(8), param.image(8)])},
]
STRANGE = [
    ({"wanted": as_objective(lambda T: T("mixed3a").mean())}, "objective"),
    (
        {"wanted": product(channel("mixed3a", 1), as_objective(lambda T: T("input").mean()))},
        "objec",
    ),
    ({"wanted": later("mixed3a")}, "objective"),
    ({"transforms": fused([lambda image: image * random.random()])}, "transform"),
    ({"transforms": fused([torchvision.transforms.RandomHorizontalFlip()])}, "transform"),
    ({"transforms": transform.per_image([lambda image: image])}, "transform"),
    ({"transforms": fused([Dimmed()])}, "transform"),
    ({"image": Still()}, "parametrization"),
    ({"image": param.stack([param.image(8), Still()])}, "parametrization"),
    ({"image": as_image(pair())}, "parametrization"),
    ({"image": param.to_valid_rgb(lambda: torch.zeros(1, 3, 8, 8))}, "parametrization"),
    ({"image": param.stack([param.image(8), as_image(pair())])}, "parametrization"),
]


def refused(*, wanted=None, transforms=None, image=None, trust=False):
    return refusal(
        wanted or channel("mixed3a", 5),
        image or param.image(8),
        transforms or fused(),
        trust,
    )


@pytest.mark.parametrize("parts", TRUSTED)
def test_parts_that_are_known_to_repeat_are_captured_unasked(parts):
    assert refused(**parts) is None


@pytest.mark.parametrize(("parts", "what"), STRANGE)
def test_functions_of_the_user_are_captured_only_when_asked(parts, what):
    reason = refused(**parts)
    assert what in reason
    assert "capture=True" in reason
    assert refused(**parts, trust=True) is None


@pytest.mark.parametrize(
    ("operation", "found"),
    [
        (lambda x: x.sum().item(), "reads a value back"),
        (lambda x: bool((x > 0).any()), "reads a value back"),
        (lambda x: torch.equal(x, x), "reads a value back"),
        (lambda x: x.nonzero(), "depends on values"),
        (lambda x: x[x > 0], "depends on values"),
        (lambda x: x.clone().index_put_([x > 0], x.new_zeros(())), "depends on values"),
        (lambda x: x.to("meta"), "host"),
        (lambda x: x.sum().to("meta"), "host"),
        (lambda x: x[torch.tensor([0, 0])], None),
        (lambda x: torch.index_put(x, [torch.tensor([0])], x.new_ones(1)), None),
        (lambda x: x * torch.tensor(2.0), None),
        (lambda x: torch.fft.rfft(x).abs().sum(), None),
    ],
)
def test_what_a_graph_cannot_contain_is_seen(operation, found):
    x = torch.rand(4)
    with Watch(torch.device("cpu")) as watch:
        operation(x)
    assert (watch.found is None) if found is None else (found in watch.found)


def test_memory_from_before_is_kept_and_no_other():
    x, y, z = torch.rand(4), torch.rand(4), torch.rand(4)
    with Watch(torch.device("cpu")) as watch:
        made = x[:2] * 2
        y.add_(made.sum())
        made.relu_().exp()
    assert watch.outside.keys() == {x.data_ptr(), y.data_ptr()}
    assert z.data_ptr() not in watch.outside


def test_a_graph_keeps_the_constants_that_it_reads(tapes):
    constant = torch.rand(4)
    memory = StorageWeakRef(constant.untyped_storage())
    captured, generator = Capture(torch.device("cpu"), None), torch.Generator()
    while captured(lambda: [torch.ones(1)], "the same", generator, list) is None:
        with captured.rehearsal():
            constant * 2
    del constant
    assert replays(tapes) == 1
    assert not memory.expired()
    captured.forget()
    assert memory.expired()


def test_the_backward_pass_is_watched_too():
    class ReadsBack(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, grad):
            return grad * grad.sum().item()

    x = torch.rand(4, requires_grad=True)
    with Watch(torch.device("cpu")) as watch:
        torch.autograd.grad(ReadsBack.apply(x).sum(), x)
    assert "reads a value back" in watch.found


def test_a_recording_that_fails_costs_nothing_but_speed(monkeypatch, caplog):
    class Broken(Tape):
        def record(self, work, generator):
            super().record(work, generator)
            raise RuntimeError("operation not permitted when stream is capturing")

    _, expected = run_of(capture=False, steps=12)
    monkeypatch.setattr(capture, "recorder_for", lambda device: Broken())
    _, image = run_of(capture=True, steps=12)
    assert torch.equal(image, expected)
    assert "not permitted" in caplog.text


class Forgetful(Tape):
    """A graph that leaves out what some operations do."""

    left_out = ()

    def replay(self):
        kept, self.operations = (
            self.operations,
            [step for step in self.operations if step[0].overloadpacket not in self.left_out],
        )
        super().replay()
        self.operations = kept


class Draws(Forgetful):
    left_out = (torch.ops.aten.randint,)


class Updates(Forgetful):
    left_out = (torch.ops.aten._fused_adam_,)


class Diverges(Tape):
    def replay(self):
        super().replay()
        self.operations[-1][3][0].fill_(torch.nan)


@pytest.mark.parametrize("kind", [Draws, Updates, Diverges])
def test_a_graph_that_gives_other_values_is_not_used(monkeypatch, caplog, kind):
    made = []
    eager, expected = run_of(capture=False, steps=16)
    monkeypatch.setattr(capture, "recorder_for", lambda device: made.append(kind()) or made[-1])
    replayed, image = run_of(capture=True, steps=16)
    assert [tape.replays for tape in made] == [2 if kind is Draws else 1]
    assert torch.equal(image, expected)
    assert replayed.history.loss == eager.history.loss
    assert "other values" in caplog.text


def test_a_cpu_says_that_it_has_no_graphs(caplog):
    _, expected = run_of(capture=False, steps=9)
    _, image = run_of(capture=True, steps=9)
    assert torch.equal(image, expected)
    assert "no graphs on a device of type 'cpu'" in caplog.text


@pytest.fixture
def graph_events(monkeypatch):
    """What a CudaGraph does, on a machine without a GPU."""
    events = []

    class Graph:
        def register_generator_state(self, generator):
            events.append(("generator", generator))

        def replay(self):
            events.append("replay")

    @contextmanager
    def captures(graph, *, stream, capture_error_mode):
        assert isinstance(graph, Graph)
        events.append(("begin", stream, capture_error_mode))
        yield
        events.append("end")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: f"stream of {device}")
    monkeypatch.setattr(torch.cuda, "graph", captures)
    monkeypatch.setattr(torch.cuda, "default_generators", [torch.Generator(), torch.Generator()])
    capture._stream.cache_clear()
    yield events
    capture._stream.cache_clear()


def test_a_cuda_graph_knows_every_generator_before_it_captures(graph_events):
    recorder = capture.recorder_for(torch.device("cuda", 1))
    rows = Generators([1, 2], "cpu")
    result = recorder.record(lambda: graph_events.append("work") or torch.ones(1), rows)
    recorder.replay()
    assert result.item() == 1
    assert graph_events == [
        *(("generator", generator) for generator in rows),
        ("begin", "stream of cuda:1", "thread_local"),
        "work",
        "end",
        "replay",
    ]


def test_all_graphs_of_a_device_are_recorded_on_one_stream(graph_events, monkeypatch):
    made = []
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: made.append(device) or len(made))
    for index in (1, 0, 1):
        recorder = capture.recorder_for(torch.device("cuda", index))
        recorder.record(lambda: torch.ones(1), torch.Generator())
    assert made == [torch.device("cuda", 1), torch.device("cuda", 0)]


def test_generators_of_a_recording_that_breaks_off_are_as_before(graph_events, monkeypatch):
    class Drawing:
        """A generator of a GPU: what it draws depends on a state that can be swapped."""

        def __init__(self, state=0):
            self.state = state

        def clone_state(self):
            return Drawing(self.state)

        def graphsafe_set_state(self, other):
            self.state = other.state

    own, default = Drawing(3), Drawing(5)
    monkeypatch.setattr(torch.cuda, "default_generators", [None, default])

    def breaks_off():
        own.state = default.state = "in a capture"
        raise RuntimeError("operation not permitted when stream is capturing")

    recorder = capture.recorder_for(torch.device("cuda", 1))
    with pytest.raises(RuntimeError, match="not permitted"):
        recorder.record(breaks_off, own)
    assert (own.state, default.state) == (3, 5)


def test_the_graph_has_the_methods_that_are_used():
    assert {"register_generator_state", "replay"} <= set(dir(torch.cuda.CUDAGraph))
    assert {"clone_state", "graphsafe_set_state"} <= set(dir(torch.Generator))
    options = inspect.signature(torch.cuda.graph.__init__).parameters
    assert {"stream", "capture_error_mode"} <= options.keys()
