"""Images of their own as the rows of one batch."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from lucent.errors import InputError
from lucent.generators import AnyGenerator, Generators
from lucent.optvis.param.base import Image
from lucent.optvis.param.compound import Part, StackImage

logger = logging.getLogger(__name__)


class RowsImage(Image):
    """Images of one kind as the rows of a batch, evaluated at once.

    The parameters of all are stacked along an axis more, and the first image is vectorised over it.
    So each row is what it would be alone, also where an image couples its numbers by a norm.

    Args:
        images: they differ in the values of their parameters only; they stay as they are.

    Raises:
        InputError: something that an image optimises is no parameter of it.
    """

    def __init__(self, images: Sequence[Image]) -> None:
        super().__init__()
        if any(len(_own_parameters(image)) < len(image.trainable()) for image in images):
            raise InputError(
                f"A {type(images[0]).__name__} optimises tensors that are no parameters of it and "
                "cannot be stacked: use param.rows, which evaluates such images one by one."
            )
        columns = [*zip(*(_own_parameters(image).values() for image in images), strict=True)]
        self.stacked = nn.ParameterList(torch.stack([*column]).detach() for column in columns)
        self._names = list(_own_parameters(images[0]))
        # What is not optimised may be large, a generator network for example: it is shared.
        fixed = {id(p): p for p in images[0].parameters() if not p.requires_grad}
        self.image = copy.deepcopy(images[0], dict(fixed)).requires_grad_(False)

    def forward(self) -> Tensor:
        """Return the rows, (n, C, *spatial)."""
        return self.of(list(self.stacked))

    def of(self, values: Sequence[Tensor]) -> Tensor:
        """Return the rows, (n, C, *spatial), for other values of `trainable()`."""
        made: Tensor = torch.vmap(lambda *own: _made(self.image, self._names, own))(*values)
        return made.flatten(0, 1)

    def trainable(self) -> list[Tensor]:
        """Return the parameters of all images, (n, ...) each."""
        return list(self.stacked)

    def stands_for(self, images: Sequence[Image]) -> bool:
        """Tell whether the rows are what the images give, whatever their parameters are."""
        # Other values than those of the start, which hide differences: a CPPN starts grey.
        generator = torch.Generator().manual_seed(0)
        values = [v + torch.randn(v.shape, generator=generator).to(v) for v in self.stacked]
        try:
            together = self.of(values)
        except RuntimeError as error:  # torch's, for what it cannot vectorise
            logger.info("The images of a batch are evaluated one by one: %s", error)
            return False
        each = torch.cat([
            _made(image, self._names, [value[n] for value in values])
            for n, image in enumerate(images)
        ])  # fmt: skip
        if each.shape != together.shape or each.dtype != together.dtype:
            return False
        # Sums in another order agree in more than half of the digits, other images do not.
        allowed = each.abs().amax() * torch.finfo(each.dtype).eps ** 0.5
        return bool((each - together).abs().amax() <= allowed)


class RowStack(StackImage):
    """Images of any kind as the rows of a batch; each draws what is random about it by itself."""

    def images(self) -> list[Image]:
        """Return the images in the order of the rows."""
        return [part for part in self.parts if isinstance(part, Image)]

    def draw(self, generator: AnyGenerator = None) -> None:
        """Draw each image anew, with the generator of its row where every row has one."""
        each = generator if isinstance(generator, Generators) else [generator] * len(self.parts)
        for image, own in zip(self.images(), each, strict=True):
            image.draw(own)


def rows(images: Iterable[Part]) -> Image:
    """Return images of batch 1 as one image of batch n; row i is what image i gives alone.

    Images that differ in the values of their parameters only are evaluated together, others one
    by one.

    >>> from lucent.optvis.param.images import image
    >>> rows([image(16), image(16)])().shape
    torch.Size([2, 3, 16, 16])

    Args:
        images: of equal size, each as for `StackImage`. Those that are evaluated together are
            copied, others become parts of the result.

    Raises:
        InputError: there is none, one gives no batch of 1, or the sizes differ.
    """
    stack = RowStack(images)
    images = stack.images()
    with torch.no_grad():
        _check_shapes([tuple(image().shape) for image in images])
        if _may_be_merged(images):
            merged = RowsImage(images)
            if merged.stands_for(images):
                return merged
    return stack


def _check_shapes(shapes: Sequence[tuple[int, ...]]) -> None:
    if wrong := [shape for shape in shapes if shape[0] != 1]:
        raise InputError(
            f"An image of shape {wrong[0]} cannot be a row: each has to be one, (1, C, H, W). Make "
            "it with batch=1."
        )
    if len(set(shapes)) > 1:
        raise InputError(
            f"The images differ in shape, {sorted(set(shapes))}: the rows of a batch cannot. Make "
            "them with the same size and channels."
        )


def _may_be_merged(images: Sequence[Image]) -> bool:
    """Tell whether the images optimise parameters of their own, of the same names and shapes."""
    shapes = []
    for image in images:
        own = _own_parameters(image)
        if not own or len(own) < len(image.trainable()) or _draws(image):
            return False
        shapes.append({name: (p.shape, p.dtype, p.device) for name, p in own.items()})
    distinct = {id(tensor) for image in images for tensor in image.trainable()}
    return all(s == shapes[0] for s in shapes) and len(distinct) == len(images) * len(shapes[0])


def _own_parameters(image: Image) -> dict[str, nn.Parameter]:
    """Return the parameters that are optimised, by name, in the order of `trainable()`."""
    names = {id(p): (name, p) for name, p in image.named_parameters()}
    found = (names.get(id(tensor)) for tensor in image.trainable())
    return dict(pair for pair in found if pair is not None)


def _draws(image: Image) -> bool:
    """Tell whether an image or a part of it draws anew in every step."""
    parts = [part for part in image.modules() if isinstance(part, Image)]
    return any(type(part).draw is not Image.draw for part in parts)


def _made(image: Image, names: Sequence[str], values: Sequence[Tensor]) -> Tensor:
    """Return what an image gives for other values of the parameters of these names."""
    made: Tensor = torch.func.functional_call(image, dict(zip(names, values, strict=True)), ())
    return made
