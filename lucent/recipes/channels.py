"""Images of any number of channels, for networks that take another number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lucent.errors import InputError
from lucent.optvis.defaults import checked_spec, default_image
from lucent.optvis.objectives import as_objective
from lucent.optvis.param import Image
from lucent.recipes._pictures import Wanted, caption, rendered
from lucent.recipes._seen import shown
from lucent.recipes.results import Panels, Result


@dataclass(frozen=True, eq=False)
class AnyChannels(Result):
    """An image with a number of channels of its own, and what the network saw of it.

    Attributes:
        unit: its name.
        image: (H, W, channels) in [0, 1].
        seen: (H, W, C) in [0, 1], with as many channels as the network takes.
    """

    unit: str
    image: np.ndarray
    seen: np.ndarray

    def panels(self) -> Panels:
        """Return what the network saw, and the channels as grey pictures if there are several."""
        several = self.image.shape[-1] > 1
        channels = [*np.moveaxis(self.image, -1, 0)[..., None]] if several else []
        labels = [self.unit, *(f"channel {n}" for n in range(len(channels)))]
        return Panels([self.seen, *channels], labels)


def any_number_of_channels(
    model: nn.Module,
    unit: Wanted,
    *,
    channels: int = 10,
    size: int | tuple[int, int] | None = None,
    **options: Any,
) -> AnyChannels:
    """Make the picture of a unit as an image with another number of channels than it sees.

    >>> from lucent.modelzoo import synthnet
    >>> made = any_number_of_channels(synthnet(), "mixed4a:63", channels=10, steps=2)
    >>> made.image.shape, made.seen.shape
    ((96, 96, 10), (96, 96, 3))

    One channel is what all channels of the network get, so that its picture is grey. More of them
    are split into as many groups as the network takes channels, in their order, and each of those
    gets the mean of the squares of its group.

    Args:
        model: the network.
        unit: such as "mixed4a:476".
        channels: 1, or at least as many as the network takes.
        size: in pixels, (height, width) or both; None is that of the model's spec.
        options: `steps`, by default 256, and further arguments of `render_vis`.

    Raises:
        InputError: the number of channels is another.

    Source: Lucid's notebook on any number of channels (https://github.com/tensorflow/lucid).
    """
    wanted, spec = as_objective(unit), checked_spec(model, needed=True)
    taken = spec.channels or 3
    if channels != 1 and channels < taken:
        raise InputError(
            f"channels={channels}: {spec.name} takes {taken}; give 1, which all of them get, or at "
            f"least {taken}."
        )
    made: list[_Grouped] = []

    def image() -> Image:
        made.append(_Grouped(default_image(spec, size, channels=channels), taken))
        return made[-1]

    seen = rendered(model, wanted, image, **options)[-1]
    with torch.no_grad():
        own = made[-1].image()
    return AnyChannels(caption(wanted), shown(own)[0], seen[0])


class _Grouped(Image):
    """An image whose channels are brought to another number.

    Args:
        image: (B, C, H, W).
        channels: to bring it to.
    """

    def __init__(self, image: Image, channels: int) -> None:
        super().__init__()
        self.image, self.channels = image, channels

    def forward(self) -> Tensor:
        """Return the image, (B, channels, H, W)."""
        image: Tensor = self.image()
        if image.shape[1] == 1:
            return image.expand(-1, self.channels, -1, -1)
        if image.shape[1] == self.channels:
            return image
        groups = image.square().tensor_split(self.channels, dim=1)
        return torch.cat([group.mean(1, keepdim=True) for group in groups], dim=1)
