"""The loop: it does the steps one would write by hand, can be resumed, and says what goes wrong."""

from __future__ import annotations

import io
from functools import partial

import pytest
import tiny
import torch
from torch import nn
from torch.nn import functional as F

from lucent.errors import DivergenceError, InputError, LayerError, LucentError, LucentWarning
from lucent.modelzoo.spec import ModelSpec
from lucent.optvis import objectives, param, transform
from lucent.optvis.loop import Run, RunSettings, adam
from lucent.optvis.objectives import Objective, as_objective, channel, neuron
from lucent.optvis.param import as_image
from lucent.overrides import REDIRECTED_STEPS

RANDOM = transform.compose(
    [
        transform.pad(2, mode="constant"),
        transform.jitter(3),
        transform.random_scale([0.9, 1, 1.1]),
        transform.random_rotate([-5, 0, 5]),
    ]
)


def start(dtype=torch.float64, size=12, batch=2):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(batch, 3, size, size, dtype=dtype, generator=generator)


def lbfgs(params):
    return torch.optim.LBFGS(params, lr=0.01, max_iter=3)


def finished(run, n_steps=None):
    """The run after these steps, None for all."""
    with run:
        for _ in run:
            if run.step == n_steps:
                break
        return run


# A step


def by_hand(model, loss_of, image, n_steps, make_optimizer):
    """What a loop without any library does."""
    pixels = image.clone().requires_grad_()
    optimizer, losses = make_optimizer([pixels]), []
    for _ in range(n_steps):
        optimizer.zero_grad()
        loss = loss_of(model, pixels)
        losses.append(loss.item())
        loss.backward(inputs=[pixels])
        optimizer.step()
    return pixels.detach(), losses


@pytest.mark.parametrize(
    "make_optimizer", [adam, lambda params: torch.optim.SGD(params, lr=0.5, momentum=0.9)]
)
def test_steps_are_those_of_a_hand_written_loop(make_optimizer):
    model = tiny.textured(torch.float64)
    objective = 2 * channel("3", 4) - 0.25 * channel("0", 1, batch=1) + 3

    def loss_of(model, pixels):
        unit, other = model(pixels)[:, 4].flatten(1).mean(1).mean(), model[0](pixels)[1, 1].mean()
        return -(2 * unit - 0.25 * other) + 3

    image, losses = by_hand(model, loss_of, start(), 40, make_optimizer)
    run = Run(
        model,
        objective,
        tiny.Pixels(start()),
        optimizer=make_optimizer,
        settings=RunSettings(steps=40, relu_override=False),
    )
    finished(run)
    # Only the order of the additions may differ.
    torch.testing.assert_close(run.snapshot(), image, rtol=1e-10, atol=1e-10)
    assert run.history.loss == pytest.approx(losses, rel=1e-10)
    assert len(run.history) == run.step == 40


@pytest.mark.parametrize(("preprocess", "seen"), [(True, 0.0), (False, 0.5)])
def test_the_order_of_a_step_is_transforms_then_preprocessing_then_model(preprocess, seen):
    model = tiny.Chain()
    model.spec = ModelSpec(name="centred", mean=(0.5,), std=(0.25,))
    run = Run(
        model,
        channel("conv1", 0),
        tiny.Pixels(tiny.colour(0.25, 0.25, 0.25)),
        transforms=lambda image: 2 * image,
        settings=RunSettings(preprocess=preprocess),
    )
    assert finished(run, 1).history.loss == [-seen]


def test_the_loss_falls():
    run = Run(tiny.textured(), channel("3", 2), param.image(16), settings=RunSettings(steps=60))
    finished(run)
    assert run.history.loss[-1] < run.history.loss[0] - 0.1


def test_only_the_image_gets_gradients():
    model = tiny.textured()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    before = tiny.condition(model)
    image = tiny.Pixels(start(torch.float32))
    with Run(model, channel("3", 0), image) as run:
        next(run)
        assert image.pixels.grad.any()
        assert tiny.condition(model)["gradients"] == before["gradients"]
        assert not any(parameter.requires_grad for parameter in model.parameters())
    assert tiny.condition(model) == before


