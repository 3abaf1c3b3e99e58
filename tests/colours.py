"""Networks of colours, whose units and groups are known by hand, and pictures for them."""

from __future__ import annotations

import torch
from tiny import PLAIN, conv
from torch import nn

#: What six channels make of red, and of blue.
OF_RED, OF_BLUE = [1.0, 2.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 2.0, 1.0, 1.0]


class Colours(nn.Module):
    """`units` are red, green and blue; `groups` six channels, three of red and three of blue.

    `head` has the mean of red minus blue, and the other way round.
    """

    spec = PLAIN

    def __init__(self):
        super().__init__()
        self.units = conv([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
        self.groups = conv([[red, 0, blue] for red, blue in zip(OF_RED, OF_BLUE, strict=True)])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = conv([[1, 1, 1, -1, -1, -1], [-1, -1, -1, 1, 1, 1]])
        self.logits = nn.Flatten()

    def forward(self, x):
        return self.logits(self.head(self.pool(self.groups(self.units(x)))))


def halves(left, right, *, size=4):
    """A picture (3, size, size) of two colours, dimmer towards the bottom."""
    picture = torch.empty(3, size, size)
    picture[:, :, : size // 2] = torch.tensor(left).view(3, 1, 1)
    picture[:, :, size // 2 :] = torch.tensor(right).view(3, 1, 1)
    return picture * torch.linspace(1, 0.5, size).view(1, size, 1)


def interrupt_after(batches):
    """A callback that presses Ctrl-C once, at the beginning of the batch after so many."""
    begun = []

    def press(run):
        begun.extend([run] if run.step == 0 else [])
        if run.step == 0 and len(begun) == batches + 1:
            raise KeyboardInterrupt

    return press
