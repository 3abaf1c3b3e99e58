"""What to do about an image that does not fit a network, told by what PyTorch says of it."""

from __future__ import annotations

import re

from torch import Tensor

_CHANNELS = re.compile(r"to have (\d+) channels, but got (\d+) channels")
_RANK = re.compile(r"input to conv([23])d|weight of size \[(\d+(?:, \d+){3,4})\]")
_TOO_SMALL = ("can't be greater than actual input size", "Output size is too small")


def misfit(failure: str, image: Tensor) -> str | None:
    """Tell what to change about an image that a network failed on, None if that is not known.

    Args:
        failure: what PyTorch said.
        image: (B, C, *spatial).
    """
    size = "x".join(map(str, image.shape[2:]))
    if reason := _wrong_rank(failure, image):
        return reason
    if (found := _CHANNELS.search(failure)) and int(found[2]) == image.shape[1]:
        alpha = "; for one with alpha, put transform.collapse_alpha_random() into the transforms"
        return (
            f"The network takes images of {found[1]} channels, but was given {found[2]} of shape "
            f"{tuple(image.shape)}: make the image with channels={found[1]}"
            f"{alpha if image.shape[1] == 4 else ''}."
        )
    if any(sign in failure for sign in _TOO_SMALL):
        return (
            f"The network cannot take an image of {size} pixels: it becomes smaller than a kernel "
            "on the way. Make the image larger, for example param.image(224), or bring it to a "
            "size with fixed_image_size=224."
        )
    if "shapes cannot be multiplied" in failure:
        return (
            f"The network does not take an image of {size} pixels: a fully connected layer expects "
            "another size. Name the one it was made for in model.spec = ModelSpec(..., "
            f"input_size=(height, width), fixed_size=True). It said: {failure}"
        )
    return None


def _wrong_rank(failure: str, image: Tensor) -> str | None:
    """Tell which image to make for a network of pictures or volumes that was given the other."""
    if (found := _RANK.search(failure)) is None:
        return None
    rank = int(found[1]) + 2 if found[1] else found[2].count(",") + 1
    if {rank, image.dim()} != {4, 5}:
        return None
    make = "param.image(128)" if rank == 4 else "param.image(64, depth=16)"
    return (
        f"The network takes images of {rank} axes, (B, C, {'D, ' * (rank - 4)}H, W), but was given "
        f"the shape {tuple(image.shape)}: make the image with {make}, for example. It said: "
        f"{failure}"
    )
