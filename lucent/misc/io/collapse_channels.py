"""From any number of channels to colours: every channel has its hue.

Source: the activation grids of Olah et al., "The Building Blocks of Interpretability", 2018,
https://distill.pub/2018/building-blocks.
"""

from __future__ import annotations

import math

import numpy as np

from lucent.errors import InputError

# Red, yellow, green, cyan, blue, magenta: the corners of the colour circle, every 60 degrees.
_CORNERS = ((1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1))


def hue_to_rgb(ang: float, warp: bool = True) -> np.ndarray:
    """Return the colour of an angle on the colour circle, a vector of length 1.

    Args:
        ang: in degrees; 0 is red, 120 green, 240 blue.
        warp: move the angles in between away from red, green and blue, which makes colours at equal
            distances easier to tell apart.

    >>> hue_to_rgb(120)
    array([0., 1., 0.])
    """
    corners = np.array(_CORNERS) / np.linalg.norm(_CORNERS, axis=1, keepdims=True)
    position = ang % 360 / 60
    corner = int(position)
    part = position - corner
    if warp and corner % 2 == 0:
        part = math.sin(part * math.pi / 2)
    elif warp:
        part = 1 - math.sin((1 - part) * math.pi / 2)
    colour = (1 - part) * corners[corner] + part * corners[(corner + 1) % 6]
    return colour / np.linalg.norm(colour)


def _hues(array: np.ndarray) -> np.ndarray:
    if array.ndim == 0 or array.shape[-1] == 0:
        raise InputError(f"An array of shape {array.shape} has no channels to make colours of.")
    count = array.shape[-1]
    return np.stack([hue_to_rgb(360 * n / count) for n in range(count)])


def sparse_channels_to_rgb(array: np.ndarray) -> np.ndarray:
    """Return colours of channels: the hue tells which is active, white that several are.

    Args:
        array: (..., C), no value negative.

    Returns:
        (..., 3), every vector as long as that of its channels.

    Raises:
        InputError: there is no channel.
    """
    rgb = array @ _hues(array) + (array.sum(-1) - array.max(-1))[..., None]
    length = np.linalg.norm(rgb, axis=-1, keepdims=True)
    scale = np.linalg.norm(array, axis=-1, keepdims=True) / np.where(length == 0, 1, length)
    return rgb * scale


def collapse_channels(array: np.ndarray) -> np.ndarray:
    """Return colours of channels, negative values in the hue opposite to the channel's.

    Args:
        array: (..., C), any values.

    Returns:
        (..., 3), every vector as long as that of its channels.

    >>> collapse_channels(np.array([[1.0, 0, 0], [0, 0, 1]])).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    if array.size and array.min() < 0:
        array = array * 1.0  # the negative of the smallest integer does not exist
        array = np.concatenate([np.maximum(array, 0), np.maximum(-array, 0)], axis=-1)
    return sparse_channels_to_rgb(array)


def collapse_image(array: np.ndarray) -> np.ndarray:
    """Return colours of an image of any number of channels, grey where all of them are 0.5.

    A channel adds its hue where it is brighter than that, and takes it away where it is darker, as
    red, green and blue do in a picture. Where all of two or more channels are alike, their hues
    make grey. The contrast is reduced as far as nothing is clipped.

    Args:
        array: (..., C), in [0, 1].

    Returns:
        (..., 3), in [0, 1].

    Raises:
        InputError: there is no channel.

    >>> collapse_image(np.array([[1.0, 0.5, 0.5], [0.5, 0.5, 0.0]])).tolist()
    [[1.0, 0.5, 0.5], [0.5, 0.5, 0.0]]
    """
    hues = _hues(array)
    together = hues.sum(0)
    if together.all():  # one hue alone makes no grey
        hues = hues * (max(1.0, together.mean()) / together)
    rgb = (np.clip(array, 0, 1) - 0.5) @ hues
    return 0.5 + rgb / max(1.0, 2 * np.abs(rgb).max(initial=0))
