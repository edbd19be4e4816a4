"""A first recipe for a table nobody has described: measured, guessed, tried, and written with its reasons."""

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from wukongctl.config.dataset import DatasetSpec, is_pattern
from wukongctl.config.loading import validate
from wukongctl.config.positions import parse
from wukongctl.data.acquire import patterns
from wukongctl.data.acquire.sources import by_name
from wukongctl.data.drafting import guess, joins, objects, page, selecting, splitting, suspects, trying, units
from wukongctl.data.drafting.counting import LOOKED_AT
from wukongctl.data.drafting.guess import Role
from wukongctl.data.drafting.labels import Label
from wukongctl.data.drafting.profile import Column
from wukongctl.data.drafting.reading import Reading
from wukongctl.data.drafting.recipe import Recipe
from wukongctl.data.drafting.selecting import Selection
from wukongctl.data.drafting.splitting import SplitGuess
from wukongctl.data.drafting.trying import SplitTrial
from wukongctl.data.pipeline.description import LEAST_TO_JUDGE, LEAST_TO_LEARN
from wukongctl.data.query import sql, tables
from wukongctl.data.query.engine import Engine
from wukongctl.data.query.tables import Table
from wukongctl.errors import RunFailed, UsageError

SPLITS = ("train", "valid")
SHOWN = 6
"""Columns that one remark names."""


class Draft(NamedTuple):
    """A recipe as text, what became of each column, and what the values leave open."""

    name: str
    text: str
    label: Label
    roles: tuple[Role, ...]
    doubts: tuple[str, ...]


def draft(
    file: str,
    *,
    name: str | None = None,
    label: str | None = None,
    positive: Sequence[str] = (),
    join: Sequence[str] = (),
) -> Draft:
    """A recipe for the table (or the folder or pattern of tables) `file`, to be saved in the current folder.

    `label` is a column, or SQL that gives 0 or 1; `positive` are the values of the column that are 1; each
    `join` is a side table with its key, `FILE:KEY` or `FILE:KEY_IN_FILE=KEY_THERE`.
    Raises UsageError for a table that cannot be a dataset, RunFailed for a file that cannot be read.
    """
    chosen = name if name is not None else _name(file)
    file = patterns.of_folder(Path(file)) if _is_folder(file) else file
    sides = [joins.parsed(text) for text in join]
    places = {}
    for path in dict.fromkeys([file, *(side.file for side in sides)]):
        if re.search(r"[{}'\x00-\x1f]", path):
            raise UsageError(
                f"`{path}` has characters in its name that SQL cannot hold", hint="rename the file"
            )
        places[path] = _place(path)
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(chosen, places, spill=Path(folder), search=Path())
        try:
            known = {path: _described(engine, path, _first(place)) for path, place in places.items()}
            reading = Reading(engine, file, known[file], [(side, known[side.file]) for side in sides])
            return _Drafting(chosen, reading, reading.label(label, positive)).draft()
        finally:
            engine.close()


def _described(engine: Engine, path: str, first: Path) -> Table:
    try:
        return tables.describe(engine, first, path)
    except RunFailed:
        tables.require_table(first)  # no line is at fault in what is none
        raise


def _first(place: Path | tuple[Path, ...]) -> Path:
    return place if isinstance(place, Path) else place[0]


def _is_folder(file: str) -> bool:
    try:
        return Path(file).is_dir()
    except OSError:  # a name too long for the file system
        return False


