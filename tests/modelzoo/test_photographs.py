from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from lucent.errors import InputError
from lucent.modelzoo import ModelSpec, photograph


def network(channels=3, dtype=torch.float32, **facts):
    model = nn.Conv2d(channels, 2, 3).to(dtype)
    model.spec = ModelSpec("mine", **{"input_size": (8, 8), **facts})
    return model


@pytest.fixture
def gradient():
    """Columns from black to white, rows alike, (12, 24, 3)."""
    row = np.linspace(0, 1, 24, dtype=np.float32)
    return np.broadcast_to(row[None, :, None], (12, 24, 3)).copy()


def test_the_shorter_side_is_scaled_and_the_middle_cut_out(gradient):
    image = photograph(network(), gradient)
    assert image.shape == (1, 3, 8, 8)
    # Scaled by 2/3 to 8 x 16, of which columns 4 to 11 are left.
    whole = torch.nn.functional.interpolate(
        torch.from_numpy(gradient).movedim(-1, 0)[None], (8, 16), mode="bilinear", antialias=True
    )
    torch.testing.assert_close(image, whole[..., 4:12])


def test_fine_detail_is_averaged_away_when_a_picture_shrinks():
    board = (np.indices((64, 64)).sum(0) % 2).astype(np.float32)
    image = photograph(network(), board)
    assert (image - 0.5).abs().max() < 0.05


def test_a_picture_of_the_right_size_is_not_touched():
    picture = np.random.default_rng(0).random((8, 8, 3), dtype=np.float32)
    np.testing.assert_array_equal(photograph(network(), picture)[0].movedim(0, -1), picture)


def test_all_kinds_of_pictures_give_the_same(tmp_path, gradient):
    array = (gradient * 255).astype(np.uint8)
    Image.fromarray(array).save(tmp_path / "a.png")
    expected = photograph(network(), array)
    for same in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(array), array / 255):
        torch.testing.assert_close(photograph(network(), same), expected)


def test_a_palette_picture_is_its_colours(gradient):
    picture = Image.fromarray((gradient * 255).astype(np.uint8)).convert("P")
    expected = photograph(network(), picture.convert("RGB"))
    torch.testing.assert_close(photograph(network(), picture), expected)


def test_a_tensor_is_taken_as_it_is():
    batch = torch.rand(2, 3, 5, 7)
    assert torch.equal(photograph(network(), batch), batch)
    assert photograph(network(), batch[0]).shape == (1, 3, 5, 7)


def test_sizes_can_be_given(gradient):
    assert photograph(network(), gradient, size=6).shape == (1, 3, 6, 6)
    assert photograph(network(), gradient, size=(4, 20)).shape == (1, 3, 4, 20)
    assert photograph(network(input_size=None), gradient).shape == (1, 3, 12, 24)


def test_bicubic_stays_within_the_range():
    edge = np.repeat(np.repeat(np.eye(4, dtype=np.float32), 5, 0), 5, 1)
    image = photograph(network(interpolation="bicubic"), edge, size=17)
    assert image.min() >= 0
    assert image.max() <= 1


def test_grey_becomes_colour_and_colour_grey(gradient):
    grey = photograph(network(), gradient[..., 0])
    torch.testing.assert_close(grey, photograph(network(), gradient))
    red = np.zeros((8, 8, 3), dtype=np.float32)
    red[..., 0] = 1
    assert photograph(network(channels=1), red).flatten()[0].item() == pytest.approx(0.299)


def test_the_precision_is_that_of_the_network(gradient):
    assert photograph(network(dtype=torch.float64), gradient).dtype == torch.float64
    assert photograph(network(dtype=torch.bfloat16), gradient).dtype == torch.float32


@pytest.mark.parametrize(
    ("picture", "text"),
    [
        (np.zeros((8, 8, 4)), "has transparency: put it on a background first"),
        (Image.new("RGBA", (8, 8)), "has transparency"),
        (np.zeros((8, 8, 5)), "has 5 channels, but mine takes 3"),
        (np.full((8, 8, 3), 255.0), r"values from 255 to 255: expected \[0, 1\]"),
        (np.full((8, 8, 3), np.nan), "values from nan to nan"),
        (np.zeros((2, 8, 8, 3)), r"give one \(H, W, 3\), or a batch as a tensor"),
        (np.zeros((0, 8, 3)), "is no photograph"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), "floats in .* Divide bytes by 255"),
        (torch.zeros(8, 8), "A photograph as a tensor is"),
        (7, "A int is no picture"),
    ],
)
def test_what_is_no_photograph_is_refused(picture, text):
    with pytest.raises(InputError, match=text):
        photograph(network(), picture)


@pytest.mark.parametrize("size", [0, (3,), (4, -1)])
def test_sizes_that_are_none_are_refused(size):
    with pytest.raises(InputError, match=r"has to be \(height, width\)"):
        photograph(network(), np.zeros((8, 8, 3)), size=size)


def test_half_precision_is_scaled():
    assert photograph(network(), np.full((40, 50), 0.5, np.float16)).shape == (1, 3, 8, 8)


@pytest.mark.parametrize(
    ("given", "options", "text"),
    [
        (torch.zeros(0, 3, 8, 8), {}, r"got \(0, 3, 8, 8\)"),
        (torch.zeros(3, 8, 8), {"size": 20}, "taken as it is"),
        (np.zeros((8, 8, 3)), {"size": 9.5}, "has to be"),
    ],
)
def test_sizes_that_cannot_be_had(given, options, text):
    with pytest.raises(InputError, match=text):
        photograph(network(), given, **options)
