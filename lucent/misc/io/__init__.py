"""Showing pictures in notebooks, reading and writing files."""

from lucent.misc.io.loading import load
from lucent.misc.io.saving import save
from lucent.misc.io.showing import animate_sequence, image, images, show, textured_mesh

__all__ = ["animate_sequence", "image", "images", "load", "save", "show", "textured_mesh"]
