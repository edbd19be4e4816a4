"""The rows of a recipe as parts that are counted and encoded apart, each from its own raw files.

A SELECT that reads a list of files row by row, `read_csv(['{day_0.gz}', '{day_1.gz}'])`, is divided into runs
of that list; any other SELECT is one part. The parts depend on the recipe and the sizes of the files alone,
so that one thread, many, or a cluster give the same rows in the same order.
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
from wukongctl.data.pipeline import diagnosis, joined, keys, spelling, splits
from wukongctl.data.pipeline.splits import Route
from wukongctl.data.query import headers, lines, quotes, sql
from wukongctl.data.query.engine import Engine
from wukongctl.errors import RunFailed, UsageError

PART_BYTES = 256 << 20
"""Neighbouring files of a list share a part until they are this large together."""
FILE_LIST = re.compile(r"\[\s*'\{[^{}']+\}'(?:\s*,\s*'\{[^{}']+\}')+\s*,?\s*\]")
RUN = re.compile(r"(.+)\[(\d+):(\d+)\]")
"""The name of some of the files behind a pattern."""
ROW_BY_ROW = frozenset({"PROJECTION", "FILTER", "READ_CSV", "READ_CSV_AUTO", "READ_PARQUET", "READ_JSON"})
"""Operators whose result over several files is the results over each, one after the other."""


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
    """SQL giving the position in `names`…"""
    ends: tuple[int, ...] = ()
    """… or the row of this part at which each split ends, once that is known."""

    @property
    def name(self) -> str:
        """The folder of this part's results."""
        return f"{self.index:05d}"

    @property
    def route(self) -> Route:
        """How these rows are divided over splits."""
        return Route(self.names, self.expression, self.ends)

    @property
    def trains(self) -> bool:
        """Whether any of these rows may be train rows."""
        return self.names[0] == "train" and (not self.ends or self.ends[0] > 0)

    def select(self, spec: DatasetSpec) -> str:
        """These rows under the fixed names of `sql`."""
        return sql.select(spec, self.query, self.types, self.expression)


class PartPlan(Spec):
    """All parts in order; the train rows come first wherever order divides them."""

    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()
    """What a person should know of the rows as they are read."""


def plan(engine: Engine, spec: DatasetSpec, limit: int | None) -> PartPlan:
    """Divide the rows of `spec`. Raises Mismatch for what the SELECT lacks."""
    parts: list[Part] = []
    said: list[str] = []
    for written, rule in _streams(spec):
        headers.require_same(engine, written)
        headers.require_unique(engine, written, _mentioned(spec, written))
        quotes.require_plausible(engine, written)
        text = spelling.kept(engine, spec, written)
        whole = sql.source(text, limit)
        try:
            types = _types(engine, spec, whole)
            route = splits.route(rule, engine, whole, skip=spec.on_error == "skip")
        except RunFailed as failure:
            raise diagnosis.earliest(engine, spec, whole, failure) from None
        said += joined.notes(engine, text)
        for piece in _divided(engine, text, whole):
            parts.append(
                Part(
                    index=len(parts),
                    query=sql.source(piece, limit),
                    types=types,
                    names=route.names,
                    expression=route.expression,
                )
            )
    return PartPlan(
        parts=tuple(parts), notes=(*_lacking(engine, spec), *keys.notes(spec), *dict.fromkeys(said))
    )


def _lacking(engine: Engine, spec: DatasetSpec) -> Iterator[str]:
    """Of each column that the recipe mentions and only some Parquet files have: where it is missing."""
    mentioned = " ".join(_mentioned(spec, query) for query in spec.queries)
    return (note for name, note in engine.schemas.notes.items() if headers.mentions(mentioned, name))


def _mentioned(spec: DatasetSpec, query: str) -> str:
    """All of the recipe that may name a column of a raw file."""
    for arguments in sql.csv_calls(query):
        query = query.replace(arguments, "")
    return " ".join([query, *(text for _, text in _expressions(spec, {}))])


