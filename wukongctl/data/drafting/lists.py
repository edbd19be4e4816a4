"""Whether texts are lists of values: `Action|Comedy` is two values, `Never married` one.

A separator alone is no evidence. In lists, parts recur in other combinations and positions, there are far
fewer parts than texts, and texts have different numbers of them.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

SEPARATORS = ("|", "^", ";", ",", " ")
SURE = "|^;"
"""Rarely part of a name, so less evidence is needed."""
SAMPLE = 3000
"""Distinct texts sampled."""
LEAST_TEXTS = 6
"""Splitting fewer distinct texts gains nothing."""
LEAST_SHARE = 0.1
"""Least share of rows, or of distinct texts, with the separator."""
WORDS = frozenset(
    [
        *("a", "an", "and", "as", "at", "but", "by", "de", "di", "du", "for", "from", "in", "is", "la", "le"),
        *("no", "non", "not", "of", "on", "or", "other", "per", "than", "the", "to", "und", "van", "von"),
        *("with", "without"),
    ]
)
"""Function words: texts with these are natural language."""
LONG = 8
"""Lists of one fixed length are truncated histories from this length on; `11|22|33` may be one key."""
NUMERIC = re.compile(r"[-+]?\d+(\.\d+)?")


class ListFormat(NamedTuple):
    """The separator of a column of lists, and the 95th percentile of their lengths."""

    separator: str
    items: int


Parts = tuple[str, ...]
SplitTexts = dict[Parts, int]
"""The parts of each distinct text → its rows."""


def list_format(texts: Mapping[str, int]) -> ListFormat | None:
    """The format of `texts` (text → rows) as lists; None if they are single values."""
    if len(texts) < LEAST_TEXTS:
        return None
    for separator in SEPARATORS:
        if not _is_used(texts, separator):
            continue
        split = _split(texts, separator)
        if _is_list(split, separator) and (separator != " " or _is_not_language(split)):
            return ListFormat(separator, _length(split))
    return None


def _is_used(texts: Mapping[str, int], separator: str) -> bool:
    have = [text for text in texts if separator in text]
    rows = sum(texts[text] for text in have)
    return len(have) >= LEAST_SHARE * len(texts) or rows >= LEAST_SHARE * sum(texts.values())


def _split(texts: Mapping[str, int], separator: str) -> SplitTexts:
    split: SplitTexts = {}
    for text, rows in texts.items():
        found = tuple(filter(None, (part.strip() for part in text.split(separator))))
        split[found] = split.get(found, 0) + rows
    return split


def _is_list(split: SplitTexts, separator: str) -> bool:
    lists = [parts for parts in split if len(parts) > 1]
    if len(lists) < LEAST_TEXTS // 2:
        return False
    return _recurs(split, is_sure=separator in SURE) and _varies(split) and _moves(lists)


def _recurs(split: SplitTexts, *, is_sure: bool) -> bool:
    """Whether parts recur in other combinations, so that there are far fewer of them than texts."""
    texts = Counter(part for parts in split for part in set(parts))
    occurrences = sum(texts.values())
    recurring = sum(count for count in texts.values() if count > 1)
    if is_sure:
        return recurring >= 0.5 * occurrences and len(texts) <= 0.7 * occurrences
    long = occurrences >= LONG * len(split) and 2 * len(texts) <= occurrences
    return recurring >= 0.8 * occurrences and (long or len(texts) <= 0.6 * len(split))


def _varies(split: SplitTexts) -> bool:
    """Whether texts, or their rows, have different numbers of parts, or very many."""
    texts, rows = Counter[int](), Counter[int]()
    for parts, count in split.items():
        if parts:
            texts[len(parts)] += 1
            rows[len(parts)] += count
    ((commonest, count),) = texts.most_common(1)
    one_length = max(rows.values()) >= 0.95 * sum(rows.values()) and count >= 0.95 * sum(texts.values())
    return commonest >= LONG or not one_length


def _moves(lists: list[Parts]) -> bool:
    """Whether most recurring parts come first in some texts and later in others."""
    first, later = Counter(parts[0] for parts in lists), Counter[str]()
    for parts in lists:
        later.update(set(parts[1:]))
    known = [part for part in first.keys() | later.keys() if first[part] + later[part] > 1]
    weight = sum(first[part] + later[part] for part in known)
    moving = sum(first[part] + later[part] for part in known if first[part] and later[part])
    return weight > 0 and moving >= 0.3 * weight


def _is_not_language(split: SplitTexts) -> bool:
    """For blanks as separator: no function words, and an order without meaning."""
    lists = [parts for parts in split if len(parts) > 1]
    words = Counter(part.lower() for parts in lists for part in parts)
    if all(NUMERIC.fullmatch(word) for word in words):
        return True
    if sum(words[word] for word in WORDS) > 0.01 * sum(words.values()):
        return False
    alone = {parts[0] for parts in split if len(parts) == 1}
    often = {part for part, count in Counter(p for parts in lists for p in parts).items() if count > 1}
    alone_too = sum(part in alone for part in often) >= 0.5 * len(often)
    return alone_too and (_is_sorted(lists) or _is_exchanged(lists))


def _is_sorted(lists: list[Parts]) -> bool:
    """Whether parts are in alphabetical order, which five texts hardly are by chance."""
    return len(lists) >= 5 and all(list(parts) == sorted(parts) for parts in lists)


def _is_exchanged(lists: list[Parts]) -> bool:
    """Whether recurring pairs of parts come in both orders."""
    orders: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for parts in lists:
        for one, other in combinations(dict.fromkeys(parts[:20]), 2):
            orders[min(one, other), max(one, other)][one > other] += 1
    recurring = [both for both in orders.values() if sum(both) > 1]
    return bool(recurring) and sum(min(both) > 0 for both in recurring) >= 0.4 * len(recurring)


def _length(split: SplitTexts) -> int:
    lengths = sorted((len(parts), rows) for parts, rows in split.items())
    wanted, seen = 0.95 * sum(split.values()), 0
    for length, rows in lengths:
        seen += rows
        if seen >= wanted:
            return length
    return lengths[-1][0]
