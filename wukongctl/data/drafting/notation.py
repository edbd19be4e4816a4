"""How texts write missing values (`NULL`, `-`) and numbers (`3,25`, `1,234`), and SQL that converts them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from wukongctl.data.drafting.counting import ValueCounts
from wukongctl.data.query import sql

MARKERS = (*("null", "(null)", "none", "nil", r"\n", "na", "n/a", "#n/a", "<na>", "nan", "-", "--", "?"),)
"""Markers of missing values, in lower case. They may be values: `NA` is Namibia."""
AMONG_NUMBERS = (
    *("\N{EN DASH}", "\N{EM DASH}", "---", ".", "..", "...", "*", "x", "inf", "+inf", "-inf", "infinity"),
    *("-infinity", "#div/0!", "#value!", "#ref!", "#num!", "#name?", "#null!", "missing", "unknown", "unk"),
    *("undefined", "empty", "blank", "(blank)", "n.a.", "n.a", "not available", "not applicable", "tbd"),
)
"""… and those that are markers only among numbers."""
FEW_TEXTS = 3
"""Most other texts without digits that are markers if they repeat among at least…"""
MANY_NUMBERS = 20
"""… this many distinct numbers, and are…"""
LARGEST_SHARE = 0.5
"""… at most this share of the values."""
SYMBOLS = "€$£¥%"
DIGITS = rf"[-+0-9., \x{{a0}}\x{{202f}}eE{SYMBOLS}]+"
SHOWN = 6
"""Columns in a remark."""


class Numeral(NamedTuple):
    """A notation of numbers, as a pattern, and the SQL that converts it to plain digits."""

    pattern: str
    plain: str


PLAIN = Numeral(r"[-+]?\d+(\.\d+)?", "{}")
PUNCTUATED = (
    # 1,234,567.5
    Numeral(r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?|[-+]?\d+(\.\d+)?", "replace({}, ',', '')"),
    # 3,25
    Numeral(r"[-+]?\d*,\d+([eE][-+]?\d+)?|[-+]?\d+([eE][-+]?\d+)?", "replace({}, ',', '.')"),
    # 1.234.567,5
    Numeral(r"[-+]?[1-9]\d{0,2}(\.\d{3})+(,\d+)?|[-+]?\d+(,\d+)?", "replace(replace({}, '.', ''), ',', '.')"),
    # 1 234 567,5; also with a no-break space
    Numeral(
        r"[-+]?[1-9]\d{0,2}([ \x{a0}\x{202f}]\d{3})+([.,]\d+)?|[-+]?\d+([.,]\d+)?",
        r"replace(regexp_replace({}, '[ \x{{a0}}\x{{202f}}]', '', 'g'), ',', '.')",
    ),
    # 3,25 and 3.25
    Numeral(r"[-+]?\d+([.,]\d+)?", "replace({}, ',', '.')"),
)
"""The first that all values of a column match is used."""


def _with_symbol(numeral: Numeral) -> Numeral:
    """The same with a currency or percent sign before or after."""
    bare = f"regexp_replace({{}}, ' ?[{SYMBOLS}] ?', '', 'g')"
    pattern = rf"([{SYMBOLS}] ?)?({numeral.pattern})( ?[{SYMBOLS}])?"
    return Numeral(pattern, numeral.plain.replace("{}", bare))


NUMERALS = (*PUNCTUATED, *map(_with_symbol, (PLAIN, *PUNCTUATED)))


@dataclass(frozen=True)
class Notation:
    """How one column writes missing values and numbers."""

    column: str
    markers: tuple[tuple[str, int], ...] = ()
    """Markers of missing values as spelled, with their rows."""
    numeral: Numeral | None = None
    example: tuple[str, str] = ("", "")
    """A number as written and as converted."""
    is_number: bool = False
    """Whether all other values are numbers, so that markers are not values."""
    is_float: bool = False
    """Whether the column is a float type with infinite values."""

    @property
    def expression(self) -> str | None:
        """SQL that converts the column; None if it needs no conversion."""
        if not self.is_number or not (self.markers or self.numeral):
            return None
        if self.is_float:
            return f"CASE WHEN isfinite({sql.identifier(self.column)}) THEN {sql.identifier(self.column)} END"
        text = self.without_markers if self.markers else f"trim({sql.identifier(self.column)})"
        return self.numeral.plain.format(text) if self.numeral else text

    @property
    def without_markers(self) -> str:
        """SQL of the column with NULL for its markers."""
        text = f"trim({sql.identifier(self.column)})"
        for marker, _ in self.markers:
            text = f"NULLIF({text}, {sql.literal(marker)})"
        return text


def notations(counts: ValueCounts, types: Mapping[str, str]) -> dict[str, Notation]:
    """Column → its notation, where that is not plain."""
    readers = {"VARCHAR": _of_text, "FLOAT": _of_floats, "DOUBLE": _of_floats}
    found = {name: readers[types[name]](counts, name) for name in counts.tables if types[name] in readers}
    return {name: notation for name, notation in found.items() if notation is not None}


def _of_text(counts: ValueCounts, name: str) -> Notation | None:
    known = _count(counts, name)
    if known.numbers == known.filled:
        return None
    markers = _markers(counts, name, known)
    others = known.filled - sum(rows for _, rows in markers)
    numeral = _numeral(counts, name, others, markers) if known.numbers < others == known.digits else None
    is_number = others > 0 and (known.numbers == others or numeral is not None)
    if not is_number:
        markers = tuple((marker, rows) for marker, rows in markers if marker.lower() in MARKERS)
    if not markers and numeral is None:
        return None
    example = _example(counts, name, numeral) if numeral is not None else ("", "")
    return Notation(name, markers, numeral, example, is_number)


def _of_floats(counts: ValueCounts, name: str) -> Notation | None:
    """Infinite numbers, as left by a division by zero, are missing values."""
    infinite = counts.most_frequent(name, 2, "v IN ('inf', '-inf')")
    return Notation(name, tuple(infinite), is_number=True, is_float=True) if infinite else None


def remarks(notations: Sequence[Notation]) -> list[str]:
    """Remarks on how columns are converted."""
    found = []
    numbers = [notation for notation in notations if notation.numeral is not None]
    if numbers:
        found.append(f"read as numbers: {_listed(map(_example_in, numbers))}")
    missing = [notation for notation in notations if notation.is_number and notation.markers]
    if missing:
        found.append(f"read as missing: {_listed(map(_markers_in, missing))}")
    texts = [notation for notation in notations if notation.markers and not notation.is_number]
    if texts:
        found.append(
            f"kept as values: {_listed(map(_markers_in, texts))}; "
            f"if one means missing, select for example `{texts[0].without_markers}`"
        )
    return found


class _Counts(NamedTuple):
    filled: int
    """Values that are neither missing nor blank,"""
    numbers: int
    """… those that SQL reads as finite numbers,"""
    digits: int
    """… and those of digits and separators only."""


IS_NUMBER = "coalesce(isfinite(TRY_CAST(v AS DOUBLE)), false)"


def _count(counts: ValueCounts, name: str) -> _Counts:
    listed = ", ".join(map(sql.literal, (*MARKERS, *AMONG_NUMBERS)))
    aggregates = (
        f"sum(n), sum(n) FILTER ({IS_NUMBER}), sum(n) FILTER ({IS_NUMBER} OR "
        f"(regexp_full_match(v, {sql.literal(DIGITS)}) AND lower(v) NOT IN ({listed})))"
    )
    query = f"SELECT {aggregates} FROM {counts.tables[name]} WHERE v IS NOT NULL"
    ((filled, numbers, digits),) = counts.engine.rows(query)
    return _Counts(int(filled or 0), int(numbers or 0), int(digits or 0))


def _markers(counts: ValueCounts, name: str, known: _Counts) -> tuple[tuple[str, int], ...]:
    """The markers of missing values: known ones, or a few texts that repeat among numbers."""
    listed = ", ".join(map(sql.literal, (*MARKERS, *AMONG_NUMBERS)))
    markers = counts.most_frequent(name, len(MARKERS + AMONG_NUMBERS), f"lower(v) IN ({listed}) AND v <> ''")
    if not known.numbers:
        return tuple(markers)
    texts = counts.most_frequent(name, FEW_TEXTS + 1, f"NOT {IS_NUMBER} AND lower(v) NOT IN ({listed})")
    if not texts:
        return tuple(markers)
    numbers = f"SELECT count(*) FROM {counts.tables[name]} WHERE {IS_NUMBER}"
    repeat = all(rows > 1 and not any(map(str.isdigit, text)) for text, rows in texts)
    few = len(texts) <= FEW_TEXTS and sum(rows for _, rows in texts) <= LARGEST_SHARE * known.filled
    if few and repeat and counts.engine.rows(numbers)[0][0] >= MANY_NUMBERS:
        markers += texts
    return tuple(sorted(markers, key=lambda marker: (-marker[1], marker[0])))


def _numeral(
    counts: ValueCounts, name: str, wanted: int, markers: Iterable[tuple[str, int]]
) -> Numeral | None:
    """The first notation in which all `wanted` values, those that are not `markers`, are numbers."""
    aggregates = [f"sum(n) FILTER (regexp_full_match(v, {sql.literal(n.pattern)}))" for n in NUMERALS]
    without = " AND ".join(["v IS NOT NULL", *(f"v <> {sql.literal(marker)}" for marker, _ in markers)])
    (fits,) = counts.engine.rows(f"SELECT {', '.join(aggregates)} FROM {counts.tables[name]} WHERE {without}")
    return next((n for n, count in zip(NUMERALS, fits, strict=True) if 0 < (count or 0) == wanted), None)


def _example(counts: ValueCounts, name: str, numeral: Numeral) -> tuple[str, str]:
    plain = numeral.plain.format("v")
    query = f"SELECT v, {plain} FROM {counts.tables[name]} WHERE {plain} <> v ORDER BY first LIMIT 1"
    ((written, converted),) = counts.engine.rows(query)
    return str(written), str(converted)


def _example_in(notation: Notation) -> str:
    written, converted = notation.example
    return f"`{written}` in `{notation.column}` is {converted}"


def _markers_in(notation: Notation) -> str:
    markers = " and ".join(f"{count:,} × `{marker}`" for marker, count in notation.markers)
    return f"{markers} in `{notation.column}`"


def _listed(items: Iterable[str]) -> str:
    known = list(items)
    more = f", and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return ", ".join(known[:SHOWN]) + more
