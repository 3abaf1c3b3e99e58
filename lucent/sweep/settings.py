"""What kinds of pictures a sweep makes, and how."""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from lucent.errors import InputError, suggestion
from lucent.optvis._memory import checked_size
from lucent.optvis.settings import Precision

Kind = Literal["channel", "neuron", "diversity", "negative"]
#: What is shown of a unit: what it responds to most as a channel, in the mean over all positions;
#: what its neuron in the middle of the layer does; several different pictures of the channel; what
#: the channel responds to least.
KINDS: tuple[Kind, ...] = get_args(Kind)
#: The least of what is counted.
_AT_LEAST = {"steps": 1, "size": 1, "seed": 0, "diversity": 2}


@dataclass(frozen=True)
class SweepSettings:
    """How the pictures of a sweep are made.

    Attributes:
        steps: of each picture, at least 1.
        size: side of the pictures in pixels; None is that of the model's icons, see `render_icons`.
        seed: from which each unit's own seed follows, whatever else is swept.
        batch_size: pictures at a time; "auto" is what fits into the memory of the device that the
            model is on while planning, and on a CPU no more than pays.
        diversity: number of pictures of a unit that are to differ, at least 2.
        diversity_weight: how much of its response a unit may lose for pictures with nothing in
            common instead of equal ones, as a multiple of the response; 0 or more.
        preset: "plain", "vit", see `lucent.optvis.presets`; None is what suits the model.
        precision: of the network's arithmetic, see `RunSettings`.

    Raises:
        InputError: a setting has a value that it cannot have.
    """

    steps: int = 256
    size: int | None = None
    seed: int = 0
    batch_size: int | Literal["auto"] = "auto"
    diversity: int = 4
    diversity_weight: float = 0.3
    preset: str | None = None
    precision: Precision | None = None

    def __post_init__(self) -> None:
        for name, least in _AT_LEAST.items():
            value = getattr(self, name)
            if name != "size" or value is not None:
                # JSON does not know the numbers of NumPy.
                object.__setattr__(self, name, _whole(name, value, least))
        object.__setattr__(self, "batch_size", checked_size(self.batch_size) or "auto")
        weight = self.diversity_weight
        if not isinstance(weight, numbers.Real) or not 0 <= weight < float("inf"):
            raise InputError(f"diversity_weight={weight!r} has to be 0 or more, such as 0.3.")
        object.__setattr__(self, "diversity_weight", float(weight))
        if self.precision not in (None, *get_args(Precision)):
            raise InputError(
                f"precision={self.precision!r} is none of {[None, *get_args(Precision)]}."
            )


def checked_kinds(kinds: Iterable[str]) -> tuple[Kind, ...]:
    """Return kinds of pictures, each once, in the order of `KINDS`.

    Raises:
        InputError: there is none, or one is unknown.
    """
    given = [kinds] if isinstance(kinds, str) else [*kinds]
    for kind in given:
        if kind not in KINDS:
            hint = suggestion(str(kind), KINDS)
            raise InputError(f"kinds={given!r}: {kind!r} is none of {list(KINDS)}. {hint}".strip())
    if not given:
        raise InputError(f"kinds is empty: give some of {list(KINDS)}.")
    return tuple(kind for kind in KINDS if kind in given)


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise InputError(f"{name}={value!r} has to be a whole number, {least} or more.")
    return int(value)
