"""What lucent raises and warns with.

Every text says what was given, what was expected, and what to type instead.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


class LucentError(Exception):
    """Base of every error that lucent raises on purpose.

    Attributes:
        images: what `render_vis` had rendered before the error; empty elsewhere.
    """

    images: Sequence[np.ndarray] = ()


class InputError(LucentError, ValueError):
    """An argument has a value or a shape that cannot be used."""


class LayerError(LucentError, LookupError):
    """A layer does not exist, was not reached, or gives something that is not one tensor."""


class WeightsError(LucentError, OSError):
    """Weights or another data file could not be fetched, read or matched to the model."""


class StorageError(LucentError, OSError):
    """A folder of results cannot be written, or what is in it is damaged."""


class MissingExtra(LucentError, ImportError):
    """An optional package is needed that is not installed."""


class DivergenceError(LucentError, ArithmeticError):
    """The loss became NaN or infinite."""


class LucentWarning(UserWarning):
    """Category of every warning that lucent gives."""


def suggestion(name: str, known: Iterable[str], *, limit: int = 5) -> str:
    """Return a question after the closest of the known names, or "" where none is close.

    >>> suggestion("mixed4", ["mixed4a", "mixed4b", "head"])
    "Did you mean 'mixed4b', 'mixed4a'?"
    """
    close = difflib.get_close_matches(name, list(known), n=limit, cutoff=0.6)
    return f"Did you mean {', '.join(map(repr, close))}?" if close else ""
