"""What is taken where nothing is said: image, transforms, and the size that the network sees."""

from __future__ import annotations

import functools
import numbers
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from lucent.errors import InputError
from lucent.layers import unwrap
from lucent.misc.io.pictures import Channels
from lucent.modelzoo._inputs import completed
from lucent.modelzoo.spec import ModelSpec, spec_of
from lucent.optvis import param, presets, transform
from lucent.optvis._spectrum import COLOR_CORRELATION_SVD_SQRT
from lucent.optvis.objectives import Objective, as_objective
from lucent.optvis.param import Image, as_image
from lucent.optvis.presets import Preset
from lucent.optvis.settings import OptimizerFactory, RunSettings, adam
from lucent.optvis.transform.base import Fused, SizeFn, Transform

#: Side of the default image of a network whose spec names none, as in Lucid.
DEFAULT_IMAGE_SIZE = 128
#: Side of the default volume: it has as many voxels as 16 of these images have pixels.
DEFAULT_VOLUME_SIZE = 64


def default_image(
    spec: ModelSpec,
    size: int | tuple[int, int] | None = None,
    *,
    batch: int = 1,
    **options: Any,
) -> Image:
    """Return the image that suits a network: its channels, its spectrum and its size.

    Three channels are colours, described as those of natural images; any others are independent.

    Args:
        spec: facts about the network.
        size: side in pixels, of a volume also its depth unless the spec has one, or (height,
            width); None is that of the spec, 128 if it has none. Of volumes it is the size that the
            network was trained on, 64 if the spec has none.
        batch: number of images.
        options: further arguments of `param.image`; they go before what the spec says.
    """
    volumes = spec.dimensions == 3
    known = spec.image_size if size is None else size
    if known is None:
        known = (spec.input_size or DEFAULT_VOLUME_SIZE) if volumes else DEFAULT_IMAGE_SIZE
    height, width = known if isinstance(known, tuple) else (known, known)
    facts: dict[str, Any] = {
        "channels": spec.channels or 3,
        "depth": spec.depth or width if volumes else None,
        "color_matrix": spec.color_matrix or COLOR_CORRELATION_SVD_SQRT,
        "decay_power": 1.0 if spec.decay_power is None else spec.decay_power,
    }
    return param.image(width, height, batch=batch, **{**facts, **options})


def checked_spec(model: nn.Module, *, needed: bool) -> ModelSpec:
    """Return what is known about a model.

    Args:
        model: the network.
        needed: find out the spec of a model that has none; otherwise it is an empty one.

    Raises:
        InputError: it is no network, or one without weights yet.
    """
    if not isinstance(model, nn.Module):
        raise InputError(
            f"The model has to be a torch.nn.Module, not {model!r}. A network by its name: "
            "lucent.modelzoo.load(name)."
        )
    network = unwrap(model)
    if any(map(nn.parameter.is_lazy, network.parameters())):
        raise InputError(
            f"{type(network).__name__} has lazy layers without weights: load them, or let it see "
            "an image once, as in model(torch.zeros(1, 3, 224, 224))."
        )
    known = isinstance(getattr(network, "spec", None), ModelSpec)
    spec = spec_of(model) if needed or known else ModelSpec(type(model).__name__)
    return completed(spec, network)


def checked_thresholds(thresholds: Iterable[int] | int) -> list[int]:
    """Return the steps after which to keep the image; a single number is one of them.

    Raises:
        InputError: there is none, or one is no number of steps.
    """
    steps = list(thresholds) if isinstance(thresholds, Iterable) else [thresholds]
    if not steps or not all(isinstance(n, numbers.Integral) and n >= 0 for n in steps):
        raise InputError(
            f"thresholds={thresholds!r} has to be whole numbers of steps, for example (128, 512)."
        )
    return [int(n) for n in steps]


def _transforms_or_standard(
    transforms: Iterable[Transform] | Transform | None, spec: ModelSpec
) -> list[Transform]:
    """Return transforms as a list; None are the standard ones, a single one is a list of it."""
    if transforms is None:
        volumes = spec.dimensions == 3
        return list(
            transform.standard_volume_transforms if volumes else transform.standard_transforms
        )
    if callable(transforms) and not isinstance(transforms, nn.Sequential):
        return [transforms]
    return list(transforms)


def network_size(spec: ModelSpec, fixed: int | Sequence[int] | str | None) -> SizeFn:
    """Return the function from an image's size to the one that the network sees.

    Args:
        spec: facts about the network.
        fixed: (height, width), or the shorter side; "native" is the image's own size; None is the
            size of the spec.

    Raises:
        InputError: it is no size, or the network takes another one only.
    """
    if fixed is None:
        return functools.partial(_size_by_spec, spec)
    if spec.dimensions == 3 and fixed != "native":
        raise InputError(
            f"fixed_image_size={fixed!r} is for pictures, but {spec.name} takes volumes, which "
            "keep the size that they are made with: lambda: param.image(width, height, depth=16)."
        )
    if isinstance(fixed, str):
        _check_native(spec, fixed)
        return lambda own: own
    sides = [int(n) for n in np.atleast_1d(fixed)]
    if np.ndim(fixed) > 1 or len(sides) > 2 or min(sides, default=0) < 1:
        raise InputError(
            f"fixed_image_size={fixed!r} has to be (height, width) or the shorter side, in pixels, "
            "or 'native'."
        )
    if len(sides) == 2:
        return lambda own: (sides[0], sides[1])
    return lambda own: _zoomed(own, sides[0] / min(own))


