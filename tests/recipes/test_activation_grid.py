"""Activation grids: a picture for each position, neighbours alike, as rows of batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from colours import Colours, halves, interrupt_after
from torch import nn

from lucent.errors import InputError, LayerError
from lucent.hooks import Activations
from lucent.modelzoo import spec_of, synthnet
from lucent.modelzoo.synthnet import LABELS
from lucent.modelzoo.synthnet.data import draw_class
from lucent.recipes.activation_grid import activation_grid, activation_grids

pytest.importorskip("sklearn")

SMALL = {"n_groups": 2, "size": 12, "steps": 16, "transforms": []}
PICTURE = halves((0.9, 0, 0), (0, 0, 0.7))


def test_cells_show_what_is_at_their_position():
    grid = activation_grid(Colours(), PICTURE, "units", **SMALL)
    assert grid.images.shape == (4, 4, 12, 12, 3)
    assert grid.done.all()
    colours = grid.images.mean((2, 3))
    assert (colours.argmax(-1) == [0, 0, 2, 2]).all()
    assert colours.max(-1).min() > 0.57


def test_the_mosaic_has_the_cells_in_their_places():
    grid = activation_grid(Colours(), PICTURE, "units", **SMALL)
    mosaic = grid.mosaic()
    assert mosaic.shape == (32, 32, 3)
    np.testing.assert_array_equal(mosaic[8:16, 24:], grid.images[1, 3, 2:-2, 2:-2])
    assert grid.panels().labels == ("photograph", "units")


def test_cells_start_from_the_groups_of_their_position():
    starts = []

    def note(run):
        starts.extend(run.image().detach().movedim(1, -1).numpy() if run.step == 0 else [])

    grid = activation_grid(Colours(), PICTURE, "units", callbacks=[note], **SMALL)
    assert grid.groups is not None
    red, blue = 0.5 + 0.7 * (grid.groups.images - 0.5)
    assert np.abs(red - blue).max() > 0.05
    # The groups themselves were rendered before; every position has one group only.
    for n, start in enumerate(starts[-16:]):
        np.testing.assert_allclose(start, red if n % 4 < 2 else blue, atol=1e-4)


def test_without_groups_all_cells_start_alike():
    grid = activation_grid(Colours(), PICTURE, "units", **{**SMALL, "n_groups": 0, "steps": 0})
    assert grid.groups is None
    assert grid.done.all()
    np.testing.assert_allclose(grid.images, np.broadcast_to(grid.images[0, 0], grid.images.shape))


def test_a_cell_does_not_depend_on_what_is_rendered_beside_it():
    one, several = (
        activation_grid(Colours(), PICTURE, "units", batch_size=n, **SMALL) for n in (1, 5)
    )
    np.testing.assert_allclose(one.images, several.images, atol=1e-5)


def likeness(grid, *, apart):
    """Mean correlation of cells so many columns apart."""
    cells = grid.images.reshape(*grid.done.shape, -1)
    cells = cells - cells.mean(-1, keepdims=True)
    cells = cells / np.linalg.norm(cells, axis=-1, keepdims=True)
    return float((cells[:, apart:] * cells[:, :-apart]).sum(-1).mean())


def coarse_synthnet():
    """The first layers of SynthNet, and means over squares of 3 x 3 positions."""
    net = synthnet()
    layers = [net.conv1, net.pool1, net.conv2, net.mixed3a, net.mixed3b, net.pool3]
    coarse = nn.Sequential(*layers, nn.AvgPool2d(3))
    coarse.spec = spec_of(net)
    return coarse


def test_groups_make_neighbours_more_alike_than_those_far_away():
    stripes, rings = (
        draw_class(LABELS.index(name), 1, np.random.default_rng(0), size=96).images[0]
        for name in ("rising stripes", "rings")
    )
    stripes[:, :, 48:] = rings[:, :, 48:]
    photo = torch.from_numpy(stripes).float() / 255
    with_groups, without = (
        activation_grid(coarse_synthnet(), photo, "6", n_groups=n, size=32, steps=24)
        for n in (3, 0)
    )
    assert likeness(with_groups, apart=1) > likeness(without, apart=1) + 0.1
    assert likeness(with_groups, apart=1) > likeness(with_groups, apart=3) + 0.1


def test_larger_powers_of_the_cosine_change_cells():
    settings = {**SMALL, "n_groups": 0}
    picture = halves((0.9, 0.6, 0), (0, 0.6, 0.7))
    purity = []
    for power in (0, 4):
        cells = activation_grid(Colours(), picture, "units", cossim_pow=power, **settings).images
        colours = torch.from_numpy(cells.mean((2, 3)))[0, 0] - 0.5
        purity.append(torch.cosine_similarity(colours, picture[:, 0, 0], dim=0))
    assert purity[1] > purity[0]


def test_every_second_row_and_column():
    whole, half = (activation_grid(Colours(), PICTURE, "units", every=n, **SMALL) for n in (1, 2))
    assert half.images.shape == (2, 2, 12, 12, 3)
    np.testing.assert_allclose(half.images, whole.images[1::2, 1::2], atol=1e-5)


@pytest.mark.parametrize("every", [0, 5])
def test_every_is_a_number_of_positions(every):
    with pytest.raises(InputError, match=f"every={every} has to be 1 to 4"):
        activation_grid(Colours(), PICTURE, "units", every=every)


def test_cells_are_larger_than_what_the_mosaic_leaves_out():
    with pytest.raises(InputError, match="size=4 has to be more than 4 pixels"):
        activation_grid(Colours(), PICTURE, "units", size=4)


def test_several_photographs_share_their_groups():
    first, second = activation_grids(Colours(), [PICTURE, PICTURE.flip(2)], "units", **SMALL)
    assert first.groups is second.groups
    np.testing.assert_allclose(first.images, second.images[:, ::-1], atol=1e-5)


@pytest.mark.parametrize(("batches", "finished"), [(0, 0), (1, 0), (3, 10)])
def test_interruption_returns_the_finished_cells(batches, finished):
    grid = activation_grid(
        Colours(), PICTURE, "units", batch_size=5, callbacks=[interrupt_after(batches)], **SMALL
    )
    assert grid.images.shape == (4, 4, 12, 12, 3)
    # Batches are of equal size: 16 cells are 4 batches of 4.
    assert grid.done.sum() == {0: 0, 10: 8}[finished]
    assert (grid.images[~grid.done] == 0.5).all()
    assert (grid.images[grid.done] != 0.5).any((1, 2, 3)).all()
    assert grid.done.ravel()[: grid.done.sum()].all()


@pytest.mark.parametrize("layer", ["logits", "pool"])
def test_the_layer_has_positions(layer):
    with pytest.raises(LayerError, match=f"The layer '{layer}' gives"):
        activation_grid(Colours(), PICTURE, layer)


def test_one_photograph_at_a_time():
    with pytest.raises(InputError, match="one picture, but got a batch"):
        activation_grid(Colours(), torch.stack([PICTURE, PICTURE]), "units")


def test_not_more_groups_than_channels():
    with pytest.raises(InputError, match="n_groups=4 is too many.*3 channels at 16 positions"):
        activation_grid(Colours(), PICTURE, "units", n_groups=4)


def test_transformers_have_grids_of_patches():
    from lucent.modelzoo.synthvit import synthvit

    photo = torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(0))
    model = synthvit()
    grid = activation_grid(
        model, photo, "blocks.2", n_groups=2, size=24, steps=1, preset="plain", transforms=[]
    )
    assert grid.images.shape == (8, 8, 24, 24, 3)
    with Activations(model, ["blocks.2"]) as T, torch.no_grad():
        T.run(spec_of(model).preprocess(photo[None]))
        assert T.channels_first("blocks.2").shape[2:] == grid.done.shape
