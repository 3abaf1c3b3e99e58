"""Textures for meshes: what a unit looks for, from whatever side one looks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import PLAIN, condition, conv
from torch import nn

from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.misc import mesh_shapes
from lucent.misc.mesh_rendering import MeshRenderer, orbit
from lucent.modelzoo import spec_of, synthnet
from lucent.optvis import objectives, param
from lucent.recipes.mesh_texture import mesh_texture
from lucent.recipes.mesh_views import MeshViews, Scene

QUIET = {"seed": 0, "progress": False}


def from_all_sides(mesh, texture, scene):
    """A mesh as six cameras around it see it, (6, 3, H, W); those of a run are anywhere."""
    views = MeshViews(MeshRenderer(mesh), param.ConstantImage(texture), scene)
    pictures = []
    for view in orbit(6):
        views.look(view)
        pictures.append(views())
    return torch.cat(pictures)


def mean_activation(model, layer, unit, pictures):
    """How active a unit is for each picture, (B,)."""
    with Activations(model, [layer]) as T, torch.no_grad():
        T.run(spec_of(model).preprocess(pictures))
        return T(layer)[:, unit].mean((1, 2))


def test_the_unit_is_active_from_sides_that_no_step_saw():
    model, mesh, scene = synthnet(), mesh_shapes.torus(rows=24), Scene(size=64)
    made = mesh_texture(model, mesh, "mixed4a:160", scene=scene, steps=64, **QUIET)
    painted, plain = (
        mean_activation(model, "mixed4a", 160, from_all_sides(mesh, texture, scene))
        for texture in (made.texture, np.full_like(made.texture, 0.5))
    )
    assert (painted > 3 * plain).all()


def bright():
    """Layer "0" is the mean of the colours."""
    model = nn.Sequential(conv([[1 / 3, 1 / 3, 1 / 3]]))
    model.spec = PLAIN
    return model


def test_a_body_is_painted_from_all_sides():
    mesh, scene = mesh_shapes.blob(bumps=0.15, rows=32), Scene(size=32, background=0.0)
    made = mesh_texture(bright(), mesh, "0:0", scene=scene, steps=80, **QUIET)
    views = from_all_sides(mesh, made.texture, scene).mean(1)
    whole = from_all_sides(mesh, np.ones_like(made.texture), scene).mean(1)
    # It starts at a half.
    assert (views.sum((1, 2)) > 0.65 * whole.sum((1, 2))).all()


def test_the_seed_which_is_0_by_default_repeats_it_and_the_model_stays():
    model, mesh = bright(), mesh_shapes.quad()
    before, state = condition(model), torch.get_rng_state()
    first, again, other = (
        mesh_texture(
            model, mesh, "0:0", scene=Scene(size=16), steps=3, **seed, progress=False
        ).texture
        for seed in ({}, {"seed": 0}, {"seed": 1})
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert condition(model) == before
    assert torch.equal(torch.get_rng_state(), state)


def test_objectives_and_options_of_render_vis_are_taken():
    steps = []
    made = mesh_texture(
        bright(),
        mesh_shapes.quad(),
        objectives.channel("0", 0),
        scene=Scene(size=16),
        steps=3,
        optimizer=lambda params: torch.optim.SGD(params, lr=0.0),
        callbacks=[lambda run: steps.append(run.step)],
        **QUIET,
    )
    assert steps == [0, 1, 2, 3]
    assert np.abs(made.texture - 0.5).max() < 0.1


def test_a_mesh_without_texture_coordinates():
    quad = mesh_shapes.quad()
    del quad["uv"]
    with pytest.raises(InputError, match=r"The mesh has no uv"):
        mesh_texture(bright(), quad, "0:0")
