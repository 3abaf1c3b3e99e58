"""Meshes and cameras: Lucid's golden numbers, round trips through matrices, broken files."""

from __future__ import annotations

import io
import math
import sys

import numpy as np
import pytest
import torch

from lucent.errors import InputError, MissingExtra
from lucent.misc import mesh, mesh_shapes

SAMPLE = """\
# a comment
o thing
v 0 0 0
v 1 0 0
v 1 1 0 0.5 0.5 0.5
v 0 1 0.5
vt 0 0
vt 1 0
vt 1 1 0
vt 0 1   # the last one
vn 0 0 1
vn 0 1 0
vn 1 0 0
vn 0 0 -1

usemtl caf\xe9
s off
f 1 2 3
f 2/2/2 3/3/3 4/4/4
f 1//1 2//2 3//3 4//4
"""
POINTS = np.random.default_rng(0).normal(size=(5, 2, 3))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# Files


def test_the_sample_has_ten_vertices_and_four_triangles():
    found = mesh.load_obj(io.StringIO(SAMPLE))
    assert found.keys() == {"face", "position", "uv", "normal"}
    assert {key: (value.shape, value.dtype) for key, value in found.items()} == {
        "face": ((12,), np.int32),
        "position": ((10, 3), np.float32),
        "uv": ((10, 2), np.float32),
        "normal": ((10, 3), np.float32),
    }
    assert found["face"].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 6, 8, 9]
    corners = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.5]]
    assert found["position"].tolist() == [corners[i] for i in (0, 1, 2, 1, 2, 3, 0, 1, 2, 3)]
    uv = [[0, 0], [1, 0], [1, 1], [0, 1]]
    assert found["uv"].tolist() == [[0, 0]] * 3 + uv[1:] + [[0, 0]] * 4
    normal = [[0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 0, -1]]
    assert found["normal"].tolist() == [[0, 0, 0]] * 3 + normal[1:] + normal


def test_paths_texts_and_bytes_give_the_same(tmp_path):
    path = tmp_path / "sample.obj"
    path.write_bytes(SAMPLE.encode("latin-1"))
    expected = mesh.load_obj(io.StringIO(SAMPLE))
    with open(path, "rb") as file:
        for fn in (path, str(path), file, io.BytesIO(SAMPLE.replace("\n", "\r\n").encode())):
            found = mesh.load_obj(fn)
            assert found.keys() == expected.keys()
            assert all(np.array_equal(found[key], expected[key]) for key in expected)


def test_what_no_face_uses_is_missing():
    found = mesh.load_obj(io.StringIO("v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvn 0 0 1\nf 1 2 3\n"))
    assert found.keys() == {"face", "position"}
    assert found["face"].tolist() == [0, 1, 2]


def test_vertices_are_shared_where_all_their_indices_are_equal():
    text = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nf 1 2 3\nf 1 3 4\nf 1/1 2/1 3/1\n"
    found = mesh.load_obj(io.StringIO(text))
    assert found["face"].tolist() == [0, 1, 2, 0, 2, 3, 4, 5, 6]
    assert len(found["position"]) == 7


def test_negative_indices_counted_from_the_end_of_the_file():
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf -3 -2 -1\nv 5 5 5\nv 6 6 6\nv 7 7 7\nf -3 -2 -1\n"
    found = mesh.load_obj(io.StringIO(text))
    assert found["position"][:, 0].tolist() == [0, 1, 0, 5, 6, 7]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v 0 0\n", r"Line 1 of the mesh, 'v 0 0': 3 numbers expected"),
        ("v 0 0 zero\n", r"Line 1 of the mesh, 'v 0 0 zero': could not convert .*'zero'"),
        ("v 0 0 0\nf 1 1 2\n", r"Line 2 of the mesh, 'f 1 1 2': there is no v with the index 2"),
        ("v 0 0 0\nf 1 1 -2\n", r"there is no v with the index -2"),
        ("v 0 0 0\nf 1 1 -1\nf 1/1 1 1", r"Line 3 .* there is no vt with the index 1"),
        ("v 0 0 0\nf 0 1 1\n", r"Line 2 .* there is no v with the index 0"),
        ("v 0 0 0\nvt 0 0\nf /1 1/1 1/1", r"Line 3 .* there is no v with the index 0"),
        ("v 0 0 0\nvt 0 0\nf 1/0 1/1 1/1", r"Line 3 .* there is no vt with the index 0"),
        ("v 0 0 0\nf 1 1\n", r"Line 2 of the mesh, 'f 1 1': a face has three corners or more"),
        ("v 0 0 0\nf 1 a 1\n", r"Line 2 of the mesh, 'f 1 a 1'"),
        ("v 0 0 0\n", r"The mesh has no face, in 1 vertices"),
        ("", r"The mesh has no face"),
    ],
)
def test_files_that_cannot_be_understood(text, message):
    with pytest.raises(InputError, match=message):
        mesh.load_obj(io.StringIO(text))


