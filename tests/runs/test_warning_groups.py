"""Warnings of many runs, grouped by code."""

from wukongctl.runs.warning_groups import LabeledWarning, group_warnings
from wukongctl.training.run_record import RunWarning


def warned(name: str, run: str, code: str, message: str) -> LabeledWarning:
    return LabeledWarning(name, run, RunWarning(code=code, message=message, hint=f"fix {code}"))


def test_warnings_are_grouped_by_code_in_order_of_appearance() -> None:
    found = group_warnings(
        [
            warned("mlp", "a", "few_updates", "only 1 update"),
            warned("mlp", "a", "overfit", "60% hold"),
            warned("fm", "b", "few_updates", "only 1 update"),
            warned("fm", "b", "overfit", "20% hold"),
            warned("fm", "c", "overfit", "30% hold"),
        ]
    )
    assert [each.summary(4) for each in found] == [
        "2 of 4 runs (mlp, fm): only 1 update [few_updates]",
        "3 of 4 runs (mlp, fm), for example: 60% hold [overfit]",
    ]
    assert found[1].to_dict() == {
        "code": "overfit", "message": "60% hold", "hint": "fix overfit", "runs": ["a", "b", "c"],
    }  # fmt: skip


def test_a_single_run_is_not_counted_and_empty_names_are_omitted() -> None:
    (found,) = group_warnings([warned("", "a", "overfit", "60% hold")])
    assert found.summary(1) == "60% hold [overfit]"
    assert found.summary(3) == "1 of 3 runs: 60% hold [overfit]"
    assert group_warnings([]) == ()
