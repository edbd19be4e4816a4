"""`wukongctl compare` on real runs of a small planted dataset."""

import json
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from tests.cli.conftest import RECIPE, Wukong, typed


@pytest.fixture(scope="module")
def trained(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder of two models with two seeds each, and their runs."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(prepared, folder, dirs_exist_ok=True)
    (folder / "mine.yaml").write_text(RECIPE)
    found = []
    for options in (
        ("--set", "name=wukong"),
        ("--set", "model={name: mlp, hidden: [8]}", "--set", "name=mlp"),
    ):
        for seed in (0, 1):
            printed = typed(folder, "train", "mine.yaml", *options, "--seed", seed, "--json")
            found.append(json.loads(printed)["run"])
    return folder, found


@pytest.fixture
def runs(recipe: Path, tmp_path: Path, trained: tuple[Path, list[str]]) -> list[str]:
    """Two models with two seeds each."""
    folder, found = trained
    shutil.copytree(folder / "runs", tmp_path / "runs")
    return list(found)


def test_leaderboard_agrees_with_scikit_learn(wukong: Wukong, runs: list[str], tmp_path: Path) -> None:
    board = wukong("compare", *runs, "--json").json
    assert (board["split"], board["rows"], board["by"]) == ("test", 200, "auc")
    assert {model["name"] for model in board["models"]} == {"wukong", "mlp"}
    first, second = board["models"]
    assert first["metrics"]["auc"]["mean"] >= second["metrics"]["auc"]["mean"]
    assert (board["reference"], first["differences"]) == (first["name"], {})
    for model in board["models"]:
        aucs, losses = [], []
        for folder in model["runs"].values():
            kept = pq.read_table(tmp_path / folder / "predictions" / "test.parquet")
            label, p = kept["label"].to_numpy(), kept["prediction"].to_numpy()
            aucs.append(roc_auc_score(label, p))
            losses.append(log_loss(label, p.astype(float)))
        assert model["metrics"]["auc"]["mean"] == pytest.approx(sum(aucs) / 2)
        assert model["metrics"]["logloss"]["mean"] == pytest.approx(sum(losses) / 2, rel=1e-5)
        assert model["metrics"]["auc"]["n"] == 2
    difference = second["differences"]["logloss"]
    assert difference["value"] == pytest.approx(
        second["metrics"]["logloss"]["mean"] - first["metrics"]["logloss"]["mean"]
    )
    assert difference["interval"][0] < difference["value"] < difference["interval"][1]
    assert difference["verdict"] in {"better", "worse", "undecided"}
    for model in board["models"]:
        for seed, folder in model["runs"].items():
            result = json.loads((tmp_path / folder / "result.json").read_text())
            assert model["warnings"][seed] == result["warnings"] != []


def test_cached_predictions_make_the_data_unnecessary(wukong: Wukong, runs: list[str]) -> None:
    first = wukong("compare", "runs", "--json").json
    assert (
        wukong("compare", "runs", "--data", "gone", "--json").json["models"][0]["metrics"]
        == (first["models"][0]["metrics"])
    )
    assert wukong("compare", "runs", "--data", "gone", "--split", "valid").code == 2


def test_training_again_deletes_cached_predictions(
    wukong: Wukong, runs: list[str], recipe: Path, tmp_path: Path
) -> None:
    wukong("compare", *runs)
    kept = tmp_path / runs[0] / "predictions" / "test.parquet"
    assert kept.is_file()
    wukong("train", recipe, "--set", "name=wukong", "--force")
    assert not kept.exists()


def test_tables_for_terminal_and_markdown(wukong: Wukong, runs: list[str], tmp_path: Path) -> None:
    shown = wukong("compare", "runs", "--against", "mlp", "--by", "logloss")
    assert shown.code == 0
    assert "minus mlp" in shown.out
    assert "! 4 of 4 runs (" in shown.out
    assert shown.out.count("[few_updates]") == 1
    assert re.search(r"^ wukong +2 .* !", shown.out, re.MULTILINE)
    lines = wukong("compare", "runs", "--markdown").out.splitlines()
    assert lines[0].startswith("| test, 200 rows | seeds | MFLOP/ex. | AUC | LogLoss | excess LogLoss |")
    assert re.fullmatch(r"\| --- \|( ---: \|){6,}", lines[1])
    assert lines[1].count("|") == lines[0].count("|")
    assert any(line.startswith("- **!** 4 of 4 runs (") and "[few_updates]" in line for line in lines)
    for run in runs:  # as older versions wrote it
        old = json.loads((tmp_path / run / "result.json").read_text())
        (tmp_path / run / "result.json").write_text(json.dumps(old | {"warnings": None}))
    assert "!" not in wukong("compare", "runs").out


def test_leaderboard_of_one_recipe_has_one_row(wukong: Wukong, runs: list[str], tmp_path: Path) -> None:
    shown = wukong("compare", runs[0], runs[1])
    assert shown.code == 0
    assert re.search(r"wukong +2 .*±", shown.out)
    assert "Only one recipe: nothing to compare" in shown.out
    assert "minus" not in shown.out
    (model,) = wukong("compare", runs[0], "--json").json["models"]
    assert (model["differences"], model["metrics"]["auc"]["n"]) == ({}, 1)
    (tmp_path / runs[0] / "result.json").unlink()
    unfinished = wukong("compare", runs[0])
    assert (unfinished.code, "nothing to compare: the run is not finished" in unfinished.err) == (2, True)


def test_missing_weights_hint_at_the_command_that_trains_them(
    wukong: Wukong, runs: list[str], tmp_path: Path
) -> None:
    run = tmp_path / runs[0]
    (run / "checkpoints" / "best.pt").unlink()
    lost = wukong("evaluate", runs[0])
    assert lost.code == 2
    assert f"`{runs[0]}/checkpoints/best.pt` is missing" in lost.err
    (command,) = re.findall(r"`wukongctl (train .*?)`", " ".join(lost.err.split()))
    assert wukong(*command.split()).code == 0
    assert wukong("evaluate", runs[0]).code == 0


def test_mistakes(wukong: Wukong, runs: list[str], tmp_path: Path) -> None:
    absent = wukong("compare", "runs", "--against", "wukon")
    assert (absent.code, "did you mean `wukong`?" in absent.err) == (2, True)
    absent = wukong("compare", "nowhere")
    assert (absent.code, "there is no `nowhere`" in absent.err) == (2, True)
    (tmp_path / runs[3] / "result.json").unlink()
    assert f"skipped `{runs[3]}`, which is not finished" in wukong("compare", *runs).err
    (tmp_path / runs[3] / "result.json").write_text('{"status": "diverged"}')
    assert f"skipped `{runs[3]}`, which diverged" in wukong("compare", *runs).err
    assert wukong("compare", *runs, "--json").json["skipped"] == [runs[3]]
    other = (tmp_path / runs[0] / "run.json").read_text()
    (tmp_path / runs[0] / "run.json").write_text(other.replace('"fingerprint": "', '"fingerprint": "0'))
    boards = wukong("compare", *runs, "--json").json["datasets"]
    assert [len(board["models"]) for board in boards] == [1, 2]
    assert all(board["dataset"].startswith("tiny ") for board in boards)
    shown = wukong("compare", *runs, "--markdown")
    assert shown.out.count("## tiny ") == 2
    one = wukong("compare", *runs, "--dataset", boards[1]["dataset"], "--json").json
    assert one == boards[1]
    absent = wukong("compare", *runs, "--dataset", "tina")
    assert (absent.code, "did you mean `tiny" in absent.err) == (2, True)
    against = wukong("compare", *runs, "--against", "mlp", "--json").json["datasets"]
    assert [board["reference"] for board in against] == [boards[0]["reference"], "mlp"]


def test_recipes_with_the_same_name_are_distinguished(wukong: Wukong, runs: list[str], recipe: Path) -> None:
    changes = ("--set", "name=mlp", "--set", "epochs=1", "--set", "model={name: mlp, hidden: [8, 4]}")
    assert wukong("train", recipe, *changes).code == 0
    board = wukong("compare", "runs", "--json").json
    apart = {model["name"]: model["settings"] for model in board["models"]}
    assert apart.pop("wukong") == {}
    assert all((Path("runs") / name / "run.json").is_file() for name in apart)
    assert list(apart.values()) in (
        [{"model.hidden": [8], "epochs": 2}, {"model.hidden": [8, 4], "epochs": 1}],
        [{"model.hidden": [8, 4], "epochs": 1}, {"model.hidden": [8], "epochs": 2}],
    )
    assert re.search(r"^mlp-\S+: model.hidden=\[8, 4\], epochs=1$", wukong("compare", "runs").out, re.M)
    shown = wukong("compare", "runs", "--markdown").out
    assert re.search(r"^- `mlp-\S+`: `model.hidden=\[8\], epochs=2`$", shown, re.M)


def test_duplicate_run_is_left_out_with_a_note(wukong: Wukong, runs: list[str], tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / Path(runs[0]).name
    shutil.copytree(tmp_path / runs[0], copy)
    plain = wukong("compare", *runs, "--json").json
    found = wukong("compare", *runs, copy)
    assert found.err == f"skipped `{copy}`: same recipe and seed as `{runs[0]}`\n"
    board = wukong("compare", *runs, copy, "--json").json
    assert board == plain | {"repeated": [{"run": str(copy), "of": runs[0], "same_result": True}]}
    result = copy / "result.json"
    measured = json.loads(result.read_text())
    measured["metrics"]["test"]["auc"] += 1e-9
    result.write_text(json.dumps(measured))
    assert wukong("compare", *runs, copy).err.endswith("`, with a different result\n")
    described = copy / "run.json"
    described.write_text(described.read_text().replace('"fingerprint": "', '"fingerprint": "0'))
    other = wukong("compare", *runs, copy)
    assert (other.code, other.err.count("skipped")) == (0, 0)
    assert "left out dataset `tiny 0" in other.err


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (("flops",), "has no `flops`"),
        (("flops", "gflop_per_example"), "has no `flops.gflop_per_example`"),
        (("data", "fingerprint"), "has no `data.fingerprint`"),
        (("seed",), "has no `seed`"),
        (("recipe", "data"), "has no recipe that this version of wukongctl can read"),
    ],
)
def test_run_with_missing_keys_is_an_error(
    wukong: Wukong, runs: list[str], tmp_path: Path, lost: tuple[str, ...], said: str
) -> None:
    if lost != ("recipe", "data"):  # with cached predictions the model is not built
        assert wukong("compare", *runs).code == 0
    path = tmp_path / runs[0] / "run.json"
    described = json.loads(path.read_text())
    *pages, key = lost
    del (described[pages[0]] if pages else described)[key]
    path.write_text(json.dumps(described))
    found = wukong("compare", *runs)
    assert found.code == 2
    assert f"`{runs[0]}/run.json` {said}" in found.err