def exported(name, path, mesh):
    """Write a mesh in the format of the ending, by trimesh."""
    import trimesh

    visual = trimesh.visual.TextureVisuals(uv=mesh["uv"])
    faces = mesh["face"].reshape(-1, 3)
    trimesh.Trimesh(mesh["position"], faces, visual=visual, process=False).export(path / name)
    return path / name


@pytest.mark.parametrize("name", ["a.glb", "a.ply", "a.OBJ"])
def test_meshes_come_back_from_files_of_other_formats(name, tmp_path):
    given = mesh_shapes.torus(rows=6)
    found = mesh.load_mesh(exported(name, tmp_path, given))
    assert {key: found[key].dtype for key in ("position", "uv", "face")} == {
        "position": np.float32,
        "uv": np.float32,
        "face": np.int32,
    }
    # A reader may number the vertices anew, but the corners of each triangle stay.
    for key in ("position", "uv"):
        assert np.abs(found[key][found["face"]] - given[key][given["face"]]).max() < 1e-6


def test_seams_stay_open_and_quads_of_a_ply_become_triangles(tmp_path):
    numbers = "0 0 0 0 0\n1 0 0 1 0\n1 1 0 1 1\n0 1 0 0 1\n0 0 0 0.5 0.5\n"
    names = "".join(f"property float {name}\n" for name in "xyzst")
    (tmp_path / "a.ply").write_text(
        f"ply\nformat ascii 1.0\nelement vertex 5\n{names}element face 2\n"
        f"property list uchar int vertex_indices\nend_header\n{numbers}4 0 1 2 3\n3 4 1 2\n"
    )
    found = mesh.load_mesh(tmp_path / "a.ply")
    assert len(found["face"]) == 9
    assert found["position"].shape == (5, 3)
    assert found["uv"].tolist() == [[0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.5]]


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", r"a.obj' has no texture coordinates"),
        ("a.glb", "nothing of the kind", r"a.glb' is no mesh that trimesh reads"),
        ("a.xyz1", "nothing of the kind", r"a.xyz1' is no mesh that trimesh reads"),
        ("a.off", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", r"unwrap it in a modelling"),
        ("a.gltf", "{}", r"a.gltf' has no triangle"),
    ],
)
def test_files_without_a_mesh(name, content, text, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=text):
        mesh.load_mesh(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"There is no file .*nowhere.glb'"):
        mesh.load_mesh(tmp_path / "nowhere.glb")


def test_without_trimesh_only_wavefront_files_are_read(tmp_path, monkeypatch):
    paths = [exported(name, tmp_path, mesh_shapes.quad()) for name in ("a.obj", "a.glb")]
    monkeypatch.setitem(sys.modules, "trimesh", None)
    assert len(mesh.load_mesh(paths[0])["face"]) == 6
    with pytest.raises(MissingExtra, match=r"torch-lucent\[mesh\]"):
        mesh.load_mesh(paths[1])


def test_normalized_meshes_fill_the_cube():
    position = np.array([[10, 0, -1], [14, 1, 0], [12, 2, 1]], dtype=np.float32)
    given = {"position": position.copy(), "face": np.arange(3)}
    found = mesh.normalize_mesh(given)
    assert np.array_equal(found["position"], (position - [12, 1, 0]) / 2)
    assert found["position"].dtype == np.float32
    assert found["face"] is given["face"]
    assert np.array_equal(given["position"], position)


def test_a_mesh_of_one_point_has_no_size():
    with pytest.raises(InputError, match=r"The 3 vertices of the mesh lie at one point"):
        mesh.normalize_mesh({"position": np.ones((3, 3))})


# Cameras


@pytest.mark.parametrize(
    ("eye", "target", "up"),
    [
        ((1, 2, 3), (4, 6, 3), (0, 1, 0)),
        ((0, 0, 5), (0, 0, 0), (0, 1, 0)),
        ((-2, 7, 0.5), (1, -1, 1), (0, 0, 2)),
    ],
)
def test_lookat_takes_the_eye_to_the_origin_and_the_target_before_it(eye, target, up):
    matrix = mesh.lookat(eye, target, up)
    assert matrix.dtype == np.float32
    assert matrix[3].tolist() == [0, 0, 0, 1]
    distance = math.dist(eye, target)
    found = mesh.homotrans(matrix, np.array([eye, target]))
    assert np.abs(found - [[0, 0, 0], [0, 0, -distance]]).max() < 1e-5
    rotation = matrix[:3, :3]
    assert np.abs(rotation @ rotation.T - np.eye(3)).max() < 1e-6
    assert np.linalg.det(rotation) == pytest.approx(1, abs=1e-6)
    above = mesh.homotrans(matrix, np.array(target) + np.array(up))
    assert above[0] == pytest.approx(0, abs=1e-5)
    assert above[1] > 0


