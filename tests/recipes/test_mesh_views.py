"""Views of a textured mesh: colours where they belong, gradients where the camera looks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import Pixels

from lucent.errors import InputError
from lucent.generators import Generators
from lucent.misc import mesh_shapes
from lucent.misc.mesh import lookat
from lucent.misc.mesh_rendering import MeshRenderer, orbit
from lucent.optvis.history import History
from lucent.recipes import mesh_views
from lucent.recipes.mesh_views import MeshTexture, MeshViews, Scene


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def halves():
    """A texture (1, 3, 16, 16), red on the left, blue on the right, darker below."""
    texture = torch.zeros(1, 3, 16, 16)
    texture[:, 0, :, :8] = texture[:, 2, :, 8:] = 1
    texture[..., 8:, :] *= 0.5
    return texture


def test_the_texture_is_seen_where_it_belongs():
    views = MeshViews(MeshRenderer(mesh_shapes.quad()), Pixels(halves()), Scene(size=60))
    views.look(lookat((0, 0, 12)))
    upper_left, lower_right = views()[0, :, 15, 15], views()[0, :, 45, 45]
    assert upper_left.tolist() == pytest.approx([1, 0, 0], abs=1e-5)
    assert lower_right.tolist() == pytest.approx([0, 0, 0.5], abs=1e-5)
    assert views()[0, :, 0, 0].tolist() == [0.5, 0.5, 0.5]


def test_edges_are_smooth():
    scene = Scene(size=40, background=0.0)
    views = MeshViews(MeshRenderer(mesh_shapes.sphere()), Pixels(torch.ones(1, 1, 8, 8)), scene)
    values = views().detach().unique().tolist()
    assert [round(value, 4) for value in values] == [0, 0.25, 0.5, 0.75, 1]


def test_only_what_is_seen_gets_a_gradient():
    texture = Pixels(torch.zeros(1, 1, 32, 64))
    views = MeshViews(MeshRenderer(mesh_shapes.sphere()), texture, Scene(size=64))
    views.look(lookat((0, 0, 12)))
    views().sum().backward()
    got = texture.pixels.grad[0, 0] > 0
    # The camera is at longitude 270 degrees, u = 3/4: it sees most of the half around that.
    assert not got[:, :28].any()
    assert got[8:24, 36:60].all()


def test_images_of_a_batch_are_seen_by_the_same_camera():
    pair = torch.cat([halves(), 1 - halves()])
    views = MeshViews(MeshRenderer(mesh_shapes.torus()), Pixels(pair), Scene(size=32))
    views.draw(seeded())
    first, second = views()
    mesh_only = (first - 0.5).abs().sum(0) > 0
    assert torch.allclose(first[:, mesh_only] + second[:, mesh_only], torch.ones(1), atol=1e-5)


def test_the_camera_follows_the_generator():
    views = MeshViews(MeshRenderer(mesh_shapes.blob(rows=16)), Pixels(halves()), Scene(size=16))
    seen = []
    for generator in (seeded(0), seeded(0), seeded(1), Generators([1, 0], "cpu")):
        views.draw(generator)
        seen.append(views().detach())
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    assert torch.equal(seen[2], seen[3])


def test_it_is_what_its_texture_is():
    texture = Pixels(halves())
    views = MeshViews(MeshRenderer(mesh_shapes.quad()), texture, Scene(size=8)).double()
    assert [id(tensor) for tensor in views.trainable()] == [id(texture.pixels)]
    views.draw(seeded())
    assert views().dtype == torch.float64


def test_a_result_shows_the_mesh_from_all_sides(monkeypatch):
    texture = halves()[0].movedim(0, -1).numpy()
    made = MeshTexture(mesh_shapes.sphere(rows=16), texture, History(()))
    views = made.views(4, size=32)
    assert views.shape == (4, 32, 32, 3)
    assert (views[:, 0, 0] == 1).all()
    # Red is u below 1/2, the half that the camera of the third view looks at.
    assert views[2, 16, 16, 0] > 0.4 > views[2, 16, 16, 2]
    assert views[0, 16, 16, 2] > 0.4 > views[0, 16, 16, 0]
    assert list(made.panels().labels)[:3] == ["0 degrees", "45 degrees", "90 degrees"]
    assert len(orbit(8)) == len(made.panels().pictures)
    with pytest.raises(InputError, match=r"count=0 has to be a number of views"):
        made.views(0)
    shown = []
    monkeypatch.setattr(mesh_views, "textured_mesh", lambda *args: shown.append(args))
    made.show()
    assert shown == [(made.mesh, texture)]


def test_views_are_of_all_of_the_mesh():
    mesh = mesh_shapes.sphere(rows=8)
    mesh["position"] = 7 * mesh["position"] + np.float32([3, 0, 0])
    views = MeshTexture(mesh, np.zeros((4, 4, 3), np.float32), History(())).views(4, size=48)
    edges = [views[:, 0], views[:, -1], views[:, :, 0], views[:, :, -1]]
    assert all((edge == 1).all() for edge in edges)
    # It is seen from the side it lies on, too, and fills most of the picture.
    assert ((views < 0.5).mean(axis=(1, 2, 3)) > 0.25).all()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"size": 0}, r"size=0.* sizes are whole numbers of at least 1"),
        ({"texture_size": (8, 0)}, r"sizes are whole numbers of at least 1"),
        ({"texture_size": 0}, r"sizes are whole numbers of at least 1"),
        ({"background": 2.0}, r"background=2.0 has to be a grey in \[0, 1\]"),
        ({"background": (1, 0, 0)}, r"background=\(1, 0, 0\) has to be a grey"),
        ({"distances": 12}, r"distances=12 has to be the smallest and the largest"),
        ({"distances": (13, 11)}, r"distances=\(13, 11\) has to be the smallest and the largest"),
        ({"distances": (0, 11)}, r"distances=\(0, 11\)"),
    ],
)
def test_scenes_that_cannot_be(options, text):
    with pytest.raises(InputError, match=text):
        Scene(**options)


def test_a_scene_takes_sizes_that_suit():
    from lucent.modelzoo import ModelSpec

    renderer = MeshRenderer(mesh_shapes.quad())
    suited = Scene().completed(renderer, ModelSpec(name="x", image_size=96))
    assert suited.size == 96
    # Texels per unit as pixels per unit: 2 units of 96 / 2.1 pixels, in steps of 16.
    assert suited.texture_size == (96, 96)
    given = Scene(size=32, texture_size=(40, 50))
    assert given.completed(renderer, ModelSpec(name="x", image_size=96)) == given
    square = Scene(size=32, texture_size=40).completed(renderer, ModelSpec(name="x"))
    assert square.texture_size == (40, 40)


def test_a_mesh_of_many_texels_stays_in_bounds():
    tiny = {**mesh_shapes.quad(), "uv": mesh_shapes.quad()["uv"] * np.float32(1e-4)}
    assert MeshRenderer(tiny).texture_size(96, 12) == (2048, 2048)
