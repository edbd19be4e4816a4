"""Numbers with a unit, `768 km`, or negative in brackets, `(768.31)`, which SQL reads as text."""

import re
from collections import Counter

from wukongctl.data.drafting.counting import ValueCounts
from wukongctl.data.drafting.notation import PLAIN, PUNCTUATED, Numeral
from wukongctl.data.drafting.profile import Column
from wukongctl.data.query import sql

SAMPLE = 2000
"""Distinct values sampled."""
LEAST_SHARE = 0.95
"""Least share of values that are numbers with a unit."""
LEAST_NUMBERS = 10
"""Fewer distinct numbers, such as `10 mg`, make as good a category."""
MOST_UNITS = 3
CURRENCIES = r"(?:USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD|Rs\.?)"
DIGITS = r"[-+]?[0-9](?:[0-9., ]*[0-9])?"
WITH_UNIT = re.compile(rf"(?:{CURRENCIES} ?)?({DIGITS}) ?([^\W\d_][^\d_]{{0,11}}|°[CF]?|[^\w\s]{{0,2}})")
IN_BRACKETS = re.compile(rf"\(\s*({DIGITS})\s*\)")
BARE = re.compile(DIGITS)


def remark(counts: ValueCounts, column: Column) -> str | None:
    """The remark on a column of numbers with units or in brackets; None for any other column."""
    if column.type != "VARCHAR" or column.is_number or column.is_list or column.separator is not None:
        return None
    texts = list(counts.sample(column.name, SAMPLE))
    return _in_brackets(column, texts) or _with_unit(column, texts)


def _in_brackets(column: Column, texts: list[str]) -> str | None:
    """The remark on amounts of which negative ones are in brackets."""
    found = [text for text in texts if IN_BRACKETS.fullmatch(text)]
    rest = [text for text in texts if BARE.fullmatch(text)]
    if not found or not rest or len(found) + len(rest) < LEAST_SHARE * len(texts):
        return None
    numeral = _numeral([*(text.strip("() ") for text in found), *rest])
    if numeral is None:
        return None
    digits = numeral.plain.format(rf"regexp_replace(trim({sql.identifier(column.name)}), '[() ]', '', 'g')")
    negative = f"CASE WHEN trim({sql.identifier(column.name)}) LIKE '(%' THEN -1 ELSE 1 END"
    read = f"{negative} * TRY_CAST({digits} AS DOUBLE)"
    return _remark(column, f"`{found[0]}` is a negative number in brackets", read)


def _with_unit(column: Column, texts: list[str]) -> str | None:
    """The remark on numbers with one or a few units."""
    matches = [match for match in map(WITH_UNIT.fullmatch, texts) if match is not None]
    numbers = {match[1] for match in matches}
    units = Counter(match[2].strip() for match in matches)
    currency = any(re.match(CURRENCIES, text) for text in texts)
    if not (any(units) or currency) or len(units) > MOST_UNITS or len(numbers) < LEAST_NUMBERS:
        return None
    numeral = _numeral([match[1] for match in matches])
    if len(matches) < LEAST_SHARE * len(texts) or numeral is None:
        return None
    text = f"trim({sql.identifier(column.name)})"
    number = numeral.plain.format(f"regexp_extract({text}, '{DIGITS}')")
    read = f"TRY_CAST({number} AS DOUBLE)"
    example = next(text for text in texts if not BARE.fullmatch(text))
    if len(units) == 1:
        return _remark(column, f"`{example}` is a number with a unit", read)
    listed = " and ".join(f"`{unit}`" if unit else "none" for unit, _ in units.most_common())
    longest = sorted(filter(None, units), key=len, reverse=True)  # `kg` before `g`
    cases = " ".join(f"WHEN {text} LIKE {sql.literal('%' + unit)} THEN 1" for unit in longest)
    factors = f"{read} * CASE {cases} ELSE 1 END"
    remark = _remark(column, f"`{example}` is a number with a unit", factors)
    return f"{remark}, with the factor of each unit ({listed}) instead of 1"


def _remark(column: Column, what: str, read: str) -> str:
    return (
        f"{what} (`{column.name}`): for a numeric feature, select `{read} AS {sql.identifier(column.name)}`"
    )


def _numeral(texts: list[str]) -> Numeral | None:
    """The notation of all the texts."""
    return next((n for n in (PLAIN, *PUNCTUATED) if all(_fits(n, text) for text in texts)), None)


def _fits(numeral: Numeral, text: str) -> bool:
    """Whether `text` is a number in this notation; DuckDB writes `\\x{a0}` for Python's `\\xa0`."""
    pattern = re.sub(r"\\x\{(\w+)\}", lambda code: chr(int(code[1], 16)), numeral.pattern)
    return re.fullmatch(pattern, text) is not None