def bounded(spec: DatasetSpec, parts: Iterable[Part], rows: Iterable[int]) -> tuple[Part, ...]:
    """`parts` with the ends of their splits, where these follow the order of `rows`, given for each part."""
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
    ends = boundaries(sum(divided.values()), rule.ratio)
    bounds, start = [], 0
    for part, count in known:
        inside = tuple(min(max(end - start, 0), count) for end in ends) if part.index in divided else ()
        bounds.append(part.model_copy(update={"ends": inside}))
        start += count if part.index in divided else 0
    return tuple(bounds)


def _streams(spec: DatasetSpec) -> list[tuple[str, SplitRule | SplitName]]:
    """The recipe's SELECTs with their rules, noting unreadable lines where those are to be skipped."""
    streams = splits.streams(spec)
    if spec.on_error == "fail":
        return streams
    return [(sql.storing_rejects(text, spec.max_rejected + 1), rule) for text, rule in streams]


def _types(engine: Engine, spec: DatasetSpec, query: str) -> dict[str, str]:
    try:
        types = engine.types(query)
    except UsageError as error:
        where = "rows" if spec.rows is not None else "splits"
        raise Mismatch([Mistake(error.message, (where,), error.hint)]) from None
    known = {name.lower(): kind for name, kind in types.items()}
    if len(known) == 1 and any(name.lower() not in known for name, _ in spec.columns):
        _require_even(engine, spec, query)
    _require_named(engine, spec, types)
    return known


def _require_named(engine: Engine, spec: DatasetSpec, types: Mapping[str, str]) -> None:
    """Mismatch for each expression of the recipe that makes no sense of columns of these `types`."""
    columns = (f"CAST(NULL AS {kind}) AS {sql.identifier(name)}" for name, kind in types.items())
    nothing, mistakes = f"SELECT {', '.join(columns)}", []
    for where, expression in _expressions(spec, types):
        try:
            engine.types(f"SELECT (\n{expression}\n) FROM (\n{nothing}\n)")
        except UsageError as error:
            mistakes.append(Mistake(error.message, where, error.hint))
    if mistakes:
        raise Mismatch(mistakes)


def _expressions(spec: DatasetSpec, types: Mapping[str, str]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """SQL over the columns of the SELECT, by its place in the recipe; of features, those it does not give."""
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


def _require_even(engine: Engine, spec: DatasetSpec, query: str) -> None:
    """RunFailed for the line that makes DuckDB take a CSV file for one of a single column."""
    for arguments in sql.csv_calls(query):
        for name in sql.PLACEHOLDER.findall(arguments):
            for path in lines.paths_of(engine.paths[name]):
                odd = lines.odd_line(path, lines.DELIMITERS)
                if odd is not None:
                    raise RunFailed(
                        f"`{path.name}:{odd[0]}`: {odd[1]} (dataset `{spec.name}`)", hint=lines.SKIP
                    )


def with_runs(
    paths: Mapping[str, Path | tuple[Path, ...]], parts: Iterable[Part]
) -> dict[str, Path | tuple[Path, ...]]:
    """`paths` and those of the runs `name[start:stop]` that parts read."""
    found = {name for part in parts for name in sql.PLACEHOLDER.findall(part.query)} - set(paths)
    runs = {name: RUN.fullmatch(name) for name in found}
    return dict(paths) | {
        name: lines.paths_of(paths[run[1]])[int(run[2]) : int(run[3])] for name, run in runs.items() if run
    }


def _divided(engine: Engine, text: str, nested: str) -> list[str]:
    """`text` once for each run of its file list, if that gives the same rows."""
    pieces = _by_list(engine, text) or _by_pattern(engine, text)
    if not pieces or not engine.operators(nested) <= ROW_BY_ROW:
        return [text]
    known = with_runs(engine.paths, [_bare(piece) for piece in pieces])
    with engine.reading(known):
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
    """Start and stop of runs of neighbours that are large enough together."""
    start = size = 0
    for stop, more in enumerate(sizes, start=1):
        size += more
        if size >= PART_BYTES or stop == len(sizes):
            yield start, stop
            start, size = stop, 0


def _bare(query: str) -> Part:
    return Part(index=0, query=query, types={}, names=())
