"""What code written for torch-lucent finds: paths, names, order of arguments, defaults, signs."""

from __future__ import annotations

import importlib
import inspect
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

import lucent
from lucent.errors import LayerError, LucentWarning
from lucent.optvis import objectives, param, render, transform

REQUIRED = inspect.Parameter.empty

#: Positional arguments with their defaults, in torch-lucent's order. `device` is a later addition.
SIGNATURES = {
    "lucent.util.set_seed": {"seed": REQUIRED},
    "lucent.misc.channel_reducer.ChannelReducer": {"n_components": 3, "reduction_alg": "NMF"},
    "lucent.misc.io.show": {"thing": REQUIRED, "domain": (0, 1)},
    "lucent.misc.io.showing.image": {
        "array": REQUIRED,
        "domain": None,
        "width": None,
        "fmt": "png",
    },
    "lucent.misc.io.showing.images": {
        "arrays": REQUIRED,
        "labels": None,
        "domain": None,
        "width": None,
    },
    "lucent.misc.io.showing.textured_mesh": {
        "mesh": REQUIRED,
        "texture": REQUIRED,
        "background": "0xffffff",
    },
    "lucent.misc.io.showing.animate_sequence": {
        "sequence": REQUIRED,
        "domain": (0, 1),
        "fmt": "png",
    },
    "lucent.misc.io.serialize_array.serialize_array": {
        "array": REQUIRED,
        "domain": (0, 1),
        "fmt": "png",
        "quality": 70,
    },
    "lucent.misc.io.serialize_array.array_to_jsbuffer": {"array": REQUIRED},
    "lucent.misc.io.collapse_channels.collapse_channels": {"array": REQUIRED},
    "lucent.misc.io.collapse_channels.sparse_channels_to_rgb": {"array": REQUIRED},
    "lucent.misc.io.collapse_channels.hue_to_rgb": {"ang": REQUIRED, "warp": True},
    "lucent.modelzoo.util.get_model_layers": {"model": REQUIRED, "getLayerRepr": False},
    "lucent.modelzoo.inceptionv1": {
        "pretrained": False,
        "progress": True,
        "redirected_ReLU": True,
    },
    "lucent.optvis.render.render_vis": {
        "model": REQUIRED,
        "objective_f": REQUIRED,
        "param_f": None,
        "optimizer": None,
        "transforms": None,
        "thresholds": (512,),
        "verbose": False,
        "preprocess": True,
        "progress": True,
        "show_image": True,
        "save_image": False,
        "image_name": None,
        "show_inline": False,
        "fixed_image_size": None,
    },
    "lucent.optvis.render.tensor_to_img_array": {"tensor": REQUIRED},
    "lucent.optvis.render.view": {"tensor": REQUIRED},
    "lucent.optvis.render.export": {"tensor": REQUIRED, "image_name": None},
    "lucent.optvis.render.ModuleHook": {"module": REQUIRED},
    "lucent.optvis.render.hook_model": {
        "model": REQUIRED,
        "image_f": REQUIRED,
        "return_hooks": False,
    },
    "lucent.optvis.render.show": {"thing": REQUIRED, "domain": (0, 1)},
    "lucent.optvis.objectives.Objective": {
        "objective_func": REQUIRED,
        "name": "",
        "description": "",
    },
    "lucent.optvis.objectives.as_objective": {"obj": REQUIRED},
    "lucent.optvis.objectives.handle_batch": {"batch": None},
    "lucent.optvis.objectives.channel": {"layer": REQUIRED, "n_channel": REQUIRED, "batch": None},
    "lucent.optvis.objectives.neuron": {
        "layer": REQUIRED,
        "n_channel": REQUIRED,
        "x": None,
        "y": None,
        "batch": None,
    },
    "lucent.optvis.objectives.neuron_weight": {
        "layer": REQUIRED,
        "weight": REQUIRED,
        "x": None,
        "y": None,
        "batch": None,
    },
    "lucent.optvis.objectives.channel_weight": {
        "layer": REQUIRED,
        "weight": REQUIRED,
        "batch": None,
    },
    "lucent.optvis.objectives.localgroup_weight": {
        "layer": REQUIRED,
        "weight": None,
        "x": None,
        "y": None,
        "wx": 1,
        "wy": 1,
        "batch": None,
    },
    "lucent.optvis.objectives.direction": {
        "layer": REQUIRED,
        "direction": REQUIRED,
        "batch": None,
    },
    "lucent.optvis.objectives.direction_neuron": {
        "layer": REQUIRED,
        "direction": REQUIRED,
        "x": None,
        "y": None,
        "batch": None,
    },
    "lucent.optvis.objectives.blur_input_each_step": {},
    "lucent.optvis.objectives.channel_interpolate": {
        "layer1": REQUIRED,
        "n_channel1": REQUIRED,
        "layer2": REQUIRED,
        "n_channel2": REQUIRED,
    },
    "lucent.optvis.objectives.alignment": {"layer": REQUIRED, "decay_ratio": 2},
    "lucent.optvis.objectives.diversity": {"layer": REQUIRED},
    "lucent.optvis.objectives_util._make_arg_str": {"arg": REQUIRED},
    "lucent.optvis.objectives_util._extract_act_pos": {"acts": REQUIRED, "x": None, "y": None},
    "lucent.optvis.objectives_util._T_handle_batch": {"T": REQUIRED, "batch": None},
    "lucent.optvis.param.image": {
        "w": REQUIRED,
        "h": None,
        "sd": None,
        "batch": None,
        "decorrelate": True,
        "fft": True,
        "channels": None,
        "device": None,
    },
    "lucent.optvis.param.pixel_image": {"shape": REQUIRED, "sd": None, "device": None},
    "lucent.optvis.param.fft_image": {
        "shape": REQUIRED,
        "sd": None,
        "decay_power": 1,
        "device": None,
    },
    "lucent.optvis.param.lowres_tensor": {
        "shape": REQUIRED,
        "underlying_shape": REQUIRED,
        "offset": None,
        "sd": 0.01,
        "device": None,
    },
    "lucent.optvis.param.cppn": {
        "size": REQUIRED,
        "num_output_channels": 3,
        "num_hidden_channels": 24,
        "num_layers": 8,
        "activation_fn": param.CompositeActivation,
        "normalize": False,
        "device": None,
    },
    "lucent.optvis.param.to_valid_rgb": {"image_f": REQUIRED, "decorrelate": False},
    "lucent.optvis.param.rfft2d_freqs": {"h": REQUIRED, "w": REQUIRED},
    "lucent.optvis.param.resize_bilinear_nd": {"t": REQUIRED, "target_shape": REQUIRED},
    "lucent.optvis.param.resize_bilinear_nd.collapse_shape": {
        "shape": REQUIRED,
        "a": REQUIRED,
        "b": REQUIRED,
    },
    "lucent.optvis.param.resize_bilinear_nd.product": {"l": REQUIRED},
    "lucent.optvis.param.upconvGAN": {"name": "fc6", "pretrained": True},
    "lucent.optvis.param.gan.load_statedict_from_online": {"name": "fc6"},
    "lucent.optvis.transform.jitter": {"d": REQUIRED},
    "lucent.optvis.transform.pad": {"w": REQUIRED, "mode": "reflect", "constant_value": 0.5},
    "lucent.optvis.transform.random_scale": {"scales": REQUIRED},
    "lucent.optvis.transform.random_rotate": {"angles": REQUIRED, "units": "degrees"},
    "lucent.optvis.transform.compose": {"transforms": REQUIRED},
    "lucent.optvis.transform.normalize": {},
    "lucent.optvis.transform.preprocess_inceptionv1": {},
}

