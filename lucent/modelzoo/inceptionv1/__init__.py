"""InceptionV1, the original GoogLeNet; the attribute `lucent.modelzoo.inceptionv1` is its class."""

from lucent.modelzoo.inceptionv1 import helper_layers
from lucent.modelzoo.inceptionv1.InceptionV1 import InceptionV1, model_urls
from lucent.modelzoo.inceptionv1.places365 import InceptionV1Places365

__all__ = ["InceptionV1", "InceptionV1Places365", "helper_layers", "model_urls"]
