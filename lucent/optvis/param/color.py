"""How colour is described: decorrelated channels, squashed to [0, 1]."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lucent.errors import InputError
from lucent.optvis._spectrum import COLOR_CORRELATION_SVD_SQRT, normalized_color_matrix
from lucent.optvis.param.base import Image


class ValidRGB(Image):
    """An unconstrained image made valid: colours correlated as in natural images, values in [0, 1].

    Args:
        image_f: an image or a function that returns one, (B, C, *spatial), unconstrained.
        color_matrix: square root of the colour covariance, C x C; None leaves the channels as they
            are. It is divided by its largest column norm.

    Source: Olah et al. 2017, Feature Visualization
    (https://distill.pub/2017/feature-visualization).
    """

    color_matrix: Tensor | None

    def __init__(
        self, image_f: Callable[[], Tensor], color_matrix: Sequence[Sequence[float]] | None = None
    ) -> None:
        super().__init__()
        self.image_f = image_f
        matrix = (
            None
            if color_matrix is None
            else torch.from_numpy(normalized_color_matrix(color_matrix)).float()
        )
        self.register_buffer("color_matrix", matrix, persistent=False)

    def forward(self) -> Tensor:
        """Return the image with values in [0, 1]."""
        image = self.image_f()
        if self.color_matrix is not None:
            matrix = self.color_matrix.to(image)
            if image.shape[1] != len(matrix):
                raise InputError(
                    f"The colours of an image with {image.shape[1]} channels cannot be "
                    f"decorrelated by a matrix for {len(matrix)}: use decorrelate=False."
                )
            image = torch.einsum("ij,bj...->bi...", matrix, image)
        return image.sigmoid()


def to_valid_rgb(image_f: Callable[[], Tensor], decorrelate: bool = False) -> Image:
    """Return an image with values in [0, 1] for an unconstrained one.

    Args:
        image_f: an image or a function that returns one, (B, C, *spatial).
        decorrelate: take its three channels as decorrelated colours, in Lucid's colour matrix.
    """
    return ValidRGB(image_f, COLOR_CORRELATION_SVD_SQRT if decorrelate else None)
