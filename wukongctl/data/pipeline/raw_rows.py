"""What a later `predict` needs to run the SELECT over a new raw file.

A few raw rows are kept with the dataset as well, so that `predict` can check itself:

    sample/raw.parquet      the raw columns that the features need, of up to `SAMPLE_ROWS` rows
    sample/encoded.parquet  the same rows, encoded

The second file comes from the recipe's own SELECT over the raw file, with row numbers added; `predict` must
produce the same from the first.
"""

import json
import logging
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.spec import Spec
from wukongctl.data.manifest import SAMPLE_ENCODED, SAMPLE_RAW, RawRows
from wukongctl.data.pipeline import encode, lookup, reading, spool
from wukongctl.data.pipeline.job import GENERATED, PrepareJob
from wukongctl.data.pipeline.numbers import Encoders
from wukongctl.data.pipeline.parts import Part
from wukongctl.data.pipeline.vocabulary import Vocabulary
from wukongctl.data.query import lines, rewriting, sql
from wukongctl.data.query.engine import Engine, operators, without_views
from wukongctl.data.query.rewriting import NotRowByRow, Rewritten
from wukongctl.data.stages import load, save
from wukongctl.errors import WukongError

log = logging.getLogger(__name__)

SAVED = "raw.json"
PROBED_ROWS = 1000
"""Rows from which the sample is taken, and that are checked for rows repeated by a join."""
SAMPLE_ROWS = 100
SNIFFED = {"delim": 0, "quote": 1, "escape": 2, "dateformat": 3, "timestampformat": 4}
"""Arguments of `read_csv` that DuckDB detects, with their position in the query for them."""
AS_TEXT = ("HUGEINT", "UHUGEINT", "INTERVAL", "BIT", "TIME WITH TIME ZONE")
"""Types that Parquet does not have, or not in full."""


class RawInput(Spec):
    """How the raw file is read, or why the SELECT cannot be run over another one."""

    raw: RawRows | None = None
    obstacle: str | None = None


def describe(job: PrepareJob, vocabularies: Mapping[int, Vocabulary], encoders: Encoders) -> RawInput:
    """Describe how the SELECT of the train rows reads its raw file, and write the sample, unless done."""
    found = load(job.work / SAVED, RawInput)
    if found is None:
        found = _raw_input(job)
        if found.raw is not None:
            sampled = _try_sample(job, found.raw, vocabularies, encoders)
            found = RawInput(raw=found.raw.model_copy(update={"sampled": sampled}))
        save(job.work / SAVED, found)
    return found


def _raw_input(job: PrepareJob) -> RawInput:
    if GENERATED in job.paths:
        return RawInput(obstacle="its rows are generated, so there is no raw file")
    obstacle = ""
    for source in range(len(job.spec.files) + 1):
        try:
            with job.engine("raw") as engine:
                return RawInput(raw=_raw_rows(engine, job, job.parts[0], source))
        except NotRowByRow as reason:
            obstacle = obstacle or str(reason)
            if str(reason) == rewriting.NOT_ONE_TO_ONE:
                break
        except WukongError as error:
            obstacle = obstacle or error.message
    return RawInput(obstacle=obstacle)


def _raw_rows(engine: Engine, job: PrepareJob, part: Part, source: int) -> RawRows:
    select = rewriting.rewritten(part.query, source)
    reader = select.reader
    columns = engine.types(f"SELECT * FROM {reader.text}")
    if select.joins:
        _require_one_to_one(engine, select)
    names = sql.PLACEHOLDER.findall(reader.text)
    is_sniffed = reader.kind == "csv" and not {"columns", "all_varchar"} & reader.options.keys()
    detects = is_sniffed and names and reader.options.get("auto_detect") != "false"
    options = {**(_sniffed(engine, select, names[0]) if detects else {}), **reader.options}
    joined = [name for name in sql.PLACEHOLDER.findall(part.query) if name not in names]
    return RawRows(
        kind=reader.kind,
        columns=columns,
        needed=tuple(_needed(engine, job.spec, select, columns)),
        options=options if reader.kind != "parquet" else {},
        sniffed=is_sniffed,
        select=part.query,
        source=source,
        side={name: tuple(str(p.absolute()) for p in lines.paths_of(engine.paths[name])) for name in joined},
        folder=str(job.search.absolute()),
    )


def _require_one_to_one(engine: Engine, select: Rewritten) -> None:
    """NotRowByRow if one row of the file becomes several rows in training."""
    query = f"SELECT {select.number} FROM (\n{select.over(_numbered(select), text=select.filtered)}\n)"
    numbers = [number for (number,) in engine.rows(f"{query} LIMIT {PROBED_ROWS}")]
    if len(set(numbers)) < len(numbers) or None in numbers:
        raise NotRowByRow("its join repeats rows")


def _numbered(select: Rewritten) -> str:
    """The raw rows with their numbers."""
    return rewriting.numbered(f"SELECT * FROM {select.reader.text}")


