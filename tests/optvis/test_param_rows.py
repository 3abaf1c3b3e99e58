"""`param.rows`: images of their own as one batch, each what it is alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lucent.errors import InputError
from lucent.generators import Generators
from lucent.optvis import param
from lucent.optvis.param import Image, RowsImage, RowStack

BACKGROUND = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(5))
#: Kinds of images that are evaluated together, (1, C, *spatial) each.
TOGETHER = {
    "fourier": lambda: param.image(8, 6),
    "an odd width": lambda: param.image(7),
    "pixels": lambda: param.image(8, fft=False),
    "volume": lambda: param.image(6, depth=4),
    "alpha": lambda: param.image(8, alpha=True),
    "pyramid": lambda: param.image(8, pyramid=3),
    "grey": lambda: param.grayscale_image_rgb(8),
    "lowres": lambda: param.lowres_tensor((1, 3, 8, 8), (1, 3, 2, 2), offset=True),
    "maco": lambda: param.maco(8),
    "clipped": lambda: param.image(8, squash="clip"),
    "a ball": lambda: param.unit_ball_L2((1, 3, 4, 4)),
    "a box": lambda: param.unit_ball_L_inf((1, 3, 4, 4)),
    "cppn": lambda: param.cppn(8, num_hidden_channels=4, num_layers=3, normalize=True),
    "masked": lambda: param.masked(param.image(8), BACKGROUND, torch.eye(8)),
    "sum": lambda: param.to_valid_rgb(
        param.summed([param.fft_image((1, 3, 8, 8)), param.pixel_image((1, 3, 8, 8))])
    ),
}
#: Kinds that are not.
ONE_BY_ONE = {
    "a pair": lambda: pair(torch.rand(1, 3, 8, 8)),
    "random parts": lambda: param.summed([
        param.pixel_image((1, 3, 8, 8)),
        param.rand_fft_image((1, 3, 8, 8)),
    ]),
}  # fmt: skip


def pair(start):
    pixels = start.double().requires_grad_()
    return param.as_image(([pixels], lambda: pixels.sigmoid()))


def made(kind, n=3):
    """Return images in double precision with parameters far from the start's."""
    images = [kind().double() for _ in range(n)]
    with torch.no_grad():
        for seed, image in enumerate(images):
            generator = torch.Generator().manual_seed(seed)
            for tensor in image.trainable():
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
            image.draw(generator)
    return images


def weighted(picture):
    return (picture * torch.arange(picture[0].numel()).view(picture[0].shape).cos()).sum()


@pytest.mark.parametrize(
    "kind", [*TOGETHER.values(), *ONE_BY_ONE.values()], ids=[*TOGETHER, *ONE_BY_ONE]
)
def test_each_row_and_its_gradient_are_those_of_the_image_alone(kind):
    images = made(kind)
    rows = param.rows(images)
    together = rows()
    gradients = torch.autograd.grad(weighted(together[1:2]), rows.trainable(), allow_unused=True)
    alone = torch.cat([image() for image in images])
    expected = torch.autograd.grad(weighted(images[1]()), images[1].trainable())
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)
    if isinstance(rows, RowsImage):
        assert all(not g[[0, 2]].any() for g in gradients)
        gradients = [g[1] for g in gradients]
    gradients = [g for g in gradients if g is not None and g.any()]
    assert len(gradients) == len(expected)
    for gradient, own in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, own, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", TOGETHER.values(), ids=TOGETHER)
def test_images_of_one_kind_are_evaluated_at_once(kind, monkeypatch):
    rows = param.rows(made(kind, 5))
    assert isinstance(rows, RowsImage)
    calls = []
    forward = type(rows.image).forward
    monkeypatch.setattr(type(rows.image), "forward", lambda self: calls.append(1) or forward(self))
    assert rows().shape[0] == 5
    assert calls == [1]


