"""What images a network takes: channels, pictures or volumes, and values where nothing is known."""

from __future__ import annotations

import warnings

import pytest
import torch
import torchvision
from torch import nn

from lucent.errors import InputError, LucentWarning
from lucent.modelzoo._inputs import completed, input_form
from lucent.modelzoo.spec import IMAGENET_MEAN, IMAGENET_STD, ModelSpec, spec_of


class Patches(nn.Module):
    """Begins with what is no convolution, as transformers do whose text comes first."""

    def __init__(self):
        super().__init__()
        self.embedding, self.text = nn.Embedding(4, 8), nn.Linear(8, 8)
        self.patch_embed = nn.Conv2d(12, 8, 4, stride=4)
        self.head = nn.Conv2d(8, 2, 1)


class Backwards(nn.Module):
    """Assigns its layers from the last to the first."""

    def __init__(self, channels):
        super().__init__()
        self.head, self.stem = nn.Conv2d(8, 4, 1), nn.Conv2d(channels, 8, 3)


@pytest.mark.parametrize(
    ("model", "form"),
    [
        (nn.Conv2d(1, 4, 3), (1, 2)),
        (nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 8, 3, groups=4)), (4, 2)),
        (nn.Sequential(nn.Conv3d(2, 4, 3), nn.Flatten(2, 3), nn.Conv2d(4, 4, 3)), (2, 3)),
        (nn.Sequential(nn.ConvTranspose3d(5, 4, 3)), (5, 3)),
        (nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 4, 3)), (3, 2)),
        (nn.Sequential(nn.LazyConv3d(4, 3)), (None, 3)),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (None, None)),
        (Patches(), (12, 2)),
        (Backwards(3), (3, 2)),
        (nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 3, 3), nn.Conv2d(3, 1, 1)), (1, 2)),
        (torchvision.models.vit_b_16(image_size=32), (3, 2)),
        (torchvision.models.video.r3d_18(), (3, 3)),
    ],
)
def test_the_first_convolution_tells(model, form):
    assert input_form(model) == form


def test_a_lazy_convolution_tells_when_it_has_seen_an_image():
    model = nn.Sequential(nn.LazyConv2d(4, 3))
    model(torch.zeros(1, 7, 5, 5))
    assert input_form(model) == (7, 2)


def test_what_the_spec_says_comes_first():
    model = nn.Conv2d(4, 8, 3)
    spec = completed(ModelSpec("any"), model)
    assert (spec.channels, spec.dimensions) == (4, 2)
    stated = ModelSpec("any", channels=3, dimensions=3, depth=16)
    assert completed(stated, model) == stated
    by_means = completed(ModelSpec("any", mean=(0.1, 0.2)), model)
    assert (by_means.channels, by_means.dimensions) == (2, 2)
    assert ModelSpec("any", depth=8).dimensions == 3


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"mean": (0.5,) * 3, "channels": 4}, r"channels=4 but 3 means or stds: .* one for all"),
        ({"dimensions": 1}, r"dimensions=1, depth=None: pictures have 2 .* volumes have 3"),
        ({"dimensions": 2, "depth": 8}, r"dimensions=2, depth=8: pictures .* no depth"),
    ],
)
def test_specs_that_contradict_themselves(facts, text):
    with pytest.raises(InputError, match=f"The spec of any has {text}"):
        ModelSpec("any", **facts)


def only_warning(model):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        spec = spec_of(model)
    assert [one.category for one in caught] == [LucentWarning]
    return spec, str(caught[0].message)


@pytest.mark.parametrize("channels", [1, 2, 4, 12])
def test_imagenets_three_means_are_not_for_other_channels(channels):
    spec, text = only_warning(nn.Conv2d(channels, 4, 3))
    # The averages of 0.485, 0.456, 0.406 and of 0.229, 0.224, 0.225.
    assert (spec.mean, spec.std) == ((0.449,), (0.226,))
    assert (spec.channels, spec.dimensions, spec.input_size) == (channels, 2, (224, 224))
    assert "averaged to mean 0.449 and std 0.226 in every channel and 224 px are assumed" in text
    image = torch.full((1, channels, 2, 2), 0.675)
    torch.testing.assert_close(spec.preprocess(image), torch.ones(1, channels, 2, 2))


def test_of_volumes_no_size_is_assumed():
    spec, text = only_warning(nn.Conv3d(3, 4, 3))
    assert (spec.mean, spec.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert (spec.channels, spec.dimensions, spec.input_size) == (3, 3, None)
    assert "ImageNet's normalisation is assumed" in text
    assert "ModelSpec('Conv3d', depth=..., input_size=(height, width), mean=..., std=...)" in text


def test_a_published_network_with_another_first_convolution_gets_one_mean():
    model = torchvision.models.resnet18()
    published = spec_of(model)
    model.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    spec, text = only_warning(model)
    assert (spec.mean, spec.std, spec.channels) == ((0.449,), (0.226,), 1)
    assert spec.labels == published.labels
    assert (
        "published for images of 3 channels, but the first convolution of this one takes 1" in text
    )
    assert "mean 0.449 and std 0.226 are assumed for all" in text
    assert spec.preprocess(torch.zeros(1, 1, 2, 2)).shape == (1, 1, 2, 2)
