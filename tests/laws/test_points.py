import json
from pathlib import Path
from typing import Any

import pytest

from wukongctl.errors import RecipeError, UsageError
from wukongctl.laws.points import Point, read_csv, read_runs


def csv_file(folder: Path, text: str) -> Path:
    path = folder / "points.csv"
    path.write_text(text, encoding="utf-8")
    return path


def run_folder(parent: Path, name: str, *, result: dict[str, Any] | None = None, **changes: Any) -> Path:
    """A run folder as training writes it; `changes` go to run.json, `result` to result.json."""
    facts = {
        "format_version": 1,
        "run": name,
        "recipe": {},
        "model": "wukong",
        "curve": "wukong",
        "seed": 1,
        "data": {"dataset": "synthetic", "fingerprint": "f1", "bayes_logloss": {"test": 0.4, "valid": 0.41}},
        "flops": {"convention": "6 x MAC", "gflop_per_example": 0.001, "forward_gflop_per_example": 0.0003},
        "params": {"dense": 1000, "embedding": 20},
    } | changes
    outcome = {
        "status": "complete",
        "examples": 5000,
        "epochs": 1,
        "passes": 1.0,
        "metrics": {
            "valid": {"auc": 0.7, "logloss": 0.52, "excess_logloss": 0.11},
            "test": {"auc": 0.7, "logloss": 0.5, "excess_logloss": 0.1},
        },
        "selected_on": "valid.logloss",
        "seconds": 3.0,
    } | (result or {})
    folder = parent / name
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(facts))
    if outcome["status"] != "unfinished":
        (folder / "result.json").write_text(json.dumps(outcome))
    return folder


# --- CSV ------------------------------------------------------------------------------------------------


def test_csv_columns_may_come_in_any_order(tmp_path: Path) -> None:
    text = (
        "logloss,model,gflop_per_example,seed,examples,dense_params\n.5,b,2,1,10,7\n.6,a,3,,,\n.7,a,1,0,,\n"
    )
    points = read_csv(csv_file(tmp_path, text))
    assert points.metric == "logloss"
    assert points.points == (
        Point("a", 1.0, 0.7, seed=0),
        Point("a", 3.0, 0.6),
        Point("b", 2.0, 0.5, seed=1, examples=10, dense_params=7),
    )
    assert points.floor is None
    assert points.zero_loss == 0


def test_relative_loss_is_zero_at_minus_a_hundred_percent(tmp_path: Path) -> None:
    points = read_csv(csv_file(tmp_path, "model,gflop_per_example,relative_logloss\nWukong,0.53,-0.35\n"))
    assert (points.metric, points.zero_loss) == ("relative_logloss", -100)


@pytest.mark.parametrize("cell", ["diverged", "NaN", "inf"])
def test_a_diverged_row_is_listed_not_fitted(tmp_path: Path, cell: str) -> None:
    points = read_csv(csv_file(tmp_path, f"model,gflop_per_example,logloss\na,1,.5\na,2,{cell}\n"))
    assert [(run.curve, run.x, run.reason) for run in points.excluded] == [("a", 2, "diverged")]
    assert len(points.points) == 1


def test_every_bad_cell_is_reported_with_its_position(tmp_path: Path) -> None:
    text = "model,gflop_per_example,logloss,seed\n,1,.5,0\na,-2,.5,1.5\na,3,,\na,x,-0.3,\n"
    with pytest.raises(RecipeError) as caught:
        read_csv(csv_file(tmp_path, text))
    found = {(problem.line, problem.column) for problem in caught.value.problems}
    assert found == {(2, 1), (3, 3), (3, 9), (4, 5), (5, 3), (5, 5)}
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [("a,1,0.5,0", "`0` is not positive"), ("b,1,0,5,100", "5 fields, but the header has 4")],
)
def test_zero_examples_and_extra_fields_are_rejected(tmp_path: Path, row: str, message: str) -> None:
    path = csv_file(tmp_path, f"model,gflop_per_example,logloss,examples\n{row}\n")
    with pytest.raises(RecipeError) as caught:
        read_csv(path)
    assert [(one.line, one.column, one.message) for one in caught.value.problems] == [(2, 9, message)]


