"""Networks by name, and the public names of `lucent.modelzoo`."""

from __future__ import annotations

import re
import sys
from collections import OrderedDict

import pytest
import torch
import torchvision
from process import run_python
from torch import nn

import lucent.modelzoo as zoo
from lucent.errors import InputError, WeightsError
from lucent.modelzoo import get_model_layers, load, names

# --- names and load ---


def test_names_begin_with_lucents_own_and_torchvisions_classifiers():
    known = names()
    own = ["inceptionv1", "inceptionv1_places365", "synthnet", "synthvit"]
    theirs = torchvision.models.list_models(module=torchvision.models)
    assert known[: len(own) + len(theirs)] == own + theirs
    assert "resnet50" in known
    assert "fasterrcnn_resnet50_fpn" not in known
    assert len(set(known)) == len(known)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("mnasnet?_", ["mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3"]),
        ("VGG*_bn", ["vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"]),
        ("synth", ["synthnet", "synthvit"]),
        ("nothing", []),
    ],
)
def test_names_by_pattern(pattern, found):
    assert [name for name in names(pattern) if "/" not in name] == found


@pytest.mark.parametrize("name", ["squeezenet1_1", "torchvision/squeezenet1_1", "SqueezeNet1_1"])
def test_a_network_is_built_in_eval_mode(name):
    model = load(name, pretrained=False)
    assert isinstance(model, torchvision.models.SqueezeNet)
    assert not model.training


def test_own_networks_are_loaded_by_name():
    assert isinstance(load("inceptionv1", pretrained=False), zoo.inceptionv1)
    assert zoo.spec_of(load("synthnet")).name == "synthnet"


def test_an_unknown_name_suggests_the_closest():
    with pytest.raises(InputError, match=r"no network 'resnet5O'.*Did you mean 'resnet50'"):
        load("resnet5O")
    with pytest.raises(InputError, match=r"'vit_tiny_patch16_22'.*'timm/vit_tiny_patch16_224'"):
        load("vit_tiny_patch16_22")
    with pytest.raises(InputError, match=r"no network 'qqq'.*inceptionv1.*lucent models"):
        load("qqq")
    with pytest.raises(InputError, match=r"no network 'torchvision/inceptionv1'"):
        load("torchvision/inceptionv1")


def test_weights_of_a_file_are_loaded_in_the_dtype_of_the_model(tmp_path):
    source = torchvision.models.squeezenet1_1()
    halves = {name: value.half() for name, value in source.state_dict().items()}
    torch.save(halves, tmp_path / "a.pth")
    model = load("squeezenet1_1", weights=tmp_path / "a.pth")
    for name, value in model.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, halves[name].float())


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_networks_with_auxiliary_classifiers_load_like_torchvision_builds_them(tmp_path, name):
    options = {"weights": None, "init_weights": False, "transform_input": True}
    source = torchvision.models.get_model(name, aux_logits=True, **options).eval()
    torch.save(source.state_dict(), tmp_path / "a.pth")
    model = load(name, weights=tmp_path / "a.pth")
    image = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model(image), source(image))
    assert not [layer for layer in get_model_layers(model) if layer.lower().startswith("aux")]


def test_segmentation_and_video_networks_of_torchvision_by_name(tmp_path):
    name = "deeplabv3_mobilenet_v3_large"
    options = {"weights": None, "weights_backbone": None}
    source = torchvision.models.get_model(name, aux_loss=True, **options)
    assert any(key.startswith("aux_classifier") for key in source.state_dict())
    torch.save(source.state_dict(), tmp_path / "a.pth")
    model = load(f"torchvision/{name}", weights=tmp_path / "a.pth")
    assert torch.equal(model.classifier[4].weight, source.classifier[4].weight)
    assert isinstance(
        load("torchvision/mc3_18", pretrained=False), torchvision.models.video.VideoResNet
    )


def test_old_names_in_torchvisions_densenet_files_are_understood(tmp_path):
    source = torchvision.models.densenet121()
    old = OrderedDict(
        (re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)\.", r"\1.\2.", name), value)
        for name, value in source.state_dict().items()
    )
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, tmp_path / "a.pth")
    model = load("densenet121", weights=tmp_path / "a.pth")
    for name, value in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


