"""What is wrong with the data: the first offending value and where it stands, or counts that differ."""

import math
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from wukongctl.config.dataset import ByColumn, DatasetSpec, SplitName
from wukongctl.data.manifest import Split
from wukongctl.data.pipeline import splits
from wukongctl.data.query import lines, sql
from wukongctl.data.query.engine import Engine
from wukongctl.data.query.failures import ConversionFailed
from wukongctl.data.query.lines import paths_of
from wukongctl.errors import Problem, RunFailed

NOTED = 1000
"""Lines of a file that are kept in mind while the first bad one is looked for."""


def require_values(
    engine: Engine, spec: DatasetSpec, query: str, batch: pa.RecordBatch, first_row: int
) -> None:
    """RunFailed if a label or split in `batch`, which starts at `first_row` of `query`, is not allowed."""
    if batch.column("label_").null_count:
        bad, column, allowed = f"({spec.label})", "label_", "the label must be 0 or 1"
    elif "split_" in batch.schema.names and batch.column("split_").null_count:
        bad = sql.identifier(spec.split.column) if isinstance(spec.split, ByColumn) else "NULL"
        column, allowed = "split_", "the split must be `train`, `valid` or `test`"
    else:
        return
    row = first_row + batch.column(column).is_null().index(True).as_py()
    ((value,),) = engine.cursor_rows(f"SELECT CAST({bad} AS VARCHAR) FROM (\n{query}\n) LIMIT 1 OFFSET {row}")
    found = "a missing value" if value is None else f"`{value}`"
    raise lines.bad_row(engine, query, row + 1, f"{allowed}, found {found}")


def earliest(
    engine: Engine, spec: DatasetSpec, query: str, failure: RunFailed, split: str | None = None
) -> RunFailed:
    """`failure`, or that of an earlier bad row of `query`: each pass over a file finds its own kind of them.

    `split` is that of `sql.select`. What is wrong with no row in particular stays as it is.
    """
    placed = lines.LOCATED.match(failure.message)
    if spec.on_error == "skip" or not (placed or isinstance(failure, ConversionFailed)):
        return failure
    noting = sql.storing_rejects(query, NOTED)
    described = engine.try_rows(f"DESCRIBE {noting}")
    types = {name.lower(): kind for name, kind, *_ in described[0]} if described is not None else {}
    if not types.keys() >= {name.lower() for name, _ in spec.columns}:
        return failure
    found = engine.try_rows(sql.first_bad_row(spec, noting, types, split))
    if found is None:
        return failure
    others = [lines.bad_row(engine, noting, row, why) for row, why, _ in found[0]]
    for path, line, what, _ in found[1]:
        message = f"`{Path(path).name}:{line}`: {what[:1].lower()}{what[1:].rstrip('.')}"
        others.append(RunFailed(f"{message} (dataset `{spec.name}`)", hint=lines.SKIP))
    # Of two that name one line, the cast that we wrap values in says less than the rule it stands for.
    candidates = [*others, failure] if isinstance(failure, ConversionFailed) else [failure, *others]
    files = [path.name for name in sql.PLACEHOLDER.findall(query) for path in paths_of(engine.paths[name])]
    return min(candidates, key=lambda candidate: _position(candidate, files))


def unfit(engine: Engine, spec: DatasetSpec, query: str, types: Mapping[str, str]) -> RunFailed | None:
    """The first row of `query` with a value that is not as its feature or the label must be."""
    for row, why, _ in engine.cursor_rows(sql.first_bad_row(spec, query, types, None)):
        return lines.bad_row(engine, query, row, why)
    return None


def _position(failure: RunFailed, files: list[str]) -> tuple[float, int]:
    """Where among `files` a bad row stands; after all others if that is not known."""
    placed = lines.LOCATED.match(failure.message)
    if placed is None or placed[1] not in files:
        return math.inf, 0
    return files.index(placed[1]), int(placed[2])


def count_problems(spec: DatasetSpec, written: Mapping[SplitName, Split]) -> list[Problem]:
    """Differences between the published counts and the prepared ones."""
    rows_of = splits.shipped(spec, {name: part.rows for name, part in written.items()})
    positives_of = splits.shipped(spec, {name: part.positives for name, part in written.items()})
    problems = []
    for name, counts in spec.expect.items():
        rows, positives = rows_of.get(name, 0), positives_of.get(name, 0)
        if rows != counts.rows:
            problems.append(Problem(f"{name}: expected {counts.rows:,} rows, found {rows:,}"))
        if counts.positives is not None and positives != counts.positives:
            problems.append(Problem(f"{name}: expected {counts.positives:,} positives, found {positives:,}"))
    return problems
