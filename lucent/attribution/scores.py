"""What is attributed: numbers, one for each image, that a network computes from a layer."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from lucent.errors import InputError
from lucent.hooks import Activations
from lucent.labels import label_index
from lucent.layers import LABELS
from lucent.units import channel_of, mean_per_image, parsed, whole, window, with_channels

#: A function from the activations of a batch to a number for each image, (B,).
Score: TypeAlias = Callable[[Activations], Tensor]
#: A class: its index, or its label or a synonym.
Label: TypeAlias = int | str
Labels: TypeAlias = Label | Sequence[Label]


def as_score(score: Score | str | int) -> Score:
    """Return a score in the form of a function.

    >>> as_score("labels:tabby"), as_score("mixed4a:3"), as_score(281)
    (logit('tabby'), unit('mixed4a:3'), logit(281))

    Args:
        score: `"labels:name"` or the index of a class for its logit, `"layer:channel"` or
            `"layer:channel:x:y"` for a unit, or a function from `T` to numbers (B,).

    Raises:
        InputError: it is none of these.
    """
    if isinstance(score, str):
        layer, what = parsed(score)
        return logit(what) if layer == LABELS and isinstance(what, str) else unit(score)
    if callable(score):
        return score
    if isinstance(score, bool) or not isinstance(score, numbers.Integral):
        raise InputError(
            f"{score!r} is no score: give 'labels:name', 'layer:channel', the index of a class, or "
            "a function from T to a number for each image."
        )
    return logit(int(score))


def logit(label: Labels, *, minus: Labels | None = None) -> Score:
    """Return the logit of a class, or the difference of two.

    >>> logit("golden retriever", minus="tabby")
    logit('golden retriever', minus='tabby')

    Of several classes it is the logarithm of the sum of the exponentials, so that a difference is
    the logarithm of how many times more probable the one classes are than the others.

    Args:
        label: index of a class, its label or a synonym in the model's own list, or several classes.
        minus: the class, or the classes, whose logit is subtracted.

    Raises:
        InputError: the list of classes is empty. Called, the score raises it about a class that the
            network does not have, and about logits that are not (B, n_classes).
    """
    return _Logit(several(label), None if minus is None else several(minus))


def log_odds(label: Labels) -> Score:
    """Return the logit of a class minus that of all the others together, log(p / (1 - p)).

    Args:
        label: see `logit`.

    Raises:
        InputError: see `logit`.
    """
    return _LogOdds(several(label))


def logsumexp(labels: Sequence[Label] | None = None) -> Score:
    """Return the logarithm of the sum of the exponentials of logits.

    It says how sure a network is that there is anything it knows.

    Args:
        labels: of these classes; None is all.

    Raises:
        InputError: see `logit`.
    """
    return _LogSumExp() if labels is None else logit(labels)


def unit(text: str) -> Score:
    """Return the activation of a unit: its mean over all positions, or its value at one.

    >>> unit("mixed4a:3:5:2")
    unit('mixed4a:3:5:2')

    Args:
        text: `"layer:channel"`, `"layer:channel:x:y"` for column x and row y, or
            `"layer@cls:channel"` for a token; a class is `"labels:name"`.

    Raises:
        InputError: the text has another form. Called, the score raises it about a channel or a
            position that there is not.
    """
    layer, numbers = parsed(text)
    if isinstance(numbers, str):
        return logit(numbers)
    return _Unit(text, layer, numbers)


def strength(layer: str, x: int | None = None, y: int | None = None) -> Score:
    """Return the length of the vector of activations at a position of a layer.

    Args:
        layer: name of a layer that gives (B, C) or (B, C, *spatial).
        x: column; without it and y, the length is that of the whole activation of an image.
        y: row.

    Raises:
        InputError: only one of x and y is given. Called, the score raises it about a position that
            there is not.
    """
    if (x is None) != (y is None):
        raise InputError(
            f"A position is a column and a row, but x={x} and y={y} were given: give both, or "
            "neither for the whole layer."
        )
    return _Strength(layer, x, y)


@dataclass(frozen=True)
class _Logit:
    labels: tuple[Label, ...]
    minus: tuple[Label, ...] | None

    def __call__(self, T: Activations) -> Tensor:
        logits = class_logits(T)
        value = _together(logits, class_indices(T, logits, self.labels))
        if self.minus is None:
            return value
        return value - _together(logits, class_indices(T, logits, self.minus))

    def __repr__(self) -> str:
        minus = "" if self.minus is None else f", minus={_plain(self.minus)}"
        return f"logit({_plain(self.labels)}{minus})"


@dataclass(frozen=True)
class _LogOdds:
    labels: tuple[Label, ...]

    def __call__(self, T: Activations) -> Tensor:
        logits = class_logits(T)
        found = set(class_indices(T, logits, self.labels))
        rest = [index for index in range(logits.shape[1]) if index not in found]
        if not rest:
            raise InputError(
                f"log_odds({_plain(self.labels)}) is about all {logits.shape[1]} classes of the "
                "network, so that none is left to compare with: name fewer."
            )
        return _together(logits, sorted(found)) - _together(logits, rest)

    def __repr__(self) -> str:
        return f"log_odds({_plain(self.labels)})"


@dataclass(frozen=True)
class _LogSumExp:
    def __call__(self, T: Activations) -> Tensor:
        return class_logits(T).logsumexp(1)

    def __repr__(self) -> str:
        return "logsumexp()"


@dataclass(frozen=True)
class _Unit:
    text: str
    layer: str
    numbers: tuple[int, ...]

    def __call__(self, T: Activations) -> Tensor:
        acts = T.channels_first(self.layer)
        n_channel, *position = self.numbers
        if position:
            acts = window(acts, *position)
        return mean_per_image(channel_of(acts, n_channel))

    def __repr__(self) -> str:
        return f"unit({self.text!r})"


@dataclass(frozen=True)
class _Strength:
    layer: str
    x: int | None
    y: int | None

    def __call__(self, T: Activations) -> Tensor:
        acts = with_channels(T.channels_first(self.layer))
        if self.x is not None:
            acts = window(acts, self.x, self.y)
        return torch.linalg.vector_norm(acts.flatten(1), dim=1)

    def __repr__(self) -> str:
        position = "" if self.x is None else f", x={self.x}, y={self.y}"
        return f"strength({self.layer!r}{position})"


def class_logits(T: Activations) -> Tensor:
    """Return the logits of the classes, (B, n_classes).

    Raises:
        InputError: the layer "labels" gives something else.
    """
    logits = T(LABELS)
    if logits.dim() != 2:
        raise InputError(
            f"Logits of classes are (B, n_classes), but the layer 'labels' gives "
            f"{tuple(logits.shape)}: name the layer that has them, model.spec = "
            "ModelSpec(..., logits='head'), or give a function of T as the score."
        )
    return logits


def class_indices(T: Activations, logits: Tensor, labels: Sequence[Label]) -> list[int]:
    """Return the indices of classes.

    Raises:
        InputError: the network has no such class, or several that fit a text.
    """
    known, n_classes = tuple(T.labels), logits.shape[1]
    indices = [
        label_index(known, label) if isinstance(label, str) else whole(label, "label")
        for label in labels
    ]
    if wrong := [index for index in indices if not 0 <= index < n_classes]:
        raise InputError(
            f"There is no class {wrong[0]}: the network has {n_classes}, 0 to {n_classes - 1}."
        )
    return indices


def _together(logits: Tensor, indices: Sequence[int]) -> Tensor:
    # A copy by index would be a tensor on the device for nothing.
    return logits[:, indices[0]] if len(indices) == 1 else logits[:, list(indices)].logsumexp(1)


def several(labels: Labels) -> tuple[Label, ...]:
    """Return one class or several as a tuple.

    Raises:
        InputError: there is none.
    """
    if isinstance(labels, str) or not isinstance(labels, Sequence):
        return (labels,)
    if not labels:
        raise InputError("The list of classes is empty: name at least one, such as 'tabby'.")
    return tuple(labels)


def _plain(labels: tuple[Label, ...]) -> str:
    return repr(labels[0] if len(labels) == 1 else list(labels))
