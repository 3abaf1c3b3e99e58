"""GoogLeNet as it was trained on Places365 in Caffe."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

from torch import Tensor

from lucent.modelzoo.inceptionv1.helper_layers import local_response_norm
from lucent.modelzoo.inceptionv1.InceptionV1 import LOGITS, Block, InceptionV1, model_urls
from lucent.modelzoo.spec import ModelSpec, read_labels

# captum's names of the layers with weights: those outside of the blocks, and the parts of a block.
_CAPTUMS = {"conv1": "conv2d0", "conv2": "conv2d1", "conv3": "conv2d2"}
_CAPTUMS_PARTS = {
    "conv_1x1": "1x1",
    "conv_3x3_reduce": "3x3_bottleneck",
    "conv_3x3": "3x3",
    "conv_5x5_reduce": "5x5_bottleneck",
    "conv_5x5": "5x5",
    "pool_proj": "pool_reduce",
}
# Lucid's names of the first three layers; like Caffe it counts the ReLU in.
_STEM = {"conv1_7x7_s2": "conv2d0", "conv2_3x3_reduce": "conv2d1", "conv2_3x3": "conv2d2"}


class InceptionV1Places365(InceptionV1):
    """InceptionV1 that knows 365 kinds of places; also `modelzoo.inceptionv1_places365`.

    The layers have the names of `InceptionV1`. What differs is how Caffe builds the network: the
    widths of two blocks are those of the paper, the local response normalisation has other
    constants, convolutions are padded alike on both sides and pools of stride 2 not at all. The
    output is a softmax over the classes of `spec.labels`; `softmax2_pre_activation_matmul` gives
    the logits.

    Args:
        pretrained: load the weights, downloaded to torch.hub's folder when they are not there yet.
        progress: show a bar while downloading.
        redirected_ReLU: let `render_vis` redirect the gradient of dead ReLUs in its first steps.
        weights: a file with a state dict to load instead, of this class or of captum's.

    Raises:
        WeightsError: the weights cannot be fetched, read, or matched.

    Source: Zhou et al. 2017, Places: A 10 million Image Database for Scene Recognition
    (https://arxiv.org/abs/1610.02055).
    """

    blocks: ClassVar[Mapping[str, Block]] = {
        **InceptionV1.blocks,
        "mixed4a": Block(192, 96, 16, 64, 208, 48),
        "mixed5a": Block(256, 160, 32, 128, 320, 128),
    }

    @staticmethod
    def facts() -> ModelSpec:
        return _spec()

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Copy a state dict into the network; one of captum's network is renamed first."""
        own = {_renamed(name): value for name, value in state_dict.items() if _is_used(name)}
        return super().load_state_dict(own, strict, assign)

    @staticmethod
    def normalised(x: Tensor) -> Tensor:
        return local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)

    @staticmethod
    def near_padding(side: int, *, kernel: int) -> int:
        return 3 if kernel == 7 else 0


def _is_used(name: str) -> bool:
    """Tell whether weights are of the network itself, not of the classifiers beside it."""
    return not name.startswith(("aux1.", "aux2."))


def _renamed(name: str) -> str:
    """Return the name here of weights of captum's network; others keep theirs."""
    layer, _, kind = name.rpartition(".")
    block, _, part = layer.partition(".")
    if layer == "fc":
        return f"{LOGITS}.{kind}"
    if part in _CAPTUMS_PARTS:
        layer = f"{block}_{_CAPTUMS_PARTS[part]}"
    elif layer in _CAPTUMS:
        layer = _CAPTUMS[layer]
    else:
        return name
    return f"{layer}_pre_relu_conv.{kind}"


@cache
def _spec() -> ModelSpec:
    outputs = {f"inception_{name[5:]}_output": name for name in InceptionV1.blocks}
    return ModelSpec(
        "inceptionv1_places365",
        input_size=(224, 224),
        value_range=(0.0, 255.0),
        # Of the training images, as captum has them: red, green, blue.
        mean=(116.7894, 112.6004, 104.0437),
        std=(1.0,) * 3,
        channel_order="BGR",
        labels=read_labels("places365"),
        logits=LOGITS,
        # Lucid's names of the layers.
        aliases=(*outputs.items(), *_STEM.items(), ("prob", "softmax2")),
        url=model_urls["inceptionv1_places365"],
        paper="https://arxiv.org/abs/1610.02055",
    )
