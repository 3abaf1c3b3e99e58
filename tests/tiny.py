"""Models whose activations are known by hand, and small helpers to watch a model with."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from lucent.modelzoo.spec import ModelSpec
from lucent.optvis.param import Image

#: Nothing but what the tests say: no normalisation, no resize.
PLAIN = ModelSpec(name="plain")


def conv(weight, bias=0.0):
    """Return a 1x1 convolution with this matrix (out, in), and this bias for every output."""
    matrix = torch.tensor(weight, dtype=torch.float32)
    layer = nn.Conv2d(matrix.shape[1], matrix.shape[0], 1)
    layer.weight.data.copy_(matrix[..., None, None])
    layer.bias.data.fill_(bias)
    return layer


def colour(red, green, blue, *, batch=1, size=2):
    """Return a plain picture, (batch, 3, size, size)."""
    return (
        torch.tensor([red, green, blue], dtype=torch.float32)
        .view(1, 3, 1, 1)
        .repeat(batch, 1, size, size)
    )


class Chain(nn.Module):
    """Of (r, g, b), `conv1` makes (r, -g), `relu` (max(r, 0), max(-g, 0)), `conv2` twice the first
    plus three times the second, `head` the mean over positions of that and of its negative.
    """

    spec = PLAIN

    def __init__(self, inplace=False):
        super().__init__()
        self.conv1 = conv([[1, 0, 0], [0, -1, 0]])
        self.relu = nn.ReLU(inplace=inplace)
        self.conv2 = conv([[2, 3]])
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))
        self.head[2].weight.data.copy_(torch.tensor([[1.0], [-1.0]]))
        self.head[2].bias.data.zero_()

    def forward(self, x):
        return self.head(self.conv2(self.relu(self.conv1(x))))


class FunctionalChain(Chain):
    """The same with a ReLU that is no module."""

    def forward(self, x):
        return self.head(self.conv2(F.relu(self.conv1(x))))


class Softmax(Chain):
    """Its output is a probability; the logits are an inner layer."""

    spec = ModelSpec(name="softmax", logits="head", labels=("cat", "dog"))

    def forward(self, x):
        return super().forward(x).softmax(1)


class SharedReLU(nn.Module):
    """One ReLU called twice: of (r, g, b), `relu#0` is (max(r, 0), max(g, 0)), `conv2` their
    difference both ways round, `relu#1` the positive part of that.
    """

    spec = PLAIN

    def __init__(self):
        super().__init__()
        self.conv1 = conv([[1, 0, 0], [0, 1, 0]])
        self.relu = nn.ReLU()
        self.conv2 = conv([[1, -1], [-1, 1]])

    def forward(self, x):
        return self.relu(self.conv2(self.relu(self.conv1(x))))


class Normed(nn.Module):
    """In train mode, but for a part: batch norm with buffers, dropout, a frozen parameter."""

    spec = PLAIN

    def __init__(self, inplace=True):
        super().__init__()
        self.conv = conv([[1, 0, 0], [0, -1, 0]])
        self.norm = nn.BatchNorm2d(2)
        self.relu = nn.ReLU(inplace=inplace)
        self.drop = nn.Dropout(0.5)
        self.frozen = nn.BatchNorm2d(2)
        self.norm.running_mean.copy_(torch.tensor([0.25, -0.25]))
        self.train()
        self.frozen.eval()
        self.conv.bias.requires_grad_(False)

    def forward(self, x):
        return self.frozen(self.drop(self.relu(self.norm(self.conv(x)))))


@dataclass
class Parts:
    logits: torch.Tensor
    hidden: torch.Tensor


class Several(nn.Module):
    """`part` gives its input and twice its input, together, in the way that `pack` says."""

    spec = PLAIN

    class Part(nn.Module):
        def __init__(self, pack):
            super().__init__()
            self.pack = pack

        def forward(self, x):
            return self.pack(x, 2 * x)

    def __init__(self, pack):
        super().__init__()
        self.part = self.Part(pack)

    def forward(self, x):
        self.part(x)
        return x


class PickyHead(Chain):
    """The head takes pictures of 4x4 only."""

    def __init__(self):
        super().__init__()
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))


class Swallower(Chain):
    """A model that goes on after any Exception of its parts."""

    caught = 0

    def forward(self, x):
        try:
            x = self.conv1(x)
        except Exception:  # noqa: BLE001
            self.caught += 1
        return self.head(self.conv2(self.relu(x)))


class Unused(Chain):
    """`spare` is registered, but the forward pass never calls it."""

    def __init__(self):
        super().__init__()
        self.spare = nn.ReLU()


class Ambiguous(nn.Module):
    """`a_b_c` may mean `a.b_c` or `a_b.c`; `x_y` is a layer, and may mean `x.y` as well."""

    def __init__(self):
        super().__init__()
        self.a, self.a_b, self.x = (nn.Module() for _ in range(3))
        self.a.b_c, self.a_b.c, self.x.y, self.x_y = (Times(n) for n in (2, 3, 5, 7))

    def forward(self, x):
        return self.x_y(self.x.y(self.a_b.c(self.a.b_c(x))))


class Times(nn.Module):
    """Multiplies by a constant."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


