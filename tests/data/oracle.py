"""An independent encoder in plain Python: rows are dicts, nothing is vectorized."""

import math
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from wukongctl.config.dataset import Categorical, DatasetSpec, Numeric, Sequence

Row = dict[str, Any]


def text(value: Any) -> str | None:
    return None if value is None or not str(value).strip(" ") else str(value)


def items(value: Any, group: Sequence) -> list[str]:
    """The values of a sequence: of a list, or of a text."""
    if isinstance(value, list):
        return [item for entry in value if (item := text(entry)) is not None]
    return [item for part in (text(value) or "").split(group.separator) if (item := part.strip(" "))]


def kept(value: Any, group: Sequence) -> list[str]:
    found = items(value, group)
    return found[-group.max_len :] if group.keep == "last" else found[: group.max_len]


def ranked(counter: Counter[str], least: int) -> list[str]:
    """Values by falling count, then in byte order."""
    return [v for _, _, v in sorted((-n, v.encode(), v) for v, n in counter.items() if n >= least)]


def vocabularies(
    spec: DatasetSpec, train: list[Row], keys: Mapping[str, list[str]] = MappingProxyType({})
) -> dict[str, dict[str | None, int]]:
    """Feature → value → id; None is a missing value, and any value not listed has the id of `"<oov>"`.

    `keys` are those of each file of pretrained vectors.
    """
    groups = dict(spec.columns)
    counts: dict[str, Counter[str]] = {}
    for name, group in spec.columns:
        if isinstance(group, Categorical):
            counts[name] = Counter(v for row in train if (v := text(row[name])) is not None)
        elif isinstance(group, Sequence):
            counts[name] = Counter(v for row in train for v in items(row[name], group))
    result: dict[str, dict[str | None, int]] = {}
    owners = {n: g.shares if isinstance(g, Sequence) and g.shares else n for n, g in spec.columns}
    for owner in dict.fromkeys(owners[name] for name in counts):
        group = groups[owner]
        assert not isinstance(group, Numeric)
        sharing = [n for n in counts if owners[n] == owner and n != owner]
        if spec.compat == "bars":
            values = ranked(counts[owner], group.min_count)
            for name in sharing:
                least = getattr(groups[name], "min_count", 1)
                values += [v for v in ranked(counts[name], least) if v not in values]
        else:
            total = sum((counts[name] for name in sharing), counts[owner])
            values = ranked(total, group.min_count)
        if group.pretrained is not None:
            values += [key for key in keys[group.pretrained.file] if key not in values]
        if spec.compat == "bars":
            special = {None: len(values) + 1, "<oov>": len(values) + 1}
        else:
            special = {None: 0, "<oov>": 1}
        first = 1 if spec.compat == "bars" else 2
        shared = {value: first + i for i, value in enumerate(values)} | special
        result |= dict.fromkeys([owner, *sharing], shared)
    return result


def transform(value: Any, group: Numeric) -> float | None:
    if text(value) is None or math.isnan(float(value)):
        return None
    number = float(value)
    return math.log(1 + max(number, 0)) if group.transform == "log1p" else number


def encode(
    spec: DatasetSpec,
    splits: dict[str, list[Row]],
    keys: Mapping[str, list[str]] = MappingProxyType({}),
) -> dict[str, dict[str, list[Any]]]:
    """Rows per split → columns per split, as expected in the Parquet files."""
    vocabulary = vocabularies(spec, splits["train"], keys)
    result: dict[str, dict[str, list[Any]]] = {}
    for split, rows in splits.items():
        columns: dict[str, list[Any]] = {"label": [int(row["label"]) for row in rows]}
        for name, group in spec.columns:
            if isinstance(group, Numeric):
                columns[name] = numbers(group, name, rows, splits["train"])
            elif isinstance(group, Sequence):
                ids = vocabulary[name]
                columns[name] = [[ids.get(v, ids["<oov>"]) for v in kept(row[name], group)] for row in rows]
            else:
                ids = vocabulary[name]
                columns[name] = [ids.get(text(row[name]), ids["<oov>"]) for row in rows]
        result[split] = columns
    return result


def numbers(group: Numeric, name: str, rows: list[Row], train: list[Row]) -> list[float]:
    values = [transform(row[name], group) for row in rows]
    if not group.standardize:
        return [value or 0.0 for value in values]
    known = [value for row in train if (value := transform(row[name], group)) is not None]
    mean = sum(known) / len(known) if known else 0.0
    std = math.sqrt(sum((value - mean) ** 2 for value in known) / len(known)) if known else 1.0
    return [0.0 if value is None else (value - mean) / (std or 1.0) for value in values]
