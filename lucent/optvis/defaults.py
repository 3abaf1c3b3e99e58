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
from lucent.modelzoo.spec import ModelSpec, spec_of
from lucent.optvis import param, transform
from lucent.optvis._spectrum import COLOR_CORRELATION_SVD_SQRT
from lucent.optvis.param import Image, as_image
from lucent.optvis.settings import OptimizerFactory, RunSettings, adam
from lucent.optvis.transform.base import Fused, SizeFn, Transform

#: Side of the default image of a network whose spec names none, as in Lucid.
DEFAULT_IMAGE_SIZE = 128


def default_image(spec: ModelSpec, size: int | None = None, *, batch: int = 1) -> Image:
    """Return the image that suits a network: its colours, its spectrum and its size.

    Args:
        spec: facts about the network.
        size: side in pixels; None is that of the spec, 128 if it has none.
        batch: number of images.
    """
    return param.image(
        size or spec.image_size or DEFAULT_IMAGE_SIZE,
        batch=batch,
        color_matrix=spec.color_matrix or COLOR_CORRELATION_SVD_SQRT,
        decay_power=1.0 if spec.decay_power is None else spec.decay_power,
    )


def checked_spec(model: nn.Module, *, needed: bool) -> ModelSpec:
    """Return what is known about a model.

    Args:
        model: the network.
        needed: find out the spec of a model that has none; otherwise it is an empty one.

    Raises:
        InputError: it is no network.
    """
    if not isinstance(model, nn.Module):
        raise InputError(
            f"The model has to be a torch.nn.Module, not {model!r}. A network by its name: "
            "lucent.modelzoo.load(name)."
        )
    known = getattr(unwrap(model), "spec", None)
    if needed or isinstance(known, ModelSpec):
        return spec_of(model)
    return ModelSpec(type(model).__name__)


def checked_thresholds(thresholds: Iterable[int]) -> list[int]:
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
    transforms: Iterable[Transform] | Transform | None,
) -> list[Transform]:
    """Return transforms as a list; None are the standard ones, a single one is a list of it."""
    if transforms is None:
        return list(transform.standard_transforms)
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
    """

    model: nn.Module
    param_f: Callable[[], Any]
    optimizer: OptimizerFactory
    transforms: Fused
    settings: RunSettings
    thresholds: Sequence[int]

    @property
    def steps(self) -> int:
        """Number of steps."""
        return max(self.thresholds)

    def image(self) -> Image:
        """Return a new image to start from."""
        return as_image(self.param_f())


def setup(
    model: nn.Module,
    param_f: Callable[[], Any] | None,
    optimizer: OptimizerFactory | None,
    transforms: Iterable[Transform] | None,
    thresholds: Iterable[int],
    fixed_image_size: int | Sequence[int] | str | None,
    **options: Any,
) -> Setup:
    """Return what `render_vis` takes these arguments for.

    Args:
        model: the network. Its ReLUs are not redirected if it has `redirected_ReLU = False`.
        param_f: None makes one image that suits the model.
        optimizer: None is `adam`.
        transforms: None are the standard ones.
        thresholds: steps after which to keep the image.
        fixed_image_size: as for `network_size`.
        options: fields of `RunSettings`, with `preprocess` and `relu_override`.

    Raises:
        InputError: an argument cannot be used.
    """
    steps = checked_thresholds(thresholds)
    spec = checked_spec(model, needed=options["preprocess"] or fixed_image_size is None)
    redirect = options.pop("relu_override") and getattr(unwrap(model), "redirected_ReLU", True)
    return Setup(
        model=model,
        param_f=param_f or functools.partial(default_image, spec),
        optimizer=optimizer or adam,
        transforms=Fused(_transforms_or_standard(transforms), network_size(spec, fixed_image_size)),
        settings=RunSettings(steps=max(steps), spec=spec, relu_override=redirect, **options),
        thresholds=steps,
    )
