"""Activations of a network by layer name: `Activations`, what objectives know as `T`."""

from lucent.hooks.activations import Activations

__all__ = ["Activations"]
