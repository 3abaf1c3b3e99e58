"""Style transfer: a photograph drawn with the strokes of another picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lucent.optvis import objectives, param
from lucent.optvis.defaults import checked_spec, default_image
from lucent.optvis.history import History
from lucent.optvis.objectives import Objective
from lucent.recipes._pictures import one_photograph, rendered
from lucent.recipes._styles import StyleLayers, balanced, layers_of, strokes_of
from lucent.recipes.results import Panels, Result

__all__ = ["StyleLayers", "StyleTransfer", "style_transfer"]


@dataclass(frozen=True, eq=False)
class StyleTransfer(Result):
    """A photograph in the style of another picture.

    Attributes:
        content: what is to be seen, (H, W, 3) in [0, 1].
        style: whose strokes it has, (H, W, 3) in [0, 1].
        picture: the result, (H, W, 3) in [0, 1].
        history: losses and differences of every layer over the run.
    """

    content: np.ndarray
    style: np.ndarray
    picture: np.ndarray
    history: History

    def panels(self) -> Panels:
        """Return both pictures and the result."""
        pictures = [self.content, self.style, self.picture]
        return Panels(pictures, ("content", "style", "result"), columns=3)


def style_transfer(
    model: nn.Module,
    content: Any,
    style: Any,
    *,
    layers: StyleLayers | None = None,
    content_weight: float = 0.3,
    size: int | tuple[int, int] | None = None,
    steps: int = 256,
    **options: Any,
) -> StyleTransfer:
    """Draw a photograph with the strokes of another picture.

    >>> from lucent.modelzoo import synthnet
    >>> board, grey = np.indices((96, 96, 3))[:2].sum(0) // 8 % 2 / 1.0, np.full((96, 96, 3), 0.5)
    >>> style_transfer(synthnet(), grey, board, steps=2).picture.shape
    (96, 96, 3)

    The picture is to have the activations of the photograph in some layers, and the Gram matrices
    of the other picture in some. It starts from noise, and all three see the same transforms. The
    difference at a layer is divided by that of a grey picture, or by half of that of the two
    pictures where this is more, so that all layers count the same, whatever their activations are.

    Args:
        model: the network.
        content: the photograph; what `lucent.modelzoo.photograph` takes.
        style: the other picture, likewise; it is cut to the size of the photograph.
        layers: where pictures are compared; None takes layers that suit the network, if they are
            known.
        content_weight: how much all content layers count, where all style layers count 1.
        size: of the photograph, (height, width), or both, in pixels; None is that of the network,
            and of a tensor its own.
        steps: number of steps.
        options: further arguments of `render_vis`.

    Raises:
        InputError: a picture cannot be used, or the layers of this network are not known.
        LayerError: a layer does not exist.

    Source: Gatys et al. 2015, A Neural Algorithm of Artistic Style
    (https://arxiv.org/abs/1508.06576); Mordvintsev et al. 2018, Differentiable Image
    Parameterizations (https://distill.pub/2018/differentiable-parameterizations).
    """
    spec = checked_spec(model, needed=True)
    layers = layers_of(spec, layers)
    photo = one_photograph(model, content, size=size)
    height, width = photo.shape[2:]
    strokes = strokes_of(model, style, (height, width))
    batch = torch.cat([torch.full_like(photo, 0.5), photo, strokes])
    objective = _objective(model, layers, content_weight, batch)
    made = rendered(
        model,
        objective,
        lambda: param.stack([default_image(spec, (height, width)), photo, strokes]),
        steps=steps,
        **options,
    )
    picture, content, style = made[-1]
    return StyleTransfer(content, style, picture, made.history)


def _objective(
    model: nn.Module, layers: StyleLayers, content_weight: float, batch: Tensor
) -> Objective:
    """Return nearness to the second picture of a batch and to the style of the third one.

    Args:
        model: the network.
        layers: of content and of style.
        content_weight: of the first, where the second has 1.
        batch: a grey picture, the photograph, the style, (3, C, H, W).
    """
    difference = objectives.activation_difference
    content = [-1 * difference(layer, difference_to=1) for layer in layers.content]
    style = [
        -1 * difference(layer, transform_f=objectives.gram, difference_to=2)
        for layer in layers.style
    ]
    return Objective.sum(
        [
            *balanced(model, content, content_weight, batch, batch[[2, 1, 2]]),
            *balanced(model, style, 1.0, batch, batch[[1, 1, 2]]),
        ]
    )
