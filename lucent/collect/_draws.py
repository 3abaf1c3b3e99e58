"""What is drawn at random: of a seed and the number of an image alone, so nothing else matters."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

# The increment and the mixer of SplitMix64: Steele, Lea & Flood 2014, Fast splittable pseudorandom
# number generators (https://doi.org/10.1145/2714064.2660195). It maps no two numbers to one.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = ((30, np.uint64(0xBF58476D1CE4E5B9)), (27, np.uint64(0x94D049BB133111EB)))

#: Images that are looked at at a time when some are drawn.
_BLOCK = 1 << 16


def places(seed: int, image: int, count: int) -> np.ndarray:
    """Return places in an image, (count, 2) in [0, 1): the same for all layers and networks.

    Args:
        seed: of the collection.
        image: number of the image.
        count: of the places.
    """
    return np.random.Generator(np.random.Philox(key=[seed, image])).random((count, 2))


def positions(drawn: np.ndarray, spatial: Sequence[int], margin: int) -> np.ndarray:
    """Return the flat positions of a layer at places, (..., ) of (..., 2).

    >>> positions(np.array([[0.0, 0.0], [0.99, 0.5]]), (4, 4), 1)
    array([ 5, 10])

    Args:
        drawn: places, row and column.
        spatial: shape of the layer: rows and columns, a list of positions, or ().
        margin: positions at each end that are left out, if there are others.
    """
    flat = np.zeros(drawn.shape[:-1], np.int64)
    for axis, length in enumerate(spatial):
        left_out = margin if length > 2 * margin else 0
        along = left_out + np.floor(drawn[..., axis] * (length - 2 * left_out)).astype(np.int64)
        flat = flat * length + along
    return flat


def hashes(seed: int, start: int, stop: int) -> np.ndarray:
    """Return a number for each image from `start` to before `stop`, uint64, all different."""
    with np.errstate(over="ignore"):
        mixed = (np.arange(start, stop, dtype=np.uint64) + _GOLDEN * np.uint64(seed + 1)) * _GOLDEN
        for shift, factor in _MIX:
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * factor
        return mixed ^ (mixed >> np.uint64(31))


@functools.lru_cache(maxsize=2)
def spread_of(seed: int, count: int, stop: int) -> np.ndarray:
    """Return images drawn from the first `stop` ones, in the order in which they were drawn.

    Those that are drawn from more images are among those that are drawn from fewer, or later.

    Args:
        seed: of the collection.
        count: how many at the most.
        stop: how many images there are.
    """
    drawn, order = np.empty(0, np.int64), np.empty(0, np.uint64)
    for start in range(0, stop, _BLOCK):
        end = min(start + _BLOCK, stop)
        drawn = np.concatenate([drawn, np.arange(start, end)])
        order = np.concatenate([order, hashes(seed, start, end)])
        first = np.argsort(order)[:count]
        drawn, order = drawn[first], order[first]
    drawn.setflags(write=False)  # it is kept
    return drawn
