"""Numbers that SQL does not see as such: with a unit, `768 km`, or as accountants write them, `(768.31)`."""

import re
from collections import Counter

from wukongctl.data.drafting.counting import ValueCounts
from wukongctl.data.drafting.profile import Column
from wukongctl.data.drafting.writing import PLAIN, PUNCTUATED, Numeral
from wukongctl.data.query import sql

SAMPLE = 2000
"""Different values looked at."""
LEAST_SHARE = 0.95
"""Values that must be numbers with a unit."""
LEAST_NUMBERS = 10
"""Of fewer different numbers, `10 mg` is as good a category."""
MOST_UNITS = 3
CURRENCIES = r"(?:USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD|Rs\.?)"
DIGITS = r"[-+]?[0-9](?:[0-9., ]*[0-9])?"
WITH_UNIT = re.compile(rf"(?:{CURRENCIES} ?)?({DIGITS}) ?([^\W\d_][^\d_]{{0,11}}|°[CF]?|[^\w\s]{{0,2}})")
IN_BRACKETS = re.compile(rf"\(\s*({DIGITS})\s*\)")
BARE = re.compile(DIGITS)


def remark(counts: ValueCounts, column: Column) -> str | None:
    """What to say of a column of texts that are numbers but for a unit or brackets; None for another."""
    if column.type != "VARCHAR" or column.is_number or column.is_list or column.separator is not None:
        return None
    known = list(counts.some(column.name, SAMPLE))
    return _bracketed(column, known) or _measured(column, known)


def _bracketed(column: Column, known: list[str]) -> str | None:
    """Of amounts of which negative ones stand in brackets."""
    found = [text for text in known if IN_BRACKETS.fullmatch(text)]
    rest = [text for text in known if BARE.fullmatch(text)]
    if not found or not rest or len(found) + len(rest) < LEAST_SHARE * len(known):
        return None
    numeral = _numeral([*(text.strip("() ") for text in found), *rest])
    if numeral is None:
        return None
    inner = numeral.plain.format(rf"regexp_replace(trim({sql.identifier(column.name)}), '[() ]', '', 'g')")
    negative = f"CASE WHEN trim({sql.identifier(column.name)}) LIKE '(%' THEN -1 ELSE 1 END"
    read = f"{negative} * TRY_CAST({inner} AS DOUBLE)"
    return _said(column, f"`{found[0]}` is a number in brackets, as accountants write negative ones", read)


def _measured(column: Column, known: list[str]) -> str | None:
    """Of numbers with one unit, or few."""
    matches = [match for match in map(WITH_UNIT.fullmatch, known) if match is not None]
    numbers = {match[1] for match in matches}
    units = Counter(match[2].strip() for match in matches)
    currency = any(re.match(CURRENCIES, text) for text in known)
    if not (any(units) or currency) or len(units) > MOST_UNITS or len(numbers) < LEAST_NUMBERS:
        return None
    numeral = _numeral([match[1] for match in matches])
    if len(matches) < LEAST_SHARE * len(known) or numeral is None:
        return None
    text = f"trim({sql.identifier(column.name)})"
    number = numeral.plain.format(f"regexp_extract({text}, '{DIGITS}')")
    read = f"TRY_CAST({number} AS DOUBLE)"
    example = next(text for text in known if not BARE.fullmatch(text))
    if len(units) == 1:
        return _said(column, f"`{example}` is a number with a unit", read)
    listed = " and ".join(f"`{unit}`" if unit else "none" for unit, _ in units.most_common())
    cases = " ".join(f"WHEN {text} LIKE {sql.literal('%' + unit)} THEN 1" for unit in _longest(units) if unit)
    factors = f"{read} * CASE {cases} ELSE 1 END"
    said = _said(column, f"`{example}` is a number with a unit", factors)
    return f"{said}, with the factor of each unit ({listed}) in place of 1"


def _longest(units: Counter[str]) -> list[str]:
    """A unit before those it ends with."""
    return sorted(units, key=len, reverse=True)


def _said(column: Column, what: str, read: str) -> str:
    return f"{what} (`{column.name}`): for a numeric feature select `{read} AS {sql.identifier(column.name)}`"


def _numeral(texts: list[str]) -> Numeral | None:
    """How all of the texts write numbers."""
    return next((n for n in (PLAIN, *PUNCTUATED) if all(_fits(n, text) for text in texts)), None)


def _fits(numeral: Numeral, text: str) -> bool:
    """Whether it is a number of that kind; DuckDB writes `\\x{a0}` where Python writes `\\xa0`."""
    pattern = re.sub(r"\\x\{(\w+)\}", lambda code: chr(int(code[1], 16)), numeral.pattern)
    return re.fullmatch(pattern, text) is not None