def test_a_misspelled_column_is_recognized(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        read_csv(csv_file(tmp_path, "model,gflops_per_example,log_loss\na,1,.5\n"))
    assert [problem.message for problem in caught.value.problems] == [
        "unknown column `gflops_per_example`, did you mean `gflop_per_example`?",
        "unknown column `log_loss`, did you mean `logloss`?",
    ]


def test_duplicates_are_rejected_unless_their_losses_differ_without_a_seed(tmp_path: Path) -> None:
    header = "model,gflop_per_example,logloss,seed\n"
    assert len(read_csv(csv_file(tmp_path, header + "a,1,.5,\na,1,.6,\n")).points) == 2
    for twice in ("a,1,.5,3\na,1,.6,3\n", "a,1,.5,\na,1,.5,\n"):
        with pytest.raises(RecipeError) as caught:
            read_csv(csv_file(tmp_path, header + twice))
        assert "the same run as line 2" in str(caught.value.problems[0])


def test_a_table_without_finished_runs_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no finished run"):
        read_csv(csv_file(tmp_path, "model,gflop_per_example,logloss\na,1,diverged\n"))


# --- run folders ----------------------------------------------------------------------------------------


def test_points_keep_the_warnings_of_their_runs(tmp_path: Path) -> None:
    warned = {"warnings": [{"code": "few_updates", "message": "only 1 update", "hint": "more", "updates": 1}]}
    run_folder(tmp_path, "new", result=warned)
    run_folder(tmp_path, "old", seed=2)
    run_folder(tmp_path, "lost", seed=3, result=warned | {"status": "diverged"})
    (found,) = read_runs([tmp_path]).warnings
    assert (found.name, found.run, found.warning.to_dict()) == ("wukong", "new", warned["warnings"][0])


def test_points_keep_the_facts_of_their_runs_and_prefer_excess_loss(tmp_path: Path) -> None:
    run_folder(tmp_path, "r1")
    points = read_runs([tmp_path])
    assert points.points == (
        Point("wukong", 0.001, 0.1, 1, 5000, 1000, passes=1.0, selected_on="valid.logloss", run="r1"),
    )
    assert (points.metric, points.split, points.floor, points.bayes_logloss) == (
        "excess_logloss",
        "test",
        0.0,
        0.4,
    )
    assert (points.dataset, points.fingerprint, points.convention) == ("synthetic", "f1", "6 x MAC")


def test_logloss_is_used_as_soon_as_one_run_lacks_the_excess(tmp_path: Path) -> None:
    run_folder(tmp_path, "r1")
    run_folder(tmp_path, "r2", seed=2, result={"metrics": {"test": {"logloss": 0.55}}})
    points = read_runs([tmp_path])
    assert (points.metric, [point.loss for point in points.points]) == ("logloss", [0.5, 0.55])
    assert points.floor == 0.4


def test_valid_is_used_as_soon_as_one_run_lacks_test(tmp_path: Path) -> None:
    run_folder(tmp_path, "r1")
    run_folder(tmp_path, "r2", seed=2, result={"metrics": {"valid": {"logloss": 0.55}}})
    points = read_runs([tmp_path])
    assert (points.split, points.points[0].loss) == ("valid", 0.52)


def test_split_and_metric_can_be_chosen(tmp_path: Path) -> None:
    run_folder(tmp_path, "r1")
    points = read_runs([tmp_path], split="valid", metric="logloss")
    assert (points.points[0].loss, points.floor) == (0.52, 0.41)
    with pytest.raises(UsageError, match="no `logloss` on `train`"):
        read_runs([tmp_path], split="train", metric="logloss")


def test_unfinished_and_diverged_runs_are_listed(tmp_path: Path) -> None:
    run_folder(tmp_path, "a")
    run_folder(tmp_path, "b", seed=2, result={"status": "unfinished"})
    run_folder(tmp_path, "c", seed=3, result={"status": "diverged", "metrics": {}})
    points = read_runs([tmp_path])
    assert [point.run for point in points.points] == ["a"]
    assert [(run.run, run.reason) for run in points.excluded] == [("b", "unfinished"), ("c", "diverged")]


def test_runs_without_a_curve_label_are_grouped_by_model(tmp_path: Path) -> None:
    run_folder(tmp_path, "a", curve=None, model="dlrm")
    assert read_runs([tmp_path]).points[0].curve == "dlrm"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"dataset": "synthetic", "fingerprint": "f2", "bayes_logloss": None}}, "data fingerprint"),
        ({"flops": {"convention": "MAC", "gflop_per_example": 0.002}}, "FLOP convention"),
        ({"flops": {"convention": "6 x MAC", "gflop_per_example": 0}}, "0 FLOP"),
        ({"flops": {"convention": "6 x MAC", "gflop_per_example": -1}}, "gflop_per_example"),
        ({"format_version": 2}, "run format 2"),
        ({"data": {"dataset": "synthetic"}}, r"no `data\.fingerprint`"),
        ({"result": {"metrics": {"valid": {"logloss": 0.55}}}}, "same size of `wukong` with the same seed"),
    ],
)
def test_runs_that_are_not_comparable_are_rejected(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    run_folder(tmp_path, "r1")
    run_folder(tmp_path, "r2", **changes)
    with pytest.raises(UsageError, match=message):
        read_runs([tmp_path])


def test_the_same_folder_named_twice_counts_once(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, "r1")
    assert len(read_runs([tmp_path, folder, folder / ".." / "r1"]).points) == 1


def test_a_run_repeated_by_another_sweep_counts_once(tmp_path: Path) -> None:
    run_folder(tmp_path, "r1")
    run_folder(tmp_path, "r2")
    assert [point.run for point in read_runs([tmp_path]).points] == ["r1"]


def test_the_order_of_the_folders_does_not_matter(tmp_path: Path) -> None:
    folders = [run_folder(tmp_path, f"r{seed}", seed=seed) for seed in (3, 1, 2)]
    assert read_runs(folders).points == read_runs(folders[::-1]).points


def test_a_path_without_runs_and_a_broken_file_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run in"):
        read_runs([tmp_path])
    folder = run_folder(tmp_path, "r1")
    (folder / "result.json").write_text('{"status": "comp')
    with pytest.raises(UsageError, match=r"cannot read .*result\.json"):
        read_runs([tmp_path])


def test_nothing_finished_is_a_usage_error(tmp_path: Path) -> None:
    run_folder(tmp_path, "r1", result={"status": "unfinished"})
    with pytest.raises(UsageError, match="no finished run"):
        read_runs([tmp_path])


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("1e300,0.5", "`1e+300` GFLOP is out of range"),
        ("1e-300,0.5", "`1e-300` GFLOP is out of range"),
        ("1,1e308", "`1e+308` is out of range"),
    ],
)
def test_numbers_out_of_range_are_rejected(tmp_path: Path, cells: str, message: str) -> None:
    path = tmp_path / "p.csv"
    path.write_text(f"model,gflop_per_example,logloss\nwukong,{cells}\n")
    with pytest.raises(RecipeError) as caught:
        read_csv(path)
    assert message in str(caught.value.problems)
