"""How much the activations of a layer have to do with what a network makes of a picture.

Nothing is rendered here. A `Score` is a number that a network gives for an image; an attribution
shares it out among the channels and the positions of a layer.
"""

from lucent.attribution._parts import Parts
from lucent.attribution.classes import class_attributions
from lucent.attribution.fields import receptive_field, receptive_fields
from lucent.attribution.gradients import gradient_x_activation
from lucent.attribution.others import captum_attribution
from lucent.attribution.pairs import between
from lucent.attribution.paths import Path, integrated_gradients
from lucent.attribution.positions import PositionSlopes, position_attributions
from lucent.attribution.results import Attribution, ClassAttributions, IntegratedAttribution
from lucent.attribution.scores import (
    Label,
    Labels,
    Score,
    as_score,
    log_odds,
    logit,
    logsumexp,
    strength,
    unit,
)
from lucent.attribution.weights import expanded_weights
from lucent.attribution.within import sensitivity

__all__ = [
    "Attribution",
    "ClassAttributions",
    "IntegratedAttribution",
    "Label",
    "Labels",
    "Parts",
    "Path",
    "PositionSlopes",
    "Score",
    "as_score",
    "between",
    "captum_attribution",
    "class_attributions",
    "expanded_weights",
    "gradient_x_activation",
    "integrated_gradients",
    "log_odds",
    "logit",
    "logsumexp",
    "position_attributions",
    "receptive_field",
    "receptive_fields",
    "sensitivity",
    "strength",
    "unit",
]
