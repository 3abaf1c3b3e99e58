"""Networks of grey, of many channels and of volumes: their images, and what these show."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

from lucent.errors import InputError
from lucent.misc.io import load
from lucent.modelzoo.spec import ModelSpec
from lucent.optvis import param, transform
from lucent.optvis.batch import render_many
from lucent.optvis.callbacks import Save
from lucent.optvis.defaults import default_image, setup
from lucent.optvis.render import export, render_vis

QUIET = {"show_image": False, "progress": False, "seed": 0}


def network(weight, *, spec=None, stride=1, groups=1):
    """Return filters (out, in, *size) and a ReLU."""
    kind = nn.Conv2d if weight.dim() == 4 else nn.Conv3d
    channels = weight.shape[1] * groups
    conv = kind(channels, len(weight), weight.shape[2:], stride=stride, groups=groups, bias=False)
    conv.weight.data.copy_(weight)
    model = nn.Sequential(conv, nn.ReLU())
    model.spec = spec or ModelSpec("filters", mean=(0.5,), std=(0.25,), image_size=32)
    return model


def waves(normals, n_axes, size=7, frequency=0.2):
    """Return wave packets across directions (x, y) or (x, y, z), without a mean."""
    axes = [torch.arange(size) - size // 2] * n_axes
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1]).float()
    packets = []
    for normal in normals:
        unit = torch.tensor(normal / np.linalg.norm(normal)).float()
        phase = torch.tensordot(unit, grid, 1)
        packet = torch.cos(2 * torch.pi * frequency * phase) * torch.exp(-grid.square().sum(0) / 8)
        packets.append(packet - packet.mean())
    return torch.stack(packets)[:, None]


def axis_of(array):
    """Return the direction, x first, along which the middle frequencies of an array vary most."""
    power = np.abs(np.fft.fftn(array - array.mean())) ** 2
    axes = np.stack(np.meshgrid(*map(np.fft.fftfreq, array.shape), indexing="ij")[::-1])
    radius = np.linalg.norm(axes, axis=0)
    band = (radius > 0.1) & (radius < 0.3)
    unit = axes[:, band] / radius[band]
    return np.linalg.eigh((unit * power[band]) @ unit.T)[1][:, -1]


# What units look for


@pytest.mark.parametrize("channels", [1, 2, 4, 12])
def test_the_default_image_has_its_power_in_the_channel_that_a_unit_responds_to(channels):
    sharp = torch.tensor([[-1.0, -1, -1], [-1, 8, -1], [-1, -1, -1]])
    model = network(sharp.expand(channels, 1, 3, 3), groups=channels)
    unit = channels // 2
    (image,) = render_vis(model, f"1:{unit}", thresholds=(16,), **QUIET)
    assert image.shape == (1, 32, 32, channels)
    contrast = image[0].std((0, 1))
    assert contrast.argmax() == unit
    # The others have no gradient: they keep the contrast of the start.
    assert contrast[unit] > 0.1
    assert np.delete(contrast, unit).max(initial=0) < 0.02


ORIENTATIONS = [(1.0, 0.0), (np.cos(0.5), np.sin(0.5)), (0.0, 1.0), (-1.0, 1.0)]


@pytest.mark.parametrize("unit", range(4))
def test_a_grey_network_shows_the_orientation_of_its_units(unit):
    model = network(waves(ORIENTATIONS, 2))
    (image,) = render_vis(model, f"1:{unit}", thresholds=(48,), **QUIET)
    wanted = np.array(ORIENTATIONS[unit]) / np.linalg.norm(ORIENTATIONS[unit])
    # Within five degrees, half of what the transforms turn it by.
    assert abs(axis_of(image[0, ..., 0]) @ wanted) > np.cos(np.radians(5))


PLANES = [(1.0, 0.0, 0.0), (0.0, 1.0, 1.0), (1.0, -1.0, 0.5)]


@pytest.mark.parametrize("unit", range(3))
def test_a_network_of_volumes_shows_planes_and_moving_bars_as_its_units_want_them(unit):
    spec = ModelSpec("filters", mean=(0.5,), std=(0.25,), image_size=24)
    model = network(waves(PLANES, 3), spec=spec, stride=2)
    (image,) = render_vis(model, f"1:{unit}", thresholds=(32,), **QUIET)
    assert image.shape == (1, 24, 24, 24, 1)
    wanted = np.array(PLANES[unit]) / np.linalg.norm(PLANES[unit])
    assert abs(axis_of(image[0, ..., 0]) @ wanted) > np.cos(np.radians(5))


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.filterwarnings("ignore:ResNet is published:lucent.errors.LucentWarning")
def test_a_published_network_for_grey_images(channels):
    # Its first convolution is computed over blocks of pixels, behind a pad.
    torch.manual_seed(1)
    model = torchvision.models.resnet18()
    model.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    for unit in ("relu:5", "layer1:3"):
        (image,) = render_vis(
            model,
            unit,
            lambda: param.image(32, channels=channels),
            thresholds=(1,),
            **QUIET,
        )
        assert image.shape == (1, 32, 32, channels)


# What the image is made of


def test_colours_are_correlated_in_rgb_only():
    matrix = {
        channels: default_image(ModelSpec("any", channels=channels)).color_matrix
        for channels in (1, 2, 3, 4, 12)
    }
    assert [channels for channels, found in matrix.items() if found is not None] == [3]


@pytest.mark.parametrize(
    ("facts", "size", "shape"),
    [
        ({}, None, (1, 3, 128, 128)),
        ({"channels": 1, "image_size": 40}, None, (1, 1, 40, 40)),
        ({"channels": 2}, 48, (1, 2, 48, 48)),
        ({"mean": (0.5,) * 5, "std": (1.0,)}, 8, (1, 5, 8, 8)),
        ({"dimensions": 3}, None, (1, 3, 64, 64, 64)),
        ({"dimensions": 3, "channels": 1}, 20, (1, 1, 20, 20, 20)),
        ({"depth": 16, "input_size": (24, 32)}, None, (1, 3, 16, 24, 32)),
        ({"depth": 16, "input_size": (24, 32)}, 12, (1, 3, 16, 12, 12)),
        ({"depth": 8, "image_size": 20}, None, (1, 3, 8, 20, 20)),
    ],
)
def test_the_default_image_has_the_size_and_channels_of_the_spec(facts, size, shape):
    assert default_image(ModelSpec("any", **facts), size)().shape == shape


def given(model, transforms=None, fixed=None):
    options = {"preprocess": True, "relu_override": True, "seed": 0}
    return setup(model, None, None, transforms, (1,), fixed, **options)


def test_transforms_that_are_not_given_suit_the_network():
    volumes = given(network(torch.ones(1, 1, 2, 2, 2))).transforms
    assert repr(volumes) == f"Fused({transform.standard_volume_transforms})"
    pictures = given(network(torch.ones(1, 1, 2, 2))).transforms
    assert repr(pictures) == f"Fused({transform.standard_transforms})"


def test_volumes_have_no_other_size_for_the_network():
    model = network(torch.ones(1, 1, 2, 2, 2))
    given(model, fixed="native")
    text = "fixed_image_size=64 is for pictures, but filters takes volumes, .* depth=16"
    with pytest.raises(InputError, match=text):
        given(model, fixed=64)


def test_lazy_layers_have_to_see_an_image_first():
    model = nn.Sequential(nn.LazyConv2d(4, 3))
    with pytest.raises(InputError, match=r"Sequential has lazy layers without weights: .*zeros\(1"):
        render_vis(model, "0:1", thresholds=(1,), **QUIET)
    model(torch.zeros(1, 2, 8, 8))
    model.spec = ModelSpec("lazy", image_size=8)
    assert render_vis(model, "0:1", thresholds=(1,), **QUIET)[0].shape == (1, 8, 8, 2)


@pytest.mark.parametrize(
    "size", [(1, 12, 3, 3), (2, 1, 3, 3), (2, 2, 3, 3, 3)], ids=["twelve", "grey", "volumes"]
)
def test_rows_of_a_list_are_what_each_objective_gives_alone(size):
    torch.manual_seed(0)
    model = network(torch.randn(3, *size[1:]))
    model.spec = ModelSpec("filters", image_size=12)
    units = ["1:0", "1:2"]
    together = render_vis(model, units, thresholds=(3,), **QUIET)[0]
    many = {r.index: r.images[0] for r in render_many(model, units, thresholds=(3,), seed=0)}
    for row, unit in enumerate(units):
        (alone,) = render_vis(model, unit, thresholds=(3,), **QUIET)
        np.testing.assert_allclose(together[row], alone[0], atol=1e-5)
        np.testing.assert_allclose(many[row], alone[0], atol=1e-5)


# What is shown of it


def test_the_fourth_channel_of_a_network_is_no_opacity(tmp_path):
    options = {"thresholds": (1,), "save_image": True, **QUIET}
    path = tmp_path / "four.png"
    torch.manual_seed(0)
    steps = Save(tmp_path / "step.jpg")
    four = network(torch.randn(2, 4, 3, 3))
    render_vis(four, "1:0", image_name=path, callbacks=[steps], **options)
    assert Image.open(path).mode == Image.open(tmp_path / "step.jpg").mode == "RGB"
    rgb, path = network(torch.randn(2, 3, 3, 3)), tmp_path / "alpha.png"
    collapse = [transform.collapse_alpha_random()]
    image = lambda: param.image(16, alpha=True)  # noqa: E731
    render_vis(rgb, "1:0", image, transforms=collapse, image_name=path, **options)
    assert Image.open(path).mode == "RGBA"


def test_all_channels_can_be_saved_step_by_step(tmp_path):
    model = network(torch.ones(2, 5, 3, 3))
    for channels, size in ((None, (32, 32)), ("tiles", (98, 65))):
        save = Save(tmp_path / "{step}.png", channels=channels)
        render_vis(model, "1:0", thresholds=(1,), callbacks=[save], **QUIET)
        assert Image.open(tmp_path / "1.png").size == size


@pytest.mark.parametrize(
    ("shape", "channels", "mode", "size"),
    [
        ((2, 1, 6, 8), None, "L", (16, 6)),
        ((2, 2, 6, 8), None, "RGB", (16, 6)),
        ((2, 3, 6, 8), None, "RGB", (16, 6)),
        ((2, 4, 6, 8), None, "RGBA", (16, 6)),
        ((2, 4, 6, 8), "hue", "RGB", (16, 6)),
        ((2, 12, 6, 8), None, "RGB", (16, 6)),
        # 12 tiles in rows of 4, a pixel apart, and 4 between the images.
        ((2, 12, 6, 8), "tiles", "L", (2 * 35 + 4, 20)),
        ((1, 1, 5, 6, 8), None, "L", (26, 13)),
        ((2, 12, 5, 6, 8), None, "RGB", (2 * 26 + 4, 13)),
    ],
)
def test_export_of_any_number_of_channels(tmp_path, shape, channels, mode, size):
    export(torch.rand(shape), tmp_path / "a.png", channels=channels)
    picture = Image.open(tmp_path / "a.png")
    assert (picture.mode, picture.size) == (mode, size)


@pytest.mark.parametrize("shape", [(2, 12, 6, 8), (1, 2, 5, 6, 8)])
def test_arrays_and_stacks_have_all_numbers(tmp_path, shape):
    images = torch.randn(shape)
    array = images.movedim(1, -1).numpy()
    for ending in (".npy", ".npz", ".tif", ".tiff"):
        export(images, tmp_path / f"a{ending}")
    np.testing.assert_array_equal(load(tmp_path / "a.npy"), array)
    np.testing.assert_array_equal(load(tmp_path / "a.npz")["arr_0"], array)
    # Images, then slices, then channels.
    pages = np.moveaxis(array, -1, -3).reshape(-1, 6, 8)
    np.testing.assert_array_equal(load(tmp_path / "a.tif"), pages)
    np.testing.assert_array_equal(load(tmp_path / "a.tiff"), pages)


def test_volumes_are_animated_through_their_depth(tmp_path):
    volumes = torch.zeros(2, 1, 5, 6, 8)
    for depth in range(5):
        volumes[1, :, depth] = depth / 4
    export(volumes, tmp_path / "a.gif")
    film = Image.open(tmp_path / "a.gif")
    assert (film.n_frames, film.size) == (5, (16, 6))
    dark = torch.full((1, 12, 2, 6, 8), 0.1)  # as bright as activations may be
    for ending in ("gif", "png"):
        export(dark, tmp_path / f"dark.{ending}")
    frame, sheet = (Image.open(tmp_path / f"dark.{e}").convert("RGB") for e in ("gif", "png"))
    assert frame.getpixel((0, 0)) == sheet.getpixel((0, 0))
    for depth in range(5):
        film.seek(depth)
        frame = np.asarray(film.convert("L"))
        assert frame[0, 0] == 0
        assert frame[0, 15] == pytest.approx(255 * depth / 4, abs=1)
