"""Images made of images: stacks, sums, regions, interpolation grids; textures looked up."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import reference_images as twins
import tiny
import torch
from reference import doubles, seeded

from lucent.errors import InputError
from lucent.optvis import param
from lucent.optvis.loop import Run
from lucent.optvis.objectives import channel
from lucent.optvis.param import Image


class Dice(Image):
    """An image that is drawn anew."""

    def __init__(self):
        super().__init__()
        self.level = torch.nn.Parameter(torch.zeros(1, 3, 4, 4))
        self.noise = torch.zeros(())

    def forward(self):
        return self.level + self.noise

    def draw(self, generator=None):
        self.noise = self.sample = torch.rand((), generator=generator)


# Stacks


def test_stack_has_the_rows_of_its_parts_in_order():
    tensor, array = torch.rand(2, 3, 4, 5), np.random.default_rng(0).random((4, 5, 3))
    image = param.image(5, 4, sd=1.0)
    stacked = param.stack([tensor, image, array])()
    expected = [tensor, image(), torch.from_numpy(array).float().permute(2, 0, 1)[None]]
    assert torch.equal(stacked, torch.cat(expected))


def test_stack_optimises_its_images_only():
    first, second = param.image(4), param.image(4, fft=False, batch=2)
    stacked = param.stack([first, torch.rand(3, 4, 4), second])
    assert [id(t) for t in stacked.trainable()] == [
        id(t) for image in (first, second) for t in image.trainable()
    ]


def test_stack_takes_pairs_of_torch_lucent():
    pixels = torch.zeros(1, 3, 4, 4, requires_grad=True)
    stacked = param.stack([([pixels], lambda: pixels + 1), param.image(4, fft=False)])
    assert any(tensor is pixels for tensor in stacked.trainable())
    assert len(stacked.trainable()) == 2
    assert torch.equal(stacked()[0], torch.ones(3, 4, 4))


def test_image_that_is_twice_in_a_stack_is_optimised_once():
    image = param.image(4)
    stacked = param.stack([image, image])
    assert len(stacked.trainable()) == 1
    assert stacked().shape[0] == 2


def test_frozen_part_is_not_optimised():
    frozen, image = param.image(4), param.image(4)
    frozen.requires_grad_(False)
    (tensor,) = param.stack([frozen, image]).trainable()
    assert tensor is image.trainable()[0]


def test_constants_are_the_stacks_own_and_no_part_of_its_state():
    picture = torch.full((1, 3, 4, 4), 0.25)
    stacked = param.stack([picture, param.image(4)])
    picture.zero_()
    assert torch.equal(stacked()[0], torch.full((3, 4, 4), 0.25))
    assert not any("picture" in name for name in stacked.state_dict())


def test_stack_of_volumes():
    stacked = param.stack([param.image(4, depth=3), torch.zeros(2, 3, 3, 4, 4)])
    assert stacked().shape == (3, 3, 3, 4, 4)


@pytest.mark.parametrize("make", [param.stack, param.summed])
def test_part_draws_as_part_of_a_whole(make):
    dice = Dice()
    image = param.to_valid_rgb(make([dice, torch.zeros(3, 4, 4)]))
    image.draw(seeded(3))
    first = image.sample
    assert torch.equal(first, torch.rand((), generator=seeded(3)))
    assert torch.equal(image()[0], first.sigmoid().expand(3, 4, 4))
    assert torch.equal(image(), image())
    image.draw(seeded(4))
    assert image.sample != first


def test_run_improves_the_optimised_row_and_leaves_the_constant():
    constant = torch.full((1, 3, 8, 8), 0.75)
    stacked = param.stack([constant, param.image(8)])
    with Run(tiny.Chain(), channel("conv1", 0, batch=1), stacked) as run:
        before = stacked().detach()
        for _, _ in zip(range(5), run, strict=False):
            pass
        after = stacked().detach()
    assert torch.equal(after[0], constant[0])
    assert after[1, 0].mean() > before[1, 0].mean() + 0.01


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([], "needs at least one; got none"),
        (["photo.jpg"], "a str"),
        ([torch.zeros(1, 3, 4, 4, dtype=torch.uint8)], "divide 8-bit values by 255"),
        ([torch.full((3, 4, 4), torch.nan)], "contains NaN"),
        ([torch.zeros(4, 4)], r"shape is \(4, 4\)"),
    ],
)
@pytest.mark.parametrize("make", [param.stack, param.summed])
def test_part_that_is_no_image(make, parts, text):
    with pytest.raises(InputError, match=text):
        make(parts)


def test_name_of_a_file_is_no_part():
    with pytest.raises(InputError, match=r"parts of an image are .* not a str: .*io.load"):
        param.stack([param.image(8), "photo.jpg"])


def test_stack_of_different_sizes():
    stacked = param.stack([param.image(4), torch.zeros(3, 5, 4)])
    with pytest.raises(InputError, match=r"rows only; got \(1, 3, 4, 4\), \(1, 3, 5, 4\)"):
        stacked()


# Sums


def test_sum_shares_rows_and_channels():
    unique, shared, grey = (
        param.pixel_image((4, 3, 5, 6), 1.0),
        param.fft_image((1, 3, 5, 6), 1.0),
        param.lowres_tensor((4, 1, 5, 6), (2, 1, 2, 2), None, 1.0),
    )
    image = param.summed([unique, shared, grey])
    torch.testing.assert_close(image(), unique() + shared() + grey())
    assert len(image.trainable()) == 3


def test_sum_of_different_sizes():
    image = param.summed([param.pixel_image((4, 3, 5, 6)), param.pixel_image((2, 3, 5, 6))])
    with pytest.raises(InputError, match=r"\(4, 3, 5, 6\), \(2, 3, 5, 6\) cannot be added up"):
        image()


def test_shared_structure_aligns_the_rows_of_a_batch():
    # Every row is to become another pattern; what one resolution shares moves all of them.
    shape = (3, 3, 8, 8)
    image = param.summed([param.pixel_image(shape, 0), param.lowres_tensor(shape, (1, 3, 2, 2))])
    (unique, shared) = image.trainable()
    (image()[0] * doubles(3, 8, 8).float()).sum().backward()
    assert not unique.grad[1:].any()
    assert shared.grad.abs().min() > 0


# Regions


@pytest.mark.parametrize(
    "mask",
    [
        torch.eye(4),
        torch.eye(4, dtype=torch.bool),
        np.eye(4),
        np.eye(4, dtype=np.uint8),
        torch.eye(4)[None, None],
        np.eye(4)[..., None],
    ],
)
def test_background_stays_outside_of_the_mask(mask):
    background, image = torch.rand(1, 3, 4, 4), param.image(4, batch=2, sd=1.0)
    blend = param.masked(image, background, mask)()
    inside = torch.eye(4, dtype=torch.bool).expand(2, 3, 4, 4)
    assert torch.equal(blend, torch.where(inside, image(), background))


def test_mask_blends():
    mask, background = torch.rand(5, 4), np.random.default_rng(0).random((5, 4, 3))
    image = param.image(4, 5, sd=1.0)
    expected = mask * image() + (1 - mask) * torch.from_numpy(background).permute(2, 0, 1)
    blend = param.masked(image, background, mask)()
    torch.testing.assert_close(blend, expected.float())


def test_only_the_region_is_optimised():
    mask = torch.zeros(4, 4)
    mask[1:3, 1:3] = 1
    blend = param.masked(param.image(4, fft=False), torch.rand(3, 4, 4), mask)
    (pixels,) = blend.trainable()
    blend().sum().backward()
    assert torch.equal(pixels.grad[0].any(0), mask.bool())


def test_background_may_be_optimised_too():
    inside, outside = param.image(4), param.image(4)
    blend = param.masked(inside, outside, torch.eye(4))
    assert len(blend.trainable()) == 2


def test_region_of_a_volume():
    mask = torch.zeros(2, 4, 4)
    mask[1] = 1
    volume, background = param.image(4, depth=2, batch=2), torch.rand(1, 3, 2, 4, 4)
    blend = param.masked(volume, background, mask)()
    assert torch.equal(blend[:, :, 0], background[:, :, 0].expand(2, -1, -1, -1))
    assert torch.equal(blend[:, :, 1], volume()[:, :, 1])


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (torch.full((4, 4), 255), "values from 255 to 255: it has to be 1 inside"),
        (torch.full((4, 4), -0.5), "values from -0.5 to -0.5"),
        (np.full((4, 4), np.nan), "mask .* contains NaN"),
        (torch.ones(4), r"mask .* shape is \(4,\)"),
        ("left", "mask .* not a str"),
    ],
)
def test_mask_that_is_none(mask, text):
    with pytest.raises(InputError, match=text):
        param.masked(param.image(4), torch.zeros(3, 4, 4), mask)


def test_mask_of_another_size():
    blend = param.masked(param.image(4), torch.zeros(3, 4, 4), torch.ones(5, 5))
    with pytest.raises(InputError, match=r"differ in size: .*\(1, 3, 4, 4\), \(1, 1, 5, 5\)"):
        blend()


# Interpolation basis


def basis(n, m, channels=3):
    """The basis with random parameters, as (n, n, m, C, H, W)."""
    image = param.multi_interpolation_basis(n, m, 8, channels)
    with torch.no_grad():
        for tensor in image.trainable():
            tensor.copy_(torch.randn(tensor.shape, generator=seeded()))
    return image().detach().unflatten(0, (n, n, m)), image


SIZES = [(1, 2), (2, 2), (3, 5), (4, 4), (2, 43)]


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_strip_back_is_the_strip_there_reversed(n, m):
    # Lucid fetched the reversed term by index N - n.
    t, _ = basis(n, m)
    assert torch.equal(t, t.transpose(0, 1).flip(2))


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_strips_from_an_objective_begin_with_one_image(n, m):
    # In Lucid they held the far ends of the others, too.
    t, _ = basis(n, m)
    assert torch.equal(t[:, :, 0], t[:, :1, 0].expand(n, n, -1, -1, -1))


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_strip_from_an_objective_to_itself_is_constant(n, m):
    t, _ = basis(n, m)
    for a in range(n):
        assert torch.equal(t[a, a], t[a, a, :1].expand(m, -1, -1, -1))


def test_strip_is_a_ramp_and_what_is_its_own():
    t, image = basis(2, 5)
    inner = image.between().detach()
    shares = torch.arange(1, 4).view(-1, 1, 1, 1) / 4
    ramp = (1 - shares) * t[0, 0, 0] + shares * t[1, 1, 0]
    torch.testing.assert_close(t[0, 1, 1:-1], ramp + inner, rtol=0, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_basis_has_any_number_of_channels(channels):
    # Lucid's diagonal had three.
    t, _ = basis(2, 3, channels)
    assert t.shape == (2, 2, 3, channels, 8, 8)


def test_basis_is_all_that_the_identities_allow():
    n, m, pixels = 3, 4, 64
    image = param.multi_interpolation_basis(n, m, 8, 1).double()
    columns = []
    with torch.no_grad():
        for tensor in image.trainable():
            tensor.zero_()
        for value in (entry for t in image.trainable() for entry in t.view(-1).split(1)):
            value.fill_(1)
            columns.append(image().flatten())
            value.zero_()
    # n first images, and for every pair what lies between its ends.
    free = n + (m - 2) * n * (n - 1) // 2
    assert torch.linalg.matrix_rank(torch.stack(columns)) == free * pixels


def test_start_values_of_the_basis():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        image = param.multi_interpolation_basis(3, 4, 16, sd=0.5)
    values = torch.cat([tensor.flatten() for tensor in image.trainable()])
    # The relative error of a standard deviation of n normal draws is 1 / sqrt(2 n).
    assert values.std().item() == pytest.approx(0.5, rel=5 / np.sqrt(2 * values.numel()))


@pytest.mark.parametrize("arguments", [(0, 5, 16), (3, 1, 16)])
def test_basis_that_cannot_be(arguments):
    with pytest.raises(InputError, match=r"n_objectives=\d has to be 1 or more.*n_interp_steps=\d"):
        param.multi_interpolation_basis(*arguments)


# Textures


TEXTURE = np.arange(6.0).reshape(1, 2, 3)[:, ::-1].copy()


@pytest.mark.parametrize(
    ("x", "y", "value"),
    [
        (0, 0, 0),
        (1, 1, 4),
        (0.5, 0.5, 2),
        (0.5, 0, 0.5),
        (0, 0.5, 1.5),
        (-1, -1, 5),
        (3, 1, 3),
        (2.5, 1.5, 2.5),
        (5.5, 3.5, 2.5),
    ],
)
def test_texture_has_lucids_values(x, y, value):
    uv = torch.tensor([[[(x + 0.5) / 3, (y + 0.5) / 2]]], dtype=torch.float64)
    sampled = param.bilinearly_sampled_image(torch.from_numpy(TEXTURE)[None], uv)
    assert sampled.shape == (1, 1, 1, 1)
    assert sampled.item() == pytest.approx(value, abs=1e-8)


@pytest.mark.parametrize("size", [(4, 7), (1, 1), (1, 5), (6, 2)])
def test_texture_equals_its_twin(size):
    texture, uv = doubles(2, 3, *size), 6 * doubles(5, 8, 2) - 3
    sampled = param.bilinearly_sampled_image(texture, uv)
    for row in range(2):
        expected = twins.sampled(texture[row].numpy(), uv.numpy())
        np.testing.assert_allclose(sampled[row], expected, rtol=0, atol=1e-12)


def test_texture_and_points_in_batches():
    texture, uv = doubles(2, 3, 4, 5), doubles(2, 6, 7, 2)
    both = param.bilinearly_sampled_image(texture, uv)
    for a, b in itertools.product(range(2), range(2)):
        alone = param.bilinearly_sampled_image(texture[a : a + 1], uv[b])
        if a == b:
            torch.testing.assert_close(both[a : a + 1], alone)
        views = param.bilinearly_sampled_image(texture[a : a + 1], uv)
        torch.testing.assert_close(views[b : b + 1], alone)


def test_texture_has_the_right_gradients():
    texture, uv = doubles(1, 2, 3, 4).requires_grad_(), doubles(3, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(param.bilinearly_sampled_image, (texture, uv))


def test_texture_in_half_precision_is_sampled_at_precise_points():
    texture, uv = doubles(1, 3, 200, 200).bfloat16(), doubles(9, 9, 2).float()
    sampled = param.bilinearly_sampled_image(texture, uv)
    assert sampled.dtype == torch.bfloat16
    expected = param.bilinearly_sampled_image(texture.double(), uv.double()).bfloat16()
    # Rounding may fall to either side.
    torch.testing.assert_close(sampled, expected, rtol=2**-7, atol=2**-8)


@pytest.mark.parametrize(
    ("texture", "uv"),
    [((3, 4, 4), (5, 5, 2)), ((1, 3, 4, 4), (5, 5, 3)), ((2, 3, 4, 4), (3, 5, 5, 2))],
)
def test_texture_or_points_of_another_shape(texture, uv):
    with pytest.raises(InputError, match=r"needs a texture \(B, C, H, W\) and coordinates"):
        param.bilinearly_sampled_image(torch.zeros(texture), torch.zeros(uv))
