"""`ModelSpec`: preprocessing and labels, and how `spec_of` finds the spec of a network."""

from __future__ import annotations

import pickle

import pytest
import torch
import torchvision
from torch import nn
from torchvision.transforms import functional as TF

from lucent.errors import InputError, LucentWarning
from lucent.modelzoo import ModelSpec, inceptionv1, spec_of
from lucent.modelzoo.spec import read_labels
from lucent.optvis import param
from lucent.optvis.render import render_vis

IMAGENET = ModelSpec("it", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def random_image(*shape, dtype=torch.float64):
    return torch.rand(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


# --- Preprocessing ---


def test_values_are_mapped_to_the_range_then_normalised():
    spec = ModelSpec("it", value_range=(-1.0, 3.0), mean=(1.0, 0.0, 5.0), std=(2.0, 4.0, 0.5))
    image = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64).view(1, 3, 1, 1)
    # -1, 1, 3 minus the means, divided by the stds
    assert spec.preprocess(image).flatten().tolist() == [-1.0, 0.25, -4.0]


def test_inceptionv1_takes_values_from_minus_117_to_138():
    spec = spec_of(inceptionv1())
    assert spec.preprocess(torch.zeros(1, 3, 2, 2)).unique().tolist() == [-117.0]
    assert spec.preprocess(torch.ones(1, 3, 2, 2)).unique().tolist() == [138.0]


def test_without_statistics_any_image_passes_as_it_is():
    for shape in [(2, 1, 4, 4), (1, 7, 3, 3), (2, 5)]:
        image = random_image(*shape)
        assert ModelSpec("it").preprocess(image).equal(image)


def test_one_mean_serves_all_channels():
    spec = ModelSpec("it", mean=(0.5,), std=(1.0, 2.0, 4.0))
    image = torch.ones(1, 3, 1, 1, dtype=torch.float64)
    assert spec.preprocess(image).flatten().tolist() == [0.5, 0.25, 0.125]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(2, 3, 8, 6), (2, 3, 4, 5, 6), (2, 3)])
def test_preprocessing_keeps_dtype_and_shape_of_images_and_volumes(dtype, shape):
    image = random_image(*shape, dtype=torch.float64).to(dtype)
    out = IMAGENET.preprocess(image)
    assert (out.dtype, out.shape) == (dtype, image.shape)
    mean, std = (torch.tensor(v, dtype=torch.float64) for v in (IMAGENET.mean, IMAGENET.std))
    expected = ((image.double().movedim(1, -1) - mean) / std).movedim(-1, 1)
    # Scale and shift are rounded once to the dtype, the result once more; values are below 3.
    limit = 12 * torch.finfo(dtype).eps
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=limit)


def test_channels_are_turned_round_for_networks_that_take_blue_first():
    spec = ModelSpec("it", mean=(0.5, 0.25, 0.0), std=(0.5, 1.0, 2.0), channel_order="BGR")
    image = torch.tensor([1.0, 0.5, 0.25], dtype=torch.float64).view(1, 3, 1, 1)
    # red (1 - .5) / .5, green (.5 - .25) / 1, blue .25 / 2
    assert spec.preprocess(image).flatten().tolist() == [0.125, 0.25, 1.0]
    with pytest.raises(InputError, match=r"channel_order='GBR': type 'RGB', or 'BGR'"):
        ModelSpec("it", channel_order="GBR")


def test_a_unit_for_the_first_channel_of_a_bgr_network_gives_a_blue_picture():
    model = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False))
    model[0].weight.data = torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1)
    model.spec = ModelSpec("it", channel_order="BGR", mean=(0.5,) * 3)
    images = render_vis(
        model,
        "0:0",
        lambda: param.image(8, fft=False, decorrelate=False),
        transforms=[],
        thresholds=(60,),
        progress=False,
        show_image=False,
    )
    red, green, blue = images[-1].mean((0, 1, 2))
    assert blue > 0.8
    assert max(red, green) < 0.2


def test_preprocessing_is_differentiable():
    image = random_image(1, 3, 2, 2).requires_grad_()
    IMAGENET.preprocess(image).sum().backward()
    expected = 1 / torch.tensor(IMAGENET.std, dtype=torch.float64)
    torch.testing.assert_close(image.grad[0, :, 0, 0], expected, rtol=1e-15, atol=0)


def test_another_number_of_channels_is_an_error_that_tells_both():
    with pytest.raises(InputError, match=r"\(B, 3, \*spatial\).*shape \(2, 4, 8, 8\)"):
        IMAGENET.preprocess(torch.zeros(2, 4, 8, 8))
    with pytest.raises(InputError, match=r"shape \(3,\)"):
        IMAGENET.preprocess(torch.zeros(3))