def test_the_model_is_in_eval_mode_during_a_run_and_as_it_was_afterwards():
    model, modes = tiny.Normed(), []
    before = tiny.condition(model)
    made = Run(model, channel("frozen", 0), tiny.Pixels(start(torch.float32)))
    with made:
        for _ in range(3):
            next(made)
            modes += [module.training for module in model.modules()]
    assert not any(modes)
    assert tiny.condition(model) == before


def test_the_image_is_evaluated_once_per_step_and_input_is_what_was_seen():
    class Stochastic(tiny.Pixels):
        given = ()

        def forward(self):
            self.given = (*self.given, self.pixels + torch.rand(1))
            return self.given[-1]

    model, image, seen = tiny.Chain(), Stochastic(start(torch.float32)), []
    forward = model.conv1.forward

    def spy(x):
        seen.append(x)
        return forward(x)

    model.conv1.forward = spy
    asked = []

    def objective(T):
        asked.append(T("input"))
        return -T("conv1").mean() - T("input").mean()

    with Run(model, Objective(objective), image) as run:
        for n in range(1, 4):
            next(run)
            assert len(image.given) == n
            assert asked[-1] is image.given[-1]
            assert torch.equal(seen[-1], asked[-1])


def test_objectives_know_step_and_labels_and_keep_their_state():
    noted = []

    def objective(T):
        T.state["sum"] = T.state.get("sum", 0) + 1
        noted.append((T.step, tuple(T.labels), T.state["sum"]))
        return -T("labels")[:, 0].mean()

    run = Run(tiny.Softmax(), Objective(objective), tiny.Pixels(tiny.colour(0.5, 0, 0)))
    finished(run, 3)
    assert noted[-1] == (2, ("cat", "dog"), 3)
    assert [step for step, _, _ in noted][-2:] == [1, 2]


def test_labels_are_the_logits_of_the_spec():
    image = tiny.Pixels(tiny.colour(0.5, 0, 0))
    run = finished(Run(tiny.Softmax(), channel("labels", 1), image), 1)
    # The second logit is minus twice the red.
    assert run.history.loss == [1.0]


def test_without_a_layer_the_model_does_not_run():
    model = tiny.Chain()
    calls = tiny.count_calls(model)
    image = tiny.Pixels(tiny.colour(0.5, 0.25, 0))
    settings = RunSettings(relu_override=False)
    run = finished(Run(model, channel("input", 1), image, settings=settings), 4)
    assert run.history.loss == pytest.approx([-0.25, -0.3, -0.35, -0.4], abs=1e-6)
    assert not calls


# Device and dtype


def test_the_image_follows_a_model_in_double_precision():
    image = param.image(16)
    run = finished(Run(tiny.textured(torch.float64), channel("3", 2), image), 2)
    assert {parameter.dtype for parameter in image.parameters()} == {torch.float64}
    assert run.snapshot().dtype == torch.float64


def test_the_image_of_a_model_in_half_precision_stays_in_single():
    model, image = tiny.textured(torch.bfloat16), param.image(16)
    run = Run(model, channel("3", 2), image, settings=RunSettings(steps=40, seed=0))
    finished(run)
    assert {parameter.dtype for parameter in image.parameters()} == {torch.float32}
    assert run.snapshot().dtype == torch.float32
    assert run.history.loss[-1] < run.history.loss[0] - 0.1


def test_params_given_as_tensors_are_optimised():
    pixels = start(torch.float32).requires_grad_()
    image = param.as_image(([pixels], lambda: pixels.sigmoid()))
    before = pixels.detach().clone()
    run = finished(Run(tiny.textured(), channel("3", 2), image), 3)
    assert not torch.equal(pixels, before)
    assert torch.equal(run.snapshot(), pixels.detach().sigmoid())


