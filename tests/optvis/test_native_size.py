"""The size that the network sees when an image is to be seen as it is."""

from __future__ import annotations

import pytest
import tiny
import torch

from lucent.errors import InputError
from lucent.modelzoo import load
from lucent.modelzoo.spec import ModelSpec
from lucent.optvis import param, transform
from lucent.optvis.render import render_vis

QUIET = {"progress": False, "show_image": False, "seed": 0}


def sizes_seen(spec, own, **options):
    """The heights and widths of what the network saw, step by step."""
    model = tiny.Chain()
    model.spec = spec
    seen = []
    model.conv1.register_forward_pre_hook(lambda _m, args: seen.append(tuple(args[0].shape[2:])))
    options = {"thresholds": (2,), **QUIET, **options}
    render_vis(model, "conv1:0", lambda: param.image(own[1], own[0]), **options)
    return set(seen)


@pytest.mark.parametrize("transforms", [None, [], [transform.pad(3)]])
@pytest.mark.parametrize("own", [(8, 12), (33, 40)])
def test_native_is_the_images_own_size_whatever_the_spec_says(own, transforms):
    spec = ModelSpec("chain", input_size=(32, 32))
    assert sizes_seen(spec, own, fixed_image_size="native", transforms=transforms) == {own}


def test_without_it_small_images_are_enlarged_as_before():
    assert sizes_seen(ModelSpec("chain", input_size=(32, 32)), (8, 12)) == {(32, 48)}


@pytest.mark.parametrize("fixed", [None, "native"])
def test_a_network_without_a_size_of_its_own_sees_the_images(fixed):
    assert sizes_seen(ModelSpec("chain"), (8, 12), fixed_image_size=fixed) == {(8, 12)}


def test_an_image_seen_as_it_is_reaches_the_network_unchanged():
    model = tiny.Chain()
    model.spec = ModelSpec("chain", input_size=(32, 32))
    image, seen = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(0)), []
    model.conv1.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    render_vis(
        model,
        "conv1:0",
        lambda: tiny.Pixels(image.clone()),
        transforms=[],
        thresholds=(1,),
        fixed_image_size="native",
        **QUIET,
    )
    assert torch.equal(seen[-1], image)


def test_a_prefix_of_a_network_takes_images_that_the_whole_does_not():
    model = load("squeezenet1_1", pretrained=False)
    options = {"thresholds": (1,), "fixed_image_size": "native", **QUIET}
    images = render_vis(model, "features.3:5", lambda: param.image(16), **options)
    assert images[-1].shape == (1, 16, 16, 3)
    with pytest.raises(InputError, match="cannot take an image of 16x16 pixels"):
        render_vis(model, "labels:golden retriever", lambda: param.image(16), **options)


@pytest.mark.parametrize("fixed", ["natural", "224", ""])
def test_another_word_is_refused(fixed):
    with pytest.raises(
        InputError, match=f"fixed_image_size='{fixed}' is not known: write 'native'"
    ):
        sizes_seen(ModelSpec("chain"), (8, 8), fixed_image_size=fixed)


def test_a_size_that_is_none_names_the_word():
    with pytest.raises(InputError, match=r"fixed_image_size=0 has .* or 'native'\."):
        sizes_seen(ModelSpec("chain"), (8, 8), fixed_image_size=0)


def test_a_network_for_one_size_says_why_not():
    spec = ModelSpec("vit", input_size=(224, 200), fixed_size=True)
    with pytest.raises(InputError, match=r"not suit vit: images of 224 x 200 pixels are all"):
        sizes_seen(spec, (8, 8), fixed_image_size="native")
    with torch.device("meta"):
        vit = load("vit_b_16", pretrained=False)
    with pytest.raises(InputError, match=r"not suit vit_b_16: images of 224 x 224 .* position emb"):
        render_vis(vit, "labels:1", thresholds=(1,), fixed_image_size="native", **QUIET)
