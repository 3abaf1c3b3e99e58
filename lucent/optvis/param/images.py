"""`param.image`, the parametrization that most pictures start from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lucent.errors import InputError
from lucent.optvis._spectrum import COLOR_CORRELATION_SVD_SQRT, ColorMatrix, contrast_gain
from lucent.optvis.param.base import Image
from lucent.optvis.param.color import Squash, ValidRGB
from lucent.optvis.param.lowres import LaplacianImage
from lucent.optvis.param.pictures import Picture, as_batch
from lucent.optvis.param.spatial import FourierImage, PixelImage, RawImage, checked_shape


def image(  # noqa: PLR0913 - torch-lucent's arguments
    w: int,
    h: int | None = None,
    sd: float | None = None,
    batch: int | None = None,
    decorrelate: bool = True,
    fft: bool = True,
    channels: int | None = None,
    device: torch.device | str | None = None,
    *,
    depth: int | None = None,
    alpha: bool = False,
    pyramid: int | None = None,
    squash: Squash = "sigmoid",
    init: Picture | None = None,
    color_matrix: ColorMatrix = COLOR_CORRELATION_SVD_SQRT,
    decay_power: float = 1.0,
) -> Image:
    """Return a batch of images with values in [0, 1], near mid-grey at first.

    >>> params, image_f = image(64, batch=2)
    >>> image_f().shape
    torch.Size([2, 3, 64, 64])

    Args:
        w: width in pixels.
        h: height in pixels; None is square.
        sd: standard deviation of the normal start values; None is 0.01.
        batch: number of images; None is one.
        decorrelate: describe RGB by decorrelated colours; images of other than three colours have
            none.
        fft: describe space by Fourier coefficients instead of pixels.
        channels: number of channels; None is three.
        device: where the parameters are made; a run moves them to its model.
        depth: of volumes (B, C, depth, h, w); None is pictures.
        alpha: add a fourth channel, opacity, which is squashed only.
        pyramid: number of resolutions, to describe space by a Laplacian pyramid instead.
        squash: "sigmoid", or "clip", which reaches 0 and 1 and suits a quarter of the learning
            rate; see `ValidRGB`.
        init: the first image, in [0, 1], of the size given here: a tensor (C, H, W) or
            (B, C, *spatial), or an array (H, W, C) or (B, *spatial, C); with a batch of one it is
            that of every row. It is clamped to [1/512, 511/512], which is the same in 8 bits.
        color_matrix: 3 x 3 square root of the colour covariance of the images that the network
            knows.
        decay_power: fall of the amplitudes with frequency, for `fft`, in a picture or in a plane
            through a volume; 1 for natural images. The contrast, and so the pace of learning, is
            the same for all.

    Raises:
        InputError: a size is not a whole number of at least 1, `sd` is negative, `init` does not
            fit or is far out of [0, 1], or two arguments contradict each other.

    Source: Olah et al. 2017, Feature Visualization
    (https://distill.pub/2017/feature-visualization).
    """
    if alpha and channels is not None:
        raise InputError(f"alpha=True is RGB and opacity: leave channels={channels} out.")
    if init is not None and sd is not None:
        raise InputError(f"init= and sd={sd} are two ways to start: leave one out.")
    n_channels = 3 + alpha if channels is None else channels
    size = (w if h is None else h, w) if depth is None else (depth, w if h is None else h, w)
    shape = checked_shape((1 if batch is None else batch, n_channels, *size))
    raw = _raw(shape, sd, decay_power if fft else None, pyramid)
    colored = decorrelate and (n_channels == 3 or alpha)
    valid = ValidRGB(raw, color_matrix if colored else None, squash=squash)
    if init is not None:
        raw.start_from(valid.inverse(_fitting(init, shape).cpu().double()))
    return valid.to(device)


def _raw(
    shape: tuple[int, ...], sd: float | None, decay_power: float | None, pyramid: int | None
) -> RawImage:
    """Return an unconstrained image; without a `decay_power` it is not one of Fourier's."""
    if pyramid is not None:
        return LaplacianImage(shape, pyramid, sd)
    if decay_power is None:
        return PixelImage(shape, sd)
    # A plane through noise of many axes falls by half a power less for each axis across it.
    power, size = decay_power + (len(shape) - 4) / 2, shape[2:]
    return FourierImage(shape, sd, power, gain=contrast_gain(size, power))


def _fitting(init: Picture, shape: tuple[int, ...]) -> Tensor:
    """Return the given image as (B, C, *spatial) with B = 1 or that of the shape."""
    start = as_batch(init, "init")
    if tuple(start.shape) not in (shape, (1, *shape[1:])):
        raise InputError(
            f"init has the shape {tuple(init.shape)}, {tuple(start.shape)} with the channels in "
            f"front; it has to be {shape}, or with a batch of one: resize it, or take other sizes."
        )
    low, high = start.min().item(), start.max().item()
    if low < -1 or high > 2:
        # Resizing overshoots by less than the range itself.
        raise InputError(
            f"init has values from {low:g} to {high:g}: they have to lie in [0, 1]. Divide 8-bit "
            "values by 255, and undo a normalisation."
        )
    return start


class GrayImage(Image):
    """Three equal channels.

    Args:
        image: an image with one channel.
    """

    def __init__(self, image: Image) -> None:
        super().__init__()
        self.image = image

    def forward(self) -> Tensor:
        """Return the image, (B, 3, *spatial)."""
        gray = self.image()
        return gray.expand(-1, 3, *gray.shape[2:])


def grayscale_image_rgb(
    w: int,
    h: int | None = None,
    sd: float | None = None,
    batch: int | None = None,
    **options: Any,
) -> Image:
    """Return a batch of grey images, (B, 3, h, w), with three equal channels.

    >>> grayscale_image_rgb(64)().shape
    torch.Size([1, 3, 64, 64])

    Args:
        w: width in pixels.
        h: height in pixels; None is square.
        sd: standard deviation of the normal start values; None is 0.01.
        batch: number of images; None is one.
        options: other keyword arguments of `image`; an `init` has one channel.

    Raises:
        InputError: there is an `alpha` or another number of channels among the options, or an
            argument is not what `image` takes.
    """
    if options.get("alpha") or "channels" in options:
        wrong = "alpha=True" if options.get("alpha") else f"channels={options['channels']}"
        raise InputError(
            f"grayscale_image_rgb makes three equal channels: leave {wrong} out, or take "
            f"param.image({w}, {wrong}), whose channels differ."
        )
    return GrayImage(image(w, h, sd, batch, channels=1, **options))
