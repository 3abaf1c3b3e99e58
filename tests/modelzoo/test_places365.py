"""InceptionV1 on Places365 against a plain version of Caffe's network; its names and labels."""

from __future__ import annotations

import copy
import hashlib
import pickle

import pytest
import torch
from torch.nn import functional as F

from lucent.errors import WeightsError
from lucent.hooks import Activations
from lucent.modelzoo import get_model_layers, inceptionv1, inceptionv1_places365, load, spec_of
from lucent.modelzoo.spec import read_labels

# in, 1x1, 3x3 reduced, 3x3, 5x5 reduced, 5x5, pool: table 1 of Szegedy et al.
BLOCKS = {
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}


def captums_shapes():
    """Names and shapes of the weights in captum's file."""
    shapes = {"conv1": (64, 3, 7, 7), "conv2": (64, 64, 1, 1), "conv3": (192, 64, 3, 3)}
    for block, (n, c1, r3, c3, r5, c5, pool) in BLOCKS.items():
        shapes[f"mixed{block}.conv_1x1"] = (c1, n, 1, 1)
        shapes[f"mixed{block}.conv_3x3_reduce"] = (r3, n, 1, 1)
        shapes[f"mixed{block}.conv_3x3"] = (c3, r3, 3, 3)
        shapes[f"mixed{block}.conv_5x5_reduce"] = (r5, n, 1, 1)
        shapes[f"mixed{block}.conv_5x5"] = (c5, r5, 5, 5)
        shapes[f"mixed{block}.pool_proj"] = (pool, n, 1, 1)
    for aux in ("aux1", "aux2"):
        shapes |= {f"{aux}.conv": (2, 2, 1, 1), f"{aux}.fc1": (2, 2), f"{aux}.fc2": (2, 2)}
    return {**shapes, "fc": (365, 1024)}


