"""Warnings of many runs, folded."""

from wukongctl.runs.warned import Warned, fold
from wukongctl.training.warnings import RunWarning


def warned(name: str, run: str, code: str, message: str) -> Warned:
    return Warned(name, run, RunWarning(code, message, f"fix {code}"))


def test_one_fold_for_each_code_in_order_of_appearance() -> None:
    found = fold(
        [
            warned("mlp", "a", "few_updates", "only 1 update"),
            warned("mlp", "a", "overfit", "60% hold"),
            warned("fm", "b", "few_updates", "only 1 update"),
            warned("fm", "b", "overfit", "20% hold"),
            warned("fm", "c", "overfit", "30% hold"),
        ]
    )
    assert [each.said(4) for each in found] == [
        "2 of 4 runs (mlp, fm): only 1 update [few_updates]",
        "3 of 4 runs (mlp, fm), such as: 60% hold [overfit]",
    ]
    assert found[1].to_dict() == {
        "code": "overfit", "message": "60% hold", "hint": "fix overfit", "runs": ["a", "b", "c"],
    }  # fmt: skip


def test_of_a_single_run_or_of_runs_without_names_less_is_said() -> None:
    (found,) = fold([warned("", "a", "overfit", "60% hold")])
    assert found.said(1) == "60% hold [overfit]"
    assert found.said(3) == "1 of 3 runs: 60% hold [overfit]"
    assert fold([]) == ()
