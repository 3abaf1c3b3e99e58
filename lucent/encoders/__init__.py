"""Encoders of activations, such as sparse autoencoders and probes, as functions of channel vectors.

An encoder maps the vector of channels at each position of a layer to a vector of *latents*. A model
that has the attribute `units` knows some by name: `model.units = {"sae": Latents("blocks.6", sae)}`
makes "sae" a layer whose channels are the latents.
"""

from lucent.encoders._frozen import FrozenEncoder, encoded, encoder_name
from lucent.encoders._named import Latents, NamedLatents

__all__ = ["FrozenEncoder", "Latents", "NamedLatents", "encoded", "encoder_name"]
