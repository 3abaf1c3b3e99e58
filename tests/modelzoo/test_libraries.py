"""Networks of timm, open_clip and transformers: what is known about them, and by which names."""

from __future__ import annotations

import importlib
import json
import socket

import huggingface_hub
import open_clip
import pytest
import timm
import torch
import transformers
from process import run_python
from safetensors.torch import save_file
from torch import nn

from lucent.errors import InputError, LucentWarning, MissingExtra, WeightsError
from lucent.hooks import Activations
from lucent.layers import run_model
from lucent.modelzoo import ModelSpec, _transformers, load, names, spec_of

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
TINY = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
    "image_size": 16, "patch_size": 8,
}  # fmt: skip


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """Empty folders for weights, and no waiting for a network that the tests do not have."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))

    def unknown(*_, **__):
        raise socket.gaierror("no network here")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)


def takes(model, *size):
    """Whether a network accepts an image of this size."""
    try:
        with torch.no_grad():
            run_model(model.eval(), torch.zeros(1, 3, *size))
    except (RuntimeError, ValueError, AssertionError):
        return False
    return True


def assert_size_is_right(model, other):
    """The stated size is accepted, and another one exactly if the size is not fixed."""
    spec = spec_of(model)
    assert takes(model, *spec.input_size)
    assert takes(model, *other) is not spec.fixed_size


def clip(**vision):
    """A CLIP network with towers of a few numbers."""
    size = {"layers": 1, "width": 16, "head_width": 8, "patch_size": 8, "image_size": 16}
    text = {"context_length": 4, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}
    return open_clip.CLIP(
        8, open_clip.CLIPVisionCfg(**{**size, **vision}), open_clip.CLIPTextCfg(**text)
    )


# --- timm ---


def test_spec_of_a_timm_network_is_its_configuration():
    spec = spec_of(timm.create_model("vit_tiny_patch16_224"))
    assert spec.name == "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    assert (spec.mean, spec.std, spec.interpolation) == ((0.5,) * 3, (0.5,) * 3, "bicubic")
    assert (spec.input_size, spec.fixed_size, spec.crop) == ((224, 224), True, 0.9)
    assert (spec.licence, spec.channels) == ("apache-2.0", 3)
    assert spec.label_index("golden retriever") == 207
    assert spec.url.startswith("https://huggingface.co/timm/vit_tiny_patch16_224.augreg")


def test_a_paper_that_timm_names_is_a_link():
    with torch.device("meta"):
        model = timm.create_model("convnextv2_atto")
    assert spec_of(model).paper == "https://arxiv.org/abs/2301.00808"


@pytest.mark.parametrize(
    ("name", "options", "other"),
    [
        ("vit_tiny_patch16_224", {}, (256, 256)),
        ("vit_tiny_patch16_224", {"img_size": 96}, (224, 224)),
        ("vit_tiny_patch16_224", {"dynamic_img_size": True}, (96, 128)),
        ("swin_tiny_patch4_window7_224", {"depths": (1, 1, 1, 1)}, (256, 256)),
        ("swin_tiny_patch4_window7_224", {"depths": (1,) * 4, "strict_img_size": False}, (96, 96)),
        ("mixer_s32_224", {"img_size": 96}, (128, 128)),
        ("resnet10t", {}, (64, 96)),
        ("convnext_atto", {"depths": (1, 1, 1, 1)}, (64, 96)),
    ],
)
def test_fixed_sizes_of_timm_are_those_that_others_fail_with(name, options, other):
    assert_size_is_right(timm.create_model(name, **options), other)


@pytest.mark.parametrize("n_classes", [0, 7])
def test_labels_are_those_of_networks_with_all_classes_only(n_classes):
    assert spec_of(timm.create_model("resnet10t", num_classes=n_classes)).labels == ()


def test_labels_of_larger_imagenets():
    with torch.device("meta"):
        model = timm.create_model("convnext_nano.in12k")
    labels = spec_of(model).labels
    assert (len(labels), labels[0]) == (11821, "benthos")


def test_feature_extractors_of_timm_keep_their_statistics():
    spec = spec_of(timm.create_model("resnet10t", features_only=True))
    assert (spec.mean, spec.input_size, spec.labels) == ((0.485, 0.456, 0.406), (176, 176), ())


def test_other_channels_than_the_published_ones_get_averages_and_a_warning():
    with pytest.warns(LucentWarning, match=r"timm/resnet10t.*3 channels.*takes 1: mean 0\.449"):
        spec = spec_of(timm.create_model("resnet10t", in_chans=1))
    assert (spec.channels, spec.mean, spec.std) == (1, (0.449,), (0.226,))


def test_a_space_to_depth_layer_is_no_reason_for_other_channels():
    with torch.device("meta"):
        model = timm.create_model("tresnet_m")
    assert spec_of(model).channels == 3


@pytest.fixture
def resnet():
    return timm.create_model("resnet10t")


def same(model, state):
    return all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_timm_networks_load_weights_of_files(tmp_path, resnet, suffix):
    path = tmp_path / f"a{suffix}"
    (torch.save if suffix == ".pth" else save_file)(resnet.state_dict(), path)
    model = load("timm/resnet10t.c3_in1k", weights=path)
    assert same(model, resnet.state_dict())
    assert not model.training
    assert spec_of(model).name == "timm/resnet10t.c3_in1k"


def test_weights_that_timm_published_under_older_names_are_understood(tmp_path):
    # What DINO's authors published: the classifier is missing, the rest is as timm has it.
    source = timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=1)
    torch.save({"teacher": 1, "model": source.state_dict()}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"a\.pth does not fit timm/vit_tiny.*Missing key"):
        load("timm/vit_tiny_patch16_224", weights=tmp_path / "a.pth")
    swin = timm.create_model("swin_tiny_patch4_window7_224").state_dict()
    old = {k.replace("downsample", "old"): v for k, v in swin.items()}
    old["layers.0.blocks.1.attn_mask"] = torch.zeros(1)  # is computed today
    assert any(k.startswith("layers.1.old") for k in old)
    # Original files of Swin have the downsampling at the end of a stage, timm at the beginning.
    original = {
        k.replace(f"layers.{i}.old", f"layers.{i - 1}.downsample"): v
        for i in (1, 2, 3)
        for k, v in old.items()
        if k.startswith(f"layers.{i}.old")
    }
    original |= {k: v for k, v in old.items() if ".old" not in k}
    original = {k.replace("head.fc", "head"): v for k, v in original.items()}
    torch.save(original, tmp_path / "swin.pth")
    assert same(load("timm/swin_tiny_patch4_window7_224", weights=tmp_path / "swin.pth"), swin)


def test_prefixes_of_wrappers_are_dropped(tmp_path, resnet):
    state = {f"_orig_mod.module.{key}": value for key, value in resnet.state_dict().items()}
    torch.save(state, tmp_path / "a.pth")
    assert same(load("timm/resnet10t", weights=tmp_path / "a.pth"), resnet.state_dict())


def test_published_weights_of_timm_come_from_the_cache_of_the_hub(tmp_path, monkeypatch, resnet):
    save_file(resnet.state_dict(), tmp_path / "cached.safetensors")
    asked = []

    def cached(repository, name):
        asked.append((repository, name))
        return str(tmp_path / "cached.safetensors")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    assert same(load("timm/resnet10t"), resnet.state_dict())
    assert asked == [("timm/resnet10t.c3_in1k", "model.safetensors")]


def test_published_weights_of_timm_may_be_put_into_torch_hubs_folder(tmp_path, resnet):
    with pytest.raises(WeightsError) as caught:
        load("timm/resnet10t")
    text = str(caught.value)
    kept_as = "timm--resnet10t.c3_in1k--model.safetensors"
    address = "https://huggingface.co/timm/resnet10t.c3_in1k/resolve/main/model.safetensors"
    folder = tmp_path / "hub" / "checkpoints"
    for part in (kept_as, address, str(folder), "weights=FILE", "pretrained=False"):
        assert part in text
    folder.mkdir(parents=True, exist_ok=True)
    save_file(resnet.state_dict(), folder / kept_as)
    assert same(load("timm/resnet10t"), resnet.state_dict())


def test_unknown_names_and_tags_of_timm_are_errors_that_help():
    with pytest.raises(InputError, match=r"timm has no network 'resnet10tt'.*'resnet10t'"):
        load("timm/resnet10tt")
    with pytest.raises(InputError, match=r"no weights 'x' of resnet10t, but these: c3_in1k"):
        load("timm/resnet10t.x", pretrained=False)
    with pytest.raises(InputError, match=r"no weights '' of resnet10t, but these: c3_in1k"):
        load("timm/resnet10t.", pretrained=False)


def test_a_network_of_timm_keeps_its_weights_once(tmp_path, resnet):
    torch.save(resnet.state_dict(), tmp_path / "a.pth")
    model = load("timm/resnet10t", weights=tmp_path / "a.pth")
    assert not any(isinstance(value, dict) for value in model.pretrained_cfg.values())


def test_a_network_that_timm_never_trained_has_no_weights():
    name = next(name for name in timm.list_models() if not timm.is_model_pretrained(name))
    with pytest.raises(WeightsError, match=rf"no published weights of timm/{name}.*pretrained=F"):
        load(f"timm/{name}")


# --- open_clip ---


def test_spec_of_clip_is_what_openai_trained_with():
    model = clip()
    for part in (model, model.visual):
        spec = spec_of(part)
        assert (spec.mean, spec.input_size, spec.fixed_size) == (CLIP_MEAN, (16, 16), True)
        assert spec.std == (0.26862954, 0.26130258, 0.27577711)
        assert spec.interpolation == "bicubic"
        assert_size_is_right(part.visual if part is model else part, (32, 32))


def test_spec_of_clip_follows_its_own_preprocessing():
    model = clip()
    open_clip.model.set_model_preprocess_cfg(
        model, {"mean": (0.5,) * 3, "std": (0.25,) * 3, "interpolation": "bilinear"}
    )
    spec = spec_of(model)
    assert (spec.mean, spec.std, spec.interpolation) == ((0.5,) * 3, (0.25,) * 3, "bilinear")


def test_towers_of_clip_with_attention_pooling_have_a_fixed_size():
    model = clip(layers=(1, 1, 1, 1), image_size=64)
    assert type(model.visual).__name__ == "ModifiedResNet"
    assert_size_is_right(model.visual, (96, 96))


def test_a_convolutional_tower_of_timm_takes_any_size():
    model = clip(timm_model_name="convnext_atto", timm_pool="", timm_proj="linear", image_size=64)
    assert not spec_of(model).fixed_size
    assert_size_is_right(model.visual, (96, 64))


@pytest.fixture
def tiny_clip(tmp_path, monkeypatch):
    """A small architecture by name, with published weights that are on this machine."""
    config = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8,
                       "patch_size": 8},
        "text_cfg": {"context_length": 4, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1},
    }  # fmt: skip
    (tmp_path / "ViT-Tiny.json").write_text(json.dumps(config))
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", {"ViT-Tiny": config})
    published = {"url": "", "hf_hub": "me/tiny/", "mean": (0.1, 0.2, 0.3), "quick_gelu": True}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "ViT-Tiny", {"some_tag": published})
    return open_clip.create_model("ViT-Tiny")


@pytest.mark.parametrize("name", ["ViT-Tiny", "vit-tiny/some_tag", "ViT-Tiny:some-tag"])
def test_published_weights_of_open_clip_by_name(tmp_path, monkeypatch, tiny_clip, name):
    save_file(tiny_clip.state_dict(), tmp_path / "cached.safetensors")
    cached = str(tmp_path / "cached.safetensors")
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: cached)
    model = load(f"open_clip/{name}")
    assert same(model, tiny_clip.state_dict())
    spec = spec_of(model)
    assert (spec.name, spec.mean) == ("open_clip/ViT-Tiny/some_tag", (0.1, 0.2, 0.3))
    # These weights were trained with another activation than the architecture has.
    assert type(model.visual.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"


def test_weights_of_files_and_random_weights_of_open_clip(tmp_path, tiny_clip):
    save_file(tiny_clip.state_dict(), tmp_path / "a.safetensors")
    model = load("open_clip/ViT-Tiny", weights=tmp_path / "a.safetensors")
    assert same(model, tiny_clip.state_dict())
    assert spec_of(model).mean == CLIP_MEAN
    tagged = load("open_clip/ViT-Tiny/some_tag", weights=tmp_path / "a.safetensors")
    assert spec_of(tagged).mean == (0.1, 0.2, 0.3)
    assert not same(load("open_clip/ViT-Tiny", pretrained=False), tiny_clip.state_dict())


@pytest.mark.usefixtures("tiny_clip")
def test_errors_of_open_clip_help():
    with pytest.raises(WeightsError, match=r"me--tiny--open_clip_model\.safetensors.*pretrained=F"):
        load("open_clip/ViT-Tiny")
    with pytest.raises(InputError, match=r"no weights 'x' of ViT-Tiny, but these: some_tag\. Type"):
        load("open_clip/ViT-Tiny/x")
    with pytest.raises(InputError, match=r"open_clip has no network 'ViT-Tny'\. Did.*'ViT-Tiny'"):
        load("open_clip/ViT-Tny")


# --- transformers ---


def tiny(kind, **options):
    return getattr(transformers, f"{kind}Config")(**{**TINY, **options})


def classifier(**options):
    names = {0: "cat", 1: "dog", 2: "owl"}
    config = tiny("ViT", id2label=names, label2id={v: k for k, v in names.items()}, **options)
    return transformers.ViTForImageClassification(config)


def test_spec_of_a_transformers_classifier():
    spec = spec_of(classifier())
    assert (spec.input_size, spec.fixed_size, spec.channels) == ((16, 16), True, 3)
    assert (spec.mean, spec.std, spec.value_range) == ((0.5,) * 3, (0.5,) * 3, (0.0, 1.0))
    assert (spec.labels, spec.logits) == (("cat", "dog", "owl"), "[logits]")
    assert (spec.name, spec.interpolation) == ("ViTForImageClassification", "bilinear")


def test_labels_of_a_transformers_classifier_are_its_logits():
    model = classifier().eval()
    image = torch.rand(2, 3, 16, 16)
    with Activations(model, ["labels"], aliases=spec_of(model).layer_aliases) as T, torch.no_grad():
        T.run(image)
        assert torch.equal(T("labels"), model(pixel_values=image).logits)


def test_classes_without_names_are_no_labels():
    assert spec_of(transformers.ViTForImageClassification(tiny("ViT"))).labels == ()
    assert spec_of(transformers.ViTModel(tiny("ViT"))).logits is None


@pytest.mark.parametrize(
    ("kind", "mean"),
    [
        ("CLIPVision", CLIP_MEAN),
        ("SiglipVision", (0.5,) * 3),
        ("Dinov2WithRegisters", CLIP_MEAN),  # what the class says; files of networks say otherwise
    ],
)
def test_parts_and_variants_have_the_image_processor_of_their_family(kind, mean):
    assert spec_of(getattr(transformers, f"{kind}Model")(tiny(kind))).mean == mean


WINDOWS = {"image_size": 16, "patch_size": 2, "embed_dim": 8, "depths": [1], "num_heads": [1]}
STAGES = {"image_size": 32, "hidden_sizes": [8] * 4, "depths": [1] * 4}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *((kind, TINY) for kind in ("ViT", "DeiT", "CLIPVision", "SiglipVision", "ViTMSN")),
        *((kind, TINY) for kind in ("Dinov2", "Dinov2WithRegisters", "DINOv3ViT")),
        *((kind, {**WINDOWS, "window_size": 4}) for kind in ("Swin", "Swinv2")),
        *((kind, STAGES) for kind in ("ConvNext", "ConvNextV2")),
    ],
)
def test_fixed_sizes_of_transformers_are_those_that_others_fail_with(kind, options):
    config = getattr(transformers, f"{kind}Config")(**options)
    assert_size_is_right(getattr(transformers, f"{kind}Model")(config), (64, 64))


def test_networks_with_two_towers_are_described_by_that_for_images():
    config = transformers.CLIPConfig(vision_config=tiny("CLIPVision").to_dict())
    spec = spec_of(transformers.CLIPModel(config))
    assert (spec.input_size, spec.mean, spec.labels) == ((16, 16), CLIP_MEAN, ())


def test_a_processor_that_turns_channels_round_and_normalises_nothing():
    spec = spec_of(transformers.MobileViTModel(transformers.MobileViTConfig()))
    assert (spec.channel_order, spec.mean, spec.std) == ("BGR", (0.0,), (1.0,))
    image = torch.rand(1, 3, 2, 2)
    assert spec.preprocess(image).equal(image[:, [2, 1, 0]])


def test_values_of_an_efficientnet_are_those_of_its_processor():
    # It divides by the standard deviation twice, of which its authors therefore give the root.
    settings = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.4785, 0.4733, 0.4743]}
    processor = transformers.EfficientNetImageProcessor(**settings, do_resize=False)
    image = torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8)
    for twice in (True, False):
        expected = processor(image, include_top=twice, return_tensors="pt")["pixel_values"]
        facts = {**settings, "do_normalize": True, "include_top": twice}
        spec = ModelSpec("a", **_transformers._values(facts))
        found = spec.preprocess(image[None] / 255)
        assert torch.allclose(found, expected, rtol=0, atol=1e-5)
    config = transformers.EfficientNetConfig(hidden_dim=32)
    assert _transformers._facts(config)["include_top"] is True


def test_a_network_without_a_processor_is_unknown():
    config = transformers.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
    with pytest.warns(LucentWarning, match="Nothing is known about BertModel"):
        spec_of(transformers.BertModel(config))


@pytest.fixture
def folder(tmp_path):
    """A classifier as transformers stores it, with statistics of its own."""
    classifier().half().save_pretrained(tmp_path / "net")
    stored = {
        "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "resample": 3,
        "rescale_factor": 1 / 127.5, "offset": True, "size": 16,
    }  # fmt: skip
    (tmp_path / "net" / "preprocessor_config.json").write_text(json.dumps(stored))
    return tmp_path / "net"


def test_a_folder_of_transformers_is_loaded_with_what_it_says_about_images(folder):
    model = load(f"hf/{folder}")
    spec = spec_of(model)
    assert (type(model).__name__, model.training) == ("ViTForImageClassification", False)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert (spec.mean, spec.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert (spec.value_range, spec.interpolation) == ((-1.0, 1.0), "bicubic")
    assert spec.label_index("owl") == 2


def test_random_weights_and_weights_of_files_need_the_configuration_only(folder, tmp_path):
    weights = tmp_path / "a.safetensors"
    (folder / "model.safetensors").rename(weights)
    with pytest.raises(WeightsError, match=r"could not be loaded.*save_pretrained.*pretrained=F"):
        load(f"hf/{folder}")
    random = load(f"hf/{folder}", pretrained=False)
    model = load(f"hf/{folder}", weights=weights)
    assert not torch.equal(random.classifier.weight, model.classifier.weight)
    torch.save(model.state_dict(), tmp_path / "a.pth")
    assert same(load(f"hf/{folder}", weights=tmp_path / "a.pth"), model.state_dict())
    torch.save({"classifier.bias": torch.zeros(3)}, tmp_path / "a.pth")
    with pytest.raises(
        WeightsError, match=r"a\.pth does not fit ViTForImage.*\(and 2\d more\) are"
    ):
        load(f"hf/{folder}", weights=tmp_path / "a.pth")


def test_a_network_without_its_file_about_images_gets_the_familys_with_a_warning(folder):
    (folder / "preprocessor_config.json").unlink()
    with pytest.warns(LucentWarning, match=r"no preprocessor_config\.json of .*0\.5.*Put it there"):
        assert spec_of(load(f"hf/{folder}")).mean == (0.5,) * 3


def test_one_mean_in_the_file_about_images_is_that_of_all_channels(folder):
    stored = {"image_mean": 0.4, "image_std": 0.2}
    (folder / "preprocessor_config.json").write_text(json.dumps(stored))
    spec = spec_of(load(f"hf/{folder}"))
    assert (spec.mean, spec.std, spec.channels) == ((0.4,), (0.2,), 3)


def test_a_network_of_the_hub_that_is_not_here_is_an_error_that_names_its_files():
    for pretrained in (True, False):
        with pytest.raises(WeightsError) as caught:
            load("hf/me/net", pretrained=pretrained)
        for part in ("hf/me/net", "config.json", "model.safetensors", "pretrained=False"):
            assert part in str(caught.value)


def test_code_beside_a_network_is_run_with_trust_only(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "mine"
    config["auto_map"] = {"AutoConfig": "mine.Mine"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'harm')!r}, 'w')\n")
    with pytest.raises(WeightsError, match=r"code of its own, which is run with trust=True"):
        load(f"hf/{folder}")
    assert not (tmp_path / "harm").exists()


class Harm:
    """Would create a file when unpickled without care."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_folder_of_transformers_with_damaged_or_harmful_weights(folder, tmp_path):
    file = folder / "model.safetensors"
    for content in (file.read_bytes()[:50], b"damaged"):
        file.write_bytes(content)
        with pytest.raises(WeightsError, match=r"could not be loaded.*save_pretrained.*pretrained"):
            load(f"hf/{folder}")
    file.unlink()
    torch.save({"classifier.bias": Harm(tmp_path / "harm")}, folder / "pytorch_model.bin")
    for trust in (False, True):
        with pytest.raises(WeightsError, match=r"could not be loaded.*[Ww]eights.only"):
            load(f"hf/{folder}", trust=trust)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("content", ["{", "[1]", "\ud800".encode("utf-8", "surrogatepass")])