#: Arguments that torch-lucent did not have; only by name, so that they cannot change a meaning.
ADDED = {
    "lucent.optvis.render.render_vis": {
        "seed": None,
        "callbacks": (),
        "relu_override": True,
        "draws": None,
        "preset": None,
        "layout": None,
    },
    "lucent.optvis.objectives.direction": {"cossim_pow": None},
    "lucent.optvis.objectives.direction_neuron": {"cossim_pow": None},
}

#: The same thing by several paths.
SAME = [
    ("lucent.optvis.param.images.image", "lucent.optvis.param.image"),
    ("lucent.optvis.param.spatial.pixel_image", "lucent.optvis.param.pixel_image"),
    ("lucent.optvis.param.spatial.fft_image", "lucent.optvis.param.fft_image"),
    ("lucent.optvis.param.spatial.rfft2d_freqs", "lucent.optvis.param.rfft2d_freqs"),
    ("lucent.optvis.param.lowres.lowres_tensor", "lucent.optvis.param.lowres_tensor"),
    ("lucent.optvis.param.color.to_valid_rgb", "lucent.optvis.param.to_valid_rgb"),
    ("lucent.optvis.param.cppn.CompositeActivation", "lucent.optvis.param.CompositeActivation"),
    ("lucent.optvis.param.cppn.cppn", "lucent.optvis.param.cppn"),
    ("lucent.optvis.param.gan.upconvGAN", "lucent.optvis.param.upconvGAN"),
    (
        "lucent.optvis.param.resize_bilinear_nd.resize_bilinear_nd",
        "lucent.optvis.param.resize_bilinear_nd",
    ),
    ("lucent.misc.io.showing.show", "lucent.misc.io.show"),
    ("lucent.optvis.render.show", "lucent.misc.io.show"),
    (
        "lucent.misc.io.showing.serialize_array",
        "lucent.misc.io.serialize_array.serialize_array",
    ),
    (
        "lucent.misc.io.showing.array_to_jsbuffer",
        "lucent.misc.io.serialize_array.array_to_jsbuffer",
    ),
    (
        "lucent.misc.io.showing.collapse_channels",
        "lucent.misc.io.collapse_channels.collapse_channels",
    ),
    ("lucent.modelzoo.inceptionv1.InceptionV1.InceptionV1", "lucent.modelzoo.inceptionv1"),
]

