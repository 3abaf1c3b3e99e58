"""The vision transformer that ships with lucent: SynthNet's sister, trained on the same images."""

from __future__ import annotations

from pathlib import Path

from lucent.modelzoo._packaged import with_weights
from lucent.modelzoo.synthvit.model import SPEC, SynthViT

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
    return with_weights(SynthViT(), __name__, pretrained=pretrained, weights=weights)
