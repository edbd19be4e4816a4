"""What a later `predict` must know of the raw file to run the SELECT over another one.

A small sample of raw rows is kept with what preparation makes of them, so that `predict` can check itself.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.spec import Spec
from wukongctl.data.manifest import RawRows
from wukongctl.data.pipeline.job import GENERATED, PrepareJob
from wukongctl.data.pipeline.new_rows import WINDOWS
from wukongctl.data.pipeline.parts import Part
from wukongctl.data.query import lines, rewriting, sql
from wukongctl.data.query.engine import Engine
from wukongctl.data.query.rewriting import Reader, Rewritten, Unwritable
from wukongctl.data.query.row_files import JSON
from wukongctl.errors import WukongError

PROBED = 1000
"""Rows looked at to see whether raw rows come out one for one."""
SNIFFED = {"delim": 0, "quote": 1, "escape": 2, "dateformat": 3, "timestampformat": 4}
"""Arguments of `read_csv` that DuckDB finds out by itself, by their place in the query for them."""


class Noted(Spec):
    """What the stage found."""

    raw: RawRows | None = None
    obstacle: str | None = None


def note(job: PrepareJob) -> Noted:
    """How the SELECT of the train rows reads its raw file, or why it is more than a transformation."""
    if GENERATED in job.paths:
        return Noted(obstacle="its rows are generated, so there is no raw file")
    part, obstacle = job.parts[0], ""
    for source in range(len(job.spec.files) + 1):
        try:
            with job.engine("raw") as engine:
                return Noted(raw=_noted(engine, job, part, source))
        except Unwritable as reason:
            obstacle = obstacle or str(reason)
            if str(reason) == rewriting.NO_MORE:
                break
        except WukongError as error:
            obstacle = obstacle or error.message
    return Noted(obstacle=obstacle)


def _noted(engine: Engine, job: PrepareJob, part: Part, source: int) -> RawRows:
    select = rewriting.rewritten(part.query, source)
    reader = select.reader
    columns = engine.types(f"SELECT * FROM {reader.text}")
    if select.joins:
        _require_one_for_one(engine, select)
    names = sql.PLACEHOLDER.findall(reader.text)
    kind = _kind(reader, names)
    sniffed = kind == "csv" and not {"columns", "all_varchar"} & reader.options.keys()
    found = (
        _sniffed(engine, select, names) if sniffed and reader.options.get("auto_detect") != "false" else {}
    )
    sides = [name for name in sql.PLACEHOLDER.findall(part.query) if name not in names]
    return RawRows(
        kind=kind,
        columns=columns,
        needed=tuple(_needed(engine, job.spec, select, columns)),
        options={**found, **reader.options} if kind != "parquet" else {},
        sniffed=sniffed,
        select=part.query,
        source=source,
        side={name: tuple(str(p.absolute()) for p in lines.paths_of(engine.paths[name])) for name in sides},
        folder=str(job.search.absolute()),
    )


def _kind(reader: Reader, names: list[str]) -> Literal["csv", "parquet", "json"]:
    """What the raw file holds; by its name, where the SELECT names no reader."""
    name = names[0].lower().removesuffix(".gz").removesuffix(".zst") if names else ""
    if reader.kind == "parquet" or (not reader.kind and name.endswith(".parquet")):
        return "parquet"
    return "json" if reader.kind == "json" or (not reader.kind and name.endswith(JSON)) else "csv"


def _require_one_for_one(engine: Engine, select: Rewritten) -> None:
    """Unwritable where several rows that training saw come from one row of the file."""
    rows = rewriting.numbered(f"SELECT * FROM {select.reader.text}")
    query = f"SELECT {select.number} FROM (\n{select.over(rows, text=select.filtered)}\n) LIMIT {PROBED}"
    numbers = [number for (number,) in engine.rows(query)]
    if len(set(numbers)) < len(numbers) or None in numbers:
        raise Unwritable("its join repeats rows")


def _needed(
    engine: Engine, spec: DatasetSpec, select: Rewritten, columns: Mapping[str, str]
) -> Iterator[str]:
    """The raw columns that the features are made of: those that DuckDB would read for them."""
    table = f"{rewriting.RAW}_columns"
    described = ", ".join(f"{sql.identifier(name)} {kind}" for name, kind in columns.items())
    engine.execute(f"CREATE OR REPLACE TEMP TABLE {table} ({described})")
    names = rewriting.identifiers([name for name, _ in spec.columns])
    query = f"SELECT {names} FROM (\n{select.over(f'SELECT * FROM {table}')}\n)"
    ((_, text),) = engine.rows(f"EXPLAIN (FORMAT json) {query}")
    nodes = list(_nodes(json.loads(text)))
    if WINDOWS & {node["name"].strip() for node in nodes}:
        raise Unwritable("a window function reads other rows")
    scans = [node["extra_info"] for node in nodes if table in str(node["extra_info"].get("Table", ""))]
    used = {column for scan in scans for column in _listed(scan.get("Projections", []))}
    filters = " ".join(str(scan.get("Filters", "")) for scan in scans)
    for name in columns:
        if not scans or name in used or name in filters:
            yield name


def _listed(projections: str | list[str]) -> list[str]:
    return [projections] if isinstance(projections, str) else projections


def _nodes(plan: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for node in plan:
        yield node
        yield from _nodes(node["children"])


def _sniffed(engine: Engine, select: Rewritten, names: list[str]) -> dict[str, str]:
    """What DuckDB finds out about a CSV file that the recipe does not say."""
    if not names:
        return {}
    path = lines.paths_of(engine.paths[names[0]])[0]
    given = [f"{name} = {value}" for name, value in select.reader.options.items() if name in SNIFFED]
    arguments = ", ".join([sql.literal(str(path)), *given])
    found = engine.try_rows(
        f"SELECT Delimiter, Quote, Escape, DateFormat, TimestampFormat FROM sniff_csv({arguments})"
    )
    if found is None:
        return {}
    (row,) = found[0]
    values = {name: row[place] for name, place in SNIFFED.items()}
    return {
        name: sql.literal("" if value == "(empty)" else str(value))
        for name, value in values.items()
        if value is not None
    }
