"""The vision transformer that ships with the package."""

import hashlib
from importlib import resources
from pathlib import Path

import pytest
import torch
from torch import nn

from lucent.errors import InputError, WeightsError
from lucent.modelzoo.spec import spec_of
from lucent.modelzoo.synthnet import SPEC as SYNTHNET
from lucent.modelzoo.synthnet import synthnet
from lucent.modelzoo.synthnet import train as training
from lucent.modelzoo.synthnet.data import LABELS, draw_all
from lucent.modelzoo.synthvit import SPEC, SynthViT, synthvit
from lucent.optvis.objectives import Objective, channel
from lucent.optvis.render import default_image, render_vis

FILE = resources.files("lucent.modelzoo.synthvit") / "synthvit.pth"
JUDGE = Path(__file__).parents[2] / "benchmarks" / "synthnet_judge.pth"


@pytest.fixture(scope="module")
def model():
    return synthvit()


@pytest.fixture(scope="module")
def held_out():
    return draw_all(20, training.HELD_OUT_SEED)


@pytest.fixture(autouse=True)
def torch_settings():
    """Leave the number of threads as it was: training sets it."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


def gradients(size=96):
    """A picture of three plain gradients, (1, 3, size, size)."""
    line = torch.linspace(0, 1, size)
    falling, level = line.flip(0)[None].expand(size, -1), torch.full((size, size), 0.25)
    return torch.stack([line[:, None].expand(-1, size), falling, level])[None]


def outputs(model, image, *names):
    """What layers give for an image."""
    seen, handles = {}, []
    for name in names:
        module = model.get_submodule(name)
        handles.append(module.register_forward_hook(lambda *a, n=name: seen.update({n: a[2]})))
    with torch.no_grad():
        model(image)
    for handle in handles:
        handle.remove()
    return [seen[name] for name in names]


def test_file_is_small_half_precision_and_as_its_spec_says():
    data = FILE.read_bytes()
    assert len(data) <= 2_000_000
    assert hashlib.sha256(data).hexdigest() == SPEC.sha256
    state = torch.load(FILE, weights_only=True)
    assert {tensor.dtype for tensor in state.values()} == {torch.float16}
    assert state.keys() == SynthViT().state_dict().keys()


def test_spec_is_that_of_the_data_and_of_one_size(model):
    assert spec_of(model) is SPEC
    assert SPEC.labels == LABELS
    assert SPEC.fixed_size
    assert SPEC.input_size == (96, 96)
    for fact in ("mean", "std", "color_matrix", "image_size"):
        assert getattr(SPEC, fact) == getattr(SYNTHNET, fact)


def test_names_are_those_of_vision_transformers(model):
    names = dict(model.named_modules())
    block = ("norm1", "attn", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.act", "mlp.fc2")
    assert {f"blocks.{n}.{part}" for n in range(4) for part in block} <= names.keys()
    assert {"patch_embed", "norm", "head"} <= names.keys()
    assert model.cls_token.shape == (1, 1, 128)
    assert model.pos_embed.shape == (1, 65, 128)


def test_attention_is_that_of_torch(model):
    twin = nn.MultiheadAttention(128, 4, batch_first=True).double().eval()
    own = synthvit().double().blocks[1].attn
    twin.load_state_dict(
        {
            "in_proj_weight": own.qkv.weight,
            "in_proj_bias": own.qkv.bias,
            "out_proj.weight": own.proj.weight,
            "out_proj.bias": own.proj.bias,
        }
    )
    tokens = torch.randn(2, 65, 128, generator=torch.Generator().manual_seed(0)).double()
    maps = []
    own.softmax.register_forward_hook(lambda *args: maps.append(args[2]))
    wanted, wanted_maps = twin(tokens, tokens, tokens, average_attn_weights=False)
    torch.testing.assert_close(own(tokens), wanted)
    torch.testing.assert_close(maps[0], wanted_maps)


def test_patches_are_tokens_row_by_row(model):
    image = torch.zeros(1, 3, 96, 96)
    (plain,) = outputs(model, image, "patch_embed")
    image[0, :, 12:24, 60:72] = 1  # row 1, column 5 of 8 x 8 patches of 12 pixels
    (marked,) = outputs(model, image, "patch_embed")
    assert (plain != marked).any(dim=2).flatten().nonzero().flatten().tolist() == [1 * 8 + 5]


def test_outputs_are_those_of_the_shipped_weights():
    with torch.no_grad():
        logits = synthvit().double()(SPEC.preprocess(gradients().double()))[0]
    golden = [-1.868760896, -1.112609520, -2.022308739, -0.195084871]
    assert logits[:4].tolist() == pytest.approx(golden, abs=1e-8)
    assert LABELS[logits.argmax()] == "clouds"


def test_class_token_comes_first_and_alone_decides(model):
    image = SPEC.preprocess(gradients())
    norm, logits = outputs(model, image, "norm", "head")
    assert norm.shape == (1, 65, 128)
    torch.testing.assert_close(logits, model.head(norm[:, 0]))


def test_another_size_is_refused_with_what_to_do():
    with pytest.raises(InputError, match=r"96 x 96 pixels; got \(1, 3, 64, 96\).*interpolate"):
        SynthViT()(torch.zeros(1, 3, 64, 96))


def test_own_weights_are_loaded_and_misfits_named(model, tmp_path):
    training.save(SynthViT(), tmp_path / "mine.pth")
    mine = synthvit(weights=tmp_path / "mine.pth")
    assert not torch.equal(mine.head.weight, model.head.weight)
    training.save(synthnet(), tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth"):
        synthvit(weights=tmp_path / "other.pth")
    assert not torch.equal(synthvit(pretrained=False).head.weight, model.head.weight)


def test_network_names_held_out_images(model, held_out):
    accuracy = training.accuracy(model, held_out)
    assert accuracy.mean() >= 0.9
    assert accuracy.median() == 1


def test_network_is_robust(model):
    few = draw_all(5, training.HELD_OUT_SEED)
    assert training.accuracy(model, few, epsilon=1.0).mean() > 0.65


def judged(preset, names, *, steps):
    """What the judge, a network of another kind and other training, says of renders of classes."""
    labels = [LABELS.index(name) for name in names]
    pictures = render_vis(
        synthvit(),
        Objective.sum(channel("labels", label, batch=row) for row, label in enumerate(labels)),
        lambda: default_image(SPEC, batch=len(labels)),
        thresholds=(steps,),
        preset=preset,
        seed=0,
        show_image=False,
        progress=False,
    )[-1]
    images = SPEC.preprocess(torch.from_numpy(pictures).movedim(-1, 1))
    with torch.no_grad():
        seen = synthnet(weights=JUDGE)(images).softmax(dim=1)
    return seen[torch.arange(len(labels)), labels]


def test_pictures_show_what_the_units_detect():
    names = ["rising stripes", "dots", "wood", "face"]
    assert judged("vit", names, steps=32).min() > 0.8


@pytest.mark.slow
def test_preset_for_transformers_makes_pictures_that_are_told_better():
    plain, vit = (judged(preset, LABELS, steps=64).mean() for preset in ("plain", "vit"))
    assert vit > plain + 0.1


def test_training_learns_by_heart_and_repeats():
    one_each = draw_all(1, 0)
    recipe = training.Recipe(
        network="synthvit", passes=12 * 28, batch_size=28, replays=1, epsilon=0, bfloat16=False
    )
    first, second = (
        [trainer.loss for trainer in training.Trainer(recipe, one_each)] for _ in range(2)
    )
    assert first[-1] < first[0] - 0.5
    assert first == second
