import json
from pathlib import Path
from typing import Any

import pytest

from wukongctl.errors import UsageError
from wukongctl.laws.points import Point
from wukongctl.laws.run_points import read_datasets, read_runs


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
        (
            {"data": {"dataset": "synthetic", "fingerprint": "f2", "bayes_logloss": None}},
            "of 2 datasets: `synthetic f1`",
        ),
        ({"flops": {"convention": "MAC", "gflop_per_example": 0.002}}, "FLOP convention"),
        ({"flops": {"convention": "6 x MAC", "gflop_per_example": -1}}, "gflop_per_example"),
        ({"format_version": 2}, "run format 2"),
        ({"data": {"dataset": "synthetic"}}, r"no `data\.fingerprint`"),
        (
            {"result": {"metrics": {"valid": {"logloss": 0.55}}}},
            "are both `wukong` of one size with seed 1, with the same recipe and different losses",
        ),
    ],
)
def test_runs_that_are_not_comparable_are_rejected(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    run_folder(tmp_path, "r1")
    run_folder(tmp_path, "r2", **changes)
    with pytest.raises(UsageError, match=message):
        read_runs([tmp_path])


def settings(rate: float) -> dict[str, Any]:
    return {"recipe": {"seed": 1, "threads": int(rate * 1000), "optimizer": {"dense": {"lr": rate}}}}


def test_two_settings_of_one_seed_are_named_with_their_difference(tmp_path: Path) -> None:
    first = run_folder(tmp_path, "r1", **settings(0.001))
    run_folder(tmp_path, "r2", **settings(0.003), result={"metrics": {"test": {"logloss": 0.55}}})
    with pytest.raises(UsageError, match=r"`optimizer.dense.lr` \(0.001 and 0.003\)") as caught:
        read_runs([tmp_path])
    assert f"`wukongctl scale-report {first} …`" in str(caught.value.hint)


def test_two_settings_of_different_seeds_are_no_repeats(tmp_path: Path) -> None:
    run_folder(tmp_path, "r1", **settings(0.001))
    run_folder(tmp_path, "r2", **settings(0.003), seed=2)
    (remark,) = read_runs([tmp_path]).remarks
    assert remark.startswith(
        "Runs of one size of wukong differ in `optimizer.dense.lr`: they are not repeats"
    )


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


def test_runs_without_flops_are_left_out(tmp_path: Path) -> None:
    run_folder(tmp_path, "r1")
    fm = run_folder(tmp_path, "fm", flops={"convention": "6 x MAC", "gflop_per_example": 0})
    found = read_runs([tmp_path])
    assert ([point.run for point in found.points], found.without_flops) == (["r1"], (str(fm),))
    with pytest.raises(UsageError, match="no run has FLOPs"):
        read_runs([fm])


def test_every_dataset_is_a_point_set_and_one_can_be_chosen(tmp_path: Path) -> None:
    for name, dataset in (("a1", "avazu"), ("c1", "criteo"), ("z1", "zero")):
        data = {"dataset": dataset, "fingerprint": dataset, "bayes_logloss": None}
        flops = {"convention": "6 x MAC", "gflop_per_example": 0 if dataset == "zero" else 0.001}
        run_folder(tmp_path, name, data=data, flops=flops)
    found, left_out = read_datasets([tmp_path])
    assert [(group.label, source.points[0].run) for group, source in found] == [
        ("avazu", "a1"),
        ("criteo", "c1"),
    ]
    assert left_out == ["left out dataset `zero`: no run has FLOPs, so there is no curve to fit"]
    assert read_runs([tmp_path], dataset="criteo").dataset == "criteo"
    with pytest.raises(UsageError, match="no run is of dataset `avasu`") as caught:
        read_runs([tmp_path], dataset="avasu")
    assert caught.value.hint == "did you mean `avazu`?"
