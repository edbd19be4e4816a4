"""How texts write what they mean: a missing value as `NULL`, a number as `3,25` or `1,234`; as SQL that reads
it so, where that is certain enough, and as remarks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from wukongctl.data.query import sql
from wukongctl.data.query.engine import Engine

MARKERS = ("null", "(null)", "none", "nil", r"\n", "na", "n/a", "#n/a", "<na>", "nan", "-", "--", "?")
"""What programs write for a missing value, in lower case. To some it is a value: `NA` is Namibia."""
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

    @property
    def expression(self) -> str | None:
        """SQL that reads the column as it is meant; None where it may be read as it stands."""
        if not self.is_number or not (self.markers or self.numeral):
            return None
        text = self.without_markers if self.markers else f"trim({sql.identifier(self.column)})"
        return self.numeral.plain.format(text) if self.numeral else text

    @property
    def without_markers(self) -> str:
        """SQL of the column with its markers missing."""
        text = f"trim({sql.identifier(self.column)})"
        for marker, _ in self.markers:
            text = f"NULLIF({text}, {sql.literal(marker)})"
        return text


def look(engine: Engine, rows: str, types: Mapping[str, str]) -> dict[str, Writing]:
    """Those text columns of the query `rows` that write something in a way of their own."""
    texts = [name for name, kind in types.items() if kind == "VARCHAR"]
    found = {}
    for name, counts in zip(texts, _counted(engine, rows, texts), strict=True):
        others = counts.filled - counts.markers
        markers = _markers(engine, rows, name) if counts.markers else ()
        odd = counts.numbers < others == counts.digits
        numeral = _numeral(engine, rows, name, others) if odd else None
        is_number = others > 0 and (counts.numbers == others or numeral is not None)
        if markers or numeral is not None:
            example = _example(engine, rows, name, numeral) if numeral is not None else ("", "")
            found[name] = Writing(name, markers, numeral, example, is_number)
    return found


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
    for writing in known:
        if writing.markers and not writing.is_number:
            said.append(
                f"a value like any other is {_held(writing)}; "
                f"where it means a missing one, select `{writing.without_markers}`"
            )
    return said


def _value(name: str) -> str:
    return f"NULLIF(trim({sql.identifier(name)}), '')"


class _Counts(NamedTuple):
    filled: int
    """Values that are neither missing nor blank,"""
    numbers: int
    """… of which SQL takes these for finite numbers,"""
    markers: int
    """… these are MARKERS,"""
    digits: int
    """… and these consist of digits and what may stand between them."""


def _counted(engine: Engine, rows: str, names: Sequence[str]) -> list[_Counts]:
    if not names:
        return []
    asked = [
        f"count({_value(name)}), "
        f"count(*) FILTER (isfinite(TRY_CAST({_value(name)} AS DOUBLE))), "
        f"count(*) FILTER ({_is_marker(_value(name))}), "
        f"count(*) FILTER (regexp_full_match({_value(name)}, {sql.literal(DIGITS)})"
        f" AND NOT {_is_marker(_value(name))})"
        for name in names
    ]
    (row,) = engine.rows(f"SELECT {', '.join(asked)} FROM (\n{rows}\n)")
    return [_Counts(*row[i : i + 4]) for i in range(0, len(row), 4)]


def _is_marker(value: str) -> str:
    return f"lower({value}) IN ({', '.join(map(sql.literal, MARKERS))})"


def _markers(engine: Engine, rows: str, name: str) -> tuple[tuple[str, int], ...]:
    counted = (
        f"SELECT {_value(name)} AS v, count(*) AS n FROM (\n{rows}\n) WHERE {_is_marker('v')} GROUP BY v"
    )
    return tuple((str(v), int(n)) for v, n in engine.rows(f"{counted} ORDER BY n DESC, v"))


def _numeral(engine: Engine, rows: str, name: str, wanted: int) -> Numeral | None:
    """The first way of writing in which all `wanted` values are numbers."""
    asked = [
        f"count(*) FILTER (regexp_full_match({_value(name)}, {sql.literal(n.pattern)}))" for n in NUMERALS
    ]
    (fits,) = engine.rows(f"SELECT {', '.join(asked)} FROM (\n{rows}\n)")
    return next((n for n, count in zip(NUMERALS, fits, strict=True) if 0 < count == wanted), None)


def _example(engine: Engine, rows: str, name: str, numeral: Numeral) -> tuple[str, str]:
    plain = numeral.plain.format(_value(name))
    query = f"SELECT {_value(name)}, {plain} FROM (\n{rows}\n) WHERE {plain} <> {_value(name)} LIMIT 1"
    ((written, read),) = engine.rows(query)
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
