"""The ten object classes: each function paints one object and returns its coverage as the mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lucent.modelzoo.synthnet._draw import Array, Brush, over, union

# Half the angle between a tip and a notch of a five-pointed star.
STAR_STEP = np.pi / 5


@dataclass(frozen=True)
class Site:
    """Where an object goes: coordinates about its centre (N, S, S) and its radius (N, 1, 1)."""

    x: Array
    y: Array
    radius: Array

    @property
    def distance(self) -> Array:
        """Distance from the centre, shape (N, S, S)."""
        return np.hypot(self.x, self.y)


def disc(brush: Brush, site: Site) -> Array:
    return brush.edge(site.distance - 0.85 * site.radius)


def triangle(brush: Brush, site: Site) -> Array:
    # Three half planes whose normals are 120 degrees apart: sin 60 degrees is .866.
    sides = np.maximum(0.866 * np.abs(site.x) - 0.5 * site.y, site.y)
    return brush.edge(sides - 0.55 * site.radius)


def square(brush: Brush, site: Site) -> Array:
    return brush.edge(np.maximum(np.abs(site.x), np.abs(site.y)) - 0.78 * site.radius)


def cross(brush: Brush, site: Site) -> Array:
    x, y = np.abs(site.x), np.abs(site.y)
    half_width = site.radius * brush.uniform(0.22, 0.34)
    upright = np.maximum(x - half_width, y - site.radius)
    return brush.edge(np.minimum(upright, np.maximum(x - site.radius, y - half_width)))


def star(brush: Brush, site: Site) -> Array:
    # Folded into one tenth of the star, its outline is the line from a notch to a tip.
    angle = np.abs(np.arctan2(site.x, -site.y) % (2 * STAR_STEP) - STAR_STEP)
    outer = 1.15 * site.radius
    notch = 0.45 * outer
    tip_x, tip_y = outer * np.cos(STAR_STEP), outer * np.sin(STAR_STEP)
    x, y = site.distance * np.cos(angle), site.distance * np.sin(angle)
    normal = np.hypot(tip_x - notch, tip_y)
    return brush.edge(((x - notch) * tip_y - y * (tip_x - notch)) / normal)


def ring(brush: Brush, site: Site) -> Array:
    half_width = site.radius * brush.uniform(0.14, 0.24)
    return brush.edge(np.abs(site.distance - 0.8 * site.radius) - half_width)


def crescent(brush: Brush, site: Site) -> Array:
    shift = site.radius * brush.uniform(0.4, 0.6) * brush.sign()
    bite = 0.85 * site.radius - np.hypot(site.x - shift, site.y)
    return brush.edge(np.maximum(site.distance - site.radius, bite))


# Objects of one colour; the others paint themselves.
OUTLINES: dict[str, Callable[[Brush, Site], Array]] = {
    "disc": disc,
    "triangle": triangle,
    "square": square,
    "cross": cross,
    "star": star,
    "ring": ring,
    "crescent": crescent,
}


def paint_eye(brush: Brush, site: Site, picture: Array) -> tuple[Array, Array]:
    """Paint a dark-rimmed white lens with a coloured iris and a black pupil."""
    radius = 1.1 * site.radius
    offset = 0.62 * radius
    lens = np.maximum(
        np.hypot(site.x, site.y - offset), np.hypot(site.x, site.y + offset)
    ) - np.hypot(radius, offset)
    iris = radius * brush.uniform(0.38, 0.48)
    rim = brush.edge(lens - 2.4)
    picture = over(picture, rim, brush.grey(0, 0.2))
    picture = over(picture, brush.edge(lens), brush.grey(0.85, 1))
    colour = brush.hsv((0, 360), (0.4, 0.9), (0.4, 0.8))
    inside = np.minimum(brush.edge(site.distance - iris), brush.edge(lens))
    picture = over(picture, inside, colour)
    pupil = brush.edge(site.distance - iris / 2)
    return over(picture, pupil, np.zeros_like(colour)), rim


def paint_face(brush: Brush, site: Site, picture: Array) -> tuple[Array, Array]:
    """Paint an oval in a skin colour with two dark eyes and a smiling mouth."""
    x, y, radius = site.x, site.y, site.radius
    head = brush.edge(np.hypot(x, 0.82 * y) - 0.95 * radius)
    picture = over(picture, head, brush.hsv((15, 38), (0.25, 0.6), (0.55, 1)))
    eye_x, eye_y = radius * brush.uniform(0.3, 0.4), -0.22 * radius
    eyes = np.hypot(np.abs(x) - eye_x, y - eye_y) - radius * brush.uniform(0.11, 0.17)
    picture = over(picture, brush.edge(eyes), brush.grey(0, 0.2))
    mouth_y, mouth_radius = radius * brush.uniform(0.05, 0.2), radius * brush.uniform(0.42, 0.52)
    arc = np.abs(np.hypot(x, y - mouth_y) - mouth_radius) - 0.09 * radius
    mouth = np.maximum(arc, mouth_y + 0.35 * mouth_radius - y)
    return over(picture, brush.edge(mouth), brush.hsv((-10, 10), (0.6, 1), (0.3, 0.7))), head


def paint_flower(brush: Brush, site: Site, picture: Array) -> tuple[Array, Array]:
    """Paint five to seven petals around a centre; half of them pink around yellow."""
    petal_count = brush.integer(5, 7)
    lobes = 0.62 + 0.38 * np.cos(petal_count * np.arctan2(site.y, site.x))
    # The radial distance overstates the distance to the flanks of a petal; .7 evens the softness.
    petals = brush.edge(0.7 * (site.distance - 1.1 * site.radius * lobes))
    centre = brush.edge(site.distance - 0.27 * site.radius)
    _, petal = brush.contrasting(picture.mean(axis=(2, 3)))
    typical = brush.chance(0.5)
    petal = np.where(typical, brush.hsv((300, 345), (0.4, 0.8), (0.8, 1)), petal)
    middle = np.where(typical, brush.hsv((45, 55), (0.8, 1), (0.85, 1)), 1 - petal)
    return over(over(picture, petals, petal), centre, middle), union([petals, centre])


PAINTED: dict[str, Callable[[Brush, Site, Array], tuple[Array, Array]]] = {
    "eye": paint_eye,
    "face": paint_face,
    "flower": paint_flower,
}


def paint_outline(name: str, brush: Brush, site: Site, picture: Array) -> tuple[Array, Array]:
    """Paint an object of one colour unlike the picture's mean; half the stars are gold."""
    coverage = OUTLINES[name](brush, site)
    _, colour = brush.contrasting(picture.mean(axis=(2, 3)))
    if name == "star":
        gold = brush.hsv((42, 55), (0.7, 1), (0.85, 1))
        colour = np.where(brush.chance(0.5), gold, colour)
    return over(picture, coverage, colour), coverage


def paint(name: str, brush: Brush, picture: Array) -> tuple[Array, Array]:
    """Paint one object on pictures (N, 3, S, S); return these and the coverage (N, S, S) by it."""
    x, y = brush.frame(13, 15)
    site = Site(x, y, brush.uniform(22, 38))
    if name in PAINTED:
        return PAINTED[name](brush, site, picture)
    return paint_outline(name, brush, site, picture)
