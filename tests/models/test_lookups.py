"""Features named in recipes, matched with those of the data."""

import pytest

from wukongctl.config.model_section import Named
from wukongctl.config.positions import KeyPath
from wukongctl.config.spec import Mismatch
from wukongctl.models.lookups import matching, require_features


def test_patterns_name_features_in_their_order_and_names_come_first() -> None:
    names = ("user_id", "c*", "c1", "user_age")
    assert matching(["user_*", "c1"], names) == ["user_id", "user_age", "c1"]
    assert matching(["c*"], names) == ["c*"]
    assert matching(["itm"], names) == ["itm"]  # the caller suggests a name


def told(*lists: list[Named]) -> list[tuple[str, KeyPath]]:
    with pytest.raises(Mismatch) as error:
        require_features(lists, ("ab", "ac"), ("model",))
    return [(mistake.message, mistake.path) for mistake in error.value.mistakes]


def test_feature_named_twice_in_a_list_is_rejected() -> None:
    twice = told([("a?", ("y", 0)), ("ab", ("y", 1))], [("ab", ("z", 0)), ("a*", ("z", 1))])
    assert twice == [
        ("`ab` names `ab`, which is already named by `a?`", ("model", "y", 1)),
        ("`a*` names `ab`, which is already named by `ab`", ("model", "z", 1)),
    ]


def test_unknown_features_are_reported_with_their_keys() -> None:
    assert told([("ab", ("x",)), ("ac", ("y",)), ("x*", ("z", 0))], [("bc", ("w",))]) == [
        ("the model names `x*`, which matches no feature of the data", ("model", "z", 0)),
        ("the model names `bc`, which is not a feature of the data", ("model", "w")),
    ]
