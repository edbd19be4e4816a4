"""What a run logged while it trained, thinned for plots."""

import json
import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

from wukongctl.training.run_folder import RunFolder

MOST_POINTS = 500
"""Rows kept of each table; more cannot be told apart on a screen."""
MOST_SPEEDS = 50
"""Speeds of a run: over shorter times they show other work of the machine."""
DIGITS = 6
"""Significant digits of plotted values."""
NOT_PLOTTED = ("step", "split", "examples", "rows")

Column: TypeAlias = list[float | None]


class Curves(TypedDict):
    """Columns of equal length, over increasing steps; undefined values are None."""

    step: list[int]
    examples: Column
    """Training examples seen; None where no log line tells."""
    values: dict[str, Column]


def read_curves(folder: RunFolder) -> dict[str, Curves]:
    """Curves by split (`train`, `valid`), and `speed`; kinds that were not logged are missing.

    Reads the files of running and killed runs: incomplete lines are skipped.
    """
    logged: dict[str, list[dict[str, Any]]] = {}
    for record in _records(folder.metrics):
        _append(logged.setdefault(str(record.get("split")), []), record)
    seen = [
        (record["step"], record["examples"]) for record in logged.get("train", []) if "examples" in record
    ]
    curves = {split: _curves(records, seen) for split, records in logged.items()}
    if speed := _speed(folder.speed):
        curves["speed"] = _curves(speed, seen)
    return curves


def _records(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int):
            yield record


def _append(records: list[dict[str, Any]], record: dict[str, Any]) -> None:
    """Add a record; those that a resumed run has written again are replaced."""
    while records and records[-1]["step"] >= record["step"]:
        records.pop()
    records.append(record)


def _speed(path: Path) -> list[dict[str, Any]]:
    """Examples per second of training, over equal numbers of lines of speed.jsonl."""
    records: list[dict[str, Any]] = []
    for record in _records(path):
        if {"examples", "train_seconds"} <= record.keys():
            _append(records, record)
    found, examples, seconds = [], 0, 0.0
    lines = math.ceil(len(records) / MOST_SPEEDS)
    for record in records[lines - 1 :: lines] if records else []:
        done, took = record["examples"] - examples, record["train_seconds"] - seconds
        if done > 0 and took > 0:
            found.append(
                {"step": record["step"], "examples": record["examples"], "rows_per_second": done / took}
            )
        examples, seconds = record["examples"], record["train_seconds"]
    return found


def _curves(records: Sequence[dict[str, Any]], seen: Sequence[tuple[int, int]]) -> Curves:
    names = dict.fromkeys(key for record in records for key in record if key not in NOT_PLOTTED)
    values = {name: [_plotted(record.get(name)) for record in records] for name in names}
    kept = thinned(len(records), values)
    # LightGBM sees all examples in each tree: by examples it has no curve.
    grows = len({examples for _, examples in seen}) == len(seen)
    examples = [record.get("examples") or _examples_at(record["step"], seen) for record in records]
    return {
        "step": [records[index]["step"] for index in kept],
        "examples": [examples[index] if grows else None for index in kept],
        "values": {name: [column[index] for index in kept] for name, column in values.items()},
    }


def _plotted(value: object) -> float | None:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(f"{value:.{DIGITS}g}")


def _examples_at(step: int, seen: Sequence[tuple[int, int]]) -> float | None:
    """Examples seen at a step between two log lines, by linear interpolation; None beyond the last."""
    place = bisect_left(seen, (step, 0))
    if place == len(seen):
        return None
    before = seen[place - 1] if place else (0, 0)
    share = (step - before[0]) / (seen[place][0] - before[0])
    return round(before[1] + share * (seen[place][1] - before[1]))


def thinned(length: int, columns: Mapping[str, Column], most: int = MOST_POINTS) -> list[int]:
    """Indices of at most `most` rows: first, last, and the extremes of each column in equal stretches."""
    if length <= most:
        return list(range(length))
    stretches = max(1, (most - 2) // (2 * max(1, len(columns))))
    kept = {0, length - 1}
    for number in range(stretches):
        stretch = range(number * length // stretches, (number + 1) * length // stretches)
        for column in columns.values():
            known = [(value, index) for index in stretch if (value := column[index]) is not None]
            if known:
                kept |= {min(known)[1], max(known)[1]}
    return sorted(kept)
