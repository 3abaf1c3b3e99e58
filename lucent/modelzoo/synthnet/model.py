"""SynthNet: InceptionV1 in miniature, with the layer names that teach the real one."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lucent.modelzoo.spec import ModelSpec
from lucent.modelzoo.synthnet.data import LABELS

SPEC = ModelSpec(
    name="synthnet",
    input_size=(96, 96),
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    labels=LABELS,
    logits="head",
    # U sqrt(S) of the covariance of RGB about the mean of each image, over draw_all(60, 1000).
    color_matrix=(
        (-0.1758, 0.1035, 0.0749),
        (-0.2045, 0.0000, -0.1068),
        (-0.1426, -0.1276, 0.0608),
    ),
    # Among 1, 1.25 and 1.5 the one whose pictures `python -m benchmarks.quality` scores best.
    decay_power=1.5,
    image_size=96,
    sha256="6577d3e10897c2e0730dd7e83a8aea7e30907fdc57c5da1b60531dfa4c0e1790",
    licence="Apache-2.0",
)


class Widths(NamedTuple):
    """Channels of an inception block's branches; `reduce` is the 1x1 convolution before one."""

    conv_1x1: int
    reduce_3x3: int
    conv_3x3: int
    reduce_5x5: int
    conv_5x5: int
    pool: int

    @property
    def total(self) -> int:
        """Channels of the block's output."""
        return self.conv_1x1 + self.conv_3x3 + self.conv_5x5 + self.pool


CONV1, CONV2 = 32, 64
# Chosen so that the weights stay under 1.5 MB in float16: 628,000 parameters.
MIXED = {
    "mixed3a": Widths(32, 40, 64, 12, 24, 16),
    "mixed3b": Widths(40, 56, 80, 16, 32, 16),
    "mixed4a": Widths(64, 80, 144, 24, 48, 24),
    "mixed4b": Widths(96, 112, 192, 32, 64, 32),
}


class ConvBlock(nn.Module):
    """Convolution, batch norm while training, ReLU; its output is the activation after the ReLU."""

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int, stride: int = 1, batch_norm: bool
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=not batch_norm)
        self.norm = nn.BatchNorm2d(outputs) if batch_norm else nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, acts: Tensor) -> Tensor:
        return self.relu(self.norm(self.conv(acts)))

    @torch.no_grad()
    def folded(self) -> dict[str, Tensor]:
        """Return the weight and bias of the convolution that does what it and the batch norm do."""
        norm = self.norm.state_dict()
        if not norm:
            return self.conv.state_dict()
        gain = norm["weight"] / torch.sqrt(norm["running_var"] + self.norm.eps)
        weight = self.conv.weight * gain[:, None, None, None]
        return {"weight": weight, "bias": norm["bias"] - norm["running_mean"] * gain}


class Mixed(nn.Module):
    """Inception block: four branches side by side; its output is their concatenation."""

    def __init__(self, inputs: int, widths: Widths, *, batch_norm: bool) -> None:
        super().__init__()

        def block(inputs: int, outputs: int, kernel: int) -> ConvBlock:
            return ConvBlock(inputs, outputs, kernel=kernel, batch_norm=batch_norm)

        self.conv_1x1 = block(inputs, widths.conv_1x1, 1)
        self.reduce_3x3 = block(inputs, widths.reduce_3x3, 1)
        self.conv_3x3 = block(widths.reduce_3x3, widths.conv_3x3, 3)
        self.reduce_5x5 = block(inputs, widths.reduce_5x5, 1)
        self.conv_5x5 = block(widths.reduce_5x5, widths.conv_5x5, 5)
        self.pool = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
        self.pool_conv = block(inputs, widths.pool, 1)

    def forward(self, acts: Tensor) -> Tensor:
        branches = (
            self.conv_1x1(acts),
            self.conv_3x3(self.reduce_3x3(acts)),
            self.conv_5x5(self.reduce_5x5(acts)),
            self.pool_conv(self.pool(acts)),
        )
        return torch.cat(branches, dim=1)


class SynthNet(nn.Module):
    """Classifier of the 28 classes of `data.LABELS` for RGB images of about 96 px.

    The input is normalised by the model's spec; it may have any size of at least 16 px. The output
    are class logits, shape (B, 28).

    Args:
        batch_norm: keep batch norm, as training needs it; the shipped weights have it folded in.

    >>> SynthNet()(torch.zeros(1, 3, 96, 96)).shape
    torch.Size([1, 28])
    """

    spec = SPEC

    def __init__(self, *, batch_norm: bool = False) -> None:
        super().__init__()
        self.conv1 = ConvBlock(3, CONV1, kernel=5, stride=2, batch_norm=batch_norm)
        self.pool1 = self._halve()
        self.conv2 = ConvBlock(CONV1, CONV2, kernel=3, batch_norm=batch_norm)
        inputs = CONV2
        for name, widths in MIXED.items():
            if name == "mixed4a":
                self.pool3 = self._halve()
            self.add_module(name, Mixed(inputs, widths, batch_norm=batch_norm))
            inputs = widths.total
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(inputs, len(LABELS))

    @staticmethod
    def _halve() -> nn.AvgPool2d:
        return nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)

    def forward(self, image: Tensor) -> Tensor:
        acts = image
        for name, module in self.named_children():
            if name != "head":
                acts = module(acts)
        return self.head(acts.flatten(1))


def fold(model: SynthNet) -> SynthNet:
    """Return a network without batch norm that computes what this one does in evaluation mode."""
    folded = SynthNet()
    for name, module in model.named_modules():
        if isinstance(module, ConvBlock):
            folded.get_submodule(f"{name}.conv").load_state_dict(module.folded())
    folded.head.load_state_dict(model.head.state_dict())
    return folded.eval().requires_grad_(False)
