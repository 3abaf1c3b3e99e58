"""Statistics of the images that a network knows: their colours and their spectrum."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lucent.errors import InputError
from lucent.optvis._spectrum import (
    COLOR_CORRELATION_SVD_SQRT,
    ColorMatrix,
    normalized_color_matrix,
)


def measured_color_matrix(images: Iterable[Any]) -> tuple[tuple[float, ...], ...]:
    """Return the square root of the covariance of the colours of images.

    It decorrelates the colours of `param.image(128, color_matrix=...)`, and is what
    `ModelSpec.color_matrix` holds. The covariance is about the mean of all pixels of all images, in
    one pass.

    >>> grey = torch.linspace(0, 1, 16).view(1, 4, 4)
    >>> [[round(value, 3) for value in row] for row in measured_color_matrix([grey])]
    [[0.307]]

    Args:
        images: (C, H, W) or (B, C, H, W), in [0, 1] or uint8, or tuples that begin with them: a
            tensor, a data set, a data loader. Sizes may differ.

    Returns:
        U sqrt(S) for the covariance U S U', C x C: principal colours as columns, the one with the
        largest variance first, the first row positive.

    Raises:
        InputError: there are no images, or they are not of this kind.

    Source: Olah et al. 2017, Feature Visualization
    (https://distill.pub/2017/feature-visualization).
    """
    count, mean, scatter = 0, torch.zeros(1), torch.zeros(1)
    for batch in _batches(images):
        colours = batch.transpose(0, 1).flatten(1)
        n, own_mean = colours.shape[1], colours.mean(1)
        own = colours - own_mean[:, None]
        # Chan, Golub and LeVeque 1979, Updating formulae: exact, and no large sums of squares.
        step = own_mean - mean
        scatter = scatter + own @ own.T + torch.outer(step, step) * (count * n / (count + n))
        mean = mean + step * (n / (count + n))
        count += n
    variances, colours = torch.linalg.eigh(scatter / count)
    matrix = (colours * variances.clamp(min=0).sqrt()).flip(1)
    # The sign of a column is arbitrary; this one is Lucid's.
    matrix = matrix * torch.where(matrix[0] < 0, -1.0, 1.0)
    return tuple(tuple(row) for row in matrix.tolist())


def measured_spectrum(
    images: Iterable[Any], *, color_matrix: ColorMatrix | None = COLOR_CORRELATION_SVD_SQRT
) -> np.ndarray:
    """Return the mean magnitudes of the Fourier coefficients of images, for `param.maco`.

    Args:
        images: as of `measured_color_matrix`, but all of one size.
        color_matrix: colours in which the channels of RGB are decorrelated before; the same has to
            be given to `param.maco`. None, and images of other than three channels, have none.

    Returns:
        (C, H, W // 2 + 1), float32, as `numpy.save` keeps it.

    Raises:
        InputError: there are no images, they are not of this kind, their sizes differ, or the
            colour matrix has no inverse.

    Source: Fel et al. 2023, Unlocking Feature Visualization for Deeper Networks with MAgnitude
    Constrained Optimization (https://arxiv.org/abs/2306.06805).
    """
    count, total, shape = 0, torch.zeros(1), None
    for batch in _batches(images):
        shape = shape or batch.shape[1:]
        if batch.shape[1:] != shape:
            raise InputError(
                f"The images differ in shape: {tuple(shape)}, then {tuple(batch.shape[1:])}. "
                "Resize or crop them to one size first."
            )
        if color_matrix is not None and shape[0] == 3:
            batch = torch.einsum("ij,bjhw->bihw", _inverse(color_matrix), batch)
        total = total + torch.fft.rfft2(batch).abs().sum(0)
        count += len(batch)
    return (total / count).float().numpy()


def _inverse(color_matrix: ColorMatrix) -> Tensor:
    """Return what decorrelates colours."""
    try:
        return torch.from_numpy(np.linalg.inv(normalized_color_matrix(color_matrix)))
    except np.linalg.LinAlgError as error:
        raise InputError(
            f"The colour matrix {np.asarray(color_matrix).tolist()} has no inverse ({error}): use "
            "color_matrix=None here and for param.maco, or that of images in colour."
        ) from error


def _batches(images: Iterable[Any]) -> Iterator[Tensor]:
    """Yield the images as (B, C, H, W), in double precision on the CPU."""
    n_channels = None
    for item in images:
        image = item[0] if isinstance(item, tuple | list) else item
        if not isinstance(image, Tensor) or image.dim() not in (3, 4) or not image.numel():
            what = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
            raise InputError(
                f"Images to measure are tensors (C, H, W) or (B, C, H, W), or tuples that begin "
                f"with one. Got {what}."
            )
        batch = image.detach().cpu().double().reshape(-1, *image.shape[-3:])
        batch = batch / 255 if image.dtype == torch.uint8 else batch
        if n_channels not in (None, batch.shape[1]):
            raise InputError(f"The images differ in channels: {n_channels}, then {batch.shape[1]}.")
        if not batch.isfinite().all():
            raise InputError("One of the images has values that are NaN or infinite.")
        n_channels = batch.shape[1]
        yield batch
    if n_channels is None:
        raise InputError("There are no images to measure: the iterable gave none.")
