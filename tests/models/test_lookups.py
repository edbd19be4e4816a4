"""Features named in recipes, found among those of the data."""

import pytest

from wukongctl.errors import UsageError
from wukongctl.models.lookups import matching


def test_patterns_name_features_in_their_order_and_names_come_first() -> None:
    names = ("user_id", "c*", "c1", "user_age")
    assert matching(["user_*", "c1"], names) == ["user_id", "user_age", "c1"]
    assert matching(["c*"], names) == ["c*"]
    assert matching(["itm"], names) == ["itm"]  # whoever looks it up says what it may have meant


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        (["x*"], "the model names `x*`, which matches no feature of the data"),
        (["a?", "ab"], "the model's features a?, ab mean `ab` twice"),
    ],
)
def test_patterns_that_cannot_be_meant(wanted: list[str], problem: str) -> None:
    with pytest.raises(UsageError) as error:
        matching(wanted, ("ab", "ac"))
    assert str(error.value) == problem
