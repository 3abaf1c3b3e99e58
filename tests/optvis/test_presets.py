"""Presets: when which is chosen, what it brings, and what the caller's own parts override."""

import logging
import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from lucent.errors import InputError
from lucent.modelzoo.spec import ModelSpec
from lucent.optvis import param
from lucent.optvis.batch import render_many
from lucent.optvis.defaults import setup
from lucent.optvis.objectives import channel, total_variation
from lucent.optvis.presets import (
    PLAIN,
    PRESETS,
    VIT,
    Fading,
    Preset,
    chosen,
    is_transformer,
)
from lucent.optvis.render import render_vis
from lucent.optvis.settings import adam
from lucent.optvis.transform import color_offset, jitter, standard_transforms

QUIET = {"progress": False, "show_image": False, "seed": 0}


class Attention(nn.Module):
    """The mean over positions, enough to be found by its name."""

    def __init__(self):
        super().__init__()
        self.proj = nn.Linear(4, 4)

    def forward(self, acts):
        return acts + self.proj(acts.mean(dim=(2, 3)))[:, :, None, None]


class TinyTransformer(nn.Sequential):
    """Patches, two layers of attention, channels."""

    def __init__(self, *more):
        super().__init__(nn.Conv2d(3, 4, 8, stride=8), Attention(), Attention(), *more)
        self.spec = ModelSpec("tiny transformer", (32, 32), image_size=32)


def _gated(count):
    """Convolutions with attention to channels between them."""
    return [part for _ in range(count) for part in (nn.Conv2d(4, 4, 3), Attention())]


@pytest.fixture
def transformer():
    torch.manual_seed(0)
    return TinyTransformer()


def parts(model, **given):
    """The setup of a rendering of 8 steps."""
    arguments = {"param_f": None, "optimizer": None, "transforms": None, "fixed_image_size": None}
    options = {"preprocess": True, "relu_override": False, "draws": None}
    return setup(model, thresholds=(8,), **{**arguments, **options, **given})


def test_transformer_gets_its_preset_and_the_log_says_so(transformer, caplog):
    with caplog.at_level(logging.WARNING, "lucent"):
        made = parts(transformer)
    assert made.preset is VIT
    assert made.settings.draws == VIT.draws
    assert (
        "TinyTransformer is a vision transformer: it is rendered with preset='vit'" in caplog.text
    )
    assert "preset='plain'" in caplog.text


@pytest.mark.parametrize(
    "given",
    [
        {"preset": "plain"},
        {"transforms": []},
        {"optimizer": adam},
        {"param_f": lambda: param.image(32)},
    ],
    ids=lambda given: next(iter(given)),
)
def test_plain_where_it_is_asked_for_or_a_part_is_given(transformer, given, caplog):
    with caplog.at_level(logging.INFO, "lucent"):
        made = parts(transformer, **given)
    assert made.preset is PLAIN
    assert made.settings.draws == 1
    assert "preset" not in caplog.text


def test_parts_that_are_given_win_over_those_of_a_preset(transformer):
    made = parts(transformer, preset="vit", transforms=[jitter(2)], draws=3, optimizer=adam)
    assert made.preset is VIT
    assert repr(made.transforms) == "Fused([Jitter(pixels=2)])"
    assert made.optimizer is adam
    assert made.settings.draws == 3


def test_plain_is_what_networks_without_attention_get():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    model.spec = ModelSpec("tiny", (32, 32))
    made = parts(model)
    assert made.preset is PLAIN
    assert repr(made.transforms) == repr(parts(model, transforms=standard_transforms).transforms)
    assert made.optimizer is adam
    assert made.objective("0:1").captions() == channel("0", 1).captions()


def test_volumes_are_rendered_plainly_and_not_with_transforms_of_pictures():
    model = nn.Sequential(nn.Conv3d(1, 4, 4, stride=4), Attention(), Attention())
    model.spec = ModelSpec("volumes", channels=1, dimensions=3, depth=8, image_size=8)
    assert parts(model).preset is PLAIN
    assert parts(model, preset="vit", transforms=[jitter(2)]).preset is VIT
    with pytest.raises(InputError, match="'vit' is for pictures.*takes volumes: leave it out"):
        parts(model, preset="vit")


def test_unknown_preset_is_an_error_that_names_those_there_are(transformer):
    with pytest.raises(
        InputError, match=r"preset='vitt' is unknown: it is one of \['plain', 'vit'"
    ):
        render_vis(transformer, "0:1", preset="vitt", **QUIET)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_preset_is_a_value(preset):
    text = repr(preset)
    assert text.startswith(f"Preset(name='{preset.name}'")
    assert " at 0x" not in text
    assert preset != replace(preset, draws=99)
    copy = pickle.loads(pickle.dumps(preset))
    assert repr(copy) == text


