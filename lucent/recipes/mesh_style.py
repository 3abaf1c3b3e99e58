"""Style transfer on a mesh: its texture redrawn with the strokes of a picture."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lucent.misc.io.loading import load
from lucent.misc.io.pictures import channels_last
from lucent.misc.mesh import Mesh
from lucent.misc.mesh_rendering import MeshRenderer
from lucent.optvis import objectives, param
from lucent.optvis.callbacks import tensor_to_img_array
from lucent.optvis.defaults import checked_spec, default_image
from lucent.optvis.objectives import Objective
from lucent.recipes._pictures import activations, one_photograph, rendered
from lucent.recipes._styles import balanced, layers_of, strokes_of
from lucent.recipes.mesh_views import MeshTexture, MeshViews, Scene
from lucent.recipes.style import StyleLayers
from lucent.util import forked_rng

#: Nearer than for a texture alone, so that less of what the network sees is background, which has
#: no style.
_NEAR = Scene(distances=(8.0, 11.0))
#: How much of itself the average of the Gram matrices keeps from view to view, as in Lucid.
_KEPT = 0.95


def mesh_style_transfer(  # noqa: PLR0913 - two pictures, a mesh, a network, and how
    model: nn.Module,
    mesh: Mesh,
    texture: Any,
    style: Any,
    *,
    layers: StyleLayers | None = None,
    content_weight: float = 0.2,
    scene: Scene | None = None,
    steps: int = 256,
    **options: Any,
) -> MeshTexture:
    """Redraw the texture of a mesh with the strokes of a picture.

    >>> import numpy as np
    >>> from lucent.misc.mesh_shapes import torus
    >>> from lucent.modelzoo import synthnet
    >>> board, grey = np.indices((96, 96, 3))[:2].sum(0) // 8 % 2 / 1.0, np.full((64, 64, 3), 0.5)
    >>> near = Scene(size=48, distances=(8, 11))
    >>> mesh_style_transfer(synthnet(), torus(), grey, board, scene=near, steps=2).texture.shape
    (64, 160, 3)

    In every step a camera looks at the mesh from another direction. What it sees is to have the
    activations of the same view of the given texture in some layers; the Gram matrices in others,
    averaged over the last views, are to be those of the picture. The new texture starts from the
    given one.

    Args:
        model: the network.
        mesh: with texture coordinates, such as `normalize_mesh(load_mesh(path))` of
            `lucent.misc.mesh`, or one of `lucent.misc.mesh_shapes`.
        texture: of the mesh as it is: what `lucent.modelzoo.photograph` takes, of any size.
        style: the picture whose strokes it gets, likewise.
        layers: see `style_transfer`.
        content_weight: how much all content layers count, where all style layers count 1.
        scene: sizes, distances, background; None is `Scene(distances=(8, 11))`.
        steps: number of steps.
        options: further arguments of `render_vis`; without them there are no transforms, and the
            learning rate is 0.05.

    Raises:
        InputError: the mesh has no texture coordinates, a picture cannot be used, or the layers of
            this network are not known.
        MissingExtra: trimesh is not installed.

    Source: Mordvintsev et al. 2018, Differentiable Image Parameterizations
    (https://distill.pub/2018/differentiable-parameterizations).
    """
    spec, renderer = checked_spec(model, needed=True), MeshRenderer(mesh)
    layers, scene = layers_of(spec, layers), (scene or _NEAR).completed(renderer, spec)
    original = _resized(model, texture, scene.texture_size)
    options = {"seed": 0, "transforms": [], **options}
    with forked_rng(options["seed"]):
        painted = default_image(spec, scene.texture_size, init=original, decay_power=1.0)
    image = MeshViews(renderer, param.stack([painted, original]), scene).to(original.device)
    objective = _objective(model, layers, content_weight, style, image)
    made = rendered(model, objective, lambda: image, steps=steps, **options)
    return MeshTexture(mesh, tensor_to_img_array(painted().float())[0], made.history)


def _resized(model: nn.Module, picture: Any, size: int | tuple[int, int] | None) -> Tensor:
    """Return all of a picture in another size, (1, C, H, W)."""
    if isinstance(picture, str | os.PathLike):
        picture = load(picture)
    own = None if isinstance(picture, Tensor) else channels_last(picture).shape[:2]
    pixels = one_photograph(model, picture, size=own)
    return F.interpolate(pixels, size, mode="bilinear", antialias=True)


def _objective(
    model: nn.Module, layers: StyleLayers, content_weight: float, style: Any, image: MeshViews
) -> Objective:
    """Return nearness of the first view to the second one, and to the style of a picture."""
    with torch.no_grad():
        views = image()
    strokes = strokes_of(model, style, (views.shape[2], views.shape[3]))
    with activations(model, layers.style, strokes) as T:
        targets = {layer: objectives.gram(T.channels_first(layer)) for layer in layers.style}
    content = [
        -1 * objectives.activation_difference(layer, difference_to=1) for layer in layers.content
    ]
    strokes_at = [
        objectives.style({layer: target}, ema_decay=_KEPT, batch=0)
        for layer, target in targets.items()
    ]
    old = views[1:]
    grey = torch.cat([torch.full_like(old, 0.5), old])
    return Objective.sum(
        [
            *balanced(model, content, content_weight, grey, torch.cat([strokes, old])),
            *balanced(model, strokes_at, 1.0, grey, old),
        ]
    )
