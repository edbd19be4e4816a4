"""Parquet files of one `read_parquet` with different columns: read by name without loss, or an error.

DuckDB casts every file to the columns of the first: a later `0.4` becomes 0 where the first file has
integers, hashes beyond 2^53 merge where it has doubles, and columns it lacks are dropped. `union_by_name`
only considers types and still rounds. So the schemas of all files are compared before anything is read. Where
they differ, each column gets a type that holds every value exactly, which may take a scan of that column.
Remote files are not compared.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from wukongctl.data.query import exact_types, sql
from wukongctl.data.query.exact_types import FLOATS, NO_TYPE
from wukongctl.errors import UsageError

CALL = re.compile(r"\b(?:read_parquet|parquet_scan)\s*\(", re.IGNORECASE)
PATTERN = re.compile(r"\b(FROM|JOIN)\s+('(?:[^']|'')*[*?\[](?:[^']|'')*\.parquet')", re.IGNORECASE)
"""A pattern of files used as a table."""
BY_NAME = re.compile(r",\s*union_by_name\s*(?:=>|:=|=)\s*\w+", re.IGNORECASE)
WILDCARD = re.compile(r"[*?\[]")
SHOWN, MAX_SQL_FILES = 3, 40
"""Files that a message names, and up to how many its hint gives SQL for."""


class FileGroup(NamedTuple):
    """Consecutive files that have the same columns."""

    files: tuple[str, ...]
    columns: Mapping[str, str]
    """Column name → DuckDB type."""

    def type(self, name: str) -> str | None:
        """Type of the column with that lower-case name; None where these files lack it."""
        return next((kind for column, kind in self.columns.items() if column.lower() == name), None)

    def column(self, name: str) -> str:
        """Name of the column with that lower-case name in these files."""
        return next(column for column in self.columns if column.lower() == name)


class Target(NamedTuple):
    """The type a column is read as, and the types of the files in which it has values."""

    kind: str
    with_values: frozenset[str]


class Schemas:
    """What the queries of one connection read instead of Parquet files that differ.

    `run` runs a small query. `notes` has a remark for each column that only some files have.
    """

    def __init__(self, run: Callable[[str], list[tuple[Any, ...]]], search: Path) -> None:
        self._run, self._search = run, search
        self._known: dict[str, str | None] = {}
        self.notes: dict[str, str] = {}

    def unified(self, query: str) -> str:
        """`query`, whose paths are filled in, with every `read_parquet` reading all files exactly.

        Raises UsageError for a column that no type holds exactly in all files.
        """
        query = PATTERN.sub(r"\1 read_parquet(\2)", query)
        result, start = "", 0
        for call in CALL.finditer(query):
            end = sql.closing(query, call.end())
            arguments = query[call.end() : end]
            if arguments not in self._known:
                self._known[arguments] = self._source(arguments)
            source = self._known[arguments]
            if source is not None:
                result += query[start : call.start()] + source
                start = end + 1
        return result + query[start:]

    def _source(self, arguments: str) -> str | None:
        """What to read instead of `read_parquet(arguments)`; None to keep it."""
        files = sql.FILES.match(arguments)
        if files is None or not (files[1].startswith("[") or WILDCARD.search(files[1])):
            return None
        rest = BY_NAME.sub("", arguments[files.end() :])
        groups = list(self._groups(list(self._local(files[1])), rest))
        if len(groups) < 2:
            return None
        targets = {name: self._target(name, groups, rest) for name in _names(groups)}
        for name in targets:
            if any(group.type(name) is None for group in groups):
                self.notes[name] = _missing(name, groups)
        by_name = f"read_parquet({files[1]}{rest}, union_by_name=true)"
        types = {name.lower(): kind for name, kind in self._described(by_name).items()}
        if all(types.get(name) == target.kind for name, target in targets.items()) and not any(
            _is_unsafe(group.type(name), target) for group in groups for name, target in targets.items()
        ):
            return by_name
        return f"({' UNION ALL BY NAME '.join(_select(group, targets, rest) for group in groups)})"

    def _local(self, files: str) -> Iterator[str]:
        """The files of the first argument, patterns resolved; none if one of them is remote."""
        names = [text.replace("''", "'") for text in sql.FILE.findall(files)]
        if any("://" in text for text in names):
            return
        for text in names:
            if WILDCARD.search(text) and not (self._search / text).is_file():
                yield from (file for (file,) in self._run(f"SELECT file FROM glob({sql.literal(text)})"))
            else:
                yield text

    def _groups(self, files: list[str], rest: str) -> Iterator[FileGroup]:
        """Runs of files with the same columns in any order; empty where all files have the same."""
        known: dict[object, dict[str, str]] = {}
        keyed = [(_key(self._search / file), file) for file in files]
        if len({key for key, _ in keyed}) < 2:
            return
        for key, run in groupby(keyed, key=lambda pair: pair[0]):
            members = tuple(file for _, file in run)
            if key not in known:
                own = {name for name, _ in key or ()}
                found = self._described(f"read_parquet({sql.literal(members[0])}{rest})")
                known[key] = {name: kind for name, kind in found.items() if name.lower() in own}
            yield FileGroup(members, known[key])

    def _described(self, table: str) -> dict[str, str]:
        described = self._run(f"DESCRIBE SELECT * FROM {table}")
        return {name: kind.replace('"NULL"', NO_TYPE) for name, kind, *_ in described}

    def _target(self, name: str, groups: Sequence[FileGroup], rest: str) -> Target:
        """A type that holds every value of the column exactly; UsageError if there is none."""
        holders = [group for group in groups if group.type(name) is not None]
        kinds = sorted({str(group.type(name)) for group in holders}, key=lambda kind: kind == NO_TYPE)
        if len(kinds) == 1:
            return Target(kinds[0], frozenset(kinds))
        tables = {kind: _union([g for g in holders if g.type(name) == kind], rest) for kind in kinds}
        column = sql.identifier(holders[0].column(name))
        filled = [kind for kind in kinds if self._run(exact_types.any_value(tables[kind], column, kind))]
        if len(filled) < 2:
            return Target((filled or kinds)[0], frozenset(filled))
        for target in exact_types.candidates(filled):
            unsure = [kind for kind in filled if not exact_types.is_wider(target, kind)]
            if not any(self._run(exact_types.loss(tables[kind], column, kind, target)) for kind in unsure):
                return Target(target, frozenset(filled))
        raise self._conflict(name, [group for group in holders if group.type(name) in filled], groups, rest)

    def _conflict(
        self, name: str, holders: Sequence[FileGroup], groups: Sequence[FileGroup], rest: str
    ) -> UsageError:
        """The error for a column that no type holds, with the recipe lines that read it as text."""
        column = holders[0].column(name)
        kinds = dict.fromkeys(str(group.type(name)) for group in holders)
        files = {kind: [f for g in holders if g.type(name) == kind for f in g.files] for kind in kinds}
        types = " and ".join(f"{kind} in {_named(files[kind])}" for kind in kinds)
        hint = "rewrite the files with one type"
        every = [file for group in groups for file in group.files]
        if len(every) <= MAX_SQL_FILES:
            listed = ", ".join(f"{json.dumps(self._in_recipe(file))}: {{}}" for file in every)
            text = self._as_text(name, groups, rest)
            hint += f"; or read it as text: `files: {{{listed}}}`, and in the SQL: `{text}`"
        return UsageError(f"`{column}` is {types}: no type holds all its values exactly", hint=hint)

    def _as_text(self, name: str, groups: Sequence[FileGroup], rest: str) -> str:
        """SQL that reads all files, with one column as text."""
        parts = []
        for kind in dict.fromkeys(group.type(name) for group in groups):
            members = [group for group in groups if group.type(name) == kind]
            files = [self._in_recipe(file) for group in members for file in group.files]
            column = sql.identifier(members[0].column(name)) if kind is not None else ""
            cast = (
                f" REPLACE (CAST({column} AS VARCHAR) AS {column})" if kind not in (None, "VARCHAR") else ""
            )
            listed = ", ".join(f"'{{{file}}}'" for file in files)
            parts.append(f"SELECT *{cast} FROM read_parquet([{listed}]{rest})")
        return " UNION ALL BY NAME ".join(parts)

    def _in_recipe(self, file: str) -> str:
        """The name of a file in a recipe: its path relative to the search folder."""
        path, folder = Path(file).absolute(), self._search.absolute()
        return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name


def _key(file: Path) -> frozenset[tuple[str, str]] | None:
    """Names and types of a file's columns; None where it cannot be read, which DuckDB reports."""
    try:
        schema = pq.read_schema(file)
    except (OSError, pa.ArrowException):
        return None
    return frozenset((field.name.lower(), str(field.type)) for field in schema)


