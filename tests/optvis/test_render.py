"""`render_vis`: what torch-lucent promised, right where it was not, and the model as it was."""

from __future__ import annotations

import logging
import os
import random
import re

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from process import run_python
from torch import nn

from lucent.errors import DivergenceError, InputError, LayerError, LucentError, LucentWarning
from lucent.modelzoo.spec import ModelSpec
from lucent.optvis import objectives, param, render, transform
from lucent.optvis.batch import render_many
from lucent.optvis.render import ModuleHook, export, hook_model, render_vis, tensor_to_img_array
from lucent.util import set_seed

RED = tiny.colour(0.25, 0.5, 0.75)
QUIET = {"progress": False, "show_image": False}


def rendered(model=None, objective="conv1:0", **options):
    """Render without transforms; by default the red of `RED` grows by 1/16 per step."""
    options = {"transforms": [], "thresholds": (1,), **QUIET, **options}
    options.setdefault("param_f", lambda: tiny.Pixels(RED))
    options.setdefault("optimizer", lambda params: torch.optim.SGD(params, lr=0.25))
    return render_vis(model or tiny.Chain(), objective, **options)


def seen_by(model, **options):
    """What the network saw in the last step."""
    seen = []
    forward = model.conv1.forward

    def spy(x):
        seen.append(x.detach().clone())
        return forward(x)

    model.conv1.forward = spy
    rendered(model, **options)
    return seen[-1]


def with_spec(**facts):
    model = tiny.Chain()
    model.spec = ModelSpec(name="chain", **facts)
    return model


# What comes back


def reds(images):
    return [image[0, 0, 0, 0].item() for image in images]


@pytest.mark.parametrize(
    ("thresholds", "steps"),
    [
        ((4, 1, 2), [1, 2, 4]),
        ((0, 2), [0, 2]),
        ((0,), [0]),
        ([2, 2], [2]),
        ((n for n in (1, 3)), [1, 3]),
        (3, [3]),
        (np.array([1, 2]), [1, 2]),
        ((np.int64(2),), [2]),
    ],
)
def test_images_are_kept_after_the_steps_of_the_thresholds(thresholds, steps):
    images = rendered(thresholds=thresholds)
    assert reds(images) == [0.25 + step / 16 for step in steps]
    assert images.history.steps == steps
    assert len(images.history.loss) == max(steps)


@pytest.mark.parametrize("thresholds", [(), (-1,), (2.5,), (float("inf"),), "512", None, (None,)])
def test_thresholds_that_are_no_steps_are_refused(thresholds):
    with pytest.raises(InputError, match=r"whole numbers? of steps.*512"):
        rendered(thresholds=thresholds)


def test_a_list_of_float_arrays_comes_back():
    images = rendered(param_f=lambda: param.image(6, 4, batch=2), thresholds=(1, 2))
    assert isinstance(images, list)
    assert [(image.shape, image.dtype) for image in images] == [((2, 4, 6, 3), np.float32)] * 2
    assert all(0 <= image.min() < image.max() <= 1 for image in images)
    assert not np.array_equal(*images)


def test_the_arrays_of_a_model_in_double_precision_are_float32_as_well():
    (image,) = rendered(tiny.Chain().double(), param_f=lambda: param.image(4))
    assert image.dtype == np.float32


def test_rendering_maximises_the_unit():
    model = tiny.textured()
    images = rendered(
        model,
        "3:2",
        param_f=lambda: param.image(16),
        optimizer=None,
        thresholds=(0, 60),
        seed=0,
    )
    with torch.no_grad():
        start, end = (model(torch.tensor(i).permute(0, 3, 1, 2))[0, 2].mean() for i in images)
    assert end > start + 0.1
    assert images.history.loss[-1] == pytest.approx(-end.item(), rel=0.1)


@pytest.mark.parametrize(
    "objective",
    [
        "conv1:0",
        " conv1 : 0",
        objectives.channel("conv1", 0),
        lambda T: -T("conv1")[:, 0].mean(),
        objectives.Objective(lambda T: -T("conv1")[:, 0].mean()),
    ],
)
def test_an_objective_is_a_string_an_objective_or_a_function(objective):
    assert reds(rendered(objective=objective)) == [0.3125]


