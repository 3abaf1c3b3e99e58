"""One of every transform, with arguments that make each draw another picture."""

from __future__ import annotations

from lucent.optvis import transform
from lucent.optvis.transform import (
    box_crop,
    color_jitter,
    color_offset,
    contrast,
    crop_or_pad_to,
    flip,
    gaussian_blur,
    homography,
    hue,
    jitter,
    noise,
    normalize_gradient,
    pad,
    random_crop,
    random_rotate,
    random_scale,
    roll,
    saturation,
)

RANDOM = [
    pad(3, "constant", "uniform"),
    jitter(4),
    random_crop((6, 8)),
    flip("xy"),
    roll(5),
    random_scale([0.5, 1, 1.5, 2]),
    random_rotate(range(360)),
    homography(),
    box_crop(),
    noise(),
    gaussian_blur((0.5, 2)),
    contrast(),
    hue(60),
    saturation(0.5),
    color_jitter(),
    color_offset(),
]
FIXED = [
    pad(3),
    pad(3, "symmetric"),
    pad(3, "constant", (0.1, 0.2, 0.3)),
    crop_or_pad_to(9, 20),
    normalize_gradient(),
    transform.normalize(),
]
EVERY = [*RANDOM, *FIXED]
