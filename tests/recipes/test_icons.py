"""Icons: many small pictures, as they come."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from colours import Colours, interrupt_after
from tiny import PLAIN

from lucent.errors import InputError, LayerError, LucentWarning
from lucent.modelzoo.spec import ModelSpec
from lucent.modelzoo.synthvit import synthvit
from lucent.optvis.objectives import channel
from lucent.recipes.icons import default_size, render_icons

UNITS = ["units:0", "units:1", "units:2"]
SMALL = {"size": 16, "steps": 32, "transforms": []}


@pytest.mark.parametrize("batch_size", [1, 2, "auto"])
def test_every_icon_shows_its_unit(batch_size):
    icons = render_icons(Colours(), UNITS, batch_size=batch_size, **SMALL)
    assert icons.images.shape == (3, 16, 16, 3)
    assert icons.images.dtype == np.float32
    assert icons.images.mean((1, 2)).argmax(1).tolist() == [0, 1, 2]
    assert icons.images.mean((1, 2)).max(1).min() > 0.55
    assert icons.done.all()
    assert not icons.interrupted


def test_no_batch_is_larger_than_the_setting():
    sizes = []
    note = {"callbacks": [lambda run: sizes.append(len(run.image()))]}
    render_icons(Colours(), 3 * UNITS, batch_size=4, **SMALL, **note)
    assert max(sizes) <= 4


def test_the_same_seed_gives_the_same_icons_and_another_one_others():
    first, again, other = (
        render_icons(Colours(), UNITS[:1], seed=seed, size=16, steps=2).images for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4


def test_labels_say_what_is_looked_for():
    wanted = ["units:1", channel("groups", 3), lambda T: -T("units")[:, 2].mean()]
    labels = render_icons(Colours(), wanted, size=8, steps=1).labels
    assert labels == ("units:1", "groups:3", "<lambda>")


def test_icons_start_from_pictures():
    starts = [np.full((8, 8, 3), value, np.float32) for value in (0.2, 0.8)]
    icons = render_icons(Colours(), UNITS[:2], size=8, steps=0, starts=starts)
    np.testing.assert_allclose(icons.images, starts, atol=1e-5)


def test_as_many_starts_as_objectives():
    with pytest.raises(InputError, match="1 functions for 2 objectives"):
        render_icons(Colours(), UNITS[:2], size=8, starts=[np.full((8, 8, 3), 0.5)])


def test_interruption_returns_what_is_finished(caplog):
    with caplog.at_level(logging.WARNING):
        icons = render_icons(
            Colours(), UNITS, batch_size=1, callbacks=[interrupt_after(2)], **SMALL
        )
    assert icons.interrupted
    assert icons.done.tolist() == [True, True, False]
    assert icons.images[:2].mean((1, 2)).argmax(1).tolist() == [0, 1]
    assert (icons.images[2] == 0.5).all()
    assert "2 of 3 icons are done" in caplog.text


def test_the_model_comes_back_as_it_was_after_an_interruption():
    model = Colours().train()
    render_icons(model, UNITS, callbacks=[interrupt_after(0)], **SMALL)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_one_that_diverges_stays_grey_and_a_warning_says_so():
    wanted = ["units:0", lambda T: T("units").sum() * torch.nan]
    with pytest.warns(LucentWarning, match="An icon is left grey"):
        icons = render_icons(Colours(), wanted, **SMALL)
    assert icons.done.tolist() == [True, False]
    assert (icons.images[1] == 0.5).all()


def test_what_cannot_be_rendered_is_an_error():
    for nothing in ([], "units:0", channel("units", 0)):
        with pytest.raises(InputError, match="takes a list of at least one objective"):
            render_icons(Colours(), nothing)
    with pytest.raises(InputError, match="has to consist of whole numbers of at least 1"):
        render_icons(Colours(), UNITS, size=0)
    with pytest.raises(InputError, match="There is no channel 7: this layer has 3 channels"):
        render_icons(Colours(), ["units:0", "units:7"], **SMALL)
    with pytest.raises(LayerError, match="nowhere"):
        render_icons(Colours(), ["nowhere:0"], **SMALL)


@pytest.mark.parametrize(
    ("spec", "side"),
    [
        (PLAIN, 96),
        (ModelSpec("large", input_size=(224, 224)), 96),
        (ModelSpec("small", input_size=(32, 32)), 32),
        (ModelSpec("vit", input_size=(224, 224), fixed_size=True), 224),
    ],
)
def test_the_size_suits_the_network(spec, side):
    assert default_size(spec) == side


def test_networks_of_any_size_see_icons_as_they_are():
    sizes, model = set(), Colours()
    model.spec = ModelSpec("any", input_size=(24, 24))
    model.units.register_forward_pre_hook(lambda _, inputs: sizes.add(inputs[0].shape[2:]))
    render_icons(model, UNITS[:1], size=16, steps=1, transforms=[])
    assert sizes == {(16, 16)}
    render_icons(model, UNITS[:1], size=16, steps=1, transforms=[], fixed_image_size=None)
    assert (24, 24) in sizes


def test_transformers_have_their_preset(caplog):
    wanted = {"size": 96, "steps": 1}
    with caplog.at_level(logging.INFO):
        render_icons(synthvit(), ["blocks.1:0"], preset="plain", **wanted)
        assert "preset='vit'" not in caplog.text
        render_icons(synthvit(), ["blocks.1:0"], **wanted)
    assert "preset='vit'" in caplog.text


def test_the_result_is_a_sheet_of_labelled_pictures():
    icons = render_icons(Colours(), UNITS, size=16, steps=1)
    assert icons.panels().labels == tuple(UNITS)
    assert icons.sheet().dtype == np.uint8
