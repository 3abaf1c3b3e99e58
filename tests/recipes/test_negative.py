from __future__ import annotations

import numpy as np
import pytest
from tiny import PLAIN, condition, conv
from torch import nn

from lucent.errors import InputError
from lucent.modelzoo import synthnet
from lucent.recipes.negative import NegativeNeurons, negative_neurons


def colours():
    """Unit 0 gives red minus green, unit 1 blue minus a half."""
    model = nn.Sequential(conv([[1, -1, 0], [0, 0, 1]]))
    model[0].bias.data.copy_(model[0].bias.new_tensor([0, -0.5]))
    model.spec = PLAIN
    return model


def test_the_pictures_are_what_the_units_want_least_and_most():
    made = negative_neurons(
        colours(), ["0:0", "0:1"], size=16, fixed_image_size="native", steps=80, transforms=[]
    )
    (least, most), (dark, blue) = made.images
    assert least[..., 1].mean() > least[..., 0].mean() + 0.2
    assert most[..., 0].mean() > most[..., 1].mean() + 0.2
    assert blue[..., 2].mean() > 0.6 > 0.4 > dark[..., 2].mean()
    np.testing.assert_allclose(made.neutral, [0, 0], atol=1e-6)
    means = made.images.mean((2, 3))
    expected = [means[0, :, 0] - means[0, :, 1], means[1, :, 2] - 0.5]
    np.testing.assert_allclose(made.values, expected, atol=1e-5)


def test_the_negative_picture_is_below_what_grey_gives():
    made = negative_neurons(
        synthnet(), ["labels:rings", "mixed4a.conv_3x3.conv:16"], size=48, steps=24
    )
    assert (made.values[:, 0] < made.neutral).all()
    assert (made.values[:, 1] > made.neutral).all()
    assert (made.values[:, 0] < 0).all()


def test_a_row_shows_a_unit():
    made = negative_neurons(synthnet(), "mixed4a:3", steps=1)
    assert made.images.shape == (1, 2, 96, 96, 3)
    assert [label.split()[0] for label in made.panels().labels] == ["-mixed4a:3", "+mixed4a:3"]
    assert made.panels().columns == 2


@pytest.mark.parametrize(
    ("unit", "label"),
    [
        ("mixed4a:3", "-mixed4a:3  1.00"),
        ("mixed4a.conv_3x3.conv:16", "-conv:16  1.00"),
        ("labels:St. Bernard", "-St. Bernard  1.00"),
        ("Sum(a + b)", "-Sum(a + b)  1.00"),
    ],
)
def test_labels_are_short(unit, label):
    pictures = np.zeros((1, 2, 4, 4, 3), np.float32)
    made = NegativeNeurons((unit,), pictures, np.ones((1, 2)), np.zeros(1))
    assert made.panels().labels[0] == label


def test_the_model_is_left_as_it_was_after_an_error():
    model = synthnet().train()
    before = condition(model)
    with pytest.raises(InputError, match="28 channels|0 to 27"):
        negative_neurons(model, ["labels:99"], steps=1)
    assert condition(model) == before


def test_it_takes_a_unit():
    with pytest.raises(InputError, match=r"negative_neurons got 0 unit\(s\)"):
        negative_neurons(synthnet(), [])
    with pytest.raises(InputError, match="no label 'zebra'"):
        negative_neurons(synthnet(), ["labels:zebra"], steps=1)