# Optimizers


def test_lbfgs_converges():
    target = tiny.colour(0.75, 0.25, 0.5)

    def distance(T):
        return (T("input") - target).square().sum() + 0 * T("conv1").sum()

    image = tiny.Pixels(torch.zeros_like(target))
    run = Run(tiny.Chain(), Objective(distance), image, optimizer=lambda p: torch.optim.LBFGS(p))
    finished(run, 2)
    torch.testing.assert_close(run.snapshot(), target, rtol=0, atol=1e-6)


def test_lbfgs_sees_one_function_within_a_step_and_another_in_the_next():
    seen = []

    def transform_(image):
        seen.append(image)
        return image

    jitter = transform.compose([transform.jitter(8), transform_])
    fixed = tiny.Pixels(start(torch.float32, size=16))
    # With a learning rate of 0 the image stays, so that only the draws could differ.
    optimizer = lambda p: torch.optim.LBFGS(p, lr=0, max_iter=3, tolerance_change=-1)  # noqa: E731
    with Run(
        tiny.textured(),
        channel("3", 2),
        fixed,
        transforms=jitter,
        optimizer=optimizer,
        settings=RunSettings(seed=0),
    ) as run:
        firsts = []
        for _ in range(4):
            seen.clear()
            next(run)
            assert len(seen) > 1
            assert all(torch.equal(crop, seen[0]) for crop in seen)
            firsts.append(seen[0])
    assert not any(torch.equal(firsts[0], crop) for crop in firsts[1:])
    assert len(run.history) == 4


@pytest.mark.parametrize("optimizer", [torch.optim.Adam([torch.zeros(1)]), 0.05])
def test_an_optimizer_that_is_no_factory_is_refused(optimizer):
    with pytest.raises(InputError, match=r"not a \w+: write optimizer=lambda params: torch"):
        Run(tiny.Chain(), channel("conv1", 0), param.image(4), optimizer=optimizer)


def test_a_factory_that_makes_no_optimizer_is_refused():
    with (
        pytest.raises(InputError, match=r"optimizer.*write optimizer=lambda params: torch"),
        Run(tiny.Chain(), channel("conv1", 0), param.image(4), optimizer=lambda params: None) as r,
    ):
        next(r)


# History


def test_terms_are_kept_before_their_weight():
    objective = 2 * channel("conv1", 0) - 3 * channel("conv1", 1) + neuron("input", 2, 0, 0)
    image = tiny.Pixels(tiny.colour(0.5, 0.25, 0.125))
    run = finished(Run(tiny.Chain(), objective, image), 1)
    assert run.history.terms == {
        "Channel [conv1, 0, None]": [0.5],
        "Channel [conv1, 1, None]": [-0.25],
        "Neuron [input, 2, 0, 0, None]": [0.125],
    }
    assert run.history.loss == [-(2 * 0.5 + 3 * 0.25 + 0.125)]


def test_history_of_a_run_that_has_not_begun():
    run = Run(tiny.Chain(), channel("conv1", 0), param.image(4))
    assert (run.history.loss, len(run.history)) == ([], 0)
    assert run.history.terms == {"Channel [conv1, 0, None]": []}


def test_values_stay_where_they_are_until_they_are_read(monkeypatch):
    waits = []

    def noted(method):
        return lambda tensor: waits.append(tensor) or method(tensor)

    def blocking(make, *, always):
        """On a GPU, a tensor made of Python's numbers on the device waits for it."""

        def made(*args, **options):
            if always or "device" in options:
                waits.append(args)
            return make(*args, **options)

        return made

    # Adam asks its own step counter for its value.
    run = Run(
        tiny.textured(),
        channel("3", 2) - 0.5 * channel("1", 0),
        param.image(32),
        transforms=transform.Fused(transform.standard_transforms, lambda own: (48, 48)),
        optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
    )
    with run:
        next(run)
        monkeypatch.setattr(torch, "tensor", blocking(torch.tensor, always=False))
        monkeypatch.setattr(torch, "as_tensor", blocking(torch.as_tensor, always=True))
        new_tensor = blocking(torch.Tensor.new_tensor, always=True)
        monkeypatch.setattr(torch.Tensor, "new_tensor", new_tensor)
        for name in ("tolist", "item", "__bool__", "__float__", "cpu"):
            monkeypatch.setattr(torch.Tensor, name, noted(getattr(torch.Tensor, name)))
        for _ in range(20):
            next(run)
        assert waits == []
        assert len(run.history.loss) == 21
        assert len(waits) == 1


