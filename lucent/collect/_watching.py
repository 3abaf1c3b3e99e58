"""A network whose layers are looked at, one batch of images after another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lucent.attribution import PositionSlopes
from lucent.hooks import Activations
from lucent.layers import LABELS, unwrap
from lucent.modelzoo.spec import spec_of
from lucent.util import device_of, dtype_of, frozen_eval

if TYPE_CHECKING:
    from typing_extensions import Self


class Watch:
    """Looks at layers of a network; a context manager, after which the network is as before.

    Args:
        model: the network.
        layers: names of the layers.
        layout: which axis is which, where that cannot be found out; see `Activations`.
        logits: look at the logits of the classes, too, for attributions.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Iterable[str],
        layout: str | Mapping[str, str] | None,
        *,
        logits: bool,
    ) -> None:
        self._model, self._network, self._spec = model, unwrap(model), spec_of(model)
        self._layers = tuple(layers)
        wanted = (*self._layers, LABELS) if logits else self._layers
        aliases = self._spec.layer_aliases
        self._T = Activations(self._network, wanted, aliases=aliases, layout=layout)
        self._slopes = PositionSlopes(model, self._T) if logits else None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            # What a mode around it forbids, forward mode needs.
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.no_grad())
            stack.enter_context(frozen_eval(self._network))
            stack.enter_context(self._T)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def look(self, images: Tensor) -> dict[str, Tensor]:
        """Return what the layers give, (B, C, *spatial) each.

        Args:
            images: (B, C, H, W) in [0, 1].
        """
        images = self._placed(images)
        self._T.run(self._spec.preprocess(images).to(dtype_of(self._network)), original=images)
        return {layer: self._T.channels_first(layer) for layer in self._layers}

    def slopes(self, images: Tensor, positions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what positions do for the logits, (B, n, n_classes) by the name of the layer.

        Args:
            images: the same as of the last `look`.
            positions: (B, n) flat positions by the name of the layer.
        """
        if self._slopes is None:
            return {}
        found = self._slopes(self._placed(images), positions)
        return {layer: values.float().cpu() for layer, values in found.items()}

    def _placed(self, images: Tensor) -> Tensor:
        double = dtype_of(self._network) == torch.float64
        return images.to(device_of(self._network), torch.float64 if double else torch.float32)
