"""The type of transforms, their composition, and the fusion of neighbours into one warp.

A transform is any function from images to images, (B, C, H, W). One that is random draws its
numbers from the generator it is given, so that a seed means the same picture. Neighbours that are
affine become one map in `Fused`: the image is sampled once, however long the list.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from lucent.errors import InputError
from lucent.generators import AnyGenerator
from lucent.optvis.transform.draws import no_draw
from lucent.optvis.transform.kinds import (
    AffineTransform,
    RandomTransform,
    drawn,
    each,
    stacked,
)
from lucent.optvis.transform.warp import SHARP, Points, Size, resized, size_of, warp

Transform = Callable[[Tensor], Tensor]
#: From the image's own (height, width) to the size that the network is to see.
SizeFn = Callable[[Size], Size]


@dataclass(frozen=True, repr=False)
class PerImage:
    """A transform that draws anew for each image of a batch."""

    transform: Transform

    def __call__(self, image: Tensor, generator: AnyGenerator = None) -> Tensor:
        """Return the images, each under a draw of its own."""
        if isinstance(self.transform, RandomTransform):
            return self.transform(image, generator, rows=len(image))
        return stacked(call(self.transform, one, own) for one, own in each(image, generator))

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

    def __call__(self, image: Tensor, generator: AnyGenerator = None) -> Tensor:
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

    def __call__(self, image: Tensor, generator: AnyGenerator = None) -> Tensor:
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

    def __call__(self, image: Tensor, generator: AnyGenerator = None) -> Tensor:
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


def call(transform: Transform, image: Tensor, generator: AnyGenerator) -> Tensor:
    """Apply a transform, handing on the generator to one that takes it."""
    if isinstance(transform, RandomTransform | PerImage | Compose | Fused | Scheduled):
        return transform(image, generator)
    return transform(image)


def at(transform: Transform, step: int) -> Transform:
    """Return a transform as it is after so many steps; most are always the same."""
    if isinstance(transform, Scheduled | PerImage | Compose | Fused):
        return transform.at(step)
    return transform


def flat(transform: Transform) -> Iterator[Transform]:
    """Yield the parts of a transform that are not made of others; a schedule is one of them."""
    if isinstance(transform, Fused):
        yield from flat(transform._transforms)
    elif isinstance(transform, Compose):
        for part in transform.transforms:
            yield from flat(part)
    elif isinstance(transform, PerImage):
        yield from flat(transform.transform)
    else:
        yield transform


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
    generator: AnyGenerator,
    own: Size | None = None,
    size: Size | None = None,
) -> Tensor:
    """Apply neighbouring affine transforms as one warp.

    Args:
        group: the transforms, each with whether images have draws of their own.
        image: (B, C, H, W).
        generator: for the draws.
        own: crop the canvas to this size, that of the picture before all transforms.
        size: end at this size, unless that shrinks below `SHARP`; None keeps the scale.
    """
    image = image if image.is_floating_point() else image.float()
    draws = [drawn(one, image, generator, len(image) if alone else 1) for one, alone in group]
    canvases = _canvases(group, size_of(image))
    canvas = canvases.pop()
    own = own or canvas
    window = min(canvas[0], own[0]), min(canvas[1], own[1])
    zoom = min(n / w for n, w in zip(size or window, window, strict=True))
    if size is None or zoom < SHARP:
        # `resized` does the rest: for a shrink that is known it is cheaper than to soften.
        size, zoom = window, 1.0
    # An odd remainder has no middle: stay on the pixel grid instead of blurring by half a pixel.
    y, x = (-((w - c) % 2) / 2 for w, c in zip(window, canvas, strict=True))
    points = Points.seen(zoom=zoom, x=x, y=y, like=no_draw(image))
    for (affine, _), draw, before in reversed(list(zip(group, draws, canvases, strict=True))):
        points = affine.locate(points, draw, before)
    least = zoom * math.prod(affine.least_scale() for affine, _ in group)
    return warp(image, points, size, _outside(group, image, draws), least=least)


def _canvases(group: Sequence[_Affine], size: Size) -> list[Size]:
    """Return the size before each transform, and that after the last."""
    sizes = [size]
    for affine, _ in group:
        sizes.append(affine.grown(sizes[-1]))
    return sizes


def _outside(
    group: Sequence[_Affine], image: Tensor, draws: Sequence[Tensor]
) -> Tensor | float | None:
    """Return the value around the picture; None where nothing shows it."""
    values = [affine.outside(image, draw) for (affine, _), draw in zip(group, draws, strict=True)]
    said = [value for value in values if value is not None]
    uncovered = any(affine.uncovers for affine, _ in group)
    return said[-1] if said else 0.0 if uncovered else None
