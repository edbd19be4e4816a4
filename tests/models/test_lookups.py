"""Features named in recipes, found among those of the data."""

import pytest

from wukongctl.config.spec import Mismatch
from wukongctl.errors import UsageError
from wukongctl.models.lookups import matching, require_features


def test_patterns_name_features_in_their_order_and_names_come_first() -> None:
    names = ("user_id", "c*", "c1", "user_age")
    assert matching(["user_*", "c1"], names) == ["user_id", "user_age", "c1"]
    assert matching(["c*"], names) == ["c*"]
    assert matching(["itm"], names) == ["itm"]  # whoever looks it up says what it may have meant


def test_a_feature_is_meant_once() -> None:
    with pytest.raises(UsageError) as error:
        matching(["a?", "ab"], ("ab", "ac"))
    assert str(error.value) == "the model's features a?, ab mean `ab` twice"


def test_all_names_that_are_no_features_are_told_with_their_keys() -> None:
    named = [
        ("ab", ("model", "x")),
        ("a?", ("model", "y")),
        ("x*", ("model", "z", 0)),
        ("bc", ("model", "w")),
    ]
    with pytest.raises(Mismatch) as error:
        require_features(named, ("ab", "ac"))
    assert [(mistake.message, mistake.path) for mistake in error.value.mistakes] == [
        ("the model names `x*`, which matches no feature of the data", ("model", "z", 0)),
        ("the model names `bc`, which is not a feature of the data", ("model", "w")),
    ]
