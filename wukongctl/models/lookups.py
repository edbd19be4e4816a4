"""The id columns and table rows of each embedding of a model."""

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wukongctl.config.model_section import Named
from wukongctl.config.positions import KeyPath
from wukongctl.config.spec import Mismatch, Mistake
from wukongctl.config.suggestions import did_you_mean
from wukongctl.data.schema import Schema


def id_features(schema: Schema) -> tuple[str, ...]:
    """Categorical columns, then sequences: the order of a batch's ids."""
    return (*schema.categorical, *(sequence.name for sequence in schema.sequences))


def matching(wanted: Sequence[str], names: Sequence[str]) -> list[str]:
    """Features named in a recipe, in order, with patterns such as `device_*` expanded.

    `require_features` rejects unknown and duplicate ones.
    """
    return [each for name in wanted for each in _expand(name, names)]


def require_features(lists: Sequence[Sequence[Named]], names: Sequence[str], section: KeyPath) -> None:
    """Raise Mismatch if an entry names no feature of the data, or one that its list already has.

    `lists` are names or patterns with their keys, in `section` of the recipe.
    """
    mistakes = [mistake for named in lists for mistake in _feature_mistakes(named, names, section)]
    if mistakes:
        raise Mismatch(mistakes)


def _feature_mistakes(named: Sequence[Named], names: Sequence[str], section: KeyPath) -> Iterator[Mistake]:
    named_by: dict[str, str] = {}
    for name, path in named:
        expanded, where = _expand(name, names), (*section, *path)
        if not any(each in names for each in expanded):
            hint = did_you_mean(name, names) or f"it can name {', '.join(names)}"
            what = "is not a feature" if expanded else "matches no feature"
            wrong = f"the model names `{name}`, which {what} of the data"
            yield Mistake(wrong, where, hint, others=(("data",),))
        for each in expanded:
            if each in named_by:
                yield Mistake(f"`{name}` names `{each}`, which is already named by `{named_by[each]}`", where)
            named_by.setdefault(each, name)


def _expand(name: str, names: Sequence[str]) -> list[str]:
    """The features that a pattern matches; a name that is not a pattern, unchanged."""
    pattern = name not in names and any(character in name for character in "*?[")
    return [each for each in names if fnmatch.fnmatchcase(each, name)] if pattern else [name]


@dataclass(frozen=True)
class Lookup:
    """The id columns of one embedding, and its rows of the table.

    A learned table has `vector_dim` 0.
    """

    columns: range
    table: int
    start: int
    rows: int
    pooled: bool
    vector_dim: int


def lookups_of(schema: Schema, features: Sequence[str]) -> list[Lookup]:
    """One per feature; features that share a table share rows, but each repetition has its own."""
    found = _id_columns(schema)
    starts: dict[tuple[int, int], int] = {}
    end, lookups = 0, []
    for index, name in enumerate(features):
        columns, table, pooled = found[name]
        rows, dim = schema.table_rows[table], schema.vector_dim(table)
        key = table, features[:index].count(name)
        start = starts.setdefault(key, end)
        end = max(end, start + (0 if dim else rows))
        lookups.append(Lookup(columns, table, start, rows, pooled, dim))
    return lookups


def _id_columns(schema: Schema) -> dict[str, tuple[range, int, bool]]:
    """Each feature's columns among the ids, its table, and whether its values are pooled."""
    found = {name: (range(i, i + 1), i, False) for i, name in enumerate(schema.categorical)}
    column = len(found)
    for sequence in schema.sequences:
        found[sequence.name] = range(column, column + sequence.max_len), sequence.table, True
        column += sequence.max_len
    return found


def segments_of(lookups: Sequence[Lookup]) -> tuple[tuple[int, bool], ...]:
    """(columns, pooled) in order, adjacent categorical columns as one."""
    segments: list[tuple[int, bool]] = []
    for lookup in lookups:
        if segments and not lookup.pooled and not segments[-1][1]:
            segments[-1] = (segments[-1][0] + 1, False)
        else:
            segments.append((len(lookup.columns), lookup.pooled))
    return tuple(segments)
