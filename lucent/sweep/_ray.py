"""The batches of a plan on the machines of a Ray cluster."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from torch import nn

from lucent.cluster import Places, Workers, connected, placed, places, shared
from lucent.errors import LucentWarning
from lucent.sweep._render import Renderer, Shown, render_batch
from lucent.sweep.plan import Batch, SweepPlan
from lucent.sweep.settings import SweepSettings
from lucent.util import conditions


class _Artist:
    """An actor that holds the network and renders batches of it.

    Args:
        network: as `shared` sent it.
        settings: of the plan.
        where: it is.
    """

    def __init__(self, network: nn.Module, settings: SweepSettings, where: Places) -> None:
        self._network, self._settings = placed(network, where), settings

    def ready(self) -> dict[str, Any]:
        return conditions(self._network)

    def work(self, batch: Batch) -> tuple[list[Shown], list[str]]:
        """Return what became of the units of a batch, and the warnings about it."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", LucentWarning)
            shown = render_batch(self._network, self._settings, batch)
        own = (each for each in caught if issubclass(each.category, LucentWarning))
        return shown, [str(each.message) for each in own]


@contextmanager
def on_ray(plan: SweepPlan, model: nn.Module, address: str) -> Iterator[Renderer]:
    """Give what renders the batches of a plan on a Ray cluster.

    The pictures come back to this process, so that workers need no disk in common.

    Args:
        plan: what is to be rendered.
        model: its network; it stays as it is.
        address: see `lucent.cluster.connected`.
    """
    with connected(address) as ray:
        where, network = places(ray), shared(ray, model)
        artist = ray.remote(_Artist).options(**where.options)
        count = max(1, min(where.count, len(plan.batches)))

        def start() -> Any:
            return artist.remote(network, plan.settings, where)

        with closing(Workers[Batch](ray, start, count)) as workers:

            def render(batches: Sequence[Batch]) -> Iterator[tuple[Batch, Sequence[Shown]]]:
                for batch, (shown, said) in workers.done(batches):
                    for text in said:
                        warnings.warn(text, LucentWarning, stacklevel=2)
                    yield batch, shown

            yield Renderer(workers.conditions(), render)
