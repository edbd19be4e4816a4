"""The rows of a recipe as parts, which are counted and encoded separately from their own raw files.

A SELECT that reads a list of files row by row, `read_csv(['{day_0.gz}', '{day_1.gz}'])`, is divided into runs
of that list; any other SELECT is one part. Parts depend only on the recipe and the sizes of the files, so
that one thread, many, or a cluster produce the same rows in the same order.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from wukongctl.config.dataset import (
    ByColumn,
    ByHash,
    ByOrder,
    ByTime,
    DatasetSpec,
    SplitName,
    SplitRule,
    boundaries,
)
from wukongctl.config.spec import Mismatch, Mistake, Spec
from wukongctl.data.pipeline import bad_rows, joins, keys, spelling, splits
from wukongctl.data.query import headers, lines, quotes, sql
from wukongctl.data.query.access import Refused
from wukongctl.data.query.engine import Engine
from wukongctl.errors import RunFailed, UsageError

PART_BYTES = 256 << 20
"""Consecutive files of a list share a part until they have this size together."""
FILE_LIST = re.compile(r"\[\s*'\{[^{}']+\}'(?:\s*,\s*'\{[^{}']+\}')+\s*,?\s*\]")
RUN = re.compile(r"(.+)\[(\d+):(\d+)\]")
"""The name of a run of files of a pattern."""
ROW_BY_ROW = frozenset({"PROJECTION", "FILTER", "READ_CSV", "READ_CSV_AUTO", "READ_PARQUET", "READ_JSON"})
"""Operators whose result over several files is the concatenation of those over each."""


class Part(Spec):
    """One ordered stream of rows."""

    index: int
    query: str
    """The recipe's SELECT of these rows, safe to nest."""
    types: dict[str, str]
    """Lower-case column name → DuckDB type."""
    names: tuple[SplitName, ...]
    """The splits these rows fall into."""
    expression: str | None = None
    """SQL for the position in `names`, or"""
    ends: tuple[int, ...] = ()
    """the row of this part at which each split ends, once known."""

    @property
    def name(self) -> str:
        """The folder name of its results."""
        return f"{self.index:05d}"

    @property
    def trains(self) -> bool:
        """Whether some of these rows may be train rows."""
        return self.names[0] == "train" and (not self.ends or self.ends[0] > 0)

    def select(self, spec: DatasetSpec) -> str:
        """SQL of these rows with the column names of `sql.select`."""
        return sql.select(spec, self.query, self.types, self.expression)


class PartPlan(Spec):
    """All parts in order, train rows first."""

    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()
    """Remarks on the raw rows."""


def plan(engine: Engine, spec: DatasetSpec, limit: int | None) -> PartPlan:
    """Divide the rows of `spec`. Raises Mismatch for columns that the SELECT lacks."""
    parts: list[Part] = []
    notes: list[str] = []
    for query, rule in _streams(spec):
        headers.require_same(engine, query)
        headers.require_unique(engine, query, _mentioned(spec, query))
        quotes.require_plausible(engine, query)
        text = spelling.preserve(engine, spec, query)
        nested = sql.source(text, limit)
        try:
            types = _types(engine, spec, nested)
            route = splits.route(rule, engine, nested, skip=spec.on_error == "skip")
        except RunFailed as failure:
            raise bad_rows.earliest(engine, spec, nested, failure) from None
        notes += joins.notes(engine, text)
        for piece in _divided(engine, text, nested):
            parts.append(
                Part(
                    index=len(parts),
                    query=sql.source(piece, limit),
                    types=types,
                    names=route.names,
                    expression=route.expression,
                )
            )
    mentioned = " ".join(_mentioned(spec, query) for query in spec.queries)
    missing = [note for name, note in engine.schemas.notes.items() if headers.mentions(mentioned, name)]
    return PartPlan(parts=tuple(parts), notes=(*missing, *keys.notes(spec), *dict.fromkeys(notes)))


def _mentioned(spec: DatasetSpec, query: str) -> str:
    """All SQL of the recipe that may name a column of a raw file."""
    for arguments in sql.csv_calls(query):
        query = query.replace(arguments, "")
    return " ".join([query, *(text for _, text in _expressions(spec, {}))])


def bounded(
    spec: DatasetSpec, parts: Iterable[Part], rows: Iterable[int], stored: tuple[int, ...] = ()
) -> tuple[Part, ...]:
    """`parts`, which have so many `rows`, with the ends of their splits if these go by row order.

    `stored` are the ends if not all rows are stored.
    """
    rule, known = spec.split, list(zip(parts, rows, strict=True))
    divided = {part.index: count for part, count in known if len(part.names) > 1}
    if divided and not sum(divided.values()):
        names = ", ".join(f"`{name}`" for part, _ in known for name in sql.PLACEHOLDER.findall(part.query))
        raise RunFailed(
            f"{names or 'the SELECT'} of dataset `{spec.name}` returns no rows",
            hint="check the file and the filters of the SELECT",
        )
    if not isinstance(rule, ByOrder):
        return tuple(part for part, _ in known)
    ends = stored or boundaries(sum(divided.values()), rule.ratio)
    bounds, start = [], 0
    for part, count in known:
        inside = tuple(min(max(end - start, 0), count) for end in ends) if part.index in divided else ()
        bounds.append(part.model_copy(update={"ends": inside}))
        start += count if part.index in divided else 0
    return tuple(bounds)