def test_bytes_are_an_error_that_tells_the_conversion():
    with pytest.raises(InputError, match=r"torch\.uint8.*image\.float\(\) / 255"):
        IMAGENET.preprocess(torch.zeros(1, 3, 2, 2, dtype=torch.uint8))


@pytest.mark.parametrize(
    "statistics", [{"std": (1.0, 0.0)}, {"mean": (0.0,) * 3, "std": (1.0,) * 4}]
)
def test_impossible_statistics_are_refused(statistics):
    with pytest.raises(InputError, match=r"mean .* and std"):
        ModelSpec("it", **statistics)


def test_specs_are_values():
    spec = ModelSpec("it", mean=[0.5, 0.4, 0.3], std=[1.0] * 3, labels=["cat", "dog"])
    assert spec == ModelSpec("it", mean=(0.5, 0.4, 0.3), std=(1.0,) * 3, labels=("cat", "dog"))
    assert {spec: 1}[pickle.loads(pickle.dumps(spec))] == 1
    matrix = ModelSpec("it", color_matrix=[[1.0, 0.0], [0.0, 1.0]]).color_matrix
    assert matrix == ((1.0, 0.0), (0.0, 1.0))


# --- Labels ---


def test_imagenet_labels_are_in_torchvisions_order():
    weights = torchvision.models.ResNet18_Weights.DEFAULT
    assert list(read_labels("imagenet")) == weights.meta["categories"]
    assert read_labels("imagenet")[208] == "Labrador retriever"


@pytest.fixture
def animals():
    return ModelSpec(
        "zoo", labels=("tench, Tinca tinca", "Cat", "cat", "bobcat", "dog sled", "hotdog")
    )


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("cat", 2),
        ("Cat", 1),
        ("TENCH", 0),
        ("tinca tinca", 0),
        ("tench, Tinca tinca", 0),
        ("sled", 4),
    ],
)
def test_a_label_is_found_by_name_then_synonym_then_part(animals, text, index):
    assert animals.label_index(text) == index


def test_an_ambiguous_label_lists_the_candidates(animals):
    with pytest.raises(
        InputError, match=r"'dog' fits 2 labels of zoo: 'dog sled' \(4\), 'hotdog' \(5\)"
    ):
        animals.label_index("dog")
    with pytest.raises(InputError, match=r"'CAT' fits 2 labels of zoo: 'Cat' \(1\), 'cat' \(2\)"):
        animals.label_index("CAT")


def test_an_unknown_label_suggests_the_closest(animals):
    with pytest.raises(InputError, match=r"no label 'bobkat'.*'bobcat'"):
        animals.label_index("bobkat")
    with pytest.raises(InputError, match="no label ''"):
        animals.label_index("")
    with pytest.raises(InputError, match=r"nolabels has no labels.*index of the class"):
        ModelSpec("nolabels").label_index("cat")


# --- spec_of ---


def build(name, **options):
    if name in ("inception_v3", "googlenet"):
        options["init_weights"] = False
    return torchvision.models.get_model(name, weights=None, **options)


@pytest.mark.parametrize(
    ("name", "size", "fixed"),
    [
        ("resnet50", 224, False),
        ("inception_v3", 299, False),
        ("googlenet", 224, False),
        ("vit_b_32", 224, True),
        ("efficientnet_b0", 224, False),
        ("efficientnet_b1", 240, False),
        ("swin_t", 224, False),
        ("swin_v2_t", 256, False),
        ("vgg11", 224, False),
        ("squeezenet1_1", 224, False),
        ("maxvit_t", 224, True),
    ],
)
def test_spec_of_a_torchvision_network_is_that_of_its_weights(name, size, fixed):
    model = build(name)
    spec = spec_of(model)
    weights = torchvision.models.get_model_weights(name).DEFAULT
    preset = weights.transforms()
    image = random_image(1, 3, 5, 4)
    expected = TF.normalize(image, preset.mean, preset.std)
    torch.testing.assert_close(spec.preprocess(image), expected, rtol=0, atol=1e-14)
    assert spec.input_size == (preset.crop_size[0],) * 2 == (size, size)
    assert (spec.name, spec.fixed_size) == (name, fixed)
    assert spec.interpolation == preset.interpolation.value
    assert spec.crop == pytest.approx(preset.crop_size[0] / preset.resize_size[0], abs=1e-4)
    assert list(spec.labels) == weights.meta["categories"]
    assert spec.url == weights.url


def test_networks_for_video_take_volumes():
    with torch.device("meta"):
        spec = spec_of(torchvision.models.video.r3d_18(weights=None))
    assert (spec.depth, spec.dimensions, spec.input_size) == (16, 3, (112, 112))


