"""What a collection will be, as a value, before anything is collected."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from lucent.collect._pictures import Preparer, first_of
from lucent.collect._watching import Watch
from lucent.collect.settings import CollectSettings
from lucent.collect.sources import Source
from lucent.errors import InputError, LayerError
from lucent.layers import INPUT, LayerNames, main_layers, unwrap
from lucent.modelzoo.spec import spec_of
from lucent.util import device_of, dtype_of
from lucent.weights import digest

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CollectPlan:
    """What a collection will be: a value that is written as JSON and compared when a run goes on.

    Attributes:
        model: name of the network.
        weights: digest of its weights.
        labels: of its classes.
        layers: names of the layers.
        shapes: of what they give for an image, (C, *spatial) each.
        attributed: the layers whose positions are attributed to the logits.
        n_classes: number of the logits; 0 where nothing is attributed.
        size: (height, width) of the images, in pixels.
        data: what tells the data from others.
        data_labels: names of their classes.
        count: images that will be looked at, None where that is known at the end.
        settings: what is kept of them.
    """

    model: str
    weights: str
    labels: tuple[str, ...]
    layers: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    attributed: tuple[str, ...]
    n_classes: int
    size: tuple[int, int]
    data: Mapping[str, Any]
    data_labels: tuple[str, ...]
    count: int | None
    settings: CollectSettings

    @property
    def n_shards(self) -> int | None:
        """How many shards there are, None where that is known at the end."""
        return None if self.count is None else -(-self.count // self.settings.shard)

    def shape(self, layer: str) -> tuple[int, ...]:
        """Return the shape of what a layer gives for an image, (C, *spatial)."""
        return self.shapes[self.layers.index(layer)]

    def shard(self, number: int) -> range:
        """Return the images of a shard; the last ones may not be there."""
        start = number * self.settings.shard
        ends = [n for n in (self.count, self.settings.limit) if n is not None]
        return range(start, max(start, min([start + self.settings.shard, *ends])))

    def to_json(self) -> dict[str, Any]:
        """Return the plan as what JSON knows."""
        return {**asdict(self), "settings": self.settings.to_json()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return the plan that `to_json` wrote."""
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in content.items()
        }
        values["shapes"] = tuple(tuple(shape) for shape in content["shapes"])
        values["settings"] = CollectSettings.from_json(content["settings"])
        return cls(**values)


def plan_collection(
    model: nn.Module, source: Source, *, layers: Iterable[str] | None, settings: CollectSettings
) -> CollectPlan:
    """Return what a collection will be; the first image goes through the network.

    Args:
        model: the network.
        source: the images.
        layers: names of layers; None is all that `main_layers` finds.
        settings: what is kept.

    Raises:
        InputError: no image can be read, or there is nothing to collect of them.
        LayerError: there is no such layer.
    """
    spec, own = spec_of(model), settings.size
    given = (own, own) if isinstance(own, int) else own
    image = first_of(source, Preparer(model, given or spec.input_size), settings.shard)[None]
    names = _names(model, image, layers)
    with Watch(model, names, settings.layout, logits=False) as watch:
        shapes = tuple(tuple(acts.shape[1:]) for acts in watch.look(image).values())
    slopes = _slopes(model, image, names, settings) if settings.attributions else {}
    n_classes = next((found.shape[2] for found in slopes.values()), 0)
    seen = hashlib.sha256(np.round(image.numpy() * 255).astype(np.uint8).tobytes())
    counts = [n for n in (source.count, settings.limit) if n is not None]
    return CollectPlan(
        model=spec.name,
        weights=digest(unwrap(model)),
        labels=spec.labels,
        layers=names,
        shapes=shapes,
        attributed=tuple(slopes),
        n_classes=n_classes,
        size=(image.shape[2], image.shape[3]),
        data={**source.identity, "first": seen.hexdigest()[:16]},
        data_labels=source.classes,
        count=None if source.count is None else min(counts),
        settings=settings,
    )


def _names(model: nn.Module, image: Tensor, layers: Iterable[str] | None) -> tuple[str, ...]:
    if layers is None:
        device, dtype = device_of(model), dtype_of(model)
        return main_layers(model, spec_of(model).preprocess(image.to(device)).to(dtype))
    given = [layers] if isinstance(layers, str) else list(layers)
    if not given:
        raise InputError(
            "The list of layers is empty: name one, or leave it out for the main ones."
        )
    if INPUT in given:
        raise InputError(
            "'input' is the picture itself, not a layer: its colours are collected anyway. Name "
            "layers of the network."
        )
    # By one name, whichever was given: so that other folders about the network have the same.
    names = LayerNames(unwrap(model), spec_of(model).layer_aliases)
    return tuple(dict.fromkeys(str(names.resolve(layer)) for layer in given))


def _slopes(
    model: nn.Module, image: Tensor, layers: Sequence[str], settings: CollectSettings
) -> dict[str, Tensor]:
    """Return attributions of the first position of the layers that have any."""
    try:
        with Watch(model, layers, settings.layout, logits=True) as watch:
            watch.look(image)
            first = torch.zeros(1, 1, dtype=torch.long)
            return watch.slopes(image, dict.fromkeys(layers, first))
    except (InputError, LayerError, RuntimeError, ValueError) as error:
        if len(layers) == 1:
            logger.info("Positions of %r are not attributed to logits: %s", layers[0], error)
            return {}
    one_by_one = [_slopes(model, image, [layer], settings) for layer in layers]
    return {layer: found for each in one_by_one for layer, found in each.items()}
