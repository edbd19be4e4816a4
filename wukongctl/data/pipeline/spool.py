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
VIEW = pa.binary(16)
"""An element of `string_view` that contains its text, of at most 12 bytes, and is hashed twice as fast."""


def append(folder: Path, batch: pa.RecordBatch) -> None:
    """Add one batch of at most `MAX_ROWS` rows to the files in `folder`."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        single = pa.RecordBatch.from_arrays([_as_text(column)], [name])
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


def _as_text(column: pa.Array) -> pa.Array:
    if not isinstance(column, pa.DictionaryArray | pa.ListArray):
        return column
    return recoded(column, text(values(column)))


def discard(folder: Path) -> None:
    """Delete the rows in `folder`, but not its other files."""
    for path in folder.glob("*.arrow"):
        path.unlink()


def coded(column: pa.Array, *, trimmed: bool = False) -> pa.Array:
    """A column of text, integers or lists of text as codes (see `values`).

    Missing values have codes, too, of NULL. With `trimmed`, items of lists lose leading and trailing spaces,
    and two codes may then have the same value.
    """
    if isinstance(column, pa.ListArray):
        items = _encoded(column.flatten())
        if trimmed:
            items = recoded(items, pc.utf8_trim(text(items.dictionary), " "))
        return _with_values(column, items)
    codes = _encoded(column)
    narrow = codes.indices.cast(pa.uint16(), safe=False)
    return pa.DictionaryArray.from_arrays(narrow, codes.dictionary, safe=False)


def values(column: pa.Array) -> pa.Array:
    """What the codes of a column stand for: texts or `VIEW`s."""
    return (column.values if isinstance(column, pa.ListArray) else column).dictionary


def text(found: pa.Array) -> pa.Array:
    """Views as text, with NULL for blank ones; text as it is."""
    if found.type != VIEW:
        return found
    views = pa.Array.from_buffers(pa.string_view(), len(found), found.buffers(), offset=found.offset)
    return _filled(views.cast(pa.string()))


def recoded(column: pa.Array, others: pa.Array) -> pa.Array:
    """`column` with other values behind its codes."""
    items = column.values if isinstance(column, pa.ListArray) else column
    changed = pa.DictionaryArray.from_arrays(items.indices, others, safe=False)
    return _with_values(column, changed) if isinstance(column, pa.ListArray) else changed


def _encoded(texts: pa.Array) -> pa.DictionaryArray:
    """Texts as codes of `VIEW`s, if all are short enough, or of texts, as are integers."""
    if texts.type == pa.string_view() and not any(buffer.size for buffer in texts.buffers()[2:]):
        short = pa.Array.from_buffers(VIEW, len(texts), texts.buffers()[:2], offset=texts.offset)
        return short.dictionary_encode(null_encoding="encode")
    if pa.types.is_integer(texts.type):
        codes = texts.dictionary_encode(null_encoding="encode")
        return recoded(codes, codes.dictionary.cast(pa.string()))
    codes = texts.cast(pa.string()).dictionary_encode(null_encoding="encode")
    return recoded(codes, _filled(codes.dictionary))


def _filled(texts: pa.Array) -> pa.Array:
    """`texts` with NULL for blank ones."""
    blank = pc.equal(texts, "")
    if pc.any(pc.ascii_is_space(texts)).as_py():  # rare, and cheaper to test than to trim
        blank = pc.equal(pc.utf8_trim(texts, " "), "")
    return pc.if_else(blank, None, texts) if pc.any(blank).as_py() else texts


def _with_values(lists: pa.ListArray, values: pa.Array) -> pa.ListArray:
    """Lists with the lengths of `lists` and as many `values`."""
    offsets = lists.offsets.to_numpy()
    # `flatten` starts at the first list even where the column is a slice.
    return pa.ListArray.from_arrays(pa.array(offsets - offsets[0]), values)


def mapped(column: pa.Array, values: np.ndarray) -> pa.Array:
    """`values` where `column` is not NULL."""
    kind = pa.from_numpy_dtype(values.dtype)
    if not column.null_count:
        return pa.array(values, kind)
    if column.offset:
        return pa.array(values, kind, mask=column.is_null().to_numpy(zero_copy_only=False))
    # A copy, as any buffer of a batch keeps the whole batch in memory.
    buffers = [pa.py_buffer(column.buffers()[0].to_pybytes()), pa.py_buffer(values)]
    return pa.Array.from_buffers(kind, len(values), buffers, column.null_count)


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.arrow"
