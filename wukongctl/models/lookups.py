"""Which id columns and which rows of a table make each embedding of a model."""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

from wukongctl.config.loading import did_you_mean
from wukongctl.config.positions import Path
from wukongctl.config.spec import Mismatch, Mistake
from wukongctl.data.schema import Schema
from wukongctl.errors import UsageError


def id_features(schema: Schema) -> tuple[str, ...]:
    """Categorical columns, then sequences: the order of a batch's ids."""
    return (*schema.categorical, *(sequence.name for sequence in schema.sequences))


def matching(wanted: Sequence[str], names: Sequence[str]) -> list[str]:
    """Features named in a recipe, patterns such as `device_*` replaced by what they match, in order.

    Raises UsageError for a feature that is meant twice; `require_features` is for those that are none.
    """
    found = [each for name in wanted for each in _meant(name, names)]
    for name in found:
        if found.count(name) > 1:
            raise UsageError(f"the model's features {', '.join(wanted)} mean `{name}` twice")
    return found


def require_features(named: Sequence[tuple[str, Path]], names: Sequence[str]) -> None:
    """Mismatch for each name or pattern of a recipe, with its keys, that means no feature of the data."""
    mistakes = []
    for name, path in named:
        meant = _meant(name, names)
        if any(each in names for each in meant):
            continue
        hint = did_you_mean(name, names) or f"it can name {', '.join(names)}"
        what = "is not a feature" if meant else "matches no feature"
        mistakes.append(Mistake(f"the model names `{name}`, which {what} of the data", path, hint))
    if mistakes:
        raise Mismatch(mistakes)


def _meant(name: str, names: Sequence[str]) -> list[str]:
    """The features that a pattern matches; what is no pattern, as it stands."""
    pattern = name not in names and any(character in name for character in "*?[")
    return [each for each in names if fnmatch.fnmatchcase(each, name)] if pattern else [name]


@dataclass(frozen=True)
class Lookup:
    """The id columns of one embedding, and the rows of the table they are looked up in.

    A learned table has `vector_dim` 0.
    """

    columns: range
    table: int
    start: int
    rows: int
    pooled: bool
    vector_dim: int


def lookups_of(schema: Schema, features: Sequence[str]) -> list[Lookup]:
    """One per feature; features that share a table share rows, but those of the n-th time are its own.

    Raises UsageError for a feature that the data does not have.
    """
    found = _id_columns(schema)
    starts: dict[tuple[int, int], int] = {}
    end, lookups = 0, []
    for index, name in enumerate(features):
        if name not in found:
            hint = did_you_mean(name, found) or f"features looked up by id: {', '.join(found)}"
            raise UsageError(f"the model names `{name}`, which is not a feature of the data", hint=hint)
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
