"""Pictures that somebody gives, as tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lucent.errors import InputError

#: A tensor (C, H, W) or (B, C, *spatial), or an array (H, W, C) or (B, *spatial, C).
Picture = Tensor | np.ndarray


def as_batch(picture: Picture, name: str) -> Tensor:
    """Return a picture as (B, C, *spatial), on the device where it is.

    Args:
        picture: a tensor (C, H, W) or (B, C, *spatial), or an array (H, W, C) or (B, *spatial, C)
            as `render_vis` returns; floating point.
        name: of the argument, for the error.

    Raises:
        InputError: it is something else, or not finite.
    """
    wanted = f"{name} has to be a tensor (B, C, H, W) or an array (H, W, C) of values in [0, 1]"
    if not isinstance(picture, Tensor | np.ndarray):
        raise InputError(f"{wanted}, not a {type(picture).__name__}.")
    if not 3 <= picture.ndim <= 5:
        raise InputError(f"{wanted}; its shape is {tuple(picture.shape)}.")
    if isinstance(picture, Tensor):
        tensor = picture.detach()
    elif picture.dtype.kind in "biuf":
        tensor = torch.from_numpy(np.ascontiguousarray(picture, picture.dtype.newbyteorder("=")))
        tensor = tensor.movedim(-1, 0 if tensor.dim() == 3 else 1)
    else:
        raise InputError(f"{wanted}; it is of {picture.dtype}.")
    if not tensor.is_floating_point():
        raise InputError(f"{wanted}; it is {tensor.dtype}: divide 8-bit values by 255.")
    if not tensor.isfinite().all():
        raise InputError(f"{wanted}; it contains NaN or infinite values.")
    return tensor[None] if tensor.dim() == 3 else tensor
