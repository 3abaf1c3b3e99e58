"""With a generator for each image, an image sees what a run of its own would show it."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from all_transforms import EVERY, RANDOM
from reference import doubles, seeded

from lucent.errors import InputError
from lucent.generators import Generators
from lucent.optvis.transform import (
    Fused,
    RandomTransform,
    collapse_alpha_random,
    compose,
    flip,
    homography,
    jitter,
    noise,
    pad,
    per_image,
    random_crop,
    random_rotate,
    random_scale,
    scheduled,
    standard_transforms,
)
from lucent.optvis.transform.warp import centred

SEEDS = (3, 0, 7)


class Elsewhere(RandomTransform):
    """A user's own: it asks torch for numbers, and knows nothing of several generators."""

    def sample(self, image, generator, rows=1):
        return torch.rand(rows, 1, generator=generator, dtype=torch.float64)

    def apply(self, image, draw):
        return image * draw[:, :, None, None]


def doubled(image):
    return 2 * image


def generators(*seeds):
    return Generators(seeds, "cpu")


NESTED = [
    scheduled(lambda step: jitter(4)),
    per_image(scheduled(lambda step: [jitter(4), flip()])),
    compose([pad(2), compose([jitter(4), noise()])]),
    per_image([doubled, jitter(4)]),
    Elsewhere(),
    per_image(Elsewhere()),
]


def assert_rows_are_runs(made, images, *, steps=2):
    """Compare the rows of a batch to each image alone, with a list of one seed and with a seed."""
    together = generators(*SEEDS)
    alone = [(generators(seed), seeded(seed)) for seed in SEEDS]
    for _ in range(steps):
        seen = made(images, together)
        for row, own in enumerate(alone):
            for generator in own:
                # A row of a batch whose images differ in size is padded to the largest.
                expected = centred(made(images[row : row + 1], generator), seen.shape[2:], 0.0)
                np.testing.assert_allclose(seen[row : row + 1], expected, rtol=0, atol=1e-12)


def named(made):
    """A name that is the same in every process."""
    return re.sub(" at 0x[0-9a-f]+", "", repr(made))


@pytest.mark.parametrize("made", [*EVERY, *map(per_image, EVERY), *NESTED], ids=named)
def test_a_row_is_the_run_of_its_image_alone(made):
    assert_rows_are_runs(compose([made]), doubles(3, 3, 12, 14))


def test_a_row_of_transparency_is_the_run_of_its_image_alone():
    assert_rows_are_runs(collapse_alpha_random(), doubles(3, 4, 12, 14))


@pytest.mark.parametrize(
    "made",
    [
        standard_transforms,
        per_image(standard_transforms).transforms,
        [pad(3, "constant", "uniform"), random_scale([0.3, 0.6, 1.2]), random_rotate(range(90))],
        [homography(), flip("xy"), random_crop(9)],
        [jitter(2), doubled, noise(), jitter(3)],
        [pad(2, "constant"), Elsewhere(), per_image(jitter(3)), scheduled(lambda step: flip())],
        [random_scale([0.5, 1, 2]), doubled],
    ],
    ids=named,
)
def test_a_row_of_the_fused_warp_is_the_run_of_its_image_alone(made):
    assert_rows_are_runs(Fused(made, lambda own: (16, 18)), doubles(3, 3, 16, 18))


@pytest.mark.parametrize("made", [*RANDOM, Elsewhere()], ids=named)
def test_rows_draw_without_being_told_to(made):
    images = doubles(1, 3, 12, 14).expand(3, 3, 12, 14)
    rows = [made(images, generators(*SEEDS)) for SEEDS in ((0, 1, 2), (3, 4, 5))]
    assert any(not torch.equal(seen[0], other) for seen in rows for other in seen[1:])
    same = made(images, generators(5, 5, 5))
    assert torch.equal(same[0], same[1])
    assert torch.equal(same[0], same[2])


def test_rows_depend_on_the_order_of_the_seeds_alone():
    made = Fused(standard_transforms, lambda own: own)
    images = doubles(3, 3, 16, 16)
    forwards, backwards = (
        made(batch, generators(*seeds))
        for batch, seeds in ((images, SEEDS), (images.flip(0), SEEDS[::-1]))
    )
    assert torch.equal(forwards, backwards.flip(0))


def test_functions_from_elsewhere_get_the_whole_batch():
    seen = []
    made = Fused([jitter(2), lambda image: seen.append(len(image)) or image], lambda own: own)
    made(doubles(3, 1, 8, 8), generators(*SEEDS))
    assert seen == [3]


@pytest.mark.parametrize(
    "made",
    [jitter(2), per_image(doubled), Fused([jitter(2)], lambda own: own), compose([jitter(2)])],
    ids=named,
)
def test_rows_without_a_generator_are_refused(made):
    with pytest.raises(InputError, match=r"are 3 generators for a batch of 2: each .* its own"):
        made(doubles(2, 1, 8, 8), generators(*SEEDS))


def test_a_shared_generator_does_not_draw_what_a_row_draws_alone():
    # The numbers of a batch are no list of the numbers of each: that is what `Generators` are for.
    made, images = per_image(jitter(8)), doubles(3, 1, 20, 20)
    assert not torch.equal(made(images, seeded(3))[1:2], made(images[1:2], seeded(3)))
