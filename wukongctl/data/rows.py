"""New rows, in files of a user's own → batches of tensors, by the rules of a prepared dataset.

The rows have the columns of the recipe's raw file, and its SELECT makes features of them as it did for
training; or they have the columns that the SELECT gives. Values become ids through the vocabularies of the
prepared dataset, numbers are transformed and scaled as they were for training; a value that training never
saw is out of vocabulary. A label is not needed, and not looked at.
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
from wukongctl.data.batches import Columns
from wukongctl.data.manifest import Manifest, RawRows
from wukongctl.data.pipeline import diagnosis, encode, lookup, new_rows, numbers, reading, spool, vocabulary
from wukongctl.data.pipeline.lookup import LookupTable
from wukongctl.data.pipeline.new_rows import NewRows
from wukongctl.data.pipeline.ranges import Ranges
from wukongctl.data.pipeline.strangers import Strangers
from wukongctl.data.query import lines, rewriting, row_files, sql
from wukongctl.data.query.engine import DISABLED, ConversionFailed, Engine
from wukongctl.data.query.row_files import RowSource
from wukongctl.data.schema import Batch
from wukongctl.errors import RunFailed, UsageError

pc: Any = pyarrow.compute
"""Its functions are generated on import, where type checkers cannot see them."""
ColumnsOf = Literal["raw", "selected"]
INTEGER, FRACTION = r"^(0|-?[1-9]\d*)$", r"^-?\d+\.\d+$"
HINT = "fix the file; every row gets a score, so none can be left out"


class RowReader:
    """Batches of new rows. Raises UsageError for a dataset without its recipe's vocabularies.

    `columns` says which columns files have: `raw` those of the recipe's raw file, which its SELECT then
    transforms, `selected` those that the SELECT gives. Without it, a file is raw where it has what the
    SELECT needs. Files that the SELECT joins are looked for in `source`, else where preparation found them.
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
        # The label of new rows is not known: any constant takes its place in the columns.
        # And every row gets a score: what the recipe leaves out of training is an error here.
        self.spec = spec.model_copy(update={"label": "0", "probability": None, "on_error": "fail"})
        self.columns = Columns(manifest, with_probability=False)
        self.encoders = numbers.of_manifest(manifest.features)
        self.vocabularies = _vocabularies(dataset, self.spec)
        self.strangers = Strangers(self.spec, self.vocabularies, manifest.statistics)
        scales = [(feature.mean, feature.std) for feature in manifest.features if feature.of is None]
        self.ranges = Ranges.of(self.spec, scales, manifest.statistics, dataset)
        self.outdated = _outdated(manifest, self.spec) if columns is None else None
        self.read: dict[Path, ColumnsOf] = {}
        """Which columns each file so far had."""

    def notes(self) -> list[str]:
        """What a person should know of the rows so far."""
        outdated = [self.outdated] if self.outdated is not None else []
        return [*outdated, *self.strangers.surprises(), *self.ranges.surprises()]

    def alarms(self) -> list[str]:
        """Why the rows so far should not be scored unasked."""
        return [*self.strangers.alarms(), *self.ranges.alarms()]

    def batches(self, path: Path) -> Iterator[Batch]:
        """The rows of a Parquet, CSV, TSV or JSON file, in order.

        Raises UsageError for a file that is missing, of another kind or without the columns of the
        features, RunFailed for one that cannot be read.
        """
        for table in self.tables(path):
            self.strangers.count(table)
            self.ranges.count(table)
            packed = np.empty((table.num_rows, self.columns.width), np.int32)
            self.columns.pack(table, packed)
            yield self.columns.batch(torch.from_numpy(packed))

    def tables(self, path: Path, columns: ColumnsOf | None = None) -> Iterator[pa.Table]:
        """The rows of a file encoded as preparation writes them, in order; raises what `batches` does.

        `columns` overrides what files have in general.
        """
        with tempfile.TemporaryDirectory(prefix="wukongctl-") as spill:
            engine = self._engine(path, Path(spill))
            try:
                rows = self._rows(engine, path, columns or self.wanted)
                yield from self._tables(engine, rows, path)
            except RunFailed as failure:
                failure.hint = HINT if failure.hint == lines.SKIP else failure.hint
                raise
            finally:
                engine.close()

    def _engine(self, path: Path, spill: Path) -> Engine:
        raw = self.manifest.raw
        search = Path(raw.folder) if raw is not None else Path.cwd()
        engine = Engine(
            str(path), {"rows": path.absolute()}, spill=spill, search=search, threads=self.threads
        )
        if any(map(sql.TRY_CAST.search, self.spec.queries)):
            engine.execute(f"SET disabled_optimizers = '{DISABLED},type_pushdown'")  # see pipeline.job
        return engine

    def _rows(self, engine: Engine, path: Path, wanted: ColumnsOf | None) -> NewRows:
        """The SQL for the rows of a file, by the columns that it has."""
        raw = None if wanted == "selected" else self.manifest.raw
        if raw is None and wanted == "raw":
            raise UsageError(
                f"the SELECT of dataset `{self.spec.name}` cannot be run over a new file: {self._obstacle()}",
                hint="give a file with the columns of the SELECT, and `--columns selected`",
            )
        lacking: list[str] = []
        if raw is not None:
            source = row_files.raw(engine, path, raw)
            lacking = _lacking(raw.needed, source.columns)
            if not lacking:
                self.read[path] = "raw"
                return self._transformed(engine, raw, source, path)
            if wanted == "raw":
                raise _lacks(path, "raw columns", lacking, source.columns)
        names = [name for name, _ in self.spec.columns]
        source = row_files.plain(engine, path, names)
        missing = _lacking(names, source.columns)
        if missing and lacking and len(lacking) <= len(missing):
            raise _lacks(path, "raw columns", lacking, source.columns)
        if missing:
            raise _lacks(path, "feature columns", missing, source.columns)
        self.read[path] = "selected"
        return new_rows.selected(source)

    def _obstacle(self) -> str:
        return self.manifest.obstacle or "it was prepared by an older version"

    def _transformed(self, engine: Engine, raw: RawRows, source: RowSource, path: Path) -> NewRows:
        engine.paths = {**engine.paths, **self._side(raw)}
        decimal = [
            self.spec.columns[index][0]
            for index, table in self.vocabularies.items()
            if _all_match(table, FRACTION)
        ]
        try:
            select = rewriting.rewritten(raw.select, raw.source)
            names = [name for name, _ in self.spec.columns]
            return new_rows.transformed(engine, select, raw, source, names, decimal=decimal)
        except rewriting.Unwritable as reason:
            raise UsageError(
                f"the SELECT of dataset `{self.spec.name}` cannot be run over `{path}`: {reason}",
                hint="give a file with the columns of the SELECT, and `--columns selected`",
            ) from None

    def _side(self, raw: RawRows) -> dict[str, Path | tuple[Path, ...]]:
        """Where the files are that the SELECT joins to the rows."""
        found: dict[str, Path | tuple[Path, ...]] = {}
        for name, known in raw.side.items():
            place = sources.by_name(self.source, name) if self.source is not None else None
            paths = tuple(map(Path, known))
            if place is None and not (paths and all(path.is_file() for path in paths)):
                where = f"in `{self.source}`" if self.source is not None else "where `prepare` found it"
                raise UsageError(
                    f"`{name}`, which the SELECT joins to each row, is not {where}",
                    hint="name the folder that holds it with `--source`",
                )
            found[name] = place or (paths[0] if len(paths) == 1 else paths)
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
                    batch = _in_place(batch, done, path)  # noqa: PLW2901
                part = encode.encoded(batch, self._ids(batch), self.spec, self.encoders)
                self._require_finite(engine, rows.query, path, part, done)
                yield pa.table(part.columns, names=schema.names).cast(schema)
                done += part.num_rows
        except ConversionFailed as failure:
            raise diagnosis.unfit(engine, self.spec, rows.query, types) or failure from None

    def _ids(self, batch: pa.RecordBatch) -> dict[int, np.ndarray]:
        """By feature, the ids of the distinct values of a batch."""
        values = {index: spool.distinct(batch.column(f"f{index}")) for index in self.vocabularies}
        ids = {index: next(table.ids([values[index]])) for index, table in self.vocabularies.items()}
        for index, found in ids.items():
            self.strangers.note(index, values[index], found)
        return ids

    def _require_finite(
        self, engine: Engine, query: str, path: Path, part: pa.RecordBatch, before: int
    ) -> None:
        """RunFailed for an infinite number in `part`, which starts after `before` rows of the file."""
        for index, (name, group) in enumerate(self.spec.columns):
            if not isinstance(group, Numeric):
                continue
            row = pc.is_inf(part.column(f"f{index}")).index(True).as_py()
            if row >= 0:
                number = before + row + 1
                place = lines.place(engine, query, number)
                where = f"`{place}`:" if place else f"row {number:,} of `{path}`:"
                raise RunFailed(f"{where} `{name}` is infinite", hint=HINT)

    def _as_trained(self, query: str, types: dict[str, str]) -> tuple[str, dict[str, str]]:
        """`query` and its types, with whole numbers written as the vocabularies write them.

        A column of whole numbers turns to floats once a value is missing (pandas): `7.0` where training saw
        `7`, or the other way round.
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
    """What to say of a dataset by an older version, which does not know how its raw file was read."""
    if manifest.raw is not None or manifest.obstacle is not None or spec.generator is not None:
        return None
    if all(map(rewriting.is_plain, spec.queries)):
        return None
    return (
        f"files are taken to hold the columns of the SELECT; `wukongctl prepare {manifest.dataset} --force` "
        "makes `predict` run it over raw files, and keeps the runs"
    )


def _lacking(wanted: Iterable[str], there: Iterable[str]) -> list[str]:
    known = {name.lower() for name in there}
    return [name for name in wanted if name.lower() not in known]


def _lacks(path: Path, what: str, missing: Sequence[str], there: Iterable[str]) -> UsageError:
    listed = ", ".join(f"`{name}`" for name in missing)
    hint = did_you_mean(missing[0], there) or f"it has {', '.join(f'`{name}`' for name in there)}"
    return UsageError(f"`{path}` lacks the {what} {listed}", hint=hint)


def _in_place(batch: pa.RecordBatch, before: int, path: Path) -> pa.RecordBatch:
    """`batch` without the numbers of its rows; RunFailed where a row is gone, or there twice."""
    numbers = batch.column(new_rows.NUMBER).to_numpy()
    wrong = np.flatnonzero(numbers != np.arange(before + 1, before + 1 + len(numbers)))
    if len(wrong):
        row = int(min(numbers[wrong[0]], before + 1 + wrong[0]))
        gone = int(numbers[wrong[0]]) > row
        what = "has no score: the SELECT leaves it out" if gone else "comes out of the SELECT more than once"
        raise RunFailed(
            f"row {row:,} of `{path}` {what}",
            hint="look at the keys of its joins, or give a file with the columns of the SELECT "
            "(`--columns selected`)",
        )
    return batch.drop_columns([new_rows.NUMBER])


def _whole_text(value: str, kind: str, table: LookupTable) -> str | None:
    """`value` of DuckDB type `kind` as the text of a whole number of `table`; None where nothing is to do."""
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
    """Whether every value of a vocabulary looks like `pattern`; the most frequent ones decide early."""
    values = table.values.filter(pc.fill_null(pc.not_equal(table.values, ""), False))
    return len(values) > 0 and all(
        pc.all(pc.match_substring_regex(some, pattern)).as_py() for some in (values[:1000], values)
    )


def _vocabularies(dataset: Path, spec: DatasetSpec) -> dict[int, LookupTable]:
    """By position of the feature; features that share a table share its vocabulary."""
    tables = vocabulary.tables(spec)
    owners: dict[int, LookupTable] = {}
    for index, (name, group) in enumerate(spec.columns):
        if not isinstance(group, Numeric) and tables[index] not in owners:
            owners[tables[index]] = lookup.read(dataset, name, oov_last=spec.compat == "bars")
    return {index: owners[table] for index, table in tables.items() if table in owners}
