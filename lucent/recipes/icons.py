"""Small pictures of many units or directions, rendered as rows of batches."""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from lucent.errors import DivergenceError, InputError, LucentWarning
from lucent.misc.io.pictures import Picture
from lucent.modelzoo.spec import ModelSpec
from lucent.optvis.batch import Rendered, render_many
from lucent.optvis.defaults import DEFAULT_IMAGE_SIZE, checked_spec, default_image
from lucent.optvis.objectives import as_objective
from lucent.optvis.presets import chosen
from lucent.recipes._pictures import Wanted, caption
from lucent.recipes.results import Panels, Result
from lucent.util import forked_rng

logger = logging.getLogger(__name__)

#: The largest side taken where none is given, in pixels: a page shows hundreds. Lucid's icons have
#: 80; this is the size of the embedded network, to which pictures of its units are compared.
_LARGEST = 96


@dataclass(frozen=True, eq=False)
class Icons(Result):
    """Small pictures in the order of their objectives.

    Attributes:
        images: (n, H, W, C) in [0, 1]; those that were not finished are 0.5 everywhere.
        done: (n,), True for those that were finished.
        labels: what each looks for.
        interrupted: Ctrl-C ended the rendering.
    """

    images: np.ndarray
    done: np.ndarray
    labels: tuple[str, ...]
    interrupted: bool = False

    def panels(self) -> Panels:
        """Return the pictures under what they look for."""
        return Panels(list(self.images), self.labels)


def render_icons(
    model: nn.Module,
    objectives: Iterable[Wanted],
    *,
    size: int | None = None,
    steps: int = 128,
    batch_size: int | Literal["auto"] = "auto",
    seed: int | Sequence[int] = 0,
    starts: Sequence[Picture] | None = None,
    **options: Any,
) -> Icons:
    """Render a small picture of each objective, many at a time.

    >>> from lucent.modelzoo import synthnet
    >>> render_icons(synthnet(), ["mixed4a:3", "mixed4a:7"], size=48, steps=2).images.shape
    (2, 48, 48, 3)

    Memory is bounded by the batch, whatever the number of objectives. Ctrl-C returns what is
    finished.

    Args:
        model: any network that takes pictures.
        objectives: what to look for, each as for `render_vis`.
        size: side in pixels; None is that of the model's pictures, at most 96 pixels unless it
            takes no other.
        steps: of each.
        batch_size: number of pictures at a time; see `render_many`.
        seed: of all of them, which then start alike, or one for each.
        starts: pictures to start from, one for each objective, (size, size, C) in [0, 1]; None
            starts from faint noise.
        options: `alpha=True` for transparent pictures, with transforms that put them in front of
            something; further keyword arguments of `render_many`, such as `progress`. Without them,
            networks that take any size see the pictures as they are, and vision transformers have
            the preset "vit".

    Raises:
        InputError: there is no objective, or an argument cannot be used.
        LayerError: an objective names a layer that does not exist.
    """
    several = isinstance(objectives, Iterable) and not isinstance(objectives, str)
    given = [as_objective(objective) for objective in objectives] if several else []
    if not given:
        raise InputError(
            f"render_icons takes a list of at least one objective, such as ['mixed4a:476'], not "
            f"{objectives!r}."
        )
    spec = checked_spec(model, needed=True)
    clear: dict[str, Any] = {"channels": None, "alpha": True} if options.pop("alpha", False) else {}
    side = default_size(spec) if size is None else size
    image_f = functools.partial(default_image, spec, side, **clear)
    results = render_many(
        model,
        given,
        image_f if starts is None else [functools.partial(image_f, init=start) for start in starts],
        thresholds=(steps,),
        batch_size=batch_size,
        seed=seed,
        **{**_defaults(model, spec, options), **options},
    )
    with forked_rng(0), torch.no_grad():
        _, channels, *shape = image_f().forward().shape
    images = np.full((len(given), *shape, channels), 0.5, np.float32)
    done, interrupted = _collected(results, images)
    return Icons(images, done, tuple(map(caption, given)), interrupted)


def default_size(spec: ModelSpec) -> int:
    """Return the side of an icon for a network where none is given, in pixels."""
    own = spec.image_size or min(spec.input_size or (DEFAULT_IMAGE_SIZE,))
    return own if spec.fixed_size else min(own, _LARGEST)


def _defaults(model: nn.Module, spec: ModelSpec, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of `render_many` that are not its own defaults."""
    defaults: dict[str, Any] = {"fixed_image_size": None if spec.fixed_size else "native"}
    if not {"optimizer", "preset", "transforms"} & options.keys():
        # With an image of its own render_many leaves it at "plain", for transformers too.
        defaults["preset"] = chosen(None, model)
    return defaults


def _collected(results: Iterable[Rendered], images: np.ndarray) -> tuple[np.ndarray, bool]:
    """Put the pictures in their places as they come; tell which came, and whether Ctrl-C did."""
    done = np.zeros(len(images), bool)
    try:
        for result in results:
            if result.error is None:
                images[result.index], done[result.index] = result.images[-1], True
            elif isinstance(result.error, DivergenceError):
                warnings.warn(f"An icon is left grey: {result.error}", LucentWarning, stacklevel=3)
            else:
                raise result.error
    except KeyboardInterrupt:
        logger.warning("Interrupted: %d of %d icons are done.", done.sum(), len(done))
        return done, True
    return done, False