def _check_native(spec: ModelSpec, fixed: str) -> None:
    if fixed != "native":
        raise InputError(
            f"fixed_image_size={fixed!r} is not known: write 'native' for the image's own size, or "
            "give (height, width) or the shorter side, in pixels."
        )
    if spec.fixed_size and spec.input_size:
        height, width = spec.input_size
        raise InputError(
            f"fixed_image_size='native' does not suit {spec.name}: images of {height} x {width} "
            "pixels are all it takes, because weights of it belong to positions, such as the "
            "position embedding of a vision transformer. Leave fixed_image_size out; images of "
            "other sizes are then brought to that one."
        )


def _size_by_spec(spec: ModelSpec, own: tuple[int, int]) -> tuple[int, int]:
    if spec.input_size is None or spec.fixed_size:
        return spec.input_size or own
    # Larger images keep their size; the network was trained on smaller ones, but takes them.
    return _zoomed(own, max(1.0, *(n / m for n, m in zip(spec.input_size, own, strict=True))))


def _zoomed(size: tuple[int, int], zoom: float) -> tuple[int, int]:
    return round(size[0] * zoom), round(size[1] * zoom)


def shown_channels(spec: ModelSpec | None) -> Channels | None:
    """Return how to show images for a network: the fourth channel that it takes is no opacity."""
    return "hue" if spec is not None and spec.channels == 4 else None


@dataclass(frozen=True)
class Setup:
    """All of a rendering but the objective.

    Attributes:
        model: the network.
        param_f: makes the image to start from, or a pair (params, image_f).
        optimizer: makes the optimizer of the image's parameters.
        transforms: all that happens to the image before the network sees it.
        settings: of the run.
        thresholds: steps after which to keep the image.
        preset: what the parts that the caller left out were taken from.
    """

    model: nn.Module
    param_f: Callable[[], Any]
    optimizer: OptimizerFactory
    transforms: Fused
    settings: RunSettings
    thresholds: Sequence[int]
    preset: Preset

    @property
    def steps(self) -> int:
        """Number of steps."""
        return max(self.thresholds)

    @property
    def channels(self) -> Channels | None:
        """How to show the channels."""
        return shown_channels(self.settings.spec)

    def image(self) -> Image:
        """Return a new image to start from."""
        return as_image(self.param_f())

    def objective(self, wanted: Objective | Callable[[Any], Any] | str) -> Objective:
        """Return an objective, with what the preset subtracts of every one."""
        objective, penalty = as_objective(wanted), self.preset.penalty
        return objective if penalty is None else objective - penalty


def setup(
    model: nn.Module,
    param_f: Callable[[], Any] | None,
    optimizer: OptimizerFactory | None,
    transforms: Iterable[Transform] | None,
    thresholds: Iterable[int],
    fixed_image_size: int | Sequence[int] | str | None,
    *,
    preset: Preset | str | None = None,
    **options: Any,
) -> Setup:
    """Return what `render_vis` takes these arguments for.

    Args:
        model: the network. Its ReLUs are not redirected if it has `redirected_ReLU = False`.
        param_f: None makes one image that suits the model.
        optimizer: None is `adam`.
        transforms: None are the standard ones of pictures or volumes.
        thresholds: steps after which to keep the image.
        fixed_image_size: as for `network_size`.
        preset: where the parts left out come from; None is "vit" for a transformer of which no part
            is given, else "plain".
        options: fields of `RunSettings`, with `preprocess` and `relu_override`; `draws=None` are
            those of the preset.

    Raises:
        InputError: an argument cannot be used.
    """
    steps = checked_thresholds(thresholds)
    spec = checked_spec(model, needed=options["preprocess"] or fixed_image_size is None)
    whole = param_f is None and optimizer is None and transforms is None
    taken = presets.chosen(preset, model if whole and spec.dimensions != 3 else None)
    if spec.dimensions == 3 and transforms is None and taken.transforms is not None:
        raise InputError(
            f"The preset {taken.name!r} is for pictures, but {spec.name} takes volumes: leave it "
            "out, or give transforms= of your own."
        )
    draws = options.pop("draws", None)
    redirect = options.pop("relu_override") and getattr(unwrap(model), "redirected_ReLU", True)
    if transforms is None and taken.transforms is not None:
        transforms = taken.transforms(max(steps))
    return Setup(
        model=model,
        param_f=param_f or functools.partial(taken.image or default_image, spec),
        optimizer=optimizer or (taken.optimizer(max(steps)) if taken.optimizer else adam),
        transforms=Fused(
            _transforms_or_standard(transforms, spec), network_size(spec, fixed_image_size)
        ),
        settings=RunSettings(
            steps=max(steps),
            spec=spec,
            relu_override=redirect,
            draws=taken.draws if draws is None else draws,
            **options,
        ),
        thresholds=steps,
        preset=taken,
    )
