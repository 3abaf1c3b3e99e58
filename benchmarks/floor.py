"""The floor: what a step costs when everything about it is known and written by hand.

Nothing of lucent's loop, objectives, images, transforms or hooks is used, only its networks and the
constants of an image. One Fourier image, one warp with the draws of the standard transforms, one
fused multiply-add as normalisation, the layers up to the one wanted called one by one on a private
copy with folded batch norm and channels_last weights, Adam.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from benchmarks.workloads import SEED, Workload
from lucent.modelzoo.spec import ModelSpec, spec_of
from lucent.optvis._spectrum import (
    COLOR_CORRELATION_SVD_SQRT,
    contrast_gain,
    normalized_color_matrix,
    spectrum_scale,
)

Forward = Callable[[Tensor], Tensor]

# The standard transforms.
PAD, JITTER, LAST_JITTER = 12, 8, 4
SCALES = [1 + (i - 5) / 50 for i in range(11)]
ANGLES = [*range(-10, 11), *[0] * 5]
# Of InceptionV1's graph: size, alpha, k; the exponent is one half.
LRN_SIZE, LRN_ALPHA, LRN_K = 11, 11e-4, 2.0


class FourierPicture:
    """The image of `param.image`: Fourier coefficients, natural colours, a sigmoid.

    Args:
        spec: for colours and spectrum.
        size: side in pixels, even.
        batch: number of images.
        like: for device and dtype.
    """

    def __init__(self, spec: ModelSpec, size: int, batch: int, like: Tensor) -> None:
        power = 1.0 if spec.decay_power is None else spec.decay_power
        scale = contrast_gain((size, size), power) * spectrum_scale((size, size), power)
        # Lucid's divisor of the image.
        self.scale = torch.from_numpy(scale / 4).to(like)
        matrix = normalized_color_matrix(spec.color_matrix or COLOR_CORRELATION_SVD_SQRT)
        self.colors = torch.from_numpy(matrix).to(like)
        self.size = size
        generator = torch.Generator().manual_seed(SEED)
        start = 0.01 * torch.randn(batch, 3, *scale.shape, 2, generator=generator)
        self.spectrum = start.to(like).requires_grad_()

    def __call__(self) -> Tensor:
        """Return the image, (B, 3, size, size), in [0, 1]."""
        spectrum = torch.view_as_complex(self.spectrum) * self.scale
        raw = torch.fft.irfft2(spectrum, s=(self.size, self.size))
        return (self.colors @ raw.flatten(2)).view(raw.shape).sigmoid()


class Warp:
    """The standard transforms and the resize as one bilinear warp.

    Args:
        size: side of the image in pixels, even.
        seen: side of the output, at least as large.
        like: for device and dtype.
        generator: for the draws.
    """

    def __init__(self, size: int, seen: int, like: Tensor, generator: torch.Generator) -> None:
        self._seen, self._generator = seen, generator
        # Pixels of the output from its centre; coordinates of the input go from -1 to 1.
        axis = (torch.arange(seen, device=like.device, dtype=like.dtype) - (seen - 1) / 2) * (
            size / seen
        )
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        self._base = torch.stack([x.flatten(), y.flatten(), torch.ones_like(x.flatten())], dim=1)
        self._unit = 2 / size
        self._scales, self._angles = like.new_tensor(SCALES), like.new_tensor(ANGLES).deg2rad()

    def grid(self) -> Tensor:
        """Draw, and return where to sample the image, (1, seen, seen, 2)."""
        first = self._draw(JITTER + 1, 2) - JITTER / 2
        scale = self._scales[self._draw(len(SCALES), 1).long()]
        angle = self._angles[self._draw(len(ANGLES), 1).long()]
        last = self._draw(LAST_JITTER + 1, 2) - LAST_JITTER / 2
        c, s = angle.cos() / scale, angle.sin() / scale
        turned = torch.stack([torch.cat([c, -s]), torch.cat([s, c])])
        shift = first + turned @ last
        matrix = torch.cat([turned, shift[:, None]], dim=1) * self._unit
        return (self._base @ matrix.t()).view(1, self._seen, self._seen, 2)

    def _draw(self, high: int, n: int) -> Tensor:
        device = self._base.device
        return torch.randint(high, (1, n), generator=self._generator, device=device)[0].to(
            self._base.dtype
        )


class Floor:
    """The fastest step that could be written.

    Args:
        workload: what to render.
        model: its network; a copy is made.
        batch: number of images.
        transforms: False shows the network the image itself.
    """

    def __init__(
        self, workload: Workload, model: nn.Module, batch: int = 1, *, transforms: bool = True
    ) -> None:
        like = next(model.parameters()).detach()
        spec = spec_of(model)
        self._workload = workload
        # The whole of it, as for anybody who renders a network.
        self._model = copy.deepcopy(model).requires_grad_(False)
        self._forward = truncated(self._model.to(memory_format=torch.channels_last), workload.layer)
        self.picture = FourierPicture(spec, workload.size, batch, like)
        self.generator = torch.Generator(like.device).manual_seed(SEED)
        self._warp = Warp(workload.size, workload.seen, like, self.generator)
        self._transforms = transforms
        self._gain, shift = (values.view(1, -1, 1, 1) for values in normalisation(spec, like))
        # The warp samples the image less mid-grey, which is outside of it.
        self._shift = shift + 0.5 * self._gain
        self._adam = torch.optim.Adam([self.picture.spectrum], lr=0.05, fused=True)

    def step(self) -> Tensor:
        """Do one step; return the loss."""
        loss = self.loss()
        (self.picture.spectrum.grad,) = torch.autograd.grad(loss, [self.picture.spectrum])
        self._adam.step()
        return loss.detach()

    def loss(self) -> Tensor:
        """Return what is minimised, 0-d."""
        image = self.picture() - 0.5
        if self._transforms:
            grid = self._warp.grid().expand(len(image), -1, -1, -1)
            image = F.grid_sample(image, grid, align_corners=False)
        seen = torch.addcmul(self._shift, image, self._gain)
        acts = self._forward(seen.contiguous(memory_format=torch.channels_last))
        return -self._workload.score(acts)


def normalisation(spec: ModelSpec, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return factor and summand of each channel that bring [0, 1] to what the network takes."""
    low, high = spec.value_range
    mean, std = like.new_tensor(spec.mean), like.new_tensor(spec.std)
    return (high - low) / std, (low - mean) / std


