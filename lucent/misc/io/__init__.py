"""Showing pictures in notebooks, reading and writing files."""

from lucent.misc.io.loading import load
from lucent.misc.io.saving import save
from lucent.misc.io.showing import show

__all__ = ["load", "save", "show"]
