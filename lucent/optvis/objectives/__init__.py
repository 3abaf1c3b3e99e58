"""What to look for: objectives, their arithmetic, and the decorators that make new ones."""

from torch import Tensor

from lucent.encoders import Latents
from lucent.optvis.objectives.base import Objective, Term, as_objective
from lucent.optvis.objectives.batchwise import alignment, channel_interpolate, diversity
from lucent.optvis.objectives.directions import (
    direction,
    direction_cossim,
    direction_neuron,
    tensor_direction,
    whitened_direction,
    whitened_direction_neuron,
)
from lucent.optvis.objectives.embeddings import embedding
from lucent.optvis.objectives.factories import handle_batch, objective, product, wrap_objective
from lucent.optvis.objectives.latents import latent, latent_neuron
from lucent.optvis.objectives.matching import (
    activation_difference,
    dot_compare,
    gram,
    mean_l1,
    mean_l2,
    style,
)
from lucent.optvis.objectives.neurons import (
    channel,
    channel_weight,
    class_logit,
    deepdream,
    localgroup_weight,
    neuron,
    neuron_weight,
)
from lucent.optvis.objectives.penalties import (
    L1,
    L2,
    blur,
    blur_alpha_each_step,
    blur_input_each_step,
    input_diff,
    penalize_boundary_complexity,
    total_variation,
    transparency,
)
from lucent.optvis.objectives.reading import Acts, Encoder, Input

__all__ = [
    "L1",
    "L2",
    "Acts",
    "Encoder",
    "Input",
    "Latents",
    "Objective",
    "Term",
    "activation_difference",
    "alignment",
    "as_objective",
    "blur_alpha_each_step",
    "blur_input_each_step",
    "channel",
    "channel_interpolate",
    "channel_weight",
    "class_logit",
    "deepdream",
    "direction",
    "direction_cossim",
    "direction_neuron",
    "diversity",
    "dot_compare",
    "embedding",
    "gram",
    "handle_batch",
    "input_diff",
    "latent",
    "latent_neuron",
    "localgroup_weight",
    "mean_l1",
    "mean_l2",
    "neuron",
    "neuron_weight",
    "objective",
    "penalize_boundary_complexity",
    "product",
    "style",
    "tensor_direction",
    "total_variation",
    "transparency",
    "whitened_direction",
    "whitened_direction_neuron",
    "wrap_objective",
]


def _torch_blur(tensor: Tensor, out_c: int = 3) -> Tensor:
    """Return an image blurred as by `blur_input_each_step`, whatever number of channels is given.

    torch-lucent's name and arguments.
    """
    return blur(tensor)
