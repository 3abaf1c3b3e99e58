"""Gradients between the layers of one pass, for objectives that depend on an attribution."""

from __future__ import annotations

import torch
from torch import Tensor

from lucent.errors import InputError
from lucent.hooks import Activations


def sensitivity(T: Activations, values: Tensor, layer: str) -> Tensor:
    """Return the gradient of numbers of a pass with respect to a layer of the same pass.

    It counts as a constant. The images of a batch have to be independent of each other, as they are
    in eval mode: then each row is the gradient of that image's own number.

    Args:
        T: the activations of the pass, in an objective or in a block of your own.
        values: what was computed of later layers, (B,).
        layer: name of an earlier layer, with a token if it is about that alone.

    Returns:
        (B, C, *spatial), of all images that the network saw.

    Raises:
        InputError: the numbers do not depend on the layer.
        LayerError: there is no such layer.
    """
    gradient = None
    if values.requires_grad:
        source = [T.source(layer)]
        (gradient,) = torch.autograd.grad(
            values.sum(), source, retain_graph=True, allow_unused=True
        )
    if gradient is None:
        raise InputError(
            f"The score does not depend on the layer {layer!r} in this pass: name a layer that "
            "comes before what is scored, and leave gradients on."
        )
    return T.ordered(layer, gradient)
