"""Feature grids: units in rows, ways to look for them in columns."""

from __future__ import annotations

import numpy as np
import pytest
from colours import Colours, interrupt_after

from lucent.errors import InputError
from lucent.optvis.objectives import channel, neuron
from lucent.recipes.feature_grid import KINDS, feature_grid

SMALL = {"size": 9, "steps": 32, "transforms": []}


def test_rows_are_units_and_columns_are_kinds():
    grid = feature_grid(Colours(), ["units:0", "units:2"], kinds=["negative", "channel"], **SMALL)
    assert grid.images.shape == (2, 2, 9, 9, 3)
    assert grid.done.all()
    for row, colour in enumerate((0, 2)):
        lowered, raised = grid.images[row].mean((1, 2))[:, colour]
        assert lowered < 0.45
        assert raised > 0.55


def test_a_neuron_is_the_position_in_the_middle():
    made, expected = KINDS["neuron"]("units:1"), neuron("units", 1)
    assert repr(made) == repr(expected)
    grid = feature_grid(Colours(), ["units:1"], kinds="neuron", **SMALL)
    green = grid.images[0, 0, ..., 1]
    assert np.unravel_index(green.argmax(), green.shape) == (4, 4)


def test_interruption_returns_what_is_finished():
    options = {"batch_size": 1, "callbacks": [interrupt_after(3)], **SMALL}
    grid = feature_grid(Colours(), ["units:0", "units:1"], **options)
    assert grid.done.tolist() == [[True, True], [True, False]]
    assert (grid.images[1, 1] == 0.5).all()


def test_kinds_of_ones_own():
    kinds = {"opposite": lambda unit: -channel("units", int(unit[-1]))}
    grid = feature_grid(Colours(), ["units:0"], kinds=kinds, **SMALL)
    assert grid.kinds == ("opposite",)
    assert grid.images[0, 0, ..., 0].mean() < 0.45


def test_the_labels_name_unit_and_kind():
    grid = feature_grid(Colours(), ["units:0", "units:1"], size=8, steps=1)
    panels = grid.panels()
    assert panels.labels[:3] == ["units:0 channel", "units:0 neuron", "units:1 channel"]
    assert panels.columns == 2


@pytest.mark.parametrize(
    ("units", "kinds", "text"),
    [
        ([], "channel", r"units=\[\] has to be a list of at least one"),
        ("units:0", "channel", "has to be a list"),
        (["units:0"], [], "has to name at least one of channel, neuron, negative"),
        (["units:0"], ["chanel"], "no kind 'chanel'. Did you mean 'channel'"),
        (["units:0:1:1"], ["neuron"], "'units:0:1:1' has no neuron in the middle"),
        (["labels:dog"], ["neuron"], "'labels:dog' has no neuron in the middle"),
    ],
)
def test_bad_input(units, kinds, text):
    with pytest.raises(InputError, match=text):
        feature_grid(Colours(), units, kinds=kinds)
