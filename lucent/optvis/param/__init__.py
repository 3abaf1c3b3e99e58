"""How an image is described: parametrizations.

`param.cppn`, `param.maco` and `param.resize_bilinear_nd` are functions; the modules of these names
stay importable by their paths.
"""

from lucent.optvis.param.base import FunctionImage, Image, as_image
from lucent.optvis.param.color import (
    ValidRGB,
    color_correlation_normalized,
    color_correlation_svd_sqrt,
    color_mean,
    max_norm_svd_sqrt,
    to_valid_rgb,
)
from lucent.optvis.param.compound import (
    ConstantImage,
    MaskedImage,
    StackImage,
    SumImage,
    masked,
    stack,
    summed,
)
from lucent.optvis.param.cppn import CPPN, CompositeActivation, NormalizedReLU, cppn
from lucent.optvis.param.gan import GanImage, gan_image, upconvGAN
from lucent.optvis.param.images import GrayImage, grayscale_image_rgb, image
from lucent.optvis.param.interpolation import InterpolationBasis, multi_interpolation_basis
from lucent.optvis.param.lowres import (
    LaplacianImage,
    LowresImage,
    laplacian_pyramid_image,
    lowres_tensor,
)
from lucent.optvis.param.maco import MacoImage, maco
from lucent.optvis.param.measured import measured_color_matrix, measured_spectrum
from lucent.optvis.param.merged import RowsImage, RowStack, rows
from lucent.optvis.param.random import RandomFourierImage, image_sample, rand_fft_image
from lucent.optvis.param.resize_bilinear_nd import resize_bilinear_nd
from lucent.optvis.param.sampling import bilinearly_sampled_image
from lucent.optvis.param.spatial import (
    FourierImage,
    PixelImage,
    RawImage,
    fft_image,
    pixel_image,
    rfft2d_freqs,
)
from lucent.optvis.param.unit_balls import (
    UnitBallL2,
    UnitBallLInf,
    constrain_L2,
    constrain_L_inf,
    unit_ball_L2,
    unit_ball_L_inf,
)
from lucent.util import old_device

__all__ = [
    "CPPN",
    "CompositeActivation",
    "ConstantImage",
    "FourierImage",
    "FunctionImage",
    "GanImage",
    "GrayImage",
    "Image",
    "InterpolationBasis",
    "LaplacianImage",
    "LowresImage",
    "MacoImage",
    "MaskedImage",
    "NormalizedReLU",
    "PixelImage",
    "RandomFourierImage",
    "RawImage",
    "RowStack",
    "RowsImage",
    "StackImage",
    "SumImage",
    "UnitBallL2",
    "UnitBallLInf",
    "ValidRGB",
    "as_image",
    "bilinearly_sampled_image",
    "color_correlation_normalized",
    "color_correlation_svd_sqrt",
    "color_mean",
    "constrain_L2",
    "constrain_L_inf",
    "cppn",
    "fft_image",
    "gan_image",
    "grayscale_image_rgb",
    "image",
    "image_sample",
    "laplacian_pyramid_image",
    "lowres_tensor",
    "maco",
    "masked",
    "max_norm_svd_sqrt",
    "measured_color_matrix",
    "measured_spectrum",
    "multi_interpolation_basis",
    "pixel_image",
    "rand_fft_image",
    "resize_bilinear_nd",
    "rfft2d_freqs",
    "rows",
    "stack",
    "summed",
    "to_valid_rgb",
    "unit_ball_L2",
    "unit_ball_L_inf",
    "upconvGAN",
]


def __getattr__(name: str) -> object:
    return old_device(__name__, name, "device")
