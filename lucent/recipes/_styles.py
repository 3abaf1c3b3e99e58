"""What style transfers share: layers that suit a network, and terms that count the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from lucent.errors import InputError
from lucent.modelzoo.spec import ModelSpec
from lucent.optvis.objectives import Objective
from lucent.recipes._pictures import activations, one_photograph


class StyleLayers(NamedTuple):
    """Where pictures are compared.

    Attributes:
        content: layers whose activations count, rather deep ones.
        style: layers whose Gram matrices count, from the first ones on.
    """

    content: Sequence[str]
    style: Sequence[str]


#: Those of InceptionV1 are Lucid's, those of VGG the ones of Gatys et al.; the others were chosen
#: by looking at pictures.
_LAYERS = {
    "inceptionv1": StyleLayers(
        ("mixed3b",), ("conv2d2", "mixed3a", "mixed4a", "mixed4b", "mixed4c")
    ),
    "squeezenet1_0": StyleLayers(
        ("features.5",), ("features.1", "features.3", "features.4", "features.5")
    ),
    "synthnet": StyleLayers(("mixed3a",), ("conv1", "conv2", "mixed3a", "mixed3b")),
    "vgg16": StyleLayers(("features.20",), tuple(f"features.{n}" for n in (1, 6, 11, 18, 25))),
    "vgg19": StyleLayers(("features.22",), tuple(f"features.{n}" for n in (1, 6, 11, 20, 29))),
}
#: Smallest distance that a weight is one over: at a layer that gives the same for every picture,
#: there is nothing to transfer.
_LEAST = 1e-6


def layers_of(spec: ModelSpec, given: StyleLayers | None) -> StyleLayers:
    """Return the layers given, or those that suit the network.

    Raises:
        InputError: there is no layer of style, or those that suit the network are not known.
    """
    layers = given or _LAYERS.get(spec.name)
    if layers is None:
        raise InputError(
            f"Which layers of {spec.name} suit a style transfer is not known: give "
            "layers=StyleLayers(content=['...'], style=['...', '...']), for the content one in the "
            "middle of the network, for the style four or five from the first one to there; "
            "lucent.modelzoo.get_model_layers(model) lists all."
        )
    lists = isinstance(layers, StyleLayers) and not any(isinstance(each, str) for each in layers)
    if not lists or not layers.style:
        raise InputError(
            f"layers={layers!r} has to be StyleLayers(content=[...], style=[...]), two lists of "
            "layers of which the second one is not empty."
        )
    return layers


def strokes_of(model: nn.Module, picture: Any, size: tuple[int, int]) -> Tensor:
    """Return a picture of style in a size, (1, C, *size); see `photograph`.

    Raises:
        InputError: it is a batch, or cannot be used.
    """
    if not isinstance(picture, Tensor):
        return one_photograph(model, picture, size=size)
    return F.interpolate(one_photograph(model, picture), size, mode="bilinear", antialias=True)


def balanced(
    model: nn.Module, nearness: Sequence[Objective], total: float, grey: Tensor, other: Tensor
) -> list[Objective]:
    """Return objectives weighted so that all of them lose the same for a grey picture.

    One that loses little for grey, such as the content of a photograph of a plain wall, would drown
    all others with a weight of one over that. What it loses for the other of the two pictures is at
    most about twice that for others, so that half of it is the least to divide by.

    Args:
        model: the network.
        nearness: each minus a distance of the first picture of a batch.
        total: sum of the losses for a grey picture.
        grey: a batch whose first picture is grey.
        other: a batch whose first picture is the other one: for content the style, for style the
            content.
    """
    if not nearness:
        return []
    losses = zip(_losses(model, nearness, grey), _losses(model, nearness, other), strict=True)
    scales = [max(plain, unlike / 2, _LEAST) for plain, unlike in losses]
    return [
        total / len(nearness) / scale * each for each, scale in zip(nearness, scales, strict=True)
    ]


def _losses(model: nn.Module, nearness: Sequence[Objective], batch: Tensor) -> list[float]:
    with activations(model, Objective.sum(nearness).layers, batch) as T:
        return [each(T).item() for each in nearness]