def test_rows_of_one_class_have_no_auc(wukong: Wukong, runs: list[str], tmp_path: Path) -> None:
    wukong("compare", *runs)
    for run in runs:
        path = tmp_path / run / "predictions" / "test.parquet"
        whole = pq.read_table(path)
        pq.write_table(whole.set_column(0, "label", pa.array([0] * len(whole), pa.int8())), path)
    found = wukong("compare", *runs)
    assert (found.code, "there is no AUC of `test`" in found.err) == (2, True)
    board = wukong("compare", *runs, "--by", "logloss", "--json").json
    metrics = set(board["models"][0]["metrics"])
    assert {"logloss", "excess_logloss"} <= metrics
    assert metrics.isdisjoint({"auc", "gauc"})


def test_read_only_runs_are_compared(wukong: Wukong, runs: list[str], tmp_path: Path) -> None:
    (tmp_path / runs[0] / "predictions").write_text("a file in its place")
    assert wukong("compare", *runs).code == 0


def test_long_names_wrap(
    wukong: Wukong, runs: list[str], recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "a-name-of-a-model-that-is-longer-than-half-of-a-terminal"
    wukong("train", recipe, "--set", f"name={name}", "--seed", 3)
    monkeypatch.setenv("COLUMNS", "80")
    lines = wukong("compare", "runs").out.splitlines()
    shown = [line for line in lines if line.lstrip().startswith("a-name")]
    assert all(re.search(r"[01]\.\d{5}\b", line) for line in shown)
    assert len(shown) == 2
    assert len(lines) < 40
    notes = [
        line for line in lines[:-1] if line.startswith(("! ", "  hint: "))
    ]  # sentences, as is the legend
    assert max(len(line) for line in lines[:-1] if line not in notes) <= 80


def test_damaged_predictions(wukong: Wukong, runs: list[str], tmp_path: Path) -> None:
    wukong("compare", *runs)
    path = tmp_path / runs[0] / "predictions" / "test.parquet"
    whole = pq.read_table(path)
    infinite = whole.set_column(1, "logit", pa.array([float("nan")] * len(whole), pa.float32()))
    words = whole.set_column(1, "logit", pa.array(["high"] * len(whole)))
    for damaged in (infinite, words, whole.drop_columns(["label"]), None):
        if damaged is None:
            path.write_bytes(b"junk")
        else:
            pq.write_table(damaged, path)
        found = wukong("compare", *runs)
        assert (found.code, "test.parquet` is damaged" in found.err) == (1, True)
    pq.write_table(whole[:-1], path)
    assert "are for different rows" in wukong("compare", *runs).err
    path.unlink()
    assert wukong("compare", *runs).code == 0


def test_model_that_predicts_nan_is_an_error(
    wukong: Wukong, runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wukongctl.training.predictions._finite", lambda _: False)
    found = wukong("compare", *runs)
    assert (found.code, "predicts values that are not finite" in found.err) == (1, True)
    assert not (tmp_path / runs[0] / "predictions" / "test.parquet").exists()
