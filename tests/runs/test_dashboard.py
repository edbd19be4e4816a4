from pathlib import Path

import pytest

from tests.runs.made import made_run
from wukongctl.errors import UsageError
from wukongctl.runs.dashboard import gather


def test_runs_that_differ_in_the_seed_are_one_recipe(tmp_path: Path) -> None:
    made_run(tmp_path / "a", seed=0, valid=0.5, test=0.40)
    made_run(tmp_path / "b", seed=1, valid=0.5, test=0.44)
    made_run(tmp_path / "c", seed=1, valid=0.5, test=0.90)  # the same recipe and seed again
    made_run(tmp_path / "d", seed=3, status="diverged")
    made_run(tmp_path / "e", seed=2)
    content = gather([tmp_path])
    (recipe,) = content["recipes"]
    assert recipe["runs"] == [0, 1, 2, 4, 3]
    assert [run["status"] for run in content["runs"]] == [
        "complete", "complete", "complete", "diverged", "unfinished",
    ]  # fmt: skip
    spread = recipe["metrics"]["test"]["logloss"]
    assert spread["mean"] == pytest.approx(0.42)
    assert spread["sd"] == pytest.approx(0.02 * 2**0.5)
    assert spread["n"] == 2
    assert recipe["training_flop"] == pytest.approx(0.002 * 1e9 * 1000)
    assert [metric["name"] for metric in content["metrics"]] == ["logloss"]


def test_a_run_without_a_result_shows_how_far_it_is(tmp_path: Path) -> None:
    made_run(
        tmp_path / "a",
        lines=[
            {"step": 4, "split": "train", "examples": 400, "loss": 0.7},
            {"step": 4, "split": "valid", "rows": 9, "logloss": 0.69},
        ],
    )
    content = gather([tmp_path])
    (run,) = content["runs"]
    assert (run["status"], run["step"], run["examples"]) == ("unfinished", 4, 400)
    assert run["metrics"] == {"valid": {"logloss": 0.69}}
    assert run["recipe"] == {"name": "mlp", "seed": 0, "model.name": "mlp"}
    assert content["leaders"] == []
    assert content["recipes"][0]["metrics"] == {}


def test_leaders_are_chosen_on_validation_within_their_dataset(tmp_path: Path) -> None:
    made_run(tmp_path / "a", model="mlp", settings={"lr": 1}, valid=0.50, test=0.40)
    made_run(tmp_path / "b", model="mlp", settings={"lr": 2}, valid=0.49, test=0.45)
    made_run(tmp_path / "c", model="fm", valid=0.60, test=0.41)
    made_run(tmp_path / "d", model="mlp", data=("other", "f9"), test=0.1)
    content = gather([tmp_path])
    leaders = [(one["dataset"], one["curve"], one["chosen_on"], one["of"]) for one in content["leaders"]]
    assert leaders == [
        ("clicks", "fm", "valid", 1),
        ("clicks", "mlp", "valid", 2),
        ("other", "mlp", "test", 1),
    ]
    chosen = [content["recipes"][one["recipe"]] for one in content["leaders"]]
    assert [content["runs"][recipe["runs"][0]]["run"] for recipe in chosen] == ["c", "b", "d"]


def test_namesakes_are_told_apart(tmp_path: Path) -> None:
    made_run(tmp_path / "a", settings={"lr": 1})
    made_run(tmp_path / "b", settings={"lr": 2})
    made_run(tmp_path / "c", model="fm", data=("clicks", "0123456789"))
    content = gather([tmp_path])
    assert [recipe["name"] for recipe in content["recipes"]] == ["mlp (lr=1)", "mlp (lr=2)", "fm"]
    assert [recipe["dataset"] for recipe in content["recipes"]] == [
        "clicks f1",
        "clicks f1",
        "clicks 0123456789",
    ]


def test_a_damaged_run_is_listed_with_its_problem(tmp_path: Path) -> None:
    made_run(tmp_path / "a", valid=0.5)
    (tmp_path / "a" / "result.json").write_text("{")
    made_run(tmp_path / "b", valid=0.5)
    first, second = gather([tmp_path])["runs"]
    assert (first["status"], second["status"]) == ("damaged", "complete")
    assert first["reason"] is not None
    assert "result.json" in first["reason"]


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run in"):
        gather([tmp_path])
