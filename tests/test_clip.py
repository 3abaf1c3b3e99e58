"""Embeddings of texts and images by tiny CLIP models, and what they are for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from reference import seeded
from torch.nn import functional as F
from torchvision.transforms import InterpolationMode, Normalize, functional

from lucent import clip
from lucent.errors import InputError
from lucent.modelzoo import ModelSpec
from lucent.optvis import param
from lucent.optvis.batch import render_many
from lucent.optvis.objectives import embedding
from lucent.optvis.render import render_vis

SPEC = ModelSpec("tiny", (32, 32), fixed_size=True, mean=(0.5,) * 3, std=(0.25,) * 3)
TEXTS = ["a photo of a dog", "two cats", "a house"]


@pytest.fixture(scope="module")
def open_clip():
    return pytest.importorskip("open_clip")


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers")


def towers(model_file):
    vision = model_file.CLIPVisionCfg(
        layers=2, width=32, head_width=16, patch_size=8, image_size=32
    )
    text = model_file.CLIPTextCfg(context_length=16, width=32, heads=2, layers=1)
    return vision, text


@pytest.fixture(scope="module")
def of_open_clip(open_clip):
    torch.manual_seed(0)
    model = open_clip.model.CLIP(24, *towers(open_clip.model))
    model.spec = SPEC
    return model.train()


def of_transformers(transformers, kind="CLIP"):
    torch.manual_seed(0)
    tower = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    tower["intermediate_size"] = 32
    words = {"vocab_size": 99, "bos_token_id": 97, "eos_token_id": 98, "pad_token_id": 1}
    config = getattr(transformers, f"{kind}Config")(
        text_config={**tower, **words, "max_position_embeddings": 12},
        vision_config={**tower, "image_size": 32, "patch_size": 8},
        **({"projection_dim": 24} if kind == "CLIP" else {}),
    )
    model = getattr(transformers, f"{kind}Model")(config)
    model.spec = SPEC
    return model.eval()


def words(texts, length=12):
    """Ids (n, L) of texts: their letters, then the end."""
    ids = torch.full((len(texts), length), 98)
    for row, text in zip(ids, texts, strict=True):
        letters = [2 + ord(letter) % 90 for letter in text[: length - 1]]
        row[: len(letters)] = torch.tensor(letters)
    return ids


def images(batch=3, height=32, width=32):
    return torch.rand(batch, 3, height, width, generator=seeded(1))


# Texts


def test_text_features_of_open_clip_are_those_of_its_encode_text(open_clip, of_open_clip):
    tokenizer = open_clip.SimpleTokenizer(context_length=16)
    with torch.no_grad():
        expected = F.normalize(of_open_clip.eval().encode_text(tokenizer(TEXTS)), dim=1)
    of_open_clip.train()
    before = tiny.condition(of_open_clip)
    found = clip.embed_text(of_open_clip, TEXTS)
    assert torch.allclose(found, expected, rtol=0, atol=1e-6)
    assert not found.requires_grad
    assert tiny.condition(of_open_clip) == before
    assert torch.allclose(clip.embed_text(of_open_clip, TEXTS[1]), expected[1], atol=1e-6)
    given = clip.embed_text(of_open_clip, TEXTS, tokenizer=tokenizer)
    assert torch.allclose(given, expected, rtol=0, atol=1e-6)
    assert torch.allclose(clip.embed_text(of_open_clip, tokenizer(TEXTS)), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["CLIP", "Siglip"])
def test_text_features_of_transformers_are_those_of_its_model(transformers, kind):
    model = of_transformers(transformers, kind)
    with torch.no_grad():
        expected = model.get_text_features(input_ids=words(TEXTS)).pooler_output
    found = clip.embed_text(model, TEXTS, tokenizer=words)
    assert torch.allclose(found, F.normalize(expected, dim=1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["CLIP", "Siglip"])
def test_a_tokenizer_of_transformers_fills_up_to_the_length_of_the_model(transformers, kind):
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {"[PAD]": 1, "[UNK]": 2, "a": 3, "dog": 4, "cat": 5, "[END]": 98}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A [END]", special_tokens=[("[END]", 98)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="[PAD]",
        eos_token="[END]",
        model_input_names=["input_ids"],
    )
    model = of_transformers(transformers, kind)
    ids = torch.tensor([[3, 4, 98] + [1] * 9, [3, 5, 98] + [1] * 9])
    expected = clip.embed_text(model, ids)
    found = clip.embed_text(model, ["a dog", "a cat"], tokenizer=tokenizer)
    assert torch.allclose(found, expected, rtol=0, atol=1e-6)
    assert not torch.allclose(found[0], found[1], atol=1e-3)


def test_many_texts_pass_in_parts(of_open_clip):
    texts = [f"text {n}" for n in range(130)]
    found = clip.embed_text(of_open_clip, texts)
    assert found.shape == (130, 24)
    assert torch.allclose(found[129], clip.embed_text(of_open_clip, "text 129"), atol=1e-6)


# Images


def test_image_features_of_open_clip_are_those_of_its_encode_image(of_open_clip):
    with torch.no_grad():
        expected = of_open_clip.eval().encode_image((images() - 0.5) / 0.25)
    expected = F.normalize(expected, dim=1)
    assert torch.allclose(clip.embed_image(of_open_clip, images()), expected, atol=1e-6)
    picture = images()[1].movedim(0, -1).numpy()
    assert torch.allclose(clip.embed_image(of_open_clip, picture), expected[1], atol=1e-6)


@pytest.mark.parametrize("kind", ["CLIP", "Siglip"])
def test_image_features_of_transformers_are_those_of_its_model(transformers, kind):
    model = of_transformers(transformers, kind)
    with torch.no_grad():
        expected = model.get_image_features((images() - 0.5) / 0.25).pooler_output
    found = clip.embed_image(model, images())
    assert torch.allclose(found, F.normalize(expected, dim=1), rtol=0, atol=1e-6)


def test_images_of_another_shape_are_scaled_and_their_middle_counts(of_open_clip):
    wide = images(2, 64, 100)
    scaled = F.interpolate(wide, (32, 50), mode="bilinear", antialias=True)[..., 9:41]
    expected = clip.embed_image(of_open_clip, scaled)
    assert torch.allclose(clip.embed_image(of_open_clip, wide), expected, rtol=0, atol=1e-6)


def test_photographs_are_scaled_by_the_interpolation_of_the_network(of_open_clip, monkeypatch):
    monkeypatch.setattr(of_open_clip, "spec", replace(SPEC, interpolation="bicubic"))
    photo = images(1, 64, 100)[0].gt(0.5).float()  # edges at which the cubic overshoots
    scaled = functional.resize(photo, 32, InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)
    seen = Normalize([0.5] * 3, [0.25] * 3)(functional.center_crop(scaled, [32, 32]))
    with torch.no_grad():
        expected = F.normalize(of_open_clip.encode_image(seen[None]), dim=1)
    assert torch.allclose(clip.embed_image(of_open_clip, photo), expected[0], rtol=0, atol=1e-6)


def test_any_layer_of_any_network_gives_embeddings():
    found = clip.embed_image(tiny.Chain(), tiny.colour(0.8, 0.6, 0.1), layer="conv1")
    assert torch.allclose(found, torch.tensor([[0.8, -0.6]]), rtol=0, atol=1e-6)
    found = clip.embed_image(tiny.Chain(), tiny.colour(0.8, 0.6, 0.1)[0])
    assert torch.allclose(found, torch.tensor([0.5**0.5, -(0.5**0.5)]), rtol=0, atol=1e-6)


def test_the_embedding_of_a_layer_of_tokens_is_the_mean_of_the_patches(transformers):
    model = of_transformers(transformers)
    layer = "vision_model.encoder.layers.0"
    with torch.no_grad():
        hidden = model.vision_model((images() - 0.5) / 0.25, output_hidden_states=True)
    tokens = hidden.hidden_states[1]
    found = clip.embed_image(model, images(), layer=layer)
    assert torch.allclose(found, F.normalize(tokens[:, 1:].mean(1), dim=1), rtol=0, atol=1e-5)
    found = clip.embed_image(model, images(), layer=f"{layer}@cls")
    assert torch.allclose(found, F.normalize(tokens[:, 0], dim=1), rtol=0, atol=1e-5)


def test_the_layer_of_image_embeddings(open_clip, of_open_clip, transformers):
    assert clip.image_layer(of_transformers(transformers)) == "visual_projection"
    assert clip.image_layer(of_transformers(transformers, "Siglip")) == "vision_model.head"
    assert clip.image_layer(tiny.Chain()) == "labels"
    assert clip.image_layer(torch.nn.DataParallel(of_open_clip)) == "visual"


def test_a_tower_that_gives_its_tokens_too(open_clip):
    vision, text = towers(open_clip.model)
    vision.output_tokens = vision.attentional_pool = True
    vision.attn_pooler_heads = text.heads
    multimodal = open_clip.coca_model.MultimodalCfg(width=24, heads=2, layers=1, context_length=16)
    model = open_clip.coca_model.CoCa(24, multimodal, text, vision).eval()
    model.spec = SPEC
    assert clip.image_layer(model) == "visual[0]"
    with torch.no_grad():
        expected = model.encode_image((images() - 0.5) / 0.25)
    assert torch.allclose(clip.embed_image(model, images()), expected, rtol=0, atol=1e-6)


# Rendering


def rendered(model, layer, target, **options):
    return render_vis(
        model, embedding(layer, target, **options), lambda: param.image(32), transforms=[],
        thresholds=(20,), seed=0, progress=False, show_image=False,
    )  # fmt: skip


@pytest.mark.parametrize("measure", ["cosine", "spherical"])
def test_an_image_for_a_text_is_more_like_it_after_20_steps(of_open_clip, measure):
    target = clip.embed_text(of_open_clip, TEXTS[0])
    start = -rendered(of_open_clip, "visual", target).history.loss[0]
    pictures = rendered(of_open_clip, "visual", target, measure=measure)
    likeness = clip.embed_image(of_open_clip, pictures[0])[0] @ target
    assert likeness > start + 0.3
    assert not any(p.grad is not None for p in of_open_clip.parameters())


@pytest.mark.parametrize("kind", ["CLIP", "Siglip"])
def test_an_image_for_a_text_by_a_model_of_transformers(transformers, kind):
    model = of_transformers(transformers, kind)
    target = clip.embed_text(model, TEXTS[0], tokenizer=words)
    history = rendered(model, clip.image_layer(model), target).history
    assert history.loss[-1] < history.loss[0] - 0.1


def test_an_image_for_another_image(of_open_clip):
    target = clip.embed_image(of_open_clip, images()[0])
    history = rendered(of_open_clip, "visual", target).history
    # The untrained tower sees all images as nearly the same.
    assert 1 + history.loss[-1] < (1 + history.loss[0]) / 10


def test_only_the_image_tower_runs(of_open_clip, monkeypatch):
    target = clip.embed_text(of_open_clip, TEXTS[0])
    monkeypatch.setattr(of_open_clip, "encode_text", None)
    monkeypatch.setattr(of_open_clip.transformer, "forward", None)
    history = rendered(of_open_clip, "visual", target).history
    assert history.loss[-1] < history.loss[0]


def test_texts_are_rows_of_one_batch(of_open_clip):
    targets = clip.embed_text(of_open_clip, TEXTS)
    wanted = [embedding("visual", target) for target in targets]
    results = [
        *render_many(
            of_open_clip, wanted, lambda: param.image(32), transforms=[], thresholds=(20,), seed=0,
            batch_size=3,
        )
    ]  # fmt: skip
    for result, target in zip(results, targets, strict=True):
        alone = rendered(of_open_clip, "visual", target)
        assert result.history.loss[-1] == pytest.approx(alone.history.loss[-1], abs=1e-3)


# Labels for units


def test_units_are_labelled_by_the_texts_nearest_to_their_pictures(of_open_clip):
    vocabulary = [f"word {n}" for n in range(9)]
    pictures = [images()[0], images().movedim(1, -1).numpy()]
    found = clip.label_units(of_open_clip, pictures, vocabulary, prompt="a photo of {}", top=4)
    texts = clip.embed_text(of_open_clip, [f"a photo of {word}" for word in vocabulary]).numpy()
    own = clip.embed_image(of_open_clip, images()).numpy()
    for labels, unit in zip(found, [own[0], own.mean(0)], strict=True):
        cosines = texts @ (unit / np.linalg.norm(unit))
        best = np.argsort(-cosines)[:4]
        assert [text for text, _ in labels] == [vocabulary[n] for n in best]
        assert [value for _, value in labels] == pytest.approx(cosines[best], abs=1e-6)


def test_a_small_vocabulary_is_ranked_whole(of_open_clip):
    (labels,) = clip.label_units(of_open_clip, [images()[0]], TEXTS)
    assert sorted(text for text, _ in labels) == sorted(TEXTS)


# Errors


def test_model_without_a_text_tower():
    with pytest.raises(InputError, match=r"Chain has no text tower .* give the whole CLIP model"):
        clip.embed_text(tiny.Chain(), "dog")


def test_no_texts(of_open_clip):
    with pytest.raises(InputError, match="no texts to embed: give at least one"):
        clip.embed_text(of_open_clip, [])


def test_ids_of_one_text_without_their_axis(of_open_clip):
    with pytest.raises(InputError, match=r"the shape \(16,\), expected is \(n, L\).*ids\[None\]"):
        clip.embed_text(of_open_clip, torch.zeros(16, dtype=torch.long))


def test_vocabulary_that_is_one_text(of_open_clip):
    with pytest.raises(InputError, match=r"vocabulary='dog' is one text: give a list, \['dog'\]"):
        clip.label_units(of_open_clip, [images()[0]], "dog")


def test_tokenizer_that_is_not_known(of_open_clip, transformers, monkeypatch):
    said = "is not known: give tokenizer=, such as open_clip.get_tokenizer"
    with pytest.raises(InputError, match=f"tokenizer of this CLIPModel {said}"):
        clip.embed_text(of_transformers(transformers), "dog")
    monkeypatch.setattr(of_open_clip, "vocab_size", 64000)
    with pytest.raises(InputError, match=f"tokenizer of this CLIP {said}"):
        clip.embed_text(of_open_clip, "dog")


def test_tokenizer_that_cannot_be_loaded(transformers, monkeypatch):
    def refuse(name):
        raise OSError(f"no {name}")

    model = of_transformers(transformers)
    model.config._name_or_path = model.name_or_path = "somebody/clip"
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", refuse)
    with pytest.raises(
        InputError, match=r"'somebody/clip' cannot be loaded: no .* tokenizer=\.\.\."
    ):
        clip.embed_text(model, "dog")


def test_prompt_without_a_place(of_open_clip):
    with pytest.raises(InputError, match=r"prompt='a photo of' has no place for a text: write"):
        clip.label_units(of_open_clip, [images()[0]], TEXTS, prompt="a photo of")


def test_images_that_are_none(of_open_clip):
    with pytest.raises(InputError, match="images has to be a tensor"):
        clip.embed_image(of_open_clip, [1, 2])