# The end


def test_a_run_ends_after_its_steps():
    run = Run(tiny.Chain(), channel("conv1", 0), param.image(4), settings=RunSettings(steps=3))
    with run:
        assert [same.step for same in run] == [1, 2, 3]
        assert list(run) == []


def test_a_run_ends_when_it_is_stopped():
    with Run(tiny.Chain(), channel("conv1", 0), param.image(4)) as run:
        for _ in run:
            if run.step == 5:
                run.stop()
        assert run.step == 5


@pytest.mark.parametrize("use", [next, Run.state_dict, lambda run: run.load_state_dict({})])
def test_a_run_that_is_not_open_says_so(use):
    run = Run(tiny.Chain(), channel("conv1", 0), param.image(4))
    with pytest.raises(LucentError, match="The run is not open"):
        use(run)
    finished(run, 1)
    with pytest.raises(LucentError, match="The run is not open"):
        use(run)


def test_nothing_is_left_when_a_run_cannot_be_opened():
    model = tiny.Normed()
    before = tiny.condition(model)

    def broken(params):
        raise ZeroDivisionError

    with (
        pytest.raises(ZeroDivisionError),
        Run(model, channel("conv", 0), param.image(4), optimizer=broken),
    ):
        pass
    assert tiny.condition(model) == before


@pytest.mark.parametrize("where", ["objective", "forward", "transform", "callback"])
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_after_an_exception(where, kind):
    def fail(*_):
        raise kind

    model = tiny.Normed()
    if where == "forward":
        model.drop.forward = fail
    before = tiny.condition(model)
    objective = Objective(fail) if where == "objective" else channel("frozen", 0)
    transforms = fail if where == "transform" else None
    with pytest.raises(kind), Run(model, objective, param.image(4), transforms=transforms) as run:
        run.iterate([fail] if where == "callback" else [lambda run: run.step < 9 or run.stop()])
    assert tiny.condition(model) == before


# Resuming


def opaque(T):
    return -3 * T("1").mean() - T("3")[:, 2].mean() - T("0")[:, 5].square().mean()


def averaging(T):
    """An objective whose value depends on what came before."""
    acts = T("3")[:, 2].mean() + T("1")[:, 1].mean()
    T.state["mean"] = 0.9 * T.state.get("mean", torch.zeros(())) + 0.1 * acts.detach()
    return -(acts - T.state["mean"]).square() - acts


def averaging_in_place(T):
    """The same, with a tensor that changes."""
    acts = T("3")[:, 2].mean() + T("1")[:, 1].mean()
    mean = T.state.setdefault("mean", torch.zeros(()))
    mean.lerp_(acts.detach(), 0.1)
    return -(acts - mean.clone()).square() - acts


@pytest.mark.parametrize("optimizer", [adam, lbfgs])
@pytest.mark.parametrize("objective", [channel("3", 2), opaque, averaging, averaging_in_place])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(objective, optimizer):
    def run(steps):
        return Run(
            tiny.textured(),
            objectives.as_objective(objective),
            param.image(16),
            transforms=RANDOM,
            optimizer=optimizer,
            settings=RunSettings(steps=steps, seed=7),
        )

    torch.manual_seed(0)
    with run(20) as whole:
        for _ in whole:
            if whole.step == 10:
                file = io.BytesIO()
                torch.save(whole.state_dict(), file)
        expected = whole.snapshot()
    torch.manual_seed(1)
    with run(20) as resumed:
        assert not torch.equal(resumed.snapshot(), expected)
        file.seek(0)
        resumed.load_state_dict(torch.load(file, weights_only=True))
        assert (resumed.step, len(resumed.history)) == (10, 10)
        for _ in resumed:
            pass
        assert torch.equal(resumed.snapshot(), expected)
    assert resumed.history.loss == whole.history.loss
    assert resumed.history.terms == whole.history.terms