def test_what_is_no_objective_is_refused():
    with pytest.raises(InputError, match="not an objective"):
        rendered(objective=3)
    with pytest.raises(LayerError, match=r"no layer 'convl'.*'conv1'"):
        rendered(objective="convl:0")


# The image


def test_params_and_a_function_are_an_image():
    pixels = RED.clone().requires_grad_()
    images = rendered(param_f=lambda: ([pixels], lambda: pixels + 0.5))
    assert reds(images) == [0.8125]
    assert pixels[0, 0, 0, 0].item() == 0.3125


def test_an_image_that_was_unpacked_is_one_as_well():
    def param_f():
        params, image_f = param.image(8)
        return params, lambda: image_f()

    images = rendered(param_f=param_f, optimizer=None, thresholds=(0, 5))
    assert images[1][..., 0].mean() > images[0][..., 0].mean()


@pytest.mark.parametrize("described", [torch.zeros(1, 3, 4, 4), None, ([], lambda: RED)])
def test_what_describes_no_image_is_refused(described):
    with pytest.raises(InputError, match=r"param"):
        rendered(param_f=lambda: described)


def test_the_default_image_is_that_of_the_spec():
    (image,) = rendered(with_spec(image_size=12), param_f=None)
    assert image.shape == (1, 12, 12, 3)
    (image,) = rendered(with_spec(), param_f=None)
    assert image.shape == (1, 128, 128, 3)


def test_a_stochastic_image_is_drawn_once_per_step_and_the_objective_reads_that():
    given, asked = [], []
    pixels = RED.clone().requires_grad_()

    def image_f():
        given.append(pixels + torch.rand(1))
        return given[-1]

    def objective(T):
        assert T("input") is given[-1]
        assert torch.equal(T("input")[:, 0], T("conv1")[:, 0])
        asked.append(T.step)
        return -T("conv1").mean()

    rendered(objective=objective, param_f=lambda: ([pixels], image_f), thresholds=(3,))
    assert asked[-1] == 2
    # Three steps and a snapshot.
    assert len(given) == 4


# Sizes


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ((16, 32), (32, 64)),
        ((32, 16), (64, 32)),
        ((32, 32), (32, 32)),
        ((24, 24), (32, 32)),
        ((12, 28), (32, 75)),
        ((48, 80), (48, 80)),
        ((80, 16), (160, 32)),
    ],
)
@pytest.mark.parametrize("transforms", [[], None])
def test_smaller_images_are_enlarged_to_the_size_of_the_spec_in_their_aspect(
    own, expected, transforms
):
    model = with_spec(input_size=(32, 32))
    image = seen_by(model, transforms=transforms, param_f=lambda: param.image(own[1], own[0]))
    assert tuple(image.shape) == (1, 3, *expected)


@pytest.mark.parametrize(
    ("fixed", "own", "expected"),
    [
        (16, (4, 8), (16, 32)),
        (4, (16, 8), (8, 4)),
        ((10, 14), (8, 8), (10, 14)),
        ([6, 5], (8, 12), (6, 5)),
        (np.int64(9), (3, 3), (9, 9)),
        (np.array([7, 9]), (3, 3), (7, 9)),
        (torch.Size([7, 9]), (3, 3), (7, 9)),
        ((9,), (3, 4), (9, 12)),
    ],
)
def test_a_fixed_size_comes_before_the_spec(fixed, own, expected):
    model = with_spec(input_size=(32, 32))
    param_f = lambda: param.image(own[1], own[0])  # noqa: E731
    image = seen_by(model, param_f=param_f, fixed_image_size=fixed)
    assert tuple(image.shape) == (1, 3, *expected)


@pytest.mark.parametrize("fixed", [0, -3, (0, 8), (8, 8, 8), ()])
def test_a_size_that_is_none_is_refused(fixed):
    with pytest.raises(InputError, match=r"fixed_image_size="):
        rendered(fixed_image_size=fixed)


