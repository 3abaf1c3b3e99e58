"""The network that ships with lucent: small, robust, trained on images whose truth is known."""

from __future__ import annotations

from pathlib import Path

from lucent.modelzoo._packaged import with_weights
from lucent.modelzoo.synthnet.data import LABELS, SynthScenes
from lucent.modelzoo.synthnet.model import SPEC, SynthNet

__all__ = ["LABELS", "SPEC", "SynthNet", "SynthScenes", "synthnet"]


def synthnet(pretrained: bool = True, *, weights: str | Path | None = None) -> SynthNet:
    """Build SynthNet in evaluation mode; its weights come with the package.

    Args:
        pretrained: load the weights of the package.
        weights: a file with a state dict to load instead.

    Raises:
        WeightsError: the file cannot be read, or does not fit.

    >>> synthnet().spec.labels[11]
    'rings'
    """
    return with_weights(SynthNet(), __name__, pretrained=pretrained, weights=weights)
