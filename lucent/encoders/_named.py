"""Latents that a model knows by a name, as if they were a layer of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lucent.encoders._frozen import FrozenEncoder, encoded, encoder_name
from lucent.errors import InputError
from lucent.layers import INPUT, LABELS


@dataclass(frozen=True, eq=False)
class Latents:
    """Latents of a layer, to be known by a name: `model.units = {"sae": Latents("mixed4a", sae)}`.

    >>> Latents("blocks.6", nn.Linear(768, 4096))
    Latents(layer='blocks.6', encoder=Linear)

    Args:
        layer: name of the layer whose channels are encoded.
        encoder: as of `objectives.latent`.
    """

    layer: str
    encoder: Any

    def __repr__(self) -> str:
        return f"Latents(layer={self.layer!r}, encoder={encoder_name(self.encoder)})"


class NamedLatents:
    """The latents that a model knows by name, during the passes of one `Activations`.

    Args:
        model: the network, unwrapped.

    Raises:
        InputError: a name is that of a layer, or stands for something else than `Latents`.
    """

    def __init__(self, model: nn.Module) -> None:
        self._units = _units_of(model)
        self._encoders: dict[str, FrozenEncoder] = {}

    def __contains__(self, layer: str) -> bool:
        return self._split(layer)[0] in self._units

    def base(self, layer: str) -> str:
        """Return the layer that latents are made of; of another layer, the layer itself."""
        name, token = self._split(layer)
        return self._units[name].layer + token if name in self._units else layer

    def latents(self, layer: str, acts: Tensor) -> Tensor:
        """Return latents as channels, (B, K, *spatial).

        Args:
            layer: their name.
            acts: the activation of their base layer, (B, C, *spatial).
        """
        name, _ = self._split(layer)
        if name not in self._encoders:
            self._encoders[name] = FrozenEncoder(self._units[name].encoder, acts.device)
        return encoded(self._encoders[name], acts)

    @staticmethod
    def _split(layer: str) -> tuple[str, str]:
        name, at, token = layer.strip().partition("@")
        return name.strip(), at + token


def _units_of(model: nn.Module) -> Mapping[str, Latents]:
    units = getattr(model, "units", None)
    if not isinstance(units, Mapping) or not any(isinstance(u, Latents) for u in units.values()):
        return {}  # an attribute of the network's own
    layers = {INPUT, LABELS, *dict(model.named_modules())}
    for name, unit in units.items():
        if not isinstance(unit, Latents):
            raise InputError(
                f"model.units[{name!r}] is {unit!r}; expected Latents(layer, encoder), as in "
                f"model.units = {{{name!r}: Latents('blocks.6', encoder)}}."
            )
        if name in layers or not str(name).isidentifier():
            reason = "is a layer of the model" if name in layers else "is no plain word"
            raise InputError(
                f"Latents cannot be called {name!r} in model.units, because that {reason}: take "
                "another name, such as 'sae'."
            )
    return units
