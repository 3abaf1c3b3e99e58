"""`render_many` with an image to start from for each objective."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import Chain

from lucent.errors import InputError
from lucent.optvis import param
from lucent.optvis.batch import render_many
from lucent.optvis.render import render_vis

PLAIN = {"transforms": [], "seed": 0}


def plain(value, size=8):
    return lambda: param.image(size, init=np.full((size, size, 3), value, np.float32))


def rendered(param_f, steps, **options):
    objectives = ["conv2:0", "conv1:0", "conv2:0"]
    results = render_many(Chain(), objectives, param_f, thresholds=(steps,), **PLAIN, **options)
    return [result.images[-1] for result in sorted(results, key=lambda result: result.index)]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_every_objective_starts_from_its_own_image(batch_size):
    values = [0.25, 0.5, 0.75]
    pictures = rendered([plain(value) for value in values], 0, batch_size=batch_size)
    assert [picture.mean() for picture in pictures] == pytest.approx(values, abs=1e-5)


def test_a_row_is_what_its_image_becomes_alone():
    images = [plain(0.25), plain(0.5), plain(0.75)]
    for picture, image, unit in zip(
        rendered(images, 5), images, ("conv2:0", "conv1:0", "conv2:0"), strict=True
    ):
        (alone,) = render_vis(
            Chain(), unit, image, thresholds=(5,), show_image=False, progress=False, **PLAIN
        )
        np.testing.assert_allclose(picture, alone[0], atol=1e-5)


@pytest.mark.parametrize("count", [0, 2])
def test_there_is_one_image_for_each_objective(count):
    with pytest.raises(InputError, match=f"param_f has {count} functions for 3 objectives"):
        rendered([plain(0.5)] * count, 1)
