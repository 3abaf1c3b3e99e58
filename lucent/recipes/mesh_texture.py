"""Texture synthesis on a mesh: what a unit looks for, painted around a body."""

from __future__ import annotations

from typing import Any

from torch import nn

from lucent.misc.mesh import Mesh
from lucent.misc.mesh_rendering import MeshRenderer
from lucent.optvis.callbacks import tensor_to_img_array
from lucent.optvis.defaults import checked_spec, default_image
from lucent.optvis.objectives import as_objective
from lucent.recipes._pictures import Wanted, rendered
from lucent.recipes.mesh_views import MeshTexture, MeshViews, Scene
from lucent.util import forked_rng


def mesh_texture(
    model: nn.Module,
    mesh: Mesh,
    objective: Wanted,
    *,
    scene: Scene | None = None,
    steps: int = 256,
    **options: Any,
) -> MeshTexture:
    """Paint a mesh so that an objective is high from whatever side one looks.

    >>> from lucent.misc.mesh_shapes import torus
    >>> from lucent.modelzoo import synthnet
    >>> mesh_texture(synthnet(), torus(), "mixed4a:7", scene=Scene(size=48), steps=2).texture.shape
    (48, 128, 3)

    In every step a camera looks at the mesh from another direction, and what it sees goes to the
    network; the gradient flows back to the texels that were seen.

    Args:
        model: the network.
        mesh: with texture coordinates, such as `normalize_mesh(load_mesh(path))` of
            `lucent.misc.mesh`, or one of `lucent.misc.mesh_shapes`.
        objective: what to look for.
        scene: sizes, distances, background; None is `Scene()`.
        steps: number of steps.
        options: further arguments of `render_vis`; without them there are no transforms, and the
            learning rate is 0.05.

    Raises:
        InputError: the mesh has no texture coordinates, or an argument cannot be used.
        MissingExtra: trimesh is not installed.

    Source: Mordvintsev et al. 2018, Differentiable Image Parameterizations
    (https://distill.pub/2018/differentiable-parameterizations).
    """
    renderer, spec = MeshRenderer(mesh), checked_spec(model, needed=True)
    scene = (scene or Scene()).completed(renderer, spec)
    options = {"seed": 0, "transforms": [], **options}
    with forked_rng(options["seed"]):
        # What the network sees at a time is a part of the texture, so that the low frequencies of
        # its own pictures, if the spec favours them, would be none of a view.
        texture = default_image(spec, scene.texture_size, decay_power=1.0)
    image = MeshViews(renderer, texture, scene)
    pictures = rendered(model, as_objective(objective), lambda: image, steps=steps, **options)
    return MeshTexture(mesh, tensor_to_img_array(texture().float())[0], pictures.history)