def _needed(
    engine: Engine, spec: DatasetSpec, select: Rewritten, columns: Mapping[str, str]
) -> Iterator[str]:
    """The raw columns that DuckDB would read for the features."""
    table = f"{rewriting.RAW}_columns"
    described = ", ".join(f"{sql.identifier(name)} {kind}" for name, kind in columns.items())
    engine.execute(f"CREATE OR REPLACE TEMP TABLE {table} ({described})")
    names = rewriting.identifiers([name for name, _ in spec.columns])
    query = f"SELECT {names} FROM (\n{select.over(f'SELECT * FROM {table}')}\n)"
    ((_, text),) = engine.rows(f"EXPLAIN (FORMAT json) {query}")
    plan = list(operators(json.loads(text)))
    if rewriting.WINDOWS & {node["name"].strip() for node in plan}:
        raise NotRowByRow("a window function reads other rows")
    scans = [node["extra_info"] for node in plan if table in str(node["extra_info"].get("Table", ""))]
    used: set[str] = set()
    for projections in (scan.get("Projections", []) for scan in scans):
        used |= {projections} if isinstance(projections, str) else set(projections)
    filters = " ".join(str(scan.get("Filters", "")) for scan in scans)
    return (name for name in columns if not scans or name in used or name in filters)


def _sniffed(engine: Engine, select: Rewritten, name: str) -> dict[str, str]:
    """The options of a CSV file that DuckDB detects."""
    path = lines.paths_of(engine.paths[name])[0]
    options = [f"{name} = {value}" for name, value in select.reader.options.items() if name in SNIFFED]
    arguments = ", ".join([sql.literal(str(path.absolute())), *options])
    found = engine.try_rows(
        f"SELECT Delimiter, Quote, Escape, DateFormat, TimestampFormat FROM sniff_csv({arguments})"
    )
    if found is None:
        return {}
    (row,) = found[0]
    return {
        name: sql.literal("" if row[position] == "(empty)" else str(row[position]))
        for name, position in SNIFFED.items()
        if row[position] is not None
    }


def _try_sample(
    job: PrepareJob, raw: RawRows, vocabularies: Mapping[int, Vocabulary], encoders: Encoders
) -> int:
    try:
        with job.engine("sample") as engine:
            return _sample(engine, job, raw, vocabularies, encoders)
    except WukongError as error:
        log.info("no sample rows for the self-check of `predict`: %s", error.message)
        return 0


def _sample(
    engine: Engine,
    job: PrepareJob,
    raw: RawRows,
    vocabularies: Mapping[int, Vocabulary],
    encoders: Encoders,
) -> int:
    """Write the two files of the sample into the work folder; returns their number of rows."""
    part = next(part for part in job.parts if reading.result(job, part).rows)
    select = rewriting.rewritten(part.query, raw.source)
    filtered = select.over(_numbered(select), text=select.filtered)
    rows = sql.select(job.spec, filtered, part.types, also=[select.number])
    batch = _evenly_spaced(engine, job.spec, f"SELECT * FROM (\n{rows}\n) LIMIT {PROBED_ROWS}")
    if not batch.num_rows:
        return 0
    numbers = batch.column(select.number).to_numpy()
    batch = batch.take(pa.array(np.argsort(numbers)))
    values = {index: iter([spool.text(spool.values(batch.column(f"f{index}")))]) for index in vocabularies}
    ids = lookup.ids(engine, vocabularies, values, job.work)
    encoded = encode.encoded(batch, {index: next(found) for index, found in ids.items()}, job.spec, encoders)
    names = [f"f{index}" for index in range(len(job.spec.columns))]
    names += [f"e{index}" for index, _, _ in job.spec.encoded]
    schema = encode.feature_schema(job.spec)
    features = pa.table([encoded.column(name) for name in names], names=schema.names).cast(schema)
    (job.work / SAMPLE_RAW).parent.mkdir(exist_ok=True)
    pq.write_table(_raw_table(engine, select, raw, np.sort(numbers)), job.work / SAMPLE_RAW)
    pq.write_table(features, job.work / SAMPLE_ENCODED)
    return batch.num_rows


def _evenly_spaced(engine: Engine, spec: DatasetSpec, query: str) -> pa.RecordBatch:
    """Up to `SAMPLE_ROWS` of the rows that training keeps, in spool form."""
    batch = next(iter(reading.compact(engine, query, spec)))
    accepted = batch.column("label_").is_valid()
    if "reject_" in batch.schema.names:
        accepted = batch.column("reject_").is_null()
        batch = batch.drop_columns(["reject_"])
    rows = np.flatnonzero(accepted.to_numpy(zero_copy_only=False))
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, min(SAMPLE_ROWS, len(rows))).astype(int))]
    return batch.take(pa.array(chosen))


def _raw_table(engine: Engine, select: Rewritten, raw: RawRows, numbers: np.ndarray) -> pa.Table:
    """The needed columns of the raw rows with these ascending numbers."""
    columns = []
    for name in raw.needed:
        column = sql.identifier(name)
        text = f"CAST({column} AS VARCHAR) AS {column}"
        columns.append(text if raw.columns[name] in AS_TEXT else column)
    number = f"{rewriting.ROW}0"
    rows = f"{_numbered(select)} LIMIT {numbers[-1]}"
    wanted = ", ".join(map(str, numbers))
    query = f"SELECT {', '.join(columns)} FROM (\n{rows}\n) WHERE {number} IN ({wanted}) ORDER BY {number}"
    with engine.reader(query, PROBED_ROWS) as reader:
        return reader.read_all().cast(without_views(reader.schema))
