"""The SQL of preparation, as text: every name quoted, nothing executed.

The recipe's SELECT is wrapped once by `select`, which gives columns of known names and types to all that
follows: `label_` (0, 1 or NULL), `split_`, `probability_`, and `f0`, `f1`… in recipe order (text for
categorical features, lists of text for sequences, double for numeric ones, NULL where missing).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from wukongctl.config import dataset as config
from wukongctl.config.dataset import DatasetSpec
from wukongctl.errors import UsageError

PLACEHOLDER = re.compile(r"'\{([^{}']+)\}'")
NESTED = re.compile(r"\[\d*\]$|^(STRUCT|MAP|UNION)\b")
LIST = re.compile(r"^\w+(\([\d,]+\))?\[\d*\]$")
"""DuckDB types, as text: of any nested value, and of a flat list or array."""
MAX_GROUPING_COLUMNS = 60
"""DuckDB's GROUPING_ID is a 64-bit mask."""


def identifier(name: str) -> str:
    """`name` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """`text` as a quoted SQL string."""
    return "'" + text.replace("'", "''") + "'"


def fill(query: str, paths: Mapping[str, Path | tuple[Path, ...]]) -> str:
    """`query` with each placeholder `'{name}'` replaced by the quoted path of that raw file, or paths."""

    def place(match: re.Match[str]) -> str:
        found = paths[match[1]]
        if isinstance(found, Path):
            return literal(str(found))
        return f"[{', '.join(literal(str(path)) for path in found)}]"

    return PLACEHOLDER.sub(place, query)


def source(query: str, limit: int | None = None) -> str:
    """A recipe's SELECT made safe to nest: no closing semicolon, no open comment, at most `limit` rows."""
    nested = f"SELECT * FROM (\n{query.strip().rstrip(';')}\n)"
    return nested if limit is None else f"{nested} LIMIT {limit}"


def select(spec: DatasetSpec, query: str, types: Mapping[str, str], split: str | None = None) -> str:
    """The rows of `query`, in its order, under the fixed names of this module.

    `types` maps lower-case column names to DuckDB types; `split` is an SQL expression for `split_`.
    Raises UsageError for a column whose type cannot be such a feature.
    """
    columns = [f"{_label(spec.label)} AS label_"]
    if split is not None:
        columns.append(f"{split} AS split_")
    if spec.probability is not None:
        columns.append(f"CAST(({spec.probability}) AS DOUBLE) AS probability_")
    for index, (name, group) in enumerate(spec.columns):
        columns.append(f"{_raw(name, group, types[name.lower()])} AS f{index}")
    return f"SELECT {', '.join(columns)} FROM (\n{query}\n)"


def count_values(rows: str, features: Sequence[int]) -> str:
    """Occurrences of each value of up to 60 features, in one pass: columns `mask`, `value`, `count`."""
    names = [f"f{index}" for index in features]
    every = ", ".join(names)
    sets = ", ".join(f"({name})" for name in names)
    return (
        f"SELECT GROUPING_ID({every}) AS mask, COALESCE({every}) AS value, count(*) AS count "
        f"FROM (\n{rows}\n) GROUP BY GROUPING SETS ({sets}) "
        f"HAVING COALESCE({every}) IS NOT NULL"
    )


def grouping_mask(position: int, features: int) -> int:
    """GROUPING_ID of the set holding only the feature at `position`: a 0 bit marks a grouped column."""
    return (1 << features) - 1 - (1 << (features - 1 - position))


def count_items(rows: str, feature: int, extra: str | None = None) -> str:
    """Occurrences of each item of a sequence feature, added to the counts of the query `extra`."""
    items = f"SELECT unnest(f{feature}) AS value, 1 AS count FROM (\n{rows}\n)"
    if extra is not None:
        items = f"{items} UNION ALL SELECT value, count FROM ({extra})"
    return f"SELECT value, CAST(sum(count) AS BIGINT) AS count FROM ({items}) GROUP BY value"


def vocabulary(parts: Iterable[tuple[str, int]]) -> str:
    """Values with their ids, from 2, by descending count and then in byte order.

    `parts` are queries of counts with the least count that earns an id. Values of a later part follow those
    of the earlier ones.
    """
    kept = [
        f"SELECT value, count, {part} AS part FROM (\n{counts}\n) WHERE count >= {least} AND value <> ''"
        for part, (counts, least) in enumerate(parts)
    ]
    values = kept[0]
    if len(kept) > 1:
        values = (
            "SELECT value, min(part) AS part, arg_min(count, part) AS count "
            f"FROM ({' UNION ALL '.join(kept)}) GROUP BY value"
        )
    order = "row_number() OVER (ORDER BY part, count DESC, value)"
    return f"SELECT value, CAST({order} + 1 AS INTEGER) AS id, count FROM ({values}) ORDER BY id"


