"""Meshes and camera matrices: what texture synthesis on a mesh needs besides a renderer.

A mesh is a dictionary of NumPy arrays: `position` (n, 3), `uv` (n, 2), `normal` (n, 3), all
float32, and `face`, the int32 indices of three vertices for each triangle one after the other.
Matrices are 4 x 4 and act on columns, so that `perspective(...) @ lookat(...)` applies `lookat`
first. The conventions are those of OpenGL: the camera looks along its negative z axis.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Sequence
from typing import IO, Any

import numpy as np
import torch

from lucent.errors import InputError
from lucent.util import optional

Mesh = dict[str, np.ndarray]
Vector = Sequence[float] | np.ndarray

#: The tags of a Wavefront file that hold vertex data: the key of the mesh, and numbers per vertex.
_DATA = {"v": ("position", 3), "vt": ("uv", 2), "vn": ("normal", 3)}


def load_obj(fn: str | os.PathLike[str] | IO[Any]) -> Mesh:
    """Return the mesh in a Wavefront .obj file.

    Each combination of position, texture and normal index becomes one vertex. Polygons are cut into
    triangles that share their first corner. A key is missing where no face uses it; a vertex
    without one that others have gets zeros. Materials, groups and colours are left out.

    Args:
        fn: path, or an open file of text or bytes.

    Raises:
        InputError: a line cannot be understood, an index points nowhere, or there is no face.
    """
    if isinstance(fn, str | os.PathLike):
        with open(fn, "rb") as file:
            return _parsed(file)
    return _parsed(fn)


def load_mesh(path: str | os.PathLike[str]) -> Mesh:
    """Return the mesh in a file: Wavefront .obj, .glb, .gltf, .ply, and what else trimesh reads.

    The parts of a scene become one mesh. Materials and colours are left out.

    Args:
        path: of a file on this machine.

    Raises:
        InputError: the file cannot be understood, has no triangle or no texture coordinates.
        MissingExtra: trimesh is not installed, and the file is no .obj.
    """
    if not os.path.isfile(path):
        raise InputError(f"There is no file {os.fspath(path)!r} to load a mesh from.")
    wavefront = os.fspath(path).lower().endswith(".obj")
    mesh = load_obj(path) if wavefront else _by_trimesh(path)
    if "uv" not in mesh:
        raise InputError(
            f"The mesh in {os.fspath(path)!r} has no texture coordinates: unwrap it in a modelling "
            "program such as Blender, and export it with UVs."
        )
    return mesh


def normalize_mesh(mesh: Mesh) -> Mesh:
    """Return a copy whose bounding box is centred and touches -1 or 1 in its longest direction.

    Args:
        mesh: with `position` (n, 3); the other arrays are shared with the result.

    Raises:
        InputError: all vertices lie at one point.
    """
    position = np.array(mesh["position"])[:, :3]
    position = position - (position.max(0) + position.min(0)) / 2
    size = np.abs(position).max()
    if size == 0:
        raise InputError(
            f"The {len(position)} vertices of the mesh lie at one point: it has no size to scale."
        )
    return {**mesh, "position": position / size}


def anorm(x: np.ndarray, axis: int | None = None, keepdims: bool = False) -> np.ndarray:
    """Return the L2 norm of an array along an axis, or of all of it."""
    return np.sqrt(np.square(x).sum(axis=axis, keepdims=keepdims))


def normalize(v: np.ndarray, axis: int | None = None, eps: float = 1e-10) -> np.ndarray:
    """Return an array divided by its L2 norm along an axis, or that of all of it.

    Args:
        v: any shape.
        axis: None takes all of the array as one vector.
        eps: smallest norm to divide by, in the units of v.
    """
    return v / np.maximum(anorm(v, axis=axis, keepdims=True), eps)


def lookat(eye: Vector, target: Vector = (0, 0, 0), up: Vector = (0, 1, 0)) -> np.ndarray:
    """Return the modelview matrix of a camera, (4, 4), float32.

    It takes `eye` to the origin and `target` to the negative z axis.

    Args:
        eye: position of the camera, (3,).
        target: point that it looks at, (3,).
        up: direction that is up in the picture, (3,).

    Raises:
        InputError: eye and target are one point, or up is the direction of view.
    """
    position, point, vertical = (_vector(v) for v in (eye, target, up))
    forward = normalize(point - position)
    across = np.cross(forward, normalize(vertical))
    if anorm(across) < 1e-6:  # the sine of the angle between them
        raise InputError(
            f"A camera at {position.tolist()} that looks at {point.tolist()} with "
            f"{vertical.tolist()} up has no direction: eye and target have to differ, and up must "
            "not lie along the view."
        )
    side = normalize(across)
    matrix = np.eye(4)
    matrix[:3, :3] = [side, np.cross(side, forward), -forward]
    matrix[:3, 3] = -matrix[:3, :3] @ position
    return matrix.astype(np.float32)


def sample_view(
    min_dist: float, max_dist: float | None = None, *, generator: torch.Generator | None = None
) -> np.ndarray:
    """Return the modelview matrix of a random camera that looks at the origin, (4, 4), float32.

    Args:
        min_dist: smallest distance to the origin.
        max_dist: largest distance; None means always `min_dist`.
        generator: of the draw; None is PyTorch's global one. Directions are uniform on the sphere,
            distances uniform between the two.

    Raises:
        InputError: the distances are not positive and in order.
    """
    max_dist = min_dist if max_dist is None else max_dist
    if not 0 < min_dist <= max_dist:
        raise InputError(
            f"min_dist={min_dist!r} and max_dist={max_dist!r} have to be positive, the smaller one "
            "first."
        )
    device = None if generator is None else generator.device
    draw = torch.randn(3, generator=generator, device=device, dtype=torch.float64)
    share = torch.rand((), generator=generator, device=device, dtype=torch.float64).item()
    return lookat(normalize(draw.cpu().numpy()) * (min_dist + share * (max_dist - min_dist)))


def frustum(
    left: float, right: float, bottom: float, top: float, znear: float, zfar: float
) -> np.ndarray:
    """Return the projection of a view frustum to the cube from -1 to 1, (4, 4), float32.

    Args:
        left: left end of the near plane, in scene units as the rest.
        right: right end of the near plane.
        bottom: lower end of the near plane.
        top: upper end of the near plane.
        znear: distance of the near plane.
        zfar: distance of the far plane.

    Raises:
        InputError: two ends are the same.
    """
    for name, low, high in (
        ("left and right", left, right),
        ("bottom and top", bottom, top),
        ("znear and zfar", znear, zfar),
    ):
        if low == high:
            raise InputError(f"The {name} of a frustum are both {low}; they have to differ.")
    width, height, depth = right - left, top - bottom, zfar - znear
    return np.array(
        [
            [2 * znear / width, 0, (right + left) / width, 0],
            [0, 2 * znear / height, (top + bottom) / height, 0],
            [0, 0, -(zfar + znear) / depth, -2 * znear * zfar / depth],
            [0, 0, -1, 0],
        ],
        dtype=np.float32,
    )


def perspective(fovy: float, aspect: float, znear: float, zfar: float) -> np.ndarray:
    """Return the projection of a symmetric view, (4, 4), float32.

    Args:
        fovy: angle from the lower to the upper end of the picture, in degrees; Lucid uses 10.
        aspect: width over height.
        znear: distance of the near plane.
        zfar: distance of the far plane.

    Raises:
        InputError: the angle or the aspect is 0, or the planes are the same.
    """
    height = math.tan(math.radians(fovy) / 2) * znear
    return frustum(-height * aspect, height * aspect, -height, height, znear, zfar)


def homotrans(M: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Return points after a matrix and the division by their last coordinate.

    Args:
        M: (4, 4).
        p: (..., 3), or (..., 4) with a last coordinate of their own instead of 1.
    """
    p = np.asarray(p)
    if p.shape[-1] == M.shape[1] - 1:
        p = np.concatenate([p, np.ones_like(p[..., :1])], axis=-1)
    p = p @ M.T
    return p[..., :-1] / p[..., -1:]


