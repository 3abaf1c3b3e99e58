from __future__ import annotations

import numpy as np
import pytest
from tiny import PLAIN, conv
from torch import nn

from lucent.errors import InputError
from lucent.modelzoo import synthnet
from lucent.recipes.channels import any_number_of_channels
from lucent.recipes.negative import negative_neurons


def test_channels_are_brought_to_colours_by_the_mean_of_squares():
    made = any_number_of_channels(synthnet(), "mixed4a:63", channels=10, size=32, steps=3)
    squares = made.image**2
    # Ten channels in three groups: four, three and three of them.
    groups = squares[..., :4], squares[..., 4:7], squares[..., 7:]
    expected = np.stack([group.mean(-1) for group in groups], axis=-1)
    np.testing.assert_allclose(made.seen, expected, atol=1e-5)
    assert made.image.shape == (32, 32, 10)


def test_one_channel_is_a_grey_picture():
    made = any_number_of_channels(synthnet(), "mixed4a:63", channels=1, size=32, steps=3)
    np.testing.assert_array_equal(made.seen, np.repeat(made.image, 3, axis=-1))
    assert made.panels().labels == ["mixed4a:63"]


def test_the_channels_that_matter_are_found():
    model = nn.Sequential(conv([[1, -1, 0]]))
    model.spec = PLAIN
    made = any_number_of_channels(
        model, "0:0", channels=6, size=12, fixed_image_size="native", steps=60, transforms=[]
    )
    means = made.image.mean((0, 1))
    assert means[:2].min() > means[4:].max() > means[2:4].max()
    assert [*made.panels().labels[:2]] == ["0:0", "channel 0"]


def test_as_many_channels_as_the_network_takes_are_colours():
    made = any_number_of_channels(synthnet(), "mixed4a:63", channels=3, steps=2)
    np.testing.assert_array_equal(made.seen, made.image)
    first = negative_neurons(synthnet(), "mixed4a:63", steps=1)
    assert made.seen.shape == first.images.shape[2:]


@pytest.mark.parametrize("channels", [0, 2])
def test_fewer_channels_are_refused(channels):
    with pytest.raises(InputError, match=f"channels={channels}: synthnet takes 3; give 1"):
        any_number_of_channels(synthnet(), "mixed4a:63", channels=channels)