def halves(height, width):
    """Black on the left, white on the right."""
    image = torch.zeros(1, 3, height, width)
    image[..., width // 2 :] = 1
    return image


@pytest.mark.parametrize("own", [(8, 24), (24, 8), (48, 16)])
def test_a_network_of_one_size_gets_it_with_the_aspect_kept_on_grey(own):
    model = with_spec(input_size=(16, 16), fixed_size=True)
    image = seen_by(model, param_f=lambda: tiny.Pixels(halves(*own)), thresholds=(1,))
    assert tuple(image.shape) == (1, 3, 16, 16)
    wide = own[1] > own[0]
    bars = image if wide else image.transpose(2, 3)
    # 8 x 24 becomes 16/3, so 5, rows high.
    assert (bars[:, :, :5] == 0.5).all()
    assert (bars[:, :, -5:] == 0.5).all()
    middle = image[0, 0, 8] if wide else image[0, 0, 8, 6:10]
    assert middle[0] < 0.01
    assert middle[-1] > 0.99


def test_an_enlarged_image_is_centred_and_not_distorted():
    model = with_spec(input_size=(16, 16))
    image = seen_by(model, param_f=lambda: tiny.Pixels(halves(8, 16)))
    assert tuple(image.shape) == (1, 3, 16, 32)
    torch.testing.assert_close(image + image.flip(-1), torch.ones_like(image))
    assert image[..., :15].max() == 0


# Transforms and preprocessing


def test_without_transforms_the_network_sees_the_image():
    assert torch.equal(seen_by(tiny.Chain(), transforms=[]), RED)


def test_none_means_the_standard_transforms():
    start = torch.rand(1, 3, 32, 32)
    options = {"param_f": lambda: tiny.Pixels(start), "seed": 0}
    images = [
        seen_by(tiny.Chain(), transforms=transforms, **options)
        for transforms in (None, transform.standard_transforms, transform.standard_transforms * 1)
    ]
    assert torch.equal(images[0], images[1])
    assert images[0].shape == start.shape
    assert not torch.equal(images[0], start)


def double(image):
    return 2 * image


def plus_one(image):
    return image + 1


@pytest.mark.parametrize(
    ("transforms", "expected"),
    [
        ([double, plus_one], 1.5),
        ((plus_one, double), 2.5),
        ((f for f in (double, plus_one)), 1.5),
        (double, 0.5),
        (transform.compose([double, plus_one]), 1.5),
        ([transform.compose([plus_one]), double], 2.5),
        (nn.Sequential(tiny.Times(3), tiny.Times(2)), 1.5),
        ([nn.Upsample(4), double], 0.5),
    ],
)
def test_transforms_are_applied_in_their_order(transforms, expected):
    seen = seen_by(tiny.Chain(), transforms=transforms)
    assert seen[0, 0].unique().tolist() == [expected]


def test_the_transforms_given_are_not_changed():
    transforms = [double]
    rendered(with_spec(input_size=(8, 8)), transforms=transforms)
    assert transforms == [double]


@pytest.mark.parametrize("transforms", [["jitter"], [double, 3]])
def test_what_is_no_transform_is_refused(transforms):
    with pytest.raises(InputError, match="is not a transform"):
        rendered(transforms=transforms)


def test_images_are_normalised_as_the_spec_says_unless_told_otherwise():
    facts = {"value_range": (0, 255), "mean": (117,), "std": (1,)}
    seen = seen_by(with_spec(**facts))
    torch.testing.assert_close(seen[0, :, 0, 0], torch.tensor([-53.25, 10.5, 74.25]))
    assert torch.equal(seen_by(with_spec(**facts), preprocess=False), RED)


def test_a_wrapped_model_keeps_its_spec():
    facts = {"mean": (0.25,), "std": (0.5,), "input_size": (4, 4)}
    images = rendered(
        nn.DataParallel(with_spec(**facts)), lambda T: -T("conv1")[:, 0].mean(), thresholds=(1,)
    )
    assert images.history.loss == [0]


def test_an_unknown_model_is_normalised_like_imagenet_with_a_warning():
    model = nn.Sequential(tiny.conv([[1, 0, 0]]))
    with pytest.warns(LucentWarning, match="Nothing is known about Sequential"):
        images = rendered(model, "0:0")
    assert images.history.loss == pytest.approx([-(0.25 - 0.485) / 0.229])


@pytest.mark.parametrize("preprocess", [True, False])
def test_labels_are_logits_whatever_else_is_given(preprocess):
    images = rendered(
        tiny.Softmax(), "labels:1", preprocess=preprocess, fixed_image_size=2, thresholds=(1,)
    )
    # Minus the second logit, which is -2 max(r, 0) - 3 max(-g, 0).
    assert images.history.loss == [0.5]


# Optimizer, override, callbacks


def test_the_optimizer_is_made_of_the_params():
    made = []

    def factory(params):
        made.extend(params)
        return torch.optim.Adam(params, lr=0.1)

    image = tiny.Pixels(RED)
    rendered(param_f=lambda: image, optimizer=factory)
    assert len(made) == 1
    assert made[0] is image.pixels


def test_the_default_optimizer_is_adam_with_a_rate_of_a_twentieth():
    # Whatever the gradient, Adam's first step is its learning rate.
    assert reds(rendered(optimizer=None)) == pytest.approx([0.3], abs=1e-6)


def test_an_optimizer_that_is_no_factory_is_refused():
    with pytest.raises(InputError, match="optimizer=lambda params"):
        rendered(optimizer=torch.optim.Adam([torch.zeros(1)]))


def moved(model, **options):
    images = rendered(model, "relu:0", thresholds=(0, 1), **options)
    return not np.array_equal(*images)


def test_the_override_is_on_by_default():
    assert moved(tiny.Dead())


def test_the_override_can_be_switched_off():
    with pytest.warns(LucentWarning, match=r"relu_override=True"):
        assert not moved(tiny.Dead(), relu_override=False)


def test_a_model_may_ask_not_to_be_overridden():
    model = tiny.Dead()
    model.redirected_ReLU = False
    with pytest.warns(LucentWarning, match=r"The gradient is zero"):
        assert not moved(model)


def test_callbacks_get_the_run():
    steps = []
    rendered(callbacks=[lambda run: steps.append(run.step)], thresholds=(3,))
    assert steps == [0, 1, 2, 3]


def test_a_callback_may_stop_the_run_and_the_last_image_is_kept():
    images = rendered(callbacks=[lambda run: run.step < 3 or run.stop()], thresholds=(2, 512))
    assert images.history.steps == [2, 3]
    assert reds(images) == [0.375, 0.4375]


# Seeds

RANDOM = {"param_f": lambda: param.image(12), "transforms": None, "thresholds": (6,)}


def generator_states():
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()


def test_one_seed_is_one_picture():
    model = tiny.textured()
    options = {**RANDOM, "optimizer": None}
    first, again, other = (rendered(model, "3:2", seed=n, **options)[0] for n in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(rendered(model, "3:2", seed=np.int64(3), **options)[0], first)


def test_a_seed_leaves_the_global_generators_alone():
    model = tiny.textured()
    before = generator_states()
    rendered(model, "3:2", seed=3, **RANDOM)
    assert generator_states() == before
    with pytest.raises(KeyboardInterrupt):
        rendered(model, "3:2", seed=3, **{**RANDOM, "param_f": interrupt})
    assert generator_states() == before


def interrupt(*_):
    raise KeyboardInterrupt


def test_a_seed_covers_whatever_generator_the_parametrization_uses():
    def param_f():
        noise = random.random() + np.random.rand() + torch.rand(1).item()
        return tiny.Pixels(RED + noise)

    options = {"param_f": param_f, "thresholds": (0,)}
    assert reds(rendered(seed=1, **options)) == reds(rendered(seed=1, **options))
    assert reds(rendered(seed=1, **options)) != reds(rendered(seed=2, **options))


def test_set_seed_makes_a_call_without_seed_repeat():
    model, found = tiny.textured(), []
    for seed in (5, 5, 6):
        set_seed(seed)
        found.append(rendered(model, "3:2", optimizer=None, **RANDOM)[0])
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    assert not np.array_equal(found[0], rendered(model, "3:2", optimizer=None, **RANDOM)[0])


SCRIPT = """
import hashlib, torch
from lucent.modelzoo import ModelSpec
from lucent.optvis import param
from lucent.optvis.render import render_vis
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3))
model.spec = ModelSpec(name="random")
torch.manual_seed({start})
images = render_vis(model, "2:3", lambda: param.image(24), thresholds=(20,), seed={seed},
                    progress=False, show_image=False)
print(hashlib.sha256(images[0].tobytes()).hexdigest())
"""


def test_one_seed_is_one_picture_in_every_process(tmp_path):
    def digest(**values):
        done = run_python("-c", SCRIPT.format(**values), cwd=tmp_path)
        assert re.fullmatch(r"[0-9a-f]{64}\n", done.stdout), done.stderr
        return done.stdout

    assert digest(start=1, seed=5) == digest(start=2, seed=5)


# Ending early


def at_step(step, kind):
    def callback(run):
        if run.step == step:
            raise kind

    return callback


@pytest.mark.parametrize(("step", "kept"), [(3, [2, 3]), (2, [2]), (0, [0]), (1, [1])])
def test_ctrl_c_keeps_the_image_of_that_moment_and_returns_what_is_there(step, kept, caplog):
    images = rendered(callbacks=[at_step(step, KeyboardInterrupt)], thresholds=(2, 50))
    assert images.history.steps == kept
    assert images.interrupted
    assert not rendered(thresholds=(2,)).interrupted
    assert reds(images) == [0.25 + n / 16 for n in kept]
    assert caplog.messages == [
        f"Interrupted at step {step}; the picture of this moment is the last one."
    ]


def test_ctrl_c_in_the_middle_of_a_step():
    def objective(T):
        if T.step == 2:
            raise KeyboardInterrupt
        return -T("conv1")[:, 0].mean()

    images = rendered(objective=objective, thresholds=(1, 50))
    assert images.history.steps == [1, 2]
    assert reds(images) == [0.3125, 0.375]


def test_ctrl_c_still_saves_the_image(tmp_path):
    path = tmp_path / "last.png"
    options = {"save_image": True, "image_name": str(path)}
    rendered(callbacks=[at_step(1, KeyboardInterrupt)], thresholds=(50,), **options)
    assert np.asarray(Image.open(path))[0, 0].tolist() == [80, 128, 191]


def test_a_divergence_hands_over_the_images_before_it():
    def objective(T):
        return -T("conv1").mean() * (float("nan") if T.step == 3 else 1)

    with pytest.raises(DivergenceError, match="at step 3") as caught:
        rendered(objective=objective, thresholds=(1, 2, 9))
    assert len(caught.value.images) == 2


def test_ctrl_c_after_a_divergence_that_nobody_has_noticed_hands_them_over_as_well():
    def objective(T):
        return -T("conv1").mean() * (float("nan") if T.step >= 2 else 1)

    callbacks = [at_step(4, KeyboardInterrupt)]
    with pytest.raises(DivergenceError, match="at step 2") as caught:
        rendered(objective=objective, thresholds=(1, 20), callbacks=callbacks)
    assert len(caught.value.images) == 1


def test_an_error_at_the_end_hands_over_the_images():
    with pytest.raises(LucentError) as caught:
        rendered(save_image=True, image_name="picture.unknown")
    assert caught.value.images[0].shape[-1] == 3


class Messy(tiny.Normed):
    """Counts its passes in a buffer, whatever the mode."""

    def __init__(self):
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))
        self.conv.weight.grad = torch.ones_like(self.conv.weight)
        self.norm.forward = self.norm.forward

    def forward(self, x):
        self.passes += 1
        return super().forward(x)


