"""The SQL of preparation, as text: every name quoted, nothing executed.

`select` wraps the recipe's SELECT into columns of known names and types: `label_` (0, 1 or NULL), `split_`,
`reject_` (under `on_error: skip`, why the row is left out, or NULL), `probability_`, and in recipe order
`f0`, `f1`… (text or integer for categorical features, lists of text for sequences, integer or double for
numeric ones, NULL if missing).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from wukongctl.config import dataset as config
from wukongctl.config.dataset import DatasetSpec
from wukongctl.errors import UsageError

PLACEHOLDER = re.compile(r"'\{([^{}']+)\}'")
NESTED = re.compile(r"\[\d*\]$|^(STRUCT|MAP|UNION)\b")
LIST = re.compile(r"^\w+(\([\d,]+\))?\[\d*\]$")
"""DuckDB types, as text: of any nested value, and of a flat list or array."""
FIRST_YEAR = 1000
"""DuckDB reads `24` as the year 24, and `03/04/24` as a day in the year 3, which nobody means."""
FLOAT32_LARGEST = 3.4028234663852886e38
INTEGERS = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
)
MAY_BE_NAN = frozenset({"VARCHAR", "FLOAT", "DOUBLE"})
FILES = re.compile(r"\s*(\[[^\]]*\]|'(?:[^']|'')*')")
"""The first argument of `read_csv` or `read_parquet`: a file, a pattern, or a list of them."""
FILE = re.compile(r"'((?:[^']|'')*)'")
OPENING = re.compile(
    r"\b(?:(?P<table>FROM|JOIN)\s+|(?:read_\w+|parquet_\w+|\w+_scan|glob|sniff_csv)\s*\()", re.IGNORECASE
)
"""What a file, or a list of files, follows."""
READ_CSV = re.compile(r"\bread_csv(?:_auto)?\s*\(", re.IGNORECASE)
TRY_CAST = re.compile(r"\bTRY_CAST\s*\(", re.IGNORECASE)
REJECTING = re.compile(r"\b(store_rejects|ignore_errors)\b", re.IGNORECASE)


def identifier(name: str) -> str:
    """`name` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """`text` as a quoted SQL string."""
    return "'" + text.replace("'", "''") + "'"


def fill(query: str, paths: Mapping[str, Path | tuple[Path, ...]]) -> str:
    """`query` with each placeholder `'{name}'` replaced by the quoted path of that raw file, or paths."""

    def path(match: re.Match[str]) -> str:
        found = paths[match[1]]
        return literal(str(found)) if isinstance(found, Path) else files(found)

    return PLACEHOLDER.sub(path, query)


def anchored(query: str, folder: Path) -> str:
    """`query` with the relative paths of files it reads starting at `folder`."""

    def from_folder(match: re.Match[str]) -> str:
        path = match[1].replace("''", "'")
        is_fixed = PLACEHOLDER.fullmatch(match[0]) or "://" in path or Path(path).is_absolute()
        return match[0] if is_fixed else literal(str(folder / path))

    result, start = "", 0
    for opening in OPENING.finditer(query):
        read = FILES.match(query, opening.end())
        if read is None or opening.start() < start:
            continue
        if opening["table"] and (read[1].startswith("[") or "." not in read[1]):
            continue  # the name of a table
        result += query[start : opening.end()] + FILE.sub(from_folder, read[0])
        start = read.end()
    return result + query[start:]


def files(paths: Iterable[Path | str]) -> str:
    """A list of files, for `read_csv` or `read_parquet`."""
    return f"[{', '.join(literal(str(path)) for path in paths)}]"


def source(query: str, limit: int | None = None) -> str:
    """A recipe's SELECT, safe to nest: without a final semicolon or open comment, at most `limit` rows."""
    nested = f"SELECT * FROM (\n{query.strip().rstrip(';')}\n)"
    return nested if limit is None else f"{nested} LIMIT {limit}"


