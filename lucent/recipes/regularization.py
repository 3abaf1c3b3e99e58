"""Regularisation compared: the same unit, with what keeps its picture natural and without."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import nn

from lucent.errors import InputError
from lucent.modelzoo.synthnet.truth import high_frequency_share
from lucent.optvis import transform
from lucent.optvis.defaults import checked_spec, checked_thresholds, default_image
from lucent.optvis.objectives import (
    L1,
    Objective,
    as_objective,
    blur_input_each_step,
    total_variation,
)
from lucent.optvis.param import Image
from lucent.optvis.render import Pictures
from lucent.optvis.transform.base import Transform
from lucent.recipes._pictures import Wanted, caption, rendered, strengths
from lucent.recipes.results import Panels, Result
from lucent.util import forked_rng


@dataclass(frozen=True)
class Setting:
    """A way to keep pictures natural.

    Attributes:
        image: arguments of `param.image`, besides those that the model's spec gives.
        transforms: what the picture must survive; None are the standard transforms.
        penalty: subtracted; sums over the picture, which count per number in it, in units of what
            the unit responds.
    """

    image: Mapping[str, Any] = field(default_factory=dict)
    transforms: Sequence[Transform] | None = None
    penalty: Objective | None = None


_PIXELS = MappingProxyType({"fft": False, "decorrelate": False})
#: Lucid's, of its notebook on regularisation, but for the weights of the penalties: with these,
#: units of SynthNet and of SqueezeNet come out, with five times as much of the first two some
#: pictures stay grey.
SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        "none": Setting(_PIXELS, ()),
        "penalties": Setting(
            _PIXELS,
            (),
            0.1 * L1(constant=0.5) + 0.3 * total_variation() + 60 * blur_input_each_step(),
        ),
        "transforms": Setting(
            _PIXELS,
            (
                transform.pad(2),
                transform.jitter(1),
                transform.random_scale([1.1 ** (n / 10) for n in range(-10, 11)]),
                transform.random_rotate(range(-5, 6)),
            ),
        ),
        "Fourier": Setting(transforms=()),
        "transforms, Fourier": Setting(),
    }
)


@dataclass(frozen=True, eq=False)
class Regularization(Result):
    """Pictures of one unit under several settings, after some numbers of steps.

    Attributes:
        unit: its name.
        settings: names.
        thresholds: numbers of steps.
        images: (n settings, n thresholds, H, W, C) in [0, 1]; a run that ended early keeps its last
            picture.
    """

    unit: str
    settings: tuple[str, ...]
    thresholds: tuple[int, ...]
    images: np.ndarray

    @property
    def high_frequencies(self) -> np.ndarray:
        """Share of the power above a quarter of a cycle per pixel, (n settings, n thresholds)."""
        pictures = self.images.reshape(-1, *self.images.shape[2:])
        return high_frequency_share(pictures).reshape(self.images.shape[:2])

    def panels(self) -> Panels:
        """Return a row for each setting."""
        labels = [
            name if not n else f"{steps} steps"
            for name in self.settings
            for n, steps in enumerate(self.thresholds)
        ]
        pictures = [*self.images.reshape(-1, *self.images.shape[2:])]
        return Panels(pictures, labels, len(self.thresholds), self.unit)


def regularization(
    model: nn.Module,
    unit: Wanted,
    *,
    settings: Mapping[str, Setting] = SETTINGS,
    thresholds: Iterable[int] = (1, 32, 128, 512),
    size: int | tuple[int, int] | None = None,
    **options: Any,
) -> Regularization:
    """Make the picture of a unit under several settings.

    >>> from lucent.modelzoo import synthnet
    >>> table = regularization(synthnet(), "mixed4a:63", thresholds=(1, 2))
    >>> table.images.shape[:2], table.settings[0]
    ((5, 2), 'none')

    Args:
        model: the network.
        unit: such as "mixed4a:476".
        settings: by their names.
        thresholds: steps after which to keep the pictures.
        size: in pixels, (height, width) or both; None is that of the model's spec.
        options: further arguments of `render_vis` but for `transforms` and `preset`. Ctrl-C returns
            the settings up to the one that it ended.

    Raises:
        InputError: there is no setting, or an option belongs to the settings.

    Source: Olah et al. 2017, Feature Visualization
    (https://distill.pub/2017/feature-visualization).
    """
    if not settings or options.keys() & {"transforms", "preset", "steps"}:
        raise InputError(
            "regularization compares at least one setting, and each says its transforms, not the "
            "whole: give settings={'mine': Setting(transforms=[...])}, and thresholds=(...) for "
            "the steps."
        )
    wanted, steps = as_objective(unit), sorted({*checked_thresholds(thresholds)})
    response = np.ones(1)
    if any(setting.penalty is not None for setting in settings.values()):
        response = strengths(model, [wanted], size=size, steps=max(steps), **options)
    rows: dict[str, np.ndarray] = {}
    for name, setting in settings.items():
        made = _row(model, wanted, setting, response.item(), size=size, thresholds=steps, **options)
        rows[name] = np.stack([made[: n + 1][-1][0] for n in range(len(steps))])
        if made.interrupted:
            break
    return Regularization(caption(wanted), tuple(rows), tuple(steps), np.stack([*rows.values()]))


def _row(
    model: nn.Module,
    unit: Objective,
    setting: Setting,
    response: float,
    *,
    size: int | tuple[int, int] | None,
    **options: Any,
) -> Pictures:
    """Return the pictures of one setting, for a unit with this response to its own picture."""
    spec = checked_spec(model, needed=True)

    def image() -> Image:
        return default_image(spec, size, **setting.image)

    if setting.penalty is not None:
        with forked_rng(0):
            unit = unit - setting.penalty * (response / image()().numel())
    given = {"preset": "plain", "transforms": setting.transforms, **options}
    return rendered(model, unit, image, **given)
