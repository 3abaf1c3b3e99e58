"""The brush that draws many procedural images at once: numbers, colours, coordinates, noise, edges.

Fields have shape (N, S, S), colours (N, 3), pictures (N, 3, S, S). Lengths are pixels of the 96 px
image on which the network is trained; a picture of another size is scaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating]

SIDE = 96
FULL_TURN = 2 * np.pi
# The two pairs of hues (degrees) that only the classes of that name may show; see `contrasting`.
RED_BLUE = (0.0, 230.0)
GREEN_YELLOW = (120.0, 55.0)
# Directions in RGB in which natural images vary: the colour statistics of Lucid.
NATURAL_COLOUR = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
# Rec. 601 weights of red, green and blue in perceived brightness.
LUMINANCE = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Brush:
    """Draws for `count` images of `size` pixels from one generator."""

    rng: np.random.Generator
    count: int
    size: int = SIDE

    def uniform(self, low: float, high: float) -> Array:
        """Return one number per image, shape (N, 1, 1)."""
        return self.rng.uniform(low, high, (self.count, 1, 1)).astype(np.float32)

    def integer(self, low: int, high: int) -> Array:
        """Return one whole number in [low, high] per image, shape (N, 1, 1)."""
        return self.rng.integers(low, high, (self.count, 1, 1), endpoint=True).astype(np.float32)

    def sign(self) -> Array:
        """Return -1 or 1 per image, shape (N, 1, 1)."""
        return 2 * self.integer(0, 1) - 1

    def chance(self, probability: float) -> NDArray[np.bool_]:
        """Return True with the given probability per image, shape (N, 1)."""
        return self.rng.random((self.count, 1)) < probability

    def frame(self, shift: float, turn: float) -> tuple[Array, Array]:
        """Return the coordinates x (right) and y (down) about a shifted centre, in turned axes.

        Args:
            shift: largest distance of the centre from the middle, per axis.
            turn: largest angle in degrees, either way.
        """
        line = ((np.arange(self.size) - (self.size - 1) / 2) * (SIDE / self.size)).astype(
            np.float32
        )
        x = line[None, None, :] - self.uniform(-shift, shift)
        y = line[None, :, None] - self.uniform(-shift, shift)
        angle = np.deg2rad(self.uniform(-turn, turn))
        cos, sin = np.cos(angle), np.sin(angle)
        return x * cos + y * sin, y * cos - x * sin

    def edge(self, distance: Array, softness: float = 1.0) -> Array:
        """Return the coverage in [0, 1] of the inside (distance < 0), soft over 2 * softness."""
        return np.clip(0.5 - distance / (2 * softness), 0, 1).astype(np.float32)

    def wave(self, phase: Array) -> Array:
        """Return a periodic profile in [0, 1] between a sine and a square wave; one period is 1."""
        hardness = self.uniform(1, 6)
        wave = np.tanh(hardness * np.sin(FULL_TURN * phase)) / np.tanh(hardness)
        return (0.5 + 0.5 * wave).astype(np.float32)

    def noise(self, power: tuple[float, float], channels: int, squeeze: float = 1.0) -> Array:
        """Return noise of variance 1 and amplitude 1/f^power, shape (N, channels, S, S).

        Args:
            power: range of the exponent.
            channels: independent fields per image.
            squeeze: above 1 the noise is drawn out along y.
        """
        rows = np.fft.fftfreq(self.size)[:, None] * squeeze
        columns = np.fft.rfftfreq(self.size)[None]
        frequency = np.maximum(np.hypot(rows, columns), 1 / self.size)
        amplitude = frequency[None, None] ** -self.uniform(*power)[:, None]
        amplitude[..., 0, 0] = 0
        shape = (2, self.count, channels, self.size, self.size // 2 + 1)
        real, imaginary = self.rng.standard_normal(shape, np.float32)
        field = np.fft.irfft2((real + 1j * imaginary) * amplitude, s=(self.size, self.size))
        return (field / field.std(axis=(1, 2, 3), keepdims=True)).astype(np.float32)

    def background(self) -> Array:
        """Return 1/f noise coloured as natural images are, shape (N, 3, S, S)."""
        directions = NATURAL_COLOUR / np.linalg.norm(NATURAL_COLOUR)
        field = np.einsum("kc,nchw->nkhw", directions, self.noise((0.9, 1.6), 3))
        tint = self.rng.uniform(-0.15, 0.15, (self.count, 3, 1, 1))
        mean = self.uniform(0.3, 0.7)[:, None] + tint
        return (field * self.uniform(0.1, 0.4)[:, None] + mean).astype(np.float32)

    def hsv(
        self, hue: tuple[float, float], saturation: tuple[float, float], value: tuple[float, float]
    ) -> Array:
        """Return one colour (N, 3) per image; ranges are of hue (degrees), saturation, value."""
        draw = [self.rng.uniform(*bounds, self.count) for bounds in (hue, saturation, value)]
        return hsv_to_rgb(draw[0], draw[1], draw[2])

    def grey(self, low: float, high: float) -> Array:
        """Return one grey per image, shape (N, 3)."""
        return np.repeat(self.uniform(low, high)[:, 0], 3, axis=1)

    def contrasting(self, other: Array | None = None) -> tuple[Array, Array]:
        """Return two colours per image that differ in brightness, never a reserved pair of hues.

        Args:
            other: the first colour, shape (N, 3); drawn where None.
        """
        first = np.empty((self.count, 3), np.float32) if other is None else other.copy()
        second = np.empty_like(first)
        todo: NDArray[np.integer] = np.arange(self.count)
        while len(todo):
            if other is None:
                first[todo] = self.rng.random((len(todo), 3), np.float32)
            second[todo] = self.rng.random((len(todo), 3), np.float32)
            todo = todo[~acceptable(first[todo], second[todo])]
        return first, second


def acceptable(first: Array, second: Array) -> NDArray[np.bool_]:
    """Return where two colours (N, 3) can be told apart and are not a reserved pair of hues."""
    # Every mean colour of a background (.15 to .85) leaves colours that are this far away from it.
    far = np.abs((first - second) @ LUMINANCE) > 0.25
    far &= np.linalg.norm(first - second, axis=1) > 0.5
    for one, two in (RED_BLUE, GREEN_YELLOW):
        far &= ~(has_hue(first, one) & has_hue(second, two))
        far &= ~(has_hue(first, two) & has_hue(second, one))
    return far


def hsv_to_rgb(hue: Array, saturation: Array, value: Array) -> Array:
    """Return RGB in [0, 1] of hue (degrees), saturation and value, with the channels last."""
    hue, saturation, value = (part[..., None] for part in (hue, saturation, value))
    sector = (np.array([5.0, 3.0, 1.0]) + hue / 60) % 6
    return (value * (1 - saturation * np.clip(np.minimum(sector, 4 - sector), 0, 1))).astype(
        np.float32
    )


def rgb_to_hue(colour: Array) -> Array:
    """Return the hue in degrees, [0, 360), of RGB with the channels last; 0 for a grey."""
    red, green, blue = np.moveaxis(colour, -1, 0)
    top, spread = colour.max(-1), np.ptp(colour, axis=-1)
    spread = np.where(spread == 0, 1, spread)
    sector = np.where(top == green, (blue - red) / spread + 2, (red - green) / spread + 4)
    return 60 * np.where(top == red, ((green - blue) / spread) % 6, sector)


def hue_distance(first: ArrayLike, second: ArrayLike) -> Array:
    """Return the angle between hues in degrees, [0, 180].

    >>> float(hue_distance(350, 20))
    30.0
    """
    return np.abs((np.asarray(first) - np.asarray(second) + 180) % 360 - 180)


def has_hue(colour: Array, hue: float) -> NDArray[np.bool_]:
    """Return where colours (N, 3) would be called by that hue: within 35 degrees and not pale."""
    return (hue_distance(rgb_to_hue(colour), hue) < 35) & (np.ptp(colour, axis=-1) > 0.2)


def over(picture: Array, coverage: Array, colour: Array) -> Array:
    """Return pictures (N, 3, S, S) with a colour (N, 3) laid over them where covered (N, S, S)."""
    return picture + coverage[:, None] * (colour[:, :, None, None] - picture)


def union(coverages: Sequence[Array]) -> Array:
    """Return the coverage of several overlapping parts."""
    return np.maximum.reduce(list(coverages))