def moments(spec: DatasetSpec, rows: str, features: Sequence[int]) -> str:
    """One row: mean and population standard deviation of each transformed numeric feature."""
    columns = ", ".join(
        f"avg({value}), stddev_pop({value})" for value in (transformed(spec, index) for index in features)
    )
    return f"SELECT {columns} FROM (\n{rows}\n)"


def transformed(spec: DatasetSpec, index: int) -> str:
    """A numeric feature after its transform; NULL where missing."""
    _, group = spec.columns[index]
    if isinstance(group, config.Numeric) and group.transform == "log1p":
        return f"ln(1 + CASE WHEN f{index} < 0 THEN 0 ELSE f{index} END)"
    return f"f{index}"


def encodable(
    spec: DatasetSpec, rows: str, scales: Mapping[int, tuple[float, float]], *, with_split: bool
) -> str:
    """What leaves DuckDB: numeric features final, categories still text, sequences as lists of text.

    No join and no aggregate, so that DuckDB keeps the order of rows while it works in parallel.
    """
    columns = ["label_"] + (["split_"] if with_split else [])
    for index, (_, group) in enumerate(spec.columns):
        columns.append(f"{_encodable(spec, index, group, scales.get(index))} AS f{index}")
    if spec.probability is not None:
        columns.append("CAST(probability_ AS FLOAT) AS probability_")
    return f"SELECT {', '.join(columns)} FROM (\n{rows}\n)"


def not_a_number(query: str, column: str) -> str:
    """Row number and text of the first value of a text column that is neither empty nor a number."""
    text = f"NULLIF(trim({identifier(column)}), '')"
    numbered = f"SELECT row_number() OVER () AS row, {text} AS value FROM (\n{query}\n)"
    wrong = "value IS NOT NULL AND TRY_CAST(value AS DOUBLE) IS NULL"
    return f"SELECT row, value FROM ({numbered}) WHERE {wrong} LIMIT 1"


def _encodable(
    spec: DatasetSpec,
    index: int,
    group: config.Categorical | config.Numeric | config.Sequence,
    scale: tuple[float, float] | None,
) -> str:
    match group:
        case config.Categorical():
            return f"f{index}"
        case config.Sequence():
            kept = f"-{group.max_len}:" if group.keep == "last" else f"1:{group.max_len}"
            return f"COALESCE(f{index}[{kept}], []::VARCHAR[])"
        case config.Numeric():
            value = transformed(spec, index)
            if scale is not None:
                mean, std = scale
                value = f"({value} - {mean!r}::DOUBLE) / {std!r}::DOUBLE"
            return f"CAST({value} AS FLOAT)"


def _label(expression: str) -> str:
    return f"CASE TRY_CAST(({expression}) AS DOUBLE) WHEN 0 THEN 0::UTINYINT WHEN 1 THEN 1::UTINYINT END"


def _raw(name: str, group: config.Categorical | config.Numeric | config.Sequence, kind: str) -> str:
    """A column of DuckDB type `kind` as text, list of text or double; NULL where missing."""
    column = identifier(name)
    if isinstance(group, config.Sequence):
        return f"list_filter({_items(name, group, kind)}, lambda item: item <> '')"
    if NESTED.search(kind):
        hint = "make it a `sequence`" if LIST.search(kind) else "select one of its fields in the SQL"
        raise UsageError(f"feature `{name}` is `{group.type}` and its column holds {kind}", hint=hint)
    is_text = kind == "VARCHAR"
    if isinstance(group, config.Numeric):
        number = f"CAST(NULLIF(trim({column}), '') AS DOUBLE)" if is_text else f"CAST({column} AS DOUBLE)"
        return f"NULLIF({number}, 'nan'::DOUBLE)"
    return f"NULLIF({column}, '')" if is_text else f"CAST({column} AS VARCHAR)"


def _items(name: str, group: config.Sequence, kind: str) -> str:
    """The values of a sequence, empty and missing ones included."""
    column = identifier(name)
    if LIST.search(kind):
        return f"CAST({column} AS VARCHAR[])"
    if NESTED.search(kind):
        raise UsageError(f"sequence `{name}` holds {kind}", hint="select a flat list or a text in the SQL")
    if group.separator is None:
        raise UsageError(f"sequence `{name}` holds {kind} and no list", hint="give its `separator`")
    return f"string_split(CAST({column} AS VARCHAR), {literal(group.separator)})"
