"""Data sets of Hugging Face, with random access and streaming."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from lucent.collect.sources import Item, StreamSource, read_item
from lucent.errors import InputError
from lucent.util import optional


def is_hugging_face(data: Any) -> bool:
    """Whether a thing is a data set of the package `datasets`."""
    return any(
        kind.__module__.partition(".")[0] == "datasets"
        and kind.__name__ in ("Dataset", "IterableDataset", "DatasetDict", "IterableDatasetDict")
        for kind in type(data).__mro__
    )


def rows_of(data: Any) -> RowSource | StreamSource:
    """Return a data set of Hugging Face as a source.

    Args:
        data: `datasets.Dataset` or `datasets.IterableDataset`.

    Raises:
        InputError: it is a dict of several, has no column of images, or a transform of its own.
    """
    if isinstance(data, dict):
        raise InputError(
            f"These are several data sets: pick one, such as data[{next(iter(data), 'train')!r}]."
        )
    if (getattr(data, "format", None) or {}).get("type") == "custom":
        raise InputError(
            "The data set has a transform, but its pictures are taken as they are stored: give "
            "data.with_format(None) without it, or a function that yields data[0], data[1] ... "
            "with it."
        )
    columns = _Columns(data)
    if hasattr(data, "__len__"):
        return RowSource(columns)
    return StreamSource(columns.stream, type(data).__name__, columns.classes)


class _Columns:
    """Which columns are image and label; pictures stay undecoded, so that a damaged one is one."""

    def __init__(self, data: Any) -> None:
        datasets = optional("datasets", "data")
        features = data.features or {}
        images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
        if not images:
            raise InputError(
                f"The data set has no column of images: its columns are {sorted(features)}. Make "
                "one with data.cast_column(NAME, datasets.Image())."
            )
        labels = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
        self.image, self.label = images[0], next(iter(labels), "label")
        self.classes = tuple(features[labels[0]].names) if labels else ()
        self.data = data.cast_column(self.image, datasets.Image(decode=False))

    def pair(self, row: dict[str, Any]) -> tuple[Any, Any]:
        """Return the picture, as bytes or a path, and the label of a row.

        Raises:
            ValueError: there is no picture in it.
        """
        stored = row[self.image] or {}
        if stored.get("bytes") is None and stored.get("path") is None:
            raise ValueError("there is no picture in the row")
        picture = stored["path"] if stored.get("bytes") is None else stored["bytes"]
        return picture, row.get(self.label)

    def numbered(self, index: int) -> tuple[Any, Any]:
        """Return the same of the row with a number."""
        return self.pair(self.data[index])

    def stream(self) -> Iterator[Any]:
        """Yield the rows of a streaming data set; what is no picture has bytes that are none."""
        for row in self.data:
            stored = row[self.image] or {}
            empty = stored.get("bytes") is None and stored.get("path") is None
            yield (b"", row.get(self.label)) if empty else self.pair(row)


class RowSource:
    """The rows of a data set with random access.

    Args:
        columns: of the data set.

    Raises:
        InputError: it is empty.
    """

    def __init__(self, columns: _Columns) -> None:
        self._columns, self.classes = columns, columns.classes
        self.count = len(columns.data)
        if not self.count:
            raise InputError("The data set is empty: there is no row in it.")

    @property
    def identity(self) -> dict[str, Any]:
        """What tells the data set from others."""
        columns = sorted(self._columns.data.features)
        return {"kind": "rows", "images": self.count, "columns": columns}

    def items(self, start: int, stop: int) -> Iterator[Item]:
        """Yield the rows from `start` to before `stop`."""
        for index in range(start, min(stop, self.count)):
            yield read_item(index, str(index), partial(self._columns.numbered, index))
