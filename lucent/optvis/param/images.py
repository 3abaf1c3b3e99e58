"""`param.image`, the parametrization that most pictures start from."""

from __future__ import annotations

from collections.abc import Sequence

from lucent.optvis._spectrum import COLOR_CORRELATION_SVD_SQRT, contrast_gain
from lucent.optvis.param.base import Image
from lucent.optvis.param.color import ValidRGB
from lucent.optvis.param.spatial import FourierImage, PixelImage, checked_shape


def image(  # noqa: PLR0913 - torch-lucent's arguments
    w: int,
    h: int | None = None,
    sd: float | None = None,
    batch: int | None = None,
    decorrelate: bool = True,
    fft: bool = True,
    channels: int | None = None,
    *,
    color_matrix: Sequence[Sequence[float]] = COLOR_CORRELATION_SVD_SQRT,
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
        decorrelate: describe RGB by decorrelated colours; images of other than three channels have
            none.
        fft: describe space by Fourier coefficients instead of pixels.
        channels: number of channels; None is three.
        color_matrix: 3 x 3 square root of the colour covariance of the images that the network
            knows.
        decay_power: fall of the amplitudes with frequency, for `fft`; 1 for natural images. The
            contrast, and so the pace of learning, is the same for all.

    Raises:
        InputError: a size is not a whole number of at least 1, or `sd` is negative.

    Source: Olah et al. 2017, Feature Visualization
    (https://distill.pub/2017/feature-visualization).
    """
    n_channels = 3 if channels is None else channels
    shape = checked_shape((1 if batch is None else batch, n_channels, w if h is None else h, w))
    if fft:
        gain = contrast_gain(shape[2], shape[3], decay_power)
        raw: Image = FourierImage(shape, sd, decay_power, gain=gain)
    else:
        raw = PixelImage(shape, sd)
    return ValidRGB(raw, color_matrix if decorrelate and n_channels == 3 else None)
