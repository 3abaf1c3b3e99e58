"""What code written for torch-lucent finds: paths, names, the order of arguments, defaults."""

from __future__ import annotations

import importlib
import inspect

import numpy as np
import pytest
import torch

import lucent
from lucent.optvis import objectives, param, render, transform

REQUIRED = inspect.Parameter.empty

#: Positional arguments with their defaults, in torch-lucent's order.
SIGNATURES = {
    "lucent.util.set_seed": {"seed": REQUIRED},
    "lucent.misc.io.show": {"thing": REQUIRED, "domain": (0, 1)},
    "lucent.modelzoo.util.get_model_layers": {"model": REQUIRED, "getLayerRepr": False},
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
    "lucent.optvis.objectives.channel": {"layer": REQUIRED, "n_channel": REQUIRED, "batch": None},
    "lucent.optvis.objectives.neuron": {
        "layer": REQUIRED,
        "n_channel": REQUIRED,
        "x": None,
        "y": None,
        "batch": None,
    },
    "lucent.optvis.param.image": {
        "w": REQUIRED,
        "h": None,
        "sd": None,
        "batch": None,
        "decorrelate": True,
        "fft": True,
        "channels": None,
    },
    "lucent.optvis.param.pixel_image": {"shape": REQUIRED, "sd": None},
    "lucent.optvis.param.fft_image": {"shape": REQUIRED, "sd": None, "decay_power": 1},
    "lucent.optvis.param.to_valid_rgb": {"image_f": REQUIRED, "decorrelate": False},
    "lucent.optvis.param.rfft2d_freqs": {"h": REQUIRED, "w": REQUIRED},
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
    "lucent.optvis.render.render_vis": {"seed": None, "callbacks": (), "relu_override": True, "draws": 1},
}


def found(path):
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


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
    assert parameters(path, inspect.Parameter.KEYWORD_ONLY) == ADDED[path]


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("lucent.optvis.param.images.image", "lucent.optvis.param.image"),
        ("lucent.optvis.param.spatial.pixel_image", "lucent.optvis.param.pixel_image"),
        ("lucent.optvis.param.spatial.fft_image", "lucent.optvis.param.fft_image"),
        ("lucent.optvis.param.spatial.rfft2d_freqs", "lucent.optvis.param.rfft2d_freqs"),
        ("lucent.optvis.param.color.to_valid_rgb", "lucent.optvis.param.to_valid_rgb"),
        ("lucent.misc.io.showing.show", "lucent.misc.io.show"),
        ("lucent.optvis.render.show", "lucent.misc.io.show"),
        ("lucent.modelzoo.inceptionv1.InceptionV1.InceptionV1", "lucent.modelzoo.inceptionv1"),
    ],
)
def test_names_are_the_same_thing_by_every_path(here, there):
    assert found(here) is found(there)


def test_modules_are_attributes_of_their_packages():
    parts = (lucent.optvis.objectives, lucent.optvis.param, lucent.optvis.transform)
    assert parts == (objectives, param, transform)
    assert lucent.optvis.render is render
    assert callable(lucent.modelzoo.inceptionv1)


def test_version_is_a_text():
    assert lucent.__version__ == "1.0.0.dev0"


def test_decorators_are_found():
    assert callable(objectives.wrap_objective())
    assert objectives.as_objective("conv:1").name == "channel"
    assert callable(objectives.Objective.sum)


def test_standard_transforms_are_a_list_that_can_be_copied_and_extended():
    mine = transform.standard_transforms.copy()
    mine.append(transform.normalize())
    assert len(transform.standard_transforms) == 5
    assert all(callable(made) for made in mine)


def test_objectives_are_losses():
    acts = torch.ones(1, 2, 3, 3)
    assert objectives.channel("conv", 0)({"conv": acts}.get) == -1
    assert objectives.neuron("conv", 0)({"conv": acts}.get) == -1


def test_parametrizations_are_pairs():
    for params, image_f in (
        param.image(8),
        param.pixel_image((1, 3, 8, 8)),
        param.fft_image((1, 3, 8, 8)),
    ):
        assert isinstance(params, list)
        assert all(tensor.requires_grad for tensor in params)
        assert image_f().shape == (1, 3, 8, 8)


def test_rfft2d_freqs_is_an_array_of_numpy():
    assert isinstance(param.rfft2d_freqs(4, 5), np.ndarray)


def test_arrays_have_the_channels_last():
    array = render.tensor_to_img_array(torch.rand(2, 3, 4, 5, requires_grad=True))
    assert isinstance(array, np.ndarray)
    assert (array.shape, array.dtype) == ((2, 4, 5, 3), np.float32)
