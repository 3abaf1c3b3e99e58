"""Neuron groups: directions that together make up what a layer sees in photographs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lucent.attribution import gradient_x_activation
from lucent.errors import InputError
from lucent.misc.channel_reducer import ChannelReducer, posneg
from lucent.misc.io.overlays import hued, hues
from lucent.misc.io.pictures import as_numpy
from lucent.optvis.objectives import direction
from lucent.recipes._seen import seen, shown
from lucent.recipes.icons import Icons, render_icons
from lucent.recipes.results import Panels, Result
from lucent.util import forked_rng

#: NMF starts from singular vectors. Scikit-learn's default fills in their zeros, and so may lose
#: one of two groups that have nothing in common; its 200 rounds are too few for 528 channels.
_NMF = {"init": "nndsvd", "max_iter": 1000}


@dataclass(frozen=True, eq=False)
class NeuronGroups(Result):
    """Groups of neurons, where they are active and what they look for; the strongest comes first.

    Attributes:
        photographs: (B, H, W, C) in [0, 1], as the network sees them.
        layer: its name.
        directions: (G, channels), each of length 1, or 0 where fewer make up everything.
        strengths: how much of each direction there is at each position, (B, G, rows, columns), in
            units of the activations.
        icons: a picture of each direction.
        attributions: how much each group has to do with the score, (B, G), positive where it speaks
            for it; None without a score.
    """

    photographs: np.ndarray
    layer: str
    directions: np.ndarray
    strengths: np.ndarray
    icons: Icons
    attributions: np.ndarray | None = None

    def masks(self) -> np.ndarray:
        """Return the photographs with all groups over them, each in its hue, (B, H, W, 3)."""
        present = np.maximum(self.strengths, 0)
        pairs = zip(self.photographs, present, strict=True)
        return np.stack([hued(photo, maps, limit=present.max() or 1) for photo, maps in pairs])

    def panels(self) -> Panels:
        """Return for each photograph all groups and each of them, and below the icons."""
        pictures, labels = [], []
        colours = hues(len(self.directions))
        for n, (photo, mask) in enumerate(zip(self.photographs, self.masks(), strict=True)):
            each = zip(np.maximum(self.strengths[n], 0), colours, strict=True)
            pictures += [mask, *(hued(photo, own[None], colours=hue[None]) for own, hue in each)]
            labels += ["all groups", *(self._label(n, group) for group in range(len(colours)))]
        pictures += [self.photographs[0], *self.icons.images]
        labels += [self.layer, *(f"group {group}" for group in range(len(colours)))]
        return Panels(pictures, labels, columns=1 + len(colours), title=self.layer)

    def _label(self, photo: int, group: int) -> str:
        if self.attributions is None:
            return f"group {group}"
        return f"group {group}: {self.attributions[photo, group]:+.2f}"


def neuron_groups(
    model: nn.Module,
    pictures: Any,
    layer: str,
    *,
    n_groups: int = 6,
    reduction: str | type = "NMF",
    score: Any = None,
    **options: Any,
) -> NeuronGroups:
    """Find the groups of neurons that are active together in photographs.

    >>> import torch
    >>> from lucent.modelzoo import synthnet
    >>> photo = torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(0))
    >>> groups = neuron_groups(synthnet(), photo, "mixed4a", n_groups=2, size=32, steps=2)
    >>> groups.directions.shape, groups.strengths.shape
    ((2, 280), (1, 2, 12, 12))

    Args:
        model: any network of pictures.
        pictures: what `lucent.modelzoo.photograph` takes, or a list, which shares the groups.
        layer: one with rows and columns, such as "mixed4b".
        n_groups: number of groups, at most as many as the layer has channels.
        reduction: what finds the directions, as for `ChannelReducer`. NMF gives groups that add up;
            where activations may be negative, of both signs. The directions of others, such as
            "PCA", have strengths of both signs; they are turned so that the strongest is positive.
        score: what to attribute to the groups, as for `lucent.attribution.gradient_x_activation`,
            such as "labels:tabby"; None attributes nothing.
        options: further keyword arguments of `render_icons`, such as `size` and `steps`.

    Raises:
        InputError: a picture or the score cannot be used, or there are more groups than channels.
        LayerError: there is no such layer, or it has no rows and columns.
        MissingExtra: scikit-learn is not installed.

    Source: Olah et al. 2018, The Building Blocks of Interpretability
    (https://distill.pub/2018/building-blocks).
    """
    photos, acts = seen(model, pictures, layer)
    directions, strengths = decomposed(acts, n_groups, reduction)
    attributions = None
    if score is not None:
        found = gradient_x_activation(model, photos, score, layer)
        attributions = as_numpy(found.along(directions, strengths=strengths))
    wanted = [direction(layer, vector, cossim_pow=1) for vector in directions]
    return NeuronGroups(
        shown(photos),
        layer,
        as_numpy(directions),
        as_numpy(strengths),
        render_icons(model, wanted, **options),
        attributions,
    )


def decomposed(acts: Tensor, n_groups: int, reduction: str | type = "NMF") -> tuple[Tensor, Tensor]:
    """Split activations into directions and how much of them there is where.

    >>> red = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    >>> directions, strengths = decomposed(torch.cat([2 * red, 5 * red.flip(1)], 3), 2)
    >>> directions.round(decimals=2).tolist(), strengths.amax((0, 2, 3)).round(decimals=2).tolist()
    ([[0.0, 1.0], [1.0, 0.0]], [5.0, 2.0])

    Args:
        acts: (B, C, *spatial).
        n_groups: number of directions.
        reduction: as for `neuron_groups`.

    Returns:
        Directions of length 1, or 0 where fewer make up everything, (G, C), those first of which
        there is most, and their strengths, (B, G, *spatial).

    Raises:
        InputError: there are more groups than channels or positions.
    """
    most = min(acts.shape[1], acts[:, 0].numel())
    if n_groups > most:
        raise InputError(
            f"n_groups={n_groups} is too many: the activations have {acts.shape[1]} channels at "
            f"{acts[:, 0].numel()} positions, so there are at most {most}."
        )
    signed = reduction == "NMF" and bool(acts.min() < 0)
    reducer = ChannelReducer(n_groups, reduction, **(_NMF if reduction == "NMF" else {}))
    # Some algorithms draw from NumPy's global generator. What NMF lacks after its rounds is less
    # than a mask or an icon shows, and the warning asks for an option that is not here.
    with forked_rng(0), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Maximum number of iterations", UserWarning)
        strengths = reducer.fit_transform(posneg(acts) if signed else acts)
    directions = torch.from_numpy(np.asarray(reducer.components)).to(acts)
    if signed:
        positive, negative = directions.chunk(2, dim=1)
        directions = positive - negative
    return _ordered(directions, strengths)


def _ordered(directions: Tensor, strengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return directions of length 1 that point where they are strongest, the strongest first."""
    each = strengths.movedim(1, 0).flatten(1)
    strongest = each.gather(1, each.abs().argmax(1, keepdim=True))
    lengths = torch.linalg.vector_norm(directions, dim=1, keepdim=True)
    scales = torch.where(strongest < 0, -1, 1) * torch.where(lengths > 0, lengths, 1)
    order = (each * scales).abs().sum(1).argsort(descending=True)
    scaled = strengths * scales.view(-1, *[1] * (strengths.dim() - 2))
    return (directions / scales)[order], scaled[:, order]
