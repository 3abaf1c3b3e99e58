"""Procedural images in 28 classes with their truth: class, angle, wavelength, hues, mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from lucent.errors import InputError
from lucent.modelzoo.synthnet._draw import SIDE, Array, Brush, rgb_to_hue
from lucent.modelzoo.synthnet._patterns import GEOMETRY, PATTERNS, palette
from lucent.modelzoo.synthnet._shapes import OUTLINES, PAINTED, paint

__all__ = ["GEOMETRY", "LABELS", "Scenes", "SynthScenes", "draw_all", "draw_class"]

LABELS: tuple[str, ...] = (*PATTERNS, *OUTLINES, *PAINTED)


@dataclass(frozen=True)
class Scenes:
    """Images and their truth; row i of every array belongs to image i.

    Attributes:
        images: shape (N, 3, S, S), RGB bytes.
        labels: shape (N,), index into `LABELS`.
        orientation: shape (N,), angle of the wave vector in degrees [0, 180), x right and y down;
            NaN for a class that has none.
        wavelength: shape (N,), pixels; NaN for a class that has none.
        hues: shape (N, 2), hues in degrees of a texture's two colours; NaN for objects.
        mask: shape (N, S, S), where the object or the patch of texture is.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    orientation: Array
    wavelength: Array
    hues: Array
    mask: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.labels)


def draw_class(label: int, count: int, rng: np.random.Generator, *, size: int = SIDE) -> Scenes:
    """Draw images of one class.

    Args:
        label: index into `LABELS`.
        count: number of images.
        rng: where every random number comes from.
        size: height and width in pixels.

    >>> draw_class(0, 2, np.random.default_rng(0), size=32).images.shape
    (2, 3, 32, 32)
    """
    brush = Brush(rng, count, size)
    name = LABELS[label]
    background = brush.background()
    nothing: Array = np.full(count, np.nan, np.float32)
    orientation = wavelength = nothing
    hues = np.stack([nothing, nothing], axis=1)
    if name in PATTERNS:
        pattern, first, second = PATTERNS[name](brush), *palette(name, brush)
        picture, coverage = _weave(brush, background, pattern.coverage, (first, second))
        orientation = nothing if pattern.orientation is None else pattern.orientation
        wavelength = nothing if pattern.wavelength is None else pattern.wavelength
        hues = np.stack([rgb_to_hue(first), rgb_to_hue(second)], axis=1)
    else:
        picture, coverage = paint(name, brush, background)
    images = _expose(brush, picture, background)
    return Scenes(images, np.full(count, label), orientation, wavelength, hues, coverage > 0.5)


def _weave(
    brush: Brush, background: Array, coverage: Array, colours: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Return textured pictures and where the texture is: everywhere, or (.3) in a patch."""
    ground, mark = (colour[:, :, None, None] for colour in colours)
    texture = ground + coverage[:, None] * (mark - ground)
    x, y = brush.frame(12, 90)
    outline = np.hypot(x, y * brush.uniform(0.75, 1.3)) - brush.uniform(36, 48)
    patch = np.where(
        brush.chance(0.3)[:, :, None], brush.edge(outline, softness=4.5), np.float32(1)
    )
    return background + patch[:, None] * (texture - background), patch


def _expose(brush: Brush, picture: Array, background: Array) -> NDArray[np.uint8]:
    """Return the pictures as bytes, under uneven light, with some clutter and pixel noise."""
    x, _ = brush.frame(0, 180)
    light = 1 + x / (SIDE / 2) * brush.uniform(0, 0.3)
    clutter = background - background.mean(axis=(1, 2, 3), keepdims=True)
    noise = brush.rng.standard_normal(picture.shape, np.float32)
    lit = picture * light[:, None] + brush.uniform(-0.08, 0.08)[:, None]
    seen = lit + clutter * brush.uniform(0, 0.25)[:, None] + noise * brush.uniform(0, 0.05)[:, None]
    return (np.clip(seen, 0, 1) * 255 + 0.5).astype(np.uint8)


def draw_all(per_class: int, seed: int, *, size: int = SIDE) -> Scenes:
    """Draw the same number of images of every class, shuffled.

    Args:
        per_class: images per class.
        seed: the same seed gives the same images.
        size: height and width in pixels.
    """
    rng = np.random.Generator(np.random.Philox(seed))
    parts = [draw_class(label, per_class, rng, size=size) for label in range(len(LABELS))]
    order = rng.permutation(per_class * len(LABELS))
    fields = Scenes.__dataclass_fields__
    return Scenes(
        *(np.concatenate([getattr(part, key) for part in parts])[order] for key in fields)
    )


class SynthScenes(Dataset[tuple[torch.Tensor, int]]):
    """Map-style data set: image i and its label, drawn when asked for, the same each time.

    The labels go round: image i has label i modulo 28. Every image has a random stream of its own,
    so workers, subsets and any order of access see the same images.

    Args:
        count: number of images.
        seed: the same seed gives the same images.
        size: height and width in pixels.

    Raises:
        InputError: count or size is below 1.

    >>> image, label = SynthScenes(100, seed=3)[30]
    >>> image.shape, LABELS[label]
    (torch.Size([3, 96, 96]), 'horizontal stripes')
    """

    def __init__(self, count: int, *, seed: int = 0, size: int = SIDE) -> None:
        if count < 1 or size < 1:
            raise InputError(f"count and size must be at least 1; got count={count}, size={size}")
        self.count = count
        self.seed = seed
        self.size = size
        self.classes = LABELS

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        scene = self.scene(index)
        return torch.from_numpy(scene.images[0]).float() / 255, int(scene.labels[0])

    def scene(self, index: int) -> Scenes:
        """Return image `index` with its truth, as a batch of one.

        Raises:
            IndexError: the index is not in [0, count).
        """
        if not 0 <= index < self.count:
            raise IndexError(f"index {index} is not in [0, {self.count})")
        rng = np.random.Generator(np.random.Philox(key=[self.seed, index]))
        return draw_class(index % len(LABELS), 1, rng, size=self.size)
