"""How colour is described: decorrelated channels, squashed to [0, 1]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from lucent.errors import InputError
from lucent.optvis._spectrum import (
    COLOR_CORRELATION_SVD_SQRT,
    ColorMatrix,
    normalized_color_matrix,
)
from lucent.optvis.param.base import Image
from lucent.optvis.param.unit_balls import constrain_L_inf
from lucent.util import constant, without_autocast

Squash = Literal["sigmoid", "clip"]

# The names that torch-lucent gives to Lucid's constants.
color_correlation_svd_sqrt = np.array(COLOR_CORRELATION_SVD_SQRT, dtype=np.float32)
max_norm_svd_sqrt = np.linalg.norm(color_correlation_svd_sqrt, axis=0).max()
color_correlation_normalized = color_correlation_svd_sqrt / max_norm_svd_sqrt
#: Mean red, green and blue of natural images, as Lucid gives them.
color_mean = [0.48, 0.46, 0.41]

#: The nearest to 0 and 1 that an inverse goes to, half a step of 8 bits: a sigmoid reaches neither,
#: and pixels on the bound of a clipped image would begin without a gradient on one side.
_DARKEST, _BRIGHTEST = 1 / 512, 511 / 512


class ValidRGB(Image):
    """An unconstrained image made valid: colours correlated as in natural images, values in [0, 1].

    Args:
        image_f: an image or a function that returns one, (B, C, *spatial), unconstrained. A channel
            more than the matrix has is alpha, which is squashed only.
        color_matrix: square root of the colour covariance, C x C; None leaves the channels as they
            are. It is divided by its largest column norm.
        squash: "sigmoid", or "clip": a raw zero is the mean colour, and values out of [0, 1] are
            clipped, with the gradient of `constrain_L_inf`, so that they can come back. Its slope
            is 1, that of a sigmoid 1/4 at grey: a quarter of the learning rate is the same pace.

    Raises:
        InputError: the matrix is not square or not finite, the squash is another, or the image
            cannot be called.

    Source: Olah et al. 2017, Feature Visualization
    (https://distill.pub/2017/feature-visualization).
    """

    color_matrix: Tensor | None

    def __init__(
        self,
        image_f: Callable[[], Tensor],
        color_matrix: ColorMatrix | None = None,
        *,
        squash: Squash = "sigmoid",
    ) -> None:
        super().__init__()
        if squash not in get_args(Squash):
            raise InputError(f"squash={squash!r} is unknown: it is 'sigmoid' or 'clip'.")
        if not callable(image_f):
            raise InputError(
                "The unconstrained image has to be one such as param.fft_image((1, 3, 64, 64)), or "
                f"a function that returns it, not a {type(image_f).__name__}."
            )
        self.image_f = image_f
        self.squash = squash
        matrix = None if color_matrix is None else _checked_matrix(color_matrix)
        self.register_buffer("color_matrix", matrix, persistent=False)

    def forward(self) -> Tensor:
        """Return the image with values in [0, 1]."""
        image = self.image_f()
        if self.color_matrix is not None:
            image = self._mixed(image, self.color_matrix.to(image))
        if self.squash == "sigmoid":
            return image.sigmoid()
        return (constrain_L_inf(2 * (image + self._mean(image)) - 1) + 1) / 2

    def inverse(self, image: Tensor) -> Tensor:
        """Return the unconstrained image of which this makes the given one.

        Args:
            image: (B, C, *spatial), in [0, 1]; it is clamped to [1/512, 511/512], which is the same
                in 8 bits.

        Raises:
            InputError: the colour matrix has no inverse, or is of another number of channels.
        """
        # First to the CPU: not every device has double precision.
        raw = image.cpu().double().clamp(_DARKEST, _BRIGHTEST)
        raw = raw.logit() if self.squash == "sigmoid" else raw - self._mean(raw)
        if self.color_matrix is not None:
            matrix = self.color_matrix.cpu().float()
            if torch.linalg.matrix_rank(matrix) < len(matrix):
                raise InputError(
                    "The colour matrix has no inverse, as that of grey images has none: it cannot "
                    "describe these colours. Use decorrelate=False."
                )
            raw = self._mixed(raw, torch.linalg.inv(matrix.double()))
        return raw.to(image)

    def _mixed(self, image: Tensor, matrix: Tensor) -> Tensor:
        n_channels, n_colours = image.shape[1], len(matrix)
        if n_channels - n_colours not in (0, 1):
            raise InputError(
                f"The colours of an image with {n_channels} channels cannot be "
                f"decorrelated by a matrix for {n_colours}: use decorrelate=False."
            )
        with without_autocast(image.device):
            colours = torch.einsum("ij,bj...->bi...", matrix, image[:, :n_colours])
        return torch.cat([colours, image[:, n_colours:]], dim=1)

    def _mean(self, image: Tensor) -> Tensor:
        """Return what a raw image of zeros is clipped to: grey, from where all can change."""
        n_channels = image.shape[1]
        decorrelated = self.color_matrix is not None and len(self.color_matrix) == 3
        mean = color_mean + [0.5] * (n_channels - 3) if decorrelated else [0.5] * n_channels
        return constant(mean, like=image).view(-1, *[1] * (image.dim() - 2))


def to_valid_rgb(
    image_f: Callable[[], Tensor], decorrelate: bool = False, *, squash: Squash = "sigmoid"
) -> Image:
    """Return an image with values in [0, 1] for an unconstrained one.

    Args:
        image_f: an image or a function that returns one, (B, C, *spatial).
        decorrelate: take its first three channels as decorrelated colours, in Lucid's colour
            matrix; a fourth is alpha.
        squash: "sigmoid" or "clip"; see `ValidRGB`.
    """
    matrix = COLOR_CORRELATION_SVD_SQRT if decorrelate else None
    return ValidRGB(image_f, matrix, squash=squash)


def _checked_matrix(color_matrix: ColorMatrix) -> Tensor:
    matrix = np.asarray(color_matrix, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.any():
        raise InputError(
            f"A colour matrix is C x C and not zero, 3 x 3 for RGB; got the shape {matrix.shape}. "
            "param.measured_color_matrix makes one of images."
        )
    if not np.isfinite(matrix).all():
        raise InputError(f"The colour matrix {matrix.tolist()} is not finite.")
    return torch.from_numpy(normalized_color_matrix(matrix)).float()