def _by_trimesh(path: str | os.PathLike[str]) -> Mesh:
    trimesh = optional("trimesh", "mesh")
    try:
        # Processing would merge vertices that differ in their texture coordinates.
        found = trimesh.load_mesh(path, process=False)
    except (ValueError, KeyError, IndexError, NotImplementedError) as error:
        raise InputError(
            f"{os.fspath(path)!r} is no mesh that trimesh reads ({error}): convert it to .obj or "
            ".glb."
        ) from error
    faces = getattr(found, "faces", ())
    if not len(faces):
        raise InputError(f"The mesh in {os.fspath(path)!r} has no triangle.")
    mesh = {
        "position": np.asarray(found.vertices, np.float32),
        "face": np.asarray(faces, np.int32).ravel(),
    }
    uv = getattr(found.visual, "uv", None)
    return mesh if uv is None else {**mesh, "uv": np.asarray(uv, np.float32)[:, :2]}


def _vector(values: Vector) -> np.ndarray:
    vector = np.asarray(values, dtype=np.float64)
    if vector.shape != (3,) or not np.isfinite(vector).all():
        raise InputError(f"{values} is no point or direction: give three finite numbers.")
    return vector


def _parsed(lines: Iterable[str | bytes]) -> Mesh:
    # Index 0 stands for what a vertex does not have.
    data = {tag: [[0.0] * size] for tag, (_, size) in _DATA.items()}
    vertices: dict[tuple[int, ...], int] = {}
    triangles: list[int] = []
    for number, line in enumerate(lines, start=1):
        # Names of materials may be in any encoding; the rest is ASCII.
        text = line.decode("latin-1") if isinstance(line, bytes) else line
        tag, *words = text.split("#", 1)[0].split() or [""]
        try:
            if tag in data:
                data[tag].append(_numbers(words, _DATA[tag][1]))
            elif tag == "f":
                corners = [_corner(word, data) for word in words]
                triangles += _fan([vertices.setdefault(c, len(vertices)) for c in corners])
        except ValueError as error:
            raise InputError(f"Line {number} of the mesh, {text.strip()!r}: {error}.") from error
    if not vertices:
        raise InputError(f"The mesh has no face, in {len(data['v']) - 1} vertices.")
    mesh = {"face": np.array(triangles, dtype=np.int32)}
    for (tag, (key, _)), indices in zip(_DATA.items(), np.array(list(vertices)).T, strict=True):
        if indices.any():
            mesh[key] = np.array(data[tag], dtype=np.float32)[indices]
    return mesh


def _numbers(words: list[str], size: int) -> list[float]:
    if len(words) < size:
        raise ValueError(f"{size} numbers expected")
    return [float(word) for word in words[:size]]


def _corner(word: str, data: dict[str, list[list[float]]]) -> tuple[int, ...]:
    """Return the index of position, uv and normal that `i`, `i/j`, `i//k` or `i/j/k` stands for."""
    found = []
    for index, (tag, known) in zip([*word.split("/"), "", ""], data.items(), strict=False):
        number = int(index or 0)
        # A negative index counts back from the vertex read last; the first one has number 1.
        resolved = len(known) + number if number < 0 else number
        # Only the position has to be there.
        if (index or tag == "v") and not 1 <= resolved < len(known):
            raise ValueError(f"there is no {tag} with the index {number}")
        found.append(resolved)
    return tuple(found)


def _fan(corners: list[int]) -> list[int]:
    if len(corners) < 3:
        raise ValueError("a face has three corners or more")
    return [
        vertex
        for second, third in itertools.pairwise(corners[1:])
        for vertex in (corners[0], second, third)
    ]
