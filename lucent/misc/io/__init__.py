"""Showing and saving pictures."""

from lucent.misc.io.showing import show

__all__ = ["show"]
