from __future__ import annotations

import numpy as np
import pytest

from lucent.errors import InputError
from lucent.modelzoo import synthnet
from lucent.modelzoo.synthnet.truth import high_frequency_share
from lucent.recipes.regularization import SETTINGS, Setting, regularization

SMALL = {"size": 48, "fixed_image_size": "native"}


@pytest.fixture(scope="module")
def table():
    return regularization(synthnet(), "mixed4a:63", thresholds=(4, 48), **SMALL)


def test_regularisation_lowers_the_share_of_high_frequencies(table):
    shares = dict(zip(table.settings, table.high_frequencies[:, -1], strict=True))
    for name in ("penalties", "transforms", "transforms, Fourier"):
        assert shares[name] < 0.8 * shares["none"], name
    assert shares["transforms, Fourier"] == min(shares.values())


def test_the_table_has_a_row_for_each_setting(table):
    assert table.images.shape == (5, 2, 48, 48, 3)
    assert table.settings == tuple(SETTINGS)
    panels = table.panels()
    assert panels.labels[:4] == ["none", "48 steps", "penalties", "48 steps"]
    assert (panels.columns, panels.title) == (2, "mixed4a:63")
    np.testing.assert_allclose(table.high_frequencies[1], high_frequency_share(table.images[1]))


def test_each_picture_shows_something(table):
    assert (table.images[:, -1].std(axis=(1, 2, 3)) > 0.03).all()


def test_settings_of_ones_own_and_thresholds_in_any_order():
    made = regularization(
        synthnet(), "mixed4a:63", settings={"flat": Setting({"fft": False})}, thresholds=(2, 1)
    )
    assert made.settings == ("flat",)
    assert made.thresholds == (1, 2)
    assert made.images.shape == (1, 2, 96, 96, 3)


def test_an_interruption_ends_it_with_the_settings_so_far():
    left = iter(range(3))

    def interrupt(run):
        if run.step == 1 and next(left) == 1:
            raise KeyboardInterrupt

    made = regularization(
        synthnet(),
        "mixed4a:63",
        settings={name: Setting() for name in "abc"},
        thresholds=(1, 2),
        callbacks=[interrupt],
        **SMALL,
    )
    assert made.settings == ("a", "b")
    # The last picture stands for those that were to come.
    assert made.images.shape[:2] == (2, 2)
    np.testing.assert_array_equal(made.images[1, 0], made.images[1, 1])
    assert len(made.panels().pictures) == 4


def test_settings_say_the_transforms():
    for wrong in ({"transforms": []}, {"preset": "plain"}, {"settings": {}}, {"steps": 3}):
        with pytest.raises(InputError, match="at least one setting, and each says its transforms"):
            regularization(synthnet(), "mixed4a:63", thresholds=(1,), **wrong)
    with pytest.raises(InputError, match="whole numbers of steps"):
        regularization(synthnet(), "mixed4a:63", thresholds=())
