"""The type of transforms, their composition, and the fusion of neighbours into one warp.

A transform is any function from images to images, (B, C, H, W). One that is random draws its
numbers from the generator it is given, so that a seed means the same picture. One that is affine
also states itself as a matrix, and `Fused` multiplies neighbouring matrices: the image is sampled
once, however long the list.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lucent.errors import InputError
from lucent.optvis.transform.draws import draw_dtype
from lucent.optvis.transform.warp import Size, centred, multiplied, resized, size_of, warp
from lucent.util import constant

Transform = Callable[[Tensor], Tensor]
#: From the image's own (height, width) to the size that the network is to see.
SizeFn = Callable[[Size], Size]
#: Value outside a picture: one, one for each channel, or "uniform" for one per step.
Fill = float | str | tuple[float, ...]


class RandomTransform(ABC):
    """A transform that says separately what it draws and what it does with it.

    Attributes:
        volumes: whether it takes (B, C, D, H, W), too.
    """

    volumes: bool = False

    def sample(self, image: Tensor, generator: torch.Generator | None, rows: int = 1) -> Tensor:
        """Draw what is random; nothing is, unless a subclass says so.

        Args:
            image: for the device and the number of channels.
            generator: on the image's device; None is the global one.
            rows: number of independent draws.

        Returns:
            (rows, ...), float32 or float64.
        """
        return image.new_empty(rows, 0, dtype=draw_dtype(image))

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

    def __call__(
        self, image: Tensor, generator: torch.Generator | None = None, *, rows: int = 1
    ) -> Tensor:
        """Draw, and transform with the draw.

        Args:
            image: (B, C, H, W); whole numbers are taken as floats.
            generator: on the image's device; None is the global one.
            rows: 1 for a draw that the images of the batch share, B for one each.
        """
        self.check(image)
        image = image if image.is_floating_point() else image.float()
        return self.apply(image, self.sample(image, generator, rows))


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
        return _stacked(self.move(one, own) for one, own in pairs)

    def move(self, image: Tensor, draw: Tensor) -> Tensor:
        """Return the transformed image of one draw, (1, k), that all images share."""
        size = size_of(image)
        fill = 0.0 if self.uncovers else None
        return warp(image, self.matrix(draw, size), self.grown(size), fill)


@dataclass(frozen=True, repr=False)
class PerImage:
    """A transform that draws anew for each image of a batch."""

    transform: Transform

    def __call__(self, image: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the images, each under a draw of its own."""
        if isinstance(self.transform, RandomTransform):
            return self.transform(image, generator, rows=len(image))
        return _stacked(call(self.transform, one, generator) for one in image.split(1))

    def at(self, step: int) -> Transform:
        """Return the transform as it is after so many steps."""
        now = at(self.transform, step)
        return self if now is self.transform else per_image(now)

    def __repr__(self) -> str:
        return f"per_image({self.transform!r})"


#: An affine transform, and whether each image of a batch has a draw of its own.
_Affine = tuple[AffineTransform, bool]


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
        same = all(new is old for new, old in zip(now, self.transforms, strict=True))
        return self if same else Compose(now)

    def __repr__(self) -> str:
        return f"compose({list(self.transforms)})"