def select(
    spec: DatasetSpec,
    query: str,
    types: Mapping[str, str],
    split: str | None = None,
    *,
    also: Iterable[str] = (),
) -> str:
    """The rows of `query`, in its order, under the fixed names of this module.

    `types` maps lower-case column names to DuckDB types; `split` is an SQL expression for `split_`; `also`
    names columns to keep unchanged.
    Raises UsageError for a column whose type does not fit its feature.
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
        kind = types[name.lower()]
        # Integers are cheaper to hand over as they are, also if they are categories.
        is_whole = not isinstance(group, config.Sequence) and kind in INTEGERS
        text = identifier(name) if is_whole else _raw(name, group, kind, skip=skip)
        columns.append(f"{text} AS f{index}")
    columns += also
    return f"SELECT {', '.join(columns)} FROM (\n{query}\n)"


def columns(spec: DatasetSpec, *, with_split: bool) -> list[str]:
    """Names of the columns of `select`, without `reject_`."""
    names = ["label_", *(["split_"] if with_split else [])]
    names += ["probability_"] if spec.probability is not None else []
    return names + [f"f{index}" for index in range(len(spec.columns))]


def sum_counts(counts: str) -> str:
    """Counts summed by value."""
    return f"SELECT value, CAST(sum(count) AS BIGINT) AS count FROM ({counts}) GROUP BY value"


def ids(vocabulary: Path, unknown: int, missing: int) -> str:
    """The id of each value of the table `numbered` (position, value), in the order of positions."""
    other = f"CASE WHEN value IS NULL THEN {missing} ELSE {unknown} END"
    known = f"(SELECT value, id FROM read_parquet({literal(str(vocabulary))})) AS known"
    found = f"SELECT position, COALESCE(id, {other}) AS id FROM numbered LEFT JOIN {known} USING (value)"
    return f"SELECT CAST(id AS INTEGER) AS id FROM ({found}) ORDER BY position"


def copy(query: str, path: Path, compression: str = "zstd") -> str:
    """Write the rows of `query` to a Parquet file, in its order."""
    return f"COPY (\n{query}\n) TO {literal(str(path))} (FORMAT parquet, COMPRESSION {compression})"


def vocabulary(parts: Iterable[tuple[str, int]], first: int) -> str:
    """Values with their ids, from `first`, by descending count and then in byte order.

    `parts` are queries of counts, each with the minimum count of a value. Values of a later part follow
    those of earlier ones.
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


def first_bad_row(spec: DatasetSpec, query: str, types: Mapping[str, str], split: str | None) -> str:
    """Number of the first row of `query` that `on_error: skip` would leave out, and why."""
    skipping = spec.model_copy(update={"on_error": "skip"})
    why = f"{_reject(skipping, types, split)} AS wukongctl_why, row(*COLUMNS(*)) AS wukongctl_whole"
    rows = f"SELECT row_number() OVER () AS wukongctl_row, {why} FROM (\n{query}\n)"
    # With all columns selected, DuckDB reads all, and lines that it cannot read have no row number.
    found = "wukongctl_row, wukongctl_why, wukongctl_whole"
    return f"SELECT {found} FROM ({rows}) WHERE wukongctl_why IS NOT NULL LIMIT 1"


def _overflow(number: str, group: config.Numeric) -> str:
    """SQL: why the feature's float32 cannot hold a number, NULL if it can."""
    cases = f"WHEN isinf({number}) THEN 'infinite'"
    if group.transform == "none" and not group.standardize:  # else only the result must fit
        large = f"NOT isnan({number}) AND abs({number}) > {FLOAT32_LARGEST!r}"
        cases += f" WHEN {large} THEN 'too large for float32'"
    return f"CASE {cases} END"


def storing_rejects(query: str, limit: int) -> str:
    """`query` with every `read_csv` storing the lines it cannot read, at most `limit`, instead of failing."""
    result, start = "", 0
    for call in READ_CSV.finditer(query):
        end = closing(query, call.end())
        arguments = query[call.end() : end]
        if REJECTING.search(arguments) is None:
            result += f"{query[start:end]}, store_rejects = true, rejects_limit = {limit}"
            start = end
    return result + query[start:]


