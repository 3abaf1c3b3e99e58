"""From a network and wishes to a plan."""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from lucent.errors import InputError, LucentWarning, suggestion
from lucent.hooks import Activations
from lucent.layers import LayerNames, main_layers, unwrap
from lucent.modelzoo.spec import ModelSpec
from lucent.optvis import objectives
from lucent.optvis._memory import checked_size, rows_that_pay
from lucent.optvis.defaults import checked_spec, default_image, network_size
from lucent.optvis.loop import Run
from lucent.optvis.presets import chosen
from lucent.optvis.transform import Fused
from lucent.recipes.icons import default_size
from lucent.sweep._rectified import before_rectifiers
from lucent.sweep._render import given_setup, seen_size
from lucent.sweep.plan import Batch, SweepPlan, seed_of
from lucent.sweep.settings import Kind, SweepSettings, checked_kinds
from lucent.util import device_of, dtype_of, forked_rng, frozen_eval
from lucent.weights import digest

#: Channels of a layer: all of them, those of a list, or those of each layer.
Units = Iterable[int] | Mapping[str, Iterable[int]]


def plan_sweep(
    model: nn.Module,
    *,
    layers: Sequence[str] | None = None,
    units: Units | None = None,
    kinds: Iterable[str] = ("channel",),
    settings: SweepSettings | None = None,
) -> SweepPlan:
    """Plan the pictures of the units of a network, without making any.

    >>> from lucent.modelzoo import synthnet
    >>> settings = SweepSettings(batch_size=12)
    >>> print(plan_sweep(synthnet(), layers=["conv1"], settings=settings).summary())
    synthnet: 32 pictures of 96 x 96 pixels in 3 batches, 256 steps each
      conv1: 32 of 32 units; channel; 11 at a time

    With `batch_size="auto"` a step of one picture of each layer is done, to see what memory it
    takes.

    Args:
        model: any network that takes pictures, on the device that is to make them.
        layers: names; None are the main layers, through which everything passes.
        units: channels, 0 to C - 1: the same of every layer, or by layer; None are all. A layer
            that a mapping does not name has all, too.
        kinds: what is shown of them, of `KINDS`. A layer without positions has no "neuron", which
            would be its channel.
        settings: how; None is `SweepSettings()`.

    Raises:
        InputError: there is no such unit, layer or kind, or the network takes no pictures.
        LayerError: a layer does not exist, or its channels cannot be told.
    """
    settings, kinds = settings or SweepSettings(), checked_kinds(kinds)
    spec = checked_spec(model, needed=True)
    if spec.dimensions == 3:
        raise InputError(f"{spec.name} takes volumes: a sweep is of networks that take pictures.")
    settings = replace(
        settings,
        size=default_size(spec) if settings.size is None else settings.size,
        preset=chosen(settings.preset, model).name,
    )
    names = LayerNames(unwrap(model), spec.layer_aliases)
    grey = _grey(model, spec, settings)
    shapes = _shapes(model, names, grey, layers)
    channels = _units(shapes, names, units)
    batches = [
        batch
        for layer, shape in shapes.items()
        if channels[layer]
        for rows in [_rows(model, settings, layer, channels[layer])]
        for kind in kinds
        if kind != "neuron" or len(shape) > 1
        for targets in [_targets(model, layer, kind, grey, shape)]
        for batch in _batches(settings, layer, kind, channels[layer], rows, targets)
    ]
    return SweepPlan(spec.name, digest(unwrap(model)), settings, shapes, tuple(batches))


def _grey(model: nn.Module, spec: ModelSpec, settings: SweepSettings) -> Tensor:
    """Return a grey picture as the network sees it."""
    with torch.no_grad(), forked_rng(settings.seed):
        picture = torch.full_like(default_image(spec, settings.size)(), 0.5)
        picture = picture.to(device_of(model), dtype_of(model))
        return spec.preprocess(Fused([], network_size(spec, seen_size(spec)))(picture))


