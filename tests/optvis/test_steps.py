"""What a run hands to the parts in every step: draws, samples, the step itself, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.optvis import param, render, transform
from lucent.optvis.loop import Run, RunSettings
from lucent.optvis.objectives import (
    Acts,
    Input,
    Objective,
    channel,
    handle_batch,
    objective,
    product,
)
from lucent.optvis.param import Image
from lucent.optvis.transform.base import RandomTransform, Scheduled

RED = tiny.colour(0.25, 0.5, 0.75, batch=2)


def standing(params):
    return torch.optim.SGD(params, lr=0)


class Brighter(RandomTransform):
    """Adds a random number, the same to all images."""

    def sample(self, image, generator, rows=1):
        return torch.rand(rows, 1, generator=generator, device=image.device)

    def apply(self, image, draw):
        return image + draw.view(-1, 1, 1, 1)


class Cells(Image):
    """Shows two of five grey images, drawn anew in every step."""

    def __init__(self):
        super().__init__()
        self.cells = nn.Parameter(torch.arange(5.0).view(5, 1, 1, 1) / 10)

    def draw(self, generator=None):
        self.sample = torch.randperm(5, generator=generator)[:2]

    def forward(self):
        return self.cells[self.sample].expand(2, 3, 4, 4)


def run(objective, image=None, **settings):
    transforms = settings.pop("transforms", None)
    return Run(
        tiny.Chain(),
        objective,
        image or tiny.Pixels(RED),
        transforms=transforms,
        optimizer=standing,
        settings=RunSettings(seed=0, **settings),
    )


def test_each_draw_is_seen_and_the_score_is_their_mean():
    seen = []

    def watch(T):
        seen.append(T("conv1").detach()[:, 0].mean((1, 2)))
        return -T("conv1").mean()

    several = channel("conv1", 0) + channel("conv1", 0, batch=1) + watch
    with run(several, draws=3, transforms=Brighter()) as steps:
        next(steps)
    red = torch.stack(seen[-3:])  # a row for each draw
    assert red.shape == (3, 2)
    assert torch.equal(red[:, 0], red[:, 1])  # the draws are shared by the images
    assert len(set(red[:, 0].tolist())) == 3
    scores = [values[0] for values in steps.history.terms.values()]
    assert scores[:2] == pytest.approx([red.mean().item(), red[:, 1].mean().item()])


@handle_batch(1)
def red_of_the_second(T):
    return -T("conv1")[:, 0].mean()


def likeness(T):
    """torch-lucent's notebook on inversion compares rows like this."""
    return -(T("conv1")[0] * T("conv1")[1]).mean() + T("input")[1].sum() * 0


@pytest.mark.parametrize(
    "made", [Objective(red_of_the_second), Objective(likeness), 2 * Objective(likeness) - 1]
)
def test_row_of_a_plain_function_is_an_image_whatever_the_draws(made):
    image = tiny.Pixels(RED * torch.tensor([1.0, 0.5]).view(2, 1, 1, 1))
    losses = []
    for draws in (1, 3):
        with run(made, image, draws=draws) as steps:
            next(steps)
        losses += steps.history.loss
    assert losses[1] == pytest.approx(losses[0], abs=1e-7)


def test_product_of_two_scores_is_that_of_each_draw():
    seen = []

    def watch(T):
        seen.append(T("conv1").detach()[:, 0].mean())
        return -T("conv1").mean()

    made = product(channel("conv1", 0), channel("conv1", 0)) + watch
    with run(made, draws=3, transforms=Brighter()) as steps:
        next(steps)
    reds = torch.stack(seen[-3:])
    assert steps.history.terms["Product [Channel [conv1, 0, None], Channel [conv1, 0, None]]"] == [
        pytest.approx(reds.square().mean().item())
    ]
    assert reds.square().mean() > reds.mean().square() + 1e-3


@pytest.mark.parametrize("draws", [2, np.int64(2)])
def test_draws_without_transforms_are_all_the_same(draws):
    with run(channel("conv1", 0, batch=1), draws=draws) as steps:
        next(steps)
    assert steps.history.loss == [-0.25]


def test_draws_of_different_sizes_cannot_share_a_batch():
    sizes = Scheduled(lambda step: transform.compose([transform.random_scale([1.0, 2.0])]))
    with (
        run(channel("conv1", 0), draws=16, transforms=sizes) as steps,
        pytest.raises(InputError, match=r"differ in size, .*end the transforms with crop_or_pad_"),
    ):
        next(steps)


@pytest.mark.parametrize("draws", [0, -1, 1.5, True])
def test_draws_is_a_count(draws):
    with pytest.raises(InputError, match=f"draws={draws} has to be a whole number of at least 1"):
        run(channel("conv1", 0), draws=draws)