HELPER_LAYERS = (
    "AVGPoolLayer",
    "AdditionLayer",
    "CatLayer",
    "DropoutLayer",
    "LocalResponseNormLayer",
    "MaxPool2dLayer",
    "PadLayer",
    "RedirectedReLU",
    "RedirectedReluLayer",
    "ReluLayer",
    "SoftMaxLayer",
)

#: What star imports of torch-lucent brought along from other packages, and its version constants.
LEAKED = {
    "lucent.optvis.objectives": ("np", "torch", "F", "decorator"),
    "lucent.optvis.param": ("np", "torch", "F", "OrderedDict", "TORCH_VERSION"),
    "lucent.optvis.transform": ("np", "F", "kornia", "translate", "KORNIA_VERSION"),
}


def found(path):
    """The thing at a path of torch-lucent's, where modules come before attributes of that name."""
    parts = path.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            thing = getattr(thing, name)
        return thing
    raise AssertionError(path)


def parameters(path, *kinds):
    return {
        parameter.name: parameter.default
        for parameter in inspect.signature(found(path)).parameters.values()
        if parameter.kind in kinds
    }


@pytest.mark.parametrize("path", SIGNATURES)
def test_arguments_keep_their_order_and_defaults(path):
    positional = parameters(path, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    assert list(positional.items()) == list(SIGNATURES[path].items())


@pytest.mark.parametrize("path", ADDED)
def test_new_arguments_are_by_name_only(path):
    named = parameters(path, inspect.Parameter.KEYWORD_ONLY)
    assert {name: named[name] for name in ADDED[path]} == ADDED[path]


@pytest.mark.parametrize(("here", "there"), SAME)
def test_names_are_the_same_thing_by_every_path(here, there):
    assert found(here) is found(there)


def test_modules_are_attributes_of_their_packages():
    parts = (lucent.optvis.objectives, lucent.optvis.param, lucent.optvis.transform)
    assert parts == (objectives, param, transform)
    assert lucent.optvis.render is render
    assert callable(lucent.modelzoo.inceptionv1)


def test_functions_hide_the_modules_of_their_name():
    import lucent.optvis.param.cppn
    import lucent.optvis.param.resize_bilinear_nd  # noqa: F401 - rebinds the attribute

    assert not isinstance(param.cppn, ModuleType)
    assert not isinstance(param.resize_bilinear_nd, ModuleType)


def test_modules_of_misc_io_stay_modules():
    from lucent.misc import io
    from lucent.misc.io import collapse_channels, serialize_array, showing

    assert {*map(type, (collapse_channels, serialize_array, showing))} == {ModuleType}
    assert callable(io.show)


def test_private_names_that_scripts_used():
    from lucent.misc.io.serialize_array import _normalize_array, _serialize_normalized_array
    from lucent.misc.io.showing import _display_html, _image_html, _image_url

    functions = (_normalize_array, _serialize_normalized_array, _display_html, _image_html)
    assert all(map(callable, (*functions, _image_url)))


def test_types_of_javascript_arrays():
    from lucent.misc.io.serialize_array import JS_ARRAY_TYPES

    assert len(JS_ARRAY_TYPES) == 8
    assert {np.dtype(name) for name in JS_ARRAY_TYPES} == {
        np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32)
    } | {np.dtype("float32"), np.dtype("float64")}


@pytest.mark.parametrize("name", HELPER_LAYERS)
def test_helper_layers_of_inceptionv1(name):
    from lucent.modelzoo.inceptionv1 import helper_layers

    kind = torch.autograd.Function if name == "RedirectedReLU" else nn.Module
    assert issubclass(getattr(helper_layers, name), kind)