def test_lookat_defaults_look_at_the_origin_with_y_up():
    expected = mesh.lookat((3, 2, 1), (0, 0, 0), (0, 1, 0))
    assert np.array_equal(mesh.lookat(np.array([3, 2, 1])), expected)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (((1, 2, 3), (1, 2, 3)), r"camera at \[1.0, 2.0, 3.0\].* has no direction: eye and target"),
        (((0, 5, 0),), r"up must not lie along the view"),
        (((0, 1),), r"\(0, 1\) is no point or direction: give three finite numbers"),
        (((0, 0, float("nan")),), r"is no point or direction"),
    ],
)
def test_cameras_without_a_direction(arguments, text):
    with pytest.raises(InputError, match=text):
        mesh.lookat(*arguments)


def eye_of(view):
    return -view[:3, :3].T.astype(float) @ view[:3, 3]


def test_sampled_views_come_from_all_sides_and_distances():
    generator = seeded()
    eyes = np.array([eye_of(mesh.sample_view(2, 6, generator=generator)) for _ in range(2000)])
    distances = np.linalg.norm(eyes, axis=1)
    assert distances.min() >= 2 - 1e-5
    assert distances.max() <= 6 + 1e-5
    # Four standard deviations of a mean of 2,000: of a uniform distance, and of a coordinate on a
    # sphere, which is uniform from -1 to 1.
    assert distances.mean() == pytest.approx(4, abs=4 * (4 / math.sqrt(12)) / math.sqrt(2000))
    directions = eyes / distances[:, None]
    assert np.abs(directions.mean(0)).max() < 4 / math.sqrt(3 * 2000)
    assert np.abs((directions**2).mean(0) - 1 / 3).max() < 4 * math.sqrt(4 / 45 / 2000)


def test_sampled_views_follow_the_generator_and_may_have_one_distance():
    views = [mesh.sample_view(3, generator=seeded(seed)) for seed in (0, 0, 1)]
    assert np.array_equal(views[0], views[1])
    assert not np.array_equal(views[0], views[2])
    assert np.linalg.norm(eye_of(views[2])) == pytest.approx(3, abs=1e-5)


@pytest.mark.parametrize("distances", [(0,), (-1, 2), (3, 2)])
def test_distances_that_are_none(distances):
    with pytest.raises(InputError, match=rf"min_dist={distances[0]} and max_dist=.* positive"):
        mesh.sample_view(*distances)


def test_a_frustum_becomes_the_cube():
    matrix = mesh.frustum(-1, 3, -2, 1, 2, 10)
    near = np.array([[-1, -2, -2], [3, 1, -2]])
    far = near * 5
    found = [mesh.homotrans(matrix, plane) for plane in (near, far)]
    assert np.abs(found[0] - [[-1, -1, -1], [1, 1, -1]]).max() < 1e-6
    assert np.abs(found[1] - [[-1, -1, 1], [1, 1, 1]]).max() < 1e-6


def test_the_field_of_view_fills_the_picture():
    matrix = mesh.perspective(60, 2, 0.01, 100) @ mesh.lookat((0, 0, 5))
    half = 5 * math.tan(math.radians(30))
    corners = np.array([[2 * half, half, 0], [-2 * half, -half, 0]])
    assert np.abs(mesh.homotrans(matrix, corners)[:, :2] - [[1, 1], [-1, -1]]).max() < 1e-5


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((1, 1, 0, 1, 1, 2), r"left and right of a frustum are both 1"),
        ((0, 1, 2, 2, 1, 2), r"bottom and top of a frustum are both 2"),
        ((0, 1, 0, 1, 3, 3), r"znear and zfar of a frustum are both 3"),
    ],
)
def test_a_frustum_without_a_size(ends, text):
    with pytest.raises(InputError, match=text):
        mesh.frustum(*ends)


def test_homotrans_takes_points_with_and_without_a_last_coordinate():
    matrix = np.random.default_rng(1).normal(size=(4, 4))
    found = mesh.homotrans(matrix, POINTS)
    assert found.shape == POINTS.shape
    full = np.concatenate([POINTS, np.ones((5, 2, 1))], -1)
    product = np.einsum("ij,abj->abi", matrix, full)
    assert np.abs(found - product[..., :3] / product[..., 3:]).max() < 1e-12
    assert np.abs(mesh.homotrans(matrix, 2 * full) - found).max() < 1e-12


def test_normalizing_along_an_axis_failed():
    found = mesh.normalize(POINTS, axis=-1)
    assert np.abs(np.linalg.norm(found, axis=-1) - 1).max() < 1e-12
    assert np.abs(found * mesh.anorm(POINTS, axis=-1, keepdims=True) - POINTS).max() < 1e-12
    assert mesh.anorm(mesh.normalize(POINTS)) == pytest.approx(1, abs=1e-12)
    assert mesh.normalize(np.zeros(3)).tolist() == [0, 0, 0]
