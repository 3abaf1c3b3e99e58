"""Batch norms folded into the convolutions before them."""

from __future__ import annotations

import gc
import logging
import weakref

import pytest
import torch
import torchvision
from torch import nn

from lucent.hooks import Activations
from lucent.optvis import param
from lucent.optvis.loop import Run, RunSettings
from lucent.optvis.objectives import as_objective, channel
from lucent.overrides import folded_norms, frozen_forwards
from lucent.overrides._frozen import BlockConvolution
from lucent.util import frozen_eval, set_seed


def with_statistics(model):
    """The model with norms that are not those of a new one, in float64."""
    set_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.2, 3.0)
            for name in ("running_mean", "weight", "bias"):
                nn.init.normal_(getattr(module, name), 0.3, 0.5)
    return model.double().eval()


class Net(nn.Module):
    """Two convolutions with norms; `way` says what else becomes of the first one's output."""

    def __init__(self, way=""):
        super().__init__()
        self.way = way
        self.stem = nn.Conv2d(3, 8, 5, stride=2, padding=2)
        self.norm1, self.relu = nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(8)

    def forward(self, x):
        stem = self.stem(x)
        if self.way == "in place":
            stem = self.relu(stem)
        normed = self.norm1(stem)
        if self.way == "twice":
            normed = normed + self.norm1(2 * stem)
        out = self.norm2(self.conv(self.relu(normed)))
        return out + stem if self.way == "skip" else out


def batch(n=2, size=21):
    return torch.rand(n, 3, size, size, dtype=torch.float64)


def watched(model, image, layers):
    """The values of layers and the gradient of the image."""
    image = image.clone().requires_grad_()
    with Activations(model, layers) as T:
        T.run(image)
        values = [T(layer) for layer in layers]
        (gradient,) = torch.autograd.grad(sum(v.sin().sum() for v in values), image)
    return [*(value.detach() for value in values), gradient]


def is_folded(conv):
    return getattr(vars(conv).get("forward"), "__name__", "") == "convolved"


def opened(model, image):
    def run():
        return [model(image)]

    return folded_norms(model, run)


def compare(model, layers, image=None):
    image = batch() if image is None else image
    expected = watched(model, image, layers)
    with frozen_eval(model), frozen_forwards(model), opened(model, image[:1]):
        state = [is_folded(module) for module in model.modules() if isinstance(module, nn.Conv2d)]
        found = watched(model, image, layers)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert not any("forward" in vars(module) for module in model.modules())
    return state


def test_values_and_gradients_stay_those_of_the_network():
    assert compare(with_statistics(Net()), ["relu", "norm2"]) == [True, True]


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_the_weights_follow_the_memory_format_of_the_image(layout):
    model, formats = with_statistics(Net()), []
    image = batch().contiguous(memory_format=torch.channels_last)
    assert compare(model, ["relu", "norm2"], image) == [True, True]
    with frozen_eval(model), frozen_forwards(model), opened(model, image):
        for given in (image, batch().contiguous(memory_format=layout)):
            model(given)
            weight = vars(model.conv)["forward"].__self__._weight
            formats.append(weight.is_contiguous(memory_format=torch.channels_last))
        assert model(given).is_contiguous(memory_format=layout)
    assert formats == [True, layout is torch.channels_last]


def test_a_first_convolution_stays_one_over_blocks():
    model = with_statistics(Net())
    with frozen_eval(model), frozen_forwards(model), opened(model, batch(1)):
        folded = vars(model.stem)["forward"].__self__._blocks
        assert isinstance(folded, BlockConvolution)


@pytest.mark.parametrize("build", [torchvision.models.resnet18, torchvision.models.mobilenet_v2])
def test_networks_of_torchvision_are_folded_all_over(build):
    model = with_statistics(build(weights=None))
    layers = ["layer2.0", "layer1"] if hasattr(model, "layer1") else ["features.3", "features.6"]
    assert all(compare(model, layers, batch(2, 64)))


def test_private_weights_do_not_outlive_the_block():
    model, image = with_statistics(Net()), batch()
    gc.disable()  # nothing that waits for the collector of cycles counts as gone
    try:
        with frozen_eval(model), frozen_forwards(model):
            with opened(model, image):
                pair = weakref.ref(vars(model.conv)["forward"].__self__)
                assert pair() is not None
            assert pair() is None
    finally:
        gc.enable()


def test_a_hooked_convolution_gives_its_own_output():
    model = with_statistics(Net())
    assert compare(model, ["stem", "conv", "norm1", "norm2"]) == [True, True]


def test_a_hook_of_later_sees_the_convolution_too():
    model, seen = with_statistics(Net()), []
    image = batch()
    expected = [model.stem(image), model(image)]
    with frozen_eval(model), frozen_forwards(model), opened(model, image):
        handle = model.stem.register_forward_hook(lambda m, i, output: seen.append(output))
        after = model(image)
        handle.remove()
        pre = model.norm1.register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0]))
        model(image)
        pre.remove()
    torch.testing.assert_close([seen[0], after], expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(seen[1], expected[0], rtol=1e-10, atol=1e-10)


def test_a_norm_of_something_else_is_the_norm():
    model, image = with_statistics(Net()), batch()
    other = torch.rand(2, 8, 4, 4, dtype=torch.float64)
    expected = model.norm1(other)
    with frozen_eval(model), frozen_forwards(model), opened(model, image):
        model(image)
        torch.testing.assert_close(model.norm1(other), expected)


@pytest.mark.parametrize("way", ["skip", "in place", "twice"])
def test_an_output_that_others_use_is_not_folded(way, caplog):
    model = with_statistics(Net(way))
    with caplog.at_level(logging.INFO, "lucent"):
        state = compare(model, ["relu#0", "norm2", ""] if way != "in place" else ["norm2"])
    assert state == ([False, False] if way == "skip" else [False, True])
    assert ("none is folded" in caplog.text) == (way == "skip")


def test_a_network_without_norms_is_not_asked():
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    with frozen_forwards(model), folded_norms(model, lambda: pytest.fail("a pass for nothing")):
        assert not is_folded(model[0])


def steps(model, wanted):
    set_seed(1)
    seen = []
    settings = RunSettings(steps=4, seed=0, preprocess=False)
    with Run(model, wanted, param.image(24), settings=settings) as run:
        run.iterate([lambda run: seen.append(is_folded(model.conv))])
        return run.history.loss, seen


def test_a_run_folds_what_its_objective_does_not_look_at():
    model = with_statistics(Net())
    loss, seen = steps(model, channel("norm2", 3))
    assert seen == [False, True, True, True, True]
    by_function, unfolded = steps(model, as_objective(lambda T: -T("norm2")[:, 3].mean()))
    assert not any(unfolded)
    assert loss == pytest.approx(by_function, rel=1e-9)
    assert not any("forward" in vars(module) for module in model.modules())
