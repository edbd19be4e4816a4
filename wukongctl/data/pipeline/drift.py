"""Values of new rows that training never saw, or that are missing, counted while the rows are encoded.

A new user here and there is what the out-of-vocabulary id is for. But where most values of a feature are out
of vocabulary that are known in every prepared split, the file spells them differently (`007` for `7`), and
its scores would mean nothing.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation

import numpy as np
import pyarrow as pa

from wukongctl.config.dataset import DatasetSpec
from wukongctl.data.pipeline.lookup import LookupTable
from wukongctl.data.statistics import Statistics
from wukongctl.data.tallies import Tally

NOTE_SHARE, ALARM_SHARE = 0.1, 0.5
"""A share of unusual values is noted above twice the usual share plus the first; above the second it is an
error."""
MIN_VALUES = 20
"""Fewer values say nothing about how a file is written."""
MAX_EXAMPLES, SHOWN = 50, 3
"""Out-of-vocabulary values of a feature that are kept, and that a message shows."""
MAX_VALUES = 200_000
"""The most frequent values of a vocabulary, which are compared with them."""
NO, YES = ("false", "f", "no", "n", "0"), ("true", "t", "yes", "y", "1")
TIME = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(?:\.0+)?)?")
MIDNIGHT = re.compile(r"(\d{4}-\d{2}-\d{2})[ t]00:00(?::00(?:\.0+)?)?(?:z|\+00(?::00)?)?")
GROUPED = re.compile(r"[-+]?\d{1,3}(?:([.,'’ ])\d{3})(?:\1\d{3})*(?:[.,]\d+)?")


def is_alarming(share: float, usual: float) -> bool:
    """Whether a share of unusual values is an error, given the `usual` share in the prepared splits."""
    return share > max(ALARM_SHARE, 2 * usual + NOTE_SHARE)


class ValueDrift:
    """Unknown and missing values of the rows so far; `vocabularies` are by the position of the feature."""

    def __init__(
        self, spec: DatasetSpec, vocabularies: Mapping[int, LookupTable], statistics: Statistics | None
    ) -> None:
        self.names = [name for name, _ in spec.columns]
        self.vocabularies, self.statistics = vocabularies, statistics
        self.tallies = [
            Tally(unknown_id=vocabularies[index].unknown, missing_id=vocabularies[index].missing)
            if index in vocabularies
            else Tally()
            for index in range(len(self.names))
        ]
        self.examples: dict[int, list[str]] = {index: [] for index in vocabularies}

    def count(self, table: pa.Table) -> None:
        """Count encoded rows, missing numbers being NULL."""
        for name, tally in zip(self.names, self.tallies, strict=True):
            tally.add(table[name].combine_chunks())

    def collect(self, index: int, values: pa.Array, ids: np.ndarray) -> None:
        """Keep examples of the distinct `values` of a feature whose id is the out-of-vocabulary one."""
        known = self.examples[index]
        if len(known) >= MAX_EXAMPLES:
            return
        unknown = np.flatnonzero(ids == self.vocabularies[index].unknown)[:MAX_EXAMPLES]
        found = values.take(pa.array(unknown)).to_pylist()
        known += [value for value in found if value and value.strip() and value not in known]

    def unknown(self) -> dict[str, float]:
        """By feature, the share of values that are out of vocabulary, without missing ones."""
        return {self.names[index]: _unknown(self.tallies[index]) for index in self.vocabularies}

    def notes(self) -> list[str]:
        """Features with far more unknown values than any prepared split has."""
        found = []
        for name, share in self.unknown().items():
            usual = self._usual(name)[0] if self.statistics is not None else 0.0
            if share > 2 * usual + NOTE_SHARE:
                found.append(_out_of_vocabulary(name, share, usual))
        return found

    def alarms(self) -> list[str]:
        """Features whose values are mostly unknown or missing, but not in the prepared dataset."""
        found = []
        for index, (name, tally) in enumerate(zip(self.names, self.tallies, strict=True)):
            usual_unknown, usual_missing = self._usual(name)
            if tally.items >= MIN_VALUES and is_alarming(_unknown(tally), usual_unknown):
                message = _out_of_vocabulary(name, _unknown(tally), usual_unknown)
                found.append(f"{message}: {self._listed(index)}")
            missing = tally.missing / max(tally.rows, 1)
            if tally.rows >= MIN_VALUES and is_alarming(missing, usual_missing):
                usual = f"at most {usual_missing:.1%} in the prepared dataset"
                found.append(f"`{name}` is missing in {missing:.1%} of the rows ({usual})")
        return found

    def _usual(self, name: str) -> tuple[float, float]:
        """The largest share of unknown and of missing values in a prepared split; 1 if not known."""
        known = self.statistics.features.get(name) if self.statistics is not None else None
        if known is None:
            return 1.0, 1.0
        return max((known.unknown or {}).values(), default=0.0), max(known.missing.values(), default=0.0)

    def _listed(self, index: int) -> str:
        """Some unknown values, first those that resemble a known one."""
        examples = self.examples[index][:MAX_EXAMPLES]
        known = near_misses(examples, self.vocabularies[index].values)
        examples.sort(key=lambda value: value not in known)
        return ", ".join(
            f"`{value}` (`{known[value]}` in training)" if value in known else f"`{value}`"
            for value in examples[:SHOWN]
        )


def near_misses(values: list[str], vocabulary: pa.Array) -> dict[str, str]:
    """Unknown values → the known one that is probably meant, where there is one.

    `vocabulary` is in id order. The closest kind of similarity decides, then the more frequent value.
    """
    wanted: dict[tuple[str, str], set[str]] = {}
    for value in values:
        for key in _keys(value):
            wanted.setdefault(key, set()).add(value)
    found: dict[str, tuple[int, str]] = {}
    for known in vocabulary[:MAX_VALUES].to_pylist():
        for distance, key in enumerate(_keys(known or "")):
            for value in wanted.get(key, ()):
                if value not in found or distance < found[value][0]:
                    found[value] = distance, known
    return {value: known for value, (_, known) in found.items()}


def _out_of_vocabulary(name: str, share: float, usual: float) -> str:
    prepared = f"at most {usual:.1%} in the prepared dataset"
    return f"{share:.1%} of the values of `{name}` are out of vocabulary ({prepared})"


def _unknown(tally: Tally) -> float:
    return tally.unknown / max(tally.items, 1)


def _keys(value: str) -> Iterator[tuple[str, str]]:
    """What spellings of one value have in common, the most certain first."""
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
    """A number in plain digits, however it is written."""
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
