"""The original GoogLeNet, known as inception5h, with the layer names of its TensorFlow graph.

The network is a flat list of children, written as one table: three convolutions, nine mixed blocks
of four branches, a linear layer. It takes images of any size of at least one pixel; TensorFlow's
SAME padding follows the size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import ClassVar, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from lucent.files import fetch
from lucent.modelzoo._sources import INSTEAD
from lucent.modelzoo.inceptionv1.helper_layers import (
    CatLayer,
    MaxPool2dLayer,
    ReluLayer,
    SoftMaxLayer,
    local_response_norm,
)
from lucent.modelzoo.spec import ModelSpec, read_labels
from lucent.weights import load_weights

#: The weights of Lucid's InceptionV1, and of Caffe's as captum has them, both converted to PyTorch;
#: their hashes were never published.
model_urls = {
    "inceptionv1": "https://github.com/ProGamerGov/pytorch-old-tensorflow-models/raw/master/inception5h.pth",
    "inceptionv1_places365": "https://pytorch-tutorial-assets.s3.amazonaws.com/captum/inceptionv1_places365.pth",
}


class Block(NamedTuple):
    """Output channels of the convolutions of a mixed block, in the order of their parameters."""

    conv_1x1: int
    conv_3x3_bottleneck: int
    conv_5x5_bottleneck: int
    pool_reduce: int
    conv_3x3: int
    conv_5x5: int

    @property
    def branches(self) -> tuple[int, int, int, int]:
        """The four parts of the output, in the order in which they are joined."""
        return self.conv_1x1, self.conv_3x3, self.conv_5x5, self.pool_reduce


# 204 in mixed4a is no slip: the trained graph has that many, the paper 208.
_BLOCKS = {
    "mixed3a": Block(64, 96, 16, 32, 128, 32),
    "mixed3b": Block(128, 128, 32, 64, 192, 96),
    "mixed4a": Block(192, 96, 16, 64, 204, 48),
    "mixed4b": Block(160, 112, 24, 64, 224, 64),
    "mixed4c": Block(128, 128, 24, 64, 256, 64),
    "mixed4d": Block(112, 144, 32, 64, 288, 64),
    "mixed4e": Block(256, 160, 32, 128, 320, 128),
    "mixed5a": Block(256, 160, 48, 128, 320, 128),
    "mixed5b": Block(384, 192, 48, 128, 384, 128),
}
_BRANCHES = ("1x1", "3x3", "5x5", "pool_reduce")
_POOL_BEFORE = {"mixed3a": "maxpool1", "mixed4a": "maxpool4", "mixed5a": "maxpool10"}
LOGITS = "softmax2_pre_activation_matmul"


class InceptionV1(nn.Module):
    """InceptionV1 as Lucid and the Distill articles used it; also `lucent.modelzoo.inceptionv1`.

    The output is a softmax over 1008 classes; `softmax2_pre_activation_matmul` gives the logits.

    Args:
        pretrained: load the weights, downloaded to torch.hub's folder when they are not there yet.
        progress: show a bar while downloading.
        redirected_ReLU: let `render_vis` redirect the gradient of dead ReLUs in its first steps;
            outside of it the gradients are always the plain ones.
        weights: a file with a state dict to load instead.

    Raises:
        WeightsError: the weights cannot be fetched, read, or matched.

    Source: Szegedy et al. 2014, Going Deeper with Convolutions (https://arxiv.org/abs/1409.4842).
    """

    #: Widths of the mixed blocks, for whoever derives a network of other ones.
    blocks: ClassVar[Mapping[str, Block]] = _BLOCKS

    def __init__(
        self,
        pretrained: bool = False,
        progress: bool = True,
        redirected_ReLU: bool = True,
        *,
        weights: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.redirected_ReLU = redirected_ReLU
        self.spec = self.facts()
        for name, module in _children(self.blocks, n_classes=len(self.spec.labels)):
            self.add_module(name, module)
        if pretrained and weights is None:
            weights = fetch(str(self.spec.url), progress=progress, instead=INSTEAD)
        if weights is not None:
            load_weights(self, weights)

    @staticmethod
    def facts() -> ModelSpec:
        """Return what is known about the network."""
        return _spec()

    @staticmethod
    def normalised(x: Tensor) -> Tensor:
        """Apply the local response normalisation to activations (B, C, H, W)."""
        # The graph has depth_radius 5, alpha 1e-4, beta .5, bias 2. TensorFlow sums over 2 * 5 + 1
        # channels where torch takes the mean, hence 11 times its alpha.
        return local_response_norm(x, 11, alpha=11e-4, beta=0.5, k=2.0)

    @staticmethod
    def near_padding(side: int, *, kernel: int) -> int:
        """Return how much is padded at the left or top of a side, for stride 2 and an odd kernel.

        TensorFlow's SAME gives ceil(side / 2) outputs. For them (ceil(side / 2) - 1) * 2 + kernel -
        side pixels are missing, which is kernel - 2 + side % 2. The far end gets the larger half of
        them, kernel // 2 at any size; this is the rest.

        >>> InceptionV1.near_padding(224, kernel=7), InceptionV1.near_padding(225, kernel=7)
        (2, 3)
        """
        return kernel // 2 - 1 + side % 2

    def forward(self, x: Tensor) -> Tensor:
        """Return probabilities (B, classes) of images (B, 3, H, W), preprocessed by the spec."""
        x = self._stem(x)
        for name in self.blocks:
            if name in _POOL_BEFORE:
                x = self._max_pool(_POOL_BEFORE[name], x, stride=2)
            x = self._mixed(name, x)
        x = x.mean((2, 3))
        # The share that the paper drops in training.
        x = F.dropout(x, 0.4, self.training)
        return self._child("softmax2", self._child(LOGITS, x))

    def _stem(self, x: Tensor) -> Tensor:
        top, left = (self.near_padding(side, kernel=7) for side in x.shape[2:])
        x = self._conv("conv2d0", F.pad(x, (left, 3, top, 3)))
        x = self.normalised(self._max_pool("maxpool0", x, stride=2))
        x = self._conv("conv2d1", x)
        return self.normalised(self._conv("conv2d2", x))

    def _mixed(self, name: str, x: Tensor) -> Tensor:
        """Run the four branches of a block and join them."""
        inputs = (
            x,
            self._conv(f"{name}_3x3_bottleneck", x),
            self._conv(f"{name}_5x5_bottleneck", x),
            self._max_pool(f"{name}_pool", x, stride=1),
        )
        before = [
            self._child(f"{name}_{branch}_pre_relu_conv", value)
            for branch, value in zip(_BRANCHES, inputs, strict=True)
        ]
        # The joined pre-activations cost a copy of the layer that nearly nobody looks at. Who does
        # look finds them on the way to the output, so that a gradient with respect to them, or a
        # value put in their place, works.
        if _is_watched(self.get_submodule(f"{name}_pre_relu")):
            joined = self._child(f"{name}_pre_relu", before)
            before = list(joined.split(self.blocks[name].branches, dim=1))
        after = [
            self._child(f"{name}_{branch}", value)
            for branch, value in zip(_BRANCHES, before, strict=True)
        ]
        return self._child(name, after)

    def _conv(self, name: str, x: Tensor) -> Tensor:
        return self._child(name, self._child(f"{name}_pre_relu_conv", x))

    def _max_pool(self, name: str, x: Tensor, *, stride: int) -> Tensor:
        # The near side is padded as said, with -inf; `ceil_mode` lets windows stick out at the far.
        near = tuple(self.near_padding(n, kernel=3) if stride == 2 else 1 for n in x.shape[2:])
        return self._child(name, x, kernel_size=3, stride=stride, padding=near, ceil_mode=True)

    def _child(self, name: str, *args: object, **options: object) -> Tensor:
        output: Tensor = self.get_submodule(name)(*args, **options)
        return output


def _children(blocks: Mapping[str, Block], *, n_classes: int) -> Iterator[tuple[str, nn.Module]]:
    """Yield the children in the order of the state dict, then those without parameters."""
    names = [name for name, *_ in _convs(blocks)]
    for name, n_in, n_out, kernel in _convs(blocks):
        # With stride 1, SAME is half the kernel at any size; with stride 2 see `_stem`.
        stride, padding = (2, 0) if name == "conv2d0" else (1, kernel // 2)
        yield f"{name}_pre_relu_conv", nn.Conv2d(n_in, n_out, kernel, stride, padding)
    yield LOGITS, nn.Linear(sum(blocks["mixed5b"].branches), n_classes)
    yield from ((name, ReluLayer()) for name in names)
    for name in ("maxpool0", *_POOL_BEFORE.values(), *(f"{block}_pool" for block in blocks)):
        yield name, MaxPool2dLayer()
    yield from ((f"{block}_pre_relu", CatLayer()) for block in blocks)
    yield from ((block, CatLayer()) for block in blocks)
    yield "softmax2", SoftMaxLayer()


def _convs(blocks: Mapping[str, Block]) -> Iterator[tuple[str, int, int, int]]:
    """Yield (name, input channels, output channels, kernel size) of every convolution."""
    yield "conv2d0", 3, 64, 7
    yield "conv2d1", 64, 64, 1
    yield "conv2d2", 64, 192, 3
    n_in = 192
    for name, block in blocks.items():
        yield f"{name}_1x1", n_in, block.conv_1x1, 1
        yield f"{name}_3x3_bottleneck", n_in, block.conv_3x3_bottleneck, 1
        yield f"{name}_5x5_bottleneck", n_in, block.conv_5x5_bottleneck, 1
        yield f"{name}_pool_reduce", n_in, block.pool_reduce, 1
        yield f"{name}_3x3", block.conv_3x3_bottleneck, block.conv_3x3, 3
        yield f"{name}_5x5", block.conv_5x5_bottleneck, block.conv_5x5, 5
        n_in = sum(block.branches)


@cache
def _spec() -> ModelSpec:
    names = [f"{name}_pre_relu" for name, *_ in _convs(_BLOCKS)]
    return ModelSpec(
        "inceptionv1",
        input_size=(224, 224),
        value_range=(-117.0, 138.0),
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        # Output 0 is a dummy, 1 to 1000 are ImageNet's in an order of their own, 7 are unused.
        labels=read_labels("inception5h"),
        logits=LOGITS,
        # The names of these tensors in the graph, as Lucid's users know them.
        aliases=(*((name, f"{name}_conv") for name in names), ("softmax2_pre_activation", LOGITS)),
        url=model_urls["inceptionv1"],
        paper="https://arxiv.org/abs/1409.4842",
    )


def _is_watched(module: nn.Module) -> bool:
    """Tell whether a call of the module would be noticed: it has hooks, or another forward."""
    forward_hooks = module._forward_hooks or module._forward_pre_hooks
    backward_hooks = module._backward_hooks or module._backward_pre_hooks
    return bool(forward_hooks or backward_hooks or "forward" in vars(module))