@pytest.fixture(scope="module")
def captums():
    """Random weights that keep the activations alive, under captum's names."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in captums_shapes().items():
        scale = (2 / torch.Size(shape[1:]).numel()) ** 0.5
        state[f"{name}.weight"] = scale * torch.randn(shape, generator=generator)
        state[f"{name}.bias"] = 0.1 * torch.randn(shape[0], generator=generator)
    return state


@pytest.fixture
def model(captums):
    model = inceptionv1_places365().eval()
    model.load_state_dict(captums)
    return model


def caffe(weights, image):
    """Outputs of Caffe's network by captum's names of the layers."""
    outputs = {}

    def conv(name, x, **options):
        x = F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], **options)
        outputs[name] = x.relu()
        return outputs[name]

    def pool(x):
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    def norm(x):
        return F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)

    x = norm(pool(conv("conv1", image, stride=2, padding=3)))
    x = pool(norm(conv("conv3", conv("conv2", x), padding=1)))
    for block in BLOCKS:
        name = f"mixed{block}"
        if block in ("4a", "5a"):
            x = pool(x)
        branches = [
            conv(f"{name}.conv_1x1", x),
            conv(f"{name}.conv_3x3", conv(f"{name}.conv_3x3_reduce", x), padding=1),
            conv(f"{name}.conv_5x5", conv(f"{name}.conv_5x5_reduce", x), padding=2),
            conv(f"{name}.pool_proj", F.max_pool2d(x, 3, 1, padding=1)),
        ]
        x = outputs[name] = torch.cat(branches, 1)
    outputs["fc"] = x.mean((2, 3)) @ weights["fc.weight"].T + weights["fc.bias"]
    return outputs


@pytest.mark.parametrize("size", [(1, 224, 224), (2, 97, 130)])
def test_every_layer_is_that_of_caffe_at_even_and_odd_sizes(model, captums, size):
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(size[0], 3, *size[1:], dtype=torch.float64, generator=generator) * 255 - 110
    expected = caffe({name: value.double() for name, value in captums.items()}, image)
    layers = {
        "conv1": "conv2d0", "conv2": "conv2d1", "conv3": "conv2d2",
        "mixed4b.pool_proj": "mixed4b_pool_reduce", "mixed5a.conv_5x5_reduce":
        "mixed5a_5x5_bottleneck", "fc": "softmax2_pre_activation_matmul",
        **{f"mixed{block}": f"mixed{block}" for block in BLOCKS},
    }  # fmt: skip
    with Activations(model.double(), layers.values()) as T, torch.no_grad():
        T.run(image)
        for theirs, ours in layers.items():
            torch.testing.assert_close(T(ours), expected[theirs], rtol=0, atol=1e-9, msg=ours)
    assert expected["mixed5b"].std() > 1e-3  # dead layers would be equal without a merit
    probabilities = expected["fc"].softmax(1)
    torch.testing.assert_close(model(image), probabilities, rtol=0, atol=1e-12)


def test_the_image_is_given_in_blue_green_red_without_the_mean():
    spec = spec_of(inceptionv1_places365())
    image = torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64).view(1, 3, 1, 1)
    expected = [0 - 104.0437, 127.5 - 112.6004, 255 - 116.7894]
    torch.testing.assert_close(
        spec.preprocess(image).flatten(), torch.tensor(expected, dtype=torch.float64)
    )


def test_labels_are_the_file_of_the_data_set():
    """Its MD5 is the one that torchvision checks the original by."""
    labels = [label.replace(" ", "_") for label in read_labels("places365")]
    original = "\n".join(f"/{label[0]}/{label} {n}" for n, label in enumerate(labels))
    assert hashlib.md5(original.encode()).hexdigest() == "06c963b85866bd0649f97cb43dd16673"
    spec = spec_of(inceptionv1_places365())
    assert spec.label_index("zen garden") == 364
    assert spec.label_index("apartment building") == 8
    assert spec.logits == "softmax2_pre_activation_matmul"


def test_layers_have_the_names_of_inceptionv1_and_lucids():
    model = inceptionv1_places365()
    assert get_model_layers(model) == get_model_layers(inceptionv1())
    aliases = dict(spec_of(model).aliases)
    assert aliases["inception_4e_output"] == "mixed4e"
    assert aliases["conv2_3x3_reduce"] == "conv2d1"
    assert set(aliases.values()) <= set(dict(model.named_children()))
    assert sum(p.numel() for p in model.parameters()) == 6_347_677


def test_weights_are_loaded_by_captums_names_and_by_ours(tmp_path, model, captums):
    torch.save(captums, tmp_path / "captum.pth")
    torch.save(model.state_dict(), tmp_path / "own.pth")
    for name in ("captum.pth", "own.pth"):
        again = load("inceptionv1_places365", weights=tmp_path / name)
        assert type(again) is inceptionv1_places365
        assert not again.training
        for key, value in model.state_dict().items():
            assert torch.equal(again.state_dict()[key], value)
    assert torch.equal(
        model.mixed4a_pool_reduce_pre_relu_conv.bias, captums["mixed4a.pool_proj.bias"]
    )


def test_published_weights_are_expected_in_torch_hubs_folder(tmp_path, monkeypatch, captums):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(WeightsError, match=r"inceptionv1_places365\.pth.*pretrained=False"):
        load("inceptionv1_places365")
    torch.save(captums, tmp_path / "checkpoints" / "inceptionv1_places365.pth")
    model = load("inceptionv1_places365")
    assert torch.equal(model.conv2d0_pre_relu_conv.weight, captums["conv1.weight"])


def test_weights_that_miss_are_named(captums):
    state = {name: value for name, value in captums.items() if name != "fc.bias"}
    with pytest.raises(RuntimeError, match=r"softmax2_pre_activation_matmul\.bias"):
        inceptionv1_places365().load_state_dict(state)


def test_copies_and_pickles_are_the_same_network(model):
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2)) * 255
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(image), model(image))
