"""What is wrong with the data: the first offending value and where it stands, or counts that differ."""

from collections.abc import Iterable, Mapping

import pyarrow as pa

from wukongctl.config.dataset import ByColumn, DatasetSpec, Numeric, SplitName
from wukongctl.data.manifest import Split
from wukongctl.data.pipeline import splits
from wukongctl.data.query import lines, sql
from wukongctl.data.query.engine import Engine
from wukongctl.errors import Problem, RunFailed


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
    ((value,),) = engine.aside(f"SELECT CAST({bad} AS VARCHAR) FROM (\n{query}\n) LIMIT 1 OFFSET {row}")
    found = "nothing" if value is None else f"`{value}`"
    raise lines.bad_row(engine, query, row + 1, f"{allowed}, found {found}")


def no_number(
    engine: Engine, spec: DatasetSpec, selections: Iterable[tuple[str, Mapping[str, str]]]
) -> RunFailed | None:
    """The first value of a numeric feature that is no number or infinite; `selections` are queries with their
    types."""
    for query, types in selections:
        for name, group in spec.columns:
            if not isinstance(group, Numeric) or types[name.lower()] not in sql.MAY_BE_NAN:
                continue
            for row, value, beyond in engine.aside(sql.no_number(query, name, group)):
                what = beyond or f"`{value}`, which is not a number"
                return lines.bad_row(engine, query, row, f"`{name}` is {what}")
    return None


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