def test_members_of_one_family_with_other_statistics_are_told_apart():
    with torch.device("meta"):
        small, large = build("efficientnet_v2_s"), build("efficientnet_v2_l")
    assert spec_of(small).mean == (0.485, 0.456, 0.406)
    assert spec_of(large).mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("name", ["vit_b_32", "maxvit_t", "swin_t", "resnet18"])
def test_fixed_size_says_whether_other_sizes_fail(name):
    model = build(name).eval()
    images = torch.zeros(1, 3, 256, 256)
    if spec_of(model).fixed_size:
        with pytest.raises((AssertionError, RuntimeError, ValueError)):
            model(images)
    else:
        assert model(images).shape == (1, 1000)


def test_size_of_a_vision_transformer_is_the_one_it_was_built_for():
    with torch.device("meta"):
        model = build("vit_b_16", image_size=96)
    assert (spec_of(model).input_size, spec_of(model).fixed_size) == ((96, 96), True)


def test_another_number_of_classes_drops_the_labels_only():
    model = build("efficientnet_b1", num_classes=7)
    spec = spec_of(model)
    assert (spec.name, spec.input_size, spec.labels) == ("efficientnet_b1", (240, 240), ())
    assert spec.mean == IMAGENET.mean


def test_an_unpublished_member_gets_what_its_family_shares():
    from torchvision.models.resnet import BasicBlock, ResNet
    from torchvision.models.vgg import VGG

    spec = spec_of(ResNet(BasicBlock, [1, 1, 1, 1]))
    assert (spec.name, spec.input_size, spec.mean) == ("ResNet", (224, 224), IMAGENET.mean)
    assert (len(spec.labels), spec.url) == (1000, None)
    features = nn.Sequential(nn.Conv2d(3, 512, 1))
    assert spec_of(VGG(features)).mean == IMAGENET.mean


def test_an_unpublished_member_of_a_family_with_several_normalisations_is_unknown():
    with torch.device("meta"):
        model = build("efficientnet_b0")
        model.features[1] = nn.Conv2d(32, 16, 1)
    with pytest.warns(LucentWarning, match="Nothing is known about EfficientNet"):
        assert spec_of(model).url is None


def test_a_class_derived_from_torchvisions_is_treated_like_it():
    class Mine(torchvision.models.SqueezeNet):
        pass

    assert spec_of(Mine("1_0")).name == "squeezenet1_0"


def test_detection_networks_normalise_inside():
    with torch.device("meta"):
        model = torchvision.models.detection.ssdlite320_mobilenet_v3_large(
            weights=None, weights_backbone=None
        )
    image = random_image(1, 3, 2, 2)
    assert spec_of(model).preprocess(image).equal(image)


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_wrappers_are_looked_through(wrap):
    assert spec_of(wrap(build("squeezenet1_1"))).name == "squeezenet1_1"
    assert spec_of(wrap(inceptionv1())).name == "inceptionv1"


def test_the_attribute_of_the_model_comes_first():
    model = build("squeezenet1_1")
    model.spec = IMAGENET
    assert spec_of(model) is IMAGENET
    wrapped = nn.DataParallel(model)
    wrapped.spec = ModelSpec("outer")
    assert spec_of(wrapped).name == "outer"


def test_an_unknown_network_is_treated_like_imagenets_with_one_warning():
    model = nn.Sequential(nn.Conv2d(3, 4, 1))
    model.spec = "something else"
    with pytest.warns(LucentWarning, match=r"Sequential.*model\.spec = ") as caught:
        spec = spec_of(model)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert (spec.input_size, spec.mean, spec.std) == ((224, 224), IMAGENET.mean, IMAGENET.std)
    assert (spec.name, spec.labels, spec.fixed_size) == ("Sequential", (), False)


@pytest.mark.parametrize(
    ("fact", "expected"),
    [
        ({"input_size": 224}, r"input_size=224: give \(height, width\) in pixels, or None"),
        ({"input_size": (224,)}, r"input_size=\(224,\): give \(height, width\)"),
        ({"value_range": (255,)}, r"value_range=\(255,\): give \(low, high\)"),
        ({"mean": 0.5}, r"mean=0\.5: give \(0\.5,\), or one number for each channel"),
        ({"std": torch.ones(3)}, r"std=tensor.*: give \(0\.25,\), or one number for each"),
        ({"labels": "cat"}, r"labels='cat': give the names of the classes, \('cat', 'dog'\)"),
        ({"fixed_size": True}, r"fixed_size=True, but no input_size: give the size"),
    ],
)
def test_facts_of_another_form_are_errors_that_say_how_to_write_them(fact, expected):
    with pytest.raises(InputError, match=f"The spec of mine has {expected}"):
        ModelSpec("mine", **fact)
