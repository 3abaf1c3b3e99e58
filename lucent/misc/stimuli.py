"""Synthetic pictures to probe a network with: curves, corners and edges of any style.

A picture has two regions, which an implicit function tells apart: it is negative inside and not
negative outside. Positions are pixels from the centre, x to the right and y down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from lucent.errors import InputError
from lucent.util import constant

Color = tuple[float, float, float]
#: From positions x, (1, size), and y, (size, 1), to values that broadcast to (size, size).
Region = Callable[[Tensor, Tensor], Tensor]

#: Points of the circle on which `boundary_line` looks for both regions.
_N_AROUND = 16


@dataclass(frozen=True)
class Style:
    """How `sample_binary_image` draws.

    Attributes:
        alias_factor: number of random offsets within a pixel to average over, the same for all
            pixels; a blur shows them one by one where they are few.
        color_a: of the outside, RGB in [0, 1].
        color_b: of the inside, or of the line.
        boundary_line: draw the line between the regions instead of the regions.
        boundary_width: how far the line reaches to either side, in pixels.
        blur_beyond_radius: from this distance to the centre on, in pixels, the picture is blurred,
            by one pixel more per pixel; None for nowhere.
        fade_beyond_radius: from this distance on the picture fades; None for nowhere.
        fade_over_distance: number of pixels after which it has faded.
        fade_color: to fade to.
    """

    alias_factor: int = 10
    color_a: Color = (1.0, 1.0, 1.0)
    color_b: Color = (0.0, 0.0, 0.0)
    boundary_line: bool = False
    boundary_width: float = 1.0
    blur_beyond_radius: float | None = None
    fade_beyond_radius: float | None = None
    fade_over_distance: float = 10.0
    fade_color: Color = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        if not isinstance(self.alias_factor, Integral) or self.alias_factor < 1:
            raise InputError(
                f"alias_factor={self.alias_factor!r} has to be a whole number of at least 1."
            )
        if not self.fade_over_distance > 0:
            raise InputError(f"fade_over_distance={self.fade_over_distance!r} has to be positive.")
        for name in ("color_a", "color_b", "fade_color"):
            given = getattr(self, name)
            color = tuple(given) if isinstance(given, Iterable) else (given,)
            if len(color) != 3 or not all(0 <= value <= 1 for value in color):
                raise InputError(
                    f"{name}={color} is no colour: give three numbers from 0 to 1, (red, green, "
                    "blue)."
                )


def sample_binary_image(
    size: int, *, generator: torch.Generator | None = None, **style: Any
) -> Callable[[Region], Tensor]:
    """Return a function that draws the picture of an implicit function; use it as a decorator.

    >>> @sample_binary_image(8, color_b=(1.0, 0.0, 0.0))
    ... def disc(x, y):
    ...     return x**2 + y**2 - 9
    >>> disc.shape
    torch.Size([1, 3, 8, 8])

    Args:
        size: width and height, in pixels; the centre is pixel `size // 2`.
        generator: of the offsets; the picture is made on its device. None is PyTorch's global one.
        **style: attributes of `Style`, such as `boundary_line=True`.

    Returns:
        A function that takes the implicit function `f(x, y)`, of tensors that broadcast to
        (size, size), and returns the picture, (1, 3, size, size) in [0, 1].

    Raises:
        InputError: the size or a part of the style cannot be used.

    Source: Lucid, `misc.stimuli` (https://github.com/tensorflow/lucid).
    """
    options = Style(**style)
    if not isinstance(size, Integral) or size < 1:
        raise InputError(f"size={size!r} has to be a whole number of pixels, at least 1.")
    device = None if generator is None else generator.device
    offsets = torch.rand(options.alias_factor, 2, generator=generator, device=device) - 0.5
    positions = torch.arange(size, device=device) - float(size // 2)
    x, y = positions[None, :], positions[:, None]

    def draw(region: Region) -> Tensor:
        return _drawn(region, x, y, offsets, options)

    return draw


def rmin(x: Tensor, y: Tensor, r: float) -> Tensor:
    """Return the minimum with a rounded corner, for the overlap of two implicit regions.

    Where x and y differ by more than r it is their minimum; elsewhere its level lines are arcs of a
    circle of radius r.

    Args:
        x: any values.
        y: values that broadcast with x.
        r: radius, in units of x and y; 0 gives the plain minimum.

    Source: Olah 2011, Manipulation of Implicit Functions
        (https://christopherolah.wordpress.com/2011/11/06/manipulation-of-implicit-functions-with-an-eye-on-cad/).
    """
    if r < 0:
        raise InputError(f"r={r!r} has to be a radius, 0 or more.")
    if r == 0:
        return torch.minimum(x, y)
    turn = torch.asin(((x - y) / (r * math.sqrt(2))).clamp(-1, 1))
    rounded = y + r * torch.sin(math.pi / 4 + turn) - r
    return torch.where((x - y).abs() <= r, rounded, torch.minimum(x, y))


def rounded_corner(
    orientation: float,
    r: float,
    angular_width: float = 90.0,
    size: int = 224,
    *,
    generator: torch.Generator | None = None,
    **style: Any,
) -> Tensor:
    """Return the picture of a corner or curve through the centre.

    Args:
        orientation: where the outside opens to, in degrees; 0 is to the right, 90 down.
        r: radius of the curve, in pixels, where the corner is a right angle; 0 gives a sharp one.
        angular_width: angle of the outside, in degrees, at most 180, which gives a straight edge.
        size: width and height, in pixels.
        generator: of the offsets of `sample_binary_image`.
        **style: attributes of `Style`, such as `boundary_line=True`.

    Returns:
        (1, 3, size, size) in [0, 1].

    Raises:
        InputError: the radius is negative, the angle is out of range, the size is not positive, or
            a part of the style cannot be used.

    Source: Lucid, `misc.stimuli` (https://github.com/tensorflow/lucid); used in Cammarata et al.
        2020, Curve Detectors (https://distill.pub/2020/circuits/curve-detectors).
    """
    if not 0 < angular_width <= 180:
        raise InputError(
            f"angular_width={angular_width!r} has to be more than 0 and at most 180 degrees. A "
            "wider outside is the inside of another corner: turn that by 180 degrees, take 360 - "
            "angular_width, and exchange color_a and color_b."
        )
    half = math.radians(angular_width) / 2
    normals = [math.radians(orientation) + sign * (math.pi / 2 - half) for sign in (1, -1)]
    # The rounding takes r (1 - 1/sqrt(2)) off the tip of the corner; this puts it back.
    tip = r * (1 - 1 / math.sqrt(2))

    def corner(x: Tensor, y: Tensor) -> Tensor:
        left, right = (math.cos(angle) * x + math.sin(angle) * y + tip for angle in normals)
        return rmin(left, right, r)

    return sample_binary_image(size, generator=generator, **style)(corner)


def _drawn(region: Region, x: Tensor, y: Tensor, offsets: Tensor, style: Style) -> Tensor:
    shape = torch.broadcast_shapes(x.shape, y.shape)
    radius = torch.hypot(x, y)
    scale: Tensor | float = 1.0
    if style.blur_beyond_radius is not None:
        scale = 1 + (radius - style.blur_beyond_radius).clamp(min=0)

    def outside(dx: Tensor | float, dy: Tensor | float) -> Tensor:
        return (region(x + scale * dx, y + scale * dy) >= 0).expand(shape)

    def beside_the_line(dx: Tensor, dy: Tensor) -> Tensor:
        angles = [2 * math.pi * n / _N_AROUND for n in range(_N_AROUND)]
        width = style.boundary_width
        around = torch.stack(
            [outside(dx + width * math.cos(a), dy + width * math.sin(a)) for a in angles]
        )
        return around.all(0) | ~around.any(0)

    sample = beside_the_line if style.boundary_line else outside
    share = torch.stack([sample(*offset) for offset in offsets]).to(x.dtype).mean(0)
    color_a, color_b, faded = (
        constant(color, like=share).view(3, 1, 1)
        for color in (style.color_a, style.color_b, style.fade_color)
    )
    image = share * color_a + (1 - share) * color_b
    if style.fade_beyond_radius is not None:
        fading = ((radius - style.fade_beyond_radius) / style.fade_over_distance).clamp(0, 1)
        image = (1 - fading) * image + fading * faded
    return image[None]
