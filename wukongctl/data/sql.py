"""The SQL of preparation, as text: every name quoted, nothing executed.

The recipe's SELECT is wrapped once by `select`, which gives columns of known names and types to all that
follows: `label_` (0, 1 or NULL), `split_`, `reject_` (under `on_error: skip`, why the row is left out, or
NULL), `probability_`, and `f0`, `f1`… in recipe order (text for
categorical features, lists of text for sequences, double for numeric ones, NULL where missing).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from wukongctl.config import dataset as config
from wukongctl.config.dataset import DatasetSpec
from wukongctl.errors import UsageError

PLACEHOLDER = re.compile(r"'\{([^{}']+)\}'")
NESTED = re.compile(r"\[\d*\]$|^(STRUCT|MAP|UNION)\b")
LIST = re.compile(r"^\w+(\([\d,]+\))?\[\d*\]$")
"""DuckDB types, as text: of any nested value, and of a flat list or array."""
MAY_BE_NAN = frozenset({"VARCHAR", "FLOAT", "DOUBLE"})
READ_CSV = re.compile(r"\bread_csv(?:_auto)?\s*\(", re.IGNORECASE)
REJECTING = re.compile(r"\b(store_rejects|ignore_errors)\b", re.IGNORECASE)
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
    skip = spec.on_error == "skip"
    columns = [f"{_label(_label_text(spec))} AS label_"]
    if split is not None:
        columns.append(f"{split} AS split_")
    if skip:
        columns.append(f"{_reject(spec, types, split)} AS reject_")
    if spec.probability is not None:
        columns.append(f"CAST(({spec.probability}) AS DOUBLE) AS probability_")
    for index, (name, group) in enumerate(spec.columns):
        columns.append(f"{_raw(name, group, types[name.lower()], skip=skip)} AS f{index}")
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


def count_feature(rows: str, feature: int) -> str:
    """Occurrences of each value of one feature: columns `value`, `count`."""
    values = f"SELECT f{feature} AS value FROM (\n{rows}\n) WHERE f{feature} IS NOT NULL"
    return f"SELECT value, count(*) AS count FROM ({values}) GROUP BY value"


def count_items(rows: str, feature: int) -> str:
    """Occurrences of each item of a sequence feature."""
    items = f"SELECT unnest(f{feature}) AS value FROM (\n{rows}\n)"
    return f"SELECT value, count(*) AS count FROM ({items}) GROUP BY value"


def sum_counts(files: Sequence[Path]) -> str:
    """The counts in several files, added up."""
    listed = ", ".join(literal(str(file)) for file in files)
    counts = f"SELECT value, count FROM read_parquet([{listed}])"
    return f"SELECT value, CAST(sum(count) AS BIGINT) AS count FROM ({counts}) GROUP BY value"


def copy(query: str, path: Path, compression: str = "zstd") -> str:
    """Write the rows of `query` to a Parquet file, in its order."""
    return f"COPY (\n{query}\n) TO {literal(str(path))} (FORMAT parquet, COMPRESSION {compression})"


def vocabulary(parts: Iterable[tuple[str, int]], first: int) -> str:
    """Values with their ids, from `first`, by descending count and then in byte order.

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
    return f"SELECT value, CAST({order} + {first - 1} AS INTEGER) AS id, count FROM ({values}) ORDER BY id"


def moments(spec: DatasetSpec, rows: str, features: Sequence[int]) -> str:
    """One row: count, mean and population variance of each transformed numeric feature."""
    columns = ", ".join(
        f"count({value}), avg({value}), var_pop({value})"
        for value in (transformed(spec, index) for index in features)
    )
    return f"SELECT {columns} FROM (\n{rows}\n)"


def transformed(spec: DatasetSpec, index: int) -> str:
    """A numeric feature after its transform; NULL where missing."""
    _, group = spec.columns[index]
    if isinstance(group, config.Numeric) and group.transform == "log1p":
        return f"ln(1 + CASE WHEN f{index} < 0 THEN 0 ELSE f{index} END)"
    return f"f{index}"


def place(value: str, partitions: int) -> str:
    """The partition of a value by its hash, from 0; NULL for NULL."""
    return f"CASE WHEN {value} IS NOT NULL THEN CAST(hash({value}) % {partitions} AS UTINYINT) END"


def encodable(
    spec: DatasetSpec,
    rows: str,
    scales: Mapping[int, tuple[float, float]],
    dealt: Mapping[int, int] | None = None,
    *,
    with_split: bool,
) -> str:
    """What leaves DuckDB: numeric features final, categories still text, sequences as lists of text.

    For each feature of `dealt`, `p<feature>` gives the partition of its value, or of each item. No join and
    no aggregate, so that DuckDB keeps the order of rows while it works in parallel.
    """
    columns = ["label_"] + (["split_"] if with_split else [])
    columns += ["reject_"] if spec.on_error == "skip" else []
    for index, (_, group) in enumerate(spec.columns):
        columns.append(f"{_encodable(spec, index, group, scales.get(index))} AS f{index}")
    if spec.probability is not None:
        columns.append("CAST(probability_ AS FLOAT) AS probability_")
    for index, partitions in (dealt or {}).items():
        _, group = spec.columns[index]
        value = _encodable(spec, index, group, None)
        if isinstance(group, config.Sequence):
            columns.append(f"list_transform({value}, lambda x: {place('x', partitions)}) AS p{index}")
        else:
            columns.append(f"{place(value, partitions)} AS p{index}")
    return f"SELECT {', '.join(columns)} FROM (\n{rows}\n)"


