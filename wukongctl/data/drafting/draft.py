"""A first recipe for a table nobody has described: measured, guessed, tried, and written with its reasons."""

import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wukongctl.config.dataset import RESERVED_COLUMNS, ByOrder, DatasetSpec, is_pattern
from wukongctl.config.loading import validate
from wukongctl.config.positions import parse
from wukongctl.data.acquire.sources import by_name
from wukongctl.data.drafting import guess, page, profile, writing
from wukongctl.data.drafting.guess import Label, Role
from wukongctl.data.drafting.profile import Column
from wukongctl.data.pipeline import splits
from wukongctl.data.query import headers, sql, tables
from wukongctl.data.query.engine import Engine
from wukongctl.errors import UsageError

LOOKED_AT = 300_000
"""Rows that are measured; a recipe is a guess however many there are."""
LEAST_ROWS = 10
"""Fewer cannot be divided into three splits."""
WHOLE_ROW = "CAST(row(*COLUMNS(*)) AS VARCHAR)"
"""Not `concat_ws`, which refuses nested lists."""
RATIO = {"train": 8, "valid": 1, "test": 1}
KEYWORDS = "SELECT count(*) FROM duckdb_keywords() WHERE keyword_category = 'reserved'"
FEW = 10
"""A column of so few values that gives the label away is the label by another name."""
MANY_ROWS = 100
LINE = 80
"""Characters of a list of SQL that stay on one line."""


class Draft(NamedTuple):
    """A recipe as text, what became of each column, and what the values leave open."""

    name: str
    text: str
    label: Label
    roles: tuple[Role, ...]
    doubts: tuple[str, ...]


def draft(file: str, *, name: str | None = None, label: str | None = None) -> Draft:
    """A recipe for the table (or the pattern of tables) `file`, to be saved in the current folder.

    Raises UsageError for a table that cannot be a dataset, RunFailed for a file that cannot be read.
    """
    if re.search(r"[{}'\x00-\x1f]", file):
        raise UsageError(f"`{file}` has characters in its name that SQL cannot hold", hint="rename the file")
    place = _place(file)
    with tempfile.TemporaryDirectory() as folder:
        chosen = name if name is not None else _name(file)
        engine = Engine(chosen, {file: place}, spill=Path(folder), search=Path())
        try:
            first = place if isinstance(place, Path) else place[0]
            return _Drafting(engine, file, chosen, tables.describe(engine, first, file), label).draft()
        finally:
            engine.close()


def _place(file: str) -> Path | tuple[Path, ...]:
    """The file, or those that fit the pattern, as the recipe will find them from this folder."""
    try:
        if Path(file).is_file():
            return Path(file)
        if Path(file).is_dir():
            some = f"{file.rstrip('/')}/*.csv"
            raise UsageError(f"`{file}` is a folder", hint=f'give its files, such as `"{some}"`')
        found = by_name(Path(), file) if is_pattern(file) else None
    except OSError:  # a name too long for the file system
        found = None
    if not found:
        raise UsageError(f"there is no file `{file}`")
    return found


def _name(file: str) -> str:
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(file).name.partition(".")[0])
    return stem.strip("._-")[:60] or "mine"