def test_a_vision_transformer_is_built_for_the_size_of_its_weights(tmp_path):
    # 3 x 3 patches of 32 pixels and the class token. All else is missing, but has the right shape.
    state = {
        "encoder.pos_embedding": torch.zeros(1, 10, 768),
        "conv_proj.weight": torch.zeros(768, 3, 32, 32),
    }
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="does not fit VisionTransformer: class_token is mis"):
        load("vit_b_32", weights=tmp_path / "a.pth")


def test_published_weights_come_from_the_folder_of_torch_hub(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    folder = tmp_path / "checkpoints"
    with pytest.raises(WeightsError, match=r"squeezenet1_1-b8a52dc0\.pth.*checkpoints"):
        load("squeezenet1_1")
    # A file whose hash does not fit its name is not trusted.
    torch.save(
        torchvision.models.squeezenet1_1().state_dict(), folder / "squeezenet1_1-b8a52dc0.pth"
    )
    with pytest.raises(WeightsError, match="could not be downloaded"):
        load("squeezenet1_1")


# --- files of the user ---

NETWORK = """
from __future__ import annotations
from dataclasses import dataclass
from torch import nn
from widths import WIDTH  # a neighbour of this file

@dataclass
class Options:
    width: int = WIDTH

def build():
    return nn.Sequential(nn.Conv2d(3, Options().width, 1))

class Net(nn.Linear):
    def __init__(self):
        super().__init__(2, 3)

def number():
    return 7

def late():
    from widths import WIDTH
    return nn.Linear(2, WIDTH)

def wide(width, *others, depth=1):
    return nn.Linear(2, width)
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "widths.py").write_text("WIDTH = 5")
    (tmp_path / "widths.txt").write_text("no network")
    path = tmp_path / "torch.py"  # must not take the place of the package
    path.write_text(NETWORK)
    return path


def test_a_function_in_a_file_of_the_user_builds_the_network(file):
    before = list(sys.path)
    model = load(f"{file}:build")
    assert (model[0].out_channels, model.training) == (5, False)
    assert type(load(f"{file}:Net")).__name__ == "Net"
    assert sys.path == before
    assert sys.modules["torch"] is torch


def test_a_function_of_the_user_may_import_what_is_beside_its_file(file):
    sys.modules.pop("widths", None)
    assert load(f"{file}:late").out_features == 5
    assert str(file.parent) not in sys.path


def test_weights_go_into_the_network_of_the_user(file, tmp_path):
    source = nn.Linear(2, 3)
    torch.save({"epoch": 3, "state_dict": source.state_dict()}, tmp_path / "a.pth")
    assert torch.equal(load(f"{file}:Net", weights=tmp_path / "a.pth").weight, source.weight)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("gone.py:build", r"no file .*gone\.py: 'FILE\.py:FUNCTION'"),
        ("torch.py:bild", r"torch\.py has no function 'bild'\. Did you mean 'build'"),
        ("torch.py:number", r"number in .*torch\.py returned a int, expected .*Module"),
        ("torch.py:wide", r"wide in .*torch\.py needs width, but is called.*give it a default"),
        ("torch.py", r"Name the function in the file .*torch\.py:FUNCTION'"),
        ("widths.txt", r"Name the network .*: load\(NAME, weights='.*widths\.txt'\)"),
    ],
)
def test_files_of_the_user_that_give_no_network(file, name, text):
    with pytest.raises(InputError, match=text):
        load(str(file.with_name(name)))


def test_a_pickle_is_run_only_if_it_is_trusted(tmp_path):
    torch.save(load("synthnet"), tmp_path / "whole.pth")
    with pytest.raises(WeightsError, match=r"whole\.pth could not be read.*trust=True.*--trust"):
        load("synthnet", weights=tmp_path / "whole.pth")
    model = load("synthnet", weights=tmp_path / "whole.pth", trust=True)
    assert torch.equal(model.head.weight, load("synthnet").head.weight)


def test_real_weights_load_by_name(test_data, photo):
    model = load("squeezenet1_0", weights=test_data / "models" / "squeezenet1_0_imagenet.pth")
    spec = zoo.spec_of(model)
    side = min(photo.shape[2:])
    square = nn.functional.interpolate(photo[..., :side, :side], size=spec.input_size)
    top = model(spec.preprocess(square))[0].topk(5).indices.tolist()
    animals = {
        spec.label_index(text) for text in ("golden retriever", "Labrador", "tabby", "tiger cat")
    }
    assert animals & set(top)


# --- public names ---


def test_every_public_name_of_torchvisions_models_is_there():
    public = [name for name in vars(torchvision.models) if not name.startswith("_")]
    assert len(public) > 200
    for name in public:
        assert getattr(zoo, name) is getattr(torchvision.models, name)
    assert set(public) <= set(dir(zoo))


def test_star_import_brings_lucents_and_torchvisions_names():
    namespace = {}
    exec("from lucent.modelzoo import *", namespace)
    assert namespace["resnet50"] is torchvision.models.resnet50
    assert namespace["detection"] is torchvision.models.detection
    assert namespace["inceptionv1"] is zoo.inceptionv1
    assert namespace["synthnet"] is zoo.synthnet


def test_a_missing_name_suggests_the_closest():
    with pytest.raises(AttributeError, match=r"no attribute 'resnet5O'.*'resnet50'"):
        zoo.resnet5O  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'resnet5O'"):
        from lucent.modelzoo import resnet5O  # noqa: F401


def test_torchvision_is_imported_with_the_first_of_its_names_only(tmp_path):
    code = """
import sys
import lucent.modelzoo
from lucent.modelzoo import ModelSpec, inceptionv1, load, names, spec_of, synthnet
from lucent.modelzoo.util import get_model_layers
spec_of(inceptionv1()).label_index("kit fox")
hasattr(lucent.modelzoo, "__wrapped__")
print("torchvision" in sys.modules, "IPython" in sys.modules)
from lucent.modelzoo import resnet18
print("torchvision" in sys.modules)
"""
    done = run_python("-c", code, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("False False\nTrue\n", "")


# Prints, for both packages that are named like the callable in them, what their paths lead to.
DUALITY = """
import importlib, sys, types
import lucent.modelzoo
for package, inside in (
    ("inceptionv1", "helper_layers"), ("synthnet", "data"), ("synthvit", "model")
):
    path = "lucent.modelzoo." + package
    attribute = getattr(lucent.modelzoo, package)
    print(callable(attribute), isinstance(attribute, types.ModuleType))
    print(isinstance(sys.modules[path], types.ModuleType))
    print(importlib.import_module(path) is sys.modules[path])
    print(getattr(lucent.modelzoo, package) is attribute)
    exec(f"from {path} import {inside} as found")
    print(isinstance(found, types.ModuleType))
"""


@pytest.mark.parametrize(
    "first",
    [
        "from lucent.modelzoo.inceptionv1 import helper_layers, InceptionV1\n"
        "from lucent.modelzoo.synthnet import data, SynthNet\n",
        "import lucent.modelzoo.inceptionv1, lucent.modelzoo.synthnet\n",
        "from lucent.modelzoo import *\n",
    ],
)
def test_a_package_and_the_callable_of_its_name_live_side_by_side(tmp_path, first):
    done = run_python("-c", first + DUALITY, cwd=tmp_path)
    expected = ["True False", "True", "True", "True", "True"]
    assert (done.stdout.splitlines(), done.stderr) == (expected * 3, "")


# --- get_model_layers ---


@pytest.fixture
def nested():
    shared = nn.ReLU()
    inner = nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 4, 1), act=shared))
    return nn.Sequential(OrderedDict(stem=inner, act=shared, none=nn.Identity()))


def test_layers_are_listed_parents_first_with_underscores(nested):
    nested.none = None
    assert get_model_layers(nested) == ["stem", "stem_conv", "stem_act", "act"]


def test_layers_with_their_texts(nested):
    texts = get_model_layers(nested, getLayerRepr=True)
    assert isinstance(texts, OrderedDict)
    assert list(texts) == get_model_layers(nested)
    assert texts["stem_act"] == "ReLU()"
    assert texts["stem"] == repr(nested.stem)