def _place(file: str) -> Path | tuple[Path, ...]:
    """The file, or those that fit the pattern, as the recipe will find them from this folder."""
    try:
        if Path(file).is_file():
            return Path(file)
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
    def __init__(self, name: str, reading: Reading, label: Label) -> None:
        self.engine, self.file, self.name, self.reading = reading.engine, reading.file, name, reading
        self.columns, self.label = reading.columns, label
        rest = [column for column in self.columns if column not in label.read]
        self.time, self.partial = guess.time(rest), guess.partial_time(rest)
        self.names = reading.names(label)
        self.answered = (0, 0)

    def draft(self) -> Draft:
        roles = self._roles()
        told: list[str] = []
        if any(role.kind != "left out" for role in roles):
            roles, told = self._judged(roles)
        rule = self._split(roles)
        if rule.grouped:
            roles = self._without_group(roles, rule.grouped)
        roles, apart = self._without_sentinels(roles)
        recipe = self._recipe(roles, rule)
        told += [*self._few_positives(), *apart, *self._unread(roles)]
        doubts = (*self._doubts(roles), *rule.doubts, *told)
        text = recipe.changed(doubts=told).text()
        spec = validate(parse(text, f"{self.name}.yaml"), DatasetSpec)  # a mistake of ours, not of the user's
        self.engine.types(sql.source(spec.rows or ""))
        return Draft(self.name, text, self.label, tuple(roles), doubts)

    def _roles(self) -> list[Role]:
        others = [c for c in self.columns if c not in self.label.read and c is not self.time]
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

    def _judged(self, roles: Sequence[Role]) -> tuple[list[Role], list[str]]:
        """`roles` without columns that are another one, or the label, once more; and what is to be said."""
        said: list[str] = []
        out, alike = suspects.doubles(self.engine, roles)
        roles = [_noted(role, alike.get(role.column.name)) for role in roles]
        said += [_alike(alike)] if alike else []
        positives, rows = self.answered = self._answered(roles)
        for role in roles:
            column = role.column
            if role.kind in ("left out", "vector") or column.name in out:
                continue
            expression = self.reading.value(column)
            known = suspects.telling(self.engine, column, expression)
            why, doubt = suspects.told(column, known, positives, rows)
            out |= {column.name: why} if why is not None else {}
            said += [doubt] if doubt is not None else []
        kept = [role for role in roles if role.kind != "left out" and role.column.name not in out]
        if not kept:
            return list(roles), [*said, *(f"`{name}`: {why}" for name, why in out.items())]
        return [
            role._replace(kind="left out", note=out[role.column.name]) if role.column.name in out else role
            for role in roles
        ], said

    def _answered(self, roles: Sequence[Role]) -> tuple[int, int]:
        """Make the table of labels. Positives and rows that have one."""
        selection = self._selection(roles)
        selection.known = selection.answered = ""
        label = f"SELECT TRY_CAST(({self._expression()}) AS DOUBLE) AS y FROM ({selection.text(LOOKED_AT)})"
        return suspects.answer(self.engine, label)

    def _few_positives(self) -> Iterator[str]:
        """A remark where the rarer label has few rows; of small tables all is said already."""
        positives, rows = self.answered
        rarer = min(positives, rows - positives)
        train, valid = (int(rarer * splitting.RATIO[name] / sum(splitting.RATIO.values())) for name in SPLITS)
        few = train < LEAST_TO_LEARN or valid < LEAST_TO_JUDGE
        if self.reading.is_whole and rows >= guess.SMALL and few:
            what = "positive" if rarer == positives else "negative"
            yield (
                f"only {rarer:,} of {rows:,} rows are {what}, about {train:,} to train on and {valid:,} in "
                "each held-out split: too few to tell models apart"
            )

    def _unread(self, roles: Sequence[Role]) -> Iterator[str]:
        """What texts and structs hold that SQL could make features of."""
        for role in roles:
            if role.kind in ("categorical", "left out"):
                said = objects.remark(self.reading.counts, role.column) or (
                    None if role.column.is_nested else units.remark(self.reading.counts, role.column)
                )
                if said is not None:
                    yield said

    def _without_group(self, roles: Sequence[Role], name: str) -> list[Role]:
        """What is in one split only cannot be learned for another, unless it is the only feature."""
        why = "each of them is in one split only, so nothing learned from it helps in another"
        rest = [role for role in roles if role.kind != "left out" and role.column.name != name]
        return [
            role._replace(kind="left out", note=why) if rest and role.column.name == name else role
            for role in roles
        ]

    def _split(self, roles: Sequence[Role]) -> SplitGuess:
        out = {role.column.name for role in roles if role.kind == "left out" and "label" in role.note}
        free = [c for c in self.columns if c not in self.label.read and c.name not in out]
        rules = splitting.rules(self.reading.counts, free, roles, self._parts(roles), self.time, self.partial)
        rule = trying.first_good(self.engine, self.reading.rows, rules, partial(self._trial, roles))
        if rule is None:
            raise UsageError(f"`{self.file}` has too few different rows to be divided into splits")
        return rule

    def _trial(self, roles: Sequence[Role], rule: SplitGuess) -> SplitTrial:
        spec = validate(parse(self._recipe(roles, rule).text(), f"{self.name}.yaml"), DatasetSpec)
        return SplitTrial(spec, self._selection(roles, rule).text)

    def _recipe(self, roles: Sequence[Role], rule: SplitGuess) -> Recipe:
        seen = f"{self.reading.rows:,} rows"
        return Recipe(
            name=self.name,
            title=Path(self.file).name,
            seen=seen if self.reading.is_whole else f"the first {seen}",
            files=list(self.engine.paths),
            said=(*self.reading.table.notes, *self._read(roles)),
            rows=self._selection(roles, rule).text(self.reading.table.source, self.reading.order),
            label=self._expression(),
            label_said=(self.label.doubt or self.label.note,),
            rule=rule,
            roles=roles,
            names=self._parts(roles),
        )

    def _expression(self) -> str:
        """The label's expression over the columns of the SELECT, without needless quotes."""
        if self.label.columns:
            return self.label.expression
        name = self.label.column.name
        return self.label.expression.replace(sql.identifier(name), page.sql_name(self.names[name]))

    def _selection(self, roles: Sequence[Role], rule: SplitGuess | None = None) -> Selection:
        vectors = [role.column for role in roles if role.kind == "vector"]
        added = {
            column.name: [
                f"{value} AS {page.sql_name(name)}"
                for name, value in selecting.vector(
                    column.name, _vector_of(column), column.vector, self.names
                ).items()
            ]
            for column in vectors
        }
        return Selection(
            names=self.names,
            changes=self.reading.conversions(self.label, self.time),
            added=added,
            known=self.reading.with_label(self.label),
            answered=f"({self.label.expression}) IS NOT NULL" if self.label.columns else "",
            numbered=rule is not None and rule.numbered,
        )

    def _parts(self, roles: Sequence[Role]) -> dict[str, list[str]]:
        """Column → its names in the SELECT."""
        parts = {old: [new] for old, new in self.names.items()}
        for column in (role.column for role in roles if role.kind == "vector"):
            parts[column.name] = list(selecting.vector(column.name, "", column.vector, self.names))
        return parts

    def _doubts(self, roles: Sequence[Role]) -> tuple[str, ...]:
        return (*self._read(roles), *filter(None, [self.label.doubt]))

    def _read(self, roles: Sequence[Role]) -> tuple[str, ...]:
        out = {role.column.name for role in roles if role.kind == "left out"}
        return self.reading.remarks(out, self.time)

    def _without_sentinels(self, roles: Sequence[Role]) -> tuple[list[Role], list[str]]:
        """Amounts as they are without their sentinels, and what is to be said of these."""
        changes, said, known = self.reading.conversions(self.label, self.time), [], []
        for role in roles:
            column = role.column
            found = suspects.sentinels(self.reading.counts, column) if role.kind == "numeric" else None
            if found is not None:
                said.append(found.remark(column, changes.get(column.name, sql.identifier(column.name))))
            known.append(role if found is None else role._replace(column=found.others))
        return known, said


def _alike(known: Mapping[str, str]) -> str:
    """One remark for all features that go with another one."""
    listed = [f"`{name}` {why}" for name, why in known.items()]
    more = f", and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return f"{', '.join(listed[:SHOWN])}{more}: one of them may be enough"


def _noted(role: Role, more: str | None) -> Role:
    return role if more is None else role._replace(note="; ".join(filter(None, [role.note, more])))


def _vector_of(column: Column) -> str:
    """SQL of a list of numbers."""
    if column.reader is None:
        return sql.identifier(column.name)
    return f"CAST({column.reader} AS DOUBLE[])"
