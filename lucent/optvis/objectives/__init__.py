"""What to look for: objectives, their arithmetic, and the decorators that make new ones."""

from lucent.optvis.objectives.base import (
    Acts,
    Objective,
    Term,
    as_objective,
    objective,
    wrap_objective,
)
from lucent.optvis.objectives.neurons import channel, neuron

__all__ = [
    "Acts",
    "Objective",
    "Term",
    "as_objective",
    "channel",
    "neuron",
    "objective",
    "wrap_objective",
]
