"""A generator network as the description of an image: pictures out of what it has learned."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lucent.errors import InputError, WeightsError, suggestion
from lucent.files import fetch
from lucent.optvis.param.base import Image
from lucent.optvis.param.spatial import checked_shape
from lucent.optvis.param.unit_balls import constrain_L_inf
from lucent.util import constant
from lucent.weights import load_state, read_state_dict

#: Mean of the training images that the generators leave out: red, green and blue, 0 to 255.
RGB_mean = torch.tensor([123.0, 117.0, 104.0]).view(1, 3, 1, 1)

_FOLDER = "https://onedrive.live.com/download?cid=9CFFF6BCB39F6829&resid=9CFFF6BCB39F6829%21"
#: Where torch-lucent took the weights from. Their hashes are not known.
model_urls = {
    "pool5": f"{_FOLDER}45337&authkey=AFaUAgeoIg0WtmA",
    "fc6": f"{_FOLDER}45339&authkey=AC2rQMt7Obr0Ba4",
    "fc7": f"{_FOLDER}45338&authkey=AJ0R-daUAVYjQIw",
    "fc8": f"{_FOLDER}45340&authkey=AKIfNk7s5MGrRkU",
}

#: What the generators invert, with the shape of its activations: these are their codes.
_CODES: dict[str, tuple[int, ...]] = {
    "fc6": (4096,),
    "fc7": (4096,),
    "fc8": (1000,),
    "pool5": (256, 6, 6),
}
# Layer, inputs, outputs of the transposed convolutions that all of them end with.
_UPWARD = (
    ("deconv5", 256, 256),
    ("conv5_1", 256, 512),
    ("deconv4", 512, 256),
    ("conv4_1", 256, 256),
    ("deconv3", 256, 128),
    ("conv3_1", 128, 128),
    ("deconv2", 128, 64),
    ("deconv1", 64, 32),
    ("deconv0", 32, 3),
)
_SLOPE = 0.3  # of the leaky ReLUs, for negative values


class View(nn.Module):
    """Gives its input another shape.

    Args:
        shape: the numbers, or one tuple of them; -1 is what remains.
    """

    def __init__(self, *shape: Any) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, input: Tensor) -> Tensor:
        return input.view(*self.shape)


class upconvGAN(nn.Module):
    """A network that was trained to make images of CaffeNet's activations.

    Args:
        name: the layer whose activations it takes: "fc6", "fc7" (B, 4096), "fc8" (B, 1000) or
            "pool5" (B, 256, 6, 6).
        pretrained: load the weights.
        weights: a file with them, or an address; None looks for `upconvGAN_<name>.pt` in the
            folder of torch.hub and tries to download it from `model_urls`.

    Attributes:
        name: of the layer.
        codelen: channels of a code.
        code_shape: shape of a code, without the batch.
        G: the network, frozen; it gives blue, green, red.

    Raises:
        InputError: no such layer.
        WeightsError: the weights cannot be fetched or read, or are of another network.

    Source: Dosovitskiy and Brox 2016, Generating Images with Perceptual Similarity Metrics based on
    Deep Networks (https://arxiv.org/abs/1602.02644); Nguyen et al. 2016, Synthesizing the preferred
    inputs for neurons in neural networks via deep generator networks
    (https://arxiv.org/abs/1605.09304).
    """

    def __init__(
        self, name: str = "fc6", pretrained: bool = True, *, weights: str | Path | None = None
    ) -> None:
        super().__init__()
        self.name = _checked_name(name)
        self.code_shape = _CODES[name]
        self.codelen = self.code_shape[0]
        layers = _from_pool5() if name == "pool5" else _from_vector(self.codelen)
        self.G = nn.Sequential(OrderedDict({**layers, **_upward(name)}))
        if weights is not None or pretrained:
            path, state = _read(name, weights)
            state = {f"G.{key}": tensor for key, tensor in state.items()}
            load_state(self, state, source=str(path))
        self.G.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Return images less `RGB_mean`, (B, 3, 256, 256), red, green, blue, 0 to 255."""
        return self.G(x).flip(1)

    def visualize(self, x: Tensor, scale: float = 1.0) -> Tensor:
        """Return images with values from 0 to `scale`, (B, 3, 256, 256).

        Args:
            x: codes, (B, codelen), or (B, 256, 6, 6) for pool5.
            scale: the brightest value.
        """
        raw = self(x)
        return (raw + _mean(raw)).clamp(0, 255) / 255 * scale


class GanImage(Image):
    """Images that a generator makes of codes; the codes are optimised.

    Args:
        gan: the generator. It moves with the image.
        batch: number of images.
        sd: standard deviation of the normal start values of the codes.

    Raises:
        InputError: it is no generator, or the batch no number of images.
    """

    def __init__(self, gan: upconvGAN, batch: int = 1, *, sd: float = 1.0) -> None:
        super().__init__()
        if not isinstance(gan, upconvGAN):
            raise InputError(
                f"The generator has to be one such as param.upconvGAN('fc6'), not {gan!r}."
            )
        self.gan = gan
        shape = checked_shape((batch, *gan.code_shape))
        like = next(gan.parameters())
        self.code = nn.Parameter(torch.randn(shape, device=like.device, dtype=like.dtype) * sd)

    def forward(self) -> Tensor:
        """Return the images, (B, 3, 256, 256), in [0, 1]."""
        raw = self.gan(self.code)
        # As visualize does, but values beyond black and white can come back.
        return (constrain_L_inf(2 * (raw + _mean(raw)) / 255 - 1) + 1) / 2

    def trainable(self) -> list[Tensor]:
        """Return the codes, (B, codelen) or (B, 256, 6, 6)."""
        return [self.code]


def gan_image(gan: upconvGAN, batch: int | None = None, *, sd: float = 1.0) -> Image:
    """Return images of 256 x 256 pixels out of what a generator has learned.

    Args:
        gan: such as `upconvGAN("fc6")`.
        batch: number of images; None is one.
        sd: standard deviation of the normal start values of the codes.

    Raises:
        InputError: it is no generator, or the batch no number of images.

    Source: Nguyen et al. 2016, Synthesizing the preferred inputs for neurons in neural networks via
    deep generator networks (https://arxiv.org/abs/1605.09304).
    """
    return GanImage(gan, 1 if batch is None else batch, sd=sd)


def load_statedict_from_online(name: str = "fc6") -> Mapping[str, Tensor]:
    """Return the weights of a generator's `G`, downloaded if they are not in torch.hub's folder.

    Args:
        name: as of `upconvGAN`.

    Raises:
        InputError: no such layer.
        WeightsError: the weights cannot be fetched or read.
    """
    return _read(_checked_name(name), None)[1]


def _mean(raw: Tensor) -> Tensor:
    return constant(RGB_mean.tolist(), like=raw)


def _upward(name: str) -> dict[str, nn.Module]:
    layers: dict[str, nn.Module] = {}
    for layer, inputs, outputs in _UPWARD:
        if name == "pool5" and layer == "deconv5":
            inputs = 512
        kernel, stride = (4, 2) if layer.startswith("deconv") else (3, 1)
        layers[layer] = nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding=1)
        if layer != "deconv0":
            layers[f"relu_{layer}"] = nn.LeakyReLU(_SLOPE)
    return layers


def _from_vector(codelen: int) -> dict[str, nn.Module]:
    layers: dict[str, nn.Module] = {}
    for layer, inputs in (("defc7", codelen), ("defc6", 4096), ("defc5", 4096)):
        layers[layer] = nn.Linear(inputs, 4096)
        layers[f"relu_{layer}"] = nn.LeakyReLU(_SLOPE)
    return {**layers, "reshape": View(-1, 256, 4, 4)}


def _from_pool5() -> dict[str, nn.Module]:
    layers: dict[str, nn.Module] = {}
    for n, inputs, padding in ((6, 256, 1), (7, 512, 1), (8, 512, 0)):
        layers[f"Rconv{n}"] = nn.Conv2d(inputs, 512, 3, padding=padding)
        layers[f"Rrelu{n}"] = nn.LeakyReLU(_SLOPE)
    return layers


def _checked_name(name: str) -> str:
    if name not in _CODES:
        raise InputError(
            f"There is no generator {name!r}: the names are {', '.join(_CODES)}. "
            f"{suggestion(str(name), _CODES)}"
        )
    return name


def _read(name: str, weights: str | Path | None) -> tuple[Path, dict[str, Tensor]]:
    """Return the weight file that is meant, and its content by the names in `G`."""
    if weights is not None:
        named = Path(weights) if "://" not in str(weights) else fetch(str(weights))
        return named, _renamed(read_state_dict(named))
    file_name = f"upconvGAN_{name}.pt"  # as torch-lucent calls it
    path = Path(torch.hub.get_dir()).parent / "checkpoints" / file_name  # where it keeps it
    if not path.exists():
        path = fetch(model_urls[name], file_name=file_name)
    try:
        return path, _renamed(read_state_dict(path))
    except WeightsError as error:
        raise WeightsError(
            f"{error} Some hosts answer with a page instead of the file: delete {path}, and name a "
            f"copy of what was at {model_urls[name]}: upconvGAN({name!r}, weights=FILE)."
        ) from error


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo the additional level that some of the files have in their names."""
    return {key.replace(".1.", "."): tensor for key, tensor in state.items()}
