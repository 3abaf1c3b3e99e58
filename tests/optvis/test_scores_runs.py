"""Scores at work: what comes out when an image is made for them."""

from __future__ import annotations

import io

import pytest
import torch
from reference import doubles, normal, seeded
from reference_scores import Pass
from tiny import Pixels, textured

from lucent.optvis.loop import Run, RunSettings
from lucent.optvis.objectives import (
    activation_difference,
    alignment,
    blur_input_each_step,
    channel,
    channel_interpolate,
    diversity,
    dot_compare,
    gram,
    mean_l2,
    product,
    style,
    total_variation,
    transparency,
)
from lucent.optvis.objectives.penalties import blur
from lucent.optvis.param import Image

NET = textured(torch.float64)
START = torch.rand(4, 3, 12, 14, dtype=torch.float64, generator=seeded(1)) / 10 + 0.45


def made(objective, start=START, steps=60, lr=0.02, **settings):
    """The pixels that Adam makes of a start, without preprocessing."""
    image = Pixels(start)
    run = opened(objective, image, lr, steps=steps, **settings)
    with run:
        run.iterate()
    return image.pixels.detach()


def opened(objective, image, lr=0.02, transforms=None, **settings):
    return Run(
        NET,
        objective,
        image,
        transforms=transforms,
        optimizer=lambda params: torch.optim.Adam(params, lr=lr),
        settings=RunSettings(seed=0, preprocess=False, **settings),
    )


def acts(image, layer=3):
    return NET[: layer + 1](image).detach()


class Stack(Image):
    """A start that is optimised, followed by a given image."""

    def __init__(self, start, given):
        super().__init__()
        self.pixels = torch.nn.Parameter(start.clone())
        self.register_buffer("given", given)

    def forward(self):
        return torch.cat([self.pixels, self.given])


def test_diversity_subtracted_makes_the_images_differ():
    alike = START[:1] + 0.001 * START
    without = made(channel("3", 2), alike, steps=30)
    apart = made(channel("3", 2) - 10 * diversity("3"), alike, steps=30)

    def likeness(image):
        return -diversity("3")(Pass(**{"3": acts(image)})).item() / 3

    assert likeness(apart) < likeness(without) - 0.1
    assert acts(apart)[:, 2].mean() > acts(alike)[:, 2].mean()


def test_alignment_added_keeps_neighbours_alike():
    objective = channel_interpolate("3", 0, "3", 2)

    def distance(image):
        values = acts(image)
        return (values[1:] - values[:-1]).square().mean().item()

    free, aligned = made(objective), made(objective + 10 * alignment("3"))
    assert distance(aligned) < 0.5 * distance(free)
    # From the first image to the last, the first channel loses to the second.
    means = acts(free).mean((2, 3))
    assert means[0, 0] > means[-1, 0]
    assert means[-1, 2] > means[0, 2]


def test_dot_compare_exaggerates_the_reference_and_larger_powers_keep_to_it():
    reference, start = doubles(1, 3, 12, 14), START[:1]
    goal, cosines = acts(reference).flatten(), []
    for power in (0, 1, 2):
        image = Stack(start, reference)
        with opened(dot_compare("3", 0, power, reference=1), image, steps=50) as run:
            run.iterate()
        reached = acts(image.pixels).flatten()
        assert reached @ goal > 2 * (goal @ goal)
        cosines.append(torch.cosine_similarity(reached, goal, dim=0))
    assert cosines[0] < cosines[1] - 0.05 < cosines[2] - 0.05


def test_activation_difference_subtracted_inverts_a_layer():
    reference = doubles(1, 3, 12, 14)
    image = Stack(START[:1], reference)
    with opened(-activation_difference(["1", "3"], mean_l2), image, steps=200) as run:
        run.iterate()
    before = (acts(START[:1]) - acts(reference)).norm()
    assert (acts(image.pixels) - acts(reference)).norm() < 0.1 * before
    assert (image.pixels - reference).abs().mean() < (START[:1] - reference).abs().mean()


def test_style_added_copies_correlations_and_not_places():
    reference = doubles(1, 3, 12, 14)
    target = {layer: gram(acts(reference, int(layer))) for layer in ("1", "3")}
    image = made(style(target), START[:1], steps=200)

    def off(image, layer):
        return (gram(acts(image, layer)) - target[str(layer)]).norm()

    for layer in (1, 3):
        assert off(image, layer) < 0.2 * off(START[:1], layer)
    assert (acts(image) - acts(reference)).norm() > 0.5 * acts(reference).norm()


def test_product_with_transparency_finds_an_image_that_is_both():
    start = torch.cat([START[:1], torch.full((1, 1, 12, 14), 0.5, dtype=torch.float64)], dim=1)
    image = Pixels(start)
    objective = product(channel("3", 2), transparency())

    def on_black(image):
        return image[:, :3] * image[:, 3:]

    with opened(objective, image, transforms=on_black, steps=60) as run:
        run.iterate()
    assert (1 - image.pixels[:, 3]).mean() > 0.5
    assert acts(on_black(image.pixels))[:, 2].mean() > acts(on_black(start))[:, 2].mean()


