"""Meshes from formulas: they are closed, seamless, and show their texture once."""

from __future__ import annotations

import numpy as np
import pytest

from lucent.errors import InputError
from lucent.misc import mesh_shapes

SHAPES = {
    "quad": mesh_shapes.quad,
    "sphere": mesh_shapes.sphere,
    "torus": mesh_shapes.torus,
    "trefoil": mesh_shapes.trefoil,
    "blob": mesh_shapes.blob,
}


def grid(mesh, name):
    """An array of a mesh as rows and columns of its texture, from the bottom up."""
    columns = len(np.unique(mesh["uv"][:, 0]))
    return mesh[name].reshape(-1, columns, mesh[name].shape[-1])


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_meshes_that_fill_the_cube_and_the_texture(name):
    mesh = SHAPES[name]()
    assert {key: value.dtype for key, value in mesh.items()} == {
        "position": np.float32,
        "uv": np.float32,
        "face": np.int32,
    }
    assert np.abs(mesh["position"]).max() == pytest.approx(1, abs=1e-6)
    assert mesh["uv"].min() == 0
    assert mesh["uv"].max() == 1
    u, v = np.moveaxis(mesh["uv"][mesh["face"]].reshape(-1, 3, 2), 2, 0)
    # Twice the area of every triangle in the texture: positive, because they go the same way round.
    area = (u[:, 1] - u[:, 0]) * (v[:, 2] - v[:, 0]) - (u[:, 2] - u[:, 0]) * (v[:, 1] - v[:, 0])
    assert (area > 0).all()
    assert area.sum() / 2 == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ["sphere", "torus", "trefoil", "blob"])
def test_the_left_edge_meets_the_right_one(name):
    points = grid(SHAPES[name](), "position")
    assert np.abs(points[:, 0] - points[:, -1]).max() < 1e-5


@pytest.mark.parametrize("name", ["torus", "trefoil"])
def test_the_lower_edge_meets_the_upper_one(name):
    points = grid(SHAPES[name](), "position")
    assert np.abs(points[0] - points[-1]).max() < 1e-5


@pytest.mark.parametrize("name", ["sphere", "blob"])
def test_poles_are_points(name):
    points = grid(SHAPES[name](), "position")
    assert np.ptp(points[0], axis=0).max() < 1e-5
    assert np.ptp(points[-1], axis=0).max() < 1e-5


@pytest.mark.parametrize("name", ["sphere", "torus", "trefoil", "blob"])
def test_faces_look_outwards_and_enclose_a_volume(name):
    mesh = SHAPES[name]()
    a, b, c = np.moveaxis(np.float64(mesh["position"])[mesh["face"]].reshape(-1, 3, 3), 1, 0)
    volume = np.einsum("nk,nk->", a, np.cross(b, c)) / 6
    expected = {"sphere": 4 / 3 * np.pi, "torus": 2 * np.pi**2 * (1 / 1.4) * (0.4 / 1.4) ** 2}
    assert volume > 0
    if name in expected:
        assert volume == pytest.approx(expected[name], rel=0.01)


def test_points_of_the_sphere_lie_where_the_map_says():
    mesh = mesh_shapes.sphere(rows=8)
    points, uv = grid(mesh, "position"), grid(mesh, "uv")
    assert np.allclose(np.linalg.norm(points, axis=-1), 1, atol=1e-6)
    # v = 1/2 is the equator, u goes round it to the left as seen from above the north pole.
    assert np.allclose(points[-1, 0], [0, 1, 0], atol=1e-6)
    assert np.allclose(points[4, 0], [1, 0, 0], atol=1e-6)
    assert np.allclose(points[4, 4], [0, 0, -1], atol=1e-6)
    assert uv[4, 4].tolist() == [0.25, 0.5]


def test_a_tube_has_its_thickness_everywhere():
    rows, thickness = 16, 0.45
    points = grid(mesh_shapes.trefoil(thickness=thickness, rows=rows), "position")
    ring = points[:-1]
    radius = np.linalg.norm(ring - ring.mean(0), axis=-1)
    assert np.ptp(radius) < 1e-4 * radius.mean()


def test_blobs_differ_by_seed_and_have_the_bumps_asked_for():
    first, again, other = (mesh_shapes.blob(seed=seed)["position"] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    plain = mesh_shapes.blob(bumps=0)["position"]
    assert np.allclose(np.linalg.norm(plain, axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: mesh_shapes.surface(lambda u, v: (u, v, u), rows=0), r"rows=0 and columns=128"),
        (lambda: mesh_shapes.surface(lambda u, v: (u, v)), r"has to return x, y and z"),
        (lambda: mesh_shapes.surface(lambda u, v: (u, v, np.ones(3))), r"has to return x, y and z"),
        (lambda: mesh_shapes.surface(lambda u, v: (u, v, u * np.nan)), r"gives NaN or infinity"),
        (lambda: mesh_shapes.torus(thickness=1), r"thickness=1 has to lie between 0 and 1"),
    ],
)
def test_shapes_that_are_none(make, text):
    with pytest.raises(InputError, match=text):
        make()
