"""What an image must survive: random transforms, applied anew in every step.

>>> standard_transforms[0]
ConstantPad(width=12, value=0.5)
"""

from lucent.optvis.transform.base import (
    Compose,
    Fused,
    PerImage,
    Scheduled,
    compose,
    per_image,
    scheduled,
)
from lucent.optvis.transform.color import color_jitter, color_offset, contrast, hue, saturation
from lucent.optvis.transform.grid import crop_or_pad_to, flip, jitter, pad, random_crop, roll
from lucent.optvis.transform.kinds import AffineTransform, RandomTransform
from lucent.optvis.transform.pixelwise import (
    Normalize,
    collapse_alpha_random,
    gaussian_blur,
    noise,
    normalize,
    normalize_gradient,
    preprocess_inceptionv1,
)
from lucent.optvis.transform.spatial import _rads2angle as _rads2angle
from lucent.optvis.transform.spatial import _roundup as _roundup
from lucent.optvis.transform.spatial import box_crop, homography, random_rotate, random_scale
from lucent.optvis.transform.volumes import tumble
from lucent.util import old_device

#: Lucid's default list. The angle 0 is drawn with probability 6/26.
standard_transforms = [
    pad(12, mode="constant", constant_value=0.5),
    jitter(8),
    random_scale([1 + (i - 5) / 50 for i in range(11)]),
    random_rotate([*range(-10, 11), *[0] * 5]),
    jitter(4),
]

#: The same for volumes, sampled once: moved by up to 6 voxels, scaled by 0.9 to 1.1, turned by up
#: to 10 degrees.
standard_volume_transforms = [tumble()]

__all__ = [
    "AffineTransform",
    "Compose",
    "Fused",
    "Normalize",
    "PerImage",
    "RandomTransform",
    "Scheduled",
    "box_crop",
    "collapse_alpha_random",
    "color_jitter",
    "color_offset",
    "compose",
    "contrast",
    "crop_or_pad_to",
    "flip",
    "gaussian_blur",
    "homography",
    "hue",
    "jitter",
    "noise",
    "normalize",
    "normalize_gradient",
    "pad",
    "per_image",
    "preprocess_inceptionv1",
    "random_crop",
    "random_rotate",
    "random_scale",
    "roll",
    "saturation",
    "scheduled",
    "standard_transforms",
    "standard_volume_transforms",
    "tumble",
]


def __getattr__(name: str) -> object:
    return old_device(__name__, name, "device")
