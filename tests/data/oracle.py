"""Encoding, written a second time in plain Python: rows are dicts, nothing is vectorised."""

import math
from collections import Counter
from typing import Any

from wukongctl.config.dataset import Categorical, DatasetSpec, Numeric, Sequence

Row = dict[str, Any]


def text(value: Any) -> str | None:
    return None if value is None or str(value) == "" else str(value)


def items(value: Any, separator: str) -> list[str]:
    return [item for item in (text(value) or "").split(separator) if item]


def vocabularies(spec: DatasetSpec, train: list[Row]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    least: dict[str, int] = {}
    for name, group in spec.columns:
        if isinstance(group, Categorical):
            counts[name] = Counter(v for row in train if (v := text(row[name])) is not None)
            least[name] = group.min_count
    for name, group in spec.columns:
        if isinstance(group, Sequence):
            owner = group.shares or name
            least.setdefault(owner, group.min_count)
            counter = counts.setdefault(owner, Counter())
            for row in train:
                counter.update(items(row[name], group.separator))
    result = {}
    for name, counter in counts.items():
        kept = [(-n, value.encode(), value) for value, n in counter.items() if n >= least[name]]
        result[name] = {value: position + 2 for position, (_, _, value) in enumerate(sorted(kept))}
    for name, group in spec.columns:
        if isinstance(group, Sequence) and group.shares:
            result[name] = result[group.shares]
    return result


def transform(value: Any, group: Numeric) -> float | None:
    if text(value) is None or math.isnan(float(value)):
        return None
    number = float(value)
    return math.log(1 + max(number, 0)) if group.transform == "log1p" else number


def encode(spec: DatasetSpec, splits: dict[str, list[Row]]) -> dict[str, dict[str, list[Any]]]:
    """Rows per split → columns per split, as they should stand in the Parquet files."""
    vocabulary = vocabularies(spec, splits["train"])
    result: dict[str, dict[str, list[Any]]] = {}
    for split, rows in splits.items():
        columns: dict[str, list[Any]] = {"label": [int(row["label"]) for row in rows]}
        for name, group in spec.columns:
            if isinstance(group, Numeric):
                columns[name] = numbers(group, name, rows, splits["train"])
            elif isinstance(group, Sequence):
                ids = vocabulary[name]
                columns[name] = [
                    [ids.get(v, 1) for v in items(row[name], group.separator)[-group.max_len :]]
                    for row in rows
                ]
            else:
                ids = vocabulary[name]
                values = [text(row[name]) for row in rows]
                columns[name] = [0 if value is None else ids.get(value, 1) for value in values]
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
