"""The vision transformer that ships with lucent: SynthNet's sister, trained on the same images."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from lucent.modelzoo.synthvit.model import SPEC, SynthViT
from lucent.weights import load_weights

__all__ = ["SPEC", "SynthViT", "synthvit"]


def synthvit(pretrained: bool = True, *, weights: str | Path | None = None) -> SynthViT:
    """Build SynthViT in evaluation mode; its weights come with the package.

    Args:
        pretrained: load the weights of the package.
        weights: a file with a state dict to load instead.

    Raises:
        WeightsError: the file cannot be read, or does not fit.

    >>> synthvit().spec.fixed_size
    True
    """
    model = SynthViT()
    if weights is not None:
        load_weights(model, weights)
    elif pretrained:
        with resources.as_file(resources.files(__name__) / "synthvit.pth") as path:
            load_weights(model, path)
    return model.eval()
