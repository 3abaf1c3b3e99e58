"""Adversarial pictures: changes too small to see, and what layers see after them."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lucent.errors import InputError, LucentWarning
from lucent.layers import LABELS
from lucent.misc.io.pictures import as_numpy
from lucent.modelzoo.spec import ModelSpec
from lucent.optvis.defaults import checked_spec
from lucent.optvis.loop import Run
from lucent.optvis.objectives import Acts, objective
from lucent.optvis.param import Image, constrain_L_inf, unit_ball_L_inf
from lucent.optvis.settings import RunSettings
from lucent.recipes._pictures import activations, one_photograph
from lucent.recipes._seen import in_its_size, photographs, shown
from lucent.recipes.activation_grid import ActivationGrid, activation_grids
from lucent.recipes.results import Panels, Result
from lucent.units import whole

#: Steps add up to so many times the largest change, so that it can be reached and left again:
#: Madry et al. 2018, Towards Deep Learning Models Resistant to Adversarial Attacks
#: (https://arxiv.org/abs/1706.06083).
_TRAVEL = 2.5


@dataclass(frozen=True, eq=False)
class Attack(Result):
    """A photograph, and one like it that the network takes for something else.

    Attributes:
        photograph: (H, W, C) in [0, 1], as the network sees it.
        adversarial: (H, W, C) in [0, 1].
        epsilon: largest change of a value.
        target: index of the class that it was to become.
        probabilities: of all classes, before and after, (2, n_classes).
        labels: of the classes; their numbers where the network has none.
    """

    photograph: np.ndarray
    adversarial: np.ndarray
    epsilon: float
    target: int
    probabilities: np.ndarray
    labels: tuple[str, ...]

    def captions(self) -> tuple[str, str]:
        """Return the likeliest class before and after, with its probability."""
        before, after = (f"{self.labels[p.argmax()]} {p.max():.0%}" for p in self.probabilities)
        return before, after

    def panels(self) -> Panels:
        """Return both pictures, and between them the change, grey where there is none."""
        change = 0.5 + (self.adversarial - self.photograph) / (2 * self.epsilon)
        before, after = self.captions()
        labels = (before, f"change, at most {self.epsilon:.3g}", after)
        return Panels([self.photograph, change.clip(0, 1), self.adversarial], labels, columns=3)


@dataclass(frozen=True, eq=False)
class AdversarialGrids(Result):
    """Activation grids of a photograph before and after an attack.

    Attributes:
        attack: both pictures.
        before: what the layer sees in the photograph.
        after: what it sees in the adversarial one.
    """

    attack: Attack
    before: ActivationGrid
    after: ActivationGrid

    def panels(self) -> Panels:
        """Return the pictures in the upper row and their grids below."""
        attack, grids = self.attack, (self.before.mosaic(), self.after.mosaic())
        labels = (*attack.captions(), f"{self.before.layer}, before", f"{self.after.layer}, after")
        return Panels([attack.photograph, attack.adversarial, *grids], labels, columns=2)


class PerturbedImage(Image):
    """A photograph and a small change, together in [0, 1]; only the change is optimised.

    Args:
        photo: (B, C, H, W) in [0, 1].
        epsilon: largest change of a value.
    """

    photo: Tensor

    def __init__(self, photo: Tensor, epsilon: float) -> None:
        super().__init__()
        self.register_buffer("photo", photo, persistent=False)
        self.epsilon, self.change = epsilon, unit_ball_L_inf(photo.shape)

    def forward(self) -> Tensor:
        """Return the changed photograph, (B, C, H, W)."""
        changed = self.photo + self.epsilon * self.change()
        return (constrain_L_inf(2 * changed - 1) + 1) / 2


@objective
def log_probability(layer: Acts, label: int) -> Tensor:
    """Logarithm of the probability of a class, the mean over the batch.

    Args:
        layer: name of a layer that gives logits, (B, n_classes), such as "labels".
        label: index of the class.
        batch: the image it is about; None takes the mean over the batch.
    """
    return F.log_softmax(layer, 1)[:, label]


def attack(
    model: nn.Module,
    picture: Any,
    target: int | str,
    *,
    epsilon: float = 0.05,
    steps: int = 100,
    confidence: float = 0.99,
) -> Attack:
    """Change a photograph by very little, until the network takes it for another class.

    Each step changes every value by as much as any other, in the direction that raises the
    probability of the class.

    >>> from lucent.modelzoo import synthnet
    >>> photo = torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(0))
    >>> found = attack(synthnet(), photo, "dots", epsilon=0.1, steps=20)
    >>> bool(np.abs(found.adversarial - found.photograph).max() <= 0.1 + 1e-6)
    True

    Args:
        model: a network of pictures that gives logits.
        picture: what `lucent.modelzoo.photograph` takes.
        target: the class that it is to become: its index, or its label.
        epsilon: largest change of a value, in (0, 1].
        steps: at most so many.
        confidence: it ends when the class has this probability, in (0, 1].

    Raises:
        InputError: an argument is out of its range, or there is no such class.

    Source: Kurakin et al. 2017, Adversarial Examples in the Physical World
    (https://arxiv.org/abs/1607.02533).
    """
    _check(epsilon, steps, confidence)
    spec = checked_spec(model, needed=True)
    photo = photographs(model, one_photograph(model, picture))
    with activations(model, [LABELS], photo, in_its_size(photo)) as T:
        n_classes = T(LABELS).shape[1]
    index = _class_index(spec, target, n_classes)
    with Run(
        model,
        log_probability(LABELS, index),
        PerturbedImage(photo, epsilon),
        optimizer=lambda change: torch.optim.SGD(change, lr=_TRAVEL / steps),
        settings=RunSettings(steps=steps, seed=0, spec=spec),
    ) as run:
        run.iterate([lambda run: _stop_when_sure(run, confidence)])
        changed = run.snapshot()
    both = torch.cat([photo, changed])
    with activations(model, [LABELS], both, in_its_size(both)) as T:
        probabilities = as_numpy(T(LABELS).float().softmax(1))
    if probabilities[1].argmax() != index:
        warnings.warn(
            f"The picture did not become class {target!r}, whose probability is "
            f"{probabilities[1, index]:.2g}: allow a larger epsilon than {epsilon}, or more steps.",
            LucentWarning,
            stacklevel=2,
        )
    labels = spec.labels or tuple(map(str, range(n_classes)))
    before, after = shown([photo[0], changed[0]])
    return Attack(before, after, epsilon, index, probabilities, labels)


def adversarial_grids(
    model: nn.Module,
    picture: Any,
    target: int | str,
    layer: str,
    *,
    epsilon: float = 0.05,
    **options: Any,
) -> AdversarialGrids:
    """Show what a layer sees in a photograph before and after an attack.

    Args:
        model: as for `attack`.
        picture: as for `attack`.
        target: as for `attack`.
        layer: one with rows and columns, such as "mixed4d".
        epsilon: as for `attack`.
        options: further keyword arguments of `activation_grids`. Both grids share their groups.

    Raises:
        InputError: as for `attack` and `activation_grid`.
        LayerError: there is no such layer, or it has no rows and columns.
    """
    found = attack(model, picture, target, epsilon=epsilon)
    both = [torch.from_numpy(one).movedim(-1, 0) for one in (found.photograph, found.adversarial)]
    before, after = activation_grids(model, both, layer, **options)
    return AdversarialGrids(found, before, after)


def _stop_when_sure(run: Run, confidence: float) -> None:
    if run.step and -run.history.loss[-1] >= math.log(confidence):
        run.stop()


def _check(epsilon: float, steps: int, confidence: float) -> None:
    for name, value in (("epsilon", epsilon), ("confidence", confidence)):
        if not 0 < value <= 1:
            raise InputError(f"{name}={value!r} has to be above 0 and at most 1.")
    if whole(steps, "steps") < 1:
        raise InputError(f"steps={steps!r} has to be a number of steps, at least 1.")


def _class_index(spec: ModelSpec, target: int | str, n_classes: int) -> int:
    index = spec.label_index(target) if isinstance(target, str) else whole(target, "target")
    if not 0 <= index < n_classes:
        raise InputError(
            f"There is no class {target!r}: the network has {n_classes} classes, 0 to "
            f"{n_classes - 1}."
        )
    return index