def test_a_run_resumed_in_the_steps_of_the_override_goes_on_with_it():
    def run(steps):
        image = tiny.Pixels(tiny.colour(0.5, 0.5, 0.5))
        settings = RunSettings(steps=steps, relu_override=True)
        return Run(tiny.Dead(F.relu), channel("labels", 0), image, settings=settings)

    with run(REDIRECTED_STEPS + 5) as whole:
        for _ in whole:
            if whole.step == 5:
                state = whole.state_dict()
    with run(REDIRECTED_STEPS + 5) as resumed:
        resumed.load_state_dict(state)
        for _ in resumed:
            pass
    assert torch.equal(resumed.snapshot(), whole.snapshot())


@pytest.mark.parametrize("optimizer", [adam, lbfgs])
def test_a_saved_state_does_not_change_when_the_run_goes_on(optimizer):
    def contents(state):
        file = io.BytesIO()
        torch.save(state, file)
        return file.getvalue()

    with Run(tiny.textured(), channel("3", 2), param.image(16), optimizer=optimizer) as run:
        for _ in range(3):
            next(run)
        state = run.state_dict()
        before = contents(state)
        for _ in range(3):
            next(run)
        assert contents(state) == before
        run.load_state_dict(state)
        for _ in range(3):
            next(run)
        assert contents(state) == before


def test_a_state_of_another_image_is_refused():
    with Run(tiny.Chain(), channel("conv1", 0), tiny.Pixels(torch.zeros(1, 3, 4, 4))) as run:
        state = run.state_dict()
    with Run(tiny.Chain(), channel("conv1", 0), tiny.Pixels(torch.zeros(2, 3, 4, 4))) as run:
        wanted = r"shape \[\(1, 3, 4, 4\)\].*\[\(2, 3, 4, 4\)\].*size and batch"
        with pytest.raises(InputError, match=wanted):
            run.load_state_dict(state)
        assert not run.snapshot().any()


@pytest.mark.parametrize("other", [channel("conv1", 1), channel("conv1", 0) + channel("relu", 0)])
def test_a_state_of_another_objective_is_refused(other):
    with Run(tiny.Chain(), channel("conv1", 0), tiny.Pixels(tiny.colour(0, 0, 0))) as run:
        next(run)
        state = run.state_dict()
    with Run(tiny.Chain(), other, tiny.Pixels(tiny.colour(0, 0, 0))) as run:
        with pytest.raises(InputError, match=r"objective .*conv1, 0.*conv1"):
            run.load_state_dict(state)
        # Nothing was taken over.
        assert (run.step, len(run.history), run.snapshot().any().item()) == (0, 0, False)


@pytest.mark.parametrize("state", [{}, {"step": 1}, None])
def test_what_is_no_state_is_refused(state):
    with (
        Run(tiny.Chain(), channel("conv1", 0), param.image(4)) as run,
        pytest.raises(InputError, match=r"no state of a run: give what Run\.state_dict returned"),
    ):
        run.load_state_dict(state)


# Seeds


MODEL = tiny.textured()


def losses(seed):
    image = tiny.Pixels(start(torch.float32, size=24))
    settings = RunSettings(steps=6, seed=seed)
    run = Run(MODEL, channel("3", 2), image, transforms=RANDOM, settings=settings)
    return finished(run).history.loss


