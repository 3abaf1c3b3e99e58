"""The network that ships with the package, its data and the scores that its known truth allows."""

import hashlib
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lucent.errors import InputError, WeightsError
from lucent.modelzoo.spec import spec_of
from lucent.modelzoo.synthnet import LABELS, SPEC, SynthNet, SynthScenes, synthnet
from lucent.modelzoo.synthnet import train as training
from lucent.modelzoo.synthnet._draw import (
    GREEN_YELLOW,
    RED_BLUE,
    Brush,
    has_hue,
    hsv_to_rgb,
    rgb_to_hue,
)
from lucent.modelzoo.synthnet._patterns import PATTERNS
from lucent.modelzoo.synthnet._shapes import OUTLINES
from lucent.modelzoo.synthnet.data import GEOMETRY, draw_all, draw_class
from lucent.modelzoo.synthnet.model import ConvBlock, fold
from lucent.modelzoo.synthnet.truth import (
    high_frequency_share,
    hue_match,
    orientation_distance,
    strongest_wave,
)
from lucent.optvis.objectives import Objective, channel
from lucent.optvis.render import default_image, render_vis

LAYERS = ("conv1", "conv2", "mixed3a", "mixed3b", "mixed4a", "mixed4b")
JUDGE = Path(__file__).parents[2] / "benchmarks" / "synthnet_judge.pth"
TINY_RECIPE = training.Recipe(passes=6 * 24, batch_size=8, per_class=2, size=32, bfloat16=False)


@pytest.fixture(scope="module")
def model():
    return synthnet()


@pytest.fixture(scope="module")
def held_out():
    return draw_all(30, training.HELD_OUT_SEED)