class _Drafting:
    def __init__(self, engine: Engine, file: str, name: str, table: tables.Table, wanted: str | None) -> None:
        self.engine, self.file, self.name, self.table = engine, file, name, table
        self._require_same()
        # A copy of the rows: each look at the file would parse it again.
        engine.execute(f"CREATE TEMP TABLE looked_at AS SELECT * FROM {table.source} LIMIT {LOOKED_AT}")
        self._require_rows()
        self.writings = writing.look(engine, "FROM looked_at", table.columns)
        self.columns = profile.measure(engine, self._as_meant(), table.columns)
        self.rows = self.columns[0].rows
        self.label = guess.label(self.columns, wanted, file)
        rest = [column for column in self.columns if column is not self.label.column]
        self.time = guess.time(rest)
        self.names = _names(self.columns, self.label.column)

    def _require_same(self) -> None:
        """UsageError for files of one pattern whose columns differ: the recipe names them by position."""
        try:
            headers.require_same(self.engine, self.table.source)
        except UsageError as error:
            by_name = f"read_csv('{{{self.file}}}', header=true, all_varchar=true, union_by_name=true)"
            hint = "give all files the same columns; or draft a recipe for one, and let names decide"
            raise UsageError(error.message, hint=f"{hint}: `{by_name}`") from None

    def _require_rows(self) -> None:
        ((rows,),) = self.engine.rows("SELECT count(*) FROM looked_at")
        if not rows:
            raise UsageError(
                f"`{self.file}` has a header and no rows", hint="give the file that holds the rows"
            )
        if rows < LEAST_ROWS:
            raise UsageError(
                f"`{self.file}` has {rows} rows, a dataset needs at least {LEAST_ROWS}",
                hint='give a larger file, or a pattern of files such as `"part-*.csv"`',
            )

    def _as_meant(self) -> str:
        """The rows looked at, with missing values missing and numbers numbers."""
        changed = ", ".join(f"{new} AS {sql.identifier(name)}" for name, new in self._meant().items())
        return f"SELECT * REPLACE ({changed}) FROM looked_at" if changed else "SELECT * FROM looked_at"

    def _meant(self) -> dict[str, str]:
        """Columns that are not read as they stand, and how they are."""
        known = {name: how.expression for name, how in self.writings.items()}
        return {name: new for name, new in known.items() if new is not None}

    def draft(self) -> Draft:
        roles = self._roles()
        made = self._trial(roles)
        leaks = self._leaks(made, roles)
        if leaks:
            note = "it tells the label: known only afterwards, or the label by another name"
            roles = [
                role._replace(kind="left out", note=note) if self.names[role.column.name] in leaks else role
                for role in roles
            ]
        split, note = self._split(roles)
        text = self._text(roles, split, note)
        validate(parse(text, f"{self.name}.yaml"), DatasetSpec)  # a mistake of ours, not of the user's
        return Draft(self.name, text, self.label, tuple(roles), self._doubts(roles))

    def _roles(self) -> list[Role]:
        others = [c for c in self.columns if c is not self.label.column and c is not self.time]
        roles = [guess.role(column) for column in others]
        if all(role.kind == "left out" for role in roles):
            # Better a poor feature than none.
            usable = [c for c in others if c.filled and not c.is_nested and c.type != "BLOB"]
            roles = [
                Role(r.column, "categorical", r.note) if r.column in usable and not r.column.is_list else r
                for r in roles
            ]
        if all(role.kind == "left out" for role in roles) and self.time is not None:
            self.time = None  # the only column that holds anything is worth more as a feature
            return self._roles()
        if all(role.kind == "left out" for role in roles):
            raise UsageError(
                f"no column of `{self.file}` can be a feature",
                hint="a table needs at least one column beside the label and the time",
            )
        return roles

    def _leaks(self, spec: DatasetSpec, roles: Sequence[Role]) -> set[str]:
        """Features of few values that give the label away; none if they all do."""
        few = [
            self.names[role.column.name]
            for role in roles
            if role.kind in ("categorical", "numeric") and role.column.distinct <= FEW
        ]
        used = [role for role in roles if role.kind != "left out"]
        if self.rows < MANY_ROWS or not few:
            return set()
        found = profile.determined(self.engine, sql.source(spec.rows or "", LOOKED_AT), spec.label, few)
        return found if len(found) < len(used) else set()

    def _split(self, roles: Sequence[Role]) -> tuple[dict[str, Any], str]:
        """The first rule that gives three splits with clicks and others in each; else with rows in each."""
        fallback = None
        for rule, note in self._rules():
            counts = self._counts(self._trial(roles, rule))
            if len(counts) == len(RATIO) and all(0 < positives < rows for rows, positives in counts):
                return rule, note
            if len(counts) == len(RATIO) and fallback is None:
                fallback = rule, f"{note}; some split has only one class"
        if fallback is None:
            raise UsageError(f"`{self.file}` has too few different rows to be divided into splits")
        return fallback

    def _rules(self) -> list[tuple[dict[str, Any], str]]:
        rules: list[tuple[dict[str, Any], str]] = [
            (
                {"by": "hash", "key": WHOLE_ROW, "seed": 0, "ratio": RATIO},
                "by a hash of the whole row; with a user's column as `key`, a user is in one split only",
            ),
            ({"by": "order", "ratio": RATIO}, "the first rows train, the last test"),
        ]
        if self.time is not None:
            rule = {"by": "time", "column": self.names[self.time.name], "ratio": RATIO}
            rules.insert(0, (rule, "the earliest rows train, the latest test"))
        return rules

    def _counts(self, spec: DatasetSpec) -> list[tuple[int, int]]:
        """Rows and positives of each split that has rows."""
        assert spec.rows is not None
        assert spec.split is not None
        query = sql.source(spec.rows, LOOKED_AT)
        which = splits.route(spec.split, self.engine, query).expression
        if isinstance(spec.split, ByOrder):
            ((rows,),) = self.engine.rows(f"SELECT count(*) FROM (\n{query}\n)")
            ends = splits.boundaries(rows, spec.split.ratio)
            query = f"SELECT *, row_number() OVER () AS wukongctl_row FROM (\n{query}\n)"
            which = f"(wukongctl_row > {ends[0]})::INT + (wukongctl_row > {ends[1]})::INT"
        clicks = f"count(*) FILTER (TRY_CAST(({spec.label}) AS DOUBLE) = 1)"
        found = self.engine.rows(f"SELECT {which}, count(*), {clicks} FROM (\n{query}\n) GROUP BY 1")
        return [(int(rows), int(positives)) for _, rows, positives in found]

    def _trial(self, roles: Sequence[Role], split: dict[str, Any] | None = None) -> DatasetSpec:
        """The recipe so far, for trying it."""
        text = self._text(roles, split or {"by": "order", "ratio": RATIO}, "")
        return validate(parse(text, f"{self.name}.yaml"), DatasetSpec)

    def _text(self, roles: Sequence[Role], split: dict[str, Any], split_note: str) -> str:
        rows = f"{self.rows:,}" if self.rows < LOOKED_AT else f"the first {LOOKED_AT:,}"
        lines = [
            f"# wukongctl prepare ./{self.name}.yaml",
            f"# A first recipe, guessed from {rows} rows of {Path(self.file).name}: read it and correct it.",
            f"name: {page.scalar(self.name)}",
            f"description: {json.dumps(f'{Path(self.file).name}, described by wukongctl datasets init')}",
            f"files: {{{page.scalar(self.file)}: {{}}}} # found beside this recipe, or in --source",
            *(line for said in (*self.table.notes, *self._doubts(roles)) for line in page.remark(said)),
            *page.block("rows", self._sql()),
            *([f"# {split_note}"] if split_note else []),
            f"split: {page.flow(split)}",
            *([f"# {self.label.note}"] if self.label.note else []),
            f"label: {page.scalar(self._label())}",
            "features:",
            *(line for group in _groups(roles) for line in self._group(group)),
            *self._omitted(roles),
        ]
        return "\n".join(lines) + "\n"

    def _label(self) -> str:
        """The label's expression over the columns of the SELECT, without needless quotes."""
        name = self.label.column.name
        new = self.names[name]
        (reserved,) = self.engine.rows(f"{KEYWORDS} AND keyword_name = {sql.literal(new.lower())}")[0]
        plain = page.PLAIN.fullmatch(new) and not reserved
        return self.label.expression.replace(sql.identifier(name), new if plain else sql.identifier(new))

    def _sql(self) -> str:
        changes = self._conversions()
        renames = {old: new for old, new in self.names.items() if old != new}
        both = changes.keys() & renames.keys()  # DuckDB takes a column in one list only
        lists = {
            "EXCLUDE": [sql.identifier(name) for name in self.names if name in both],
            "REPLACE": [
                f"{new} AS {sql.identifier(name)}" for name, new in changes.items() if name not in both
            ],
            "RENAME": [
                f"{sql.identifier(old)} AS {sql.identifier(new)}"
                for old, new in renames.items()
                if old not in both
            ],
        }
        star = "*" + "".join(f" {word} ({_items(items)})" for word, items in lists.items() if items)
        star += "".join(
            f", {changes[old]} AS {sql.identifier(renames[old])}" for old in self.names if old in both
        )
        text = (
            f"SELECT {star}\nFROM {self.table.source}"
            if star != "*"
            else f"SELECT * FROM {self.table.source}"
        )
        label = self.label.column
        if label.filled == label.rows and label.rows < LOOKED_AT:
            return text
        name = self._meant().get(label.name, sql.identifier(label.name))
        known = f"trim({name}) <> ''" if label.type == "VARCHAR" else f"{name} IS NOT NULL"
        if label.is_number:
            known = f"isfinite(TRY_CAST({name} AS DOUBLE))"
        return f"{text}\nWHERE {known} -- rows without a label teach nothing"

    def _doubts(self, roles: Sequence[Role]) -> tuple[str, ...]:
        """What the values leave open and the recipe had to decide."""
        out = {role.column.name for role in roles if role.kind == "left out"}
        said = writing.remarks(how for name, how in self.writings.items() if name not in out)
        time = self.time
        if time is not None and time.other_format is not None:
            said.append(
                f"every `{time.name}` fits {time.other_format} as well as {time.format}: "
                "the day is taken to come first"
            )
        return (*self.table.doubts, *said)

    def _conversions(self) -> dict[str, str]:
        """Columns that are read as text and are needed as something else."""
        changes = self._meant()
        label = self.label.column
        compared = self.label.expression != sql.identifier(label.name)
        if label.type in ("VARCHAR", "JSON") and label.is_number and compared:
            changes[label.name] = f"CAST({changes.get(label.name, sql.identifier(label.name))} AS DOUBLE)"
        if self.time is not None and self.time.type in ("VARCHAR", "JSON"):
            kind = "TIMESTAMP" if guess.is_date(self.time) else "BIGINT"
            name = changes.get(self.time.name, sql.identifier(self.time.name))
            written = self.time.format
            changes[self.time.name] = (
                f"strptime({name}, {sql.literal(written)})" if written else f"CAST({name} AS {kind})"
            )
        for column in self.columns:
            if column.type == "JSON" and column.name not in changes:
                changes[column.name] = f"CAST({sql.identifier(column.name)} AS VARCHAR)"
        return changes

    def _group(self, roles: Sequence[Role]) -> list[str]:
        kind, keys = _keys(roles[0])
        names = {role: page.scalar(self.names[role.column.name]) for role in roles}
        return [
            f"  - type: {kind}",
            *(f"    {key}: {page.flow(value)}" for key, value in keys),
            "    columns:",
            *(f"      - {name}" + (f" # {role.note}" if role.note else "") for role, name in names.items()),
        ]

    def _omitted(self, roles: Sequence[Role]) -> list[str]:
        out = [role for role in roles if role.kind == "left out"]
        return ["# Left out:"] * bool(out) + [
            f"#   {page.comment(role.column.name)}: {page.comment(role.note)}" for role in out
        ]


