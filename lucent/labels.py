"""From the text of a label to the index of its class."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from lucent.errors import InputError, suggestion


@functools.lru_cache(maxsize=1024)  # objectives look their label up in every step
def label_index(labels: tuple[str, ...], text: str, owner: str = "The model") -> int:
    """Return the index of the class with this label or synonym, or with it as a part.

    >>> label_index(("cat", "dog, hound"), "Hound")
    1

    Args:
        labels: in the order of the logits; synonyms are separated by commas.
        text: case matters for none but the exact label.
        owner: what the error calls the network.

    Raises:
        InputError: no label or several fit, or there are no labels.
    """
    found: list[int] = []
    for fits in (_is_label, _is_synonym, _is_part):  # strictest first
        found = [index for index, label in enumerate(labels) if fits(text.strip(), label)]
        if len(found) == 1:
            return found[0]
        if found:
            break
    raise InputError(_problem(labels, text, owner, found))


def _problem(labels: Sequence[str], text: str, owner: str, found: list[int]) -> str:
    if not labels:
        return f"{owner} has no labels, not even {text!r}: give the index of the class."
    if found:
        shown = ", ".join(f"{labels[index]!r} ({index})" for index in found[:10])
        more = f" and {len(found) - 10} more" if len(found) > 10 else ""
        return (
            f"{text!r} fits {len(found)} labels of {owner}: {shown}{more}. "
            "Give one in full, or its index."
        )
    hint = suggestion(text, labels) or "Its labels are in spec_of(model).labels."
    return f"{owner} has no label {text!r}. {hint}"


def _is_label(text: str, label: str) -> bool:
    return text == label


def _is_synonym(text: str, label: str) -> bool:
    return text.lower() in [name.strip().lower() for name in (label, *label.split(","))]


def _is_part(text: str, label: str) -> bool:
    return bool(text) and text.lower() in label.lower()
