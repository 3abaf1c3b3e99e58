"""Networks whose weights are files of the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TypeVar

from torch import nn

from lucent.weights import load_weights

Network = TypeVar("Network", bound=nn.Module)


def with_weights(
    model: Network, package: str, *, pretrained: bool, weights: str | Path | None
) -> Network:
    """Return a network in evaluation mode.

    Args:
        model: it, with random weights.
        package: where its weights are, in a file of the package's own name.
        pretrained: load them.
        weights: a file with a state dict to load instead.

    Raises:
        WeightsError: the file cannot be read, or does not fit.
    """
    if weights is not None:
        load_weights(model, weights)
    elif pretrained:
        file = resources.files(package) / f"{package.rpartition('.')[2]}.pth"
        with resources.as_file(file) as path:
            load_weights(model, path)
    return model.eval()