def test_the_package_of_inceptionv1():
    from lucent.modelzoo.inceptionv1 import InceptionV1, model_urls

    assert issubclass(InceptionV1, nn.Module)
    assert model_urls["inceptionv1"].endswith("/inception5h.pth")


def test_torchvision_comes_along():
    import torchvision

    from lucent import modelzoo

    assert modelzoo.mobilenet_v2 is torchvision.models.mobilenet_v2
    assert modelzoo.ResNet is torchvision.models.ResNet
    assert modelzoo.detection is torchvision.models.detection


def test_all_public_names_of_torchvision_are_in_a_star_import():
    import torchvision

    names = {}
    exec("from lucent.modelzoo import *", names)
    assert {name for name in vars(torchvision.models) if not name.startswith("_")} <= names.keys()
    assert {"inceptionv1", "get_model_layers"} <= names.keys()


def test_version_is_a_text():
    assert lucent.__version__ == "1.0.0.dev0"


@pytest.mark.parametrize("module", LEAKED)
def test_star_imports_leak_no_names_of_others(module):
    names = {}
    exec(f"from {module} import *", names)
    assert names.keys().isdisjoint(LEAKED[module])
    assert not [name for name, thing in names.items() if isinstance(thing, ModuleType)]


@pytest.mark.parametrize("module", LEAKED)
def test_version_constants_are_gone(module):
    constants = {"TORCH_VERSION", "KORNIA_VERSION", "kornia"}
    assert constants.isdisjoint(vars(importlib.import_module(module)))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("lucent.util", "DEFAULT_DEVICE"),
        ("lucent.optvis.param", "device"),
        ("lucent.optvis.param.spatial", "device"),
        ("lucent.optvis.transform", "device"),
    ],
)
def test_the_device_chosen_at_import_is_found_with_a_warning(module, name):
    expected = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    with pytest.warns(LucentWarning, match=f"{module}.{name} is kept for old scripts"):
        assert getattr(importlib.import_module(module), name) == expected
    with pytest.raises(AttributeError, match=f"'{module}' has no attribute 'devise'"):
        _ = importlib.import_module(module).devise


def test_private_helpers_of_transforms_are_found():
    assert [transform._roundup(value) for value in (2.1, 2.0, 1.1 * 10)] == [3, 2, 11]
    assert transform._rads2angle(np.pi, "rads") == pytest.approx(180)
    assert transform._rads2angle(30, "degrees") == 30


# Rendering: what comes back.


def net():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return model.eval()


QUIET = {"progress": False, "show_image": False, "preprocess": False, "fixed_image_size": 16}


def test_render_vis_returns_one_array_per_threshold():
    images = render.render_vis(net(), "0:1", thresholds=(1, 2), **QUIET)
    assert isinstance(images, list)
    assert [(array.shape, array.dtype) for array in images] == [((1, 128, 128, 3), np.float32)] * 2
    assert all(0 <= array.min() <= array.max() <= 1 for array in images)


def test_render_vis_takes_thresholds_in_any_order_and_white_space_in_names():
    def image():
        return param.image(8, batch=2)

    images = render.render_vis(net(), " 0 :1", image, thresholds=[3, 1], **QUIET)
    assert [array.shape for array in images] == [(2, 8, 8, 3)] * 2
    assert images.history.steps == [1, 3]


def test_arrays_have_the_channels_last():
    array = render.tensor_to_img_array(torch.rand(2, 3, 4, 5, requires_grad=True))
    assert isinstance(array, np.ndarray)
    assert (array.shape, array.dtype) == ((2, 4, 5, 3), np.float32)


def test_a_module_hook_keeps_the_last_output():
    module = nn.ReLU()
    hook = render.ModuleHook(module)
    assert (hook.module, hook.features) == (None, None)
    module(torch.tensor([-1.0, 2.0]))
    hook.close()
    module(torch.tensor([3.0]))
    assert hook.module is module
    assert hook.features.tolist() == [0, 2]
    hook.hook.remove()


def test_hook_model_gives_activations_by_name():
    model = net()
    T = render.hook_model(model, lambda: torch.zeros(1, 3, 8, 8))
    model(torch.rand(1, 3, 8, 8))
    assert T("input").shape == (1, 3, 8, 8)
    assert T("0").shape == (1, 4, 6, 6)
    assert T("labels").shape == (1, 4)
    with pytest.raises(LayerError, match="nowhere"):
        T("nowhere")