def no_number(query: str, column: str) -> str:
    """Row number and text of the first value that is neither missing nor a finite number; whether it is one
    but infinite."""
    text = f"NULLIF(trim(CAST({identifier(column)} AS VARCHAR)), '')"
    numbered = f"SELECT row_number() OVER () AS row, {text} AS value FROM (\n{query}\n)"
    number = "TRY_CAST(value AS DOUBLE)"
    wrong = f"value IS NOT NULL AND ({number} IS NULL OR isinf({number}))"
    return f"SELECT row, value, {number} IS NOT NULL FROM ({numbered}) WHERE {wrong} LIMIT 1"


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


def accepted(spec: DatasetSpec, rows: str) -> str:
    """Of the wrapped query `rows`, those that are not left out."""
    return f"SELECT * FROM (\n{rows}\n) WHERE reject_ IS NULL" if spec.on_error == "skip" else rows


def storing_rejects(query: str, limit: int) -> str:
    """`query` with every `read_csv` noting the lines it cannot read, at most `limit`, instead of failing."""
    result, start = "", 0
    for call in READ_CSV.finditer(query):
        end = _closing(query, call.end())
        arguments = query[call.end() : end]
        if REJECTING.search(arguments) is None:
            result += f"{query[start:end]}, store_rejects = true, rejects_limit = {limit}"
            start = end
    return result + query[start:]


def csv_calls(query: str) -> Iterator[str]:
    """What stands between the parentheses of every `read_csv`."""
    for call in READ_CSV.finditer(query):
        yield query[call.end() : _closing(query, call.end())]


def _closing(query: str, start: int) -> int:
    """Where the parenthesis that opened before `start` closes, quoted text aside."""
    depth, quote = 1, ""
    for position in range(start, len(query)):
        character = query[position]
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        else:
            depth += (character in "([{") - (character in ")]}")
            if not depth:
                return position
    return len(query)


def _reject(spec: DatasetSpec, types: Mapping[str, str], split: str | None) -> str:
    """Why a row is left out, or NULL; it looks at every number, so that all passes leave out the same."""
    label = _label_text(spec)
    cases = [f"WHEN {_label(label)} IS NULL THEN concat('the label must be 0 or 1, found ', {_found(label)})"]
    if split is not None:
        cases.append(f"WHEN ({split}) IS NULL THEN 'the split must be `train`, `valid` or `test`'")
    for name, group in spec.columns:
        if isinstance(group, config.Numeric):
            number = _raw(name, group, types[name.lower()], skip=True)
            column = identifier(name)
            said = literal(f"`{name}` is ")
            if types[name.lower()] == "VARCHAR":
                wrong = f"trim({column}) <> '' AND TRY_CAST(trim({column}) AS DOUBLE) IS NULL"
                cases.append(f"WHEN {wrong} THEN concat({said}, {_found(column)}, ', which is not a number')")
            cases.append(f"WHEN isinf({number}) THEN concat({said}, 'infinite')")
    return f"CASE {' '.join(cases)} END"


def _found(expression: str) -> str:
    return f"COALESCE('`' || CAST({expression} AS VARCHAR) || '`', 'nothing')"


def _label_text(spec: DatasetSpec) -> str:
    return f"TRY(({spec.label}))" if spec.on_error == "skip" else spec.label


def _label(expression: str) -> str:
    return f"CASE TRY_CAST(({expression}) AS DOUBLE) WHEN 0 THEN 0::UTINYINT WHEN 1 THEN 1::UTINYINT END"


def _raw(
    name: str, group: config.Categorical | config.Numeric | config.Sequence, kind: str, *, skip: bool
) -> str:
    """A column of DuckDB type `kind` as text, list of text or double; NULL where missing.

    With `skip`, a text that is no number is NULL as well.
    """
    column = identifier(name)
    if isinstance(group, config.Sequence):
        return f"list_filter({_items(name, group, kind)}, lambda item: item <> '')"
    if NESTED.search(kind):
        hint = "make it a `sequence`" if LIST.search(kind) else "select one of its fields in the SQL"
        raise UsageError(f"feature `{name}` is `{group.type}` and its column holds {kind}", hint=hint)
    is_text = kind == "VARCHAR"
    if isinstance(group, config.Numeric):
        cast = "TRY_CAST" if skip else "CAST"
        number = f"{cast}(NULLIF(trim({column}), '') AS DOUBLE)" if is_text else f"CAST({column} AS DOUBLE)"
        return f"NULLIF({number}, 'nan'::DOUBLE)" if kind in MAY_BE_NAN else number
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
