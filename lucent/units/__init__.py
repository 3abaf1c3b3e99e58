"""Units of layers: how a text names one, and where it is in an activation."""

from lucent.units.selection import (
    IMAGE,
    Values,
    channel_of,
    channel_vector,
    fitted,
    mean_per_image,
    spread,
    whole,
    window,
    with_channels,
)
from lucent.units.strings import parsed

__all__ = [
    "IMAGE",
    "Values",
    "channel_of",
    "channel_vector",
    "fitted",
    "mean_per_image",
    "parsed",
    "spread",
    "whole",
    "window",
    "with_channels",
]
