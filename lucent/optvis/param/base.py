"""The type that every parametrization is: a module without arguments that gives an image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lucent.errors import InputError
from lucent.generators import AnyGenerator


class Image(nn.Module, ABC):
    """A batch of images described by parameters.

    Calling it gives (B, C, *spatial), differentiable with respect to `trainable()`. It also unpacks
    as torch-lucent's parametrizations did: `params, image_f = param.image(128)`.

    Attributes:
        sample: what a stochastic image drew last, for objectives that need to know; None for
            others.
    """

    sample: Tensor | None = None

    @abstractmethod
    def forward(self) -> Tensor:
        """Return the image, (B, C, *spatial)."""

    def draw(self, generator: AnyGenerator = None) -> None:
        """Draw anew what is random about the image, into `sample`; a run does so in every step.

        An image that is made of others has them draw, and takes over the last sample.
        """
        for part in _parts(self):
            part.draw(generator)
            if part.sample is not None:
                self.sample = part.sample

    def trainable(self) -> list[Tensor]:
        """Return the tensors to optimise, those of the images that it is made of included."""
        own = [parameter for parameter in self.parameters() if parameter.requires_grad]
        tensors = [*own, *(tensor for part in _parts(self) for tensor in part.trainable())]
        return list({id(tensor): tensor for tensor in tensors}.values())

    def __iter__(self) -> Iterator[Any]:
        yield self.trainable()
        yield self

    def __getitem__(self, index: int) -> Any:
        return (self.trainable(), self)[index]


class FunctionImage(Image):
    """An image given as tensors to optimise and a function that makes the image of them.

    Args:
        params: leaf tensors that require gradients; they stay on the device where they are.
        image_f: returns the image, (B, C, *spatial).

    Raises:
        InputError: a tensor cannot be optimised, or there is none.
    """

    def __init__(self, params: Iterable[Tensor], image_f: Callable[[], Tensor]) -> None:
        super().__init__()
        self._params = list(params)
        self._image_f = image_f
        for tensor in self._params:
            if not isinstance(tensor, Tensor) or not tensor.is_leaf or not tensor.requires_grad:
                raise InputError(
                    "The params of a parametrization have to be leaf tensors that require "
                    f"gradients. Got {_kind(tensor)}; make them with "
                    "tensor.detach().requires_grad_(True)."
                )
        if not self._params:
            raise InputError("The parametrization has no params: there is nothing to optimise.")

    def forward(self) -> Tensor:
        """Return what the function gives."""
        return self._image_f()

    def trainable(self) -> list[Tensor]:
        """Return the tensors given."""
        return list(self._params)


def as_image(described: Any) -> Image:
    """Return an Image for an Image or for a pair (params, image_f).

    Raises:
        InputError: it is neither.
    """
    if isinstance(described, Image):
        return described
    if isinstance(described, tuple | list) and len(described) == 2 and callable(described[1]):
        return FunctionImage(*described)
    raise InputError(
        "param_f has to return an image such as param.image(128), or a pair (params, image_f) of "
        "the tensors to optimise and a function that returns (B, C, H, W). It returned "
        f"{_kind(described)}."
    )


def _parts(module: nn.Module) -> Iterator[Image]:
    """Yield the images right below a module, whatever container holds them."""
    for child in module.children():
        if isinstance(child, Image):
            yield child
        else:
            yield from _parts(child)


def _kind(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)} with requires_grad={value.requires_grad}"
    return f"a {type(value).__name__}"
