"""The split of each row, as SQL or row numbers, and the published counts of splits."""

from collections.abc import Mapping
from typing import NamedTuple, assert_never

from wukongctl.config.dataset import (
    SPLITS,
    ByColumn,
    ByHash,
    ByOrder,
    ByTime,
    DatasetSpec,
    SplitName,
    SplitRule,
    boundaries,
    in_order,
)
from wukongctl.data.manifest import Split
from wukongctl.data.query import lines, sql
from wukongctl.data.query.engine import Engine
from wukongctl.errors import Problem, UsageError


class Route(NamedTuple):
    """How the rows of one query are divided over `names`."""

    names: tuple[SplitName, ...]
    expression: str | None = None
    """SQL for the position in `names`; None for one split, or for splits in row order."""


def streams(spec: DatasetSpec) -> list[tuple[str, SplitRule | SplitName]]:
    """The recipe's SELECTs, train first, each with its split or the rule that divides its rows."""
    if spec.rows is not None and spec.split is not None:
        return [(spec.rows, spec.split)]
    queries = dict(spec.splits or {})
    if valid_is_test(spec):
        queries["valid"] = queries["test"]
    divided = None if valid_is_test(spec) else spec.divided
    rules = {divided: spec.split} if divided is not None and spec.split is not None else {}
    return [(queries[name], rules.get(name, name)) for name in SPLITS if name in queries]


def valid_is_test(spec: DatasetSpec) -> bool:
    """Whether validation is the test split, as in BARS for datasets with two published splits."""
    return (
        spec.compat == "bars"
        and spec.splits is not None
        and "valid" not in spec.splits
        and "test" in spec.splits
        and spec.divided != "test"
    )


def count_problems(spec: DatasetSpec, found: Mapping[SplitName, Split]) -> list[Problem]:
    """Mismatches between the published counts and the prepared ones."""
    all_rows = published_counts(spec, {name: split.rows for name, split in found.items()})
    all_positives = published_counts(spec, {name: split.positives for name, split in found.items()})
    problems = []
    for name, expected in spec.expect.items():
        rows, positives = all_rows.get(name, 0), all_positives.get(name, 0)
        if rows != expected.rows:
            problems.append(Problem(f"{name}: expected {expected.rows:,} rows, found {rows:,}"))
        if expected.positives is not None and positives != expected.positives:
            message = f"{name}: expected {expected.positives:,} positives, found {positives:,}"
            problems.append(Problem(message))
    return problems


def published_counts(spec: DatasetSpec, counts: Mapping[SplitName, int]) -> dict[str, int]:
    """Counts per split → counts per published split, and their `total`."""
    parts = dict(counts)
    if valid_is_test(spec):
        parts.pop("valid", None)
    elif spec.divided is not None:
        ratio = getattr(spec.split, "ratio", {})
        parts[spec.divided] = sum(parts.pop(name, 0) for name in ratio)
    return {**parts, "total": sum(parts.values())}


def route(rule: SplitRule | SplitName, engine: Engine, query: str, *, skip: bool = False) -> Route:
    """The route of the rows of `query` by `rule`; reads the time column if there is one.

    With `skip`, rows without a time belong to no split; otherwise the first of them is a RunFailed. Splits
    by row order get their ends from `parts.bounded` once the rows are read.
    """
    match rule:
        case str():
            return Route((rule,))
        case ByHash():
            names = in_order(rule.ratio)
            ends = boundaries(sum(rule.ratio.values()), rule.ratio)
            key = f"concat('{rule.seed}|', CAST(({rule.key}) AS VARCHAR))"
            return Route(names, _steps(f"md5_number_lower({key}) % {ends[-1]}", [str(end) for end in ends]))
        case ByOrder():
            return Route(in_order(rule.ratio))
        case ByTime():
            return _by_time(rule, engine, query, skip=skip)
        case ByColumn():
            column = f"CAST({sql.identifier(rule.column)} AS VARCHAR)"
            cases = " ".join(f"WHEN '{name}' THEN {index}" for index, name in enumerate(SPLITS))
            return Route(SPLITS, f"CASE {column} {cases} END")
        case _:
            assert_never(rule)


