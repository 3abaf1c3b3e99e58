"""Images and blurs keep their precision inside an autocast block of the user's."""

from __future__ import annotations

import pytest
import torch
from reference import normal, seeded

from lucent.optvis import param, transform
from lucent.optvis.objectives.penalties import blur
from lucent.util import without_autocast

MADE = {
    "cppn": param.cppn(8, num_hidden_channels=4, num_layers=3),
    "lowres": param.lowres_tensor((1, 3, 8, 8), (1, 3, 3, 3)),
    "pyramid": param.image(8, pyramid=2),
    "fourier": param.image(8),
    "volume": param.image(8, depth=4),
}


@pytest.mark.parametrize("image", MADE.values(), ids=MADE)
def test_images_do_not_become_bfloat16(image):
    with torch.no_grad():
        for tensor in image.trainable():
            tensor.copy_(torch.randn(tensor.shape, generator=seeded()))
    expected = image()
    with torch.autocast("cpu", torch.bfloat16):
        found = image()
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    "blurred",
    [
        transform.gaussian_blur(1.5),
        blur,
        lambda image: param.resize_bilinear_nd(image, (1, 1, 9, 8)),
    ],
    ids=["transform", "penalty", "resize"],
)
def test_blurs_do_not_become_bfloat16(blurred):
    image = normal(1, 1, 8, 8).float()
    with torch.autocast("cpu", torch.bfloat16):
        found = blurred(image)
    assert found.dtype == torch.float32
    assert torch.equal(found, blurred(image))


def test_devices_without_autocast_are_left_alone():
    with without_autocast(torch.device("meta")):
        assert torch.zeros(2, device="meta").dtype == torch.float32
