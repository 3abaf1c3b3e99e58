"""Images made of images: rows of one batch, sums, regions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lucent.errors import InputError
from lucent.optvis.param.base import Image, as_image
from lucent.optvis.param.pictures import Picture, as_batch

#: An image, a pair (params, image_f), or a picture that stays as it is.
Part = Image | tuple[Iterable[Tensor], Callable[[], Tensor]] | Picture


class ConstantImage(Image):
    """A picture that is not optimised; it moves with the image that it is a part of.

    Args:
        picture: a tensor (C, H, W) or (B, C, *spatial), or an array (H, W, C) or (B, *spatial, C).
    """

    picture: Tensor

    def __init__(self, picture: Picture) -> None:
        super().__init__()
        pixels = as_batch(picture, "A constant").float()
        self.register_buffer("picture", pixels.clone(), persistent=False)

    def forward(self) -> Tensor:
        """Return the picture, (B, C, *spatial)."""
        return self.picture


class _Compound(Image):
    """An image made of several, in order."""

    def __init__(self, parts: Iterable[Part]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(_as_part(part) for part in parts)
        if not self.parts:
            raise InputError("An image made of others needs at least one; got none.")

    def _images(self) -> list[Tensor]:
        """Return the parts, in the precision of the most precise."""
        images = [part() for part in self.parts]
        dtype = reduce(torch.promote_types, (image.dtype for image in images))
        return [image.to(dtype) for image in images]


class StackImage(_Compound):
    """Images and pictures one after the other in a batch.

    Args:
        parts: images, pairs (params, image_f), or pictures that stay as they are: tensors
            (C, H, W) or (B, C, *spatial), arrays (H, W, C) or (B, *spatial, C). They differ in
            the number of rows only.

    Raises:
        InputError: there is no part, or one is something else; in the call: the sizes differ.
    """

    def forward(self) -> Tensor:
        """Return the rows of all parts, (B, C, *spatial)."""
        images = self._images()
        if len({image.shape[1:] for image in images}) > 1:
            raise InputError(
                "Images in a stack have to differ in the number of rows only; got "
                f"{_shapes(images)}."
            )
        return torch.cat(images)


class SumImage(_Compound):
    """Unconstrained images added up, such as unique ones and structure that they share.

    Args:
        parts: images, pairs (params, image_f), or pictures as for `StackImage`; one with a single
            row or channel is added to all of them.

    Raises:
        InputError: there is no part, or one is something else; in the call: the sizes differ.
    """

    def forward(self) -> Tensor:
        """Return the sum, (B, C, *spatial)."""
        images = self._images()
        try:
            return sum(torch.broadcast_tensors(*images))
        except RuntimeError as error:
            raise InputError(
                f"The shapes {_shapes(images)} cannot be added up: sizes have to be equal, or 1."
            ) from error


class MaskedImage(Image):
    """An image inside a region, a given background outside.

    Args:
        image: what is optimised, (B, C, H, W).
        background: what is seen outside; an image or a picture as for `StackImage`.
        mask: 1 or True inside the region, 0 outside, what lies between blends; a tensor or an array
            (H, W), or a picture with one channel.

    Raises:
        InputError: the mask leaves [0, 1] or is something else; in the call: the sizes differ.
    """

    mask: Tensor

    def __init__(self, image: Part, background: Part, mask: Picture) -> None:
        super().__init__()
        self.image, self.background = _as_part(image), _as_part(background)
        values = as_batch(_as_picture(mask), "The mask").float()
        if values.min() < 0 or values.max() > 1:
            raise InputError(
                f"The mask has values from {values.min():g} to {values.max():g}: it has to be 1 "
                "inside the region and 0 outside."
            )
        self.register_buffer("mask", values.clone(), persistent=False)

    def forward(self) -> Tensor:
        """Return the blend, (B, C, H, W)."""
        image = self.image()
        background, mask = self.background().to(image), self.mask.to(image)
        try:
            # Exact at 0 and at 1, so that the background stays what it was.
            return torch.lerp(background, image, mask)
        except RuntimeError as error:
            raise InputError(
                "The image, its background and the mask differ in size: "
                f"{_shapes([image, background, mask])}."
            ) from error


def stack(parts: Iterable[Part]) -> Image:
    """Return images and constant pictures as the rows of one batch; see `StackImage`."""
    return StackImage(parts)


def summed(parts: Iterable[Part]) -> Image:
    """Return the sum of unconstrained images; see `SumImage`."""
    return SumImage(parts)


def masked(image: Part, background: Part, mask: Picture) -> Image:
    """Return an image that is optimised in a region only; see `MaskedImage`."""
    return MaskedImage(image, background, mask)


def _as_part(part: Any) -> Image:
    if isinstance(part, Tensor | np.ndarray):
        return ConstantImage(part)
    if isinstance(part, Image | tuple | list):
        return as_image(part)
    raise InputError(
        "The parts of an image are images such as param.image(128), pairs (params, image_f), or "
        f"pictures as tensors (C, H, W) or arrays (H, W, C), not a {type(part).__name__}: "
        "lucent.misc.io.load reads files."
    )


def _as_picture(mask: Any) -> Any:
    """Return a mask, which may be of rank 2, boolean or of whole numbers, as a picture."""
    if isinstance(mask, np.ndarray):
        mask = mask[..., None] if mask.ndim == 2 else mask
        return mask.astype(np.float32)
    if isinstance(mask, Tensor):
        mask = mask[None] if mask.dim() == 2 else mask
        return mask.float()
    return mask


def _shapes(images: Iterable[Tensor]) -> str:
    return ", ".join(str(tuple(image.shape)) for image in images)
