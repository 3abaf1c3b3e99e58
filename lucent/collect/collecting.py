"""Collecting: shards of images through the network, then everything merged, then the pictures."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from torch import nn
from tqdm import tqdm

from lucent.attribution import receptive_fields
from lucent.collect._arrays import arrow, parquet
from lucent.collect._merging import LayerMerger, merge_images
from lucent.collect._pictures import Preparer, Reader
from lucent.collect._seen import Gallery, Wanted
from lucent.collect._watching import Watch
from lucent.collect.collection import (
    EXAMPLES,
    IMAGES,
    KIND,
    Collection,
    layer_part,
    picture_part,
)
from lucent.collect.plans import CollectPlan, plan_collection
from lucent.collect.settings import CollectSettings
from lucent.collect.shards import ShardWorker
from lucent.collect.sources import Source, as_source
from lucent.folders import WorkFolder, read_json
from lucent.util import conditions

#: Makes shards: gets the numbers of those that are missing, yields each with its files, which are
#: contents by name. See `collect_by`.
Compute = Callable[[Iterator[int]], Generator[tuple[int, dict[str, bytes]], None, None]]


def collect(
    model: nn.Module,
    data: Any,
    out: str | os.PathLike[str],
    *,
    layers: Iterable[str] | None = None,
    settings: CollectSettings | None = None,
    workers: int = 0,
    progress: bool = False,
) -> Collection:
    """Collect what a data set does to the layers of a network.

    A run that was cut off, at any moment, goes on where it was when it is called again, and gives
    what it would have given at once, byte for byte.

    Args:
        model: any network for pictures; it is as before afterwards.
        data: images, as `as_source` takes them.
        out: the folder of the collection, new or of a run that was cut off.
        layers: names of the layers; None is all that `lucent.layers.main_layers` finds.
        settings: what is kept; None is `CollectSettings()`.
        workers: threads that decode pictures; 0 does it between the passes.
        progress: show a bar.

    Raises:
        InputError: the data cannot be used, or the folder holds something else.
        LayerError: there is no such layer.
        StorageError: there is no room.
        MissingExtra: pyarrow is not installed.
    """
    arrow()  # before hours of work
    source = as_source(data)
    plan = plan_collection(model, source, layers=layers, settings=settings or CollectSettings())

    def compute(numbers: Iterator[int]) -> Generator[tuple[int, dict[str, bytes]], None, None]:
        with ShardWorker(model, source, plan, workers=workers) as worker:
            for number in numbers:
                yield number, worker.shard(number)

    return collect_by(compute, model, source, plan, out, progress=progress)


def collect_by(
    compute: Compute,
    model: nn.Module,
    source: Source,
    plan: CollectPlan,
    out: str | os.PathLike[str],
    *,
    progress: bool = False,
) -> Collection:
    """Collect with shards that are made elsewhere, such as on other machines.

    Args:
        compute: gets the numbers of the shards that are missing and yields each with what
            `ShardWorker.shard` gives for it: in any order, but in theirs where the source has no
            count; there it is not asked for more after the last one.
        model: the network of the plan.
        source: its images.
        plan: what is collected.
        out: the folder of the collection.
        progress: show a bar.

    Raises:
        InputError: see `collect`.
        StorageError: see `collect`.
    """
    made_with = {**conditions(model), "pyarrow": arrow().__version__}
    with WorkFolder.opened(out, KIND, plan.to_json(), made_with=made_with) as folder:
        if not folder.finished:
            job = _Job(folder, plan, model, progress)
            if not all(map(folder.done, job.merged)):
                job.shards(compute)
                job.merge()
            job.tidy()
            n_parts = job.pictures(source)
            summary = read_json(folder.path / IMAGES / "summary.json")
            folder.finish({**summary, "picture_parts": n_parts})
    return Collection.open(out)


class _Job:
    """What is left to do in a folder.

    Args:
        folder: of the collection.
        plan: what is collected.
        model: the network.
        progress: show a bar.
    """

    def __init__(
        self, folder: WorkFolder, plan: CollectPlan, model: nn.Module, progress: bool
    ) -> None:
        self._folder, self._plan, self._model = folder, plan, model
        self._progress = progress
        self._shards: list[Path] = []
        self._complete = False  # whether a stream came to its end
        self.merged = (IMAGES, *map(layer_part, plan.layers))

    def shards(self, compute: Compute) -> None:
        """Make the shards that are missing."""
        bar = tqdm(total=self._plan.count, unit=" images", disable=not self._progress)
        with bar as self._bar, closing(compute(self._missing())) as results:
            for number, files in results:
                with self._folder.part(_shard_part(number)) as part:
                    for name, content in files.items():
                        (part / name).write_bytes(content)
                self._note(number)
                if self._complete:
                    break
        count = self._plan.n_shards
        last = len(self._shards) if count is None else count
        self._shards = [self._folder.path / _shard_part(number) for number in range(last)]

    def _missing(self) -> Iterator[int]:
        count = self._plan.n_shards
        for number in itertools.count() if count is None else range(count):
            if self._complete:
                return
            if self._folder.done(_shard_part(number)):
                self._note(number)
            else:
                yield number

    def _note(self, number: int) -> None:
        """Note that a shard is there."""
        shard = self._folder.path / _shard_part(number)
        self._shards.append(shard)
        n_images = _n_images(shard)
        self._bar.update(n_images)
        self._complete = self._plan.count is None and n_images < self._plan.settings.shard

    def merge(self) -> None:
        """Make what is missing of the parts that are about all images."""
        folder, plan = self._folder, self._plan
        n_seen = sum(map(_n_images, self._shards))
        if not folder.done(IMAGES):
            with folder.part(IMAGES) as part:
                merge_images(self._shards, part)
        missing = [layer for layer in plan.layers if not folder.done(layer_part(layer))]
        boxes = receptive_fields(
            self._model, missing, plan.size, layout=plan.settings.layout,
            batch_size=plan.settings.batch,
        )  # fmt: skip
        for layer in missing:
            with folder.part(layer_part(layer)) as part:
                merger = LayerMerger(plan, layer, self._shards)
                merger.write(part, folder.path / IMAGES / "images.parquet", boxes[layer], n_seen)

    def tidy(self) -> None:
        """Remove the shards, of which everything is in other parts now."""
        for shard in sorted(self._folder.path.glob(_shard_part("*"))):
            self._folder.remove(shard.name)

    def pictures(self, source: Source) -> int:
        """Make what is missing of the pictures of examples, and return how many parts there are."""
        folder, plan = self._folder, self._plan
        tables = {name: folder.path / layer_part(name) / EXAMPLES for name in plan.layers}
        wanted = Wanted(plan, tables)
        missing = [n for n in range(wanted.n_parts) if not folder.done(picture_part(n))]
        if missing:
            reader = Reader(source, Preparer(self._model, plan.size))
            with Watch(self._model, plan.layers, plan.settings.layout, logits=False) as watch:
                gallery = Gallery(plan, wanted, reader, watch)
                for number in missing:
                    with folder.part(picture_part(number)) as part:
                        gallery.write(number, part)
        return wanted.n_parts


def _shard_part(number: int | str) -> str:
    return f"shard-{number:06d}" if isinstance(number, int) else f"shard-{number}"


def _n_images(shard: Path) -> int:
    """Return how many images a shard looked at, the unreadable ones included."""
    return int(parquet().read_metadata(shard / "images.parquet").num_rows)
