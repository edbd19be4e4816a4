"""New rows in a user's files → batches of tensors, encoded like a prepared dataset.

The rows have the columns of the recipe's raw file, to which its SELECT is applied, or the output columns of
the SELECT. Values are looked up in the vocabularies of the prepared dataset, numbers are transformed and
scaled as for training. A label is not needed, and is ignored.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute
import torch

from wukongctl.config.dataset import DatasetSpec, Numeric
from wukongctl.config.suggestions import did_you_mean
from wukongctl.data.acquire import sources
from wukongctl.data.acquire.sources import FilePaths
from wukongctl.data.batches import Columns
from wukongctl.data.manifest import Manifest, RawRows
from wukongctl.data.pipeline import bad_rows, encode, lookup, new_rows, numbers, reading, spool, vocabulary
from wukongctl.data.pipeline.drift import ValueDrift
from wukongctl.data.pipeline.lookup import LookupTable
from wukongctl.data.pipeline.new_rows import NewRows
from wukongctl.data.pipeline.ranges import RangeDrift
from wukongctl.data.query import lines, rewriting, row_files, sql
from wukongctl.data.query.engine import Engine
from wukongctl.data.query.failures import ConversionFailed
from wukongctl.data.query.row_files import RowSource
from wukongctl.data.schema import Batch
from wukongctl.errors import RunFailed, UsageError

pc: Any = pyarrow.compute
"""Its functions are generated on import, so type checkers do not know them."""
ColumnsOf = Literal["raw", "selected"]
INTEGER, FRACTION = r"^(0|-?[1-9]\d*)$", r"^-?\d+\.\d+$"
HINT = "fix the file: every row gets a score, so bad rows cannot be skipped"
SELECTED = "give a file with the output columns of the SELECT, and `--columns selected`"


class RowReader:
    """Batches of new rows. Raises UsageError for a dataset without its recipe's vocabularies.

    `columns` says which columns files have: `raw`, those of the recipe's raw file, or `selected`, the output
    columns of its SELECT. By default a file is raw if it has what the SELECT needs. Files that the SELECT
    joins are read from `source`, else from where preparation found them.
    """

    def __init__(
        self,
        dataset: Path,
        manifest: Manifest,
        *,
        threads: int | None = None,
        columns: ColumnsOf | None = None,
        source: Path | None = None,
    ) -> None:
        spec = DatasetSpec.from_dict(manifest.recipe)
        self.dataset, self.threads, self.manifest = dataset, threads, manifest
        self.wanted, self.source = columns, source
        # New rows have no label: a constant takes its place. Every row gets a score, so bad rows are errors.
        self.spec = spec.model_copy(update={"label": "0", "probability": None, "on_error": "fail"})
        self.columns = Columns(manifest, with_probability=False)
        self.encoders = numbers.from_manifest(manifest.features)
        self.vocabularies = _vocabularies(dataset, self.spec)
        self.drift = ValueDrift(self.spec, self.vocabularies, manifest.statistics)
        scales = [(feature.mean, feature.std) for feature in manifest.features if feature.of is None]
        self.ranges = RangeDrift.of(self.spec, scales, manifest.statistics, dataset)
        self.outdated = _outdated(manifest, self.spec) if columns is None else None
        self.read: dict[Path, ColumnsOf] = {}
        """The columns that each file so far has."""

    def notes(self) -> list[str]:
        """Remarks on the rows so far."""
        outdated = [self.outdated] if self.outdated is not None else []
        return [*outdated, *self.drift.notes(), *self.ranges.notes()]

    def alarms(self) -> list[str]:
        """Reasons not to score the rows so far without confirmation."""
        return [*self.drift.alarms(), *self.ranges.alarms()]

    def batches(self, path: Path) -> Iterator[Batch]:
        """The rows of a Parquet, CSV, TSV or JSON file, in order.

        Raises UsageError for a file that is missing, has another format or lacks columns, RunFailed for one
        that cannot be read.
        """
        for table in self.tables(path):
            self.drift.count(table)
            self.ranges.count(table)
            packed = np.empty((table.num_rows, self.columns.width), np.int32)
            self.columns.pack(table, packed)
            yield self.columns.batch(torch.from_numpy(packed))

    def tables(self, path: Path, columns: ColumnsOf | None = None) -> Iterator[pa.Table]:
        """The rows of a file encoded as preparation writes them, in order; raises what `batches` does.

        `columns` overrides that of the reader.
        """
        with tempfile.TemporaryDirectory(prefix="wukongctl-") as spill:
            engine = self._engine(path, Path(spill))
            try:
                rows = self._rows(engine, path, columns or self.wanted)
                yield from self._tables(engine, rows, path)
            except RunFailed as failure:
                failure.hint = HINT if lines.SKIP_ROWS in (failure.hint or "") else failure.hint
                raise
            finally:
                engine.close()

    def _engine(self, path: Path, spill: Path) -> Engine:
        raw = self.manifest.raw
        side = [file for files in raw.side.values() for file in files] if raw is not None else []
        source = [str(self.source.absolute())] if self.source is not None else []
        return Engine(
            str(path),
            {"rows": path.absolute()},
            spill=spill,
            search=Path(raw.folder) if raw is not None else spill,
            threads=self.threads,
            allow=(*side, *source, *self.spec.allow_read),
            tries_casts=any(map(sql.TRY_CAST.search, self.spec.queries)),
        )

    def _rows(self, engine: Engine, path: Path, wanted: ColumnsOf | None) -> NewRows:
        """The SQL for the rows of a file, depending on its columns."""
        raw = None if wanted == "selected" else self.manifest.raw
        if raw is None and wanted == "raw":
            obstacle = self.manifest.obstacle or "an older version prepared it"
            raise UsageError(
                f"the SELECT of dataset `{self.spec.name}` cannot run on a new file: {obstacle}",
                hint=SELECTED,
            )
        lacking: list[str] = []
        if raw is not None:
            source = row_files.raw(engine, path, raw)
            lacking = _missing(raw.needed, source.columns)
            if not lacking:
                self.read[path] = "raw"
                return self._transformed(engine, raw, source, path)
            if wanted == "raw":
                raise _lacks(path, "raw columns", lacking, source.columns)
        names = [name for name, _ in self.spec.columns]
        source = row_files.plain(engine, path, names)
        missing = _missing(names, source.columns)
        if missing and lacking and len(lacking) <= len(missing):
            raise _lacks(path, "raw columns", lacking, source.columns)
        if missing:
            raise _lacks(path, "feature columns", missing, source.columns)
        self.read[path] = "selected"
        return new_rows.selected(source)

    def _transformed(self, engine: Engine, raw: RawRows, source: RowSource, path: Path) -> NewRows:
        engine.paths = {**engine.paths, **self._side_files(raw)}
        decimal = [
            self.spec.columns[index][0]
            for index, table in self.vocabularies.items()
            if _all_match(table, FRACTION)
        ]
        try:
            select = rewriting.rewritten(raw.select, raw.source)
            names = [name for name, _ in self.spec.columns]
            return new_rows.transformed(engine, select, raw, source, names, decimal=decimal)
        except rewriting.NotRowByRow as reason:
            raise UsageError(
                f"the SELECT of dataset `{self.spec.name}` cannot run on `{path}`: {reason}",
                hint=SELECTED,
            ) from None

    def _side_files(self, raw: RawRows) -> dict[str, FilePaths]:
        """The files that the SELECT joins to the rows."""
        found: dict[str, FilePaths] = {}
        for name, known in raw.side.items():
            given = sources.by_name(self.source, name) if self.source is not None else None
            paths = tuple(map(Path, known))
            if given is None and not (paths and all(path.is_file() for path in paths)):
                where = f"in `{self.source}`" if self.source is not None else "where `prepare` found it"
                raise UsageError(
                    f"`{name}`, which the SELECT joins to each row, is not {where}",
                    hint="give its folder with `--source`",
                )
            found[name] = given or (paths[0] if len(paths) == 1 else paths)
        return found

    def _tables(self, engine: Engine, rows: NewRows, path: Path) -> Iterator[pa.Table]:
        types = {name.lower(): kind for name, kind in engine.types(rows.query).items()}
        query, types = self._as_trained(rows.query, types)
        schema = encode.schema(self.spec)
        select = sql.select(self.spec, query, types, also=[new_rows.NUMBER] if rows.numbered else [])
        done = 0
        try:
            for batch in reading.compact(engine, select, self.spec):
                if rows.numbered:
                    batch = _without_numbers(batch, done, path)  # noqa: PLW2901
                part = encode.encoded(batch, self._ids(batch), self.spec, self.encoders)
                self._require_finite(engine, rows.query, path, part, done)
                yield pa.table(part.columns, names=schema.names).cast(schema)
                done += part.num_rows
        except ConversionFailed as failure:
            raise bad_rows.first(engine, self.spec, rows.query, types) or failure from None

    def _ids(self, batch: pa.RecordBatch) -> dict[int, np.ndarray]:
        """Feature → ids of the distinct values of a batch."""
        values = {index: spool.text(spool.values(batch.column(f"f{index}"))) for index in self.vocabularies}
        ids = {index: next(table.ids([values[index]])) for index, table in self.vocabularies.items()}
        for index, found in ids.items():
            self.drift.collect(index, values[index], found)
        return ids

    def _require_finite(
        self, engine: Engine, query: str, path: Path, part: pa.RecordBatch, before: int
    ) -> None:
        """RunFailed for an infinite number in `part`, which follows `before` rows of the file."""
        for index, (name, group) in enumerate(self.spec.columns):
            if not isinstance(group, Numeric):
                continue
            row = pc.is_inf(part.column(f"f{index}")).index(True).as_py()
            if row >= 0:
                number = before + row + 1
                line = lines.location(engine, query, number)
                where = f"`{line}`:" if line else f"row {number:,} of `{path}`:"
                raise RunFailed(f"{where} `{name}` is infinite", hint=HINT)

    def _as_trained(self, query: str, types: dict[str, str]) -> tuple[str, dict[str, str]]:
        """`query` and its types, with whole numbers spelled as in the vocabularies.

        pandas turns a column of integers to floats once a value is missing: `7.0` for the `7` of training, or
        the reverse.
        """
        changed, types = {}, dict(types)
        for index, table in self.vocabularies.items():
            name, kind = self.spec.columns[index][0], types[self.spec.columns[index][0].lower()]
            item = kind.removesuffix("[]")
            text = _whole_text("x" if kind != item else sql.identifier(name), item, table)
            if text is None:
                continue
            column = sql.identifier(name)
            changed[column] = text if kind == item else f"list_transform({column}, lambda x: {text})"
            types[name.lower()] = "VARCHAR" if kind == item else "VARCHAR[]"
        if not changed:
            return query, types
        replaced = ", ".join(f"{text} AS {column}" for column, text in changed.items())
        return f"SELECT * REPLACE ({replaced}) FROM (\n{query}\n)", types


def _outdated(manifest: Manifest, spec: DatasetSpec) -> str | None:
    """A remark on a dataset of an older version, which did not record how its raw file was read."""
    if manifest.raw is not None or manifest.obstacle is not None or spec.generator is not None:
        return None
    if all(map(rewriting.is_plain, spec.queries)):
        return None
    return (
        "files are assumed to have the output columns of the SELECT; after "
        f"`wukongctl prepare {manifest.dataset} --force`, `predict` reads raw files too, and runs stay valid"
    )


def _missing(wanted: Iterable[str], there: Iterable[str]) -> list[str]:
    known = {name.lower() for name in there}
    return [name for name in wanted if name.lower() not in known]


def _lacks(path: Path, what: str, missing: Sequence[str], there: Iterable[str]) -> UsageError:
    listed = ", ".join(f"`{name}`" for name in missing)
    hint = did_you_mean(missing[0], there) or f"it has {', '.join(f'`{name}`' for name in there)}"
    return UsageError(f"`{path}` lacks the {what} {listed}", hint=hint)


def _without_numbers(batch: pa.RecordBatch, before: int, path: Path) -> pa.RecordBatch:
    """`batch` without its row numbers; RunFailed if a row is missing or duplicated."""
    numbers = batch.column(new_rows.NUMBER).to_numpy()
    wrong = np.flatnonzero(numbers != np.arange(before + 1, before + 1 + len(numbers)))
    if len(wrong):
        row = int(min(numbers[wrong[0]], before + 1 + wrong[0]))
        is_missing = int(numbers[wrong[0]]) > row
        what = "is dropped by the SELECT" if is_missing else "is returned by the SELECT more than once"
        raise RunFailed(
            f"row {row:,} of `{path}` {what}",
            hint=f"check the keys of its joins, or {SELECTED}",
        )
    return batch.drop_columns([new_rows.NUMBER])


def _whole_text(value: str, kind: str, table: LookupTable) -> str | None:
    """`value` of DuckDB type `kind`, spelled like the whole numbers of `table`; None to leave it as it is."""
    decimal = kind.startswith("DECIMAL")
    if kind in ("FLOAT", "DOUBLE") or decimal:
        if not _all_match(table, INTEGER):
            return None
        number = f"CAST({value} AS DOUBLE)"
        whole = f"isfinite({number}) AND {number} = trunc({number}) AND abs({number}) < 1e18"
        return (
            f"CASE WHEN {whole} THEN CAST(CAST({value} AS BIGINT) AS VARCHAR) "
            f"ELSE NULLIF(CAST({value} AS VARCHAR), 'nan') END"
        )
    if kind == "VARCHAR" and _all_match(table, INTEGER):
        return f"regexp_replace({value}, '^(-?[0-9]+)\\.0+$', '\\1')"
    if kind.endswith(("INT", "INTEGER")):
        return f"CAST(CAST({value} AS DOUBLE) AS VARCHAR)" if _all_match(table, FRACTION) else None
    return None


def _all_match(table: LookupTable, pattern: str) -> bool:
    """Whether all values of a vocabulary match `pattern`; the most frequent ones are tried first."""
    values = table.values.filter(pc.fill_null(pc.not_equal(table.values, ""), False))
    return len(values) > 0 and all(
        pc.all(pc.match_substring_regex(some, pattern)).as_py() for some in (values[:1000], values)
    )


def _vocabularies(dataset: Path, spec: DatasetSpec) -> dict[int, LookupTable]:
    """Position of a feature → its vocabulary; features that share a table share a vocabulary."""
    tables = vocabulary.tables(spec)
    owners: dict[int, LookupTable] = {}
    for index, (name, group) in enumerate(spec.columns):
        if not isinstance(group, Numeric) and tables[index] not in owners:
            owners[tables[index]] = lookup.read(dataset, name, oov_last=spec.compat == "bars")
    return {index: owners[table] for index, table in tables.items() if table in owners}
