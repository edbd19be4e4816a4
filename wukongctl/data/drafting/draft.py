"""Draft a first recipe for a table: measure, guess, try the split, and write it down with the reasons."""

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from wukongctl.config.dataset import DatasetSpec, is_pattern
from wukongctl.config.loading import validate
from wukongctl.config.patterns import EXPECTED, IDENTIFIER, identifier_like
from wukongctl.config.positions import parse
from wukongctl.config.suggestions import no_file
from wukongctl.data.acquire import patterns
from wukongctl.data.acquire.sources import FilePaths, by_name
from wukongctl.data.drafting import guess, joins, objects, screening, selection, splitting, units
from wukongctl.data.drafting.counting import MEASURED
from wukongctl.data.drafting.guess import Role
from wukongctl.data.drafting.labels import Label
from wukongctl.data.drafting.measured import MeasuredTable
from wukongctl.data.drafting.profile import Column
from wukongctl.data.drafting.quoting import sql_name
from wukongctl.data.drafting.recipe import Recipe
from wukongctl.data.drafting.selection import Selection
from wukongctl.data.drafting.splitting import SplitGuess, SplitTrial
from wukongctl.data.pipeline.description import MIN_HELD_OUT, MIN_TRAIN
from wukongctl.data.query import failures, lines, sql, tables
from wukongctl.data.query.engine import Engine
from wukongctl.data.query.tables import Table
from wukongctl.errors import RunFailed, UsageError

SPLITS = ("train", "valid")
SHOWN = 6
"""Columns in a remark."""


class Draft(NamedTuple):
    """A recipe as text, its label, the role of every other column, and remarks that need attention."""

    name: str
    text: str
    label: Label
    roles: tuple[Role, ...]
    remarks: tuple[str, ...]


def draft(
    file: str,
    *,
    name: str | None = None,
    label: str | None = None,
    positive: Sequence[str] = (),
    join: Sequence[str] = (),
) -> Draft:
    """A recipe for the table `file`, or for a folder or pattern of tables, to be saved in the current folder.

    `label` is a column, or SQL that is 0 or 1; `positive` are the values of the column that are 1; each
    `join` is a side table with its key, `FILE:KEY` or `FILE:KEY_IN_FILE=KEY_THERE`. Raises UsageError for a
    table that cannot be a dataset, RunFailed for a file that cannot be read.
    """
    name = name if name is not None else _name(file)
    _require_name(name)
    file = patterns.of_folder(Path(file)) if _is_folder(file) else file
    sides = [joins.parsed(text) for text in join]
    paths: dict[str, FilePaths] = {}
    for path in dict.fromkeys([file, *(side.file for side in sides)]):
        if re.search(r"[{}'\x00-\x1f]", path):
            raise UsageError(
                f"the file name `{path}` has characters that SQL cannot have", hint="rename the file"
            )
        paths[path] = _find(path)
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(name, paths, spill=Path(folder), search=Path())
        try:
            known = {path: _describe(engine, path, found) for path, found in paths.items()}
            table = MeasuredTable(engine, file, known[file], [(side, known[side.file]) for side in sides])
            return _Drafting(name, table, table.label(label, positive)).draft()
        finally:
            engine.close()


def _describe(engine: Engine, path: str, found: FilePaths) -> Table:
    first = found if isinstance(found, Path) else found[0]
    try:
        return tables.describe(engine, first, path)
    except lines.UNREADABLE:
        raise RunFailed(f"`{first}` is truncated or damaged", hint=failures.COPY_AGAIN) from None
    except RunFailed as error:
        tables.require_table(first)  # an error that names a line is misleading for a file that is not a table
        error.hint = _without_recipe(error, first)
        raise


def _without_recipe(error: RunFailed, path: Path) -> str | None:
    """The hint for a bad line of `path` while there is no recipe to change."""
    located = lines.LOCATED.match(error.message)
    match error.hint:
        case lines.SKIP if located:
            return lines.to_delete(path, int(located[2]))
        case failures.NOT_STRICT:
            return lines.to_end_alike(path)
        case failures.SET_OPTIONS:
            return "fix the file; it has to have the same columns in every line"
    return error.hint


def _is_folder(file: str) -> bool:
    try:
        return Path(file).is_dir()
    except OSError:  # a name too long for the file system
        return False


def _find(file: str) -> FilePaths:
    """The file, or those that match the pattern, as the recipe will find them from this folder."""
    try:
        found = Path(file) if Path(file).is_file() else by_name(Path(), file) if is_pattern(file) else None
    except OSError:  # a name too long for the file system
        found = None
    if not found:
        raise no_file(Path(file))
    return found