def csv_calls(query: str) -> Iterator[str]:
    """The arguments of every `read_csv`."""
    for call in READ_CSV.finditer(query):
        yield query[call.end() : closing(query, call.end())]


def closing(query: str, start: int) -> int:
    """Position of the parenthesis that closes the one opened before `start`, outside quoted text."""
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
    """Why a row is left out, or NULL; checks every number, so that all passes leave out the same rows."""
    label = _label_text(spec)
    cases = [f"WHEN {_label(label)} IS NULL THEN concat('the label must be 0 or 1, found ', {_found(label)})"]
    if split is not None:
        reason = literal("the time it is split by is missing")
        if isinstance(spec.split, config.ByColumn):
            found = _found(identifier(spec.split.column))
            reason = f"concat('the split must be `train`, `valid` or `test`, found ', {found})"
        cases.append(f"WHEN ({split}) IS NULL THEN {reason}")
    for name, group in spec.columns:
        if isinstance(group, config.Numeric):
            number = _raw(name, group, types[name.lower()], skip=True)
            column = identifier(name)
            start = literal(f"`{name}` is ")
            if types[name.lower()] == "VARCHAR":
                wrong = f"trim({column}) <> '' AND TRY_CAST(trim({column}) AS DOUBLE) IS NULL"
                what = f"concat({start}, {_found(column)}, ', which is not a number')"
                cases.append(f"WHEN {wrong} THEN {what}")
            overflow = _overflow(number, group)
            cases.append(f"WHEN {overflow} IS NOT NULL THEN concat({start}, {overflow})")
    return f"CASE {' '.join(cases)} END"


def _found(expression: str) -> str:
    return f"COALESCE('`' || CAST({expression} AS VARCHAR) || '`', 'a missing value')"


def _label_text(spec: DatasetSpec) -> str:
    return f"TRY(({spec.label}))" if spec.on_error == "skip" else spec.label


def _label(expression: str) -> str:
    return f"CASE TRY_CAST(({expression}) AS DOUBLE) WHEN 0 THEN 0::UTINYINT WHEN 1 THEN 1::UTINYINT END"


def _raw(
    name: str, group: config.Categorical | config.Numeric | config.Sequence, kind: str, *, skip: bool
) -> str:
    """A column of DuckDB type `kind` as text, list of text or double; NULL where missing.

    With `skip`, a text that is not a number is NULL as well.
    """
    column = identifier(name)
    if isinstance(group, config.Sequence):
        return f"list_filter({_items(name, group, kind)}, lambda item: trim(item) <> '')"
    if NESTED.search(kind):
        hint = "make it a `sequence`" if LIST.search(kind) else "select one of its fields in the SQL"
        raise UsageError(f"feature `{name}` is `{group.type}`, but its column holds {kind}", hint=hint)
    is_text = kind == "VARCHAR"
    if isinstance(group, config.Numeric):
        cast = "TRY_CAST" if skip else "CAST"
        number = f"{cast}(NULLIF(trim({column}), '') AS DOUBLE)" if is_text else f"CAST({column} AS DOUBLE)"
        return f"NULLIF({number}, 'nan'::DOUBLE)" if kind in MAY_BE_NAN else number
    if kind in ("FLOAT", "DOUBLE"):  # one id for 0.0 and -0.0, none for NaN
        return f"CAST(CASE WHEN NOT isnan({column}) THEN {column} + 0 END AS VARCHAR)"
    return column if is_text else f"CAST({column} AS VARCHAR)"


def _items(name: str, group: config.Sequence, kind: str) -> str:
    """The values of a sequence, empty and missing ones included."""
    column = identifier(name)
    if LIST.search(kind):
        return f"CAST({column} AS VARCHAR[])"
    if NESTED.search(kind):
        raise UsageError(f"sequence `{name}` holds {kind}", hint="select a flat list or a text in the SQL")
    if group.separator is None:
        raise UsageError(f"sequence `{name}` holds {kind}, not a list", hint="set its `separator`")
    return f"string_split(CAST({column} AS VARCHAR), {literal(group.separator)})"