class Scheduled:
    """A transform that changes from step to step; called alone it is that of step 0.

    Args:
        schedule: function of the number of steps done to a transform, or a list of them.
    """

    def __init__(self, schedule: Callable[[int], Transform | Iterable[Transform]]) -> None:
        if not callable(schedule):
            raise InputError(
                f"scheduled takes a function of the step that returns a transform, not {schedule!r}"
                ": write scheduled(lambda step: ...)."
            )
        self.schedule = schedule

    def at(self, step: int) -> Transform:
        """Return the transform after so many steps."""
        now = self.schedule(step)
        return at(now if callable(now) else Compose(now), step)

    def __call__(self, image: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Apply the transform of step 0."""
        return call(self.at(0), image, generator)

    def __repr__(self) -> str:
        return f"scheduled({getattr(self.schedule, '__name__', self.schedule)})"


class Fused:
    """Transforms with neighbouring affine ones multiplied into one warp each.

    The picture keeps the scale of the network's size over its own, so a random scale stays visible
    to the network although every step has the same size: what exceeds the size is cropped, what is
    missing is filled. Volumes are left as the transforms, one by one, leave them.

    Args:
        transforms: any functions from (B, C, H, W) to (B, C, H', W').
        size: the (height, width) to end at, given the image's.
    """

    def __init__(self, transforms: Iterable[Transform], size: SizeFn) -> None:
        self._transforms = Compose(transforms)
        self._groups = _grouped(self._transforms)
        self._size = size

    def __call__(self, image: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the image as the network is to see it, (B, C, *size)."""
        if image.dim() != 4:
            return self._transforms(image, generator)
        own = size_of(image)
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
        now = self._transforms.at(step)
        return self if now is self._transforms else Fused(now.transforms, self._size)

    def __repr__(self) -> str:
        return f"Fused({list(self._transforms.transforms)})"


def call(transform: Transform, image: Tensor, generator: torch.Generator | None) -> Tensor:
    """Apply a transform, handing on the generator to one that takes it."""
    if isinstance(transform, RandomTransform | PerImage | Compose | Fused | Scheduled):
        return transform(image, generator)
    return transform(image)


def at(transform: Transform, step: int) -> Transform:
    """Return a transform as it is after so many steps; most are always the same."""
    if isinstance(transform, Scheduled | PerImage | Compose | Fused):
        return transform.at(step)
    return transform


def compose(transforms: Iterable[Transform]) -> Compose:
    """Return the transforms as one, applied left to right."""
    return Compose(transforms)


def scheduled(schedule: Callable[[int], Transform | Iterable[Transform]]) -> Scheduled:
    """Return a transform that changes from step to step; called alone it is that of step 0.

    >>> from lucent.optvis.transform import jitter
    >>> scheduled(lambda step: jitter(8 if step < 100 else 2)).at(200)
    Jitter(pixels=2)

    Args:
        schedule: function of the number of steps done, 0 in the first, to a transform or a list of
            them; one that can be pickled, such as a function of a module, keeps the result so.

    Raises:
        InputError: the schedule is no function, or, when it is asked, what it returns is no
            transform.
    """
    return Scheduled(schedule)


def per_image(transforms: Transform | Iterable[Transform]) -> Transform:
    """Return transforms that draw anew for each image of a batch; by default they share a draw.

    >>> from lucent.optvis.transform import jitter
    >>> per_image([jitter(8), jitter(4)])
    compose([per_image(Jitter(pixels=8)), per_image(Jitter(pixels=4))])

    Images that end up in different sizes are padded with zeros to the largest.

    Args:
        transforms: one, or several in any iterable. A function that is not from this module gets
            the images one at a time.
    """
    if isinstance(transforms, PerImage):
        return transforms
    # Each part by itself, so that neighbours are still fused.
    if isinstance(transforms, Compose):
        return Compose(map(per_image, transforms.transforms))
    return PerImage(transforms) if callable(transforms) else per_image(Compose(transforms))


def _stacked(images: Iterable[Tensor]) -> Tensor:
    """Return images as one batch, padded with zeros to the largest of them."""
    images = list(images)
    size = [max(lengths) for lengths in zip(*(image.shape[2:] for image in images), strict=True)]
    return torch.cat([centred(image, size, 0.0) for image in images])


def _grouped(transforms: Compose) -> list[list[_Affine] | Transform]:
    """Put neighbouring affine transforms that one warp can do into lists."""
    groups: list[list[_Affine] | Transform] = []
    for transform in _flat(transforms):
        own = isinstance(transform, PerImage)
        affine = transform.transform if isinstance(transform, PerImage) else transform
        before = groups[-1] if groups else None
        if not isinstance(affine, AffineTransform):
            groups.append(transform)
        elif isinstance(before, list) and _fits(affine, before):
            before.append((affine, own))
        else:
            groups.append([(affine, own)])
    return groups


def _flat(transform: Transform) -> Iterator[Transform]:
    transform = at(transform, 0)
    if isinstance(transform, Compose):
        for part in transform.transforms:
            yield from _flat(part)
    else:
        yield transform


def _fits(transform: AffineTransform, before: Sequence[_Affine]) -> bool:
    """Tell whether one value is outside of a transform and of those before it.

    What a pad covers has been cropped or exposed by then, so only pads may come before a pad; and
    two draws of a value differ.
    """
    fill = transform.fill
    return fill is None or (fill != "uniform" and all(other.fill == fill for other, _ in before))


def _warped(
    group: Sequence[_Affine],
    image: Tensor,
    generator: torch.Generator | None,
    own: Size | None = None,
    size: Size | None = None,
) -> Tensor:
    """Apply neighbouring affine transforms as one warp.

    Args:
        group: the transforms, each with whether images have draws of their own.
        image: (B, C, H, W).
        generator: for the draws.
        own: crop the canvas to this size, that of the picture before all transforms.
        size: end at this size where it is larger; None keeps the scale.
    """
    image = image if image.is_floating_point() else image.float()
    matrix, canvas, fill = _product(group, image, generator)
    own = own or canvas
    window = min(canvas[0], own[0]), min(canvas[1], own[1])
    zoom = min(n / w for n, w in zip(size or window, window, strict=True))
    if size is None or zoom < 1:
        # Bilinear sampling that shrinks would alias: that is left to `resized`.
        size, zoom = window, 1.0
    # An odd remainder has no middle: stay on the pixel grid instead of blurring by half a pixel.
    y, x = (((w - c) % 2) / 2 for w, c in zip(window, canvas, strict=True))
    view = [[[1 / zoom, 0, -x], [0, 1 / zoom, -y], [0, 0, 1]]]
    return warp(image, multiplied(matrix, constant(view, like=matrix)), size, fill)


def _product(
    group: Sequence[_Affine], image: Tensor, generator: torch.Generator | None
) -> tuple[Tensor, Size, Tensor | float | None]:
    """Return the matrix of neighbouring transforms, the canvas they leave, and what is outside."""
    matrix = torch.eye(3, dtype=draw_dtype(image), device=image.device)[None]
    canvas = size_of(image)
    fill: Tensor | float | None = None
    for affine, own in group:
        draw = affine.sample(image, generator, len(image) if own else 1)
        matrix = multiplied(matrix, affine.matrix(draw, canvas))
        canvas = affine.grown(canvas)
        outside = affine.outside(image, draw)
        if outside is not None:
            fill = outside
        elif fill is None and affine.uncovers:
            fill = 0.0
    return matrix, canvas, fill
