"""What a score gets to read: how its parameters say so, and views of a part of a batch."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, get_args, get_type_hints

from torch import Tensor

from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.layers import INPUT

#: Annotates the parameters of a score that are layers: the caller names one, the score gets its
#: activation.
Acts = Annotated[Tensor, "activation of a layer"]
#: Annotates a parameter of a score that is filled in with the image before transforms.
Input = Annotated[Tensor, "the image before transforms"]
#: Annotates a parameter of a score that is an encoder: in a run the score gets a frozen copy of it.
Encoder = Annotated[Any, "encoder of activations"]
ScoreFn = Callable[..., Tensor]


# Bounded, because what is defined in a function keeps alive whatever it has from there.
@functools.lru_cache(maxsize=128)
def parameter_kinds(function: Callable[..., Any]) -> dict[str, str]:
    """Tell what each parameter of a score is.

    It is a "layer", the "input", "T", an "encoder", "numbers" where it takes tensors and lists of
    floats, a "tensor" where it takes no such lists, or another "value".
    """
    hints = get_type_hints(function, include_extras=True)
    return {name: _kind(hints.get(name)) for name in inspect.signature(function).parameters}


def _kind(hint: Any) -> str:
    # Compared by what is written in the brackets: the same annotation may be several objects.
    options = get_args(hint)
    if options == get_args(Acts):
        return "layer"
    if options == get_args(Input):
        return "input"
    if options == get_args(Encoder):
        return "encoder"
    if hint is Activations:
        return "T"
    if Tensor in (hint, *options):
        return "numbers" if Sequence[float] in options else "tensor"
    return "value"


@functools.lru_cache(maxsize=128)
def reads_activations(score: ScoreFn) -> bool:
    """Tell whether a score may read more than the image."""
    return not {"layer", "T"}.isdisjoint(parameter_kinds(score).values())


class SomeRows:
    """`T` with some rows of each activation only.

    Args:
        T: any function of layer names.
        part: function of an activation and the name of its layer.
    """

    #: However many draws there were, this is about one of them.
    draws = 1

    def __init__(self, T: Callable[[str], Tensor], part: Callable[[Tensor, str], Tensor]) -> None:
        self._T, self._part = T, part

    def __call__(self, layer: str) -> Tensor:
        return self._part(self._T(layer), layer)

    def channels_first(self, layer: str) -> Tensor:
        """Return these rows of the activation of a layer, as (B, C, *spatial)."""
        return self._part(channels_first(self._T, layer), layer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._T, name)


class OneImage(SomeRows):
    """`T` as it would be if one image of the batch were all of it.

    Args:
        T: any function of layer names.
        image: number of the image, 0 to B - 1.
    """

    def __init__(self, T: Callable[[str], Tensor], image: int) -> None:
        super().__init__(T, self._of_image)
        self.draws = draws_of(T)
        self._image = image

    def _of_image(self, acts: Tensor, layer: str) -> Tensor:
        draws = 1 if layer == INPUT else self.draws
        one_row(acts[::draws], self._image, layer)
        return acts[self._image * draws : (self._image + 1) * draws]

    @property
    def state(self) -> dict[str, Any]:
        """What the objectives about this image keep from step to step."""
        state: dict[str, Any] = self._T.state.setdefault(f"image {self._image}", {})  # type: ignore[attr-defined]
        return state

    @property
    def sample(self) -> Tensor | None:
        """What a stochastic image drew; of one that drew a row for each image, its row."""
        sample: Tensor | None = self._T.sample  # type: ignore[attr-defined]
        if sample is None or sample.dim() == 0 or len(sample) != len(self._T(INPUT)):
            return sample
        return sample[self._image : self._image + 1]


def channels_first(T: Callable[[str], Tensor], layer: str) -> Tensor:
    """Return the activation of a layer as (B, C, *spatial), as far as `T` knows what that is."""
    acts: Tensor = getattr(T, "channels_first", T)(layer)
    return acts


def draws_of(T: Callable[[str], Tensor]) -> int:
    """Return how many rows of an activation belong to each image."""
    # T may be any function of layer names, such as a dictionary's get.
    draws: int = getattr(T, "draws", 1)
    return draws


def one_draw(T: Callable[[str], Tensor], number: int, draws: int) -> SomeRows:
    """Return `T` as one draw of the transforms shows it, (B, ...)."""
    # The image is the same in all draws; only what the network made of it has a row for each.
    return SomeRows(T, lambda acts, layer: acts if layer == INPUT else acts[number::draws])


def one_row(acts: Tensor, row: int, layer: str) -> Tensor:
    """Return one image of a batch, (1, ...).

    Args:
        acts: (B, ...).
        row: -B to B - 1.
        layer: what the error calls it.

    Raises:
        InputError: the batch has no such row.
    """
    if not -len(acts) <= row < len(acts):
        raise InputError(
            f"batch={row} asks for an image that the batch does not have: {layer!r} gives "
            f"{len(acts)} rows. Make more images, for example with param.image(128, "
            f"batch={row + 1 if row >= 0 else -row})."
        )
    row %= len(acts)
    return acts[row : row + 1]