@pytest.fixture(autouse=True)
def torch_settings():
    """Leave the number of threads as it was: training sets it."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


def draw(name, count, *, seed=0, size=96):
    return draw_class(LABELS.index(name), count, np.random.default_rng(seed), size=size)


def pictures(scenes):
    return np.moveaxis(scenes.images, 1, -1) / 255


# Data


def test_same_seed_same_images_and_another_seed_others():
    first, again, other = draw_all(2, 5), draw_all(2, 5), draw_all(2, 6)
    for key in ("images", "labels", "orientation", "wavelength", "hues", "mask"):
        np.testing.assert_array_equal(getattr(first, key), getattr(again, key))
    assert not np.array_equal(first.images, other.images)


def test_all_classes_equally_often():
    assert np.bincount(draw_all(3, 0, size=16).labels).tolist() == [3] * 28


@pytest.mark.parametrize("name", GEOMETRY)
def test_stripes_have_the_orientation_and_wavelength_they_state(name):
    scenes = draw(name, 12)
    for row, picture in enumerate(pictures(scenes)):
        wave = strongest_wave(picture)
        # A patch of texture ends anywhere, which moves its peak by a fraction of a coefficient.
        assert orientation_distance(wave.orientation, scenes.orientation[row]) < 1
        assert wave.wavelength == pytest.approx(scenes.wavelength[row], rel=0.07)


@pytest.mark.parametrize("name", GEOMETRY)
def test_what_scenes_state_is_what_the_class_promises(name):
    scenes, truth = draw(name, 50), GEOMETRY[name]
    assert orientation_distance(scenes.orientation, truth.orientation).max() <= 9.001
    assert scenes.wavelength.min() >= truth.wavelength[0]
    assert scenes.wavelength.max() <= truth.wavelength[1]


def test_lengths_grow_with_the_size():
    scenes = draw("rising stripes", 5, size=192)
    assert scenes.wavelength.min() >= 2 * 13
    for picture, stated in zip(pictures(scenes), scenes.wavelength, strict=True):
        half = picture.reshape(96, 2, 96, 2, 3).mean(axis=(1, 3))
        assert strongest_wave(half).wavelength == pytest.approx(stated / 2, rel=0.07)


@pytest.mark.parametrize("name", ["red-blue stripes", "green-yellow stripes"])
def test_two_coloured_stripes_show_the_hues_they_state(name):
    scenes, truth = draw(name, 12), GEOMETRY[name]
    whole = scenes.mask.all(axis=(1, 2))
    for picture, hues in zip(pictures(scenes)[whole], scenes.hues[whole], strict=True):
        error, rarer = hue_match(picture, tuple(hues))
        assert error < 20
        assert rarer > 0.2
        assert hue_match(picture, truth.hues)[1] > 0.2


@pytest.mark.parametrize(("one", "two"), [RED_BLUE, GREEN_YELLOW])
def test_reserved_pairs_of_hues_occur_in_no_other_class(one, two):
    first, second = Brush(np.random.default_rng(0), 4000).contrasting()
    assert has_hue(first, one).any()
    assert not (has_hue(first, one) & has_hue(second, two)).any()
    assert not (has_hue(first, two) & has_hue(second, one)).any()


@pytest.mark.parametrize("name", OUTLINES)
def test_mask_covers_the_object_and_nothing_else(name):
    scenes = draw(name, 20)
    for picture, mask in zip(pictures(scenes), scenes.mask, strict=True):
        distance = np.linalg.norm(picture - np.median(picture[mask], axis=0), axis=-1)
        assert 0.02 < mask.mean() < 0.5
        assert np.median(distance[mask]) < np.quantile(distance[~mask], 0.25)


@pytest.mark.parametrize("name", PATTERNS)
def test_textures_fill_the_picture_or_a_patch(name):
    covered = draw(name, 60).mask.mean(axis=(1, 2))
    # Seven in ten fill it; 60 draws leave 25 to 55 with a probability over .999.
    assert 25 <= (covered == 1).sum() <= 55
    assert covered.min() > 0.2


def test_objects_have_no_geometry():
    scenes = draw("star", 2)
    assert np.isnan(scenes.orientation).all()
    assert np.isnan(scenes.wavelength).all()
    assert np.isnan(scenes.hues).all()


def test_data_set_gives_the_same_image_in_any_order():
    one, two = SynthScenes(100, seed=3), SynthScenes(100, seed=3)
    later = two[57][0]
    for index in (57, 2):
        assert torch.equal(one[index][0], two[index][0])
    assert torch.equal(one[57][0], later)
    assert not torch.equal(one[29][0], one[57][0])
    assert [label for _, label in (one[0], one[27], one[28])] == [0, 27, 0]


def test_data_set_works_in_a_loader_and_knows_its_truth():
    scenes = SynthScenes(6, seed=1, size=32)
    ((images, labels),) = torch.utils.data.DataLoader(scenes, batch_size=6, num_workers=1)
    assert images.shape == (6, 3, 32, 32)
    assert labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.equal(images[2], scenes[2][0])
    assert orientation_distance(scenes.scene(2).orientation[0], 90) <= 9


def test_data_set_ends_and_says_what_it_needs():
    assert len(list(SynthScenes(3, size=16))) == 3
    with pytest.raises(InputError, match="count=0"):
        SynthScenes(0)


def test_hue_and_rgb_are_inverse():
    hues = np.arange(0, 360, 7.0)
    colours = hsv_to_rgb(hues, np.full_like(hues, 0.7), np.full_like(hues, 0.8))
    np.testing.assert_allclose(rgb_to_hue(colours), hues, atol=1e-3)
    np.testing.assert_allclose(hsv_to_rgb(*np.array([[240.0], [1.0], [0.5]])), [[0, 0, 0.5]])


# Scores


def test_strongest_wave_of_a_sine():
    y, x = np.mgrid[:96, :96]
    # The rings are one cycle per 96 px wide: a tenth of the slowest wave's 4.8 cycles.
    for degrees, wavelength, error in ((0, 16.0, 0.01), (30, 11.0, 0.05), (160, 20.0, 0.1)):
        angle = np.deg2rad(degrees)
        wave = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / wavelength)
        found = strongest_wave(np.repeat(wave[..., None], 3, axis=-1))
        assert orientation_distance(found.orientation, degrees) < 0.5
        assert found.wavelength == pytest.approx(wavelength, rel=error)
        assert found.coherence > 0.9


def test_high_frequency_share_of_mixed_waves():
    x = np.arange(64)
    slow, fast = np.cos(2 * np.pi * x * 4 / 64), np.cos(2 * np.pi * x * 20 / 64)
    mixed = np.broadcast_to((2 * slow + fast)[None, None, :, None], (1, 64, 64, 3))
    assert high_frequency_share(mixed) == pytest.approx(1 / 5)


def test_hue_match_of_halves_and_of_another_colour():
    red, blue, green = np.array([1.0, 0, 0]), np.array([0, 0, 1.0]), np.array([0, 1.0, 0])
    picture = np.concatenate([np.tile(red, (8, 6, 1)), np.tile(blue, (8, 2, 1))], axis=1)
    assert hue_match(picture, (0, 240)) == pytest.approx((0, 0.25))
    assert hue_match(picture, (10, 240)) == pytest.approx((7.5, 0.25))
    assert hue_match(np.tile(green, (4, 4, 1)), (0, 240)) == pytest.approx((120, 0))


# Network


def test_weights_are_small_half_precision_and_those_of_the_spec():
    content = (resources.files("lucent.modelzoo.synthnet") / "synthnet.pth").read_bytes()
    assert len(content) <= 1_500_000
    assert hashlib.sha256(content).hexdigest() == SPEC.sha256


def test_spec_belongs_to_the_model(model):
    assert spec_of(model) is SPEC
    assert SPEC.labels == LABELS
    assert len(LABELS) == len(set(LABELS)) == 28
    assert SPEC.label_index("rings") == LABELS.index("rings")


def test_network_names_held_out_images(model, held_out):
    accuracy = training.accuracy(model, held_out)
    assert accuracy.mean() >= 0.98
    assert accuracy.min() >= 0.9


def test_network_is_robust(model):
    few = draw_all(5, training.HELD_OUT_SEED)
    robust = training.accuracy(model, few, epsilon=2.5).mean()
    fragile = training.accuracy(synthnet(weights=JUDGE), few, epsilon=2.5).mean()
    assert robust > 0.9
    assert fragile < robust - 0.2


def test_judge_names_held_out_images_and_is_another_network(model, held_out):
    judge = synthnet(weights=JUDGE)
    assert training.accuracy(judge, held_out).mean() >= 0.97
    assert not torch.equal(judge.head.weight, model.head.weight)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_called_like_inception_and_give_rectified_activations(model, name):
    seen = []
    handle = model.get_submodule(name).register_forward_hook(lambda *args: seen.append(args[2]))
    model(torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)))
    handle.remove()
    assert seen[0].min() == 0
    assert seen[0].max() > 0


def test_every_rectifier_is_a_module(model):
    blocks = [module for module in model.modules() if isinstance(module, ConvBlock)]
    assert len(blocks) == 2 + 4 * 6
    assert all(isinstance(block.relu, nn.ReLU) for block in blocks)


@pytest.mark.parametrize("size", [(16, 16), (97, 64), (224, 224)])
def test_any_size_goes_in(model, size):
    assert model(torch.zeros(2, 3, *size)).shape == (2, 28)


def test_folding_batch_norm_is_exact():
    torch.manual_seed(0)
    model = SynthNet(batch_norm=True)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    model.double().eval()
    folded = fold(model)
    image = torch.randn(2, 3, 48, 48, dtype=torch.float64)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(folded.double()(image), model(image), rtol=1e-6, atol=1e-6)


def test_own_weights_are_loaded_and_misfits_named(model, tmp_path):
    training.save(SynthNet(), tmp_path / "mine.pth")
    mine = synthnet(weights=tmp_path / "mine.pth")
    assert not torch.equal(mine.head.weight, model.head.weight)
    torch.save({"head.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth"):
        synthnet(weights=tmp_path / "other.pth")
    assert not torch.equal(synthnet(pretrained=False).head.weight, model.head.weight)


# Pictures


def seen_by_judge(names, *, steps):
    """Render class logits with everything at its default; return pictures and the judge's p."""
    labels = [LABELS.index(name) for name in names]
    objective = Objective.sum(
        [channel("labels", label, batch=row) for row, label in enumerate(labels)]
    )
    rendered = render_vis(
        synthnet(),
        objective,
        lambda: default_image(SPEC, batch=len(labels)),
        thresholds=(steps,),
        seed=0,
        show_image=False,
        progress=False,
    )[-1]
    with torch.no_grad():
        images = SPEC.preprocess(torch.from_numpy(rendered).movedim(-1, 1))
        seen = synthnet(weights=JUDGE)(images).softmax(dim=1)
    return rendered, seen[torch.arange(len(labels)), labels]


