"""prepare → train → evaluate → report through the command line, on a small planted dataset."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pyarrow.parquet as pq
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from tests.cli.conftest import Wukong
from wukongctl.training import scoring
from wukongctl.training.loop import Trainer


def test_skipped_test_split_is_evaluated_later(wukong: Wukong, recipe: Path, tmp_path: Path) -> None:
    """A later evaluation gives the same metrics, and happens once."""
    left = wukong("train", recipe, "--skip-test", "--json").json
    assert set(left["metrics"]) == {"valid"}
    assert wukong("train", recipe, "--skip-test", "--json").json["metrics"] == left["metrics"]
    later = wukong("train", recipe, "--json")
    assert later.json["run"] == left["run"]
    at_once = wukong("train", recipe, "--out", "other", "--json").json
    assert later.json["metrics"] == at_once["metrics"]
    written = json.loads((tmp_path / left["run"] / "result.json").read_text())
    assert written["metrics"] == at_once["metrics"]
    assert written["seconds"] == left["seconds"]  # not trained again
    assert "is already complete" in wukong("train", recipe).err
    refused = wukong("train", recipe, "--seeds", 2, "--skip-test")
    assert (refused.code, "`--seeds` cannot be used with `--skip-test`" in refused.err) == (2, True)


def test_train_writes_the_run_folder_and_its_json(wukong: Wukong, recipe: Path, tmp_path: Path) -> None:
    result = wukong("train", recipe, "--json")
    assert result.code == 0
    run = tmp_path / result.json["run"]
    assert set(result.json) >= {
        "run", "model", "examples", "examples_per_second", "gflop_per_example", "params", "metrics",
        "seconds",
    }  # fmt: skip
    assert set(result.json["metrics"]) == {"valid", "test"}
    assert set(result.json["metrics"]["test"]) >= {"auc", "logloss", "normalized_entropy", "excess_logloss"}
    assert result.json["examples"] == 1600
    names = {path.name for path in run.iterdir()} - {".lock"}
    files = {"recipe.yaml", "run.json", "metrics.jsonl", "speed.jsonl", "result.json", "log.txt"}
    assert names == files | {"checkpoints"}
    described = json.loads((run / "run.json").read_text())
    assert (
        described["data"]["fingerprint"]
        == json.loads((tmp_path / "data/tiny/manifest.json").read_text())["fingerprint"]
    )
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["split"] == "valid"] == [8, 16]


def test_warnings_of_a_useless_run_are_shown_everywhere(wukong: Wukong, recipe: Path, tmp_path: Path) -> None:
    found = wukong("train", recipe, "--json").json
    codes = [warning["code"] for warning in found["warnings"]]
    assert codes[:1] == ["few_updates"]
    assert all({"code", "message", "hint"} <= warning.keys() for warning in found["warnings"])
    assert found["warnings"][0]["updates"] == 16
    kept = tmp_path / found["run"] / "result.json"
    assert json.loads(kept.read_text())["warnings"] == found["warnings"]
    for command in (("train", recipe, "-q"), ("runs", "show", found["run"])):
        said = wukong(*command).err
        assert (
            "warning: the whole run made only 16 updates: 1,600 examples in batches of 100 [few_upd" in said
        )
        assert "hint: make at least 100: `--set batch_size=16" in said
    (row,) = wukong("runs", "ls", "--json").json
    assert row["dataset"] == "tiny"
    assert row["warnings"] == codes
    assert re.search(r"complete .* !\s", wukong("runs", "ls").out)
    old = json.loads(kept.read_text())
    del old["warnings"]  # as older versions wrote it
    kept.write_text(json.dumps(old))
    assert wukong("train", recipe, "--json").json["warnings"] == []
    for command in (("train", recipe), ("runs", "show", found["run"]), ("runs", "ls")):
        shown = wukong(*command)
        assert (shown.code, "warning" in shown.err, "!" in shown.out) == (0, False, False)


def test_resolved_recipe_maps_to_the_same_run(wukong: Wukong, recipe: Path) -> None:
    first = wukong("train", recipe, "--json").json
    again = wukong("train", Path(first["run"]) / "recipe.yaml", "--json").json
    assert again == first


def test_complete_run_is_reported_and_force_reproduces_it(wukong: Wukong, recipe: Path) -> None:
    first = wukong("train", recipe, "--json").json
    assert "already complete" in wukong("train", recipe).err
    repeated = wukong("train", recipe, "--force", "--json").json
    assert repeated["metrics"] == first["metrics"]


@pytest.mark.parametrize("part", [".", "checkpoints", "predictions"])
def test_force_deletes_nothing_through_a_link(
    part: str, wukong: Wukong, recipe: Path, tmp_path: Path
) -> None:
    folder = tmp_path / wukong("train", recipe, "--dry-run", "--json").json["run"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("result.json", "metrics.jsonl", "best.pt", "test.parquet"):
        (elsewhere / name).write_text("precious")
    before = sorted(elsewhere.iterdir())
    link = folder / part if part != "." else folder
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    refused = wukong("train", recipe, "--force")
    assert (refused.code, "is a link to" in refused.err) == (2, True)
    assert sorted(elsewhere.iterdir()) == before


def test_another_seed_is_another_run(wukong: Wukong, recipe: Path) -> None:
    first = wukong("train", recipe, "--json").json
    second = wukong("train", recipe, "--seed", 1, "--json").json
    assert first["run"] != second["run"]
    assert first["metrics"] != second["metrics"]


def test_evaluate_agrees_with_training_and_with_scikit_learn(wukong: Wukong, recipe: Path) -> None:
    trained = wukong("train", recipe, "--json").json
    found = wukong("evaluate", trained["run"], "--predictions", "p.parquet", "--json").json
    assert found["auc"] == trained["metrics"]["test"]["auc"]
    assert found["auc_ci"][0] < found["auc"] < found["auc_ci"][1]
    assert found["logloss_ci"][0] < found["logloss"] < found["logloss_ci"][1]
    predictions = pq.read_table("p.parquet").to_pydict()
    assert found["auc"] == pytest.approx(
        roc_auc_score(predictions["label"], predictions["prediction"]), abs=1e-6
    )
    assert found["logloss"] == pytest.approx(
        log_loss(predictions["label"], predictions["prediction"]), abs=1e-6
    )
    assert wukong("evaluate", trained["run"]).code == 0


def test_streamed_metrics_report_their_error_bound(
    wukong: Wukong, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = wukong("train", recipe, "--out", "exact", "--json").json
    monkeypatch.setattr(scoring, "EXACT_ROWS", 100)
    summed = wukong("train", recipe, "--json").json
    bound = summed["metrics"]["test"].pop("auc_error_bound")
    assert 0 <= bound < 1e-2
    assert summed["metrics"]["test"] == pytest.approx(exact["metrics"]["test"], abs=bound + 1e-9)
    found = wukong("evaluate", summed["run"], "--json").json
    assert found["auc_error_bound"] == bound
    assert found["auc_ci"][0] < found["auc"] < found["auc_ci"][1]
    assert "AUC within" in wukong("evaluate", summed["run"]).out
    assert "auc_error_bound" not in wukong("evaluate", summed["run"], "--group", "c0", "--json").json


def test_evaluate_groups_by_a_column(wukong: Wukong, recipe: Path) -> None:
    run = wukong("train", recipe, "--json").json["run"]
    found = wukong("evaluate", run, "--group", "c0", "--json").json
    assert 0 < found["gauc"] < 1
    assert "gauc" not in wukong("evaluate", run, "--json").json
    assert "gAUC" in wukong("evaluate", run, "--group", "c0").out
    wrong = wukong("evaluate", run, "--group", "c9")
    assert wrong.code == 2
    assert "no categorical column `c9`" in wrong.err


def test_evaluate_rejects_other_data(wukong: Wukong, recipe: Path, tmp_path: Path) -> None:
    trained = wukong("train", recipe, "--json").json
    text = (tmp_path / "tiny.yaml").read_text().replace("rows: 1200", "rows: 1300")
    (tmp_path / "tiny.yaml").write_text(text)
    assert wukong("prepare", "./tiny.yaml").code == 2
    assert wukong("prepare", "./tiny.yaml", "--force").code == 0
    result = wukong("evaluate", trained["run"])
    assert result.code == 2
    assert "is not the data that" in result.err


def test_training_on_changed_data_is_rejected(wukong: Wukong, recipe: Path, tmp_path: Path) -> None:
    trained = wukong("train", recipe, "--json").json
    (tmp_path / trained["run"] / "result.json").unlink()
    text = (tmp_path / "tiny.yaml").read_text().replace("rows: 1200", "rows: 1300")
    (tmp_path / "tiny.yaml").write_text(text)
    assert wukong("prepare", "./tiny.yaml", "--force").code == 0
    result = wukong("train", recipe)
    assert result.code == 2
    assert re.search(r"data\.fingerprint: \w{12} → \w{12}\b", result.err)
    (command,) = re.findall(r"`wukongctl (train .*? --force)` starts it over", result.err)
    assert wukong(*command.split(), "--json").json["run"] == trained["run"]


def test_unprepared_dataset_hints_at_prepare(wukong: Wukong, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("data: frappe\nmodel: {name: mlp}\n")
    result = wukong("train", "r.yaml")
    assert result.code == 2
    assert result.err == (
        "error: dataset `frappe` is not prepared in `data`\nhint: run `wukongctl prepare frappe`\n"
    )


def test_resume_requires_an_earlier_run(wukong: Wukong, recipe: Path) -> None:
    result = wukong("train", recipe, "--resume")
    assert result.code == 2
    assert "no run to resume" in result.err


def test_dry_run_trains_nothing(wukong: Wukong, recipe: Path, tmp_path: Path) -> None:
    plan = wukong("train", recipe, "--dry-run", "--json").json
    assert plan["steps"] == 16
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("options", [("tensorboard, mlflow",), ("tensorboard", "mlflow"), ("mlflow,mlflow",)])
def test_trackers_are_a_list_and_need_their_extras(
    wukong: Wukong, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setitem(sys.modules, "tensorboard", ModuleType("tensorboard"))
    sys.modules["tensorboard"].__spec__ = ModuleSpec("tensorboard", None)
    tracked = [word for option in options for word in ("--track", option)]
    for more in (), ("--dry-run",), ("--seeds", 2):
        refused = wukong("train", recipe, *tracked, *more)
        assert refused.code == 2
        assert refused.err.startswith(
            "error: `--track mlflow` needs the extra `mlflow`: `mlflow` is not inst"
        )
        assert "hint: run `pip install " in refused.err
    assert not (tmp_path / "runs").exists()


def test_unknown_tracker_is_a_usage_error(wukong: Wukong, recipe: Path) -> None:
    refused = wukong("train", recipe, "--track", "tensorboard,wandb")
    assert refused.code == 2
    assert "'wandb' is not one of 'tensorboard', 'mlflow'" in refused.err


def test_divergence_is_an_error_and_is_recorded(wukong: Wukong, recipe: Path, tmp_path: Path) -> None:
    result = wukong(
        "train", recipe, "--set", "optimizer.dense.lr=1e30", "--set", "optimizer.embedding.lr=1e30", "--json"
    )
    assert result.code == 1
    assert "diverged" in result.error["message"]
    (folder,) = (tmp_path / "runs").iterdir()
    assert json.loads((folder / "result.json").read_text())["status"] == "diverged"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_saves_a_checkpoint_and_the_next_call_resumes(
    wukong: Wukong, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    with monkeypatch.context() as patch:
        signal_at(7, number, patch)
        stopped = wukong("train", recipe, "--json")
    assert stopped.code == code
    assert "state saved" in stopped.error["message"]
    assert list(tmp_path.glob("runs/*/checkpoints/step-*.pt"))
    resumed = wukong("train", recipe, "--resume", "--json").json
    straight = wukong("train", recipe, "--out", "elsewhere", "--json").json
    assert resumed["metrics"] == straight["metrics"]


def signal_at(step: int, number: int, patch: pytest.MonkeyPatch) -> None:
    """Have this process signal itself after a step."""
    after_step = Trainer._after_step

    def signalled(self: Trainer) -> None:
        after_step(self)
        if self.position.step == step:
            os.kill(os.getpid(), number)

    patch.setattr(Trainer, "_after_step", signalled)


def test_damaged_checkpoint_is_skipped_and_logged(
    wukong: Wukong, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = ("--set", "checkpoint.every_steps=2", "--set", "evaluate_every=3")
    with monkeypatch.context() as patch:
        signal_at(7, signal.SIGTERM, patch)
        assert wukong("train", recipe, *every).code == 143
    (run,) = (tmp_path / "runs").iterdir()
    newest = max((run / "checkpoints").glob("step-*.pt"))
    newest.write_bytes(newest.read_bytes()[:-50])
    result = wukong("train", recipe, *every)
    assert result.code == 0
    assert result.err.count(f"warning: checkpoint `{newest.relative_to(tmp_path)}` is damaged") == 1
    log = [line.split(" ", 2)[2] for line in (run / "log.txt").read_text().splitlines()]
    told = [
        "started: 16 steps",
        "step 3 of 16: valid auc 0.",
        "step 6 of 16: valid",
        "stopped at step 7 of 16",
    ]
    told += ["checkpoint `runs/", "resumed at step 6 of 16", "step 9 of 16: valid auc 0."]
    assert [line[: len(start)] for line, start in zip(log, told, strict=False)] == told
    assert log[-1].startswith("complete at step 16, best step ")
    assert "logloss 0." in log[-1]
    assert not any("{" in line or "(" in line for line in log if "damaged" not in line)


def test_two_processes_may_not_train_in_one_folder_and_a_signal_ends_the_first(
    wukong: Wukong, recipe: Path, tmp_path: Path
) -> None:
    words = ["train", str(recipe), "--set", "epochs=5000", "--json"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "wukongctl", *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=env
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("runs/*/metrics.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.02)
    result = wukong(*words)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert result.code == 2
    assert "another process" in result.error["message"]
    assert process.returncode == 143
    assert "state saved" in json.loads(err)["message"]
    assert list(tmp_path.glob("runs/*/checkpoints/step-*.pt"))


def test_runs_and_datasets_can_be_listed(wukong: Wukong, recipe: Path) -> None:
    trained = wukong("train", recipe, "--json").json
    (row,) = wukong("runs", "ls", "--json").json
    assert row["dataset"] == "tiny"
    assert row["run"] == Path(trained["run"]).name
    assert row["status"] == "complete"
    assert wukong("runs", "ls").code == wukong("runs", "show", trained["run"]).code == 0
    assert wukong("datasets", "ls").code == wukong("datasets", "show", "./tiny.yaml").code == 0
    assert wukong("runs", "show", "absent").code == 2


def test_missing_runs_folder_is_a_usage_error(wukong: Wukong, tmp_path: Path) -> None:
    assert wukong("runs", "ls", "nope").code == 2
    (tmp_path / "empty").mkdir()
    assert wukong("runs", "ls", "empty").code == 0


def test_a_ladder_becomes_a_report(wukong: Wukong, recipe: Path, tmp_path: Path) -> None:
    other = tmp_path / "dlrm.yaml"
    other.write_text("data: tiny\nmodel: {name: dlrm, width: 4}\nbatch_size: 100\nthreads: 1\n")
    for width in (4, 8, 16, 32):
        assert wukong("train", recipe, "--set", f"model.width={width}").code == 0
        assert wukong("train", other, "--set", f"model.top=[{width}]").code == 0
    report = wukong("scale-report", "runs", "--out", "report", "--json").json
    assert {curve["model"] for curve in report["curves"]} == {"wukong", "dlrm"}
    assert set(report) >= {"curves", "comparisons", "gates", "verdict", "files"}
    for path in report["files"].values():
        assert (tmp_path / path).stat().st_size > 0


def test_brackets_in_paths_are_printed_literally(wukong: Wukong, recipe: Path) -> None:
    result = wukong("train", recipe, "--out", "runs [bold]x[b]")
    assert result.code == 0
    assert "runs [bold]x[b]/tiny-wukong-" in result.out


ADAM = ("--set", "optimizer.embedding={name: adam, betas: [0.9, 0.99]}")


def test_a_run_with_adam_embeddings_can_be_evaluated_and_repeated(wukong: Wukong, recipe: Path) -> None:
    trained = wukong("train", recipe, *ADAM, "--json").json
    assert wukong("evaluate", trained["run"], "--json").json["auc"] == trained["metrics"]["test"]["auc"]
    again = wukong("train", Path(trained["run"]) / "recipe.yaml", "--json").json
    assert again == trained


@pytest.mark.usefixtures("no_plots")
def test_three_sizes_and_one_seed_make_a_report(wukong: Wukong, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("model,gflop_per_example,logloss\na,1,.5\na,2,.4\na,4,.35\n")
    assert wukong("scale-report", "--points", "p.csv").code == 0


def test_dlrm_needs_two_embeddings(wukong: Wukong, recipe: Path, tmp_path: Path) -> None:
    text = (tmp_path / "tiny.yaml").read_text().replace("[c0, c1, c2, c3, c4, c5, c6, c7]", "[c0]")
    (tmp_path / "one.yaml").write_text(text.replace("name: tiny", "name: one"))
    assert wukong("prepare", "./one.yaml").code == 0
    result = wukong("train", recipe, "--set", "data=one", "--set", "model={name: dlrm}")
    assert result.code == 2
    assert "one embedding" in result.err


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"model": 3}'])
def test_damaged_run_is_listed(wukong: Wukong, recipe: Path, tmp_path: Path, damage: str) -> None:
    trained = wukong("train", recipe, "--json").json
    (tmp_path / trained["run"] / "run.json").write_text(damage)
    (row,) = wukong("runs", "ls", "--json").json
    assert row["dataset"] is None
    assert (row["run"], row["status"]) == (Path(trained["run"]).name, "damaged")
    assert "damaged" in wukong("runs", "ls").out


def test_watching_auc_on_one_class_is_rejected_before_training(wukong: Wukong, tmp_path: Path) -> None:
    """The command in the hint trains."""
    labels = [i % 3 // 2 for i in range(160)] + [0] * 20 + [i % 2 for i in range(20)]
    lines = [f"{label},u{i % 9}" for i, label in enumerate(labels)]
    (tmp_path / "clicks.csv").write_text("\n".join(["clicked,user", *lines]) + "\n")
    (tmp_path / "mine.yaml").write_text(
        "name: mine\ndescription: clicks\nfiles: {clicks.csv: {}}\n"
        "rows: FROM read_csv('{clicks.csv}', header = true)\n"
        "split: {by: order, ratio: {train: 8, valid: 1, test: 1}}\nlabel: clicked\n"
        "features: [{type: categorical, columns: [user]}]\n"
    )
    prepared = wukong("prepare", "./mine.yaml")
    assert "warning: every label in `valid` is 0 (20 rows): AUC is undefined" in prepared.err
    (tmp_path / "run.yaml").write_text(
        "data: mine\nmodel: {name: mlp, width: 4, hidden: [8]}\nthreads: 1\nbatch_size: 64\n"
        "early_stopping: {metric: auc, patience: 1}\n"
    )
    refused = wukong("train", "run.yaml", "--json")
    assert refused.code == 2
    assert refused.error["message"].startswith("every label in `valid` of `mine` is 0 (20 rows)")
    assert not list((tmp_path / "runs").glob("*/metrics.jsonl"))
    option = refused.error["hint"].partition("`")[2].partition("`")[0].split()
    assert wukong("train", "run.yaml", *option).code == 0
