"""Maps over photographs: where something is, in colours."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from lucent.errors import InputError
from lucent.misc.io.collapse_channels import hue_to_rgb
from lucent.misc.io.pictures import Picture, channels_last

#: For and against, as in "The Building Blocks of Interpretability"; apart for the colour-blind too.
FOR, AGAINST = (1.0, 0.5, 0.0), (0.0, 0.4, 1.0)
#: How much of a photograph's contrast is left under a map, and how much of it a map covers at most.
_CONTRAST, _COVER = 0.6, 0.85


def overlaid(picture: Picture, values: np.ndarray, *, limit: float | None = None) -> np.ndarray:
    """Return a photograph with a map over it: orange where it is positive, blue where negative.

    >>> overlaid(np.zeros((4, 4, 3)), np.array([[1.0, -1.0]])).shape
    (4, 4, 3)

    Args:
        picture: (H, W, 3) or (H, W, 1), or a tensor (3, H, W), in [0, 1] or bytes.
        values: (h, w), of any sign; stretched over the picture.
        limit: the absolute value that gets the full colour; None is the largest one.

    Returns:
        (H, W, 3), float32 in [0, 1].

    Raises:
        InputError: the map is no plane of finite numbers, or the limit is negative.

    Source: Olah et al. 2018, The Building Blocks of Interpretability
    (https://distill.pub/2018/building-blocks).
    """
    signs = np.stack([np.maximum(values, 0), np.maximum(-np.asarray(values), 0)])
    return hued(picture, signs, colours=[FOR, AGAINST], limit=limit)


def hued(
    picture: Picture,
    maps: np.ndarray,
    *,
    colours: np.ndarray | list[tuple[float, ...]] | None = None,
    limit: float | None = None,
) -> np.ndarray:
    """Return a photograph with maps over it, each in a colour of its own.

    Args:
        picture: see `overlaid`.
        maps: (n, h, w), none negative; stretched over the picture.
        colours: one for each, (n, 3) in [0, 1]; None are those of `hues`.
        limit: the value that gets the full colour; None is the largest one.

    Returns:
        (H, W, 3), float32 in [0, 1].

    Raises:
        InputError: the maps are no planes of finite numbers from 0 up, there are other colours, or
            the limit is negative.
    """
    maps = np.asarray(maps, dtype=np.float64)
    if maps.ndim != 3 or 0 in maps.shape or not np.isfinite(maps).all() or maps.min() < 0:
        raise InputError(
            f"Maps of shape {maps.shape} cannot be laid over a picture: expected (n, h, w) of "
            "finite numbers, none negative."
        )
    if limit is not None and not limit >= 0:
        raise InputError(f"limit={limit} has to be the value of full colour, or None.")
    palette = np.asarray(hues(len(maps)) if colours is None else colours, dtype=np.float64)
    if palette.shape != (len(maps), 3):
        raise InputError(f"There are {len(maps)} maps, but colours of shape {palette.shape}.")
    ground = _floats(channels_last(picture))
    stretched = F.interpolate(
        torch.from_numpy(maps)[None], ground.shape[:2], mode="bilinear", align_corners=False
    )[0].numpy()
    strength = stretched / ((maps.max() if limit is None else limit) or 1)
    together = strength.sum(0)[..., None]
    colour = np.einsum("nhw,nc->hwc", strength, palette) / np.where(together == 0, 1, together)
    cover = _COVER * np.clip(strength.max(0), 0, 1)[..., None]
    # A grey ground, so that its own colours are not taken for those of a map.
    grey = 0.5 + _CONTRAST * (ground.mean(-1, keepdims=True) - 0.5)
    return np.asarray((1 - cover) * grey + cover * colour, dtype=np.float32)


def _floats(picture: np.ndarray) -> np.ndarray:
    """Return a picture as (H, W, 1) or (H, W, 3) in [0, 1]."""
    picture = picture if picture.ndim == 3 else picture[..., None]
    return (picture / 255 if picture.dtype == np.uint8 else np.clip(picture, 0, 1))[..., :3]


def hues(count: int) -> np.ndarray:
    """Return colours that are easy to tell apart, (count, 3) in [0, 1], all around the circle."""
    colours = np.stack([hue_to_rgb(360 * n / count) for n in range(count)])
    return colours / colours.max(1, keepdims=True)
