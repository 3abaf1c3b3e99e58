"""Which axis of an activation is which: batch, channels, positions, tokens."""

from lucent.layouts.coordinates import Coordinates, count_channels
from lucent.layouts.layout import PATCHES, Layout, Tokens, layout_from, layout_of
from lucent.layouts.tracker import Tracker, function_name

__all__ = [
    "PATCHES",
    "Coordinates",
    "Layout",
    "Tokens",
    "Tracker",
    "count_channels",
    "function_name",
    "layout_from",
    "layout_of",
]
