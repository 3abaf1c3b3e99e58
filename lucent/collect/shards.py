"""Shards: runs of images that go through the network by themselves, wherever that is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from lucent.collect._arrays import arrow, packed, parquet
from lucent.collect._draws import places, positions, spread_of
from lucent.collect._extremes import Extremes, strongest
from lucent.collect._pictures import Prepared, Preparer, Reader
from lucent.collect._sums import Sums, merging, nodes_to_arrays, to_arrays
from lucent.collect._trees import Node, Tree
from lucent.collect._watching import Watch
from lucent.collect.plans import CollectPlan
from lucent.collect.settings import CollectSettings
from lucent.collect.sources import Item, Source
from lucent.collect.statistics import Products
from lucent.folders import slug

if TYPE_CHECKING:
    from typing_extensions import Self

#: The largest number in half precision.
_LARGEST = float(np.finfo(np.float16).max)


class ShardWorker:
    """Puts shards of a plan through the network; a context manager.

    What it makes of a shard depends on the plan, the images and the number of the shard alone, so
    shards may be made by several workers, in any order and on several machines.

    Args:
        model: the network of the plan.
        source: its images.
        plan: what is collected.
        workers: threads that decode pictures; 0 does it between the passes.
    """

    def __init__(
        self, model: nn.Module, source: Source, plan: CollectPlan, *, workers: int = 0
    ) -> None:
        self._plan = plan
        self._reader = Reader(source, Preparer(model, plan.size), workers)
        layout = plan.settings.layout
        self._watch = Watch(model, plan.layers, layout, logits=bool(plan.attributed))
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self._watch)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def shard(self, number: int) -> dict[str, bytes]:
        """Return the files of a shard by their names; there may be fewer images, or none.

        Args:
            number: of the shard, from 0 on.

        Raises:
            InputError: images are not in [0, 1].
        """
        images, size = self._plan.shard(number), self._plan.settings.batch
        gathered = _Shard(self._plan, images)
        batches = self._reader.batches(images.start, images.stop, size)
        for leaf, batch in enumerate(batches, images.start // size):
            self._add(gathered, leaf, batch)
        return gathered.files()

    def _add(self, gathered: _Shard, leaf: int, batch: list[Prepared]) -> None:
        usable = [one for one in batch if one.image is not None]
        if not usable:
            gathered.note(batch, {})
            return
        images = torch.stack([one.image for one in usable if one.image is not None])
        numbers = torch.tensor([one.item.index for one in usable])
        acts = self._watch.look(images)
        drawn = gathered.places(numbers.tolist())
        where = {layer: gathered.positions(layer, drawn) for layer in self._plan.layers}
        slopes = self._watch.slopes(images, {name: where[name] for name in self._plan.attributed})
        failed = {name: ~a.isfinite().flatten(1).all(1).cpu() for name, a in acts.items()}
        good = ~torch.stack(list(failed.values())).any(0)
        gathered.note(batch, _reasons(numbers, failed))
        if good.any():
            gathered.add_colors(leaf, images[good])
            for layer, own in acts.items():
                rows = slopes[layer][good] if layer in slopes else None
                kept = own[good.to(own.device)]
                gathered.layers[layer].add(leaf, kept, numbers[good], where[layer][good], rows)


def _reasons(numbers: Tensor, failed: Mapping[str, Tensor]) -> dict[int, str]:
    """Return why images cannot be used, by their numbers."""
    return {
        number: f"it makes numbers that are NaN or infinite at the layer {layer!r}"
        for layer, rows in failed.items()
        for number in numbers[rows].tolist()
    }


class _Shard:
    """What a shard gathers."""

    def __init__(self, plan: CollectPlan, images: range) -> None:
        self._plan, self._settings = plan, plan.settings
        end = images.stop if plan.count is None else plan.count
        spread = spread_of(plan.settings.seed, plan.settings.spread, end)
        self.layers = {layer: _Layer(plan.settings, spread) for layer in plan.layers}
        self._colors = merging()
        self._seen: list[tuple[Item, bool]] = []

    def places(self, images: list[int]) -> np.ndarray:
        """Return where positions are drawn in images, (B, n, 2)."""
        own = self._settings
        return np.stack([places(own.seed, image, own.vectors) for image in images])

    def positions(self, layer: str, drawn: np.ndarray) -> Tensor:
        """Return the positions of a layer at places, (B, n)."""
        spatial = self._plan.shape(layer)[1:]
        return torch.from_numpy(positions(drawn, spatial, self._settings.margin))

    def add_colors(self, leaf: int, images: Tensor) -> None:
        """Add the pixels of a batch."""
        self._colors.add(Node(leaf, 1, Products.of(images.movedim(1, -1).flatten(0, -2))))

    def note(self, batch: list[Prepared], reasons: Mapping[int, str]) -> None:
        """Note which images were seen, and why some cannot be used."""
        for one in batch:
            reason = one.item.reason or reasons.get(one.item.index, "")
            self._seen.append((replace(one.item, reason=reason), one.composed))

    def files(self) -> dict[str, bytes]:
        """Return the contents of files by their names."""
        files = {layer_file(name): packed(own.arrays()) for name, own in self.layers.items()}
        files["colors.arrow"] = packed(nodes_to_arrays(self._colors.nodes))
        files["images.parquet"] = self._table()
        return files

    def _table(self) -> bytes:
        pa = arrow()
        items = [item for item, _ in self._seen]
        columns = {
            "index": pa.array([item.index for item in items], pa.int64()),
            "key": pa.array([item.key for item in items], pa.string()),
            "label": pa.array([item.label for item in items], pa.int32()),
            "reason": pa.array([item.reason for item in items], pa.string()),
            "composed": pa.array([composed for _, composed in self._seen], pa.bool_()),
        }
        sink = pa.BufferOutputStream()
        parquet().write_table(pa.table(columns), sink)
        return sink.getvalue().to_pybytes()


def layer_file(layer: str) -> str:
    """Return the name of the file of a layer in a shard."""
    return f"layer-{slug(layer)}.arrow"


class _Layer:
    """What a shard gathers of one layer."""

    def __init__(self, settings: CollectSettings, spread: np.ndarray) -> None:
        self._settings, self._spread = settings, torch.from_numpy(np.sort(spread))
        self._sums: Tree[Sums] = merging()
        self._top: Extremes | None = None
        self._low: Extremes | None = None
        self._rows: dict[str, list[Tensor]] = {}

    def add(
        self, leaf: int, acts: Tensor, images: Tensor, where: Tensor, slopes: Tensor | None
    ) -> None:
        """Add a batch.

        Args:
            leaf: number of the batch.
            acts: (B, C, *spatial).
            images: their numbers, (B,).
            where: positions that were drawn, (B, n).
            slopes: what these do for the logits, (B, n, n_classes).
        """
        self._sums.add(Node(leaf, 1, Sums.of(acts)))
        values, positions = strongest(acts)
        k = self._settings.examples
        top = Extremes.of(values, positions, images, k)
        low = Extremes.of(values, positions, images, k, largest=False)
        self._top = top if self._top is None else self._top.merged(top, k)
        self._low = low if self._low is None else self._low.merged(low, k)
        spread = torch.isin(images, self._spread)
        self._keep("spread.images", images[spread])
        self._keep("spread.values", values[spread])
        self._keep("spread.positions", positions[spread])
        self._keep("images", images)
        self._keep("positions", where)
        self._keep("vectors", self._rounded(_vectors(acts, where.to(acts.device))))
        if slopes is not None:
            self._keep("attributions", self._rounded(slopes))

    def _keep(self, name: str, rows: Tensor) -> None:
        self._rows.setdefault(name, []).append(rows.cpu())

    def _rounded(self, values: Tensor) -> Tensor:
        if self._settings.dtype == "float32":
            return values.float()
        return values.float().clamp(-_LARGEST, _LARGEST).half()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything as arrays by name."""
        arrays = nodes_to_arrays(self._sums.nodes)
        for name, extremes in (("top", self._top), ("low", self._low)):
            if extremes is not None:
                arrays |= {f"{name}.{key}": a for key, a in to_arrays(extremes).items()}
        return arrays | {name: torch.cat(rows).numpy() for name, rows in self._rows.items()}


def _vectors(acts: Tensor, where: Tensor) -> Tensor:
    """Return what is at positions (B, n) of (B, C, *spatial), (B, n, C)."""
    flat = acts.flatten(2) if acts.dim() > 2 else acts[..., None]
    index = where[:, None].expand(-1, flat.shape[1], -1)
    return flat.gather(2, index).transpose(1, 2)
