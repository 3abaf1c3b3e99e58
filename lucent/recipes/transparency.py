"""Transparent pictures: what a unit looks for, without the ground that it does not need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from lucent.errors import InputError
from lucent.optvis import objectives, transform
from lucent.optvis.defaults import DEFAULT_IMAGE_SIZE, checked_spec, default_image
from lucent.optvis.history import History
from lucent.optvis.objectives import as_objective
from lucent.recipes._pictures import Wanted, rendered
from lucent.recipes.results import Panels, Result

#: Squares along the longer side of the board, and what their grey differs from 0.5.
_SQUARES, _CONTRAST = 16, 0.1
#: Of the picture when the network sees a part of it, as in Lucid.
_SCALES = [0.6 + 0.05 * n for n in range(11)]


@dataclass(frozen=True, eq=False)
class Transparency(Result):
    """A picture with an alpha channel.

    Attributes:
        picture: (H, W, 4) in [0, 1]; the last channel is opacity.
        history: losses and values of the objective over the run.
    """

    picture: np.ndarray
    history: History

    @property
    def alpha(self) -> np.ndarray:
        """Opacity, (H, W) in [0, 1]."""
        return self.picture[..., 3]

    def over(self, background: float | Sequence[float] | np.ndarray) -> np.ndarray:
        """Return the picture in front of a background, (H, W, 3) in [0, 1].

        Args:
            background: a grey, a colour (3,), or a picture (H, W, 3), in [0, 1].
        """
        colour, alpha = self.picture[..., :3], self.picture[..., 3:]
        return (alpha * colour + (1 - alpha) * np.asarray(background)).astype(np.float32)

    def panels(self) -> Panels:
        """Return the picture on black, on white, on a board, and its opacity."""
        height, width = self.alpha.shape
        rows, columns = np.indices((height, width)) * _SQUARES // max(height, width) % 2
        board = 0.5 + _CONTRAST * (2 * (rows ^ columns)[..., None] - 1)
        pictures = [*map(self.over, (0.0, 1.0, board)), self.picture[..., 3:]]
        return Panels(pictures, ("on black", "on white", "on a board", "opacity"), columns=4)


def transparency(
    model: nn.Module,
    objective: Wanted,
    *,
    size: int | tuple[int, int] | None = None,
    crop: int | None = None,
    steps: int = 256,
    **options: Any,
) -> Transparency:
    """Render what a unit looks for, transparent where it does not matter.

    >>> from lucent.modelzoo import synthnet
    >>> transparency(synthnet(), "mixed4a:7", size=48, steps=2).picture.shape
    (48, 48, 4)

    The score is the product of the objective and the mean transparency. The network sees the
    picture in front of noise, another one in every step, so that transparency is no colour that the
    unit could like. What is nearly transparent takes long to vanish.

    Args:
        model: a network that takes RGB.
        objective: what to look for, with positive scores: of two negative factors the product is
            positive, too. A neuron (`objectives.neuron`) keeps to the middle, a channel fills the
            picture with many.
        size: (height, width) in pixels, or both; None is that of the network's pictures.
        crop: show the network a random part of the picture, of so many pixels, at 0.6 to 1.1 of its
            size, as Lucid does for large pictures; None shows all of it, under the usual
            transforms.
        steps: number of steps.
        options: further arguments of `render_vis`; transforms among them have to put the picture in
            front of something.

    Raises:
        InputError: the network takes something other than RGB, or the crop is larger than the
            picture is at its smallest.

    Source: Mordvintsev et al. 2018, Differentiable Image Parameterizations
    (https://distill.pub/2018/differentiable-parameterizations).
    """
    spec = checked_spec(model, needed=True)
    if (spec.channels or 3) != 3:
        raise InputError(
            f"{spec.name} takes images of {spec.channels} channels, but a transparent picture is "
            "RGB and opacity: take a network of colours."
        )
    if size is None:
        size = spec.image_size or DEFAULT_IMAGE_SIZE
    seen = [transform.collapse_alpha_random(), *_transforms(size, crop)]
    options = {"transforms": seen, "fixed_image_size": crop, **options}
    made = rendered(
        model,
        objectives.product(as_objective(objective), objectives.transparency()),
        lambda: default_image(spec, size, channels=None, alpha=True),
        steps=steps,
        **options,
    )
    return Transparency(made[-1][0], made.history)


def _transforms(size: int | tuple[int, int], crop: int | None) -> list[transform.RandomTransform]:
    if crop is None:
        return transform.standard_transforms
    largest = int(min(_SCALES) * np.min(size))
    if not 0 < crop <= largest:
        raise InputError(
            f"crop={crop} of a picture of {size} pixels: it has to be 1 to {largest}, "
            f"{min(_SCALES)} times as large, because the picture is scaled by so much at times."
        )
    return [transform.random_scale(_SCALES), transform.random_crop(crop)]
