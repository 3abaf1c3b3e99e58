"""The naive way: a step as torch-lucent does it.

Hooks on every module, the whole network however early the layer, a backward pass that computes the
gradients of all weights, transforms one by one with a warp of its own for each of three, and in
InceptionV1 local response normalisation by a pool in three dimensions and a redirected ReLU that
indexes by a mask. Written anew from what torch-lucent computes, without its code.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.floor import (
    ANGLES,
    BLOCKS,
    JITTER,
    LAST_JITTER,
    LRN_ALPHA,
    LRN_K,
    LRN_SIZE,
    PAD,
    POOLED,
    SCALES,
    FourierPicture,
    normalisation,
)
from benchmarks.workloads import SEED, Workload
from lucent.modelzoo.spec import spec_of


class Naive:
    """The step of torch-lucent.

    Args:
        workload: what to render.
        model: its network; a copy is made.
        batch: number of images.
        transforms: False shows the network the image itself.
    """

    def __init__(
        self, workload: Workload, model: nn.Module, batch: int = 1, *, transforms: bool = True
    ) -> None:
        like, spec = next(model.parameters()).detach(), spec_of(model)
        self._workload = workload
        self._model = naive_model(model).requires_grad_()
        self.picture = FourierPicture(spec, workload.size, batch, like)
        self._generator = torch.Generator().manual_seed(SEED)
        self._transforms = transforms
        gain, shift = normalisation(spec, like)
        self._mean, self._std = ((v.view(1, -1, 1, 1)) for v in (-shift / gain, 1 / gain))
        self._outputs: dict[str, Any] = {}
        for name, module in self._model.named_modules():
            module.register_forward_hook(self._keep(name))
        self._adam = torch.optim.Adam([self.picture.spectrum], lr=0.05)

    def step(self) -> Tensor:
        """Do one step; return the loss."""
        self._adam.zero_grad()
        loss = self.loss()
        loss.backward()
        self._adam.step()
        return loss.detach()

    def loss(self) -> Tensor:
        """Return what is minimised, 0-d."""
        image = self.picture()
        if self._transforms:
            image = self._transformed(image)
        self._model((image - self._mean) / self._std)
        return -self._workload.score(self._outputs[self._workload.layer])

    def _keep(self, name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            self._outputs[name] = output

        return hook

    def _transformed(self, image: Tensor) -> Tensor:
        image = F.pad(image, [PAD] * 4, value=0.5)
        image = self._jittered(image, JITTER)
        image = _scaled(image, SCALES[self._draw(len(SCALES))])
        image = _rotated(image, math.radians(ANGLES[self._draw(len(ANGLES))]))
        image = self._jittered(image, LAST_JITTER)
        seen = self._workload.seen
        return F.interpolate(image, (seen, seen), mode="bilinear", align_corners=True)

    def _jittered(self, image: Tensor, pixels: int) -> Tensor:
        y, x = ((self._draw(pixels) - pixels // 2) * 2 / n for n in image.shape[2:])
        return _warped(image, [[1, 0, x], [0, 1, y]])

    def _draw(self, n: int) -> int:
        return int(torch.randint(n, (), generator=self._generator))


def _scaled(image: Tensor, scale: float) -> Tensor:
    """Scale; a smaller picture is padded with zeros to the size that it had."""
    before = image.shape[-1]
    after = math.ceil(before * scale)
    image = F.interpolate(image, (after, after), mode="bilinear", align_corners=True)
    return F.pad(image, [max(0, math.ceil((before - after) / 2))] * 4)


def _rotated(image: Tensor, angle: float) -> Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return _warped(image, [[c, -s, 0], [s, c, 0]])


def _warped(image: Tensor, matrix: list[list[float]]) -> Tensor:
    theta = image.new_tensor([matrix]).expand(len(image), -1, -1)
    grid = F.affine_grid(theta, list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, align_corners=False)


def naive_model(model: nn.Module) -> nn.Module:
    """Return a copy of the network, InceptionV1 with torch-lucent's slower parts."""
    model = copy.deepcopy(model)
    return NaiveInception(model) if type(model).__name__ == "InceptionV1" else model


class IndexedReLU(torch.autograd.Function):
    """ReLU that lets a tenth of the gradient through where it is closed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Return the positive part."""
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """Return the gradient, a tenth of it where x < 0."""
        (x,) = ctx.saved_tensors
        grad = grads[0].clone()
        grad[x < 0] = grad[x < 0] * 0.1
        return grad


class _ReLU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = IndexedReLU.apply(x)
        return result


class _Joined(nn.Module):
    def forward(self, parts: list[Tensor]) -> Tensor:
        return torch.cat(parts, dim=1)


class NaiveInception(nn.Module):
    """InceptionV1 with an indexed ReLU, and normalisation by a pool in three dimensions.

    Args:
        net: InceptionV1; its layers with parameters are taken over.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        for name, child in net.named_children():
            if next(child.parameters(), None) is not None:
                self.add_module(name, child)
                self.add_module(name.removesuffix("_pre_relu_conv"), _ReLU())
        for block in BLOCKS:
            self.add_module(f"mixed{block}", _Joined())

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, 1008)."""
        x = self._conv("conv2d0", F.pad(x, (2, 3, 2, 3)))
        x = _normalised(_pool(x))
        x = _normalised(self._conv("conv2d2", self._conv("conv2d1", x)))
        for block in BLOCKS:
            x = self._block(f"mixed{block}", _pool(x) if block in POOLED else x)
        return self.get_submodule("softmax2_pre_activation_matmul")(x.mean((2, 3))).softmax(1)

    def _block(self, name: str, x: Tensor) -> Tensor:
        parts = [
            self._conv(f"{name}_1x1", x),
            self._conv(f"{name}_3x3", self._conv(f"{name}_3x3_bottleneck", x)),
            self._conv(f"{name}_5x5", self._conv(f"{name}_5x5_bottleneck", x)),
            self._conv(f"{name}_pool_reduce", F.max_pool2d(x, 3, 1, 1)),
        ]
        return self.get_submodule(name)(parts)

    def _conv(self, name: str, x: Tensor) -> Tensor:
        return self.get_submodule(name)(self.get_submodule(f"{name}_pre_relu_conv")(x))


def _pool(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, 2, x.shape[-1] % 2, ceil_mode=True)


def _normalised(x: Tensor) -> Tensor:
    return F.local_response_norm(x, LRN_SIZE, alpha=LRN_ALPHA, beta=0.5, k=LRN_K)