def test_draws_of_render_vis_share_the_size_that_the_network_sees():
    images = render.render_vis(
        tiny.textured(),
        "3:2",
        lambda: param.image(24),
        thresholds=(0, 3),
        draws=2,
        seed=0,
        show_image=False,
        progress=False,
    )
    assert len(images) == 2
    assert abs(images[1] - images[0]).max() > 0.01


def test_a_transform_may_change_from_step_to_step():
    zoom = Scheduled(lambda step: lambda image: image * (step + 1))
    for transforms in (zoom, transform.compose([zoom]), transform.Fused([zoom], lambda own: own)):
        with run(channel("conv1", 0), steps=3, transforms=transforms) as steps:
            steps.iterate()
        assert steps.history.loss == [-0.25, -0.5, -0.75]
    assert torch.equal(zoom(RED), RED)


def test_a_stochastic_image_tells_the_objective_what_it_drew():
    drawn = []

    @objective
    def cell(image: Input, T: Activations) -> torch.Tensor:
        drawn.append(T.sample.tolist())
        assert image[:, 0, 0, 0].tolist() == pytest.approx([n / 10 for n in T.sample.tolist()])
        return image.mean()

    histories = []
    for _ in range(2):
        drawn.clear()
        with run(cell() + channel("conv1", 0), Cells(), steps=4) as steps:
            steps.iterate()
            shown = steps.snapshot()
        histories.append([list(rows) for rows in drawn])
    assert histories[0] == histories[1]
    assert len({tuple(rows) for rows in drawn}) > 1
    assert torch.equal(shown[:, 0, 0, 0], torch.tensor(drawn[-1]) / 10)


def test_a_snapshot_before_the_first_step_shows_what_that_step_sees():
    with run(channel("conv1", 0), Cells(), steps=1) as steps:
        start = steps.snapshot()
        steps.iterate()
        assert torch.equal(start, steps.snapshot())
    assert steps.history.loss == [-start[:, 0].mean().item()]


def test_a_resumed_run_shows_the_draw_of_the_last_step():
    def cells():
        return run(channel("conv1", 0), Cells(), steps=9)

    for n in (0, 3, 4, 5):  # a single draw could be right by luck
        with cells() as first:
            for _ in range(n):
                next(first)
            state, shown = first.state_dict(), first.snapshot()
            first.iterate()
        with cells() as again:
            next(again)
            again.load_state_dict(state)
            assert torch.equal(again.snapshot(), shown)
            again.iterate()
        assert again.history.loss == first.history.loss


def test_an_optimizer_that_looks_around_sees_one_draw_per_step():
    drawn = []

    def watch(T):
        drawn.append(tuple(T.sample.tolist()))
        return (T("input") - 0.3).square().sum() + T("conv1").sum() * 0

    made = Run(
        tiny.Chain(),
        Objective(watch),
        Cells(),
        optimizer=lambda params: torch.optim.LBFGS(params, lr=0.1, max_iter=3),
        settings=RunSettings(seed=0, steps=2),
    )
    with made:
        next(made)
        first = len(drawn)
        next(made)
    assert first > 1
    assert len(set(drawn[:first])) == 1
    assert len(set(drawn[first:])) == 1


def test_an_optimizer_that_looks_around_finds_the_state_of_the_step_before():
    found = []

    def count(T):
        found.append(T.state.get("n", 0))
        T.state["n"] = found[-1] + 1
        return (T("input") - 0.3).square().sum()

    made = Run(
        tiny.Chain(),
        Objective(count),
        tiny.Pixels(RED),
        optimizer=lambda params: torch.optim.LBFGS(params, lr=0.1, max_iter=3),
        settings=RunSettings(seed=0, steps=3),
    )
    with made:
        made.iterate()
    assert len(found) > 3
    assert found == sorted(found)
    assert set(found) == {0, 1, 2}


def test_tensors_of_the_objective_are_moved_once_per_run():
    @objective
    def along(layer: Acts, vec: torch.Tensor) -> torch.Tensor:
        places.append(vec)
        return (layer * vec.view(-1, 1, 1)).mean()

    places = []
    made = Run(
        tiny.Chain(),
        along("conv1", torch.ones(2)),
        tiny.Pixels(RED),
        optimizer=standing,
        settings=RunSettings(seed=0, steps=3),
    )
    with made:
        made.iterate()
    assert len(places) == 3
    assert len({id(vec) for vec in places}) == 1


def test_gradient_of_the_image_is_kept_when_asked_for():
    with run(channel("conv1", 0, batch=1)) as steps:
        next(steps)
        assert steps.gradient is None
        steps.keep_gradient = True
        next(steps)
    expected = torch.zeros_like(RED)
    expected[1, 0] = -1 / 4
    assert torch.equal(steps.gradient, expected)


def test_an_image_without_parameters_cannot_be_optimised():
    given = param.stack([torch.rand(3, 4, 4)])
    with pytest.raises(InputError, match="a StackImage, has no parameters: .* nothing to optim"):
        run(channel("conv1", 0), given).__enter__()
