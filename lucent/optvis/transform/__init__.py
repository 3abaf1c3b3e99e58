"""What an image must survive: random transforms, applied anew in every step.

>>> standard_transforms[0]
ConstantPad(width=12, value=0.5)
"""

from lucent.optvis.transform.base import AffineTransform, Compose, Fused, RandomTransform, compose
from lucent.optvis.transform.pixelwise import Normalize, normalize, preprocess_inceptionv1
from lucent.optvis.transform.spatial import jitter, pad, random_rotate, random_scale

#: Lucid's default list. The angle 0 is drawn with probability 6/26.
standard_transforms = [
    pad(12, mode="constant", constant_value=0.5),
    jitter(8),
    random_scale([1 + (i - 5) / 50 for i in range(11)]),
    random_rotate([*range(-10, 11), *[0] * 5]),
    jitter(4),
]

__all__ = [
    "AffineTransform",
    "Compose",
    "Fused",
    "Normalize",
    "RandomTransform",
    "compose",
    "jitter",
    "normalize",
    "pad",
    "preprocess_inceptionv1",
    "random_rotate",
    "random_scale",
    "standard_transforms",
]
