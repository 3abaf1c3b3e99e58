"""Names of the layers of a network."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, overload

from torch import nn


@overload
def get_model_layers(model: nn.Module, getLayerRepr: Literal[False] = False) -> list[str]: ...
@overload
def get_model_layers(model: nn.Module, getLayerRepr: Literal[True]) -> OrderedDict[str, str]: ...
def get_model_layers(
    model: nn.Module, getLayerRepr: bool = False
) -> list[str] | OrderedDict[str, str]:
    """Return the names of all layers, the parts of each joined by "_", parents before children.

    Args:
        model: the network.
        getLayerRepr: return a dict from each name to the text of the layer instead of the list of
            names.

    >>> get_model_layers(nn.Sequential(nn.Sequential(nn.Identity())))
    ['0', '0_0']
    """
    layers = OrderedDict(
        (name.replace(".", "_"), module)
        for name, module in model.named_modules(remove_duplicate=False)
        if name
    )
    if getLayerRepr:
        return OrderedDict((name, repr(layer)) for name, layer in layers.items())
    return list(layers)