class Calling(nn.Module):
    """Calls a function or a module."""

    spec = PLAIN

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Checkpointed(nn.Module):
    """Computes its middle anew in the backward pass."""

    spec = PLAIN

    def __init__(self):
        super().__init__()
        self.stem = conv([[1, 0, 0], [0, 1, 0]])
        self.body = nn.Sequential(conv([[1, 2], [-3, 1]]), nn.ReLU(), conv([[2, 1], [1, -1]]))
        self.last = nn.ReLU()

    def forward(self, x):
        return self.last(checkpoint(self.body, self.stem(x), use_reentrant=False))


class Dead(nn.Module):
    """A ReLU that no picture in [0, 1] opens: it gets the mean of the colours minus 5."""

    spec = PLAIN

    def __init__(self, relu=None):
        super().__init__()
        self.conv = conv([[1 / 3, 1 / 3, 1 / 3]], bias=-5)
        self.relu = relu or nn.ReLU()

    def forward(self, x):
        return self.relu(self.conv(x))


def textured(dtype=torch.float32, activation=nn.ReLU):
    """Return a net of 3x3 convolutions with fixed random weights, 3 -> 8 -> 8 channels.

    Channels 0, 2 and 4 of the last layer, "3", are alive on a grey image.
    """
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3), activation(), nn.Conv2d(8, 8, 3, stride=2), activation()
    )
    generator = torch.Generator().manual_seed(7)
    for parameter in layers.parameters():
        parameter.data.normal_(0, 0.3, generator=generator)
    layers.spec = PLAIN
    return layers.to(dtype)


class Pixels(Image):
    """An image whose parameter is its pixels."""

    def __init__(self, start):
        super().__init__()
        self.pixels = nn.Parameter(start.detach().clone())

    def forward(self):
        return self.pixels


def count_calls(model):
    """Return a counter of the forward calls of each layer from now on, "" for the model itself.

    It sets `forward` on the instances, because hooks are what the tests are about.
    """
    calls = Counter()

    def counted(name, forward):
        def count(*args, **kwargs):
            calls[name] += 1
            return forward(*args, **kwargs)

        return count

    for name, module in model.named_modules():
        module.forward = counted(name, module.forward)
    return calls


def hooked(model):
    """Return the names of the layers that have a hook of any kind, "" for the model itself."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [name for name, m in model.named_modules() if any(getattr(m, kind) for kind in kinds)]


def condition(model):
    """Return all that a visitor could have changed of a model, to compare before and after."""
    named = [*model.named_parameters(), *model.named_buffers()]
    return {
        "hooks": hooked(model),
        "modes": {name: module.training for name, module in model.named_modules()},
        "values": {name: tensor.detach().clone().tolist() for name, tensor in named},
        "trainable": {name: tensor.requires_grad for name, tensor in named},
        "gradients": {name: None if t.grad is None else t.grad.tolist() for name, t in named},
        "attributes": {name: sorted(vars(module)) for name, module in model.named_modules()},
        "forwards": {
            name: module.__dict__.get("forward") for name, module in model.named_modules()
        },
    }
