"""What to look for: objectives, their arithmetic, and the decorators that make new ones."""

from lucent.optvis.objectives.base import Acts, Input, Objective, Term, as_objective
from lucent.optvis.objectives.factories import handle_batch, objective, product, wrap_objective
from lucent.optvis.objectives.neurons import channel, class_logit, neuron

__all__ = [
    "Acts",
    "Input",
    "Objective",
    "Term",
    "as_objective",
    "channel",
    "class_logit",
    "handle_batch",
    "neuron",
    "objective",
    "product",
    "wrap_objective",
]
