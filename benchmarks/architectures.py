"""The architectures that lucent is tried on: how each is built, and three layers of it.

All have random weights, so that nothing is downloaded, and are as small as their builders allow:
what matters is how they are wired and what their layers give, not how large they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lucent.modelzoo.spec import IMAGENET_MEAN, IMAGENET_STD, ModelSpec

SEED = 0
#: Side of a picture in pixels where an architecture needs no other.
SIDE = 64
N_CLASSES = 10

Layers = tuple[str, str, str]


@dataclass(frozen=True)
class Architecture:
    """An architecture of a library.

    Attributes:
        source: the library.
        name: what the library calls it.
        layers: an early, a middle and a late one, or those that are refused.
        build: makes the network.
        shape: of an image, (C, *spatial).
        slow: whether its three renders take more than about two seconds.
        remark: what is different from the network of that name.
    """

    source: str
    name: str
    layers: tuple[str, ...]
    build: Callable[[], nn.Module] = field(repr=False)
    shape: tuple[int, ...] = (3, SIDE, SIDE)
    slow: bool = False
    remark: str = ""

    def __str__(self) -> str:
        return f"{self.source}/{self.name}"

    def model(self) -> nn.Module:
        """Return the network in eval mode, with the same random weights every time."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            return settled(self.build().eval(), _coloured_blocks(self.shape))


def _coloured_blocks(shape: tuple[int, ...]) -> Tensor:
    """Return images that differ from each other also where a network has pooled a lot."""
    coarse = torch.rand(4, shape[0], *[4] * len(shape[1:]))
    return nn.functional.interpolate(coarse, size=shape[1:])