def test_the_seed_decides_the_draws():
    assert losses(3) == losses(3)
    assert losses(3) != losses(4)


def test_without_a_seed_the_global_one_decides():
    torch.manual_seed(5)
    first = losses(None)
    assert losses(None) != first
    torch.manual_seed(5)
    assert losses(None) == first


def test_draws_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    losses(3)
    assert torch.equal(torch.get_rng_state(), before)


# What can go wrong


@objectives.objective
def exploding(layer: objectives.Acts, at: int, value: float, T: objectives.base.Activations):
    """A score that becomes something else at a step."""
    return layer.flatten(1).mean(1) + (value if T.step == at else 0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_no_number_is_an_error_within_32_steps(value):
    objective = channel("conv1", 0) + exploding("conv1", 3, value)
    with Run(tiny.Chain(), objective, tiny.Pixels(start(torch.float32))) as run:
        with pytest.raises(DivergenceError) as caught:
            for _ in run:
                assert run.step < 32
        assert run.step == 32
    assert f"became {-value} at step 3, in the term 'Exploding [conv1, 3" in str(caught.value)
    assert "smaller learning rate" in str(caught.value)


def test_it_is_found_at_a_snapshot_and_at_the_end_as_well():
    objective = exploding("conv1", 1, float("nan"))
    image = tiny.Pixels(start(torch.float32))
    with Run(tiny.Chain(), objective, image, settings=RunSettings(steps=4)) as run:
        next(run)
        run.check()
        next(run)
        with pytest.raises(DivergenceError, match="at step 1"):
            run.snapshot()
    with Run(tiny.Chain(), objective, image, settings=RunSettings(steps=4)) as run:
        with pytest.raises(DivergenceError, match="at step 1"):
            list(run)
        assert run.step == 4


def test_an_infinite_weight_is_named():
    objective = channel("conv1", 0) * float("inf")
    with (
        Run(tiny.Chain(), objective, tiny.Pixels(start(torch.float32))) as run,
        pytest.raises(DivergenceError, match="at step 0, by the weights of its terms"),
    ):
        next(run)
        run.check()


def first_step(model, objective, **settings):
    image = tiny.Pixels(tiny.colour(0.5, 0.5, 0.5))
    return finished(Run(model, objective, image, settings=RunSettings(**settings)), 1)


def test_a_zero_gradient_names_the_redirected_relu_when_it_is_off():
    with pytest.warns(LucentWarning) as caught:
        first_step(tiny.Dead(), channel("relu", 0), relu_override=False)
    (text,) = [str(warning.message) for warning in caught]
    assert text.startswith("The gradient is zero at the start, so the image cannot change")
    assert "relu_override=True" in text


def test_a_zero_gradient_is_something_else_when_it_is_on():
    with pytest.warns(LucentWarning, match="although the redirected ReLU is on"):
        first_step(tiny.Dead(nn.Threshold(0, 0)), channel("relu", 0), relu_override=True)


def test_the_warning_comes_once():
    image = tiny.Pixels(tiny.colour(0.5, 0.5, 0.5))
    run = Run(
        tiny.Dead(),
        channel("relu", 0),
        image,
        settings=RunSettings(steps=5, relu_override=False),
    )
    with pytest.warns(LucentWarning) as caught:
        finished(run)
    assert len(caught) == 1


def test_there_is_no_warning_where_the_override_helps():
    # Any warning of lucent that is not expected is an error here.
    assert first_step(tiny.Dead(), channel("relu", 0), relu_override=True).step == 1


def test_a_detached_loss_says_what_to_do():
    with pytest.raises(InputError, match=r"does not depend on the image.*without detach\(\)"):
        first_step(tiny.Chain(), Objective(lambda T: T("conv1").detach().sum()))


@pytest.mark.parametrize(("value", "text"), [(torch.zeros(3, 4), r"\(3, 4\)"), (None, "NoneType")])
def test_a_parametrization_that_gives_no_image_is_an_error(value, text):
    class Wrong(tiny.Pixels):
        def forward(self):
            return value

    with (
        pytest.raises(InputError, match=text),
        Run(tiny.Chain(), channel("conv1", 0), Wrong(torch.zeros(1))) as run,
    ):
        next(run)


def test_an_unknown_layer_is_an_error_before_the_first_step():
    with pytest.raises(LayerError, match="'convl'"):
        Run(tiny.Chain(), channel("convl", 0), param.image(4))


def test_a_head_that_refuses_the_size_does_no_harm():
    model = tiny.PickyHead()
    run = finished(Run(model, channel("conv2", 0), tiny.Pixels(start(torch.float32))), 3)
    assert run.history.loss[2] < run.history.loss[0]


def test_a_run_under_no_grad_still_learns():
    with torch.no_grad():
        run = finished(Run(tiny.Chain(), channel("conv2", 0), tiny.Pixels(start())), 3)
    assert run.history.loss[2] < run.history.loss[0]


# Callbacks


def test_callbacks_are_called_before_the_first_and_after_every_step_in_order():
    called = []
    first, second = (lambda run, name=name: called.append((name, run.step)) for name in "ab")
    settings = RunSettings(steps=2)
    with Run(tiny.Chain(), channel("conv1", 0), param.image(4), settings=settings) as run:
        run.iterate([first, second])
    assert called == [(name, step) for step in range(3) for name in "ab"]


class Closing:
    closed = 0

    def __call__(self, run):
        if run.step == 2:
            raise KeyboardInterrupt

    def close(self):
        self.closed += 1


def test_callbacks_are_closed_once_however_the_run_ends():
    raising, other = Closing(), Closing()
    with (
        pytest.raises(KeyboardInterrupt),
        Run(tiny.Chain(), channel("conv1", 0), param.image(4)) as run,
    ):
        run.iterate([raising, other])
    assert (raising.closed, other.closed) == (1, 1)
    short = Closing()
    settings = RunSettings(steps=1)
    with Run(tiny.Chain(), channel("conv1", 0), param.image(4), settings=settings) as run:
        run.iterate([short])
    assert short.closed == 1


def with_gaps():
    return torch.zeros(1, 3, 8, 16)[..., ::2]


def transposed():
    return torch.zeros(1, 3, 8, 8).transpose(2, 3)


def pulled(pixels, optimizer, image_f):
    """Tensors after one step of a run that raises the sum of an image made of them."""
    image = as_image(([pixels.requires_grad_()], lambda: image_f(pixels)))
    settings = RunSettings(steps=1, seed=0, preprocess=False)
    wanted = as_objective(lambda T: -T("input").sum())
    with Run(nn.Identity(), wanted, image, optimizer=optimizer, settings=settings) as run:
        next(run)
    return pixels.detach()


@pytest.mark.parametrize("kind", [with_gaps, transposed])
def test_the_default_optimizer_does_not_take_memory_for_one_piece(kind):
    rise = torch.linspace(-1, 1, 64).view(8, 8)
    moved = [
        pulled(kind(), optimizer, lambda pixels: pixels * rise)
        for optimizer in (adam, lambda params: torch.optim.Adam(params, lr=0.05))
    ]
    assert torch.equal(*moved)


@pytest.mark.parametrize(
    ("own", "other"),
    [
        (torch.contiguous_format, torch.channels_last),
        (torch.channels_last, torch.contiguous_format),
    ],
)
def test_a_gradient_in_another_layout_moves_the_pixels_it_is_about(own, other):
    rise = torch.linspace(-1, 1, 48).view(1, 3, 4, 4)

    class Turned(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, grad):
            return (grad * rise).contiguous(memory_format=other)

    fused = partial(torch.optim.Adam, lr=0.05, fused=True)
    moved = pulled(torch.zeros(1, 3, 4, 4).contiguous(memory_format=own), fused, Turned.apply)
    torch.testing.assert_close(moved, 0.05 * rise.sign())
