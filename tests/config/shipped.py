"""Which shipped recipes there are, told from their text: parsing all of them takes seconds."""

import re
from functools import cache

from wukongctl.config import library


@cache
def keys_of(name: str) -> frozenset[str]:
    """The keys of the first level of a shipped recipe."""
    return frozenset(re.findall(r"^(\w+):", library.find(name).read_text(encoding="utf-8"), re.MULTILINE))
