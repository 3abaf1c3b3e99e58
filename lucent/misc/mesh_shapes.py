"""Meshes from formulas, with texture coordinates: what to try a texture on without a file.

Each is a dictionary as `lucent.misc.mesh` describes it, normalised: it touches -1 or 1 in its
longest direction.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lucent.errors import InputError
from lucent.misc.mesh import Mesh, normalize_mesh

#: x, y and z.
Points = tuple[np.ndarray, ...]
#: From u (1, n) and v (m, 1) in [0, 1] to points, whose shapes broadcast to (m, n).
Formula = Callable[[np.ndarray, np.ndarray], Points]

#: Of the bumps of a blob: how many waves make them, and the standard deviation of their components
#: in radians per radius. So a bump is about a third of the ball wide.
_WAVES, _WAVE_NUMBER = 8, 2.5


def surface(formula: Formula, *, rows: int = 64, columns: int = 128) -> Mesh:
    """Return the mesh of a formula over the unit square, which is its texture.

    >>> sheet = surface(lambda u, v: (u, v, 0.1 * np.sin(9 * u)), rows=8, columns=16)
    >>> sheet["position"].shape, sheet["face"].shape
    ((153, 3), (768,))

    Args:
        formula: of u, (1, columns + 1), and v, (rows + 1, 1), from 0 to 1, the texture from left to
            right and from bottom to top; it returns x, y and z, which may have either shape.
        rows: of squares, each of which is two triangles.
        columns: of squares.

    Raises:
        InputError: a number is below 1, or the result has another shape or is not finite.
    """
    if min(rows, columns) < 1:
        raise InputError(f"rows={rows} and columns={columns} have to be at least 1.")
    u, v = np.linspace(0, 1, columns + 1)[None], np.linspace(0, 1, rows + 1)[:, None]
    try:
        x, y, z, u, v = np.broadcast_arrays(*formula(u, v), u, v)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The formula of a surface has to return x, y and z for u of shape {u.shape} and v of "
            f"shape {v.shape} ({error})."
        ) from error
    if not np.isfinite(x + y + z).all():
        raise InputError("The formula of a surface gives NaN or infinity for some u and v.")
    corner = np.arange((rows + 1) * (columns + 1)).reshape(rows + 1, columns + 1)
    a, b, c, d = corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]
    mesh = {
        "position": np.stack([x, y, z], axis=-1).reshape(-1, 3).astype(np.float32),
        "uv": np.stack([u, v], axis=-1).reshape(-1, 2).astype(np.float32),
        "face": np.stack([a, b, c, a, c, d], axis=-1).ravel().astype(np.int32),
    }
    return normalize_mesh(mesh)


def quad() -> Mesh:
    """Return a square across the z axis, from -1 to 1, that shows its whole texture."""
    return surface(lambda u, v: (2 * u - 1, 2 * v - 1, 0 * u), rows=1, columns=1)


def sphere(*, rows: int = 64) -> Mesh:
    """Return a sphere under a map of longitude and latitude, the poles at the ends of the y axis.

    Args:
        rows: of squares from pole to pole.
    """
    return surface(lambda u, v: tuple(_ball(u, v)), rows=rows, columns=2 * rows)


def torus(*, thickness: float = 0.4, rows: int = 48) -> Mesh:
    """Return a ring around the z axis; u runs along it, v around its tube.

    Args:
        thickness: radius of the tube over that of the ring, more than 0 and less than 1.
        rows: of squares around the tube.

    Raises:
        InputError: the tube has no thickness or closes the hole.
    """
    if not 0 < thickness < 1:
        raise InputError(f"thickness={thickness!r} has to lie between 0 and 1.")

    def formula(u: np.ndarray, v: np.ndarray) -> Points:
        along, around = 2 * np.pi * u, 2 * np.pi * v
        radius = 1 + thickness * np.cos(around)
        return radius * np.cos(along), radius * np.sin(along), thickness * np.sin(around)

    return surface(formula, rows=rows, columns=2 * rows)


def trefoil(*, thickness: float = 0.45, rows: int = 32) -> Mesh:
    """Return a tube tied into a trefoil knot; u runs along it, v around.

    Args:
        thickness: radius of the tube, where the knot's is 3; it touches itself from about 0.8 on.
        rows: of squares around the tube.
    """

    def formula(u: np.ndarray, v: np.ndarray) -> Points:
        along, around = 2 * np.pi * u, 2 * np.pi * v
        centre, tangent, bend = _knot(along)
        across = np.cross(tangent, bend, axis=0)
        across /= np.linalg.norm(across, axis=0)
        outward = np.cross(across, tangent, axis=0) / np.linalg.norm(tangent, axis=0)
        tube = np.cos(around) * outward - np.sin(around) * across
        return tuple(centre + thickness * tube)

    return surface(formula, rows=rows, columns=12 * rows)


def blob(*, bumps: float = 0.25, seed: int = 0, rows: int = 64) -> Mesh:
    """Return a ball with random dents and bumps, seamless under its map of longitude and latitude.

    Args:
        bumps: standard deviation of the logarithm of the radius.
        seed: of the bumps.
        rows: of squares from pole to pole.
    """
    rng = np.random.default_rng(seed)
    waves = rng.normal(size=(_WAVES, 3)) * _WAVE_NUMBER
    phases = rng.uniform(0, 2 * np.pi, _WAVES)

    def formula(u: np.ndarray, v: np.ndarray) -> Points:
        # A function of the point on the sphere, so that it has neither seam nor pole.
        angles = np.einsum("wk,kmn->wmn", waves, _ball(u, v)) + phases[:, None, None]
        height = np.cos(angles).sum(0) * math.sqrt(2 / _WAVES)
        return tuple(np.exp(bumps * height) * _ball(u, v))

    return surface(formula, rows=rows, columns=2 * rows)


def _ball(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the points of the unit sphere, (3, m, n), at longitude 2 pi u and latitude pi v."""
    longitude, latitude = 2 * np.pi * u, np.pi * (v - 0.5)
    x, z = np.cos(latitude) * np.cos(longitude), -np.cos(latitude) * np.sin(longitude)
    return np.stack([x, np.broadcast_to(np.sin(latitude), x.shape), z])


def _knot(t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the trefoil at angles t, (3, *t.shape), and its first and second derivative."""
    point = [np.sin(t) + 2 * np.sin(2 * t), np.cos(t) - 2 * np.cos(2 * t), -np.sin(3 * t)]
    first = [np.cos(t) + 4 * np.cos(2 * t), -np.sin(t) + 4 * np.sin(2 * t), -3 * np.cos(3 * t)]
    second = [-np.sin(t) - 8 * np.sin(2 * t), -np.cos(t) + 8 * np.cos(2 * t), 9 * np.sin(3 * t)]
    return np.stack(point), np.stack(first), np.stack(second)