def _by_time(rule: ByTime, engine: Engine, query: str, *, skip: bool) -> Route:
    """A split ends at the instant where its cumulative share of rows is reached."""
    names = in_order(rule.ratio)
    column = sql.identifier(rule.column)
    instants = f"SELECT {column} AS instant, count(*) AS rows FROM (\n{query}\n) GROUP BY instant"
    engine.execute(f"CREATE OR REPLACE TEMP TABLE instants AS {instants}")
    ((rows, missing, kind),) = engine.rows(
        "SELECT sum(rows), coalesce(sum(rows) FILTER (instant IS NULL), 0), any_value(typeof(instant)) "
        "FROM instants"
    )
    if kind == "VARCHAR":
        _require_order(engine, rule.column)
    elif kind in ("DATE", "TIMESTAMP"):
        _require_years(engine, rule.column)
    if missing and not skip:
        numbered = f"SELECT row_number() OVER () AS row, {column} AS instant FROM (\n{query}\n)"
        ((row,),) = engine.rows(f"SELECT row FROM ({numbered}) WHERE instant IS NULL LIMIT 1")
        raise lines.bad_row(engine, query, row, f"`{rule.column}` is missing, the time to split by")
    engine.execute("DELETE FROM instants WHERE instant IS NULL")
    cuts = boundaries((rows or 0) - missing, rule.ratio)
    cases = [f"WHEN {column} IS NULL THEN NULL"] if missing else []
    for position, cut in enumerate(cuts[:-1]):
        ((instant,),) = engine.rows(
            "SELECT CAST(min(instant) AS VARCHAR) FROM (SELECT instant, "
            f"sum(rows) OVER (ORDER BY instant) AS cumulative FROM instants) WHERE cumulative >= {cut}"
        )
        limit = "NULL" if instant is None else f"CAST({sql.literal(instant)} AS {kind})"
        cases.append(f"WHEN {column} <= {limit} THEN {position}")
    return Route(names, f"CASE {' '.join(cases)} ELSE {len(names) - 1} END" if cases else "0")


def _require_order(engine: Engine, column: str) -> None:
    """UsageError for text that does not sort by time, such as `10` before `9`; ISO 8601 does."""
    ((numbers, times, lengths, count),) = engine.rows(
        "SELECT count(TRY_CAST(instant AS DOUBLE)), "
        f"count(*) FILTER (year(TRY_CAST(instant AS TIMESTAMP)) >= {sql.FIRST_YEAR}), "
        "count(DISTINCT length(instant)), count(instant) FROM instants"
    )
    if lengths > 1 or count > max(numbers, times):
        name = sql.identifier(column)
        raise UsageError(
            f"split by time: `{column}` is text that does not sort by time",
            hint=f"convert it in the SELECT: `CAST({name} AS TIMESTAMP) AS {name}`, or with its "
            f"format, `strptime({name}, '%d/%m/%Y') AS {name}`",
        )


def _require_years(engine: Engine, column: str) -> None:
    """UsageError for ancient times: `03/04/24` cast to a timestamp is a day in the year 3."""
    ((year,),) = engine.rows("SELECT min(year(instant)) FROM instants")
    if year is not None and year < sql.FIRST_YEAR:
        name = sql.identifier(column)
        raise UsageError(
            f"split by time: `{column}` starts in the year {year}, probably from two-digit years",
            hint=f"parse it in the SELECT with its format: `strptime({name}, '%d/%m/%y') AS {name}`",
        )


def _steps(value: str, ends: list[str]) -> str:
    cases = " ".join(f"WHEN {value} < {end} THEN {position}" for position, end in enumerate(ends[:-1]))
    return f"CASE {cases} ELSE {len(ends) - 1} END" if cases else "0"
