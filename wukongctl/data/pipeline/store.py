"""Where the compact rows of a part are until they are encoded: in memory or, if too many, in a `spool`.

Both give the same batches, whose text is codes. In a spool on disk, codes stand for the distinct values of
their batch, and each batch is counted and looked up by itself. In memory they stand for positions among the
distinct values of the part, so that those are hashed only once more.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from wukongctl.data.pipeline import spool

MAX_BYTES = (1 << 31) - 2
"""Of text that fits in one Arrow array."""


class Rows(Protocol):
    """The rows of a part. Features with codes are columns `f0`, `f1` and so on, by position."""

    def read(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Columns of the batches, in order."""

    def values(self, feature: int) -> Iterator[pa.Array]:
        """The values to look up for `ids`, in one or several arrays."""

    def ids(self, feature: int, found: Iterator[np.ndarray], /) -> Iterator[np.ndarray]:
        """For each batch, the id of each of its codes, from those of `values`."""

    def discard(self) -> None:
        """Free what the rows take."""


class SpooledRows:
    """Rows on disk, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """As of `Rows`."""
        return spool.read(self._folder, names)

    def values(self, feature: int) -> Iterator[pa.Array]:
        """The distinct values of each batch."""
        return (spool.text(spool.values(batch.column(0))) for batch in self.read([f"f{feature}"]))

    def ids(self, _feature: int, found: Iterator[np.ndarray], /) -> Iterator[np.ndarray]:
        """As of `Rows`."""
        return found

    def discard(self) -> None:
        """As of `Rows`."""
        spool.discard(self._folder)


class HeldRows:
    """Rows in memory."""

    def __init__(self, batches: Sequence[pa.RecordBatch]) -> None:
        names = batches[0].schema.names if batches else []
        self._columns = {name: [batch.column(name) for batch in batches] for name in names}
        self._values: dict[str, pa.Array] = {}
        self.bytes = sum(batch.nbytes for batch in batches)

    def unify(self, feature: int) -> None:
        """Replace the values behind the codes of each batch by their positions among those of all batches.

        Once per feature with codes, before its values are asked for.
        """
        name = f"f{feature}"
        columns = self._columns.get(name, [])
        each = [spool.values(column) for column in columns]
        if any(values.type != spool.VIEW for values in each):
            each = [spool.text(values) for values in each]
        coded = pa.chunked_array(each, each[0].type if each else pa.string()).dictionary_encode("encode")
        found = iter(coded.chunks)  # without those of no values
        empty = pa.array([], pa.int32())
        places = [next(found).indices if len(values) else empty for values in each]
        self._values[name] = (
            spool.text(coded.chunk(0).dictionary) if coded.num_chunks else pa.nulls(0, pa.string())
        )
        pairs = zip(columns, places, strict=True)
        self._columns[name] = [spool.recoded(column, place) for column, place in pairs]

    def read(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """As of `Rows`, with positions behind the codes."""
        for columns in zip(*(self._columns.get(name, []) for name in names), strict=True):
            yield pa.RecordBatch.from_arrays(list(columns), list(names))

    def values(self, feature: int) -> Iterator[pa.Array]:
        """The distinct values of all batches, one of which is NULL if values are missing."""
        yield self._values[f"f{feature}"]

    def ids(self, feature: int, found: Iterator[np.ndarray], /) -> Iterator[np.ndarray]:
        """As of `Rows`."""
        every = next(found)
        return (every[spool.values(column).to_numpy()] for column in self._columns.get(f"f{feature}", []))

    def discard(self) -> None:
        """As of `Rows`."""
        self._columns, self._values, self.bytes = {}, {}, 0


class RowWriter:
    """Keeps batches in memory while they take at most `free` bytes, and then moves all to `folder`.

    Also once a column takes more than `MAX_BYTES`, as `unify` puts the values of a feature in one array.
    """

    def __init__(self, folder: Path, free: float) -> None:
        self._folder, self._free = folder, free
        self._held: list[pa.RecordBatch] | None = []
        self._bytes: Counter[str] = Counter()
        """By column."""

    def append(self, batch: pa.RecordBatch) -> None:
        """Add one batch of at most `spool.MAX_ROWS` rows."""
        if self._held is not None:
            self._held.append(_owned(batch))
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                self._bytes[name] += column.nbytes
            if self._bytes.total() <= self._free and max(self._bytes.values()) <= MAX_BYTES:
                return
        for kept in self._held if self._held is not None else [batch]:
            spool.append(self._folder, kept)
        self._held = None

    def close(self) -> HeldRows | None:
        """The rows, if they are still in memory; they are the caller's alone to free."""
        held, self._held = self._held, None
        return HeldRows(held) if held is not None else None


def _owned(batch: pa.RecordBatch) -> pa.RecordBatch:
    """`batch` with copies of the numbers, which DuckDB made: each keeps all that it made in memory."""
    copies = [
        spool.mapped(column, column.fill_null(0).to_numpy().copy())
        if pa.types.is_primitive(column.type)
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(copies, batch.schema.names)
