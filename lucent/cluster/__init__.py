"""Work on the machines of a Ray cluster."""

from lucent.cluster._collect import collect_on_ray
from lucent.cluster._connection import Places, connected, placed, places, sent, shared
from lucent.cluster._workers import Workers

__all__ = ["Places", "Workers", "collect_on_ray", "connected", "placed", "places", "sent", "shared"]
