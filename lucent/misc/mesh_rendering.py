"""What a camera sees of a mesh: for every pixel the texture coordinates of the nearest surface.

Rays are cast by trimesh, with embreex where it is installed. The result is an array, through which
no gradient flows; `lucent.optvis.param.bilinearly_sampled_image` looks a texture up at it, and the
gradient flows into the texture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lucent.errors import InputError
from lucent.misc.io.mesh_viewer import checked_mesh
from lucent.misc.mesh import Mesh, lookat
from lucent.util import optional

#: Degrees from the lower to the upper edge of a picture, as in Lucid. From a distance of 12, the
#: middle of Lucid's views, it shows 12 * 2 * tan(5 degrees) = 2.1 units, a little more than a
#: normalised mesh has.
FOVY = 10.0

#: Smallest and largest side of a texture that is chosen by itself.
_TEXTURE_SIDES = 32, 2048


def orbit(count: int, *, distance: float = 12.0, elevation: float = 20.0) -> list[np.ndarray]:
    """Return the modelview matrices of cameras around the y axis that look at the origin.

    Args:
        count: number of cameras, at equal angles; the first one looks along the negative z axis.
        distance: from the origin.
        elevation: angle above the equator, in degrees, less than 90.
    """
    height = math.radians(elevation)
    angles = [2 * math.pi * n / count for n in range(count)]
    return [
        lookat(
            [
                distance * math.cos(height) * math.sin(angle),
                distance * math.sin(height),
                distance * math.cos(height) * math.cos(angle),
            ]
        )
        for angle in angles
    ]


class MeshRenderer:
    """Draws the texture coordinates of a mesh as a pinhole camera sees them.

    >>> import numpy as np
    >>> from lucent.misc.mesh import lookat
    >>> from lucent.misc.mesh_shapes import quad
    >>> seen = MeshRenderer(quad()).render(lookat((0, 0, 12)), 64)
    >>> seen.shape, seen[32, 48].round(2)
    ((64, 64, 3), array([0.77, 0.49, 1.  ], dtype=float32))

    Args:
        mesh: with `position` (V, 3), `uv` (V, 2) and `face`, three vertices for each triangle;
            `lucent.misc.mesh.load_mesh` and `lucent.misc.mesh_shapes` give some.
        fovy: angle from the lower to the upper edge of the picture, in degrees.

    Raises:
        InputError: the mesh has no texture coordinates, or arrays of other shapes.
        MissingExtra: trimesh is not installed.
    """

    def __init__(self, mesh: Mesh, *, fovy: float = FOVY) -> None:
        trimesh = optional("trimesh", "mesh")
        if not 0 < fovy < 180:
            raise InputError(f"fovy={fovy!r} is an angle between 0 and 180 degrees; Lucid's is 10.")
        position, uv, face = checked_mesh(mesh)
        self._slope = math.tan(math.radians(fovy) / 2)
        face = face.reshape(-1, 3)
        self._corners, self._uv = position[face].astype(np.float64), uv[face]
        # What makes rays fast is built with the first of them; `process` would merge vertices.
        self._rays: Any = trimesh.Trimesh(position, face, process=False).ray

    def render(self, view: np.ndarray, size: int | Sequence[int]) -> np.ndarray:
        """Return u, v and coverage, (H, W, 3), float32; all three are 0 beside the mesh.

        A pixel is what the ray through its centre meets first, from either side.

        Args:
            view: the modelview matrix of the camera, (4, 4), as of `lookat` and `sample_view`.
            size: (height, width) in pixels, or the side of a square.

        Raises:
            InputError: the matrix or the size cannot be used.
        """
        height, width = _checked_size(size)
        camera = _inverse(view)
        eye, directions = camera[:3, 3], self._directions(height, width) @ camera[:3, :3].T
        nearest = self._rays.intersects_first(np.broadcast_to(eye, directions.shape), directions)
        hit = np.flatnonzero(nearest >= 0)
        face = nearest[hit]
        seen = np.zeros((height * width, 3), np.float32)
        weights = _barycentric(self._corners - eye, face, directions[hit])
        seen[hit, :2] = np.einsum("nc,nck->nk", weights, self._uv[face])
        seen[hit, 2] = 1
        return seen.reshape(height, width, 3)

    def texture_size(self, size: int, distance: float) -> tuple[int, int]:
        """Return the (height, width) of the texture whose texels are about as large as pixels.

        Texels are square on the average over the surface, however it was unfolded.

        Args:
            size: height of the picture, in pixels.
            distance: of the camera from the surface.
        """
        sides = (self._corners[:, 1:] - self._corners[:, :1]).swapaxes(1, 2)
        unfolded = (self._uv[:, 1:] - self._uv[:, :1]).swapaxes(1, 2).astype(np.float64)
        known = np.abs(np.linalg.det(unfolded)) > 1e-12  # the others have no width in the texture
        # The way on the surface for a step of 1 in u, and in v.
        steps = (sides[known] @ np.linalg.inv(unfolded[known])) ** 2
        area = np.linalg.norm(np.cross(*np.moveaxis(sides[known], 2, 0)), axis=1)
        lengths = np.sqrt(np.average(steps.sum(1), axis=0, weights=area)) if area.sum() else [1, 1]
        pixels = np.array(lengths) * size / (2 * self._slope * distance)
        width, height = (np.clip(np.ceil(pixels / 16) * 16, *_TEXTURE_SIDES)).astype(int).tolist()
        return height, width

    def _directions(self, height: int, width: int) -> np.ndarray:
        """Return where the pixels lie as the camera sees them, (H * W, 3)."""
        # Half a picture is `slope` units high at a distance of 1; centres of pixels are at halves.
        rows = (1 - (2 * np.arange(height) + 1) / height) * self._slope
        columns = ((2 * np.arange(width) + 1) / width - 1) * self._slope * width / height
        x, y = np.meshgrid(columns, rows)
        return np.stack([x, y, np.full_like(x, -1.0)], axis=-1).reshape(-1, 3)


def _checked_size(size: int | Sequence[int]) -> tuple[int, int]:
    sides = np.atleast_1d(size)
    if sides.shape not in {(1,), (2,)} or sides.dtype.kind not in "iu" or sides.min() < 1:
        raise InputError(f"size={size!r} has to be (height, width) in pixels, or one for both.")
    return int(sides[0]), int(sides[-1])


def _inverse(view: np.ndarray) -> np.ndarray:
    matrix = np.asarray(view, np.float64)
    if matrix.shape != (4, 4) or not np.linalg.det(matrix):
        raise InputError(
            f"A modelview matrix is (4, 4) and can be inverted, as of lookat((0, 0, 12)); got "
            f"{matrix.tolist()}."
        )
    return np.linalg.inv(matrix)


def _barycentric(corners: np.ndarray, face: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Return the weights of the corners of a triangle where a ray from the origin meets it.

    Args:
        corners: of all triangles, (F, 3, 3).
        face: the number of the triangle that each ray meets, (n,).
        directions: of the rays, (n, 3).
    """
    # The ray and two corners span a volume in proportion to the weight of the third one. On an
    # edge, rounding may turn its sign.
    opposite = np.cross(np.roll(corners, -1, axis=1), np.roll(corners, -2, axis=1))
    volumes = np.abs(np.einsum("nck,nk->nc", opposite[face], directions))
    return volumes / volumes.sum(1, keepdims=True)
