"""Rows on disk in a compact form during a preparation, one file per column.

Text, also in lists, is stored as codes into the distinct values of its batch, so that later stages process a
value once per batch, not once per row. As each batch has its own distinct values, a file is a sequence of
Arrow streams of one batch each.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

pc: Any = pyarrow.compute
"""Its functions are generated on import, where type checkers cannot see them."""
MAX_ROWS = 1 << 16
"""Rows of a batch, such that codes take two bytes."""


def append(folder: Path, batch: pa.RecordBatch) -> None:
    """Add one batch of at most `MAX_ROWS` rows to the files in `folder`."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        single = pa.RecordBatch.from_arrays([column], [name])
        # Reopened each time: there may be more columns than files that a process can hold open.
        with (
            pa.OSFile(str(_file(folder, name)), "ab") as file,
            pa.ipc.new_stream(file, single.schema) as stream,
        ):
            stream.write_batch(single)


def read(folder: Path, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Columns of the batches in `folder`, in the order they were added."""
    for columns in zip(*(_column(_file(folder, name)) for name in names), strict=True):
        yield pa.RecordBatch.from_arrays(list(columns), list(names))


def _column(path: Path) -> Iterator[pa.Array]:
    start, end = 0, path.stat().st_size if path.is_file() else 0
    while start < end:
        # Not memory-mapped: mapped pages would count as memory of this process until it ends.
        with pa.OSFile(str(path)) as file:
            file.seek(start)
            with pa.ipc.open_stream(file) as stream:
                (batch,) = stream
            start = file.tell()
        yield batch.column(0)


def discard(folder: Path) -> None:
    """Delete the rows in `folder`, but not its other files."""
    for path in folder.glob("*.arrow"):
        path.unlink()


def coded(column: pa.Array, *, trimmed: bool = False) -> pa.Array:
    """A column of text or lists of text as codes; NULL for blank text.

    With `trimmed`, items of lists lose leading and trailing spaces.
    """
    if isinstance(column, pa.ListArray):
        items = column.flatten().dictionary_encode()
        if trimmed:  # two codes may then have the same value
            texts = pc.utf8_trim(items.dictionary, " ")
            items = pa.DictionaryArray.from_arrays(items.indices, texts, safe=False)
        return _with_values(column, items)
    codes = column.dictionary_encode()
    narrow = codes.indices.cast(pa.uint16(), safe=False)
    texts = codes.dictionary
    if pc.any(pc.ascii_is_space(texts)).as_py():  # rare, and cheaper to test than to trim
        texts = pc.utf8_trim(texts, " ")
    blank = pc.equal(texts, "")
    if pc.any(blank).as_py():
        narrow = pc.if_else(blank.take(narrow), None, narrow)
    return pa.DictionaryArray.from_arrays(narrow, codes.dictionary, safe=False)


def distinct(column: pa.Array) -> pa.Array:
    """The values behind the codes of a column."""
    return (column.values if isinstance(column, pa.ListArray) else column).dictionary


def _with_values(lists: pa.ListArray, values: pa.Array) -> pa.ListArray:
    """Lists with the lengths of `lists` and as many `values`."""
    offsets = lists.offsets.to_numpy()
    # `flatten` starts at the first list even where the column is a slice.
    return pa.ListArray.from_arrays(pa.array(offsets - offsets[0]), values)


def mapped(column: pa.Array, values: np.ndarray) -> pa.Array:
    """`values` where `column` is not NULL."""
    kind = pa.from_numpy_dtype(values.dtype)
    if not column.null_count or column.offset:
        return pa.array(values, kind, mask=column.is_null().to_numpy(zero_copy_only=False))
    buffers = [column.buffers()[0], pa.py_buffer(values)]
    return pa.Array.from_buffers(kind, len(values), buffers, column.null_count)


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.arrow"
