"""New rows, in files of a user's own → batches of tensors, by the rules of a prepared dataset.

The rows have the columns that the dataset's SELECT gives, raw: texts, numbers, sequences. Values become ids
through the vocabularies of the prepared dataset, numbers are transformed and scaled as they were for
training; a value that training never saw is out of vocabulary. A label is not needed, and not looked at.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import torch

from wukongctl.config.dataset import DatasetSpec, Numeric
from wukongctl.config.loading import did_you_mean
from wukongctl.data.batches import Columns
from wukongctl.data.manifest import Manifest
from wukongctl.data.pipeline import diagnosis, encode, lookup, reading, spool, vocabulary
from wukongctl.data.pipeline.lookup import Table
from wukongctl.data.query import lines, row_files, sql
from wukongctl.data.query.engine import ConversionFailed, Engine
from wukongctl.data.schema import Batch
from wukongctl.data.statistics import Tally
from wukongctl.errors import RunFailed, UsageError

pc: Any = pyarrow.compute
"""Its functions are generated on import, where type checkers cannot see them."""
INTEGER, FRACTION = r"^(0|-?[1-9]\d*)$", r"^-?\d+\.\d+$"
SURPRISE = 0.1
"""Unknown values are worth a word once their share is twice the usual one and this much more."""
HINT = "mend the file; every row gets a score, so none can be left out"


class RowReader:
    """Batches of raw rows. Raises UsageError for a dataset without its recipe's vocabularies."""

    def __init__(self, dataset: Path, manifest: Manifest, *, threads: int | None = None) -> None:
        spec = DatasetSpec.from_dict(manifest.recipe)
        self.dataset, self.threads = dataset, threads
        # The label of new rows is not known: any constant takes its place in the columns.
        # And every row gets a score: what the recipe leaves out of training is an error here.
        self.spec = spec.model_copy(update={"label": "0", "probability": None, "on_error": "fail"})
        self.columns = Columns(manifest, with_probability=False)
        self.scales = {
            index: (feature.mean, feature.std)
            for index, feature in enumerate(manifest.features)
            if feature.mean is not None and feature.std is not None
        }
        self.vocabularies = _vocabularies(dataset, self.spec)
        self.statistics = manifest.statistics
        self.tallies = {index: _tally(table) for index, table in self.vocabularies.items()}

    def unknown(self) -> dict[str, float]:
        """By feature, the share of the values read so far that training never saw, missing ones aside."""
        return {
            self.spec.columns[index][0]: tally.unknown / max(tally.items, 1)
            for index, tally in self.tallies.items()
        }

    def surprises(self) -> list[str]:
        """What a person should know: features with far more unknown values than any prepared split has."""
        found = []
        for name, share in self.unknown().items():
            known = self.statistics.features.get(name) if self.statistics is not None else None
            usual = max((known.unknown or {}).values(), default=0.0) if known is not None else 0.0
            if share > 2 * usual + SURPRISE:
                found.append(
                    f"{share:.1%} of the values of `{name}` are unknown to the run; "
                    f"in the prepared dataset at most {usual:.1%} are"
                )
        return found

    def batches(self, path: Path) -> Iterator[Batch]:
        """The rows of a Parquet, CSV or TSV file, in order.

        Raises UsageError for a file that is missing, of another kind or without the columns of the
        features, RunFailed for one that cannot be read.
        """
        query = f"SELECT * FROM {row_files.reader(path, [name for name, _ in self.spec.columns])}"
        with tempfile.TemporaryDirectory(prefix="wukongctl-") as spill:
            engine = Engine(
                str(path), {"rows": path}, spill=Path(spill), search=Path.cwd(), threads=self.threads
            )
            try:
                yield from self._batches(engine, query, path)
            except RunFailed as failure:
                failure.hint = HINT if failure.hint == lines.SKIP else failure.hint
                raise
            finally:
                engine.close()

    def _batches(self, engine: Engine, query: str, path: Path) -> Iterator[Batch]:
        types = self._types(engine.types(query), path)
        rows = sql.select(self.spec, *self._as_trained(query, types))
        schema = encode.schema(self.spec)
        done = 0
        try:
            for batch in reading.compact(engine, rows, self.spec):
                part = encode.encoded(batch, self._ids(batch), self.spec, self.scales)
                self._require_finite(engine, query, path, part, done)
                columns = [column.fill_null(0) if column.null_count else column for column in part.columns]
                table = pa.table(columns, names=schema.names).cast(schema)
                for index, tally in self.tallies.items():
                    tally.add(table[self.spec.columns[index][0]].combine_chunks())
                packed = np.empty((table.num_rows, self.columns.width), np.int32)
                self.columns.pack(table, packed)
                yield self.columns.batch(torch.from_numpy(packed))
                done += part.num_rows
        except ConversionFailed as failure:
            raise diagnosis.unfit(engine, self.spec, query, types) or failure from None

    def _ids(self, batch: pa.RecordBatch) -> dict[int, np.ndarray]:
        """By feature, the ids of the distinct values of a batch."""
        values = {index: spool.distinct(batch.column(f"f{index}")) for index in self.vocabularies}
        return {index: next(table.ids([values[index]])) for index, table in self.vocabularies.items()}

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

    def _types(self, types: dict[str, str], path: Path) -> dict[str, str]:
        known = {name.lower(): kind for name, kind in types.items()}
        missing = [name for name, _ in self.spec.columns if name.lower() not in known]
        if missing:
            listed = ", ".join(f"`{name}`" for name in missing)
            hint = did_you_mean(missing[0], types) or f"it has {', '.join(f'`{name}`' for name in types)}"
            raise UsageError(f"`{path}` lacks the feature columns {listed}", hint=hint)
        return known


def _tally(table: Table) -> Tally:
    return Tally(unknown_id=table.unknown, missing_id=table.missing)


def _whole_text(value: str, kind: str, table: Table) -> str | None:
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


def _all_match(table: Table, pattern: str) -> bool:
    """Whether every value of a vocabulary looks like `pattern`; the most frequent ones decide early."""
    values = table.values.filter(pc.fill_null(pc.not_equal(table.values, ""), False))
    return len(values) > 0 and all(
        pc.all(pc.match_substring_regex(some, pattern)).as_py() for some in (values[:1000], values)
    )


def _vocabularies(dataset: Path, spec: DatasetSpec) -> dict[int, Table]:
    """By position of the feature; features that share a table share its vocabulary."""
    tables = vocabulary.tables(spec)
    owners: dict[int, Table] = {}
    for index, (name, group) in enumerate(spec.columns):
        if not isinstance(group, Numeric) and tables[index] not in owners:
            owners[tables[index]] = lookup.read(dataset, name, oov_last=spec.compat == "bars")
    return {index: owners[table] for index, table in tables.items()}
