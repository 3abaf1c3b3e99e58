"""Facets of a unit: pictures in which one of the things that it responds to is accentuated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lucent.attribution import sensitivity
from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.misc.io.pictures import as_numpy
from lucent.optvis.objectives import Acts, Objective, Term, as_objective
from lucent.recipes._scores import with_layers
from lucent.recipes._seen import seen
from lucent.recipes.icons import Icons, render_icons
from lucent.recipes.results import Panels, Result
from lucent.units import Values, channel_vector
from lucent.util import optional


@dataclass(frozen=True, eq=False)
class Facets(Result):
    """A unit as it is, and its facets.

    Attributes:
        names: of the facets.
        icons: pictures of the unit alone, and then with each facet accentuated.
    """

    names: tuple[str, ...]
    icons: Icons

    def panels(self) -> Panels:
        """Return the picture of the unit, and those of its facets."""
        title, *_ = self.icons.labels
        labels = ["the unit alone", *self.names]
        return Panels(list(self.icons.images), labels, len(labels), title)


def facets(
    model: nn.Module,
    unit: Objective | str,
    layer: str,
    directions: Mapping[str, Values],
    *,
    strength: float = 5.0,
    **options: Any,
) -> Facets:
    """Render a unit, and each of its facets.

    >>> from lucent.modelzoo import synthnet
    >>> red, blue = torch.randn(2, 280)
    >>> found = facets(synthnet(), "mixed4b:3", "mixed4a", {"a": red, "b": blue}, steps=2)
    >>> found.icons.images.shape
    (3, 96, 96, 3)

    Args:
        model: the network.
        unit: what to look for, "layer:channel" or an objective.
        layer: an earlier layer, in which the facets are directions.
        directions: for each facet (C,), such as a `probe`; only their shapes count, not their
            lengths.
        strength: weight of the facet, where 1 is that of the unit itself.
        options: of `render_icons`, such as `size`, `steps` and `progress`.

    Raises:
        InputError: there is no facet, one has not a number for each channel, or the unit does not
            depend on the layer.
        LayerError: there is no such layer.

    Source: Goh et al. 2021, Multimodal Neurons in Artificial Neural Networks
    (https://distill.pub/2021/multimodal-neurons).
    """
    if not directions:
        raise InputError("There is no facet: give at least one, as {'faces': probe(...)}.")
    alone = as_objective(unit)
    terms = [strength * facet(alone, layer, values) for values in directions.values()]
    wanted = [unit, *(alone + term for term in terms)]
    return Facets(tuple(directions), render_icons(model, wanted, **options))


def facet(unit: Objective | str, layer: str, direction: Values) -> Objective:
    """Return an objective: the part of a unit that comes from a direction in an earlier layer.

    It is the sum over positions and channels of direction times activation times gradient of the
    unit where that is positive. The gradient counts as a constant. Without a direction, and where
    no gradient is negative, it would be about the activation of the unit itself.

    >>> facet("mixed4b:3", "mixed4a", torch.randn(280))
    <Objective Facet [Channel [mixed4b, 3, None], mixed4a]>

    Args:
        unit: "layer:channel" or an objective.
        layer: name of an earlier layer.
        direction: (C,); it is divided by its largest magnitude.

    Raises:
        InputError: the direction is zero or not finite, or the unit is a bare function; when it is
            called, that the direction has not a number for each channel, or that the unit does not
            depend on the layer.

    Source: Goh et al. 2021, Multimodal Neurons in Artificial Neural Networks
    (https://distill.pub/2021/multimodal-neurons); that negative gradients are left out:
    `FacetLoss` of captum's optim-wip branch.
    """
    wanted, vector = with_layers(unit), torch.as_tensor(direction).detach().double().flatten()
    most = vector.abs().max().item() if vector.numel() else 0.0
    if not 0 < most < float("inf"):
        raise InputError(
            f"A facet of shape {tuple(vector.shape)} whose largest magnitude is {most:g} is no "
            "direction: give finite numbers, one for each channel, that are not all zero."
        )
    arguments = (("acts", layer), ("name", layer), ("unit", wanted), ("direction", vector / most))
    description = f"Facet [{wanted.description or wanted.name}, {layer}]"
    return Objective.of([Term(_of_facet, arguments)], name="facet", description=description)


def _of_facet(acts: Acts, name: str, unit: Objective, direction: Values, T: Activations) -> Tensor:
    # All images that the network saw: the gradient is zero for those that the unit is not about.
    slopes = sensitivity(T, -unit(T), name)
    every = T.ordered(name, T.source(name))
    return (channel_vector(direction, acts, "direction") * every * slopes.clamp_min(0)).sum()


def probe(
    model: nn.Module, examples: Any, others: Any, layer: str, *, regularization: float = 1.0
) -> Tensor:
    """Return the direction in a layer that tells pictures of something from other pictures.

    It has the weights of a logistic regression on the mean activations of each picture: positive
    for channels that are more active in the examples.

    >>> from lucent.modelzoo import synthnet
    >>> probe(synthnet(), torch.rand(4, 3, 96, 96) / 2, torch.rand(4, 3, 96, 96), "mixed4a").shape
    torch.Size([280])

    Args:
        model: the network.
        examples: pictures of it, a list of what `lucent.modelzoo.photograph` takes, or a tensor
            (B, 3, H, W).
        others: pictures of anything else.
        layer: one that gives (B, C, H, W).
        regularization: the larger it is, the more channels share the weight, above 0.

    Returns:
        (C,).

    Raises:
        InputError: there are no pictures of either kind, or the regularization is not positive.
        LayerError: there is no such layer, or it has no rows and columns.
        MissingExtra: scikit-learn is not installed.
    """
    if not regularization > 0:
        raise InputError(f"regularization={regularization} has to be above 0.")
    linear_model = optional("sklearn.linear_model", "reduce")
    means = [as_numpy(seen(model, given, layer)[1].mean((2, 3))) for given in (examples, others)]
    rows = np.concatenate(means).astype(np.float64)
    kinds = np.repeat([1, 0], [len(mean) for mean in means])
    # One scale for all channels: those that say little keep a small weight.
    rows /= rows.std() or 1
    fitted = linear_model.LogisticRegression(C=1 / regularization, max_iter=1000).fit(rows, kinds)
    return torch.from_numpy(fitted.coef_[0]).float()
