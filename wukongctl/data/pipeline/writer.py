"""Encoded rows → Parquet files of one split, with the counts and digests for the manifest.

Rows are regrouped into row groups of a fixed size before anything is computed, so that results do not depend
on the batches.
"""

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wukongctl.config.dataset import RESERVED_COLUMNS
from wukongctl.config.spec import Spec
from wukongctl.data.manifest import DataFile, Split
from wukongctl.data.tallies import Tallies, Tally
from wukongctl.errors import RunFailed

ROW_GROUP = 122_880
GROUPS_PER_FILE = 128
ID_ENCODING = "BYTE_STREAM_SPLIT"
"""Of ids outside lists: a dictionary takes a third longer to write, and a tenth more space after zstd."""


class Written(Spec):
    """The files, digests and counts of one split, of one part or of all."""

    split: Split
    digests: tuple[tuple[str, str, str], ...]
    """(column, type, SHA-256 of its values in row order), independent of files and row groups."""
    tallies: Tallies


class InfiniteValue(RunFailed):
    """A number that float32 cannot hold; the pipeline looks for its line."""


class SplitWriter:
    """Writes `<folder>/<split>/part-00000.parquet` and so on.

    `special` has the ids of missing and unknown values by column, where they are not 0 and 1.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        schema: pa.Schema,
        *,
        special: Mapping[str, tuple[int, int]] | None = None,
        row_group: int = ROW_GROUP,
        per_file: int = GROUPS_PER_FILE,
    ) -> None:
        self.folder, self.split, self.schema = folder, split, schema
        self.row_group, self.per_file = row_group, per_file
        self.rows = self.positives = 0
        self._pending: list[pa.Table] = []
        self._pending_rows = self._groups = 0
        self._entropy = 0.0
        self.tallies: Tallies = {
            name: Tally(missing_id=missing, unknown_id=unknown)
            for name in schema.names
            if name not in RESERVED_COLUMNS
            for missing, unknown in [(special or {}).get(name, (0, 1))]
        }
        self._hashers = {name: hashlib.sha256() for name in schema.names}
        self._lengths = {field.name: hashlib.sha256() for field in schema if pa.types.is_list(field.type)}
        self._files: list[DataFile] = []
        self._parquet: pq.ParquetWriter | None = None
        self._pool = ThreadPoolExecutor(1, "parquet")
        self._writing: Future[None] | None = None

    def write(self, table: pa.Table) -> None:
        """Append rows; `table` has the writer's schema."""
        self._pending.append(table)
        self._pending_rows += table.num_rows
        if self._pending_rows < self.row_group:
            return
        pending = pa.concat_tables(self._pending)
        whole = pending.num_rows - pending.num_rows % self.row_group
        for start in range(0, whole, self.row_group):
            self._write_group(pending.slice(start, self.row_group))
        self._pending, self._pending_rows = [pending.slice(whole)], pending.num_rows - whole

    def close(self) -> Written:
        """Write pending rows and close the last file."""
        if self._pending_rows:
            self._write_group(pa.concat_tables(self._pending))
        self._close_file()
        self._pool.shutdown()
        bayes = self._entropy / self.rows if "probability" in self._hashers and self.rows else None
        split = Split(rows=self.rows, positives=self.positives, bayes_logloss=bayes, files=tuple(self._files))
        digests = tuple(
            (f.name, str(f.type), self._hashers[f.name].hexdigest() + self._list_digest(f.name))
            for f in self.schema
        )
        return Written(split=split, digests=digests, tallies=self.tallies)

    def _list_digest(self, name: str) -> str:
        return self._lengths[name].hexdigest() if name in self._lengths else ""

    def _write_group(self, table: pa.Table) -> None:
        group = self._filled(table.combine_chunks())
        for name in self.schema.names:
            self._digest(name, group[name].chunk(0))
        self.rows += group.num_rows
        self.positives += int(group["label"].to_numpy().sum())
        if "probability" in self._hashers:
            self._entropy += entropy(group["probability"].to_numpy())
        self._wait()
        self._writing = self._pool.submit(self._open_file().write_table, group, self.row_group)
        self._groups += 1
        if self._groups % self.per_file == 0:
            self._close_file()

    def _filled(self, group: pa.Table) -> pa.Table:
        """Count the values of each feature, then replace missing numbers by 0 unless a column keeps NULL."""
        for index, name in enumerate(self.schema.names):
            column = group[name].chunk(0)
            if name in self.tallies:
                self.tallies[name].add(column)
            if column.null_count and not self.schema.field(index).metadata:
                group = group.set_column(index, self.schema.field(index), column.fill_null(0))
        return group

    def _digest(self, name: str, column: pa.Array) -> None:
        if isinstance(column, pa.ListArray):
            self._lengths[name].update(column.value_lengths().to_numpy().astype("<i4").data)
            column = column.flatten()
        values = column.to_numpy(zero_copy_only=False)  # NULL is NaN, which does not occur otherwise
        if values.dtype == np.float32 and np.isinf(values).any():
            row = self.rows + int(np.flatnonzero(np.isinf(values))[0]) + 1
            raise InfiniteValue(f"`{name}` is infinite in row {row:,} of split `{self.split}`")
        self._hashers[name].update(values.astype(values.dtype.newbyteorder("<"), copy=False).data)

    def _open_file(self) -> pq.ParquetWriter:
        if self._parquet is None:
            (self.folder / self.split).mkdir(parents=True, exist_ok=True)
            self._path = self.folder / self.split / f"part-{len(self._files):05d}.parquet"
            ids = [field.name for field in self.schema if field.type == pa.int32()]
            lists = [f"{name}.list.element" for name in self._lengths]
            self._parquet = pq.ParquetWriter(
                self._path,
                self.schema,
                compression="zstd",
                use_dictionary=[*lists, *(name for name in self.schema.names if name not in ids)],
                column_encoding=dict.fromkeys(ids, ID_ENCODING),
                write_page_checksum=True,
            )
        return self._parquet

    def _wait(self) -> None:
        """Wait for the previous row group, written while this one was counted and digested."""
        if self._writing is not None:
            self._writing.result()

    def _close_file(self) -> None:
        self._wait()
        if self._parquet is None:
            return
        self._parquet.close()
        self._parquet = None
        written = sum(file.rows for file in self._files)
        path = self._path.relative_to(self.folder).as_posix()
        self._files.append(DataFile(path=path, rows=self.rows - written, bytes=self._path.stat().st_size))


def joined(pieces: Sequence[Written]) -> Split:
    """One split from its pieces, with its files renumbered."""
    splits = [piece.split for piece in pieces]
    rows = sum(split.rows for split in splits)
    losses = [split.bayes_logloss * split.rows for split in splits if split.bayes_logloss is not None]
    files = [file for split in splits for file in split.files]
    return Split(
        rows=rows,
        positives=sum(split.positives for split in splits),
        bayes_logloss=sum(losses) / rows if losses else None,
        files=tuple(
            file.model_copy(update={"path": f"{Path(file.path).parent.as_posix()}/part-{number:05d}.parquet"})
            for number, file in enumerate(files)
        ),
    )


def entropy(probability: np.ndarray) -> float:
    """Sum of the LogLoss, in nats, of the true probability of each click."""
    p = np.clip(probability.astype(np.float64), 1e-12, 1 - 1e-12)
    return float(-(p * np.log(p) + (1 - p) * np.log1p(-p)).sum())
