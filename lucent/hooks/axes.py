"""The layouts of the layers of one model, as far as they are known."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lucent.errors import LayerError
from lucent.layers import Address
from lucent.layouts import Layout, Tracker, layout_from, layout_of
from lucent.util import kept_buffers, memory_format_of

logger = logging.getLogger(__name__)

# What these give has the axes that their names promise.
_CHANNELS_FIRST = (
    nn.Conv2d, nn.Conv3d, nn.BatchNorm2d, nn.BatchNorm3d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool2d,
    nn.AvgPool3d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
)  # fmt: skip
_EXAMPLES = {3: "NLC", 4: "NHWC", 5: "NDHWC"}


class KnownLayouts:
    """Which axis is which, by layer.

    Args:
        model: the network, unwrapped.
        given: what the user says of layers, a letter for each axis.
        otherwise: what the user says of those where it cannot be found out, None if nothing.
        run: does a pass of the model and returns what the layers give.
    """

    def __init__(
        self,
        model: nn.Module,
        given: Mapping[Address, str],
        otherwise: str | None,
        run: Callable[[Tensor], Mapping[Address, Tensor]],
    ) -> None:
        self._model, self._run = model, run
        self._modules = dict(model.named_modules(remove_duplicate=False))
        self._given, self._otherwise = given, otherwise
        self._known: dict[tuple[Address, torch.Size], Layout] = {}

    def of(self, address: Address, acts: Tensor, network_input: Tensor) -> Layout:
        """Return the layout of a layer.

        Args:
            address: of the layer, with all of its tokens.
            acts: what it gave.
            network_input: the images it gave that for.

        Raises:
            LayerError: it cannot be told.
        """
        # The grid of another size of image is another, even where the tokens are as many.
        key = address, network_input.shape[2:]
        if key not in self._known:
            if (letters := self._given.get(address)) is not None:
                self._known[key] = layout_from(letters, acts.shape)
            elif self._is_plain(address, acts, len(network_input)):
                self._known[key] = Layout(positions=tuple(range(2, acts.dim())))
            else:
                self._follow(network_input)
        if key not in self._known:
            self._known[key] = self._otherwise_of(address, acts, len(network_input))
        return self._known[key]

    def _is_plain(self, address: Address, acts: Tensor, n_images: int) -> bool:
        """Whether (B, C, *spatial) is what the kind of the layer promises."""
        if acts.dim() < 3:  # all positions of all images may be rows of one list
            return acts.dim() == 2 and len(acts) == n_images
        return acts.dim() > 3 and isinstance(self._modules.get(address.module), _CHANNELS_FIRST)

    def _otherwise_of(self, address: Address, acts: Tensor, n_images: int) -> Layout:
        if self._otherwise is not None:
            return layout_from(self._otherwise, acts.shape)
        if acts.dim() == 2 and n_images == 1:  # such as boxes, all of one image
            return Layout()
        letters = _EXAMPLES.get(acts.dim(), "NC" + "XYZ"[: acts.dim() - 2])
        raise LayerError(
            f"Which axis of the layer '{address}' is which cannot be told: it gives the shape "
            f"{tuple(acts.shape)}. Say it with a letter for each axis, N batch, C channels, D H W "
            f"space, L tokens, for example layout={{'{address}': '{letters}'}}."
        )

    def _follow(self, network_input: Tensor) -> None:
        """Follow the numbers of an image to the layers."""
        try:
            found = self._followed(network_input, 2)  # two tell the batch axis best
        except (RuntimeError, ValueError, AssertionError) as error:
            logger.info("The network takes one image only: %s", error)
            found = self._followed(network_input, 1)
        for address, layout in found.items():
            self._known.setdefault((address, network_input.shape[2:]), layout)

    def _followed(self, network_input: Tensor, n_images: int) -> dict[Address, Layout]:
        image = network_input[:1].detach().repeat_interleave(n_images, 0)
        image = image.contiguous(memory_format=memory_format_of(network_input))
        tracker = Tracker(self._model, image)

        def inherit(module: nn.Module, inputs: Any, output: Any) -> None:
            tracker.same(output, inputs)

        hook = nn.modules.module.register_module_forward_hook(inherit)
        try:
            with torch.no_grad(), kept_buffers(self._model), tracker:
                values = self._run(image)
        finally:
            hook.remove()
        known = {address: tracker.of(value) for address, value in values.items()}
        layouts = {a: layout_of(c, tracker.tokens) for a, c in known.items() if c is not None}
        return {address: layout for address, layout in layouts.items() if layout is not None}
