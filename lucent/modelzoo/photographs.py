"""Photographs as a network takes them."""

from __future__ import annotations

import os

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from lucent.errors import InputError
from lucent.layers import unwrap
from lucent.misc.io.loading import load
from lucent.misc.io.pictures import Picture, channels_last, to_bytes
from lucent.modelzoo._inputs import completed
from lucent.modelzoo.spec import ModelSpec, spec_of
from lucent.util import device_of, dtype_of

#: What each of red, green and blue adds to the brightness (ITU-R BT.601, as in Pillow).
_LUMA = (0.299, 0.587, 0.114)


def photograph(
    model: nn.Module,
    picture: str | os.PathLike[str] | Picture,
    *,
    size: int | tuple[int, int] | None = None,
) -> Tensor:
    """Return a photograph as a network takes it, before normalisation.

    Pictures are scaled, without aliasing, until they cover the size of the network, and cut to it
    around their centre. Tensors are taken as they are.

    >>> import numpy as np
    >>> from lucent.modelzoo import synthnet
    >>> photograph(synthnet(), np.zeros((100, 150, 3))).shape
    torch.Size([1, 3, 96, 96])

    Args:
        model: the network.
        picture: path or address; a picture of Pillow's; an array (H, W), (H, W, 1) or (H, W, 3),
            floats in [0, 1] or bytes; a tensor (C, H, W) or (B, C, *spatial), floats in [0, 1].
        size: (height, width), or both, in pixels, of the result; None is that of the model's spec,
            and without one that of the picture. For pictures only.

    Returns:
        (1, C, H, W), of a tensor (B, C, *spatial), on the device of the model; float32, float64 for
        a network in it. Grey becomes RGB where the network takes that, and the other way round.

    Raises:
        InputError: it is no picture, has transparency, another number of channels or other values,
            or a tensor is given with a size.
    """
    spec = completed(spec_of(model), unwrap(model))
    if isinstance(picture, Tensor):
        image = picture[None] if picture.dim() == 3 else picture
        if size is not None:
            raise InputError(
                f"size={size!r} is for pictures: a tensor is taken as it is. "
                "torch.nn.functional.interpolate(tensor, size=..., antialias=True) scales one."
            )
        if image.dim() not in (4, 5) or 0 in image.shape or not image.is_floating_point():
            raise InputError(
                f"A photograph as a tensor is (C, H, W) or (B, C, H, W), floats in [0, 1]; got "
                f"{tuple(picture.shape)} of {picture.dtype}. Divide bytes by 255."
            )
    else:
        image = _resized(_as_tensor(picture), spec, size)
    image = _with_channels(image, spec)
    low, high = image.aminmax()
    if not (low >= 0 and high <= 1):
        raise InputError(
            f"The photograph has values from {low:g} to {high:g}: expected [0, 1], before the "
            "normalisation, which the network's spec does. Divide values up to 255 by 255."
        )
    double = dtype_of(model) == torch.float64
    return image.detach().to(device_of(model), torch.float64 if double else torch.float32)


def _as_tensor(picture: object) -> Tensor:
    """Return a path, an array or a picture of Pillow's as (1, C, H, W)."""
    if isinstance(picture, str | os.PathLike):
        picture = load(picture)
    if isinstance(picture, Image.Image) and picture.mode == "P":
        picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
    array = channels_last(picture)  # type: ignore[arg-type]
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or 0 in array.shape:
        raise InputError(
            f"An array of shape {array.shape} is no photograph: give one (H, W, 3), or a batch as "
            "a tensor (B, 3, H, W)."
        )
    if array.dtype.kind != "f":
        array = to_bytes(array) / 255
    # No half precision: scaling knows none on a CPU.
    array = array.astype(np.float64 if array.dtype == np.float64 else np.float32)
    return torch.from_numpy(array).movedim(-1, 0)[None]


def _with_channels(image: Tensor, spec: ModelSpec) -> Tensor:
    given, wanted = image.shape[1], spec.channels or 3
    if given == 1 and wanted == 3:
        return image.expand(-1, 3, *image.shape[2:])
    if given == 3 and wanted == 1:
        weights = torch.tensor(_LUMA, dtype=image.dtype, device=image.device)
        return torch.tensordot(image, weights, dims=([1], [0]))[:, None]
    if given != wanted:
        remedy = (
            "It has transparency: put it on a background first, or leave that out with "
            "picture[..., :3]."
            if given in (2, 4)
            else "Pick the channels that the network takes."
        )
        raise InputError(
            f"The photograph has {given} channels, but {spec.name} takes {wanted}. {remedy}"
        )
    return image


def _resized(image: Tensor, spec: ModelSpec, size: int | tuple[int, int] | None) -> Tensor:
    if size is None:
        size = spec.input_size or (image.shape[2], image.shape[3])
    wanted = tuple(size) if isinstance(size, list | tuple) else (size, size)
    if len(wanted) != 2 or not all(isinstance(n, int) and n >= 1 for n in wanted):
        raise InputError(f"size={size!r} has to be (height, width), or one number for both.")
    own = image.shape[2:]
    zoom = max(new / old for new, old in zip(wanted, own, strict=True))
    if zoom != 1:
        scaled = [max(new, round(old * zoom)) for new, old in zip(wanted, own, strict=True)]
        mode = "bicubic" if spec.interpolation == "bicubic" else "bilinear"
        # Bicubic overshoots at edges.
        image = F.interpolate(image, scaled, mode=mode, antialias=True).clamp(0, 1)
    top, left = ((old - new) // 2 for new, old in zip(wanted, image.shape[2:], strict=True))
    return image[:, :, top : top + wanted[0], left : left + wanted[1]]