class Boom(BaseException):
    pass


@pytest.mark.parametrize("kind", [None, ValueError, KeyboardInterrupt, Boom])
@pytest.mark.parametrize("relu_override", [True, False])
def test_the_model_comes_back_as_it_was(kind, relu_override):
    model = Messy()
    before = tiny.condition(model)
    options = {"thresholds": (3,), "relu_override": relu_override, "param_f": noise}
    if kind:
        options["callbacks"] = [at_step(2, kind)]
    if kind in (ValueError, Boom):
        with pytest.raises(kind):
            rendered(model, "frozen:0", **options)
    else:
        rendered(model, "frozen:0", **options)
    assert tiny.condition(model) == before


def noise():
    return param.image(4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"objective": "frozen:7"},
        {"objective": "nothing:0"},
        {"objective": lambda T: T("conv") / "zero"},
        {"param_f": lambda: 3},
        {"transforms": [lambda image: image[:, :2]]},
    ],
)
def test_the_model_comes_back_as_it_was_when_an_argument_is_wrong(wrong):
    model = Messy()
    before = tiny.condition(model)
    with pytest.raises((LucentError, TypeError, RuntimeError)):
        rendered(model, **{"objective": "frozen:0", "param_f": noise, **wrong})
    assert tiny.condition(model) == before