def test_a_step_of_size_k_against_the_blur_blends_with_k_of_it():
    image = Pixels(START)
    run = Run(
        NET,
        -blur_input_each_step(),
        image,
        optimizer=lambda params: torch.optim.SGD(params, lr=0.3),
        settings=RunSettings(steps=1, seed=0, preprocess=False),
    )
    with run:
        run.iterate()
    expected = 0.7 * START + 0.3 * blur(START)
    assert torch.allclose(image.pixels, expected, rtol=0, atol=1e-15)


def test_total_variation_subtracted_smooths():
    noise = doubles(1, 3, 12, 14)
    smooth = made(-total_variation(), noise)
    assert smooth.diff(dim=2).abs().sum() < 0.5 * noise.diff(dim=2).abs().sum()


# The running average of a style


class View(Image):
    """A random part of a larger texture in every step."""

    def __init__(self, texture):
        super().__init__()
        self.texture = torch.nn.Parameter(texture.clone())
        self.place = 0

    def draw(self, generator):
        self.place = int(torch.randint(self.texture.shape[3] - 8, (), generator=generator))

    def forward(self):
        return self.texture[..., self.place : self.place + 8]


def test_average_is_that_of_all_views_with_falling_weight():
    target = normal(4, 4)
    made = style({"conv": target}, ema_decay=0.8)
    T = Pass()
    views = normal(5, 2, 4, 3, 3, seed=1)
    average = gram(views[0]).mean(0)
    for view in views:
        T.acts = {"conv": view}
        average = 0.8 * average + 0.2 * gram(view).mean(0)
        assert made(T).item() == pytest.approx((average - target).abs().mean().item(), abs=1e-13)


def test_average_in_half_precision_takes_in_small_shares():
    made, T = style({"conv": [[0.0]]}, ema_decay=0.999), Pass()
    for n in range(101):
        T.acts = {"conv": torch.ones(1, 1, 2, 2, dtype=torch.bfloat16) * min(n, 1)}
        loss = made(T)
    assert loss.dtype == torch.bfloat16
    assert loss.item() == pytest.approx(1 - 0.999**100, rel=2**-8)


def halved(acts):
    return gram(acts) / 2


def test_averages_of_several_styles_do_not_mix():
    first, second = {"conv": normal(4, 4)}, {"conv": normal(4, 4, seed=1)}
    parts = [
        style(first, ema_decay=0.8),
        style(second, ema_decay=0.8),
        style(first, ema_decay=0.5),
        style(first, ema_decay=0.8, batch=0),
        style(first, ema_decay=0.8, batch=1),
        style(first, ema_decay=0.8, loss_func=mean_l2),
        style(first, ema_decay=0.8, style_func=halved),
    ]
    views = normal(4, 2, 4, 3, 3, seed=2)
    together, apart = Pass(), [Pass() for _ in parts]
    for view in views:
        together.acts = {"conv": view}
        values = sum(parts).values(together)
        for part, T, value in zip(parts, apart, values, strict=True):
            T.acts = {"conv": view}
            assert torch.equal(-part(T), value)
    assert len(together.state) == len(parts)


def test_style_without_decay_keeps_nothing():
    T = Pass(conv=normal(2, 4, 3, 3))
    style({"conv": normal(4, 4)})(T)
    assert T.state == {}


@pytest.mark.parametrize("draws", [1, 2])
def test_run_with_an_average_is_resumed_bit_for_bit(draws):
    target = gram(acts(doubles(1, 3, 12, 14)))
    texture = torch.rand(1, 3, 12, 40, dtype=torch.float64, generator=seeded(2))

    def opened_anew():
        # A resumed run makes its objective again.
        objective = style({"3": target.clone()}, ema_decay=0.9)
        return opened(objective, View(texture), transforms=torch.clone, steps=6, draws=draws)

    with opened_anew() as run:
        for _ in range(3):
            next(run)
        file = io.BytesIO()
        torch.save(run.state_dict(), file)
        run.iterate()
    file.seek(0)
    with opened_anew() as again:
        again.load_state_dict(torch.load(file, weights_only=True))
        again.iterate()
    assert torch.equal(again.image.texture, run.image.texture)
    assert again.history.loss == run.history.loss


def test_average_steadies_the_loss_of_an_objective_that_sees_parts():
    texture = torch.rand(1, 3, 12, 80, dtype=torch.float64, generator=seeded(3))
    texture[..., 40:] *= 0.2  # views of the two halves differ
    target = gram(acts(doubles(1, 3, 12, 14)))

    def spread(objective):
        with opened(objective, View(texture), lr=0.0, steps=80) as run:
            run.iterate()
        return torch.tensor(run.history.loss[20:]).std()

    assert spread(style({"3": target}, ema_decay=0.9)) < 0.5 * spread(style({"3": target}))