def test_a_damaged_file_about_images_is_an_error_that_names_it(folder, content):
    file = folder / "preprocessor_config.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    model = load(f"hf/{folder}")
    with pytest.raises(WeightsError, match=r"preprocessor_config\.json is damaged.*model\.spec"):
        spec_of(model)


@pytest.mark.parametrize("content", [b"damaged", b""])
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
@pytest.mark.usefixtures("tiny_clip")
def test_a_damaged_file_of_open_clip_is_an_error(tmp_path, monkeypatch, content, name):
    (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: str(tmp_path / name))
    with pytest.raises(WeightsError, match=rf"{name} does not fit.*or is damaged.*weights=FILE"):
        load("open_clip/ViT-Tiny")


# --- all of them ---


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("timm/resnet10t", "timm", "timm"),
        ("open_clip/ViT-B-32", "open_clip", "clip"),
        ("hf/facebook/dinov2-base", "transformers", "hf"),
    ],
)
def test_a_missing_package_names_the_command_that_installs_it(monkeypatch, name, package, extra):
    real = importlib.import_module

    def without(module, *rest):
        if module.partition(".")[0] == package:
            raise ImportError(f"No module named {module!r}")
        return real(module, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(MissingExtra, match=rf'pip install "torch-lucent\[{extra}\]"'):
        load(name)


def test_names_list_what_is_installed(monkeypatch):
    assert names("timm/resnet10t") == ["timm/resnet10t"]
    assert "open_clip/ViT-B-32" in names("vit-b-32")
    assert {"timm/resnet10t", "resnet50", "timm/resnet50"} <= set(names("resnet"))
    monkeypatch.setattr("lucent.modelzoo.registry.is_installed", lambda package: package == "timm")
    assert not [name for name in names() if name.startswith("open_clip")]


def test_libraries_are_not_imported_for_networks_of_others(tmp_path):
    code = """
import sys, warnings
from torch import nn
from lucent.modelzoo import load, spec_of
warnings.simplefilter("ignore")
spec_of(nn.Sequential(nn.Conv2d(3, 4, 1)))
spec_of(load("synthnet"))
print({"timm", "open_clip", "transformers", "huggingface_hub"} & set(sys.modules))
"""
    done = run_python("-c", code, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("set()\n", "")


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_wrappers_of_networks_of_libraries_are_looked_through(wrap, resnet):
    assert spec_of(wrap(resnet)).name == "timm/resnet10t.c3_in1k"
    assert spec_of(wrap(classifier())).logits == "[logits]"
    assert spec_of(wrap(clip())).mean == CLIP_MEAN