def settled(model: nn.Module, images: Tensor) -> nn.Module:
    """Give batch norms the statistics of some images: signals neither die nor grow on the way."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return model
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train().momentum = 1.0
    with torch.no_grad():
        model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval().momentum = momentum
    return model


def _torchvision(name: str, layers: Layers, /, **options: Any) -> Architecture:
    def build(**own: Any) -> nn.Module:
        from torchvision.models import get_model

        return get_model(name, weights=None, num_classes=N_CLASSES, **own)

    return _architecture("torchvision", name, layers, build, options)


def _own_torchvision(name: str, layers: Layers, /, **options: Any) -> Architecture:
    """Return one of a configuration of its own, by the name of its class."""

    def build(*args: Any, **own: Any) -> nn.Module:
        from torchvision import models

        return getattr(models, name)(*args, num_classes=N_CLASSES, **own)

    options.setdefault("remark", "own small configuration")
    return _architecture("torchvision", name, layers, build, options)


def _timm(name: str, layers: Layers, /, **options: Any) -> Architecture:
    def build(**own: Any) -> nn.Module:
        import timm

        return timm.create_model(name, pretrained=False, num_classes=N_CLASSES, **own)

    return _architecture("timm", name, layers, build, options)


def _transformers(name: str, layers: Layers, /, **options: Any) -> Architecture:
    """Return one by the name of its class, in a tiny configuration."""

    def build(**own: Any) -> nn.Module:
        import transformers

        kind = getattr(transformers, name)
        return _described(kind(kind.config_class(**own)), name)

    return _architecture("transformers", name, layers, build, options)


def _open_clip(name: str, layers: Layers, /, **options: Any) -> Architecture:
    """Return one by the name of its image tower, in a tiny configuration."""

    def build(**own: Any) -> nn.Module:
        from open_clip.model import CLIP

        text = {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1}
        return _described(CLIP(embed_dim=32, vision_cfg=own, text_cfg=text), name)

    return _architecture("open_clip", name, layers, build, options)


def _architecture(
    source: str, name: str, layers: Layers, build: Callable[..., nn.Module], options: dict[str, Any]
) -> Architecture:
    facts = {key: options.pop(key) for key in ("shape", "slow", "remark") if key in options}
    arguments = options.pop("arguments", ())
    return Architecture(source, name, layers, partial(build, *arguments, **options), **facts)


def _described(model: nn.Module, name: str) -> nn.Module:
    """Say what a network of a configuration that nobody published takes."""
    # Were grey mapped to 0, layer norms would blow up the little that is left of the start image.
    model.spec = ModelSpec(
        name, (SIDE, SIDE), fixed_size=True, mean=IMAGENET_MEAN, std=IMAGENET_STD
    )
    return model


#: Of a vision transformer of transformers.
_TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": SIDE,
    "patch_size": 16,
}
#: Of its networks of four stages.
_STAGES = {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1]}

TORCHVISION = [
    _torchvision("alexnet", ("features.1", "features.8", "classifier.6"), slow=True),
    _torchvision("vgg11_bn", ("features.2", "features.11", "classifier.6"), slow=True),
    _torchvision("resnet18", ("layer1", "layer3.0.conv2", "fc")),
    _torchvision("resnext50_32x4d", ("conv1", "layer2", "layer4"), slow=True),
    _torchvision("wide_resnet50_2", ("layer1", "layer3.2.conv2", "fc"), slow=True),
    _torchvision(
        "densenet121", ("features.denseblock1", "features.transition2", "classifier"), slow=True
    ),
    _torchvision("googlenet", ("conv2", "inception4a.branch2", "fc"), init_weights=True, slow=True),
    _torchvision(
        "inception_v3",
        ("Conv2d_2b_3x3", "Mixed_6a", "fc"),
        init_weights=True,
        shape=(3, 96, 96),
        slow=True,
    ),
    _torchvision("squeezenet1_1", ("features.3", "features.9.squeeze", "classifier.1")),
    _torchvision("mobilenet_v2", ("features.1", "features.7", "classifier.1")),
    _torchvision("mobilenet_v3_small", ("features.1", "features.6", "classifier.0")),
    _torchvision("shufflenet_v2_x0_5", ("conv1", "stage3.3.branch2", "fc")),
    _torchvision("mnasnet0_5", ("layers.7", "layers.10", "classifier.1")),
    _torchvision("efficientnet_b0", ("features.1", "features.4", "features.8"), slow=True),
    _torchvision("efficientnet_v2_s", ("features.1", "features.4", "classifier.1"), slow=True),
    _torchvision(
        "regnet_y_400mf", ("stem", "trunk_output.block3", "trunk_output.block4"), slow=True
    ),
    _torchvision(
        "convnext_tiny", ("features.1.0.block.3", "features.5", "classifier.2"), slow=True
    ),
    _own_torchvision(
        "VisionTransformer",
        (
            "encoder.layers.encoder_layer_0",
            "encoder.layers.encoder_layer_2.mlp.0",
            "encoder.ln@cls",
        ),
        arguments=(SIDE, 16, 4, 3, 96, 192),
    ),
    _own_torchvision(
        "SwinTransformer",
        ("features.1", "features.5.0.mlp.0", "norm"),
        arguments=([4, 4], 32, [1, 1, 2], [1, 2, 4], [4, 4]),
    ),
    _torchvision("swin_v2_t", ("features.1", "features.4", "head"), slow=True),
    _own_torchvision(
        "MaxVit",
        ("stem", "blocks.1.layers.0.layers.window_attention", "classifier.5"),
        arguments=((SIDE, SIDE), 16, 2, [16, 32], [1, 1], 16, 0.0),
    ),
    _torchvision(
        "fcn_resnet50",
        ("backbone.layer1", "classifier.0", "labels[out]"),
        weights_backbone=None,
        slow=True,
    ),
    _torchvision(
        "deeplabv3_mobilenet_v3_large",
        ("backbone.2", "backbone[out]", "labels[out]"),
        weights_backbone=None,
        slow=True,
    ),
    _torchvision(
        "lraspp_mobilenet_v3_large",
        ("backbone.2", "backbone[high]", "labels[out]"),
        weights_backbone=None,
    ),
    _torchvision("r3d_18", ("stem", "layer2", "fc"), shape=(3, 8, 32, 32), slow=True),
    _torchvision("mc3_18", ("stem", "layer3", "fc"), shape=(3, 8, 32, 32), slow=True),
    _torchvision("swin3d_t", ("features.0", "features.2", "head"), shape=(3, 8, 32, 32), slow=True),
]

TIMM = [
    _timm("resnet10t", ("conv1.2", "layer2", "fc")),
    _timm("convnext_atto", ("stem", "stages.2.blocks.1.mlp.fc1", "head.fc")),
    _timm("regnety_002", ("stem", "s3.b2.conv2", "head.fc")),
    _timm("eca_nfnet_l0", ("stem.conv3", "stages.2.0", "final_act"), slow=True),
    _timm("ghostnet_050", ("blocks.0", "blocks.5", "classifier"), slow=True),
    _timm("repvgg_a0", ("stem", "stages.2.3", "head.fc"), slow=True),
    _timm("vovnet39a", ("stem", "stages.1", "head.fc"), slow=True),
    _timm("hrnet_w18_small", ("layer1", "stage3[1]", "classifier"), slow=True),
    _timm("mobilevit_xxs", ("stages.1", "stages.3.1.transformer.0.mlp.act", "head.fc")),
    _timm("edgenext_xx_small", ("stages.0", "stages.2.blocks.1.mlp.fc1", "head.fc")),
    _timm("fastvit_t8", ("stem", "stages.1", "final_conv"), slow=True),
    _timm("poolformer_s12", ("stages.0", "stages.2.blocks.1.mlp.fc1", "head.fc"), slow=True),
    _timm("caformer_s18", ("stages.0", "stages.2.blocks.1.mlp.act", "stages.3"), slow=True),
    _timm(
        "efficientformer_l1",
        ("stages.0", "stages.3.blocks.3", "head"),
        shape=(3, 224, 224),
        slow=True,
    ),
    _timm("inception_next_atto", ("stem", "stages.2.blocks.1", "head.fc2")),
    _timm("focalnet_tiny_srf", ("layers.0", "layers.2.blocks.1.mlp.fc1", "norm"), slow=True),
    _timm("davit_tiny", ("stages.0", "stages.2.blocks.0.0.mlp.fc1", "head.fc"), slow=True),
    _timm("pvt_v2_b0", ("patch_embed", "stages.2.blocks.0.mlp.fc1", "stages.3")),
    _timm(
        "vit_tiny_patch16_224",
        ("blocks.0", "blocks.2.mlp.act", "blocks.3@cls"),
        img_size=SIDE,
        depth=4,
    ),
    _timm(
        "deit_tiny_distilled_patch16_224",
        ("blocks.0.attn.qkv", "blocks.2", "head_dist"),
        img_size=SIDE,
        depth=4,
    ),
    _timm(
        "vit_little_patch16_reg4_gap_256",
        ("blocks.0", "blocks.2.mlp.act", "blocks.3@reg2"),
        img_size=SIDE,
        depth=4,
        embed_dim=96,
        num_heads=3,
    ),
    _timm(
        "eva02_tiny_patch14_224",
        ("blocks.0", "blocks.2.mlp.act", "blocks.3"),
        img_size=56,
        depth=4,
        shape=(3, 56, 56),
    ),
    _timm(
        "beit_base_patch16_224",
        ("blocks.0", "blocks.2.mlp.act", "fc_norm"),
        img_size=SIDE,
        depth=4,
        embed_dim=96,
        num_heads=3,
    ),
    _timm(
        "cait_xxs24_224",
        ("blocks.0", "blocks.2.mlp.act", "blocks_token_only.1.attn"),
        img_size=SIDE,
        depth=4,
    ),
    _timm("xcit_nano_12_p16_224", ("patch_embed[0]", "blocks.6.mlp.act", "norm@cls"), slow=True),
    _timm(
        "convit_tiny", ("blocks.0", "blocks.2.mlp.act", "blocks.11@cls"), img_size=SIDE, slow=True
    ),
    _timm(
        "volo_d1_224",
        ("network.0.0", "network.2.0.mlp.fc1", "post_network.1"),
        img_size=SIDE,
        slow=True,
    ),
    _timm(
        "pit_ti_224",
        ("patch_embed", "transformers.1.blocks.0.mlp.act", "transformers.2[0]"),
        img_size=SIDE,
        slow=True,
    ),
    _timm(
        "coat_lite_tiny",
        ("patch_embed1", "serial_blocks3.0.mlp.act", "norm4@cls"),
        img_size=SIDE,
        slow=True,
    ),
    _timm("levit_128s", ("stem.conv2", "stages.0", "head"), img_size=SIDE),
    _timm(
        "twins_svt_small", ("blocks.0.0", "blocks.2.2.mlp.act", "norm"), img_size=SIDE, slow=True
    ),
    _timm(
        "swin_tiny_patch4_window7_224",
        ("layers.0", "layers.2.blocks.1.mlp.act", "norm"),
        img_size=SIDE,
        slow=True,
    ),
    _timm("swin_s3_tiny_224", ("patch_embed", "layers.2", "head.fc"), img_size=SIDE, slow=True),
    _timm(
        "hiera_tiny_224", ("patch_embed", "blocks.6.mlp.act", "blocks.11"), img_size=SIDE, slow=True
    ),
    _timm(
        "mvitv2_tiny",
        ("patch_embed[0]", "stages.2.blocks.1.mlp.act", "norm"),
        img_size=SIDE,
        slow=True,
    ),
    _timm(
        "mixer_s32_224", ("blocks.0", "blocks.4.mlp_channels.act", "norm"), img_size=SIDE, slow=True
    ),
    _timm(
        "resmlp_12_224", ("blocks.0", "blocks.4.mlp_channels.act", "norm"), img_size=SIDE, slow=True
    ),
    _timm("gmlp_ti16_224", ("blocks.0", "blocks.9.mlp_channels.act", "norm"), img_size=SIDE),
    _timm("test_maxvit", ("stem", "stages.2", "head.fc"), shape=(3, 160, 160), slow=True),
    _timm(
        "coatnet_nano_rw_224",
        ("stages.0", "stages.2.blocks.0.mlp.act", "head.fc"),
        img_size=SIDE,
        slow=True,
    ),
    _timm("visformer_tiny", ("stem", "stage2.1", "head"), img_size=SIDE, slow=True),
]

TRANSFORMERS = [
    _transformers(
        "ViTForImageClassification",
        ("vit.layers.0", "vit.layers.1.mlp.activation_fn", "classifier"),
        **_TINY,
    ),
    _transformers(
        "DeiTForImageClassificationWithTeacher",
        ("deit.layers.0", "deit.layers.1.mlp.activation_fn", "deit.layers.2@cls"),
        **_TINY,
    ),
    _transformers(
        "BeitForImageClassification",
        ("beit.layers.0", "beit.layers.1.mlp.activation_fn", "labels[logits]"),
        **_TINY,
    ),
    _transformers(
        "SwinForImageClassification",
        (
            "swin.encoder.layers.0.blocks.0[0]",
            "swin.encoder.layers.1.blocks.0.mlp.fc1",
            "classifier",
        ),
        image_size=SIDE,
        patch_size=4,
        embed_dim=16,
        depths=[1, 1, 2],
        num_heads=[2, 2, 4],
        window_size=4,
    ),
    _transformers(
        "Dinov2ForImageClassification",
        (
            "dinov2.encoder.layer.0",
            "dinov2.encoder.layer.1.mlp.activation_fn",
            "dinov2.layernorm@cls",
        ),
        **_TINY,
    ),
    _transformers(
        "Dinov2WithRegistersForImageClassification",
        (
            "dinov2_with_registers.encoder.layer.0",
            "dinov2_with_registers.encoder.layer.1.mlp.activation_fn",
            "dinov2_with_registers.layernorm@reg3",
        ),
        **_TINY,
    ),
    _transformers("DINOv3ViTModel", ("embeddings", "model.layer.1.mlp.up_proj", "norm"), **_TINY),
    _transformers(
        "ConvNextForImageClassification",
        ("convnext.encoder.stages.0", "convnext.encoder.stages.2.layers.0.act", "classifier"),
        **_STAGES,
    ),
    _transformers(
        "ResNetForImageClassification",
        ("resnet.embedder", "resnet.encoder.stages.2", "classifier.1"),
        embedding_size=16,
        layer_type="basic",
        **_STAGES,
    ),
    _transformers(
        "CLIPVisionModel",
        ("encoder.layers.0", "encoder.layers.1.mlp.activation_fn", "encoder.layers.2@cls"),
        **_TINY,
    ),
    _transformers(
        "CLIPModel",
        (
            "vision_model.encoder.layers.0",
            "vision_model.encoder.layers.1.mlp.activation_fn",
            "visual_projection",
        ),
        text_config={
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "intermediate_size": 64,
        },
        vision_config=_TINY,
        projection_dim=16,
    ),
    _transformers(
        "SiglipVisionModel", ("encoder.layers.0", "encoder.layers.1.mlp.fc1", "head"), **_TINY
    ),
    _transformers(
        "SegformerForSemanticSegmentation",
        ("segformer.stages.0.blocks.0", "segformer.stages.2.blocks.0.mlp.fc1", "decode_head"),
        num_attention_heads=[1, 2, 3, 4],
        decoder_hidden_size=32,
        **_STAGES,
    ),
    _transformers(
        "MobileViTForImageClassification",
        ("mobilevit.conv_stem", "mobilevit.encoder.layer.2", "classifier"),
        image_size=SIDE,
        hidden_sizes=[32, 48, 64],
        neck_hidden_sizes=[8, 16, 24, 32, 48, 64, 96],
        expand_ratio=2.0,
    ),
]

OPEN_CLIP = [
    _open_clip(
        "VisionTransformer",
        (
            "visual.transformer.resblocks.0",
            "visual.transformer.resblocks.1.mlp.gelu",
            "visual.transformer.resblocks.2@cls",
        ),
        image_size=SIDE,
        layers=3,
        width=64,
        head_width=16,
        patch_size=16,
    ),
    _open_clip(
        "ModifiedResNet",
        ("visual.layer1", "visual.layer3.0.conv2", "visual.attnpool"),
        image_size=SIDE,
        layers=[1, 1, 1, 1],
        width=16,
        patch_size=None,
    ),
]

ARCHITECTURES = [*TORCHVISION, *TIMM, *TRANSFORMERS, *OPEN_CLIP]


def _refused(name: str, layer: str, reason: str) -> Architecture:
    (found,) = (each for each in ARCHITECTURES if str(each) == name)
    return replace(found, layers=(layer,), remark=reason)


#: Layers that are refused, with the reason as a remark.
REFUSED = [
    _refused(
        "timm/davit_tiny",
        "stages.2.blocks.0.0.attn",
        "windows that stick out of the picture: some of their positions are none",
    ),
    _refused(
        "timm/swin_s3_tiny_224",
        "layers.0.blocks.0.attn.softmax",
        "attention inside windows that stick out of the picture",
    ),
    _refused(
        "timm/volo_d1_224",
        "network.0.0.attn.proj",
        "a sum over windows that overlap (`fold`); `layout='NHWC'` helps",
    ),
    _refused(
        "torchvision/swin_v2_t",
        "features.1.0.attn.cpb_mlp",
        "a function of distances between positions alone, not of the picture",
    ),
    _refused(
        "timm/convit_tiny",
        "blocks.0.attn.pos_proj",
        "a function of distances between positions alone, not of the picture",
    ),
]
