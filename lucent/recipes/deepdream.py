"""DeepDream: a photograph that becomes more of what a layer sees in it, from coarse to fine."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lucent.errors import InputError
from lucent.optvis import objectives
from lucent.optvis.defaults import checked_spec, default_image
from lucent.optvis.objectives import Objective, as_objective
from lucent.optvis.param.spatial import is_count
from lucent.optvis.render import Pictures
from lucent.optvis.transform import random_crop, roll
from lucent.recipes._pictures import Wanted, one_photograph, rendered, responses
from lucent.recipes._seen import shown
from lucent.recipes.results import Panels, Result

Normalization = Literal["laplacian", "fourier", "pixels"]

#: Arguments of `render_vis` and of other recipes that octaves say in another way.
_TAKEN = {"optimizer", "preset", "steps", "thresholds", "transforms"}
#: Sides below which layers of a network have too little to see, in pixels.
_SMALLEST = 32


@dataclass(frozen=True)
class Octaves:
    """How a dream goes from coarse to fine.

    Attributes:
        count: number of sizes.
        scale: each is so many times the one before.
        steps: of each, of pictures no larger than a tile.
        step: mean change of a number in a step, in units of the colours' range. What is right
            depends on the network: at 0.002 most photographs stay recognisable.
        normalize: of which numbers it is the mean: of those in each level of a Laplacian pyramid,
            or of all pixels; or "fourier", where it is the rate at which Adam changes every
            coefficient.
        tile: side of a random window that a step is about, in pixels, which bounds the memory; None
            takes the whole picture. Pictures larger than that get more steps in proportion.
        jitter: a step sees the picture shifted by up to so many pixels, its sides joined.

    Raises:
        InputError: one of them cannot be used.
    """

    count: int = 4
    scale: float = 1.4
    steps: int = 20
    step: float = 0.002
    normalize: Normalization = "laplacian"
    tile: int | None = None
    jitter: int = 16

    def __post_init__(self) -> None:
        counts = self.count, self.steps, 1 if self.tile is None else self.tile, self.jitter
        if not all(map(is_count, counts)) or not (self.scale > 1 and self.step > 0):
            raise InputError(
                f"{self} cannot be used: count, steps, tile and jitter are whole numbers of at "
                "least 1, scale is larger than 1 and step than 0."
            )
        if self.normalize not in get_args(Normalization):
            raise InputError(
                f"normalize={self.normalize!r} is unknown: it is one of {get_args(Normalization)}."
            )

    def sizes(self, size: Sequence[int]) -> list[tuple[int, int]]:
        """Return the (height, width) of all octaves, the given one last.

        Raises:
            InputError: the smallest is too small.
        """
        factors = [self.scale ** -(self.count - 1 - n) for n in range(self.count)]
        sizes = [(round(size[0] * factor), round(size[1] * factor)) for factor in factors]
        if min(sizes[0]) < _SMALLEST:
            raise InputError(
                f"{self.count} octaves of a picture of {tuple(size)} pixels begin with {sizes[0]}, "
                f"but a side has to be at least {_SMALLEST}: take fewer, or a larger size."
            )
        return sizes

    def steps_at(self, size: Sequence[int]) -> int:
        """Return the number of steps of a picture, in which every part is seen equally often."""
        return math.ceil(self.steps * math.prod(size) / math.prod(self.window(size)))

    def window(self, size: Sequence[int]) -> tuple[int, int]:
        """Return the (height, width) of the part of a picture that a step is about."""
        tile = self.tile or max(size)
        return min(tile, size[0]), min(tile, size[1])


DEFAULT = Octaves()


@dataclass(frozen=True, eq=False)
class Dream(Result):
    """A photograph, and what became of it.

    Attributes:
        photograph: (H, W, C) in [0, 1].
        image: (H, W, C) in [0, 1].
        octaves: what each octave made, in growing size.
        values: what the objective makes of photograph and image, (2,): bigger is better.
    """

    photograph: np.ndarray
    image: np.ndarray
    octaves: tuple[np.ndarray, ...]
    values: np.ndarray

    def panels(self) -> Panels:
        """Return the photograph and the dream."""
        return Panels([self.photograph, self.image], ("photograph", "dream"), 2)


class NormalizedSteps(torch.optim.Optimizer):
    """Gradient steps whose mean size is that of the learning rate, for each tensor by itself.

    Of an image described as a Laplacian pyramid every level is a tensor, so that coarse and fine
    structure grow alike.

    Args:
        params: tensors to optimise.
        lr: mean absolute change of a number in a step.

    Source: Mordvintsev et al. 2015, Inceptionism
    (https://research.google/blog/inceptionism-going-deeper-into-neural-networks).
    """

    def __init__(self, params: list[Tensor], lr: float) -> None:
        super().__init__(params, {"lr": lr})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Do a step, and return the loss before it."""
        loss = None if closure is None else closure()
        with torch.no_grad():
            for group in self.param_groups:
                for tensor in (tensor for tensor in group["params"] if tensor.grad is not None):
                    mean = tensor.grad.abs().mean().clamp_min(torch.finfo(tensor.dtype).tiny)
                    tensor.sub_(tensor.grad * (group["lr"] / mean))
        return loss


#: What `Octaves.normalize` means: arguments of `param.image`, and the optimizer of what it makes.
#: Adam normalises every Fourier coefficient by itself.
_WAYS: dict[str, tuple[dict[str, Any], Callable[..., torch.optim.Optimizer]]] = {
    "laplacian": ({"fft": False, "pyramid": 4}, NormalizedSteps),
    "fourier": ({"fft": True}, torch.optim.Adam),
    "pixels": ({"fft": False}, NormalizedSteps),
}


def deepdream(
    model: nn.Module,
    picture: Any,
    target: Wanted,
    *,
    octaves: Octaves = DEFAULT,
    size: int | tuple[int, int] | None = None,
    **options: Any,
) -> Dream:
    """Change a photograph into more of what a layer sees in it.

    >>> from lucent.modelzoo import synthnet
    >>> short = Octaves(count=2, steps=2)
    >>> dream = deepdream(synthnet(), np.full((96, 96, 3), 0.5), "mixed4a", octaves=short)
    >>> [picture.shape for picture in dream.octaves]
    [(69, 69, 3), (96, 96, 3)]

    It begins with a small copy of the photograph. What has changed there is enlarged and added to a
    larger copy, and so on: every octave is a run that starts from the last one, and what the layer
    sees appears in all sizes. Ctrl-C ends it with what there is, in the size of the photograph.

    Args:
        model: the network.
        picture: what `lucent.modelzoo.photograph` takes.
        target: a layer, such as "mixed4a", the squares of whose activations are to grow; or a unit,
            as "mixed4a:476", or any objective.
        octaves: sizes and steps.
        size: of the dream, (height, width) or both, in pixels; None is that of the network, and a
            larger one has room for more octaves.
        options: further arguments of `render_vis` but for those that follow from `octaves`:
            `thresholds`, `transforms`, `optimizer`, `preset`.

    Raises:
        InputError: the picture cannot be used, or is too small for so many octaves, or an option is
            one of these.

    Source: Mordvintsev et al. 2015, Inceptionism
    (https://research.google/blog/inceptionism-going-deeper-into-neural-networks).
    """
    _check(options)
    photo, spec = one_photograph(model, picture, size=size), checked_spec(model, needed=True)
    objective = _objective(target)
    made: list[Tensor] = []
    change = torch.zeros_like(photo)
    for wanted in octaves.sizes(photo.shape[2:]):
        start = (_resized(photo, wanted) + _resized(change, wanted)).clamp(0, 1)
        pictures = _octave(model, objective, start, octaves, options)
        made.append(torch.from_numpy(pictures[-1]).movedim(-1, 1).to(photo))
        change = made[-1] - _resized(photo, wanted)
        if pictures.interrupted:
            break
    image = (photo + _resized(change, photo.shape[2:])).clamp(0, 1)
    native = {"fixed_image_size": None if spec.fixed_size else "native"}
    return Dream(
        shown(photo)[0],
        shown(image)[0],
        tuple(shown(picture)[0] for picture in made),
        responses(model, [objective], torch.cat([photo, image]), {**native, **options})[0],
    )


def _check(options: Mapping[str, Any]) -> None:
    if taken := sorted(_TAKEN & options.keys()):
        raise InputError(
            f"deepdream got {taken}, which follow from its octaves: write "
            "octaves=Octaves(steps=20, step=0.002, jitter=16)."
        )


def _objective(target: Wanted) -> Objective:
    if isinstance(target, str) and ":" not in target:
        return objectives.deepdream(target)
    return as_objective(target)


def _octave(
    model: nn.Module,
    objective: Objective,
    start: Tensor,
    octaves: Octaves,
    options: Mapping[str, Any],
) -> Pictures:
    spec, size = checked_spec(model, needed=True), (start.shape[2], start.shape[3])
    description, optimizer = _WAYS[octaves.normalize]
    window = octaves.window(size)
    given = {
        "relu_override": False,
        # A network that takes one size sees every window in that size.
        "fixed_image_size": None if spec.fixed_size else window,
        **options,
        "transforms": [roll(octaves.jitter), random_crop(window)],
        "optimizer": lambda params: optimizer(params, lr=octaves.step),
    }
    return rendered(
        model,
        objective,
        lambda: default_image(spec, size, squash="clip", init=start, **description),
        steps=octaves.steps_at(size),
        **given,
    )


def _resized(image: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(image, tuple(size), mode="bilinear", antialias=True)
