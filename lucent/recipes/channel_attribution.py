"""Which channels a score comes from: the strongest for it and against it, as icons over bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from lucent.attribution import Score, gradient_x_activation
from lucent.errors import InputError
from lucent.misc.io.pictures import as_numpy
from lucent.recipes._marks import barred
from lucent.recipes._pictures import one_photograph
from lucent.recipes._scores import (
    AnyScore,
    Attribute,
    Smooth,
    named_scores,
    pools_with,
)
from lucent.recipes._seen import shown
from lucent.recipes.icons import Icons, render_icons
from lucent.recipes.results import Panels, Result
from lucent.units import whole


@dataclass(frozen=True, eq=False)
class ChannelAttribution(Result):
    """The channels that speak most for a score, and those that speak most against it.

    Attributes:
        photograph: (H, W, C) in [0, 1], as the network sees it.
        score: its name.
        value: the score.
        layer: name of the layer.
        attributions: of all channels, (n channels,), in units of the score.
        units: the channels with icons, the strongest for the score first, then the strongest
            against it.
        icons: in the order of the units.
    """

    photograph: np.ndarray
    score: str
    value: float
    layer: str
    attributions: np.ndarray
    units: tuple[int, ...]
    icons: Icons

    def panels(self) -> Panels:
        """Return the icons over bars: orange for the score, blue against it."""
        values = self.attributions[list(self.units)]
        most = np.abs(values).max()
        pairs = zip(self.icons.images, values / most, strict=True)
        labels = [f"{n}: {value:+.2g}" for n, value in zip(self.units, values, strict=True)]
        n_for = int((values > 0).sum())
        rows = n_for if 2 * n_for == len(values) else None
        title = f"{self.score} = {self.value:.3g}, {self.layer}"
        return Panels([barred(icon, share) for icon, share in pairs], labels, rows, title)


def channel_attribution(
    model: nn.Module,
    picture: Any,
    score: AnyScore,
    layer: str,
    *,
    count: int = 5,
    smooth: Smooth = None,
    attribute: Attribute = gradient_x_activation,
    **options: Any,
) -> ChannelAttribution:
    """Show which channels of a layer speak most for a score in a photograph, and against it.

    >>> from lucent.modelzoo import synthnet
    >>> photo = np.random.rand(96, 96, 3)
    >>> found = channel_attribution(synthnet(), photo, "labels:star", "mixed4a", count=1, steps=2)
    >>> found.attributions.shape, found.icons.images.shape
    ((280,), (2, 96, 96, 3))

    Args:
        model: the network.
        picture: what `lucent.modelzoo.photograph` takes, one picture.
        score: what `lucent.attribution.as_score` takes, such as "labels:tabby"; `logit("tabby",
            minus="tiger cat")` finds what makes the difference between two classes.
        layer: one that comes before the score.
        count: number of channels for the score, and of those against it; there are fewer where
            fewer have a part in it.
        smooth: the gradient of max-pools, "L2" or "avg" of `lucent.overrides.smoothed_maxpool`;
            None is their own.
        attribute: function of model, picture, score and layer to an `Attribution`, such as
            `integrated_gradients`.
        options: of `render_icons`, such as `size`, `steps` and `progress`.

    Raises:
        InputError: the picture, the score or the count cannot be used, the layer comes after the
            score, or no channel has a part in it.
        LayerError: the layer does not exist.

    Source: Olah et al. 2018, The Building Blocks of Interpretability
    (https://distill.pub/2018/building-blocks).
    """
    if whole(count, "count") < 1:
        raise InputError(f"count={count}: show at least one channel for and one against the score.")
    image = one_photograph(model, picture)
    name, wanted = _only(*named_scores(model, score))
    with pools_with(model, smooth):
        found = attribute(model, image, wanted, layer)
    values = as_numpy(found.channels()[0])
    if not (units := strongest(values, count)):
        tokens = " or ".join(f"'{layer}@{token}'" for token in found.tokens)
        raise InputError(
            f"No channel of {layer!r} has a part in {name}: all of their attributions are zero for "
            f"this picture.{f' They may be those of a token: {tokens}.' if tokens else ''}"
        )
    icons = render_icons(model, [f"{layer}:{n}" for n in units], **options)
    return ChannelAttribution(
        shown(image)[0], name, float(found.score[0]), layer, values, units, icons
    )


def _only(names: tuple[str, ...], scores: list[Score]) -> tuple[str, Score]:
    if len(scores) > 1:
        raise InputError(
            f"This takes one score, not {len(scores)}: call it for each, or take "
            "logit('tabby', minus='tiger cat') of lucent.attribution for a difference."
        )
    return names[0], scores[0]


def strongest(values: np.ndarray, count: int) -> tuple[int, ...]:
    """Return the places of the largest positive values, then of the smallest negative ones.

    >>> strongest(np.array([1.0, -3.0, 0.0, 2.0, -0.5]), 2)
    (3, 0, 1, 4)

    Args:
        values: (n,).
        count: how many of either at most.
    """
    order = np.argsort(-values, kind="stable")
    best = [int(n) for n in order[:count] if values[n] > 0]
    worst = [int(n) for n in order[::-1][:count] if values[n] < 0]
    return (*best, *worst)