@pytest.mark.parametrize("kind", ONE_BY_ONE.values(), ids=ONE_BY_ONE)
def test_other_images_are_evaluated_one_by_one(kind):
    assert isinstance(param.rows(made(kind)), RowStack)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: param.image(8), lambda: param.image(8, squash="clip")),
        (lambda: param.image(8), lambda: param.image(8, decorrelate=False)),
        (lambda: param.image(8), lambda: param.image(8, fft=False)),
        (lambda: param.image(8), lambda: param.image(8, decay_power=1.5)),
        # Both are grey at first, and so are their parameters' gradients but for the last layer.
        (
            lambda: param.cppn(8, activation_fn=torch.sin),
            lambda: param.cppn(8, activation_fn=torch.atan),
        ),
    ],
    ids=["squash", "colours", "space", "decay", "activation"],
)
def test_images_of_different_kinds_are_not_taken_for_one(one, other):
    images = [one(), other()]
    rows = param.rows(images)
    assert isinstance(rows, RowStack)
    assert torch.equal(rows(), torch.cat([image() for image in images]))


def test_the_images_given_stay_as_they_are():
    images = made(TOGETHER["fourier"])
    before = [image().detach().clone() for image in images]
    rows = param.rows(images)
    with torch.no_grad():
        for tensor in rows.trainable():
            tensor.zero_()
    assert all(torch.equal(image(), old) for image, old in zip(images, before, strict=True))
    assert all(tensor.requires_grad for image in images for tensor in image.trainable())


class Generated(Image):
    """A code, and a large network that makes a picture of it and is not optimised."""

    def __init__(self, net):
        super().__init__()
        self.net = net.requires_grad_(False)
        self.code = nn.Parameter(torch.randn(1, 4))

    def forward(self):
        return self.net(self.code).view(1, 3, 2, 2)


def test_what_is_not_optimised_is_shared_instead_of_copied():
    net = nn.Linear(4, 12)
    rows = param.rows([Generated(net) for _ in range(3)])
    assert isinstance(rows, RowsImage)
    assert rows.image.net.weight is net.weight
    assert [tuple(tensor.shape) for tensor in rows.trainable()] == [(3, 1, 4)]


def test_two_networks_that_are_not_optimised_and_differ_are_not_taken_for_one():
    images = [Generated(nn.Linear(4, 12)) for _ in range(2)]
    rows = param.rows(images)
    assert isinstance(rows, RowStack)
    assert torch.equal(rows(), torch.cat([image() for image in images]))


def test_images_that_share_a_parameter_go_on_sharing_it():
    shared = param.image(8)
    rows = param.rows([shared, shared])
    assert isinstance(rows, RowStack)
    assert len(rows.trainable()) == 1


def test_a_pair_is_an_image():
    pixels = torch.rand(1, 3, 8, 8).requires_grad_()
    rows = param.rows([([pixels], lambda: pixels.sigmoid()), param.image(8)])
    assert torch.equal(rows()[0], pixels.sigmoid()[0])


def test_images_whose_tensors_are_no_parameters_cannot_be_stacked():
    with pytest.raises(InputError, match="A FunctionImage optimises tensors .* use param.rows"):
        RowsImage([pair(torch.rand(1, 3, 8, 8)) for _ in range(2)])


def test_rows_move_to_another_precision():
    rows = param.rows([param.image(8) for _ in range(2)]).double()
    assert rows().dtype == torch.float64
    assert {tensor.dtype for tensor in rows.trainable()} == {torch.float64}


def test_rows_draw_with_the_generator_of_their_own():
    images = made(ONE_BY_ONE["random parts"])
    rows = param.rows(images)
    rows.draw(Generators([7, 8, 9], "cpu"))
    together = rows().detach()
    for seed, image in zip([7, 8, 9], images, strict=True):
        image.draw(torch.Generator().manual_seed(seed))
    assert torch.equal(together, torch.cat([image() for image in images]).detach())


def test_a_batch_of_random_images_draws_each_with_its_own_generator():
    batch, alone = param.rand_fft_image((2, 3, 8, 8)), param.rand_fft_image((1, 3, 8, 8))
    batch.draw(Generators([3, 4], "cpu"))
    for row, seed in enumerate([3, 4]):
        alone.draw(torch.Generator().manual_seed(seed))
        assert torch.equal(batch()[row : row + 1], alone())


@pytest.mark.parametrize(
    ("images", "text"),
    [
        ([], "at least one; got none"),
        ([lambda: param.image(8, batch=2)], r"An image of shape \(2, 3, 8, 8\).*batch=1"),
        ([lambda: param.image(8), lambda: param.image(6)], r"differ in shape, \[\(1, 3, 6, 6\)"),
    ],
    ids=["none", "batch", "sizes"],
)
def test_images_that_are_no_rows_are_refused(images, text):
    with pytest.raises(InputError, match=text):
        param.rows([make() for make in images])
