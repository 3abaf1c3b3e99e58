"""A network and images whose activations are known by hand."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from lucent.modelzoo.spec import ModelSpec

SIDE, COUNT = 8, 50


class World(nn.Module):
    """Of (r, g, b), `first` gives (r, r - g, -b) at each pixel, `second` the mean of the first over
    tiles of 2x2, `head` four logits: means over positions of that, twice, and of its negative.
    """

    spec = ModelSpec("world", (SIDE, SIDE), labels=("one", "two", "minus one", "minus two"))

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 1, bias=False)
        matrix = [[1.0, 0, 0], [1, -1, 0], [0, 0, -1]]
        self.first.weight.data.copy_(torch.tensor(matrix)[..., None, None])
        self.second = nn.Conv2d(3, 1, 2, 2, bias=False)
        self.second.weight.data.zero_()[:, 0] = 0.25
        self.head = nn.Linear(1, 4, bias=False)
        self.head.weight.data.copy_(torch.tensor([[1.0], [2], [-1], [-2]]))

    def forward(self, x):
        return self.head(self.second(self.first(x)).mean((2, 3)))


def images(count=COUNT, seed=0):
    """Bytes (count, SIDE, SIDE, 3), each pixel a number of its own."""
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def activations(pictures):
    """What `first` gives, (n, 3, SIDE, SIDE), in single precision as the network computes it."""
    r, g, b = np.moveaxis(pictures.astype(np.float32) / np.float32(255), -1, 0)
    return np.stack([r, r - g, -b], 1)


class Labelled:
    """A map-style data set of bytes, whose image n has the label n modulo 3."""

    classes = ("a", "b", "c")

    def __init__(self, pictures):
        self.pictures = pictures

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        return self.pictures[index], index % 3
