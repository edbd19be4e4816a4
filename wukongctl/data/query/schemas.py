"""Parquet files behind one `read_parquet` whose columns differ: read by name, without loss, or an error.

DuckDB casts every file to the columns of the first: a later `0.4` becomes 0 where the first file has
integers, hashes beyond 2^53 merge where it has doubles, and columns it lacks are dropped. Its `union_by_name`
goes by type alone and still rounds. So the schemas of all files are compared before anything is read, and
where they differ each column gets a type that holds every value exactly: by type where that is certain, else
by a look at that column's values. Remote files are not compared.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from wukongctl.data.query import exact, sql
from wukongctl.errors import UsageError

CALL = re.compile(r"\b(?:read_parquet|parquet_scan)\s*\(", re.IGNORECASE)
PATTERN = re.compile(r"\b(FROM|JOIN)\s+('(?:[^']|'')*[*?\[](?:[^']|'')*\.parquet')", re.IGNORECASE)
"""A pattern of files in place of a table."""
FILES = re.compile(r"\s*(\[[^\]]*\]|'(?:[^']|'')*')")
FILE = re.compile(r"'((?:[^']|'')*)'")
BY_NAME = re.compile(r",\s*union_by_name\s*(?:=>|:=|=)\s*\w+", re.IGNORECASE)
MANY = re.compile(r"[*?\[]")
SHOWN, LISTED = 3, 40
"""Files that a message names."""

Columns = Mapping[str, str]
"""Column name → DuckDB type."""
Ask = Callable[[str], list[tuple[Any, ...]]]
"""Runs a small query, as it stands."""


class FileGroup(NamedTuple):
    """Consecutive files that have the same columns."""

    files: tuple[str, ...]
    columns: Columns

    def type(self, name: str) -> str | None:
        """Of a column by its name in lower case; None where these files lack it."""
        return next((kind for column, kind in self.columns.items() if column.lower() == name), None)

    def column(self, name: str) -> str:
        """A column by its name in lower case, as these files spell it."""
        return next(column for column in self.columns if column.lower() == name)


class Target(NamedTuple):
    """The type a column is read as, and which types of the files have values to keep."""

    kind: str
    filled: frozenset[str]


class Schemas:
    """Of one connection: what its queries should read where Parquet files differ.

    `notes` collects columns that only some files have, with a sentence for a person.
    """

    def __init__(self, ask: Ask, search: Path) -> None:
        self._ask, self._search = ask, search
        self._known: dict[str, str | None] = {}
        self.notes: dict[str, str] = {}

    def unified(self, query: str) -> str:
        """`query`, its paths filled in, with every `read_parquet` of files that differ reading them exactly.

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
        """What to read instead of `read_parquet(arguments)`; None where that is right as it stands."""
        given = FILES.match(arguments)
        if given is None or not (given[1].startswith("[") or MANY.search(given[1])):
            return None
        rest = BY_NAME.sub("", arguments[given.end() :])
        groups = list(self._groups(list(self._local(given[1])), rest))
        if len(groups) < 2:
            return None
        targets = {name: self._target(name, groups, rest) for name in _names(groups)}
        for name in targets:
            if any(group.type(name) is None for group in groups):
                self.notes[name] = _missing(name, groups)
        by_name = f"read_parquet({given[1]}{rest}, union_by_name=true)"
        found = {name.lower(): kind for name, kind in self._described(by_name).items()}
        if all(found.get(name) == target.kind for name, target in targets.items()) and not any(
            _is_unsafe(group.type(name), target) for group in groups for name, target in targets.items()
        ):
            return by_name
        return f"({' UNION ALL BY NAME '.join(_select(group, targets, rest) for group in groups)})"

    def _local(self, files: str) -> Iterator[str]:
        """The files of the first argument, patterns resolved; none if one of them is remote."""
        named = [text.replace("''", "'") for text in FILE.findall(files)]
        if any("://" in text for text in named):
            return
        for text in named:
            if MANY.search(text) and not (self._search / text).is_file():
                yield from (file for (file,) in self._ask(f"SELECT file FROM glob({sql.literal(text)})"))
            else:
                yield text

    def _groups(self, files: list[str], rest: str) -> Iterator[FileGroup]:
        """Consecutive files of the same columns, in any order; nothing where all files are alike."""
        known: dict[object, Columns] = {}
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
        described = self._ask(f"DESCRIBE SELECT * FROM {table}")
        return {name: kind.replace('"NULL"', exact.NOTHING) for name, kind, *_ in described}

    def _target(self, name: str, groups: Sequence[FileGroup], rest: str) -> Target:
        """A type that holds every value of the column exactly; UsageError if there is none."""
        holders = [group for group in groups if group.type(name) is not None]
        kinds = sorted({str(group.type(name)) for group in holders}, key=lambda kind: kind == exact.NOTHING)
        if len(kinds) == 1:
            return Target(kinds[0], frozenset(kinds))
        tables = {kind: _union([g for g in holders if g.type(name) == kind], rest) for kind in kinds}
        column = sql.identifier(holders[0].column(name))
        filled = [kind for kind in kinds if self._ask(exact.filled(tables[kind], column, kind))]
        if len(filled) < 2:
            return Target((filled or kinds)[0], frozenset(filled))
        for target in exact.candidates(filled):
            unsure = [kind for kind in filled if not exact.is_wider(target, kind)]
            if not any(self._ask(exact.lost(tables[kind], column, kind, target)) for kind in unsure):
                return Target(target, frozenset(filled))
        raise self._conflict(name, [group for group in holders if group.type(name) in filled], groups, rest)

    def _conflict(
        self, name: str, holders: Sequence[FileGroup], groups: Sequence[FileGroup], rest: str
    ) -> UsageError:
        """The error for a column whose values no type holds, with a recipe's lines that read it as text."""
        column = holders[0].column(name)
        kinds = dict.fromkeys(str(group.type(name)) for group in holders)
        files = {kind: [f for g in holders if g.type(name) == kind for f in g.files] for kind in kinds}
        said = " and ".join(f"{kind} in {_named(files[kind])}" for kind in kinds)
        hint = "write the files with one type"
        every = [file for group in groups for file in group.files]
        if len(every) <= LISTED:
            listed = ", ".join(f"{json.dumps(self._in_recipe(file))}: {{}}" for file in every)
            text = self._as_text(name, groups, rest)
            hint += f"; or choose one: `files: {{{listed}}}`, and in the SQL: `{text}`"
        return UsageError(f"`{column}` is {said}: no type holds all its values as they are", hint=hint)

    def _as_text(self, name: str, groups: Sequence[FileGroup], rest: str) -> str:
        """SQL that reads all files with one column as text, by the names that a recipe gives them."""
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
        """What a recipe beside the files calls one: its path from there."""
        path, folder = Path(file).absolute(), self._search.absolute()
        return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name


