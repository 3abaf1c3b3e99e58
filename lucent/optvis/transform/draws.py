"""Random numbers on the device of an image, in no less than single precision, and their limits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from lucent.errors import InputError
from lucent.util import constant

Generator = torch.Generator | None

#: Where normal numbers are cut off, in standard deviations, as TensorFlow truncates them.
CUT_OFF = 2.0


def uniform(
    image: Tensor, shape: Sequence[int], generator: Generator, low: float = 0.0, high: float = 1.0
) -> Tensor:
    """Draw uniformly from low to high, of the given shape."""
    numbers = torch.rand(*shape, generator=generator, dtype=draw_dtype(image), device=image.device)
    return low + (high - low) * numbers


def normal(image: Tensor, shape: Sequence[int], generator: Generator) -> Tensor:
    """Draw from the standard normal distribution, of the given shape."""
    return torch.randn(*shape, generator=generator, dtype=draw_dtype(image), device=image.device)


def truncated_normal(image: Tensor, shape: Sequence[int], generator: Generator) -> Tensor:
    """Draw from the standard normal distribution without its tails.

    PyTorch's own draws again until all numbers are in range, which waits for a GPU every time.
    """
    limit = math.erf(CUT_OFF / math.sqrt(2.0))
    return math.sqrt(2.0) * torch.erfinv(uniform(image, shape, generator, -limit, limit))


def whole(image: Tensor, shape: Sequence[int], generator: Generator, high: int) -> Tensor:
    """Draw whole numbers from 0 to `high` inclusive, as floats of the given shape."""
    dtype, device = draw_dtype(image), image.device
    return torch.randint(high + 1, tuple(shape), generator=generator, dtype=dtype, device=device)


def choice(image: Tensor, rows: int, generator: Generator, values: Sequence[float]) -> Tensor:
    """Draw from a list, all items alike, (rows, 1)."""
    index = torch.randint(len(values), (rows, 1), generator=generator, device=image.device)
    return constant(values, like=no_draw(image))[index]


def bounds(value: float | Sequence[float], name: str) -> tuple[float, float]:
    """Return the ends of a range, which may be a single number.

    Raises:
        InputError: it is neither a number nor a pair in ascending order.
    """
    numbers = finite_numbers(np.ravel(value).tolist(), name)
    if len(numbers) > 2 or numbers[0] > numbers[-1]:
        raise InputError(f"{name} got {value!r}: give one number, or a pair (lowest, highest).")
    return numbers[0], numbers[-1]


def no_draw(image: Tensor, rows: int = 1) -> Tensor:
    """Return draws of nothing, (rows, 0), in the type and on the device of any others."""
    return image.new_empty(rows, 0, dtype=draw_dtype(image))


def draw_dtype(image: Tensor) -> torch.dtype:
    """Half precision would round an angle to a few bits."""
    return torch.promote_types(image.dtype, torch.float32)


def finite_numbers(values: Iterable[float], name: str) -> tuple[float, ...]:
    """Return the values as floats; the name is that of the transform that got them.

    Raises:
        InputError: there is none, one is not finite, or they are no list of numbers.
    """
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} got {values!r}: give numbers, in a list.") from error
    if not numbers or not all(map(math.isfinite, numbers)):
        raise InputError(
            f"{name} got {list(numbers)}: give at least one number, all of them finite."
        )
    return numbers