def _shapes(
    model: nn.Module, names: LayerNames, grey: Tensor, layers: Sequence[str] | None
) -> dict[str, tuple[int, ...]]:
    """Return what each layer gives of one picture, by its canonical name, in the order asked."""
    if isinstance(layers, str):
        raise InputError(f"layers={layers!r} is one name: write [{layers!r}].")
    given = main_layers(model, grey) if layers is None else layers
    wanted = [*dict.fromkeys(str(names.resolve(layer)) for layer in given)]
    if not wanted:
        raise InputError("layers is empty: name at least one, or leave it out.")
    with torch.no_grad(), frozen_eval(unwrap(model)), Activations(model, wanted) as T:
        T.run(grey)
        return {layer: (*T.channels_first(layer).shape[1:],) for layer in wanted}


def _units(
    shapes: Mapping[str, tuple[int, ...]], names: LayerNames, units: Units | None
) -> dict[str, tuple[int, ...]]:
    """Return the channels of each layer, ascending."""
    each: dict[str, Iterable[int] | None] = {}
    if isinstance(units, Mapping):
        for given, own in units.items():
            layer = str(names.resolve(given))
            if layer in each:
                raise InputError(f"units names the layer {layer!r} twice: give its units once.")
            each[layer] = own
    else:
        # Each layer reads them, which an iterator allows once.
        each = dict.fromkeys(shapes, [*units] if isinstance(units, Iterable) else units)
    for layer in each.keys() - shapes.keys():
        raise InputError(
            f"units names the layer {layer!r}, which is not among those swept, {list(shapes)}. "
            f"{suggestion(layer, shapes)}".strip()
        )
    return {layer: _channels(layer, shape[0], each.get(layer)) for layer, shape in shapes.items()}


def _channels(layer: str, count: int, units: Iterable[int] | None) -> tuple[int, ...]:
    if units is None:
        return tuple(range(count))
    try:
        found = sorted({operator.index(unit) for unit in units})
    except TypeError as error:
        raise InputError(
            f"units={units!r} has to be whole numbers, such as range(16), or a mapping from layers "
            "to them."
        ) from error
    if found and not 0 <= found[0] <= found[-1] < count:
        wrong = found[0] if found[0] < 0 else found[-1]
        raise InputError(f"{layer} has the units 0 to {count - 1}, not {wrong}.")
    return tuple(found)


def _rows(model: nn.Module, settings: SweepSettings, layer: str, units: Sequence[int]) -> int:
    """Return how many pictures of a layer to render at a time."""
    given = checked_size(settings.batch_size)
    if given is not None:
        return given
    # A redirected ReLU, in the first steps, keeps less than a plain one.
    setup = given_setup(model, replace(settings, steps=1), capture=False, relu_override=False)
    with (
        warnings.catch_warnings(),
        forked_rng(settings.seed),
        Run(
            model,
            setup.objective(objectives.channel(layer, units[0])),
            setup.image(),
            transforms=setup.transforms,
            optimizer=setup.optimizer,
            settings=replace(setup.settings, seed=0),
        ) as run,
    ):
        warnings.simplefilter("ignore", LucentWarning)  # they come when it is rendered
        return rows_that_pay(run, model)


def _targets(
    model: nn.Module, layer: str, kind: Kind, grey: Tensor, shape: Sequence[int]
) -> tuple[str, ...]:
    """Return what is rendered for each channel of a layer; nothing if it is the channel itself."""
    return before_rectifiers(unwrap(model), layer, grey, shape) if kind == "negative" else ()


def _batches(
    settings: SweepSettings,
    layer: str,
    kind: Kind,
    units: Sequence[int],
    rows: int,
    targets: Sequence[str],
) -> Iterator[Batch]:
    """Yield batches of nearly equal size, so that the last one is not nearly empty."""
    at_once = max(1, rows // settings.diversity) if kind == "diversity" else rows
    parts = np.array_split(np.array(units), math.ceil(len(units) / at_once))
    for number, part in enumerate(parts):
        own = tuple(part.tolist())
        seeds = tuple(seed_of(settings.seed, layer, unit, kind) for unit in own)
        rendered = tuple(targets[unit] if targets else f"{layer}:{unit}" for unit in own)
        yield Batch(number, layer, kind, own, seeds, rendered)