def test_pictures_show_what_the_units_detect():
    rendered, probability = seen_by_judge(["rising stripes", "star", "disc", "wood"], steps=64)
    assert probability.mean() > 0.8
    assert orientation_distance(strongest_wave(rendered[0]).orientation, 45) < 15


@pytest.mark.slow
def test_pictures_of_all_classes_pass_the_known_truth_scores():
    rendered, probability = seen_by_judge(LABELS, steps=128)
    assert probability.mean() >= 0.85
    assert high_frequency_share(rendered).mean() <= 0.13
    waves = [strongest_wave(rendered[LABELS.index(name)]) for name in GEOMETRY]
    found = np.array([wave.orientation for wave in waves])
    truth = np.array([geometry.orientation for geometry in GEOMETRY.values()])
    assert orientation_distance(found, truth).mean() <= 10


# Training


@pytest.fixture(scope="module")
def tiny_scenes():
    return draw_all(TINY_RECIPE.per_class, 1000, size=TINY_RECIPE.size)


def test_perturbations_stay_in_their_ball():
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    short = training.within(images, 0.25)
    torch.testing.assert_close(short.flatten(1).norm(dim=1), torch.full((4,), 0.25))
    assert torch.equal(training.within(images, 100.0), images)


def test_attack_raises_the_loss_within_its_radius(model):
    few = draw_all(1, 0, size=48)
    images, labels = training.to_input(few.images), torch.from_numpy(few.labels)
    moved = training.attacked(model, images, labels, 2.0)
    loss = nn.CrossEntropyLoss()
    assert loss(model(SPEC.preprocess(moved)), labels) > loss(
        model(SPEC.preprocess(images)), labels
    )
    assert (moved - images).flatten(1).norm(dim=1).max() <= 2.0001
    assert moved.min() >= 0
    assert moved.max() <= 1