def _items(items: Sequence[str]) -> str:
    """A list of SQL, on lines of its own where it is long."""
    line = ", ".join(items)
    return line if len(line) <= LINE else "\n    " + ",\n    ".join(items)


def _names(columns: Sequence[Column], label: Column) -> dict[str, str]:
    """Column → its name in the SELECT: its own, unless that is reserved or no text file can hold it."""
    names: dict[str, str] = {}
    taken = {column.name.lower() for column in columns}
    for column in columns:
        name = re.sub(r"[^\x20-\x7e\u00a0-\ud7ff\ue000-\ufffd]", "_", column.name)[:60]
        if name in RESERVED_COLUMNS and column is not label:
            name = f"{name}_feature"
        unique, count = name, 2
        while unique != column.name and (unique.lower() in taken or not unique):
            unique, count = f"{name}_{count}", count + 1
        taken.add(unique.lower())
        names[column.name] = unique
    return names


def _keys(role: Role) -> tuple[str, tuple[tuple[str, Any], ...]]:
    """The keys that a feature group of this role has beside its columns."""
    column = role.column
    match role.kind:
        case "numeric":
            skewed = guess.is_skewed(column)
            return "numeric", (("transform", "log1p"), ("standardize", True)) if skewed else (
                ("standardize", True),
            )
        case "sequence":
            least = guess.min_count(column)
            length = min(max(column.items, 1), guess.LONGEST)
            separator = (("separator", column.separator),) if not column.is_list else ()
            return "sequence", (
                *separator,
                ("max_len", length),
                *((("min_count", least),) if least > 1 else ()),
            )
        case _:
            least = guess.min_count(column)
            return role.kind, (("min_count", least),) if least > 1 else ()


def _groups(roles: Sequence[Role]) -> list[list[Role]]:
    """Roles that can stand in one feature group, categorical ones first."""
    groups: dict[Any, list[Role]] = {}
    for role in sorted(
        roles, key=lambda role: ("categorical", "numeric", "sequence", "left out").index(role.kind)
    ):
        if role.kind != "left out":
            groups.setdefault(_keys(role), []).append(role)
    return list(groups.values())