def test_hook_model_returns_the_hooks_too():
    model = net()
    T, hooks = render.hook_model(model, lambda: torch.zeros(1, 3, 8, 8), return_hooks=True)
    for hook in hooks.values():
        hook.close()
    assert callable(T)
    assert not any(module._forward_hooks for module in model.modules())


# Objectives: losses, to be minimised.

B, C, H, W = 3, 4, 5, 6


@pytest.fixture
def acts():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(B, C, H, W, generator=generator, dtype=torch.float64)


WEIGHT = torch.arange(1.0, C + 1)


def gram(a):
    """Gram matrix of the channels of (C, H, W), with Frobenius norm 1."""
    flat = a.flatten(1)
    product = flat @ flat.T
    return product / product.norm()


def similarity(a):
    grams = [gram(image) for image in a]
    pairs = [(g * h).sum() for i, g in enumerate(grams) for j, h in enumerate(grams) if i != j]
    return sum(pairs) / len(a)


def misalignment(a, ratio):
    distances = [(d, i) for d in range(1, 5) for i in range(len(a) - d)]
    return sum((a[i] - a[i + d]).square().mean() / ratio**d for d, i in distances)


def blurred(image):
    kernel = torch.full((3, 3), 0.5, dtype=image.dtype)
    kernel[1, 1] = 1
    kernel = (kernel / kernel.sum()).expand(image.shape[1], 1, 3, 3)
    return nn.functional.conv2d(image, kernel, padding=1, groups=image.shape[1])


cosine = nn.functional.cosine_similarity

