"""Style transfer on meshes: other strokes, the same things, from all sides."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import PLAIN, condition, conv
from torch import nn

from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.misc import mesh_shapes
from lucent.misc.io import save
from lucent.misc.mesh_rendering import MeshRenderer, orbit
from lucent.modelzoo import spec_of, synthnet
from lucent.modelzoo.synthnet import SynthScenes
from lucent.optvis import param
from lucent.optvis.objectives import gram, mean_l1
from lucent.recipes.mesh_style import mesh_style_transfer
from lucent.recipes.mesh_views import MeshViews, Scene
from lucent.recipes.style import StyleLayers

QUIET = {"seed": 0, "progress": False}
NEAR = {"size": 64, "distances": (8.0, 11.0)}


def scene(index):
    """A picture of SynthNet's world, (H, W, 3): 8 has dots, 16 clouds, 18 a disc, 25 an eye."""
    return SynthScenes(28)[index][0].movedim(0, -1).numpy()


def batch(picture):
    return torch.from_numpy(picture).movedim(-1, 0)[None]


def acts_of(model, layer, pictures):
    with Activations(model, [layer]) as T, torch.no_grad():
        T.run(spec_of(model).preprocess(pictures))
        return T(layer)


def from_all_sides(mesh, texture, scene):
    """A mesh as six cameras around it see it, (6, 3, H, W); those of a run are anywhere."""
    views = MeshViews(MeshRenderer(mesh), param.ConstantImage(texture), scene)
    pictures = []
    for view in orbit(6, distance=9.5):
        views.look(view)
        pictures.append(views())
    return torch.cat(pictures)


def test_views_come_closer_to_the_style_and_keep_their_content():
    model, mesh, seen = synthnet(), mesh_shapes.blob(bumps=0.15, rows=32), Scene(**NEAR)
    start, strokes = batch(scene(18)), batch(scene(16))
    made = mesh_style_transfer(model, mesh, start, strokes, scene=seen, steps=64, **QUIET)
    before, after = (from_all_sides(mesh, texture, seen) for texture in (start, made.texture))
    ratios = []
    for layer in ("conv1", "conv2", "mixed3a", "mixed3b"):
        style = gram(acts_of(model, layer, strokes))[0]
        old, new = (gram(acts_of(model, layer, views)).mean(0) for views in (before, after))
        ratios.append((mean_l1(new, style) / mean_l1(old, style)).item())
    assert max(ratios) < 0.7
    wrapped = from_all_sides(mesh, strokes, seen)
    old, kept, lost = (
        acts_of(model, "mixed3a", views).flatten(1) for views in (before, after, wrapped)
    )
    assert torch.cosine_similarity(kept, old).mean() > 0.6
    assert (torch.cosine_similarity(kept, old) > torch.cosine_similarity(lost, old)).all()


def linear():
    model = nn.Sequential(conv(np.eye(3).tolist()))
    model.spec = PLAIN
    return model


def test_all_content_and_no_style_leaves_the_texture():
    size = Scene(size=32, texture_size=(24, 24))
    picture = np.kron(np.random.default_rng(0).random((4, 4, 3)), np.ones((6, 6, 1)))
    made = mesh_style_transfer(
        linear(),
        mesh_shapes.quad(),
        picture,
        scene(8),
        layers=StyleLayers(["0"], ["0"]),
        content_weight=1e4,
        scene=size,
        steps=8,
        optimizer=lambda params: torch.optim.Adam(params, lr=1e-3),
        **QUIET,
    )
    assert np.abs(made.texture - picture).max() < 0.05


def test_a_plain_texture_takes_on_the_style():
    grey, strokes = np.full((24, 24, 3), 0.5), torch.from_numpy(scene(8)).movedim(-1, 0)
    made = mesh_style_transfer(
        linear(),
        mesh_shapes.quad(),
        grey,
        strokes,  # of another size than the views
        layers=StyleLayers(["0"], ["0"]),
        content_weight=0.05,
        scene=Scene(size=24, texture_size=24),
        steps=40,
        **QUIET,
    )
    plain, style, texture = (
        gram(torch.as_tensor(picture)[None].float())
        for picture in (np.moveaxis(grey, -1, 0), strokes, np.moveaxis(made.texture, -1, 0))
    )
    assert mean_l1(texture, style) < 0.6 * mean_l1(plain, style)


def test_a_texture_from_a_file_is_taken_whole(tmp_path):
    picture = np.zeros((20, 60, 3), np.float32)
    picture[:, :20, 0] = picture[:, 20:40, 1] = picture[:, 40:, 2] = 1
    save(picture, tmp_path / "texture.png")
    made = mesh_style_transfer(
        synthnet(),  # which takes squares
        mesh_shapes.quad(),
        tmp_path / "texture.png",
        scene(8),
        scene=Scene(size=16, texture_size=(32, 32)),
        steps=1,
        optimizer=lambda params: torch.optim.SGD(params, lr=0.0),
        **QUIET,
    )
    # A crop about the middle would have lost the red and the blue.
    assert made.texture[16, 3, 0] > 0.9
    assert made.texture[16, 16, 1] > 0.9
    assert made.texture[16, 28, 2] > 0.9


def test_the_seed_which_is_0_by_default_repeats_it_and_the_model_stays():
    model = linear()
    before, state = condition(model), torch.get_rng_state()
    options = {
        "layers": StyleLayers(["0"], ["0"]),
        "scene": Scene(size=16, texture_size=(16, 16)),
        "steps": 3,
        "progress": False,
    }
    first, again, other = (
        mesh_style_transfer(
            model, mesh_shapes.quad(), scene(25), scene(8), **seed, **options
        ).texture
        for seed in ({}, {"seed": 0}, {"seed": 1})
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert condition(model) == before
    assert torch.equal(torch.get_rng_state(), state)


def test_networks_whose_layers_are_not_known():
    with pytest.raises(InputError, match=r"Which layers of plain suit a style transfer"):
        mesh_style_transfer(linear(), mesh_shapes.quad(), scene(25), scene(8))
