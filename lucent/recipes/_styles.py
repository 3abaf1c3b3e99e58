"""What style transfers share: layers that suit a network, and terms that count the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.modelzoo.photographs import photograph
from lucent.modelzoo.spec import ModelSpec
from lucent.optvis.objectives import Objective


class StyleLayers(NamedTuple):
    """Where pictures are compared.

    Attributes:
        content: layers whose activations count, rather deep ones.
        style: layers whose Gram matrices count, from the first ones on.
    """

    content: Sequence[str]
    style: Sequence[str]

    @property
    def all(self) -> set[str]:
        """Every layer."""
        return {*self.content, *self.style}


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
#: Smallest distance that a weight is one over: at a layer where the style gives what a grey picture
#: gives, there is nothing to transfer.
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


def single(model: nn.Module, picture: Any, size: int | tuple[int, int] | None) -> Tensor:
    """Return one photograph as the network takes it, (1, C, H, W); see `photograph`.

    Raises:
        InputError: it is a batch, or cannot be used.
    """
    photo = photograph(model, picture, size=size)
    if len(photo) != 1 or photo.dim() != 4:
        raise InputError(
            f"A style transfer takes one content and one style; got {tuple(photo.shape)}: take one "
            "picture of the batch."
        )
    return photo


def balanced(nearness: Sequence[Objective], T: Activations, total: float) -> list[Objective]:
    """Return objectives weighted so that their losses are equal now.

    Args:
        nearness: each minus a distance.
        T: activations at which all of them are to count the same.
        total: sum of the losses there.
    """
    return [total / len(nearness) / max(each(T).item(), _LEAST) * each for each in nearness]
