"""From the files of shards to those of a collection, with one shard in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lucent.collect._arrays import arrow, packed, parquet, unpacked, write_long
from lucent.collect._draws import spread_of
from lucent.collect._extremes import Extremes
from lucent.collect._sums import Sums, from_arrays, merging, nodes_from_arrays, to_arrays, within
from lucent.collect.plans import CollectPlan
from lucent.collect.shards import layer_file
from lucent.collect.statistics import Products
from lucent.errors import InputError
from lucent.folders import write_json

if TYPE_CHECKING:
    import pyarrow as pa
    from typing_extensions import Self

#: The kinds of examples of a unit, from the strongest to the weakest.
KINDS = ("top", "high", "middle", "random", "low")
#: Which share of images is weaker than those in the middle of these kinds.
_SHARES = {"high": 0.99, "middle": 0.5}
#: Rows of tables that are read and written at a time.
_ROWS = 65_536


def merge_images(shards: Sequence[Path], part: Path) -> None:
    """Write the tables of images and what is known of all of them.

    Args:
        shards: folders, in their order.
        part: the folder to write to.

    Raises:
        InputError: no image can be used.
    """
    pa = arrow()
    used = pa.schema([("index", pa.int64()), ("key", pa.string()), ("label", pa.int32())])
    unread = pa.schema([("index", pa.int64()), ("key", pa.string()), ("reason", pa.string())])
    colors, composed, counts = merging(), 0, [0, 0]
    with (
        _Rows(part / "images.parquet", used) as images,
        _Rows(part / "unreadable.parquet", unread) as unreadable,
    ):
        for shard in shards:
            table = parquet().read_table(shard / "images.parquet")
            bad = np.array([bool(reason) for reason in table["reason"].to_pylist()], bool)
            images.add(table.filter(~bad).select(used.names))
            unreadable.add(table.filter(bad).select(unread.names))
            composed += sum(table["composed"].to_pylist())
            counts = [counts[0] + int((~bad).sum()), counts[1] + int(bad.sum())]
            colors.extend(nodes_from_arrays(Products, unpacked(shard / "colors.arrow")))
    if not counts[0]:
        raise InputError(f"None of the {counts[1]} images could be used: {_first_reason(part)}")
    (part / "colors.arrow").write_bytes(packed(to_arrays(colors.total())))
    summary = {"images": counts[0], "unreadable": counts[1], "composed": composed}
    write_json(part / "summary.json", summary)


class _Rows:
    """Writes small tables into a Parquet file, many in one group of rows.

    Args:
        file: the file to write.
        schema: of the tables.
    """

    def __init__(self, file: Path, schema: pa.Schema) -> None:
        self._writer = parquet().ParquetWriter(file, schema)
        self._waiting: list[pa.Table] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._writer:
            if kind is None:
                self._write()

    def add(self, table: pa.Table) -> None:
        """Add a table."""
        self._waiting.append(table)
        if sum(map(len, self._waiting)) >= _ROWS:
            self._write()

    def _write(self) -> None:
        if self._waiting:
            self._writer.write_table(arrow().concat_tables(self._waiting))
            self._waiting = []


def _first_reason(part: Path) -> str:
    table = parquet().read_table(part / "unreadable.parquet").slice(0, 1)
    return f"{table['key'][0]}: {table['reason'][0]}" if len(table) else "there was none."


class LayerMerger:
    """Merges what shards have of one layer.

    Args:
        plan: of the collection.
        layer: its name.
        shards: folders, in their order.
    """

    def __init__(self, plan: CollectPlan, layer: str, shards: Sequence[Path]) -> None:
        self._plan, self._spatial = plan, plan.shape(layer)[1:]
        self._attributed = layer in plan.attributed
        self._shards, self._file = shards, layer_file(layer)

    def write(self, part: Path, images: Path, boxes: Tensor, n_seen: int) -> None:
        """Write the files of the layer.

        Args:
            part: the folder to write to.
            images: the table that `merge_images` wrote.
            boxes: pixels that the positions see, (*spatial, 4).
            n_seen: images that were looked at, the unreadable ones included.
        """
        settings = self._plan.settings
        drawn = spread_of(settings.seed, settings.spread, n_seen)
        sums, kinds = self._folded(drawn)
        (part / "statistics.arrow").write_bytes(packed(to_arrays(sums)))
        table = self._examples(kinds, images, boxes.reshape(-1, 4).numpy())
        parquet().write_table(table, part / "examples.parquet")
        self._write_samples(part / "samples.parquet")
        names = ("vectors", "attributions") if self._attributed else ("vectors",)
        for name in names:
            blocks = (a[name].reshape(-1, a[name].shape[-1]) for a in self._arrays())
            write_long(part / f"{name}.arrow", blocks, name)

    def _arrays(self) -> Iterator[dict[str, np.ndarray]]:
        for shard in self._shards:
            arrays = unpacked(shard / self._file)
            if "images" in arrays:  # else none of its images could be used
                yield arrays

    def _folded(self, drawn: np.ndarray) -> tuple[Sums, dict[str, Extremes]]:
        """Return the statistics of all images, and the examples of each kind."""
        k, tree = self._plan.settings.examples, merging()
        ends: dict[str, Extremes] = {}
        spread: list[Extremes] = []
        for arrays in self._arrays():
            tree.extend(nodes_from_arrays(Sums, arrays))
            for name in ("top", "low"):
                own = replace(from_arrays(Extremes, within(arrays, name)), largest=name == "top")
                ends[name] = ends[name].merged(own, k) if name in ends else own
            part = from_arrays(Extremes, within(arrays, "spread"))
            here = torch.isin(part.images, torch.from_numpy(drawn.copy()))
            spread.append(part.rows(here))
        values, images, positions = (
            torch.cat([getattr(part, name) for part in spread])
            for name in ("values", "images", "positions")
        )
        whole = Extremes(values, images, positions)
        return tree.total(), {**ends, **_within_spread(whole, drawn, k)}

    def _examples(self, kinds: dict[str, Extremes], images: Path, boxes: np.ndarray) -> pa.Table:
        """Return a row for each example: by unit, kind and rank."""
        pa = arrow()
        every = [kinds[kind] for kind in KINDS]
        lengths = [found.values.shape[1] for found in every]
        n_units, per_unit = len(every[0].values), sum(lengths)
        values, numbers, positions = (
            torch.cat([getattr(found, name) for found in every], 1).flatten().numpy()
            for name in ("values", "images", "positions")
        )
        keys, labels = _known(images, numbers)
        row, column = rows_and_columns(positions, self._spatial)
        sides = zip(("left", "top", "right", "bottom"), boxes[positions].T, strict=True)
        kind = [name for name, n in zip(KINDS, lengths, strict=True) for _ in range(n)]
        rank = [place for n in lengths for place in range(n)]
        return pa.table(
            {
                "unit": pa.array(np.repeat(np.arange(n_units, dtype=np.int32), per_unit)),
                "kind": pa.array(kind * n_units, pa.string()),
                "rank": pa.array(rank * n_units, pa.int32()),
                "image": pa.array(numbers),
                "key": pa.array(keys, pa.string()),
                "label": pa.array(labels, pa.int32()),
                "value": pa.array(values),
                "row": pa.array(row, pa.int32()),
                "column": pa.array(column, pa.int32()),
                **{name: pa.array(side, pa.int32()) for name, side in sides},
            }
        )

    def _write_samples(self, file: Path) -> None:
        """Write where the vectors were taken, in their order."""
        pa = arrow()
        kinds = [("image", pa.int64()), ("row", pa.int32()), ("column", pa.int32())]
        schema = pa.schema([*kinds, ("label", pa.int32())])
        with _Rows(file, schema) as rows:
            for shard, arrays in zip(self._used_shards(), self._arrays(), strict=True):
                rows.add(self._samples(shard, arrays).cast(schema))

    def _used_shards(self) -> list[Path]:
        return [s for s in self._shards if "images" in unpacked(s / self._file)]

    def _samples(self, shard: Path, arrays: Mapping[str, np.ndarray]) -> pa.Table:
        pa = arrow()
        table = parquet().read_table(shard / "images.parquet", columns=["index", "label"])
        label = dict(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))
        numbers = np.repeat(arrays["images"], arrays["positions"].shape[1])
        row, column = rows_and_columns(arrays["positions"].flatten(), self._spatial)
        labels = [label[number] for number in numbers.tolist()]
        return pa.table(
            {"image": numbers, "row": row, "column": column, "label": pa.array(labels, pa.int32())}
        )


def _within_spread(whole: Extremes, drawn: np.ndarray, k: int) -> dict[str, Extremes]:
    """Return the examples that are found among the images drawn, with k of each kind.

    Args:
        whole: of the images drawn, in their order in the data: (m, C), images (m,).
        drawn: the images in the order in which they were drawn.
        k: examples of each kind.
    """
    order = whole.values.argsort(dim=0, stable=True)
    m = len(order)
    n = min(k, m)
    found = {}
    for kind, share in _SHARES.items():
        first = min(max(round(share * (m - 1)) - n // 2, 0), m - n)
        found[kind] = whole.picked(order[first : first + n].flip(0))
    readable = drawn[np.isin(drawn, whole.images.numpy())]
    rows = torch.from_numpy(np.searchsorted(whole.images.numpy(), readable[:n]))
    found["random"] = whole.picked(rows[:, None].expand(-1, whole.values.shape[1]))
    return found


def _known(file: Path, numbers: np.ndarray) -> tuple[list[str], list[int | None]]:
    """Return the keys and the labels of images."""
    wanted, back = np.unique(numbers, return_inverse=True)
    keys: list[str] = []
    labels: list[int | None] = []
    for batch in parquet().ParquetFile(file).iter_batches(_ROWS):
        own = batch.filter(arrow().array(np.isin(batch["index"].to_numpy(), wanted)))
        keys += own["key"].to_pylist()
        labels += own["label"].to_pylist()
    return [keys[n] for n in back], [labels[n] for n in back]


def rows_and_columns(flat: np.ndarray, spatial: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns of flat positions; a list of positions is one row."""
    n_columns = spatial[-1] if spatial else 1
    return flat // n_columns, flat % n_columns
