"""LightGBM on prepared data: the same model as LightGBM itself trains, in an ordinary run folder."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score

from tests.training.test_train import DATASET, silent, touched
from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.loading import load
from wukongctl.config.training import TrainingSpec
from wukongctl.data import manifest as manifests
from wukongctl.data.batches import BatchReader
from wukongctl.data.options import Options
from wukongctl.data.prepare import prepare
from wukongctl.errors import Interrupted, RunFailed, UsageError
from wukongctl.training.evaluate import evaluate
from wukongctl.training.export import export
from wukongctl.training.finished_run import open_run
from wukongctl.training.loop import TrainingProgress
from wukongctl.training.plan import total_steps
from wukongctl.training.predict import predict
from wukongctl.training.predictions import predictions
from wukongctl.training.run_folder import RunFolder
from wukongctl.training.train import CompleteRun, train

lightgbm = pytest.importorskip("lightgbm")
COLUMNS = [f"c{i}" for i in range(8)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    noisy = "SELECT *, round(p + hash(c0 || c1 || c2) % 97 / 97, 2) AS x FROM synthetic"
    prepare(DatasetSpec.from_dict(DATASET | {"rows": noisy}), Options(folder, out=folder))
    return folder


def recipe(page: dict[str, Any] | None = None, **keys: object) -> TrainingSpec:
    model = {"name": "lightgbm", "num_iterations": 20, "num_leaves": 7, **(page or {})}
    return TrainingSpec.from_dict({"data": "tiny", "model": model, "threads": 1, **keys})


def run(spec: TrainingSpec, data: Path, out: Path) -> CompleteRun:
    return train(spec, data=data, out=out, report=silent)


def table(data: Path, split: str, rows: int | None = None) -> tuple[NDArray, NDArray]:
    """Columns and labels as read from Parquet; a missing category is NaN."""
    read = pq.read_table(data / "tiny" / split).slice(0, rows)
    ids = [np.where(read[name].to_numpy() == 0, np.nan, read[name].to_numpy()) for name in COLUMNS]
    return np.column_stack([*ids, read["x"].to_numpy()]), read["label"].to_numpy()


def lines(outcome: CompleteRun) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (outcome.folder / "metrics.jsonl").read_text().splitlines()]


def trees(text: str) -> str:
    """A model file without the parameters and the gains."""
    kept = [line for line in text.partition("feature_importances")[0].splitlines() if "=" in line]
    return "\n".join(line for line in kept if not line.startswith(("tree_sizes", "feature_names")))


@pytest.mark.parametrize("categorical", ["native", "ordered"])
def test_model_equals_that_of_lightgbm_itself(data: Path, tmp_path: Path, categorical: str) -> None:
    outcome = run(recipe({"categorical": categorical}), data, tmp_path)
    columns, labels = table(data, "train")
    given = list(range(8)) if categorical == "native" else []
    parameters = {"objective": "binary", "num_leaves": 7, "deterministic": True, "force_col_wise": True}
    alone = lightgbm.train(
        parameters | {"verbosity": -1, "num_threads": 1},
        lightgbm.Dataset(columns, labels, categorical_feature=given),
        num_boost_round=20,
    )
    written = (outcome.folder / "checkpoints" / "lightgbm.txt").read_text()
    assert trees(written) == trees(alone.model_to_string())
    held_out, clicked = table(data, "test")
    expected = alone.predict(held_out, raw_score=True)
    scores = predictions(outcome.folder, "test", data=data)
    np.testing.assert_allclose(scores.logits, expected, rtol=1e-6)
    np.testing.assert_array_equal(scores.labels, clicked)
    measured, p = outcome.result.metrics["test"], 1 / (1 + np.exp(-expected))
    assert measured["auc"] == pytest.approx(roc_auc_score(clicked, p))
    assert measured["logloss"] == pytest.approx(log_loss(clicked, p), rel=1e-6)


def test_run_folder_is_like_that_of_networks(data: Path, tmp_path: Path) -> None:
    outcome = run(recipe(), data, tmp_path)
    written = RunFolder(outcome.folder).info()
    assert written == outcome.info
    assert written.gflop is written.params.dense is None
    assert written.versions["lightgbm"] == lightgbm.__version__
    result = outcome.result
    assert (result.status, result.step, result.best_step, result.trees) == ("complete", 20, 20, 20)
    assert (result.examples, result.passes, result.selected_on) == (900, 1.0, None)
    assert result.metrics.keys() == {"valid", "test"}
    assert result.metrics["test"].keys() >= {"calibration", "normalized_entropy", "excess_logloss"}
    train_lines, valid_lines = ([x for x in lines(outcome) if x["split"] == s] for s in ("train", "valid"))
    assert [line["step"] for line in valid_lines] == list(range(1, 21))
    for key in ("auc", "logloss"):
        assert valid_lines[-1][key] == pytest.approx(result.metrics["valid"][key], rel=1e-6)
    losses = [line["loss"] for line in train_lines]
    assert losses == sorted(losses, reverse=True)
    assert "started: up to 20 trees" in (outcome.folder / "log.txt").read_text()


def test_finished_run_is_recognized_and_its_recipe_is_runnable(data: Path, tmp_path: Path) -> None:
    first = run(recipe(), data, tmp_path)
    before = touched(first.folder)
    again = run(recipe(), data, tmp_path)
    assert again.was_complete
    assert again.result == first.result
    assert touched(first.folder) == before
    resolved = load(first.folder / "recipe.yaml", TrainingSpec)
    assert run(resolved, data, tmp_path).folder == first.folder
    other = run(resolved, data, tmp_path / "elsewhere")
    assert other.result.metrics == first.result.metrics


def test_seed_affects_bagging(data: Path, tmp_path: Path) -> None:
    """Without bagging, LightGBM draws no random numbers: every seed gives the same trees."""
    bags = {"bagging_fraction": 0.5, "bagging_freq": 1, "feature_fraction": 0.7}
    found = [run(recipe(page, seed=seed), data, tmp_path) for page in ({}, bags) for seed in (0, 1)]
    one, other, bagged, bagged_again = (outcome.result.metrics for outcome in found)
    assert one == other
    assert bagged != bagged_again


def test_patience_keeps_the_best_trees(data: Path, tmp_path: Path) -> None:
    spec = recipe(
        {"num_iterations": 500, "learning_rate": 0.5}, early_stopping={"metric": "auc", "patience": 5}
    )
    outcome = run(spec, data, tmp_path)
    history = {line["step"]: line["auc"] for line in lines(outcome) if line["split"] == "valid"}
    highest = max(history.values())
    best = next(step for step in history if history[step] > highest - 1e-6)  # `min_delta`
    result = outcome.result
    assert (result.best_step, result.step, result.trees) == (best, best + 5, best)
    assert result.selected_on == "valid auc"
    assert result.metrics["valid"]["auc"] == pytest.approx(history[best])
    assert lightgbm.Booster(model_file=outcome.folder / "checkpoints" / "lightgbm.txt").num_trees() == best


def test_evaluate_every_counts_trees(data: Path, tmp_path: Path) -> None:
    outcome = run(recipe(evaluate_every=8), data, tmp_path)
    assert [line["step"] for line in lines(outcome) if line["split"] == "valid"] == [8, 16, 20]


@pytest.mark.parametrize("shuffle", [True, False])
def test_max_examples_selects_the_rows_that_a_network_sees(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, shuffle: bool
) -> None:
    given: list[NDArray] = []
    original = lightgbm.Dataset

    def dataset(matrix: NDArray, labels: NDArray, **how: Any) -> Any:
        given.append(matrix.copy())
        return original(matrix, labels, **how)

    monkeypatch.setattr(lightgbm, "Dataset", dataset)
    outcome = run(recipe(max_examples=250, shuffle=shuffle, seed=3), data, tmp_path)
    prepared = manifests.read(data / "tiny")
    reader = BatchReader(data / "tiny", prepared, "train", batch_size=100, shuffle=shuffle, seed=3)
    seen = np.concatenate([batch.dense.numpy() for batch in reader.epoch(0)])[:250, 0]
    np.testing.assert_array_equal(given[0][:, -1], seen)
    assert (outcome.result.examples, len(given[0])) == (250, 250)
    assert (len(seen) < 900) & (not shuffle or not np.array_equal(seen, table(data, "train", 250)[0][:, -1]))


def test_signal_stops_training_and_the_same_command_starts_over(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = recipe()

    def interrupt(progress: TrainingProgress) -> None:
        if progress.step == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="stopped at tree 7 of 20") as stopped:
        train(spec, data=data, out=tmp_path, report=interrupt)
    assert stopped.value.exit_code == 143
    folder = RunFolder.for_recipe(spec, tmp_path)
    assert folder.info() is not None
    assert folder.result() is None
    with pytest.raises(UsageError, match="no trained weights yet"):
        open_run(folder.path, data=data)
    again, straight = run(spec, data, tmp_path), run(spec, data, tmp_path / "straight")
    assert "starting over" in caplog.text
    assert again.folder == folder.path
    assert not again.was_complete
    assert lines(again) == lines(straight)
    assert again.result.metrics == straight.result.metrics


def test_training_without_the_extra_is_rejected(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = run(recipe(), data, tmp_path).folder
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(UsageError, match="model `lightgbm` needs the extra `gbdt`") as error:
        run(recipe(seed=9), data, tmp_path / "none")
    assert error.value.hint is not None
    assert error.value.hint.startswith("run `pip install ")
    assert not (tmp_path / "none").exists()
    with pytest.raises(UsageError, match="needs the extra"):
        evaluate(trained, "test", data=data)


def test_missing_system_library_is_an_error(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "lightgbm":
                raise OSError("libgomp.so.1: cannot open shared object file")

    monkeypatch.delitem(sys.modules, "lightgbm")
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(UsageError, match="libgomp") as error:
        run(recipe(), data, tmp_path)
    assert "libgomp1" in (error.value.hint or "")


def test_constant_columns_predict_the_mean(tmp_path: Path) -> None:
    spec = DATASET | {"rows": "SELECT * REPLACE ('a' AS c0), 0.0 AS x FROM synthetic"}
    features = [{"type": "categorical", "columns": ["c0"]}, {"type": "numeric", "columns": ["x"]}]
    prepare(DatasetSpec.from_dict(spec | {"features": features}), Options(tmp_path, out=tmp_path))
    outcome = run(recipe(), tmp_path, tmp_path / "runs")
    rate = table_rate(tmp_path)
    logits = predictions(outcome.folder, "test", data=tmp_path).logits
    np.testing.assert_allclose(logits, np.log(rate / (1 - rate)), rtol=1e-5)
    assert outcome.result.metrics["test"]["auc"] == 0.5


def table_rate(data: Path) -> float:
    return float(pq.read_table(data / "tiny" / "train")["label"].to_numpy().mean())


def test_new_rows_have_the_scores_of_prepared_rows(data: Path, tmp_path: Path) -> None:
    outcome = run(recipe(), data, tmp_path)
    encoded = pq.read_table(data / "tiny" / "test")
    raw = {"x": encoded["x"]}
    for name in COLUMNS:
        known = pq.read_table(data / "tiny" / "vocab" / f"{name}.parquet")
        texts = dict(zip(known["id"].to_pylist(), known["value"].to_pylist(), strict=True))
        raw[name] = pa.array([texts.get(i, "never seen") if i else None for i in encoded[name].to_pylist()])
    pq.write_table(pa.table(raw), tmp_path / "new.parquet")
    predict(outcome.folder, [tmp_path / "new.parquet"], data=data, out=tmp_path / "scores.parquet")
    scored = pq.read_table(tmp_path / "scores.parquet")["logit"].to_numpy()
    expected = predictions(outcome.folder, "test", data=data).logits
    np.testing.assert_allclose(scored, expected, rtol=1e-6)


def test_unsupported_commands_hint_at_alternatives(data: Path, tmp_path: Path) -> None:
    outcome = run(recipe(), data, tmp_path)
    with pytest.raises(UsageError, match="LightGBM model, which torch cannot export") as error:
        export(outcome.folder, data=data, out=tmp_path / "export")
    (path,) = outcome.folder.glob("checkpoints/*")
    assert f"model_file='{path}'" in (error.value.hint or "")
    assert total_steps(recipe(), 900) == 20


def test_a_damaged_model_is_named(data: Path, tmp_path: Path) -> None:
    outcome = run(recipe(), data, tmp_path)
    (path,) = outcome.folder.glob("checkpoints/*")
    text = path.read_text()
    for damage in (text[: len(text) // 2], "", text.replace("leaf_value=", "leaf_value=9", 1)):
        path.write_text(damage)
        with pytest.raises(RunFailed, match=r"`.*lightgbm.txt` is damaged"):
            evaluate(outcome.folder, "test", data=data)
    path.unlink()
    with pytest.raises(UsageError, match=r"lightgbm.txt` is missing"):
        evaluate(outcome.folder, "test", data=data)
