"""The grammar of units as strings: `layer[#call][[key]][@token]:unit[:x:y]`."""

from __future__ import annotations

import re

from lucent.errors import InputError
from lucent.layers import LABELS
from lucent.layouts import PATCHES

# A key in brackets may contain anything, a layer neither colon nor @.
_UNIT = re.compile(
    r"(?P<layer>(?:\[[^\]]*\]|[^:@\[\]])*)(?P<token>@[^:@]+)?"
    r":(?P<numbers>\s*\d+\s*(?::\s*\d+\s*)*)(?P<last>@[^:@]+)?"
)


def parsed(text: str) -> tuple[str, str | tuple[int, ...]]:
    """Return the layer that a string names, and the unit: its numbers, or a label.

    >>> parsed("mixed4a:476:3:2"), parsed("blocks.6:42@cls"), parsed("labels:golden retriever")
    (('mixed4a', (476, 3, 2)), ('blocks.6@cls', (42,)), ('labels', 'golden retriever'))

    Args:
        text: `"layer:unit"`, `"layer:unit:x:y"` for the unit at column x and row y, or
            `"labels:name"`; a token, as in `"layer@cls:unit"`, may also come last.

    Raises:
        InputError: it has another form.
    """
    match = _UNIT.fullmatch(text.strip())
    layer, colon, label = (part.strip() for part in text.partition(":"))
    if match is None and layer == LABELS and label:
        return layer, label
    if match is None:
        raise InputError(_described(text) + _remedy(layer, bool(colon), label))
    layer, unit = match["layer"].strip(), tuple(map(int, match["numbers"].split(":")))
    tokens = [match[name].strip() for name in ("token", "last") if match[name]]
    if not layer:
        raise InputError(_described(text) + _remedy("", True, label))
    if len(unit) not in (1, 3):
        remedy = f" A position is a column and a row: '{layer}:{unit[0]}:3:2'."
        raise InputError(_described(text) + remedy)
    placed = len(unit) == 3 and tokens not in ([], [f"@{PATCHES}"])
    if placed or len(tokens) > 1:
        fault = "a position, which a token has not" if placed else "two tokens"
        raise InputError(
            f"The objective {text!r} names {fault}: write '{layer}{tokens[0]}:{unit[0]}'."
        )
    return layer + "".join(tokens), unit


def _described(text: str) -> str:
    return (
        f"The objective {text!r} is not of the form 'layer:channel' or 'layer:channel:x:y', for "
        "example 'mixed4a:476', or 'labels:name'."
    )


def _remedy(layer: str, has_colon: bool, unit: str) -> str:
    if not layer:
        return " Name the layer; lucent.modelzoo.util.get_model_layers(model) lists them."
    if not has_colon or not unit:
        return f" Say which unit: '{layer}:0' is the first; deepdream('{layer}') takes all."
    if re.match(r"-\s*\d", unit):
        return f" Units and positions are counted from 0: '{layer}:0' is the first unit."
    if re.match(r"\d", unit):
        return " Units and positions are whole numbers, and x, the column, comes before y, the row."
    return f" Units of a layer are numbers; a class by its label is 'labels:{unit}'."
