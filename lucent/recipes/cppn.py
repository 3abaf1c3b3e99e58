"""Pictures drawn by networks of coordinates: smooth, of any size, and with others in between."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lucent.errors import InputError
from lucent.misc.io.showing import animate_sequence
from lucent.optvis import param
from lucent.optvis.callbacks import tensor_to_img_array
from lucent.optvis.defaults import DEFAULT_IMAGE_SIZE, checked_spec, checked_thresholds
from lucent.optvis.history import History
from lucent.optvis.objectives import as_objective
from lucent.optvis.param import CPPN
from lucent.recipes._pictures import Wanted, rendered
from lucent.recipes.results import Panels, Result
from lucent.util import forked_rng


@dataclass(frozen=True, eq=False)
class CPPNDrawing(Result):
    """A picture that a network draws from coordinates.

    Attributes:
        image: the network, which gives the picture at any size.
        pictures: at some steps, (n, H, W, C) in [0, 1].
        steps: of each picture.
        history: losses and values of the objective over the run.
    """

    image: CPPN
    pictures: np.ndarray
    steps: tuple[int, ...]
    history: History

    def at(self, size: int | Sequence[int]) -> np.ndarray:
        """Return the last picture at another size, (H, W, C) in [0, 1].

        Args:
            size: (height, width) in pixels, or the side of a square.
        """
        return _drawn(self.image.resized(size))

    def panels(self) -> Panels:
        """Return the pictures under their steps."""
        labels = [f"step {step}" for step in self.steps]
        return Panels(list(self.pictures), labels, columns=len(labels))


@dataclass(frozen=True, eq=False)
class CPPNInterpolation(Result):
    """Pictures on the way from one network of coordinates to another.

    Attributes:
        pictures: (n, H, W, C) in [0, 1].
        fractions: how far each is on the way, (n,), from 0 to 1.
    """

    pictures: np.ndarray
    fractions: np.ndarray

    def panels(self) -> Panels:
        """Return the pictures in order."""
        labels = [f"{fraction:.2f}" for fraction in self.fractions]
        return Panels(list(self.pictures), labels, columns=min(len(labels), 6))

    def show(self) -> None:
        """Show the pictures one after the other in the notebook, forth and back."""
        animate_sequence(self.pictures, fmt="webp")


def cppn_drawing(
    model: nn.Module,
    objective: Wanted,
    *,
    size: int | tuple[int, int] | None = None,
    steps: int | Sequence[int] = (32, 128, 512),
    start: CPPN | None = None,
    **options: Any,
) -> CPPNDrawing:
    """Have a network of coordinates draw what a unit looks for.

    >>> from lucent.modelzoo import synthnet
    >>> drawing = cppn_drawing(synthnet(), "mixed4a:7", size=32, steps=(1, 2))
    >>> drawing.pictures.shape, drawing.at((100, 200)).shape
    ((2, 32, 32, 3), (100, 200, 3))

    Args:
        model: the network that looks.
        objective: what to look for.
        size: (height, width) in pixels, or both, while it learns; None is that of the network's
            pictures.
        steps: number of steps; of several numbers each keeps a picture, and the largest is the
            last one.
        start: a network to go on from, which stays as it is; with one that drew another unit, the
            pictures in between (`cppn_interpolation`) have more in common. None is
            `param.cppn(size)`.
        options: further arguments of `render_vis`; without them there are no transforms, and the
            learning rate is 0.005, as in Lucid's notebook: a larger one makes flat pictures.

    Raises:
        InputError: there is no step, or an argument cannot be used.

    Source: Mordvintsev et al. 2018, Differentiable Image Parameterizations
    (https://distill.pub/2018/differentiable-parameterizations).
    """
    spec = checked_spec(model, needed=True)
    if size is None:
        size = spec.image_size or DEFAULT_IMAGE_SIZE
    thresholds = checked_thresholds(steps)
    options = {
        "seed": 0,
        "transforms": [],
        "optimizer": _slow,
        "thresholds": thresholds,
        **options,
    }
    if start is None:
        with forked_rng(options["seed"]):
            image = param.cppn(size, spec.channels or 3)
    else:
        image = copy.deepcopy(start).resized(size)
    made = rendered(model, as_objective(objective), lambda: image, steps=max(thresholds), **options)
    pictures = np.concatenate(made)
    return CPPNDrawing(image, pictures, tuple(made.history.steps), made.history)


def cppn_interpolation(
    first: CPPN, second: CPPN, *, count: int = 6, size: int | Sequence[int] | None = None
) -> CPPNInterpolation:
    """Draw with the parameters between those of two networks of coordinates.

    On the way it starts and ends slowly, t = (1 - cos(pi s)) / 2 for s from 0 to 1. Between two
    networks weights that disagree cancel, which leaves faint pictures, so that all parameters are
    multiplied by 1 + t (1 - t), up to 1.25 in the middle.

    Args:
        first: such as `cppn_drawing(...).image`.
        second: of the same layers.
        count: number of pictures, at least 2.
        size: (height, width) of the pictures, or the side of a square; None is that of the first.

    Raises:
        InputError: the networks have other layers, or there are fewer than two pictures.

    Source: Lucid's notebook xy2rgb; Mordvintsev et al. 2018, Differentiable Image Parameterizations
    (https://distill.pub/2018/differentiable-parameterizations).
    """
    if count < 2:
        raise InputError(f"count={count}: an interpolation has at least its two ends.")
    shares = [n / (count - 1) for n in range(count)]
    fractions = np.array([(1 - math.cos(math.pi * share)) / 2 for share in shares])
    pictures = []
    for t in fractions.tolist():
        between = first.interpolated(second, t).resized(first.size if size is None else size)
        with torch.no_grad():
            for tensor in between.trainable():
                tensor.mul_(1 + t * (1 - t))
        pictures.append(_drawn(between))
    return CPPNInterpolation(np.stack(pictures), fractions)


def _slow(params: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.Adam(params, lr=0.005)


def _drawn(image: CPPN) -> np.ndarray:
    with torch.no_grad():
        return tensor_to_img_array(image().float())[0]
