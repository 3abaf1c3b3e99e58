"""Arrays in Arrow files: small ones by name, and long ones that are read by mapping the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lucent.util import optional

if TYPE_CHECKING:
    import pyarrow as pa


def arrow() -> Any:
    """Return the package pyarrow.

    Raises:
        MissingExtra: it is not installed.
    """
    return optional("pyarrow", "whole")


def parquet() -> Any:
    """Return the part of pyarrow that reads and writes Parquet.

    Raises:
        MissingExtra: it is not installed.
    """
    return optional("pyarrow.parquet", "whole")


def packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return arrays of any shapes as an Arrow file with a row for each."""
    pa = arrow()
    plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    columns = {
        "name": pa.array(list(plain), pa.string()),
        "dtype": pa.array([array.dtype.str for array in plain.values()], pa.string()),
        "shape": pa.array([array.shape for array in arrays.values()], pa.list_(pa.int64())),
        "data": pa.array([array.tobytes() for array in plain.values()], pa.large_binary()),
    }
    return as_file(pa.record_batch(columns))


def unpacked(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays that `packed` made a file of, which is mapped and not read."""
    table = mapped(path)
    names, dtypes, shapes = (table.column(n).to_pylist() for n in ("name", "dtype", "shape"))
    data = table.column("data")
    return {
        name: np.frombuffer(data[row].as_buffer(), dtype).reshape(shape)
        for row, (name, dtype, shape) in enumerate(zip(names, dtypes, shapes, strict=True))
    }


def as_file(batch: pa.RecordBatch) -> bytes:
    """Return a record batch as an Arrow file."""
    pa = arrow()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def mapped(path: Path) -> pa.Table:
    """Return the table in an Arrow file, whose numbers stay there until they are looked at."""
    pa = arrow()
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def rows_of(array: np.ndarray, name: str) -> pa.RecordBatch:
    """Return the rows of an array (n, ...) as a column of lists, without a copy."""
    pa = arrow()
    values = pa.Array.from_buffers(
        pa.from_numpy_dtype(array.dtype), array.size, [None, pa.py_buffer(array)]
    )
    width = array[0].size if len(array) else int(np.prod(array.shape[1:]))
    column = pa.FixedSizeListArray.from_arrays(values, width)
    return pa.record_batch({name: column})


def matrix(path: Path) -> np.ndarray:
    """Return the only column of an Arrow file of one batch as an array (n, width), mapped."""
    (column,) = mapped(path).columns
    (chunk,) = column.chunks
    return chunk.values.to_numpy().reshape(len(chunk), -1)


def write_long(path: Path, blocks: Iterable[np.ndarray], name: str) -> None:
    """Write blocks of rows as one batch, so that they can be mapped as one array.

    Args:
        path: the file to write.
        blocks: (n, width) each, of one dtype; only one is in memory at a time.
        name: of the column.
    """
    raw = path.with_suffix(".raw")
    shape, dtype = (0, 0), np.dtype(np.float32)
    with raw.open("wb") as file:
        for block in blocks:
            file.write(np.ascontiguousarray(block).data)
            shape, dtype = (shape[0] + len(block), block.shape[1]), block.dtype
    pa = arrow()
    array = np.memmap(raw, dtype, "r", shape=shape) if shape[0] else np.empty(shape, dtype)
    batch = rows_of(array, name)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    raw.unlink()
