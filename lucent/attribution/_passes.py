"""Passes of a network that go on from a given value of one of its layers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lucent.attribution.scores import Score
from lucent.errors import InputError, LayerError
from lucent.hooks import Activations
from lucent.layers import INPUT, Address, LayerNames, unwrap
from lucent.layouts import Layout
from lucent.modelzoo.photographs import photograph
from lucent.modelzoo.spec import ModelSpec, spec_of
from lucent.units import whole
from lucent.util import dtype_of, frozen_eval

logger = logging.getLogger(__name__)

#: Which axis of a layer is which, as `Activations` takes it.
Letters = str | Mapping[str, str] | None


class Place:
    """A layer, and what it gives for the pictures.

    Args:
        name: of the layer, as the user wrote it.
        whole: the same without a token.
        token: the one that the user wrote, None for all.
        value: what the layer gives, without a gradient.
        layout: which axis of that is which.
    """

    def __init__(
        self, name: str, whole: str, token: str | None, value: Tensor, layout: Layout
    ) -> None:
        self.name, self.whole, self.token = name, whole, token
        self.value, self._layout = value, layout
        # Numbers of windows and images are in one axis, those of an image together.
        self.batch = 0 if layout.gathered else layout.batch

    def ordered(self, value: Tensor) -> Tensor:
        """Return numbers like those of the layer as (B, C, *spatial)."""
        if self.token is not None:
            return self._layout.select(value, self.token, self.whole)
        return self._layout.channels_first(value, self.whole)

    def tokens(self, value: Tensor) -> dict[str, Tensor]:
        """Return those that belong to no position, (B, C) by the name of the token."""
        if self.token is not None or self._layout.keys is not None:
            return {}
        return {name: self._layout.select(value, name, self.whole) for name in self._layout.names}

    def sums(self, value: Tensor) -> Tensor:
        """Return the sum of all numbers of each image, (B,)."""
        n_images = len(self.ordered(value))
        return value.movedim(self.batch, 0).reshape(n_images, -1).sum(1)

    def copies(self, value: Tensor) -> int:
        """Return how many times the images are in a value."""
        return value.shape[self.batch] // self.value.shape[self.batch]

    def repeated(self, n_copies: int) -> Tensor:
        """Return the value of the layer several times, all images in each."""
        return torch.cat([self.value] * n_copies, self.batch)

    def put_back(self, values: Tensor) -> Tensor:
        """Return numbers (n_copies * B, C, *spatial) in the layout of the layer, 0 elsewhere.

        This is the transpose of `ordered`, which autograd knows.
        """
        n_copies = len(values) // len(self.ordered(self.value))
        like = torch.zeros_like(self.repeated(n_copies)).requires_grad_()
        (found,) = torch.autograd.grad(self.ordered(like), like, values)
        return found

    def split(self, value: Tensor) -> Tensor:
        """Return the copies in a value, (n_copies, *shape of the layer)."""
        return torch.stack(value.chunk(self.copies(value), self.batch))


class Passes:
    """Passes of one network over the same pictures.

    Args:
        T: open, of the network.
        spec: of the network.
        picture: (B, C, *spatial) in [0, 1].
        model: the network, unwrapped.

    Attributes:
        T: as given.
        picture: as given.
        model: as given.
    """

    def __init__(self, T: Activations, spec: ModelSpec, picture: Tensor, model: nn.Module) -> None:
        self.T, self.picture = T, picture
        self.model, self._spec, self._dtype = model, spec, dtype_of(model)
        self._names = LayerNames(model, spec.layer_aliases)
        # Whether one row may go through the part before a layer for many rows that come after it.
        self._shares = len(picture) == 1

    def photograph(self, picture: Any) -> Tensor:
        """Return another picture, as many rows as there are."""
        found = photograph(self.model, picture)
        return found.repeat(len(self.picture), *[1] * (found.dim() - 1))

    def module(self, place: Place) -> nn.Module:
        """Return the module that gives a layer.

        Raises:
            LayerError: it is a function that a module calls, or the picture.
        """
        name = self._names.resolve(place.whole).module if place.name != INPUT else None
        if name not in self._names.modules:
            raise LayerError(
                f"{place.name!r} is no module, which is what this method needs: name one that "
                "comes before or after it."
            )
        return self._names.modules[name]

    def _network_input(self, picture: Tensor) -> Tensor:
        return self._spec.preprocess(picture).to(self._dtype)

    def place(self, layer: str, picture: Tensor | None = None) -> Place:
        """Return what a layer gives.

        Args:
            layer: its name, with a token if it is about that alone, or "input".
            picture: for these pictures; None takes those of the passes.

        Raises:
            LayerError: there is no such layer, or it is a part of what a module gives.
        """
        image = self.picture if picture is None else picture
        if layer == INPUT:
            layout = Layout(positions=tuple(range(2, image.dim())))
            return Place(INPUT, INPUT, None, image.detach(), layout)
        self._address(layer)
        with torch.no_grad():
            self.T.run(self._network_input(image), original=image)
        return self.seen(layer)

    def seen(self, layer: str) -> Place:
        """Return what a layer, other than "input", gave in the last pass.

        Args:
            layer: its name, with a token if it is about that alone.

        Raises:
            LayerError: see `place`.
        """
        address = self._address(layer)
        name = str(address.whole)
        with torch.no_grad():
            value = self.T(name)
        return Place(layer, name, address.token, value.detach(), self.T.layout(name))

    def _address(self, layer: str) -> Address:
        """Return the address of a layer that something else can be put in the place of."""
        address = self._names.resolve(layer)
        if address.picks:
            raise LayerError(
                f"{layer!r} is a part of what a module gives, and nothing can be put in its place: "
                "name a layer that gives one tensor, before or after it."
            )
        return address

    def run(self, place: Place, value: Tensor, *, share: bool = False) -> None:
        """Do a pass that goes on from this value of a layer.

        Args:
            place: the layer.
            value: all images once, or several times.
            share: let one row of the picture go through the part before the layer, where there is
                one picture only.
        """
        if place.name == INPUT:
            self.T.run(self._network_input(value), original=value)
            return
        n_copies = 1 if share else place.copies(value)
        picture = self.picture.repeat(n_copies, *[1] * (self.picture.dim() - 1))
        # A copy, because the network may overwrite its activations.
        self.T.run(self._network_input(picture), {place.whole: value.clone()}, original=picture)

    def read(self, read: Callable[[Activations], Tensor], place: Place, value: Tensor) -> Tensor:
        """Return what a function makes of the activations, for each row of a value of a layer.

        Args:
            read: gives (n_rows, ...).
            place: the layer.
            value: all images once, or several times: n_rows of them.
        """
        n_copies = place.copies(value)
        if self._shares and n_copies > 1 and place.name != INPUT:
            # What comes before the layer is the same for all rows, and often most of the network.
            # A part that goes around the layer may not fit them all, though.
            try:
                self.run(place, value, share=True)
                found = read(self.T)
                if isinstance(found, Tensor) and found.shape[:1] == (n_copies,):
                    return found
            except RuntimeError as error:
                logger.info("The pictures are repeated for the part before the layer: %s", error)
            self._shares = False
        self.run(place, value)
        return read(self.T)

    def score(self, score: Score, place: Place, value: Tensor) -> Tensor:
        """Return a score of each row of a value of a layer, (n_rows,).

        Raises:
            InputError: it gives something else.
        """
        n_rows = place.copies(value) * len(self.picture)
        return _checked(self.read(score, place, value), n_rows)


def _checked(values: Any, n_rows: int) -> Tensor:
    if not isinstance(values, Tensor) or values.shape != (n_rows,):
        got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise InputError(
            f"The score gives {got}, but has to give a number for each image, ({n_rows},): for "
            "example lambda T: T('labels')[:, 3]."
        )
    return values


@contextmanager
def opened(model: nn.Module, picture: Any, layout: Letters = None) -> Iterator[Passes]:
    """Hook a network, freeze it, and let gradients flow, whatever is switched off around it.

    Args:
        model: the network.
        picture: what `photograph` takes.
        layout: which axis is which, where that cannot be found out.
    """
    network, spec = unwrap(model), spec_of(model)
    # Leaving inference mode enables gradients, also where `no_grad` is around it.
    with torch.inference_mode(False), frozen_eval(network):
        image = photograph(model, picture).clone()
        aliases = spec.layer_aliases
        with Activations(network, None, aliases=aliases, layout=layout) as T:
            T.labels = spec.labels
            yield Passes(T, spec, image, network)


def gradient(score: Tensor, value: Tensor, place: Place) -> Tensor:
    """Return the gradient of a score, summed over its rows, with respect to a value of a layer."""
    found = None
    if score.requires_grad:
        (found,) = torch.autograd.grad(score.sum(), value, allow_unused=True)
    if found is None:
        raise independent(place)
    return found


def independent(place: Place) -> InputError:
    """Return the error about a score that a layer has no part in."""
    return InputError(
        f"The score does not depend on the layer {place.name!r}: name a layer before the ones that "
        "the score is computed from, and compute it without detach(), no_grad() or item()."
    )


def pulled_back(values: Tensor, value: Tensor, place: Place, batch_size: int) -> Iterator[Tensor]:
    """Yield the gradient of each of several numbers, some at a time, (n, *shape of the layer).

    Args:
        values: (n,), computed from `value`.
        value: of the layer.
        place: the layer.
        batch_size: how many gradients are computed at a time.
    """
    if whole(batch_size, "batch_size") < 1:
        raise InputError(f"batch_size={batch_size} has to be 1 or more.")
    if not values.requires_grad:
        raise independent(place)
    # vmap, which does many at once, has no rule for the backward pass of some functions.
    together = batch_size > 1
    for some in torch.arange(len(values), device=values.device).split(batch_size):
        part = F.one_hot(some, len(values)).to(values.dtype)
        found = _pulled_together(values, value, part, place) if together else None
        if found is None:
            together = False
            found = torch.stack([_pulled(values, value, one, place) for one in part])
        yield found


def _pulled_together(values: Tensor, value: Tensor, weights: Tensor, place: Place) -> Tensor | None:
    try:
        return _pulled(values, value, weights, place)
    except RuntimeError as error:
        logger.info("Gradients are taken one by one: %s", error)
        return None


def _pulled(values: Tensor, value: Tensor, weights: Tensor, place: Place) -> Tensor:
    (found,) = torch.autograd.grad(
        values,
        value,
        weights,
        retain_graph=True,
        allow_unused=True,
        is_grads_batched=weights.dim() == 2,
    )
    if found is None:
        raise independent(place)
    return found
