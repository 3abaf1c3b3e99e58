"""What a camera sees of a mesh: a quad and a sphere against formulas, pixel by pixel."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch

from lucent.errors import InputError, MissingExtra
from lucent.misc import mesh_shapes
from lucent.misc.mesh import lookat, sample_view
from lucent.misc.mesh_rendering import MeshRenderer, orbit

#: Half the height of what Lucid's camera sees, at a distance of 1.
SLOPE = math.tan(math.radians(5))


def rays(view, height, width):
    """The camera of a view, and the directions through the centres of its pixels, (H, W, 3)."""
    x = np.array([(2 * (column + 0.5) / width - 1) * width / height for column in range(width)])
    y = np.array([1 - 2 * (row + 0.5) / height for row in range(height)])
    directions = np.stack(
        [*np.broadcast_arrays(SLOPE * x[None], SLOPE * y[:, None]), -np.ones((height, width))], -1
    )
    rotation = np.float64(view[:3, :3])
    return -rotation.T @ view[:3, 3], directions @ rotation


def seen_of_the_quad(view, height, width):
    """u, v and coverage of the square from -1 to 1 in the plane z = 0."""
    eye, directions = rays(view, height, width)
    point = eye - directions * (eye[2] / directions[..., 2:])
    inside = (np.abs(point[..., :2]) <= 1).all(-1, keepdims=True)
    return np.concatenate([(point[..., :2] + 1) / 2, np.ones_like(inside)], -1) * inside


def seen_of_the_sphere(view, height, width):
    """u, v and coverage of the unit sphere under a map of longitude and latitude."""
    eye, directions = rays(view, height, width)
    directions = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    middle = directions @ eye
    depth = middle**2 - (eye @ eye - 1)
    point = eye + directions * (-middle - np.sqrt(np.maximum(depth, 0)))[..., None]
    u = np.arctan2(-point[..., 2], point[..., 0]) / (2 * np.pi) % 1
    v = np.arcsin(np.clip(point[..., 1], -1, 1)) / np.pi + 0.5
    return np.stack([u, v, np.ones_like(u)], -1) * (depth > 0)[..., None]


TILTED = lookat((2, 3, 11))


@pytest.mark.parametrize("view", [lookat((0, 0, 12)), lookat((0, 0, 13)), TILTED])
@pytest.mark.parametrize("size", [(64, 64), (63, 63), (40, 90)])
def test_a_quad_is_seen_as_the_formula_says(view, size):
    found = MeshRenderer(mesh_shapes.quad()).render(view, size)
    expected = seen_of_the_quad(view, *size)
    assert found.dtype == np.float32
    assert found.shape == (*size, 3)
    assert np.array_equal(found[..., 2], expected[..., 2])
    assert np.abs(found - expected).max() < 1e-6


def test_the_first_row_is_the_upper_edge_and_a_pixel_is_its_centre():
    # At this distance, the quad fills the picture exactly.
    found = MeshRenderer(mesh_shapes.quad()).render(lookat((0, 0, 1 / SLOPE)), 4)
    centres = np.array([1, 3, 5, 7]) / 8
    assert np.allclose(found[..., 0], np.tile(centres, (4, 1)), atol=1e-6)
    assert np.allclose(found[..., 1], np.tile(centres[::-1, None], (1, 4)), atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_a_sphere_is_seen_as_the_formula_says(seed):
    rows = 128
    view = sample_view(11, 13, generator=torch.Generator().manual_seed(seed))
    found = MeshRenderer(mesh_shapes.sphere(rows=rows)).render(view, 96)
    expected = seen_of_the_sphere(view, 96, 96)
    # The mesh is a polyhedron inside the sphere: it is smaller by less than a pixel.
    assert (found[..., 2] > expected[..., 2]).sum() == 0
    assert (found[..., 2] < expected[..., 2]).mean() < 0.005
    both = found[..., 2] > 0
    du, dv = np.moveaxis(np.abs(found - expected)[both][:, :2], 1, 0)
    around = np.minimum(du, 1 - du) * np.cos(np.pi * (expected[both][:, 1] - 0.5))
    # At the rim one looks along the surface, and the two differ most.
    for difference in (around, dv):
        assert np.quantile(difference, 0.99) < 1 / rows
        assert np.median(difference) < 1e-4


def test_the_nearest_surface_hides_the_rest_from_both_sides():
    near, far = mesh_shapes.quad(), mesh_shapes.quad()
    position = np.concatenate([near["position"] + [0, 0, 0.5], far["position"] - [0, 0, 0.5]])
    both = {
        "position": position.astype(np.float32),
        "uv": np.repeat([[0.25, 0.25], [0.75, 0.75]], 4, axis=0).astype(np.float32),
        "face": np.concatenate([near["face"], far["face"] + 4]),
    }
    renderer = MeshRenderer(both)
    front, back = (renderer.render(lookat((0, 0, z)), 9)[4, 4] for z in (12, -12))
    assert front.tolist() == [0.25, 0.25, 1]
    assert back.tolist() == [0.75, 0.75, 1]


def test_a_wider_angle_shows_more():
    # The whole quad is 2 of 2 * 12 * tan(15 degrees) units wide.
    found = MeshRenderer(mesh_shapes.quad(), fovy=30).render(lookat((0, 0, 12)), 200)
    assert found[100, :, 2].sum() == pytest.approx(200 / (12 * math.tan(math.radians(15))), abs=1)


def test_without_embreex_trimesh_sees_the_same():
    from trimesh.ray import ray_triangle

    shape, view = mesh_shapes.torus(rows=8), TILTED
    fast, slow = MeshRenderer(shape), MeshRenderer(shape)
    slow._rays = ray_triangle.RayMeshIntersector(slow._rays.mesh)
    found, expected = (renderer.render(view, 24) for renderer in (slow, fast))
    assert np.abs(found - expected).max() < 1e-6


def test_cameras_on_an_orbit_look_at_the_origin_from_all_sides():
    views = orbit(4, distance=10, elevation=30)
    eyes = np.array([-view[:3, :3].T @ view[:3, 3] for view in views])
    height, radius = 10 * math.sin(math.radians(30)), 10 * math.cos(math.radians(30))
    expected = [[0, height, radius], [radius, height, 0], [0, height, -radius]]
    assert np.allclose(eyes[:3], expected, atol=1e-4)
    assert np.allclose([view @ [0, 0, 0, 1] for view in views], [0, 0, -10, 1], atol=1e-4)


@pytest.mark.parametrize("stretch", [1, 3])
def test_texels_are_as_large_as_pixels(stretch):
    # The quad is 2 high, and the picture shows 2 * 12 * SLOPE; a shape twice as wide gets twice as
    # many texels in a row, and one that shows its texture thrice a third of them.
    wide = mesh_shapes.quad()
    wide["position"] = wide["position"] * np.float32([2, 1, 1])
    wide["uv"] = wide["uv"] * stretch
    height, width = MeshRenderer(wide).texture_size(400, 12)
    expected = 400 / (12 * SLOPE) / stretch
    assert expected <= height < expected + 16
    assert 2 * expected <= width < 2 * expected + 16


def test_a_mesh_without_any_width_in_its_texture_has_a_texture_all_the_same():
    flat = {**mesh_shapes.quad(), "uv": np.zeros((4, 2), np.float32)}
    height, width = MeshRenderer(flat).texture_size(96, 12)
    assert height >= 32
    assert width >= 32


def test_broken_meshes_and_angles():
    quad = mesh_shapes.quad()
    with pytest.raises(InputError, match=r"The mesh has no uv"):
        MeshRenderer({"position": quad["position"], "face": quad["face"]})
    with pytest.raises(InputError, match=r"fovy=0 is an angle between 0 and 180 degrees"):
        MeshRenderer(quad, fovy=0)


@pytest.mark.parametrize("view", [np.eye(3), np.zeros((4, 4))])
def test_cameras_that_are_none(view):
    with pytest.raises(InputError, match=r"A modelview matrix is \(4, 4\) and can be inverted"):
        MeshRenderer(mesh_shapes.quad()).render(view, 8)


@pytest.mark.parametrize("size", [0, (8, 0), 8.5, (8, 8, 3)])
def test_pictures_of_no_size(size):
    with pytest.raises(InputError, match=r"has to be \(height, width\) in pixels"):
        MeshRenderer(mesh_shapes.quad()).render(TILTED, size)


def test_without_trimesh_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "trimesh", None)
    with pytest.raises(MissingExtra, match=r"torch-lucent\[mesh\]"):
        MeshRenderer(mesh_shapes.quad())