# Showing and saving


@pytest.fixture
def headless(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")


def logged_file(caplog):
    (message,) = [text for text in caplog.messages if "no screen" in text]
    return message.rsplit(" ", 1)[1]


@pytest.mark.usefixtures("headless")
def test_without_a_screen_the_image_goes_to_a_file_that_is_named(caplog):
    rendered(show_image=True)
    path = logged_file(caplog)
    try:
        assert np.asarray(Image.open(path)).tolist() == [[[80, 128, 191]] * 2] * 2
    finally:
        os.remove(path)


def test_with_a_screen_the_image_is_shown_in_a_window(monkeypatch):
    shown = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(Image.Image, "show", lambda picture: shown.append(picture.size))
    rendered(show_image=True)
    rendered(show_image=False)
    assert shown == [(2, 2)]


def test_inline_means_the_notebook_and_no_window(monkeypatch):
    shown, viewed = [], []
    monkeypatch.setattr(render, "show", lambda images, channels: shown.append(reds([images])))
    monkeypatch.setattr(render, "view", viewed.append)
    rendered(show_inline=True, show_image=True, thresholds=(1, 2))
    assert shown == [[0.375]]
    assert viewed == []


def test_inline_and_verbose_shows_the_thresholds(monkeypatch):
    from lucent.optvis import callbacks

    shown = []
    monkeypatch.setattr(render, "show", lambda images, channels: shown.append(reds([images])))
    monkeypatch.setattr(callbacks, "show", lambda images, channels: shown.append(reds([images])))
    rendered(show_inline=True, verbose=True, thresholds=(0, 2))
    assert shown == [[0.25], [0.375], [0.375]]


def test_verbose_writes_the_losses_to_stdout(capsys):
    rendered(verbose=True, thresholds=(1, 3))
    out, err = capsys.readouterr()
    assert out == "Initial loss: -0.250\nLoss at step 1: -0.250\nLoss at step 3: -0.375\n"
    assert err == ""


def test_silence_is_silence_and_progress_goes_to_stderr(capsys):
    rendered()
    assert capsys.readouterr() == ("", "")
    rendered(progress=True, thresholds=(3,))
    out, err = capsys.readouterr()
    assert out == ""
    assert "3/3" in err


def test_the_last_image_is_saved_under_the_default_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rendered(save_image=True, thresholds=(1, 2), param_f=lambda: tiny.Pixels(tall(RED)))
    assert os.listdir() == ["image.jpg"]
    with Image.open("image.jpg") as picture:
        assert (picture.format, picture.size) == ("JPEG", (2, 4))


def tall(image):
    return torch.cat([image, image], dim=2)


def test_export_rounds_and_clips_and_puts_the_batch_in_a_row(tmp_path):
    values = torch.tensor([-0.5, 0.0, 0.1, 0.5, 0.999, 1.0, 1.5, 2.0])
    batch = values.view(2, 1, 1, 4).expand(2, 3, 2, 4)
    export(batch, tmp_path / "a.png")
    picture = np.asarray(Image.open(tmp_path / "a.png"))
    assert picture[1, :, 2].tolist() == [0, 0, 26, 128, 255, 255, 255, 255]
    export(tensor_to_img_array(batch), str(tmp_path / "b.png"))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), picture)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_export_writes_grey_colour_and_transparent_pictures(channels, mode, tmp_path):
    export(torch.full((1, channels, 2, 3), 0.2), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert (picture.mode, picture.size) == (mode, (3, 2))
        assert np.unique(np.asarray(picture)).tolist() == [51]


def test_export_refuses_what_is_no_picture(tmp_path):
    for channels, name, text in ((4, "a.jpg", "png"), (3, "a", "png")):
        with pytest.raises(InputError, match=re.escape(text)):
            export(torch.zeros(1, channels, 2, 2), tmp_path / name)
    assert os.listdir(tmp_path) == []


# Hooks for scripts of one's own


def test_module_hook_keeps_the_last_output_until_closed():
    model = tiny.Chain()
    hook = ModuleHook(model.conv1)
    assert (hook.module, hook.features) == (None, None)
    model(RED)
    assert hook.module is model.conv1
    assert hook.features[0, :, 0, 0].tolist() == [0.25, -0.5]
    hook.close()
    model(2 * RED)
    assert hook.features[0, 0, 0, 0] == 0.25
    assert tiny.hooked(model) == []


def test_hook_model_gives_every_layer_by_either_name():
    model = tiny.Softmax()
    T, hooks = hook_model(model, lambda: RED, return_hooks=True)
    with pytest.raises(LayerError, match="'conv1' has not run yet"):
        T("conv1")
    output = model(RED)
    assert T("input") is RED
    assert T("conv1")[0, :, 0, 0].tolist() == [0.25, -0.5]
    assert torch.equal(T("head_2"), T("head.2"))
    # The logits, not the probabilities that the model gives.
    assert T("labels").tolist() == [[0.5, -0.5]]
    assert torch.equal(T("labels").softmax(1), output)
    with pytest.raises(LayerError, match=r"no layer 'convl'.*'conv1'"):
        T("convl")
    for hook in hooks.values():
        hook.close()
    assert tiny.hooked(model) == []


def test_hook_model_gives_a_function_and_is_silent_about_unknown_models():
    T = hook_model(nn.Sequential(tiny.conv([[1, 0, 0]])), lambda: RED)
    assert T("input") is RED


def test_the_log_is_quiet_when_all_is_well(caplog):
    with caplog.at_level(logging.INFO, "lucent"):
        rendered()
    assert caplog.messages == []


def test_hook_model_gives_the_values_that_an_in_place_relu_overwrites():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True))
    T, hooks = render.hook_model(model, lambda: None, return_hooks=True)
    image = torch.rand(1, 3, 5, 5)
    model(image)
    assert torch.equal(T("0"), nn.functional.conv2d(image, *model[0].parameters()))
    for hook in hooks.values():
        hook.close()


