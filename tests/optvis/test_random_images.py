"""Random images: natural statistics, and another picture each time they are drawn."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tiny
import torch

from lucent.errors import InputError
from lucent.modelzoo.spec import ModelSpec
from lucent.optvis.loop import Run, RunSettings
from lucent.optvis.objectives import channel
from lucent.optvis.param.base import Image
from lucent.optvis.param.random import RandomFourierImage, image_sample, rand_fft_image


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# Statistics


@pytest.mark.parametrize("decay_power", [1.0, 1.5])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (12, 17), (9, 20)])
def test_coefficients_have_the_deviations_of_the_law(height, width, decay_power):
    n = 2000
    noise = rand_fft_image((n, 1, height, width), 0.3, decay_power).double()().numpy()
    spectrum = 4 * np.fft.rfft2(noise)[:, 0]
    scaled = spectrum / reference.fft_scale(height, width, decay_power)
    inner = scaled[:, :, 1 : (width + 1) // 2]  # columns that are not their own mirror images
    for parts in (inner.real, inner.imag):
        # The relative error of a standard deviation of n normal draws is 1 / sqrt(2 n).
        np.testing.assert_allclose(parts.std(axis=0), 0.3, rtol=5 / np.sqrt(2 * n))
        assert np.abs(parts.mean(axis=0)).max() < 5 * 0.3 / np.sqrt(n)


@pytest.mark.parametrize(
    ("size", "sd", "decay_power", "figures"),
    [(128, 0.5, 1.0, {"mean": 0.505, "std": 0.13}), (320, 0.2, 1.5, {"std": 0.33})],
)
def test_picture_that_lucid_measured_is_one_of_ours(size, sd, decay_power, figures):
    pictures = image_sample((24, 3, size, size), sd=sd, decay_power=decay_power)().flatten(1)
    for name, figure in figures.items():
        ours = getattr(pictures, name)(dim=1)
        assert abs(ours.mean().item() - figure) < 2 * ours.std().item()


def test_contrast_is_the_one_that_is_documented():
    pictures = image_sample((24, 3, 128, 128), sd=0.5)().flatten(1)
    assert pictures.std(dim=1).mean().item() == pytest.approx(0.13, abs=0.005)


def test_deviation_is_a_hundredth_by_default():
    torch.manual_seed(0)
    plain = rand_fft_image((1, 3, 8, 8))()
    torch.manual_seed(0)
    assert torch.equal(rand_fft_image((1, 3, 8, 8), 0.01)(), plain)
    assert not rand_fft_image((1, 3, 8, 8), 0)().any()


def test_colours_are_those_of_natural_images():
    shape = (1, 3, 16, 16)
    torch.manual_seed(0)
    raw = rand_fft_image(shape, 0.5).double()().numpy()
    for decorrelate, matrix in ((True, reference.COLOR_MATRIX), (False, None)):
        torch.manual_seed(0)
        made = image_sample(shape, decorrelate, 0.5).double()()
        np.testing.assert_allclose(made, reference.valid_rgb(raw, matrix), rtol=0, atol=1e-12)


# Another one each time


def test_every_call_gives_another_image_and_so_does_every_row():
    sample = image_sample((4, 3, 8, 8), sd=0.5)
    first, second = sample(), sample()
    rows = [*first, *second]
    assert len({tuple(row.flatten().tolist()) for row in rows}) == 8


@pytest.mark.parametrize("make", [rand_fft_image, image_sample])
def test_draw_holds_until_the_next_one(make):
    sample = make((2, 3, 8, 8), sd=0.5)
    sample.draw(seeded())
    first = sample()
    assert torch.equal(sample(), first)
    sample.draw(seeded(1))
    assert not torch.equal(sample(), first)
    sample.draw(seeded())
    assert torch.equal(sample(), first)


def test_draw_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    image_sample((1, 3, 8, 8)).draw(seeded())
    assert torch.equal(torch.get_rng_state(), before)


class Faint(Image):
    """A grey image over a random background."""

    def __init__(self):
        super().__init__()
        self.background = image_sample((1, 3, 4, 4), sd=0.5)
        self.grey = torch.nn.Parameter(torch.zeros(1))

    def forward(self):
        return self.background() + self.grey


def backgrounds(seed, steps=4):
    """What the network saw of a random background in each step."""
    model, seen = tiny.Chain(), []
    model.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().clone()))
    settings = RunSettings(steps=steps, seed=seed, spec=ModelSpec(name="plain"))
    image = Faint()
    run = Run(
        model,
        channel("conv1", 0),
        image,
        transforms=None,
        optimizer=lambda params: torch.optim.SGD(params, lr=0.0),
        settings=settings,
    )
    with run:
        run.iterate([])
    return torch.stack(seen[-steps:])


def test_run_draws_in_every_step_with_its_own_generator():
    seen = backgrounds(seed=3)
    assert len({tuple(one.flatten().tolist()) for one in seen}) == 4
    assert torch.equal(backgrounds(seed=3), seen)
    assert not torch.equal(backgrounds(seed=4), seen)


def test_image_has_nothing_to_optimise_and_nothing_to_save():
    sample = image_sample((1, 3, 8, 8))
    sample.draw(seeded())
    assert sample.trainable() == []
    assert sample.state_dict() == {}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_image_moves_with_its_model(dtype):
    sample = image_sample((1, 3, 8, 8), sd=0.5).to(dtype)
    assert sample().dtype == dtype
    sample.draw(seeded())
    assert sample().dtype == dtype
    assert sample.to("meta")().device.type == "meta"


# Bad input


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"shape": (1, 3, 0, 8)}, r"\(1, 3, 0, 8\) has to consist of whole numbers of at least 1"),
        ({"shape": (3, 8, 8)}, r"needs a shape \(B, C, H, W\), not \(3, 8, 8\)"),
        ({"shape": (1, 3, 8, 8), "sd": -0.5}, "sd=-0.5 is negative"),
    ],
)
def test_arguments_that_cannot_be(arguments, text):
    with pytest.raises(InputError, match=text):
        RandomFourierImage(**arguments)
