"""The type of transforms, their composition, and the fusion of neighbours into one warp.

A transform is any function from images to images, (B, C, H, W). One that is random draws its
numbers from the generator it is given, so that a seed means the same picture. One that is affine
also states itself as a matrix, and `Fused` multiplies neighbouring matrices: the image is sampled
once, however long the list.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lucent.errors import InputError
from lucent.util import constant

Transform = Callable[[Tensor], Tensor]
#: From the image's own (height, width) to the size that the network is to see.
SizeFn = Callable[[tuple[int, int]], tuple[int, int]]


class RandomTransform(ABC):
    """A transform that says separately what it draws and what it does with it."""

    @abstractmethod
    def sample(self, image: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return the draw, (B, k) on the image's device; equal rows where the batch shares it."""

    @abstractmethod
    def apply(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the transformed image, (B, C, H', W')."""

    def __call__(self, image: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw, and transform with the draw.

        Args:
            image: (B, C, H, W); whole numbers are taken as floats.
            generator: on the image's device; None is the global one.
        """
        image = image if image.is_floating_point() else image.float()
        return self.apply(image, self.sample(image, generator))


class AffineTransform(RandomTransform):
    """A transform of coordinates.

    Attributes:
        growth: how many pixels higher and wider the canvas becomes.
        fill: value outside the picture; None where the transform has no say.
    """

    growth: int = 0
    fill: float | None = None

    @abstractmethod
    def matrix(self, draw: Tensor) -> Tensor:
        """Return the map from output to input coordinates, (B, 3, 3).

        Coordinates are (x, y, 1) in pixels from the centre of the canvas, y downwards.
        """


class Compose:
    """Transforms one after the other.

    Args:
        transforms: any functions from (B, C, H, W) to (B, C, H', W').

    Raises:
        InputError: one of them cannot be called.
    """

    def __init__(self, transforms: Iterable[Transform]) -> None:
        if callable(transforms):
            raise InputError(
                f"compose takes a list of transforms: write compose([{transforms!r}])."
            )
        try:
            self.transforms = tuple(transforms)
        except TypeError as error:
            raise InputError(f"Transforms come in a list, not as {transforms!r}.") from error
        for transform in self.transforms:
            if not callable(transform):
                raise InputError(
                    f"{transform!r} is not a transform: it has to be a function from images to "
                    "images."
                )

    def __call__(self, image: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Apply the transforms in turn, each as if it were called alone."""
        for transform in self.transforms:
            image = call(transform, image, generator)
        return image

    def at(self, step: int) -> Compose:
        """Return the transforms as they are after so many steps."""
        now = [at(transform, step) for transform in self.transforms]
        return self if now == list(self.transforms) else Compose(now)

    def __repr__(self) -> str:
        return f"compose({list(self.transforms)})"


class Scheduled:
    """A transform that changes from step to step; called alone it is that of step 0.

    Args:
        schedule: function of the number of steps done to a transform.
    """

    def __init__(self, schedule: Callable[[int], Transform]) -> None:
        self.schedule = schedule

    def at(self, step: int) -> Transform:
        """Return the transform after so many steps."""
        return self.schedule(step)

    def __call__(self, image: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Apply the transform of step 0."""
        return call(self.at(0), image, generator)

    def __repr__(self) -> str:
        return f"scheduled({getattr(self.schedule, '__name__', self.schedule)})"


class Fused:
    """Transforms with neighbouring affine ones multiplied into one warp each.

    The picture keeps the scale of the network's size over its own, so a random scale stays visible
    to the network although every step has the same size: what exceeds the size is cropped, what is
    missing is filled.

    Args:
        transforms: any functions from (B, C, H, W) to (B, C, H', W').
        size: the (height, width) to end at, given the image's.
    """

    def __init__(self, transforms: Iterable[Transform], size: SizeFn) -> None:
        self._transforms = Compose(transforms).transforms
        self._groups = _grouped(self._transforms)
        self._size = size

    def __call__(self, image: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the image as the network is to see it, (B, C, *size)."""
        own = _size_of(image)
        size = self._size(own)
        affine = [number for number, group in enumerate(self._groups) if isinstance(group, list)]
        for number, group in enumerate(self._groups):
            if not isinstance(group, list):
                image = call(group, image, generator)
            elif number < affine[-1]:
                image = _warped(group, image, generator)
            else:
                # Transforms after the last warp see the picture at its own scale.
                final = size if number == len(self._groups) - 1 else None
                image = _warped(group, image, generator, own, final)
        return resized(image, size)

    def at(self, step: int) -> Fused:
        """Return the transforms as they are after so many steps."""
        now = [at(transform, step) for transform in self._transforms]
        return self if now == list(self._transforms) else Fused(now, self._size)

    def __repr__(self) -> str:
        return f"Fused({list(self._transforms)})"


def call(transform: Transform, image: Tensor, generator: torch.Generator | None) -> Tensor:
    """Apply a transform, handing on the generator to one that takes it."""
    if isinstance(transform, RandomTransform | Compose | Fused | Scheduled):
        return transform(image, generator)
    return transform(image)


def at(transform: Transform, step: int) -> Transform:
    """Return a transform as it is after so many steps; most are always the same."""
    return transform.at(step) if isinstance(transform, Scheduled | Compose | Fused) else transform


def compose(transforms: Iterable[Transform]) -> Compose:
    """Return the transforms as one, applied left to right."""
    return Compose(transforms)


def _grouped(transforms: Iterable[Transform]) -> list[list[AffineTransform] | Transform]:
    """Put neighbouring affine transforms that one warp can do into lists."""
    groups: list[list[AffineTransform] | Transform] = []
    for transform in _flat(transforms):
        before = groups[-1] if groups else None
        if not isinstance(transform, AffineTransform):
            groups.append(transform)
        # What a pad covers has been cropped or exposed by then, so only pads may come before it.
        elif isinstance(before, list) and (
            transform.fill is None or all(t.fill == transform.fill for t in before)
        ):
            before.append(transform)
        else:
            groups.append([transform])
    return groups


def _flat(transforms: Iterable[Transform]) -> Iterator[Transform]:
    for transform in transforms:
        if isinstance(transform, Compose):
            yield from _flat(transform.transforms)
        else:
            yield transform


def _warped(
    group: Sequence[AffineTransform],
    image: Tensor,
    generator: torch.Generator | None,
    own: tuple[int, int] | None = None,
    size: tuple[int, int] | None = None,
) -> Tensor:
    """Apply neighbouring affine transforms as one warp.

    Args:
        group: the transforms.
        image: (B, C, H, W).
        generator: for the draws.
        own: crop the canvas to this size, that of the picture before all transforms.
        size: end at this size where it is larger; None keeps the scale.
    """
    dtype = torch.promote_types(image.dtype, torch.float32)
    matrix = torch.eye(3, dtype=dtype, device=image.device).expand(len(image), 3, 3)
    fill = 0.0
    for transform in group:
        matrix = matrix @ transform.matrix(transform.sample(image, generator))
        fill = fill if transform.fill is None else transform.fill
    growth = sum(transform.growth for transform in group)
    canvas = image.shape[-2] + growth, image.shape[-1] + growth
    if min(canvas) < 1:
        raise InputError(
            f"The transforms {list(group)} leave nothing of an image of size {_size_of(image)}: "
            "make the image larger or crop less."
        )
    own = own or canvas
    window = min(canvas[0], own[0]), min(canvas[1], own[1])
    zoom = min(n / w for n, w in zip(size or window, window, strict=True))
    if size is None or zoom < 1:
        # Bilinear sampling that shrinks would alias: that is left to `resized`.
        size, zoom = window, 1.0
    # An odd remainder has no middle: stay on the pixel grid instead of blurring by half a pixel.
    y, x = (((w - c) % 2) / 2 for w, c in zip(window, canvas, strict=True))
    view = [[1 / zoom, 0, -x], [0, 1 / zoom, -y], [0, 0, 1]]
    return warp(image, matrix @ constant(view, like=matrix), size, fill)


def warp(image: Tensor, matrix: Tensor, size: Sequence[int], fill: float) -> Tensor:
    """Sample an image bilinearly at transformed coordinates.

    Args:
        image: (B, C, H, W).
        matrix: from output to input coordinates, (B, 3, 3), in pixels from the centre.
        size: (height, width) of the output.
        fill: value outside the image.
    """
    (height, width), (out_height, out_width) = _size_of(image), size
    into = constant([[2 / width], [2 / height]], like=matrix)
    out = constant([out_width / 2, out_height / 2, 1.0], like=matrix)
    grid = F.affine_grid(matrix[:, :2] * into * out, [*image.shape[:2], *size], align_corners=False)
    return F.grid_sample(image - fill, grid.to(image.dtype), align_corners=False) + fill


def resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the image scaled into a size with its aspect ratio kept.

    Args:
        image: (B, C, H, W).
        size: (height, width); what the aspect ratio leaves is filled with mid-grey.
    """
    own = _size_of(image)
    if own == size:
        return image
    zoom = min(n / m for n, m in zip(size, own, strict=True))
    # A difference of less than a pixel is rounding, not another aspect ratio.
    fitted = tuple(
        n if n - m * zoom < 1 else round(m * zoom) for n, m in zip(size, own, strict=True)
    )
    if fitted != own:
        image = F.interpolate(image, fitted, mode="bilinear", antialias=zoom < 1)
    top, left = ((n - m) // 2 for n, m in zip(size, fitted, strict=True))
    below, right = size[0] - fitted[0] - top, size[1] - fitted[1] - left
    return F.pad(image, (left, right, top, below), value=0.5)


def _size_of(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]
