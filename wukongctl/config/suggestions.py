"""The known word that a misspelt one most likely stands for."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, candidates: Iterable[str]) -> str | None:
    """`did you mean ...?` for the closest candidate, ignoring case; None when nothing is close."""
    found = closest(word, candidates)
    return None if found is None else f"did you mean `{found}`?"


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like `word`, ignoring case; None when nothing is close."""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None
