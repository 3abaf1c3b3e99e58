"""What recipes that make one batch of pictures share: the rendering, and what units give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.layers import unwrap
from lucent.modelzoo.photographs import photograph
from lucent.optvis.defaults import checked_spec, default_image, network_size
from lucent.optvis.objectives import Objective, as_objective
from lucent.optvis.presets import chosen
from lucent.optvis.render import Pictures, render_vis
from lucent.optvis.transform import Fused
from lucent.util import device_of, dtype_of, frozen_eval

#: What to look for: "layer:unit", an objective, or a function from `T` to a loss.
Wanted = Objective | Callable[[Activations], Tensor] | str
NOTHING: Mapping[str, Any] = MappingProxyType({})
#: Of recipes that make several pictures at once.
STEPS = 256
#: Arguments of objectives about units, in the order of the strings that stand for them.
_UNITS = {
    "channel": ("layer", "n_channel"),
    "neuron": ("layer", "n_channel", "x", "y"),
    "class_logit": ("layer", "label"),
}


def slow_adam(params: list[Tensor]) -> torch.optim.Optimizer:
    """Return Adam for images that are sums of parts, each of which learns at its rate."""
    return torch.optim.Adam(params, lr=0.02)


def one_photograph(
    model: nn.Module, picture: Any, *, size: int | tuple[int, int] | None = None
) -> Tensor:
    """Return what `photograph` does, of one picture, (1, C, H, W).

    Raises:
        InputError: it is a batch of several, or cannot be used.
    """
    photo = photograph(model, picture, size=size)
    if len(photo) != 1 or photo.dim() != 4:
        raise InputError(
            f"This takes one picture, but got a batch {tuple(photo.shape)}: call it for each, "
            "with picture[:1]."
        )
    return photo


def rendered(
    model: nn.Module,
    objective: Objective,
    image: Callable[[], Any],
    *,
    steps: int = STEPS,
    **options: Any,
) -> Pictures:
    """Return the pictures of one run.

    Args:
        model: the network.
        objective: what to look for.
        image: makes the batch to start from.
        steps: number of steps.
        options: further arguments of `render_vis`, which is quiet here and has seed 0.
    """
    quiet = {"thresholds": (steps,), "show_image": False, "progress": False, "seed": 0}
    options = {**quiet, **options}
    if not options.keys() & {"preset", "transforms"}:
        # With an image of its own render_vis leaves it at "plain", for transformers too.
        options["preset"] = chosen(None, model)
    return render_vis(model, objective, image, **options)


def as_objectives(units: Sequence[Wanted] | Wanted, *, least: int, name: str) -> list[Objective]:
    """Return several units as objectives.

    Args:
        units: one or several.
        least: how many it takes at least.
        name: of the recipe, for the error.

    Raises:
        InputError: there are fewer.
    """
    several = [*units] if isinstance(units, Sequence) and not isinstance(units, str) else [units]
    if len(several) < least:
        raise InputError(
            f"{name} got {len(several)} unit(s), {several}: give at least {least}, for example "
            f"{[f'mixed4a:{n}' for n in range(least)]}."
        )
    return [as_objective(unit) for unit in several]


def caption(objective: Objective) -> str:
    """Return what a picture of an objective is called, such as "mixed4a:476"."""
    term, *others = objective.terms
    names = _UNITS.get(term.score.__name__, ())
    if others or not names:
        return objective.description or ", ".join(objective.captions())
    given = dict(term.arguments)
    return ":".join(str(given[name]) for name in names if given[name] is not None)


def strengths(
    model: nn.Module,
    units: Sequence[Objective],
    *,
    size: int | tuple[int, int] | None = None,
    steps: int = STEPS,
    **options: Any,
) -> np.ndarray:
    """Return how strongly each unit responds to a picture of its own, made in half of the steps.

    Args:
        model: the network.
        units: what to look for.
        size: of the pictures.
        steps: of the run that the strengths are for.
        options: further arguments of `render_vis`.

    Returns:
        (n units,), float32, positive: 1 for a unit that does not respond.

    Raises:
        KeyboardInterrupt: Ctrl-C ended the run, before there is anything to show.
    """
    spec = checked_spec(model, needed=True)
    made = rendered(
        model,
        Objective.sum(unit.about(row) for row, unit in enumerate(units)),
        lambda: default_image(spec, size, batch=len(units)),
        steps=max(1, steps // 2),
        **{**options, "callbacks": ()},
    )
    if made.interrupted:
        raise KeyboardInterrupt
    own = np.abs(np.diagonal(responses(model, units, made[-1], options)))
    return np.where(own > 0, own, np.float32(1))


def responses(
    model: nn.Module,
    objectives: Sequence[Objective],
    pictures: Tensor | np.ndarray,
    options: Mapping[str, Any] = NOTHING,
) -> np.ndarray:
    """Return what objectives make of pictures as they are, without transforms.

    Args:
        model: the network.
        objectives: each about one image.
        pictures: (B, H, W, C) as an array, (B, C, H, W) as a tensor, in [0, 1].
        options: arguments of `render_vis`, of which `fixed_image_size`, `preprocess` and `layout`
            say how the network sees them.

    Returns:
        Scores (n objectives, B), float32: bigger is better.
    """
    with activations(model, Objective.sum(objectives).layers, pictures, options) as T:
        scores = [
            [-each.about(row)(T).item() for row in range(len(pictures))] for each in objectives
        ]
    return np.array(scores, dtype=np.float32)


@contextmanager
def activations(
    model: nn.Module,
    layers: Iterable[str] | None,
    pictures: Tensor | np.ndarray,
    options: Mapping[str, Any] = NOTHING,
) -> Iterator[Activations]:
    """Give the activations of pictures as they are, without transforms and gradients.

    Args:
        model: the network.
        layers: those needed; None finds out.
        pictures: (B, H, W, C) as an array, (B, C, H, W) as a tensor, in [0, 1].
        options: arguments of `render_vis`, of which `fixed_image_size`, `preprocess` and `layout`
            say how the network sees them.
    """
    spec = checked_spec(model, needed=True)
    if isinstance(pictures, np.ndarray):
        pictures = torch.from_numpy(pictures).movedim(-1, 1)
    image = pictures.to(device_of(model), dtype_of(model))
    seen = Fused([], network_size(spec, options.get("fixed_image_size")))(image)
    if options.get("preprocess", True):
        seen = spec.preprocess(seen)
    hooks = Activations(model, layers, aliases=spec.layer_aliases, layout=options.get("layout"))
    with torch.no_grad(), frozen_eval(unwrap(model)), hooks as T:
        T.labels = spec.labels
        T.run(seen, original=image)
        yield T
