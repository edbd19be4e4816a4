"""How many examples property tests draw."""

import os

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "repeatable")


def examples(few: int) -> int:
    """`few` where each takes long, ten times as many with `HYPOTHESIS_PROFILE=fresh`."""
    return 10 * few if PROFILE == "fresh" else few
