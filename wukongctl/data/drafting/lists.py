"""Is a text one value, or several with something between them? `Action|Comedy` is two, `Never married` one.

A separator alone is no evidence. In lists the same parts come again in other combinations, there are far
fewer parts than whole texts, texts have different numbers of them, and where a part stands says little.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

SEPARATORS = ("|", "^", ";", ",", " ")
SURE = "|^;"
"""Hardly ever part of a name: less evidence is enough."""
SAMPLE = 3000
"""Different texts that are looked at."""
LEAST_TEXTS = 6
"""Of fewer different texts nothing is gained by taking them apart."""
LEAST_SHARE = 0.1
"""Rows, or different texts, that must have the separator."""
WORDS = frozenset(
    [
        *("a", "an", "and", "as", "at", "but", "by", "de", "di", "du", "for", "from", "in", "is", "la", "le"),
        *("no", "non", "not", "of", "on", "or", "other", "per", "than", "the", "to", "und", "van", "von"),
        *("with", "without"),
    ]
)
"""Words that join others: texts with these are language."""
LONG = 8
"""Lists of one length are cut-off histories if they are at least so long; `11|22|33` may be one key."""
NUMERIC = re.compile(r"[-+]?\d+(\.\d+)?")


class Listed(NamedTuple):
    """What stands between the values of a text, and how many values a long one (95th percentile) has."""

    separator: str
    items: int


class _Split(NamedTuple):
    """Different texts, each as its parts, with the rows that have it."""

    parts: dict[tuple[str, ...], int]

    @property
    def several(self) -> list[tuple[str, ...]]:
        return [parts for parts in self.parts if len(parts) > 1]


def listed(texts: Mapping[str, int]) -> Listed | None:
    """How `texts`, with the rows that have each, are lists; None if they are single values."""
    if len(texts) < LEAST_TEXTS:
        return None
    for separator in SEPARATORS:
        if not _is_used(texts, separator):
            continue
        split = _taken_apart(texts, separator)
        if _is_list(split, separator) and (separator != " " or _is_free_of_language(split)):
            return Listed(separator, _long(split))
    return None


def _is_used(texts: Mapping[str, int], separator: str) -> bool:
    have = [text for text in texts if separator in text]
    rows = sum(texts[text] for text in have)
    return len(have) >= LEAST_SHARE * len(texts) or rows >= LEAST_SHARE * sum(texts.values())


def _taken_apart(texts: Mapping[str, int], separator: str) -> _Split:
    parts: dict[tuple[str, ...], int] = {}
    for text, rows in texts.items():
        found = tuple(filter(None, (part.strip() for part in text.split(separator))))
        parts[found] = parts.get(found, 0) + rows
    return _Split(parts)


def _is_list(split: _Split, separator: str) -> bool:
    several = split.several
    if len(several) < LEAST_TEXTS // 2:
        return False
    return _recurs(split, is_sure=separator in SURE) and _varies(split) and _moves(several)


def _recurs(split: _Split, *, is_sure: bool) -> bool:
    """Whether parts come again in other combinations, so that there are far fewer of them than texts."""
    texts = Counter(part for parts in split.parts for part in set(parts))
    occurrences = sum(texts.values())
    again = sum(count for count in texts.values() if count > 1)
    if is_sure:
        return again >= 0.5 * occurrences and len(texts) <= 0.7 * occurrences
    long = occurrences >= LONG * len(split.parts) and 2 * len(texts) <= occurrences
    return again >= 0.8 * occurrences and (long or len(texts) <= 0.6 * len(split.parts))


def _varies(split: _Split) -> bool:
    """Whether texts, or the rows that have them, have different numbers of parts; or very many."""
    texts, rows = Counter[int](), Counter[int]()
    for parts, count in split.parts.items():
        if parts:
            texts[len(parts)] += 1
            rows[len(parts)] += count
    ((commonest, count),) = texts.most_common(1)
    one_length = max(rows.values()) >= 0.95 * sum(rows.values()) and count >= 0.95 * sum(texts.values())
    return commonest >= LONG or not one_length


def _moves(several: list[tuple[str, ...]]) -> bool:
    """Whether most parts that come again stand first in some texts and later in others."""
    first, later = Counter(parts[0] for parts in several), Counter[str]()
    for parts in several:
        later.update(set(parts[1:]))
    known = [part for part in first.keys() | later.keys() if first[part] + later[part] > 1]
    weight = sum(first[part] + later[part] for part in known)
    moving = sum(first[part] + later[part] for part in known if first[part] and later[part])
    return weight > 0 and moving >= 0.3 * weight


def _is_free_of_language(split: _Split) -> bool:
    """Between blanks more is needed: no words that join others, and an order that means nothing."""
    several = split.several
    words = Counter(part.lower() for parts in several for part in parts)
    if all(NUMERIC.fullmatch(word) for word in words):
        return True
    if sum(words[word] for word in WORDS) > 0.01 * sum(words.values()):
        return False
    alone = {parts[0] for parts in split.parts if len(parts) == 1}
    often = {part for part, count in Counter(p for parts in several for p in parts).items() if count > 1}
    stand_alone = sum(part in alone for part in often) >= 0.5 * len(often)
    return stand_alone and (_is_sorted(several) or _is_exchanged(several))


def _is_sorted(several: list[tuple[str, ...]]) -> bool:
    """Whether parts stand in the order of the alphabet, which five texts are hardly by chance."""
    return len(several) >= 5 and all(list(parts) == sorted(parts) for parts in several)


def _is_exchanged(several: list[tuple[str, ...]]) -> bool:
    """Whether pairs of parts that meet several times come in both orders."""
    orders: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for parts in several:
        for one, other in combinations(dict.fromkeys(parts[:20]), 2):
            orders[min(one, other), max(one, other)][one > other] += 1
    met = [both for both in orders.values() if sum(both) > 1]
    return bool(met) and sum(min(both) > 0 for both in met) >= 0.4 * len(met)


def _long(split: _Split) -> int:
    lengths = sorted((len(parts), rows) for parts, rows in split.parts.items())
    wanted, seen = 0.95 * sum(split.parts.values()), 0
    for length, rows in lengths:
        seen += rows
        if seen >= wanted:
            return length
    return lengths[-1][0]