def truncated(model: nn.Module, layer: str) -> Forward:
    """Return the network up to a layer, as calls of its parts one after the other.

    Args:
        model: InceptionV1, SynthNet, or a ResNet or vision transformer of torchvision.
        layer: the last one to run.
    """
    kind = type(model).__name__
    if kind == "InceptionV1":
        return FastInception(model, layer)
    if kind == "SynthNet":
        return _chain(_synthnet_parts(model, layer))
    if kind == "ResNet":
        return _chain(_resnet_parts(model, layer))
    return _transformer(model, layer)


def _chain(parts: Sequence[Forward]) -> Forward:
    def forward(x: Tensor) -> Tensor:
        for part in parts:
            x = part(x)
        return x

    return forward


class Halving:
    """A convolution with stride 2, computed with stride 1 over blocks of 2 x 2 pixels.

    Three channels leave most of a processor's vectors empty; the twelve of a block do less so.

    Args:
        conv: with an odd kernel, and weights and bias only; its own padding does not count.
        near: padding at the left and the top.
    """

    def __init__(self, conv: nn.Module, *, near: int) -> None:
        size = conv.weight.shape[-1]
        # The kernel begins and ends with a block: a row and a column of zeros complete it.
        weight = F.pad(conv.weight, (near % 2, 1 - near % 2) * 2)
        self._weight = F.pixel_unshuffle(weight, 2).contiguous(memory_format=torch.channels_last)
        self._bias = conv.bias
        before = near + near % 2
        self._padding = (before, size - 1 - before) * 2

    def __call__(self, x: Tensor) -> Tensor:
        """Return (B, C_out, H / 2, W / 2) of an image (B, C, H, W) with even sides."""
        blocks = F.pixel_unshuffle(F.pad(x, self._padding), 2)
        return F.conv2d(blocks, self._weight, self._bias)


BLOCKS = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
POOLED = {"3a": "maxpool1", "4a": "maxpool4", "5a": "maxpool10"}


class FastInception:
    """InceptionV1 up to a block; with in-place ReLUs and local response normalisation in 2-d.

    Args:
        net: InceptionV1.
        layer: name of a block.
    """

    def __init__(self, net: nn.Module, layer: str) -> None:
        self._convs = dict(net.named_children())
        self._first = Halving(self._convs["conv2d0_pre_relu_conv"], near=2)
        self._blocks = BLOCKS[: BLOCKS.index(layer.removeprefix("mixed")) + 1]
        weight = next(net.parameters())
        self._bands = {n: _band(n, weight) for n in (64, 192)}

    def __call__(self, x: Tensor) -> Tensor:
        """Return the activations of the block, (B, C, H, W)."""
        x = self._normalised(_pool(torch.relu_(self._first(x))))
        x = self._normalised(self._conv("conv2d2", self._conv("conv2d1", x)))
        for block in self._blocks:
            x = self._block(f"mixed{block}", _pool(x) if block in POOLED else x)
        return x

    def _block(self, name: str, x: Tensor) -> Tensor:
        parts = [
            self._linear(f"{name}_1x1", x),
            self._linear(f"{name}_3x3", self._conv(f"{name}_3x3_bottleneck", x)),
            self._linear(f"{name}_5x5", self._conv(f"{name}_5x5_bottleneck", x)),
            self._linear(f"{name}_pool_reduce", F.max_pool2d(x, 3, 1, 1)),
        ]
        return torch.relu_(torch.cat(parts, dim=1))

    def _linear(self, name: str, x: Tensor) -> Tensor:
        output: Tensor = self._convs[f"{name}_pre_relu_conv"](x)
        return output

    def _conv(self, name: str, x: Tensor) -> Tensor:
        return torch.relu_(self._linear(name, x))

    def _normalised(self, x: Tensor) -> Tensor:
        band = self._bands[x.shape[1]]
        energy = F.conv2d(x * x, band, band.new_full((len(band),), LRN_K))
        return x * energy.rsqrt()