def _require_name(name: str) -> None:
    """UsageError for a `--name` that a dataset cannot have."""
    if re.match(IDENTIFIER, name) is None:
        like = identifier_like(name)
        what = f"`--name {name}` is not a name: expected {EXPECTED[IDENTIFIER]}"
        raise UsageError(what, hint=f"write `--name {like}`" if like else None)


def _name(file: str) -> str:
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(file).name.partition(".")[0])
    return stem.strip("._-")[:60] or "mine"


class _Drafting:
    def __init__(self, name: str, table: MeasuredTable, label: Label) -> None:
        self.engine, self.file, self.name, self.table = table.engine, table.file, name, table
        self.columns, self.label = table.columns, label
        rest = [column for column in self.columns if column not in label.inputs]
        self.time, self.partial = guess.time(rest), guess.partial_time(rest)
        self.names = table.names(label)
        self.positives, self.labeled = 0, 0

    def draft(self) -> Draft:
        roles = self._roles()
        remarks: list[str] = []
        if any(role.kind != "left out" for role in roles):
            roles, remarks = self._screened(roles)
        rule = self._split(roles)
        if rule.group:
            roles = self._without_group(roles, rule.group)
        roles, sentinels = self._without_sentinels(roles)
        recipe = self._recipe(roles, rule)
        remarks += [*self._few_positives(), *sentinels, *self._unused_fields(roles)]
        text = replace(recipe, remarks=remarks).text()
        spec = validate(parse(text, f"{self.name}.yaml"), DatasetSpec)  # fails only for a bug of ours
        self.engine.types(sql.source(spec.rows or ""))
        reading = (*self._table_remarks(roles), *filter(None, [self.label.remark]))
        return Draft(self.name, text, self.label, tuple(roles), (*reading, *rule.remarks, *remarks))

    def _roles(self) -> list[Role]:
        others = [c for c in self.columns if c not in self.label.inputs and c is not self.time]
        roles = [guess.role(column) for column in others]
        if all(role.kind == "left out" for role in roles):
            # A poor feature is better than none.
            usable = [c for c in others if c.filled and not (c.is_nested or c.is_list or c.type == "BLOB")]
            roles = [role._replace(kind="categorical") if role.column in usable else role for role in roles]
        if any(role.kind != "left out" for role in roles):
            return roles
        if self.time is not None:
            self.time = None  # the only usable column is better as a feature
            return self._roles()
        raise UsageError(
            f"no column of `{self.file}` can be a feature",
            hint="a table needs at least one column besides the label and the time",
        )

    def _screened(self, roles: Sequence[Role]) -> tuple[list[Role], list[str]]:
        """`roles` without duplicates and columns that leak the label, and remarks."""
        remarks: list[str] = []
        out, one_to_one = screening.duplicates(self.engine, roles)
        roles = [_with_note(role, one_to_one.get(role.column.name)) for role in roles]
        if one_to_one:
            listed = [f"`{name}` is {why}" for name, why in one_to_one.items()]
            more = f", and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
            remarks.append(f"{', '.join(listed[:SHOWN])}{more}: one of them may be enough")
        self._measure_labels(roles)
        for role in roles:
            column = role.column
            if role.kind in ("left out", "vector") or column.name in out:
                continue
            evidence = screening.evidence(self.engine, column, self.table.value(column))
            why, remark = screening.leakage(column, evidence, self.positives, self.labeled)
            out |= {column.name: why} if why is not None else {}
            remarks += [remark] if remark is not None else []
        if all(role.kind == "left out" or role.column.name in out for role in roles):
            return list(roles), [*remarks, *(f"`{name}`: {why}" for name, why in out.items())]
        return [_left_out(role, out.get(role.column.name)) for role in roles], remarks

    def _measure_labels(self, roles: Sequence[Role]) -> None:
        """Create the table of labels, and count the positives and the rows with a label."""
        rows = replace(self._selection(roles), where="", outer_where="").text(MEASURED)
        label = f"SELECT TRY_CAST(({self._expression()}) AS DOUBLE) AS y FROM ({rows})"
        self.positives, self.labeled = screening.measure_labels(self.engine, label)

    def _few_positives(self) -> Iterator[str]:
        """A remark if the rarer class has few rows; small tables have their own."""
        rows, rarer = self.labeled, min(self.positives, self.labeled - self.positives)
        train, valid = (int(rarer * splitting.RATIO[name] / sum(splitting.RATIO.values())) for name in SPLITS)
        few = train < MIN_TRAIN or valid < MIN_HELD_OUT
        if self.table.is_complete and rows >= guess.SMALL and few:
            kind = "positive" if rarer == self.positives else "negative"
            yield (
                f"only {rarer:,} of {rows:,} rows are {kind}, about {train:,} in train and {valid:,} in each "
                "held-out split: too few to compare models"
            )

    def _unused_fields(self, roles: Sequence[Role]) -> Iterator[str]:
        """Remarks on texts and structs from which SQL could select features."""
        for role in roles:
            if role.kind in ("categorical", "left out"):
                remark = objects.remark(self.table.counts, role.column)
                if remark is None and not role.column.is_nested:
                    remark = units.remark(self.table.counts, role.column)
                if remark is not None:
                    yield remark

    def _without_group(self, roles: Sequence[Role], name: str) -> list[Role]:
        """`roles` without the column that splits, unless it is the only feature."""
        if all(role.kind == "left out" or role.column.name == name for role in roles):
            return list(roles)
        why = "the split key: its values in train do not occur in other splits"
        return [_left_out(role, why if role.column.name == name else None) for role in roles]

    def _split(self, roles: Sequence[Role]) -> SplitGuess:
        out = {role.column.name for role in roles if role.kind == "left out" and "label" in role.note}
        free = [c for c in self.columns if c not in self.label.inputs and c.name not in out]
        counts, names = self.table.counts, self._parts(roles)
        rules = splitting.proposals(counts, free, roles, names, self.time, self.partial)
        rule = splitting.first_good(self.engine, self.table.rows, rules, partial(self._trial, roles))
        if rule is None:
            raise UsageError(f"`{self.file}` has too few distinct rows to be divided into splits")
        return rule

    def _trial(self, roles: Sequence[Role], rule: SplitGuess) -> SplitTrial:
        spec = validate(parse(self._recipe(roles, rule).text(), f"{self.name}.yaml"), DatasetSpec)
        return SplitTrial(spec, self._selection(roles, rule).text)

    def _recipe(self, roles: Sequence[Role], rule: SplitGuess) -> Recipe:
        rows, table = f"{self.table.rows:,} rows", self.table.table
        return Recipe(
            name=self.name,
            title=Path(self.file).name,
            measured=rows if self.table.is_complete else f"the first {rows}",
            files=list(self.engine.paths),
            table_remarks=(*table.notes, *self._table_remarks(roles)),
            rows=self._selection(roles, rule).text(table.source, self.table.order),
            label=self._expression(),
            label_remark=self.label.remark,
            rule=rule,
            roles=roles,
            names=self._parts(roles),
        )

    def _expression(self) -> str:
        """The label's expression over the columns of the SELECT."""
        if self.label.columns:
            return self.label.expression
        name = self.label.column.name
        return self.label.expression.replace(sql.identifier(name), sql_name(self.names[name]))

    def _selection(self, roles: Sequence[Role], rule: SplitGuess | None = None) -> Selection:
        return Selection(
            names=self.names,
            changes=self.table.conversions(self.label, self.time),
            added={
                column.name: [f"{value} AS {sql_name(name)}" for name, value in self._vector(column).items()]
                for column in _vectors(roles)
            },
            where=self.table.has_label(self.label),
            outer_where=f"({self.label.expression}) IS NOT NULL" if self.label.columns else "",
            with_row_number=rule is not None and rule.needs_row_number,
        )

    def _parts(self, roles: Sequence[Role]) -> dict[str, list[str]]:
        """Column → its names in the SELECT."""
        vectors = {column.name: list(self._vector(column)) for column in _vectors(roles)}
        return {old: [new] for old, new in self.names.items()} | vectors

    def _vector(self, column: Column) -> dict[str, str]:
        """Name → SQL of each number of a vector."""
        numbers = (
            sql.identifier(column.name) if column.reader is None else f"CAST({column.reader} AS DOUBLE[])"
        )
        return selection.vector(column.name, numbers, column.vector, self.names)

    def _table_remarks(self, roles: Sequence[Role]) -> tuple[str, ...]:
        out = {role.column.name for role in roles if role.kind == "left out"}
        return self.table.remarks(out, self.time)

    def _without_sentinels(self, roles: Sequence[Role]) -> tuple[list[Role], list[str]]:
        """`roles` with numeric columns as they are without sentinels, and remarks on these."""
        changes = self.table.conversions(self.label, self.time)
        remarks, known = [], []
        for role in roles:
            column = role.column
            found = screening.sentinels(self.table.counts, column) if role.kind == "numeric" else None
            if found is not None:
                remarks.append(found.remark(column, changes.get(column.name, sql.identifier(column.name))))
            known.append(role if found is None else role._replace(column=found.others))
        return known, remarks


def _vectors(roles: Sequence[Role]) -> list[Column]:
    return [role.column for role in roles if role.kind == "vector"]


def _left_out(role: Role, why: str | None) -> Role:
    return role if why is None else role._replace(kind="left out", note=why)


def _with_note(role: Role, note: str | None) -> Role:
    return role if note is None else role._replace(note="; ".join(filter(None, [role.note, note])))
