"""Gradients that are wrong on purpose: context managers over any model.

`redirected_relu` lets dead units start, `smoothed_maxpool` spreads the gradient of a max-pool over
its window, `linearized` takes the rectifiers out of a network. Blocks may be nested: the inner one
wins, but a linearised network has no rectifier left that could be overridden.

`frozen_forwards` and `folded_norms` change neither values nor gradients: they make runs fast.
"""

from lucent.overrides._folding import folded_norms
from lucent.overrides._frozen import frozen_forwards
from lucent.overrides._linear import linearization_overrides, linearized
from lucent.overrides._pooling import default_overrides, pooling_overrides, smoothed_maxpool
from lucent.overrides._relu import (
    REDIRECTED_STEPS,
    FunctionalReLUs,
    RedirectedReLU,
    redirected_relu,
    relu_overrides,
)

__all__ = [
    "REDIRECTED_STEPS",
    "FunctionalReLUs",
    "RedirectedReLU",
    "default_overrides",
    "folded_norms",
    "frozen_forwards",
    "linearization_overrides",
    "linearized",
    "pooling_overrides",
    "redirected_relu",
    "relu_overrides",
    "smoothed_maxpool",
]
