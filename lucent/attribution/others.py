"""The methods of captum, on the layers and scores that are known here."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from lucent.attribution._passes import Letters, Passes, Place, opened
from lucent.attribution.scores import Score, as_score
from lucent.errors import InputError, LayerError, suggestion
from lucent.layers import INPUT
from lucent.util import optional


def captum_attribution(
    model: nn.Module,
    picture: Any,
    score: Score | str | int,
    layer: str,
    *,
    method: str,
    layout: Letters = None,
    **options: Any,
) -> Tensor:
    """Attribute a score to a layer by a method of captum.

    A method that captum has for layers, such as "LayerGradCam", sees the network from the picture
    on. Any other, such as "Occlusion", sees what comes after the layer as a function of what the
    layer gives; with the layer "input" that is the whole network.

    Args:
        model: any network; it is as before afterwards.
        picture: what `photograph` takes; a tensor (B, C, *spatial) may be a batch.
        score: what `as_score` takes.
        layer: name of a layer before the score, or "input" for the picture.
        method: name of a class in `captum.attr`.
        layout: which axis is which, where that cannot be found out; see `Activations`.
        options: of the class and of its method `attribute`, such as `sliding_window_shapes`; sizes
            are those of what the layer gives.

    Returns:
        (B, C, *spatial), with C = 1 where the method sums over channels.

    Raises:
        InputError: captum has no such method, or the picture or the score cannot be used.
        LayerError: there is no such layer.
        MissingExtra: captum is not installed.

    Source: Kokhlikyan et al. 2020, Captum (https://arxiv.org/abs/2009.07896).
    """
    known, score = optional("captum.attr", "captum"), as_score(score)
    kind = _method(known, method)
    with opened(model, picture, layout) as passes, _prepared(passes.model):
        place = start = passes.place(layer)
        arguments: list[Any] = []
        if issubclass(kind, known.LayerAttribution):
            start, arguments = passes.place(INPUT), [passes.module(place)]
        function = _Scored(passes, score, start)
        value = start.value.clone().requires_grad_()
        passes.picture.requires_grad_()  # captum hooks gradients before the layer as well
        function(value)  # from here on it is known which layers the score reads
        of_class = inspect.signature(kind).parameters
        made = kind(function, *arguments, **{n: v for n, v in options.items() if n in of_class})
        options = {n: v for n, v in options.items() if n not in of_class}
        return _ordered(made.attribute(value, **options), place, method).detach()


class _Scored(nn.Module):
    """A score as a function of what a layer gives."""

    def __init__(self, passes: Passes, score: Score, place: Place) -> None:
        super().__init__()
        self.network = passes.model  # captum hooks the parts that it finds here
        self._passes, self._score, self._place = passes, score, place

    def forward(self, value: Tensor) -> Tensor:
        return self._passes.score(self._score, self._place, value)


def _method(known: Any, name: str) -> Any:
    """Return a class of captum by its name."""
    kinds = {
        own: kind
        for own, kind in vars(known).items()
        if inspect.isclass(kind)
        and issubclass(kind, known.Attribution)
        and not own.endswith("Attribution")  # what methods have in common
    }
    if name not in kinds or issubclass(kinds[name], known.NeuronAttribution):
        hint = suggestion(name, kinds) or "'LayerGradCam', 'Occlusion' and 'DeepLift' are three."
        raise InputError(
            f"captum has no method {name!r} for a score and a layer. {hint} Of a unit, "
            "score='layer:channel:x:y' takes the place of its methods for neurons."
        )
    return kinds[name]


@contextmanager
def _prepared(model: nn.Module) -> Iterator[None]:
    """Let no module overwrite its input, which captum reads later, and remove what it leaves."""
    known = [(vars(module), dict(vars(module))) for module in model.modules()]
    try:
        for attributes, _ in known:
            if attributes.get("inplace") is True:
                attributes["inplace"] = False
        yield
    finally:
        for attributes, before in known:
            attributes.clear()
            attributes.update(before)


def _ordered(found: Any, place: Place, method: str) -> Tensor:
    """Return what captum made of a layer as (B, C, *spatial)."""
    if isinstance(found, tuple):
        (found,) = found
    if found.shape == place.value.shape:
        return place.ordered(found)
    if place.ordered(place.value).shape == place.value.shape:
        return found
    raise LayerError(
        f"{method} takes axis 1 of {place.name!r} for its channels, but it gives "
        f"{tuple(place.value.shape)}: name a layer that gives (B, C, H, W)."
    )