def _streams(spec: DatasetSpec) -> list[tuple[str, SplitRule | SplitName]]:
    """The recipe's SELECTs with their rules, storing unreadable lines if those are skipped."""
    streams = splits.streams(spec)
    if spec.on_error == "fail":
        return streams
    return [(sql.storing_rejects(text, spec.max_rejected + 1), rule) for text, rule in streams]


def _types(engine: Engine, spec: DatasetSpec, query: str) -> dict[str, str]:
    try:
        types = engine.types(query)
    except Refused:
        raise
    except UsageError as error:
        where = "rows" if spec.rows is not None else "splits"
        raise Mismatch([Mistake(error.message, (where,), error.hint)]) from None
    known = {name.lower(): kind for name, kind in types.items()}
    if len(known) == 1 and any(name.lower() not in known for name, _ in spec.columns):
        _require_regular(engine, spec, query)
    _require_named(engine, spec, types)
    return known


def _require_named(engine: Engine, spec: DatasetSpec, types: Mapping[str, str]) -> None:
    """Mismatch for each expression of the recipe that is not valid over columns of these `types`."""
    columns = (f"CAST(NULL AS {kind}) AS {sql.identifier(name)}" for name, kind in types.items())
    row, mistakes = f"SELECT {', '.join(columns)}", []
    for where, expression in _expressions(spec, types):
        try:
            engine.types(f"SELECT (\n{expression}\n) FROM (\n{row}\n)")
        except UsageError as error:
            mistakes.append(Mistake(error.message, where, error.hint))
    if mistakes:
        raise Mismatch(mistakes)


def _expressions(spec: DatasetSpec, types: Mapping[str, str]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Path in the recipe and SQL of each expression over the SELECT, and of features that it lacks."""
    yield ("label",), spec.label
    if spec.probability is not None:
        yield ("probability",), spec.probability
    match spec.split:
        case ByHash():
            yield ("split", "key"), spec.split.key
        case ByTime() | ByColumn():
            yield ("split", "column"), sql.identifier(spec.split.column)
    known = {name.lower() for name in types}
    for index, group in enumerate(spec.features):
        for position, name in enumerate(group.columns):
            if name.lower() not in known:
                yield ("features", index, "columns", position), sql.identifier(name)


def _require_regular(engine: Engine, spec: DatasetSpec, query: str) -> None:
    """RunFailed for a line that makes DuckDB read a CSV file as a single column."""
    for arguments in sql.csv_calls(query):
        for name in sql.PLACEHOLDER.findall(arguments):
            for path in lines.paths_of(engine.paths[name]):
                odd = lines.odd_line(path, lines.DELIMITERS)
                if odd is not None:
                    what = f"`{path.name}:{odd[0]}`: {odd[1]} (dataset `{spec.name}`)"
                    raise RunFailed(what, hint=lines.SKIP)


def with_runs(
    paths: Mapping[str, Path | tuple[Path, ...]], parts: Iterable[Part]
) -> dict[str, Path | tuple[Path, ...]]:
    """`paths`, and those of the runs `name[start:stop]` that parts read."""
    found = {name for part in parts for name in sql.PLACEHOLDER.findall(part.query)} - set(paths)
    runs = {name: RUN.fullmatch(name) for name in found}
    return dict(paths) | {
        name: lines.paths_of(paths[run[1]])[int(run[2]) : int(run[3])] for name, run in runs.items() if run
    }


def _divided(engine: Engine, text: str, nested: str) -> list[str]:
    """`text` for each run of its file list, if that returns the same rows."""
    pieces = _by_list(engine, text) or _by_pattern(engine, text)
    if not pieces or not engine.operators(nested) <= ROW_BY_ROW:
        return [text]
    reading = [Part(index=0, query=piece, types={}, names=()) for piece in pieces]
    with engine.reading(with_runs(engine.paths, reading)):
        kinds = engine.types(nested)
        try:
            same = all(engine.types(sql.source(piece)) == kinds for piece in pieces)
        except UsageError:  # only some of the files have a column
            same = False
    return pieces if same else [text]


def _by_list(engine: Engine, text: str) -> list[str]:
    lists = FILE_LIST.findall(text)
    if len(lists) != 1:
        return []
    names = sql.PLACEHOLDER.findall(lists[0])
    sizes = [sum(path.stat().st_size for path in lines.paths_of(engine.paths[name])) for name in names]
    return [
        text.replace(lists[0], "[" + ", ".join(f"'{{{name}}}'" for name in names[start:stop]) + "]")
        for start, stop in _runs(sizes)
    ]


def _by_pattern(engine: Engine, text: str) -> list[str]:
    names = [name for name in sql.PLACEHOLDER.findall(text) if not isinstance(engine.paths[name], Path)]
    if len(names) != 1:
        return []
    sizes = [path.stat().st_size for path in lines.paths_of(engine.paths[names[0]])]
    return [
        text.replace(f"'{{{names[0]}}}'", f"'{{{names[0]}[{start}:{stop}]}}'") for start, stop in _runs(sizes)
    ]


def _runs(sizes: list[int]) -> Iterator[tuple[int, int]]:
    """Start and stop of runs that are large enough."""
    start = size = 0
    for stop, more in enumerate(sizes, start=1):
        size += more
        if size >= PART_BYTES or stop == len(sizes):
            yield start, stop
            start, size = stop, 0