def test_own_preset_takes_all_its_parts_to_the_run(transformer):
    own = Preset(
        "own",
        transforms=lambda steps: [jitter(steps)],
        optimizer=lambda steps: partial(torch.optim.SGD, lr=1 / steps),
        image=lambda spec: param.image(spec.image_size // 2),
        penalty=0.5 * total_variation(),
        draws=2,
    )
    made = parts(transformer, preset=own)
    assert repr(made.transforms) == "Fused([Jitter(pixels=8)])"
    assert made.optimizer.keywords == {"lr": 1 / 8}
    assert made.image()().shape == (1, 3, 16, 16)
    assert made.settings.draws == 2
    assert [term.weight for term in made.objective("0:1").terms] == [1.0, -0.5]


def test_penalty_is_subtracted_from_the_score(transformer):
    own = Preset("own", penalty=0.25 * total_variation())
    history = render_vis(
        transformer, "0:1", transforms=[], preset=own, thresholds=(1,), **QUIET
    ).history
    score, variation = (values[0] for values in history.terms.values())
    assert variation > 0
    assert history.loss[0] == pytest.approx(0.25 * variation - score, rel=1e-6)


def test_rows_of_a_batch_are_what_they_would_be_alone(transformer):
    units = ["0:1", "2:3"]
    many = render_many(transformer, units, preset="vit", thresholds=(3,), seed=[5, 6])
    for result in many:
        seed = (5, 6)[result.index]
        alone = render_vis(
            transformer,
            units[result.index],
            preset="vit",
            thresholds=(3,),
            **{**QUIET, "seed": seed},
        )
        np.testing.assert_allclose(result.images[-1], alone[-1][0], atol=1e-5)


def test_what_was_rendered_can_be_rendered_again(transformer):
    (result,) = render_many(transformer, ["0:1"], thresholds=(2,), seed=0)
    assert result.objective.captions() == channel("0", 1).captions()
    assert len(result.history.terms) == 2  # the penalty is measured
    again = render_vis(transformer, result.objective, thresholds=(2,), **QUIET)
    np.testing.assert_array_equal(again[0][0], result.images[0])


def test_shift_of_channels_fades_on_a_straight_line():
    fading = Fading(0.5, 10)
    assert Fading(0.5, 0)(0) == color_offset(0.5)
    assert [fading(step) for step in (0, 5, 10, 20)] == [
        color_offset(sd) for sd in (0.5, 0.25, 0.0, 0.0)
    ]


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda: TinyTransformer(), True),
        (lambda: nn.DataParallel(TinyTransformer()), True),
        (lambda: TinyTransformer(nn.BatchNorm2d(4)), False),  # attention within a convnet
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 8), Attention()), False),  # one, as CLIP's pool
        (lambda: nn.Sequential(*_gated(3)), False),
        (lambda: nn.ModuleDict({"visual": nn.Conv2d(3, 4, 8), "text": TinyTransformer()}), False),
        (lambda: nn.ModuleDict({"visual": TinyTransformer(), "text": nn.Conv2d(3, 4, 8)}), True),
        (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2), 2), True),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.LayerNorm(4)), False),
    ],
)
def test_transformers_are_told_from_other_networks(make, wanted):
    assert is_transformer(make()) is wanted


def test_transformers_of_libraries_are_found():
    vision = pytest.importorskip("torchvision").models
    vit = vision.VisionTransformer(32, 16, 2, 2, 16, 16, num_classes=2)
    swin = vision.SwinTransformer([4, 4], 8, [1, 1], [1, 1], [2, 2], num_classes=2)
    assert is_transformer(vit)
    assert is_transformer(swin)
    films = vision.video.SwinTransformer3d([2, 4, 4], 8, [1, 1], [1, 1], [2, 4, 4], num_classes=2)
    assert not is_transformer(films)
    assert not is_transformer(vision.resnet18())
    assert not is_transformer(vision.mobilenet_v3_small())
    timm = pytest.importorskip("timm")
    assert is_transformer(timm.create_model("vit_tiny_patch16_224", depth=2))
    assert not is_transformer(timm.create_model("convnext_atto"))


def test_a_preset_that_is_given_is_taken_as_it_is(transformer):
    own = replace(VIT, draws=2)
    assert chosen(own, transformer) is own
    assert parts(transformer, preset=own).settings.draws == 2