def _names(groups: Iterable[FileGroup]) -> list[str]:
    """All column names in lower case, in order of appearance."""
    return list(dict.fromkeys(name.lower() for group in groups for name in group.columns))


def _union(groups: Iterable[FileGroup], rest: str) -> str:
    return f"read_parquet({sql.files(file for group in groups for file in group.files)}{rest})"


def _is_unsafe(kind: str | None, target: Target) -> bool:
    """Whether DuckDB's own cast to the target fails, or turns NaN into the text `nan`."""
    if kind in (None, target.kind, NO_TYPE):
        return False
    return kind not in target.with_values or (kind in FLOATS and target.kind not in FLOATS)


def _select(group: FileGroup, targets: Mapping[str, Target], rest: str) -> str:
    """The rows of one group under the types of `targets`."""
    casts = []
    for column, kind in group.columns.items():
        target, name = targets[column.lower()], sql.identifier(column)
        if kind != target.kind:
            value = exact_types.value(name, kind) if kind in target.with_values else "NULL"
            casts.append(f"CAST({value} AS {target.kind}) AS {name}")
    replaced = f" REPLACE ({', '.join(casts)})" if casts else ""
    return f"SELECT *{replaced} FROM {_union([group], rest)}"


def _missing(name: str, groups: Sequence[FileGroup]) -> str:
    """A remark on a column that some files lack."""
    lacking = [file for group in groups if group.type(name) is None for file in group.files]
    column = next(group.column(name) for group in groups if group.type(name) is not None)
    total = sum(len(group.files) for group in groups)
    share = f"{len(lacking):,} of {total:,} files"
    return f"`{column}` is not in {_named(lacking)} ({share}) and missing in those rows"


def _named(files: Sequence[str]) -> str:
    more = f" and {len(files) - SHOWN:,} more" if len(files) > SHOWN else ""
    return ", ".join(f"`{Path(file).name}`" for file in files[:SHOWN]) + more
