"""An unknown value → the known one that is probably meant: `007` for `7`, `True` for `true`."""

import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

import pyarrow as pa

MOST_VALUES = 200_000
"""The most frequent values of a vocabulary, among which one that looks alike is sought."""
NO, YES = ("false", "f", "no", "n", "0"), ("true", "t", "yes", "y", "1")
TIME = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(?:\.0+)?)?")
MIDNIGHT = re.compile(r"(\d{4}-\d{2}-\d{2})[ t]00:00(?::00(?:\.0+)?)?(?:z|\+00(?::00)?)?")
GROUPED = re.compile(r"[-+]?\d{1,3}(?:([.,'’ ])\d{3})(?:\1\d{3})*(?:[.,]\d+)?")
Key = tuple[str, str]


def alike(values: list[str], vocabulary: pa.Array) -> dict[str, str]:
    """Of `values`, those that look like one of the vocabulary (text in id order) → that one.

    The closest kind of likeness decides, then the more frequent value.
    """
    wanted: dict[Key, set[str]] = {}
    for value in values:
        for key in _keys(value):
            wanted.setdefault(key, set()).add(value)
    found: dict[str, tuple[int, str]] = {}
    for known in vocabulary[:MOST_VALUES].to_pylist():
        for distance, key in enumerate(_keys(known or "")):
            for value in wanted.get(key, ()):
                if value not in found or distance < found[value][0]:
                    found[value] = distance, known
    return {value: known for value, (_, known) in found.items()}


def _keys(value: str) -> Iterator[Key]:
    """What values that mean the same share, the surest first."""
    text = unicodedata.normalize("NFKC", value).strip().strip("\"'").strip().casefold()
    if not text:
        return
    yield "text", midnight[1] if (midnight := MIDNIGHT.fullmatch(text)) else text
    if (number := _number(text)) is not None:
        yield "number", number
    if time := TIME.fullmatch(text):
        yield "time", f"{int(time[1])}:{time[2]}:{time[3] or '00'}"
    if text in YES or text in NO:
        yield "truth", str(text in YES)
    if letters := re.sub(r"[\W_]+", "", text):
        yield "letters", letters


def _number(text: str) -> str | None:
    """The number in plain digits, however it is written; None for what is none."""
    candidates = [text]
    if grouped := GROUPED.fullmatch(text):
        candidates.append(text.replace(grouped[1], "").replace(",", "."))
    candidates.append(text.replace(",", "."))
    for candidate in candidates:
        try:
            number = Decimal(candidate)
        except InvalidOperation:
            continue
        return format(number.normalize(), "f") if number.is_finite() and abs(number.adjusted()) < 40 else None
    return None
