"""Pictures of any kind, brought to what the network takes; what cannot be read gets a reason."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from lucent.collect.sources import UNREADABLE, Item, Source, described
from lucent.errors import InputError
from lucent.layers import unwrap
from lucent.misc.io.pictures import channels_last, coloured, to_bytes
from lucent.modelzoo._inputs import completed
from lucent.modelzoo.photographs import photograph
from lucent.modelzoo.spec import ModelSpec, spec_of

#: How far resizing in another library may exceed [0, 1] by rounding.
_ROUNDING = 1e-3


class Prepared(NamedTuple):
    """An image as the network takes it.

    Attributes:
        item: what the source gave, with a reason where it cannot be used, without the picture.
        image: (C, H, W) in [0, 1], on the CPU; None where it cannot be used.
        composed: whether it was transparent, and is on white now.
    """

    item: Item
    image: Tensor | None = None
    composed: bool = False


class _Facts(nn.Module):
    """What is known about a network, without the network."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec


class Preparer:
    """Brings pictures to the size and the channels of a network.

    Args:
        model: the network.
        size: (height, width) in pixels; None leaves pictures at theirs.
    """

    def __init__(self, model: nn.Module, size: tuple[int, int] | None) -> None:
        spec = completed(spec_of(model), unwrap(model))
        self._size, self._channels = size, spec.channels or 3
        # What `photograph` has to know of the network, at hand for every picture.
        self._facts = _Facts(replace(spec, input_size=size))

    def __call__(self, item: Item) -> Prepared:
        """Return an item of a source as the network takes it.

        Raises:
            InputError: its values are not in [0, 1], which is no damage but misuse.
        """
        plain = replace(item, picture=None)
        if item.reason:
            return Prepared(plain)
        try:
            array = _opened(item.picture)
        except UNREADABLE as error:
            return Prepared(replace(plain, reason=described(error)))
        array = _in_range(array, item.key)
        composed = array.shape[-1] in (2, 4) and self._channels in (1, 3)
        try:
            if composed:
                array = _on_white(array)
            image = photograph(self._facts, array, size=self._size)[0]
        except UNREADABLE as error:
            return Prepared(replace(plain, reason=described(error)))
        return Prepared(plain, image, composed)


def _opened(picture: Any) -> np.ndarray:
    """Return a picture as (H, W, C): bytes, or floats that may have any value."""
    if isinstance(picture, bytes | bytearray):
        picture = Image.open(io.BytesIO(picture))
    elif isinstance(picture, str | os.PathLike):
        picture = Image.open(io.BytesIO(Path(picture).read_bytes()))
    decoded = isinstance(picture, Image.Image)
    if decoded:
        picture = ImageOps.exif_transpose(picture)
    elif isinstance(picture, Tensor) and picture.dim() == 4 and len(picture) == 1:
        picture = picture[0]
    array = channels_last(picture)
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(f"a picture is (H, W, C), or a tensor (C, H, W), but it is {array.shape}")
    if array.dtype != np.uint8:
        array = array.astype(np.float32 if array.dtype.kind == "f" else np.float64)
        if not np.isfinite(array).all():
            raise ValueError("it has values that are NaN or infinite")
    # A file of floats may hold anything, and is one of many.
    return np.clip(array, 0, 1) if decoded and array.dtype != np.uint8 else array


def _in_range(array: np.ndarray, key: str) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    low, high = float(array.min()), float(array.max())
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        remedy = (
            "Leave Normalize out of the transforms of the data set: the network's spec does that."
            if low < 0
            else "Divide values up to 255 by 255, or give bytes as uint8."
        )
        raise InputError(
            f"Image {key!r} of the data set has values from {low:.3g} to {high:.3g}, but images "
            f"are in [0, 1] here. {remedy}"
        )
    return np.clip(array, 0, 1)


def _on_white(array: np.ndarray) -> np.ndarray:
    """Return colours with transparency, or grey with it, as they look on white paper."""
    values = array / np.float32(255) if array.dtype == np.uint8 else array
    alpha = values[..., -1:]
    return values[..., :-1] * alpha + (1 - alpha)


class Reader:
    """Reads the images of a source in batches.

    Args:
        source: where from.
        prepare: brings them to the network.
        workers: threads that read and prepare; 0 does it between the passes.
    """

    def __init__(self, source: Source, prepare: Preparer, workers: int = 0) -> None:
        self._source, self._prepare, self._workers = source, prepare, workers

    def batches(self, start: int, stop: int, size: int) -> Iterator[list[Prepared]]:
        """Yield batches of the images from `start` to before `stop`; the last may be short.

        Args:
            start: number of the first image.
            stop: the number after the last one.
            size: images in a batch.
        """
        with ExitStack() as stack:
            pool = None
            if self._workers:
                pool = stack.enter_context(ThreadPoolExecutor(self._workers))
            before: list[Future[Prepared]] = []
            source = self._source.items(start, stop)
            while items := list(itertools.islice(source, size)):
                if pool is None:
                    yield [self._prepare(item) for item in items]
                else:
                    # The next batch is read while the network is at work on this one.
                    ahead = [pool.submit(self._prepare, item) for item in items]
                    if before:
                        yield [future.result() for future in before]
                    before = ahead
            if before:
                yield [future.result() for future in before]

    def some(self, numbers: list[int]) -> list[Prepared]:
        """Return images by their numbers, which increase."""
        items = (next(self._source.items(number, number + 1)) for number in numbers)
        return [self._prepare(item) for item in items]


def as_bytes(image: Tensor) -> np.ndarray:
    """Return an image (C, H, W) as a picture (H, W, 3) of bytes; other channels become colours."""
    array = image.movedim(0, -1).cpu().float().numpy()
    array = coloured(array, image=True)[..., :3]
    return np.repeat(to_bytes(array), 3 // array.shape[-1], axis=-1)


def png(picture: np.ndarray) -> bytes:
    """Return a picture as the contents of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def first_of(source: Source, prepare: Preparer, among: int) -> Tensor:
    """Return the first image that can be used, (C, H, W).

    Args:
        source: where from.
        prepare: brings images to the network.
        among: how many are tried.

    Raises:
        InputError: none can; or it is another one each time.
    """
    tried: list[Item] = []
    for item in source.items(0, among):
        found = prepare(item)
        if found.image is not None:
            anew = next(source.items(item.index, item.index + 1), None)
            again = Prepared(item) if anew is None else prepare(anew)
            if again.image is None or not torch.equal(again.image, found.image):
                raise InputError(
                    f"Image {item.key!r} of the data set is another one each time: leave random "
                    "transforms out, so that what is found can be found again."
                )
            return found.image
        tried.append(found.item)
    if not tried:
        raise InputError("The data set is empty: it gave no image.")
    reasons = "".join(f"\n  {item.key}: {item.reason}" for item in tried[:5])
    raise InputError(f"None of the first {len(tried)} images can be read:{reasons}")