def test_hook_model_has_no_single_calls():
    model = tiny.SharedReLU()
    T = render.hook_model(model, lambda: None)
    model(torch.rand(1, 3, 4, 4))
    with pytest.raises(LayerError, match=r"last call.*not 'relu#0'.*hooks\.Activations"):
        T("relu#0")


def test_an_image_that_became_nan_in_the_last_step_is_no_result():
    def objective(T):
        acts = T("conv1")
        return -torch.sqrt((acts - acts.detach()).abs()).mean()

    with pytest.raises(DivergenceError, match="image became NaN or infinite by step 1"):
        rendered(tiny.Chain(), objective, thresholds=(1,))


def test_a_model_given_by_name_is_refused():
    with pytest.raises(InputError, match=r"not 'synthnet'.*modelzoo\.load"):
        render.render_vis("synthnet", "mixed4a:1", show_image=False)


def test_nothing_is_assumed_where_nothing_is_needed():
    # A warning of lucent that is not expected is an error here.
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    assert len(rendered(model, "0:1", preprocess=False, fixed_image_size=8)) == 1


class Spectrum(nn.Module):
    """What becomes of the axes cannot be told from how it comes about."""

    spec = tiny.PLAIN

    def __init__(self):
        super().__init__()
        self.amplitude = nn.Identity()

    def forward(self, x):
        return self.amplitude(torch.fft.rfft2(x).abs().movedim(1, -1))


@pytest.mark.parametrize("layout", ["NHWC", {"amplitude": "NHWC"}])
def test_a_layout_that_cannot_be_found_out_can_be_said(layout):
    def image():
        return param.image(5, decorrelate=False)

    with pytest.raises(LayerError, match="layout={'amplitude': 'NHWC'}"):
        render_vis(Spectrum(), "amplitude:2", image, thresholds=(1,), **QUIET)
    options = {"thresholds": (1,), "transforms": [], "layout": layout, "seed": 0}
    (picture,) = render_vis(Spectrum(), "amplitude:2", image, **options, **QUIET)
    (other,) = render_many(Spectrum(), ["amplitude:2"], image, **options)
    set_seed(0)
    start = tensor_to_img_array(image()().detach())
    np.testing.assert_array_equal(picture[..., :2], start[..., :2])
    assert (picture[..., 2] != start[..., 2]).all()
    np.testing.assert_allclose(picture[0], other.images[0], rtol=0, atol=1e-6)
