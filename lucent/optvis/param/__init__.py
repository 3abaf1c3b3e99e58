"""How an image is described: parametrizations."""

from lucent.optvis.param.base import FunctionImage, Image, as_image
from lucent.optvis.param.color import ValidRGB, to_valid_rgb
from lucent.optvis.param.images import image
from lucent.optvis.param.spatial import (
    FourierImage,
    PixelImage,
    fft_image,
    pixel_image,
    rfft2d_freqs,
)

__all__ = [
    "FourierImage",
    "FunctionImage",
    "Image",
    "PixelImage",
    "ValidRGB",
    "as_image",
    "fft_image",
    "image",
    "pixel_image",
    "rfft2d_freqs",
    "to_valid_rgb",
]
