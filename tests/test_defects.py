"""Defects of torch-lucent and Lucid that concern no single module."""

import ast
import gc
import inspect
import re
import weakref
from pathlib import Path

import pytest
import torch
from tiny import Chain, Normed
from torch import nn

import lucent
from lucent import overrides
from lucent.errors import LucentWarning
from lucent.hooks import Activations
from lucent.modelzoo import spec_of
from lucent.optvis import objectives, param, transform
from lucent.optvis.render import render_vis

PACKAGE = Path(inspect.getfile(lucent)).parent
DOCS = Path(__file__).parent.parent / "docs" / "api"

IMAGES = {
    "Fourier": lambda: param.image(16),
    "pixels": lambda: param.image(16, fft=False, alpha=True),
    "pyramid": lambda: param.to_valid_rgb(param.laplacian_pyramid_image((1, 3, 16, 16))),
    "shared": lambda: param.to_valid_rgb(param.lowres_tensor((1, 3, 16, 16), (1, 3, 4, 4))),
    "network": lambda: param.cppn(16),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_images_and_their_scores_went_to_a_gpu_wherever_there_was_one(monkeypatch, kind):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    image = IMAGES[kind]()
    assert {parameter.device.type for parameter in image.parameters()} == {"cpu"}
    seen = transform.compose([*transform.standard_transforms, transform.normalize()])(
        image()[:, :3]
    )
    with Activations(Chain(), ["conv1"]) as T:
        T.run(seen)
        loss = (objectives.blur_input_each_step() + objectives.channel("conv1", 0))(T)
    assert loss.device.type == seen.device.type == "cpu"


def test_the_loss_that_is_reported_was_computed_a_second_time(capsys):
    asked = []

    def objective(T):
        asked.append(T.step)
        return T("input").mean()

    arguments = {"verbose": True, "show_image": False, "progress": False}
    images = render_vis(Chain(), objective, thresholds=(1, 3), **arguments)
    assert asked == [0, 1, 2]
    assert f"Loss at step 3: {images.history.loss[2]:.3f}\n" in capsys.readouterr().out


def test_dropout_and_batch_norm_trained_on_the_noise_of_a_run():
    modes = []

    def objective(T):
        modes.append({module.training for module in model.modules()})
        return -T("drop").mean()

    model = Normed().train()
    render_vis(model, objective, thresholds=(1,), show_image=False, progress=False)
    assert modes[0] == {False}
    assert model.training


def test_what_was_captured_stayed_in_memory():
    with Activations(Chain(), ["conv1"]) as T:
        T.run(torch.rand(1, 3, 4, 4, requires_grad=True))
        captured = weakref.ref(T("conv1"))
        assert captured() is not None
    gc.collect()
    assert captured() is None


def test_any_class_of_the_name_inceptionv1_was_given_its_range():
    class InceptionV1(nn.Sequential):
        pass

    with pytest.warns(LucentWarning, match=r"InceptionV1.*model\.spec = "):
        spec = spec_of(InceptionV1(nn.Conv2d(3, 4, 1)))
    assert (spec.value_range, spec.mean) == ((0, 1), (0.485, 0.456, 0.406))


def test_right_angles_were_too_small_by_three_point_one_four_for_pi():
    image = torch.rand(1, 1, 9, 9, dtype=torch.float64)
    # Whole right angles are not interpolated; a billionth of a degree more is.
    turned = transform.random_rotate([90 + 1e-9])(image)
    torch.testing.assert_close(turned, image.rot90(1, (2, 3)), rtol=0, atol=1e-8)


def test_versions_were_compared_as_strings():
    # "0.10.0" < "0.4.0", so that a new version took the branch for the oldest ones.
    # `tensor._version` is a number, how often it was written to.
    named = re.compile(r"(?<!\._)version", re.IGNORECASE)
    compared = [
        (path.name, node.lineno)
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Compare) and named.search(ast.unparse(node))
    ]
    assert compared == []


def test_the_documentation_named_an_override_that_did_not_exist():
    text = (DOCS / "overrides.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)\(model\b", text))
    assert named >= {"redirected_relu", "smoothed_maxpool", "default_overrides"}
    assert named <= set(overrides.__all__)