def _key(file: Path) -> frozenset[tuple[str, str]] | None:
    """Names and types of a file's columns; None where it cannot be read, which DuckDB will say."""
    try:
        schema = pq.read_schema(file)
    except (OSError, pa.ArrowException):
        return None
    return frozenset((field.name.lower(), str(field.type)) for field in schema)


def _names(groups: Iterable[FileGroup]) -> list[str]:
    """All columns in lower case, in the order they are first seen."""
    return list(dict.fromkeys(name.lower() for group in groups for name in group.columns))


def _union(groups: Iterable[FileGroup], rest: str) -> str:
    listed = ", ".join(sql.literal(file) for group in groups for file in group.files)
    return f"read_parquet([{listed}]{rest})"


def _is_unsafe(kind: str | None, target: Target) -> bool:
    """Whether DuckDB's own cast to the target fails, or makes a text `nan` of what is no value."""
    if kind in (None, target.kind, exact.NOTHING):
        return False
    return kind not in target.filled or (kind in exact.FLOATS and target.kind not in exact.FLOATS)


def _select(group: FileGroup, targets: Mapping[str, Target], rest: str) -> str:
    """The rows of one group under the types of `targets`."""
    casts = []
    for column, kind in group.columns.items():
        target, name = targets[column.lower()], sql.identifier(column)
        if kind != target.kind:
            value = exact.value(name, kind) if kind in target.filled else "NULL"
            casts.append(f"CAST({value} AS {target.kind}) AS {name}")
    replaced = f" REPLACE ({', '.join(casts)})" if casts else ""
    return f"SELECT *{replaced} FROM {_union([group], rest)}"


def _missing(name: str, groups: Sequence[FileGroup]) -> str:
    """A note on a column that some files lack."""
    lacking = [file for group in groups if group.type(name) is None for file in group.files]
    column = next(group.column(name) for group in groups if group.type(name) is not None)
    total = sum(len(group.files) for group in groups)
    return f"`{column}` is not in {_named(lacking)} ({len(lacking):,} of {total:,} files): missing there"


def _named(files: Sequence[str]) -> str:
    more = f" and {len(files) - SHOWN:,} more" if len(files) > SHOWN else ""
    return ", ".join(f"`{Path(file).name}`" for file in files[:SHOWN]) + more