#: The loss of each factory of torch-lucent's on activations a.
LOSSES = {
    "channel": (("l", 1), lambda a: -a[:, 1].mean()),
    "channel of one image": (("l", 1, 2), lambda a: -a[2, 1].mean()),
    "neuron at column and row": (("l", 1, 4, 2), lambda a: -a[:, 1, 2, 4].mean()),
    "neuron in the centre": (("l", 1), lambda a: -a[:, 1, H // 2, W // 2].mean()),
    "neuron_weight": (("l", WEIGHT, 4, 2), lambda a: -(a[:, :, 2, 4] * WEIGHT).mean()),
    "neuron_weight of all": (("l", None, 4, 2), lambda a: -a[:, :, 2, 4].mean()),
    "channel_weight": (("l", WEIGHT), lambda a: -(a * WEIGHT.view(1, -1, 1, 1)).mean()),
    "localgroup_weight": (("l", None, 1, 2, 3, 2), lambda a: -a[:, :, 2:4, 1:4].mean()),
    "localgroup_weight weighted": (
        ("l", WEIGHT, 1, 2, 3, 2),
        lambda a: -(a[:, :, 2:4, 1:4] * WEIGHT.view(1, -1, 1, 1)).mean(),
    ),
    "direction": (("l", WEIGHT), lambda a: -cosine(a, WEIGHT.view(1, -1, 1, 1)).mean()),
    "direction_neuron": (
        ("l", WEIGHT, 4, 2),
        lambda a: -cosine(a[:, :, 2, 4], WEIGHT[None]).mean(),
    ),
    "channel_interpolate": (
        ("l", 1, "l", 2),
        lambda a: (
            -sum(
                (1 - w) * image[1].mean() + w * image[2].mean()
                for image, w in zip(a, (0, 0.5, 1), strict=True)
            )
        ),
    ),
    "alignment": (("l",), lambda a: misalignment(a, 2)),
    "alignment with another decay": (("l", 3), lambda a: misalignment(a, 3)),
    "diversity": (("l",), lambda a: -similarity(a)),
}


@pytest.mark.parametrize("case", LOSSES)
def test_objectives_are_losses(case, acts):
    arguments, expected = LOSSES[case]
    factory = getattr(objectives, case.partition(" ")[0])
    torch.testing.assert_close(factory(*arguments)({"l": acts}.get), expected(acts))


def test_blur_input_each_step_is_a_loss_of_the_image(acts):
    # At the border Lucid divides by the part of the kernel that lies on the image.
    error = (acts - blurred(acts) / blurred(torch.ones_like(acts))).square().sum()
    loss = objectives.blur_input_each_step()({"input": acts}.get)
    torch.testing.assert_close(loss, -0.5 * error)


def test_channel_and_direction_work_on_vectors():
    logits = torch.arange(6.0).view(2, 3)
    assert objectives.channel("l", 2)({"l": logits}.get) == -3.5
    direction = objectives.direction("l", torch.tensor([0.0, 0.0, 2.0]))({"l": logits[:1]}.get)
    torch.testing.assert_close(direction, torch.tensor(-2 / 5**0.5))


@pytest.mark.parametrize("path", [path for path in SIGNATURES if ".objectives." in path])
def test_factories_return_objectives_that_are_named_like_them(path):
    name = path.rpartition(".")[2]
    if name in ("Objective", "as_objective", "handle_batch"):
        return
    values = {"layer": "conv", "layer1": "a", "layer2": "b", "n_channel": 0, "n_channel1": 0}
    values |= {"n_channel2": 1, "weight": WEIGHT, "direction": WEIGHT}
    required = [values[key] for key, default in SIGNATURES[path].items() if default is REQUIRED]
    made = found(path)(*required)
    assert isinstance(made, objectives.Objective)
    assert made.name == name
    assert made.description.startswith(name.title() + " [")


def test_descriptions_list_all_arguments():
    assert objectives.channel("mixed4a", 476, 1).description == "Channel [mixed4a, 476, 1]"
    long = objectives.channel("mixed4a_pre_relu", 476)
    assert long.description == "Channel [..., 476, None]"


def test_as_objective_understands_strings():
    made = objectives.as_objective(" conv :1")
    assert made({"conv": torch.eye(2).view(1, 2, 2, 1)}.get) == -0.5
    assert objectives.as_objective(made) is made


def test_wrap_objective_is_called():
    @objectives.wrap_objective()
    def brightness(layer, gain=2):
        return lambda T: -gain * T(layer).mean()

    made = brightness("l")
    assert made({"l": torch.ones(1)}.get) == -2
    assert (made.name, made.description) == ("brightness", "Brightness [l, 2]")


def test_handle_batch_cuts_the_batch(acts):
    @objectives.handle_batch(1)
    def inner(T):
        return T("l").sum()

    torch.testing.assert_close(inner({"l": acts}.get), acts[1:2].sum())


def test_the_blur_of_objectives(acts):
    expected = blurred(acts) / blurred(torch.ones_like(acts))
    torch.testing.assert_close(objectives._torch_blur(acts, 3), expected)


def test_private_helpers_of_objectives(acts):
    from lucent.optvis import objectives_util as util

    assert [util._make_arg_str(arg) for arg in ("a", "b" * 16, "a\nb")] == ["a", "...", "..."]
    assert torch.equal(util._extract_act_pos(acts, 4, 2), acts[:, :, 2:3, 4:5])
    assert torch.equal(util._extract_act_pos(acts), acts[:, :, H // 2, W // 2, None, None])
    assert torch.equal(util._T_handle_batch({"l": acts}.get, 1)("l"), acts[1:2])
    assert torch.equal(util._T_handle_batch({"l": acts}.get)("l"), acts)


# Transforms: functions of (B, C, H, W).


def test_standard_transforms_are_a_list_that_can_be_copied_and_extended():
    mine = transform.standard_transforms.copy()
    mine.append(transform.normalize())
    assert isinstance(transform.standard_transforms, list)
    assert len(transform.standard_transforms) == 5
    assert all(callable(made) for made in mine)


def test_shapes_and_values_of_transforms():
    ones = torch.ones(1, 3, 3, 3)
    assert transform.pad(1)(ones).shape == (1, 3, 5, 5)
    assert transform.pad(1, mode="constant")(ones)[0, 0, 0].tolist() == [0.5] * 5
    assert transform.jitter(2)(ones).shape == (1, 3, 1, 1)
    small = transform.random_scale([0.33])(ones)
    assert torch.equal(small, centred_one())
    assert transform.compose([transform.pad(1), transform.pad(1)])(ones).shape == (1, 3, 7, 7)


def centred_one():
    picture = torch.zeros(1, 3, 3, 3)
    picture[..., 1, 1] = 1
    return picture


def test_a_quarter_turn_is_counter_clockwise_and_exact():
    right = torch.tensor([[[[0, 0, 1], [0, 0, 2], [0, 0, 3]]]])
    turned = transform.random_rotate([90])(right)
    assert turned.tolist() == [[[[1, 2, 3], [0, 0, 0], [0, 0, 0]]]]
    assert turned.is_floating_point()


@pytest.mark.parametrize("units", ["radians", "rads", "RAD"])
def test_rotations_in_radians(units):
    square = torch.rand(1, 1, 5, 5)
    torch.testing.assert_close(
        transform.random_rotate([0.3], units=units)(square),
        transform.random_rotate([np.degrees(0.3)])(square),
    )


def test_constants_of_normalisation():
    grey = torch.full((1, 3, 1, 1), 0.5)
    expected = torch.tensor(
        [(0.5 - m) / s for m, s in [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]]
    )
    torch.testing.assert_close(transform.normalize()(grey).flatten(), expected)
    bytes_centred = transform.preprocess_inceptionv1()(grey).flatten()
    torch.testing.assert_close(bytes_centred, torch.full((3,), 0.5 * 255 - 117))


# Parametrizations: pairs of tensors to optimise and a function that gives the image.


PAIRS = {
    "image": lambda: param.image(8),
    "image that is not square": lambda: param.image(8, 6),
    "image of pixels": lambda: param.image(8, fft=False),
    "pixel_image": lambda: param.pixel_image((1, 3, 8, 8)),
    "fft_image": lambda: param.fft_image((1, 3, 8, 8)),
    "lowres_tensor": lambda: param.lowres_tensor((1, 3, 8, 8), (1, 3, 2, 2)),
    "cppn": lambda: param.cppn(8),
}


@pytest.mark.parametrize("name", PAIRS)
def test_parametrizations_are_pairs(name):
    params, image_f = PAIRS[name]()
    assert all(tensor.requires_grad and tensor.is_leaf for tensor in params)
    assert image_f().shape == (1, 3, 6 if "not square" in name else 8, 8)
    image_f().sum().backward()
    assert all(tensor.grad is not None for tensor in params)


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_can_be_indexed(name):
    pair = PAIRS[name]()
    params, image_f = pair
    assert [*map(id, pair[0])] == [*map(id, params)]
    assert torch.equal(pair[1](), image_f())


def test_a_device_is_taken():
    made = [
        param.image(4, device="cpu"),
        param.pixel_image((1, 3, 4, 4), device=torch.device("cpu")),
        param.fft_image((1, 3, 4, 4), device="cpu"),
        param.lowres_tensor((1, 3, 4, 4), (1, 3, 2, 2), device="cpu"),
        param.cppn(4, device="cpu"),
    ]
    assert {tensor.device.type for params, _ in made for tensor in params} == {"cpu"}


@pytest.mark.parametrize("name", PAIRS)
def test_parameters_are_a_list_that_can_grow(name):
    params, _ = PAIRS[name]()
    more, _ = param.pixel_image((1, 1, 2, 2))
    before = list(params)
    params += more
    assert [*map(id, params)] == [*map(id, [*before, *more])]


def test_pixel_image_takes_any_rank_and_has_small_noise():
    params, image_f = param.pixel_image((1, 1))
    assert image_f().shape == params[0].shape == (1, 1)
    assert 0.0095 < param.pixel_image((1, 3, 128, 128))[1]().std() < 0.0105


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((1, 1, 1, 1), (1, 1, 1, 1, 2)), ((2, 3, 6, 8), (2, 3, 6, 5, 2))],
)
def test_shape_of_the_fourier_coefficients(shape, expected):
    (coefficients,), _ = param.fft_image(shape)
    assert coefficients.shape == expected


@pytest.mark.parametrize("offset", [None, 5, [1, False, 1, True], (0, 0, 2, 2)])
def test_lowres_tensor_has_the_shape_asked_for(offset):
    given = list(offset) if isinstance(offset, list) else offset
    params, image_f = param.lowres_tensor((1, 3, 12, 12), (1, 3, 4, 4), offset=offset)
    assert params[0].shape == (1, 3, 4, 4)
    assert image_f().shape == (1, 3, 12, 12)
    assert offset == given


def test_a_cppn_begins_as_plain_grey():
    params, image_f = param.cppn(5)
    assert torch.equal(image_f(), torch.full((1, 3, 5, 5), 0.5))
    assert sum(tensor.numel() for tensor in params) == 7275


def test_composite_activation():
    x = torch.tensor([1.0]).view(1, 1, 1, 1)
    angle = np.pi / 4
    expected = torch.tensor([angle / 0.67, angle**2 / 0.6]).view(1, 2, 1, 1)
    torch.testing.assert_close(param.CompositeActivation()(x), expected)


def test_colours():
    matrix = np.array([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]], np.float32)
    assert np.array_equal(np.float32(param.color_correlation_svd_sqrt), matrix)
    norm = np.linalg.norm(matrix, axis=0).max()
    np.testing.assert_allclose(param.max_norm_svd_sqrt, norm, rtol=1e-6)
    np.testing.assert_allclose(param.color_correlation_normalized, matrix / norm, rtol=1e-6)
    np.testing.assert_allclose(param.color_mean, [0.48, 0.46, 0.41])
    raw = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    rgb = param.to_valid_rgb(lambda: raw, decorrelate=True)()
    expected = torch.from_numpy(matrix / norm) @ torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(rgb.flatten(), expected.sigmoid())
    assert torch.equal(param.to_valid_rgb(lambda: raw)(), raw.sigmoid())


def test_rfft2d_freqs_is_an_array_of_numpy():
    assert isinstance(param.rfft2d_freqs(4, 5), np.ndarray)


def test_resize_bilinear_nd_and_its_helpers():
    from lucent.optvis.param.resize_bilinear_nd import collapse_shape, product

    ramp = torch.arange(2.0).view(2, 1, 1, 1)
    assert param.resize_bilinear_nd(ramp, (5, 1, 1, 1)).flatten().tolist() == [
        0,
        0.25,
        0.5,
        0.75,
        1,
    ]
    assert product([2, 3, 4]) == 24
    assert list(collapse_shape([2, 3, 4, 5], 1, 3)) == [2, 3, 4, 5]
    assert list(collapse_shape([2, 3, 4, 5, 6], 2, 4)) == [6, 4, 5, 6]


@pytest.mark.parametrize(("name", "codelen"), [("fc6", 4096), ("fc8", 1000), ("pool5", 256)])
def test_the_generator_has_its_layers(name, codelen):
    with torch.device("meta"):
        network = param.upconvGAN(name, pretrained=False)
    assert (network.name, network.codelen) == (name, codelen)
    keys = [key for key, _ in network.G.named_children()]
    assert keys[:2] == (["Rconv6", "Rrelu6"] if name == "pool5" else ["defc7", "relu_defc7"])
    assert keys[-1] == "deconv0"
    assert not any(tensor.requires_grad for tensor in network.G.parameters())


def test_constants_of_the_generator():
    from lucent.optvis.param import gan

    assert gan.RGB_mean.tolist() == [[[[123.0]], [[117.0]], [[104.0]]]]
    assert gan.model_urls.keys() == {"pool5", "fc6", "fc7", "fc8"}
    assert gan.View(2, 3)(torch.zeros(6)).shape == (2, 3)


# misc


def test_channel_reducer_works_on_the_last_axis():
    from lucent.misc.channel_reducer import ChannelReducer

    acts = np.random.default_rng(0).random((4, 5, 6, 7))
    reducer = ChannelReducer(2, tol=0.01)
    assert reducer.fit_transform(acts).shape == (4, 5, 6, 2)
    assert reducer.transform(acts[0]).shape == (5, 6, 2)
    assert reducer(acts).shape == (4, 5, 6, 2)
    assert reducer.components.shape == (2, 7)
    assert reducer._is_fit
    assert "components" in dir(reducer)


@pytest.mark.parametrize("arguments", [(0,), (1.5,), (3, "NOPE")])
def test_channel_reducer_refuses_with_a_value_error(arguments):
    from lucent.misc.channel_reducer import ChannelReducer

    with pytest.raises(ValueError):  # noqa: PT011 - the texts are tested elsewhere
        ChannelReducer(*arguments)


def test_serialized_arrays():
    from lucent.misc.io.serialize_array import array_to_jsbuffer, serialize_array

    assert serialize_array(np.zeros((2, 2))).startswith(b"\x89PNG")
    assert "Float32Array" in array_to_jsbuffer(np.zeros(2, np.float32))
    for wrong in (np.zeros((2, 2)), np.zeros(2, np.complex64)):
        with pytest.raises(TypeError):
            array_to_jsbuffer(wrong)


def test_collapsed_channels_keep_their_norm():
    from lucent.misc.io.collapse_channels import collapse_channels

    acts = np.random.default_rng(0).normal(size=(3, 4, 10))
    collapsed = collapse_channels(acts)
    assert collapsed.shape == (3, 4, 3)
    norm = np.linalg.norm(acts, axis=-1)
    np.testing.assert_allclose(np.linalg.norm(collapsed, axis=-1), norm, rtol=1e-3)


def test_layers_of_a_model_are_listed_parents_first():
    from lucent.modelzoo.util import get_model_layers

    model = nn.Sequential(nn.Sequential(nn.ReLU()), nn.Flatten())
    assert get_model_layers(model) == ["0", "0_0", "1"]
    assert get_model_layers(model, getLayerRepr=True)["0_0"] == "ReLU()"
