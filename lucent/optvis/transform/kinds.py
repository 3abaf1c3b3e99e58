"""What a transform of this package is: a draw, and what is done with it.

One that is affine also states where the points of its output lie in its input, so that neighbours
can be fused into one warp.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from itertools import repeat

import torch
from torch import Tensor

from lucent.errors import InputError
from lucent.generators import AnyGenerator, Generators
from lucent.optvis.transform.draws import Generator, no_draw
from lucent.optvis.transform.warp import Points, Size, centred, size_of, warp

#: Value outside a picture: one, one for each channel, or "uniform" for one per step.
Fill = float | str | tuple[float, ...]


class RandomTransform(ABC):
    """A transform that says separately what it draws and what it does with it.

    Attributes:
        volumes: whether it takes (B, C, D, H, W), too.
    """

    volumes: bool = False

    def sample(self, image: Tensor, generator: Generator, rows: int = 1) -> Tensor:
        """Draw what is random; nothing is, unless a subclass says so.

        Args:
            image: for the device and the number of channels.
            generator: on the image's device; None is the global one.
            rows: number of independent draws.

        Returns:
            (rows, ...), float32 or float64.
        """
        return no_draw(image, rows)

    @abstractmethod
    def apply(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the transformed image.

        Args:
            image: (B, C, H, W), floating point.
            draw: (1, ...) for all images, or (B, ...).
        """

    def check(self, image: Tensor) -> None:
        """Refuse what cannot be transformed.

        Raises:
            InputError: the image has a wrong number of axes or channels.
        """
        if image.dim() != 4 and not (self.volumes and image.dim() == 5):
            volumes = " or volumes (B, C, D, H, W)" if self.volumes else ""
            raise InputError(
                f"{self!r} takes images (B, C, H, W){volumes}, not a tensor of shape "
                f"{tuple(image.shape)}: leave it out of the transforms, or bring the tensor into "
                "that shape."
            )

    def __call__(self, image: Tensor, generator: AnyGenerator = None, *, rows: int = 1) -> Tensor:
        """Draw, and transform with the draw.

        Args:
            image: (B, C, H, W); whole numbers are taken as floats.
            generator: on the image's device; None is the global one. `Generators` give each image
                a draw of its own, the one that it would have alone.
            rows: 1 for a draw that the images of the batch share, B for one each.
        """
        self.check(image)
        image = image if image.is_floating_point() else image.float()
        return self.apply(image, drawn(self, image, generator, rows))


class AffineTransform(RandomTransform):
    """A transform of coordinates, which may be projective, too.

    Attributes:
        fill: value outside the picture; None where the transform has no say.
        uncovers: whether it may show what is outside.
    """

    fill: Fill | None = None
    uncovers: bool = True

    @abstractmethod
    def matrix(self, draw: Tensor, size: Size) -> Tensor:
        """Return the map from output to input coordinates, (rows, 3, 3).

        Coordinates are (x, y, 1) in pixels from the centre of the canvas, y downwards.

        Args:
            draw: (rows, k).
            size: of the canvas before the transform.
        """

    def locate(self, points: Points, draw: Tensor, size: Size) -> Points:
        """Return where points of the output lie in the input.

        Raises:
            InputError: the matrix has another shape.
        """
        matrix = self.matrix(draw, size)
        if not isinstance(matrix, Tensor) or matrix.shape[-2:] != (3, 3):
            shape = getattr(matrix, "shape", ())
            raise InputError(
                f"{type(self).__name__}.matrix returned a {type(matrix).__name__} of shape "
                f"{tuple(shape)}: it has to return a tensor (rows, 3, 3), on the device of the "
                "draw. The last row of an affine map is (0, 0, 1)."
            )
        return points.mapped(matrix)

    def least_scale(self) -> float:
        """Return the smallest scale that it may draw; below 0.75 a warp blurs before it samples."""
        return 1.0

    def grown(self, size: Size) -> Size:
        """Return the size of the canvas after the transform, given that before it."""
        return size

    def outside(self, image: Tensor, draw: Tensor) -> Tensor | None:
        """Return the value outside, (1 or B, 1 or C, 1, 1); None where it has no say."""
        return None

    def apply(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the transformed image; the largest of a batch sets the size."""
        if len(draw) == 1:
            return self.move(image, draw)
        pairs = zip(image.split(1), draw.split(1), strict=True)
        return stacked(self.move(one, own) for one, own in pairs)

    def move(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the transformed image of one draw, (1, k), that all images share."""
        size = size_of(image)
        points = self.locate(Points.seen(like=no_draw(image)), draw, size)
        fill = 0.0 if self.uncovers else None
        return warp(image, points, self.grown(size), fill, least=self.least_scale())


class LocatingTransform(AffineTransform):
    """An affine transform that is shorter said by what happens to points than by a matrix."""

    @abstractmethod
    def locate(self, points: Points, draw: Tensor, size: Size) -> Points:
        """Return where points of the output lie in the input."""

    def matrix(self, draw: Tensor, size: Size) -> Tensor:
        """Return the map from output to input coordinates, (rows, 3, 3)."""
        return self.locate(Points.seen(like=draw), draw, size).matrix()


def drawn(transform: RandomTransform, image: Tensor, generator: AnyGenerator, rows: int) -> Tensor:
    """Return draws of a transform, (rows, ...); with a generator for each image, one for each."""
    if not isinstance(generator, Generators):
        return transform.sample(image, generator, rows)
    return torch.cat([transform.sample(one, own, 1) for one, own in each(image, generator)])


def each(image: Tensor, generator: AnyGenerator) -> Iterator[tuple[Tensor, Generator]]:
    """Return the images of a batch one by one, each with the generator that it draws from.

    Raises:
        InputError: there is a generator for each image of another batch.
    """
    if not isinstance(generator, Generators):
        return zip(image.split(1), repeat(generator), strict=False)
    if len(generator) != len(image):
        raise InputError(
            f"There are {len(generator)} generators for a batch of {len(image)}: each image needs "
            "its own, so a transform in between must keep the number of images."
        )
    return zip(image.split(1), generator, strict=True)


def stacked(images: Iterable[Tensor]) -> Tensor:
    """Return images as one batch, padded with zeros to the largest of them."""
    images = list(images)
    size = [max(lengths) for lengths in zip(*(image.shape[2:] for image in images), strict=True)]
    return torch.cat([centred(image, size, 0.0) for image in images])