def _pool(x: Tensor) -> Tensor:
    """Max-pool by two with TensorFlow's SAME padding, which is all on the far side when even."""
    near = x.shape[-1] % 2
    return F.max_pool2d(x, 3, 2, near, ceil_mode=True)


def _band(n: int, like: Tensor) -> Tensor:
    """Return the window over neighbouring channels as the weights of a 1x1 convolution."""
    ones = like.new_full((n, n), LRN_ALPHA / LRN_SIZE)
    return ones.triu(-(LRN_SIZE // 2)).tril(LRN_SIZE // 2).view(n, n, 1, 1)


def _synthnet_parts(net: nn.Module, layer: str) -> list[Forward]:
    names = [name for name, _ in net.named_children()]
    parts = [net.get_submodule(name) for name in names[: names.index(layer) + 1]]
    first = Halving(parts[0].conv, near=2)
    rest = [_mixed(part) if hasattr(part, "conv_1x1") else _conv_block(part) for part in parts[1:]]
    return [lambda x: torch.relu_(first(x)), *rest]


def _conv_block(block: nn.Module) -> Forward:
    if isinstance(block, nn.AvgPool2d):
        return block
    conv = block.get_submodule("conv")
    return lambda x: torch.relu_(conv(x))


def _mixed(block: nn.Module) -> Forward:
    conv = {
        name: part.get_submodule("conv") for name, part in block.named_children() if name != "pool"
    }
    pool = block.get_submodule("pool")

    def forward(x: Tensor) -> Tensor:
        parts = [
            conv["conv_1x1"](x),
            conv["conv_3x3"](torch.relu_(conv["reduce_3x3"](x))),
            conv["conv_5x5"](torch.relu_(conv["reduce_5x5"](x))),
            conv["pool_conv"](pool(x)),
        ]
        return torch.relu_(torch.cat(parts, dim=1))

    return forward


def _resnet_parts(net: nn.Module, layer: str) -> list[Forward]:
    stem = fuse_conv_bn_eval(net.get_submodule("conv1"), net.get_submodule("bn1"))
    first = Halving(stem, near=3)
    parts: list[Forward] = [lambda x: torch.relu_(first(x)), net.get_submodule("maxpool")]
    for number in range(1, int(layer.removeprefix("layer")) + 1):
        parts += [_bottleneck(block) for block in net.get_submodule(f"layer{number}").children()]
    return parts


def _bottleneck(block: nn.Module) -> Forward:
    conv1, conv2, conv3 = (
        fuse_conv_bn_eval(block.get_submodule(f"conv{n}"), block.get_submodule(f"bn{n}"))
        for n in (1, 2, 3)
    )
    shortcut: Forward = lambda x: x  # noqa: E731
    if block.downsample is not None:
        shortcut = fuse_conv_bn_eval(*block.downsample.children())

    def forward(x: Tensor) -> Tensor:
        y = conv3(torch.relu_(conv2(torch.relu_(conv1(x)))))
        return torch.relu_(y.add_(shortcut(x)))

    return forward


def _transformer(net: nn.Module, layer: str) -> Forward:
    blocks = list(net.encoder.layers.children())
    last = int(layer.rpartition("_")[2])
    position = net.encoder.pos_embedding

    def forward(x: Tensor) -> Tensor:
        patches = net.conv_proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([net.class_token.expand(len(x), -1, -1), patches], dim=1) + position
        for block in blocks[: last + 1]:
            x = x + _attention(block.self_attention, block.ln_1(x))
            x = x + block.mlp(block.ln_2(x))
        return x

    return forward


def _attention(attention: nn.MultiheadAttention, x: Tensor) -> Tensor:
    n, length, width = x.shape
    qkv = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = qkv.view(n, length, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(q, k, v)
    projected: Tensor = attention.out_proj(mixed.transpose(1, 2).reshape(n, length, width))
    return projected
