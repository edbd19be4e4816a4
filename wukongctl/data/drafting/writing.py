"""How texts write what they mean: a missing value as `NULL`, a number as `3,25` or `1,234`; as SQL that reads
it so, where that is certain enough, and as remarks.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from wukongctl.data.drafting.counting import ValueCounts
from wukongctl.data.query import sql

MARKERS = (*("null", "(null)", "none", "nil", r"\n", "na", "n/a", "#n/a", "<na>", "nan", "-", "--", "?"),)
"""What programs write for a missing value, in lower case. To some it is a value: `NA` is Namibia."""
AMONG_NUMBERS = (
    *("\N{EN DASH}", "\N{EM DASH}", "---", ".", "..", "...", "*", "x", "inf", "+inf", "-inf", "infinity"),
    *("-infinity", "#div/0!", "#value!", "#ref!", "#num!", "#name?", "#null!", "missing", "unknown", "unk"),
    *("undefined", "empty", "blank", "(blank)", "n.a.", "n.a", "not available", "not applicable", "tbd"),
)
"""… and what is no value where all others are numbers."""
FEW_ODD = 3
"""Other texts, without a digit, that may come again and again among at least…"""
MANY_NUMBERS = 20
"""… so many different numbers before they are taken for missing ones too, if they are…"""
LARGEST_SHARE = 0.5
"""… at most this share of the values."""
SYMBOLS = "€$£¥%"
DIGITS = rf"[-+0-9., \x{{a0}}\x{{202f}}eE{SYMBOLS}]+"
SHOWN = 6
"""Columns that a remark names."""


class Numeral(NamedTuple):
    """A way to write numbers that SQL does not know, and what makes it one that it does."""

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
    # 1 234 567,5; the blank may be one that does not break
    Numeral(
        r"[-+]?[1-9]\d{0,2}([ \x{a0}\x{202f}]\d{3})+([.,]\d+)?|[-+]?\d+([.,]\d+)?",
        r"replace(regexp_replace({}, '[ \x{{a0}}\x{{202f}}]', '', 'g'), ',', '.')",
    ),
    # 3,25 beside 3.25
    Numeral(r"[-+]?\d+([.,]\d+)?", "replace({}, ',', '.')"),
)
"""The first that all values of a column fit is taken: no row of it has `1,5` where `1,234` is a thousand."""


def _with_symbol(numeral: Numeral) -> Numeral:
    """The same before or after the sign of a currency or of percent."""
    bare = f"regexp_replace({{}}, ' ?[{SYMBOLS}] ?', '', 'g')"
    pattern = rf"([{SYMBOLS}] ?)?({numeral.pattern})( ?[{SYMBOLS}])?"
    return Numeral(pattern, numeral.plain.replace("{}", bare))


NUMERALS = (*PUNCTUATED, *map(_with_symbol, (PLAIN, *PUNCTUATED)))


@dataclass(frozen=True)
class Writing:
    """How one column of texts writes missing values and numbers."""

    column: str
    markers: tuple[tuple[str, int], ...] = ()
    """Markers of missing values, as they are spelled, with the rows that hold them."""
    numeral: Numeral | None = None
    example: tuple[str, str] = ("", "")
    """A number as it is written, and as it is read."""
    is_number: bool = False
    """Whether every other value is a number: then nobody means a marker as a value."""
    is_float: bool = False
    """Whether the column holds numbers as such, some of them infinite."""

    @property
    def expression(self) -> str | None:
        """SQL that reads the column as it is meant; None where it may be read as it stands."""
        if not self.is_number or not (self.markers or self.numeral):
            return None
        if self.is_float:
            return f"CASE WHEN isfinite({sql.identifier(self.column)}) THEN {sql.identifier(self.column)} END"
        text = self.without_markers if self.markers else f"trim({sql.identifier(self.column)})"
        return self.numeral.plain.format(text) if self.numeral else text

    @property
    def without_markers(self) -> str:
        """SQL of the column with its markers missing."""
        text = f"trim({sql.identifier(self.column)})"
        for marker, _ in self.markers:
            text = f"NULLIF({text}, {sql.literal(marker)})"
        return text


def look(counts: ValueCounts, types: Mapping[str, str]) -> dict[str, Writing]:
    """Those columns that write something in a way of their own."""
    found = {}
    for name in counts.tables():
        if types[name] == "VARCHAR":
            writing = _of_text(counts, name)
        elif types[name] in ("FLOAT", "DOUBLE"):
            writing = _of_floats(counts, name)
        else:
            continue
        if writing is not None:
            found[name] = writing
    return found


def _of_text(counts: ValueCounts, name: str) -> Writing | None:
    known = _counted(counts, name)
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
    return Writing(name, markers, numeral, example, is_number)


def _of_floats(counts: ValueCounts, name: str) -> Writing | None:
    """Infinite numbers, as a division by zero leaves them, are missing ones."""
    infinite = counts.most_frequent(name, 2, "v IN ('inf', '-inf')")
    return Writing(name, tuple(infinite), is_number=True, is_float=True) if infinite else None


def remarks(writings: Iterable[Writing]) -> list[str]:
    """What a person should know of how columns are read."""
    known = list(writings)
    said = []
    read = [writing for writing in known if writing.numeral is not None]
    if read:
        said.append(f"numbers are read as people write them: {_listed(_rewritten(w) for w in read)}")
    missing = [writing for writing in known if writing.is_number and writing.markers]
    if missing:
        said.append(f"read as missing: {_listed(map(_held, missing))}")
    texts = [writing for writing in known if writing.markers and not writing.is_number]
    if texts:
        said.append(
            f"kept as values of their own: {_listed(map(_held, texts))}; "
            f"where one means missing, select for example `{texts[0].without_markers}`"
        )
    return said


class _Counts(NamedTuple):
    filled: int
    """Values that are neither missing nor blank,"""
    numbers: int
    """… of which SQL takes these for finite numbers,"""
    digits: int
    """… and these consist of digits and what may stand between them."""


IS_NUMBER = "coalesce(isfinite(TRY_CAST(v AS DOUBLE)), false)"
IS_ODD = f"NOT {IS_NUMBER}"


def _counted(counts: ValueCounts, name: str) -> _Counts:
    listed = ", ".join(map(sql.literal, (*MARKERS, *AMONG_NUMBERS)))
    asked = (
        f"sum(n), sum(n) FILTER ({IS_NUMBER}), sum(n) FILTER ({IS_NUMBER} OR "
        f"(regexp_full_match(v, {sql.literal(DIGITS)}) AND lower(v) NOT IN ({listed})))"
    )
    query = f"SELECT {asked} FROM {counts.table(name)} WHERE v IS NOT NULL"
    ((filled, numbers, digits),) = counts.engine.rows(query)
    return _Counts(int(filled or 0), int(numbers or 0), int(digits or 0))


def _markers(counts: ValueCounts, name: str, known: _Counts) -> tuple[tuple[str, int], ...]:
    """What stands for missing values: words known for that, or a few texts that come again among numbers."""
    listed = ", ".join(map(sql.literal, (*MARKERS, *AMONG_NUMBERS)))
    markers = counts.most_frequent(name, len(MARKERS + AMONG_NUMBERS), f"lower(v) IN ({listed}) AND v <> ''")
    if not known.numbers:
        return tuple(markers)
    odd = counts.most_frequent(name, FEW_ODD + 1, f"{IS_ODD} AND lower(v) NOT IN ({listed})")
    if not odd:
        return tuple(markers)
    numbers = f"SELECT count(*) FROM {counts.table(name)} WHERE {IS_NUMBER}"
    comes_again = all(rows > 1 and not any(map(str.isdigit, text)) for text, rows in odd)
    few = len(odd) <= FEW_ODD and sum(rows for _, rows in odd) <= LARGEST_SHARE * known.filled
    if few and comes_again and counts.engine.rows(numbers)[0][0] >= MANY_NUMBERS:
        markers += odd
    return tuple(sorted(markers, key=lambda marker: (-marker[1], marker[0])))


def _numeral(
    counts: ValueCounts, name: str, wanted: int, markers: Iterable[tuple[str, int]]
) -> Numeral | None:
    """The first way of writing in which all `wanted` values, those but `markers`, are numbers."""
    asked = [f"sum(n) FILTER (regexp_full_match(v, {sql.literal(n.pattern)}))" for n in NUMERALS]
    without = " AND ".join(["v IS NOT NULL", *(f"v <> {sql.literal(marker)}" for marker, _ in markers)])
    (fits,) = counts.engine.rows(f"SELECT {', '.join(asked)} FROM {counts.table(name)} WHERE {without}")
    return next((n for n, count in zip(NUMERALS, fits, strict=True) if 0 < (count or 0) == wanted), None)


def _example(counts: ValueCounts, name: str, numeral: Numeral) -> tuple[str, str]:
    plain = numeral.plain.format("v")
    query = f"SELECT v, {plain} FROM {counts.table(name)} WHERE {plain} <> v ORDER BY first LIMIT 1"
    ((written, read),) = counts.engine.rows(query)
    return str(written), str(read)


def _rewritten(writing: Writing) -> str:
    written, read = writing.example
    return f"`{written}` in `{writing.column}` is {read}"


def _held(writing: Writing) -> str:
    spelled = " and ".join(f"{count:,} × `{marker}`" for marker, count in writing.markers)
    return f"{spelled} in `{writing.column}`"


def _listed(items: Iterable[str]) -> str:
    known = list(items)
    more = f", and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return ", ".join(known[:SHOWN]) + more
