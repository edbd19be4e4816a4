"""Unknown values and the known ones they resemble."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wukongctl.data.pipeline.drift import near_misses


@pytest.mark.parametrize(
    ("unknown", "known"),
    [
        ("007", "7"),
        ("7.0", "7"),
        ("1e3", "1000"),
        ("1.50", "1.5"),
        ("1,5", "1.5"),
        ("1.577,61", "1577.61"),
        ("True", "true"),
        ("yes", "1"),
        ("8:00", "08:00:00"),
        ("2024-01-02 00:00:00", "2024-01-02"),
        ("'red'", "red"),
        (" Red ", "red"),
        ("new_york", "New York"),
        ("７", "7"),
    ],
)
def test_near_misses_are_spellings_of_one_value(unknown: str, known: str) -> None:
    assert near_misses([unknown], pa.array([None, "", "zebra", known])) == {unknown: known}


def test_the_closest_spelling_wins_and_other_values_have_none() -> None:
    values = pa.array([None, "", "1", "True", "TRUE "])
    assert near_misses(["true", "giraffe", "", "-"], values) == {"true": "True"}


@given(st.lists(st.text(max_size=8), max_size=5), st.lists(st.text(max_size=8), max_size=5))
def test_any_text_can_be_compared(unknown: list[str], known: list[str]) -> None:
    found = near_misses(unknown, pa.array(known, pa.string()))
    assert set(found) <= set(unknown)
    assert set(found.values()) <= set(known)
