"""The eighteen texture classes: each function draws coverages in [0, 1] that mix two colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from lucent.modelzoo.synthnet._draw import (
    FULL_TURN,
    GREEN_YELLOW,
    RED_BLUE,
    SIDE,
    Array,
    Brush,
    union,
)

ROOT3 = np.sqrt(3)


@dataclass(frozen=True)
class Pattern:
    """Coverage (N, S, S) by the second colour and, for stripes, their geometry (N,)."""

    coverage: Array
    orientation: Array | None = None
    wavelength: Array | None = None


@dataclass(frozen=True)
class Geometry:
    """What every image of a striped class has in common.

    Attributes:
        orientation: angle of the wave vector in degrees, x right and y down, +-9.
        wavelength: range in pixels of a 96 px image.
        hues: the two hues in degrees, +-12, where they belong to the class.
    """

    orientation: float
    wavelength: tuple[float, float] = (13, 21)
    hues: tuple[float, float] | None = None

    def wavelength_at(self, size: int) -> tuple[float, float]:
        """Return the range of the wavelength in pixels of an image of `size` pixels."""
        low, high = self.wavelength
        return low * size / SIDE, high * size / SIDE


GEOMETRY = {
    "vertical stripes": Geometry(0),
    "rising stripes": Geometry(45),
    "horizontal stripes": Geometry(90),
    "falling stripes": Geometry(135),
    "red-blue stripes": Geometry(45, hues=RED_BLUE),
    "green-yellow stripes": Geometry(135, hues=GREEN_YELLOW),
    "fine stripes": Geometry(0, wavelength=(6.5, 8.5)),
}


def stripes(brush: Brush, *, geometry: Geometry) -> Pattern:
    x, y = brush.frame(0, 0)
    degrees = geometry.orientation + brush.uniform(-9, 9)
    length = brush.uniform(*geometry.wavelength)
    angle = np.deg2rad(degrees)
    phase = (x * np.cos(angle) + y * np.sin(angle)) / length + brush.uniform(0, 1)
    pixels = length * (brush.size / SIDE)
    return Pattern(brush.wave(phase), degrees[:, 0, 0] % 180, pixels[:, 0, 0])


def checker(brush: Brush) -> Pattern:
    x, y = brush.frame(15, 15)
    period = brush.uniform(22, 38)
    value = 1.6 * np.sin(FULL_TURN * x / period) * np.sin(FULL_TURN * y / period)
    hardness = brush.uniform(2, 6)
    return Pattern(0.5 + 0.5 * np.tanh(hardness * value) / np.tanh(hardness * 1.6))


def dots(brush: Brush) -> Pattern:
    x, y = brush.frame(15, 45)
    pitch = brush.uniform(15, 25)
    row = np.floor(y / pitch)
    offset = 0.5 * brush.integer(0, 1) * row
    across = ((x / pitch + offset) % 1 - 0.5) * pitch
    along = (y / pitch - row - 0.5) * pitch
    return Pattern(brush.edge(np.hypot(across, along) - pitch * brush.uniform(0.24, 0.36)))


def grid(brush: Brush) -> Pattern:
    x, y = brush.frame(15, 12)
    pitch, half_width = brush.uniform(18, 28), brush.uniform(1.6, 3)
    lines = [np.abs((axis / pitch) % 1 - 0.5) * pitch - half_width for axis in (x, y)]
    return Pattern(union([brush.edge(line) for line in lines]))


def waves(brush: Brush) -> Pattern:
    x, y = brush.frame(15, 18)
    shift = brush.uniform(4.5, 9) * np.sin(FULL_TURN * x / brush.uniform(24, 39))
    return Pattern(brush.wave((y + shift) / brush.uniform(12, 20)))


def rings(brush: Brush) -> Pattern:
    x, y = brush.frame(13, 0)
    return Pattern(brush.wave(np.hypot(x, y) / brush.uniform(12, 21) + brush.uniform(0, 1)))


def spiral(brush: Brush) -> Pattern:
    x, y = brush.frame(13, 0)
    turns = brush.integer(1, 2) * brush.sign() * np.arctan2(y, x) / FULL_TURN
    return Pattern(brush.wave(np.hypot(x, y) / brush.uniform(15, 27) + turns + brush.uniform(0, 1)))


def pinwheel(brush: Brush) -> Pattern:
    x, y = brush.frame(13, 0)
    turns = brush.integer(4, 8) * np.arctan2(y, x) / FULL_TURN
    return Pattern(brush.wave(turns + brush.uniform(0, 1)))


def bricks(brush: Brush) -> Pattern:
    x, y = brush.frame(15, 8)
    height, mortar = brush.uniform(13, 19), brush.uniform(1.2, 2.2)
    length = height * brush.uniform(1.8, 2.3)
    row = np.floor(y / height)
    across = (0.5 - np.abs((x / length + 0.5 * (row % 2)) % 1 - 0.5)) * length
    along = (0.5 - np.abs(y / height - row - 0.5)) * height
    return Pattern(union([brush.edge(distance - mortar) for distance in (across, along)]))


def hexagons(brush: Brush) -> Pattern:
    x, y = brush.frame(15, 30)
    pitch, half_width = brush.uniform(20, 30), brush.uniform(1.4, 2.4)
    # The centres of a honeycomb are two rectangular lattices of 1 by sqrt(3); the nearest counts.
    cells = [_centred(x / pitch - shift, y / pitch - shift * ROOT3) for shift in (0.0, 0.5)]
    nearest = np.hypot(*cells[0]) < np.hypot(*cells[1])
    across, along = (np.abs(np.where(nearest, one, two)) for one, two in zip(*cells, strict=True))
    distance = np.maximum(across, across / 2 + along * (ROOT3 / 2))
    return Pattern(brush.edge((0.5 - distance) * pitch - half_width))


def _centred(x: Array, y: Array) -> tuple[Array, Array]:
    return (x + 0.5) % 1 - 0.5, (y + ROOT3 / 2) % ROOT3 - ROOT3 / 2


def clouds(brush: Brush) -> Pattern:
    field = brush.noise((1.5, 1.9), 1)[:, 0]
    return Pattern(0.5 + 0.5 * np.tanh(brush.uniform(0.8, 2) * field))


def wood(brush: Brush) -> Pattern:
    x, _ = brush.frame(15, 12)
    bend = brush.uniform(6, 13) * brush.noise((1.6, 2.0), 1, squeeze=4)[:, 0]
    return Pattern(0.5 + 0.5 * np.sin(FULL_TURN * (x + bend) / brush.uniform(9, 16)))


PATTERNS: dict[str, Callable[[Brush], Pattern]] = {
    **{name: partial(stripes, geometry=geometry) for name, geometry in GEOMETRY.items()},
    "checker": checker,
    "dots": dots,
    "grid": grid,
    "waves": waves,
    "rings": rings,
    "spiral": spiral,
    "pinwheel": pinwheel,
    "bricks": bricks,
    "hexagons": hexagons,
    "clouds": clouds,
    "wood": wood,
}


def palette(name: str, brush: Brush) -> tuple[Array, Array]:
    """Return the two colours (N, 3) of a texture: the ground's and the pattern's."""
    first, second = brush.contrasting()
    if name not in PALETTES:
        return first, second
    share, colours = PALETTES[name]
    typical = brush.chance(share)
    ground, mark = colours(brush)
    return np.where(typical, ground, first), np.where(typical, mark, second)


def _hue_pair(brush: Brush, hues: tuple[float, float]) -> tuple[Array, Array]:
    ranges = [(hue - 12, hue + 12) for hue in hues]
    ground, mark = (brush.hsv(hue, (0.75, 1), (0.65, 1)) for hue in ranges)
    return ground, mark


def _rust_and_mortar(brush: Brush) -> tuple[Array, Array]:
    return brush.hsv((2, 22), (0.5, 0.85), (0.4, 0.7)), brush.grey(0.7, 0.95)


def _honey_and_wax(brush: Brush) -> tuple[Array, Array]:
    return brush.hsv((35, 50), (0.7, 1), (0.8, 1)), brush.hsv((20, 35), (0.6, 0.9), (0.15, 0.4))


def _sky_and_cloud(brush: Brush) -> tuple[Array, Array]:
    return brush.hsv((195, 220), (0.4, 0.75), (0.5, 0.85)), brush.grey(0.85, 1)


def _brown_wood(brush: Brush) -> tuple[Array, Array]:
    dark = brush.hsv((18, 34), (0.5, 0.8), (0.25, 0.45))
    return dark, brush.hsv((24, 40), (0.4, 0.7), (0.65, 0.95))


def _black_and_white(brush: Brush) -> tuple[Array, Array]:
    return brush.grey(0, 0.15), brush.grey(0.85, 1)


def _ink_on_paper(brush: Brush) -> tuple[Array, Array]:
    return brush.grey(0.85, 1), brush.hsv((200, 260), (0.3, 0.8), (0.05, 0.4))


# Share of the images with a class's typical colours, and these; other classes have any two.
PALETTES: dict[str, tuple[float, Callable[[Brush], tuple[Array, Array]]]] = {
    "red-blue stripes": (1.0, partial(_hue_pair, hues=RED_BLUE)),
    "green-yellow stripes": (1.0, partial(_hue_pair, hues=GREEN_YELLOW)),
    "wood": (1.0, _brown_wood),
    "bricks": (0.6, _rust_and_mortar),
    "hexagons": (0.6, _honey_and_wax),
    "clouds": (0.6, _sky_and_cloud),
    "checker": (0.5, _black_and_white),
    "grid": (0.5, _ink_on_paper),
}