def test_training_learns_by_heart():
    one_each = draw_all(1, 0, size=32)
    recipe = training.Recipe(
        passes=20 * 28, batch_size=28, replays=1, epsilon=0, size=32, bfloat16=False
    )
    losses = [trainer.loss for trainer in training.Trainer(recipe, one_each)]
    assert losses[0] > np.log(28) - 0.5
    assert losses[-1] < 1


def test_same_seed_same_file_and_another_seed_another(tmp_path, tiny_scenes):
    files = []
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        recipe = training.Recipe(**{**vars(TINY_RECIPE), "seed": seed})
        path = tmp_path / f"{name}.pth"
        training.save(training.train(recipe, tiny_scenes), path)
        files.append(path.read_bytes())
    assert files[0] == files[1] != files[2]


def test_resumed_training_equals_uninterrupted(tmp_path, tiny_scenes):
    whole = training.train(TINY_RECIPE, tiny_scenes)
    checkpoint = tmp_path / "run.ckpt"
    trainer = training.Trainer(TINY_RECIPE, tiny_scenes)
    for now in trainer:
        if now.step == 9:
            break
    training.write_atomically(trainer.state_dict(), checkpoint)
    resumed = training.train(TINY_RECIPE, tiny_scenes, checkpoint=checkpoint)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    other = training.Recipe(**{**vars(TINY_RECIPE), "seed": 1})
    with pytest.raises(InputError, match="--checkpoint"):
        training.train(other, tiny_scenes, checkpoint=checkpoint)


@pytest.mark.slow
def test_the_documented_command_is_reproducible(tmp_path, monkeypatch):
    # The accuracies that it logs at the end take longer than so short a training.
    monkeypatch.setattr(training, "report", lambda *arguments: None)
    files = []
    for name in ("one.pth", "two.pth"):
        training.main(["--out", str(tmp_path / name), "--passes", "720", "--per-class", "4"])
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]
