"""A run in Python: what the command line writes, and scores of new rows."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import wukongctl as wk
from tests.api.conftest import RECIPE, Made
from wukongctl.errors import CheckFailed, UsageError
from wukongctl.training.evaluate import evaluate


def test_the_run_is_that_of_the_command_line(made: Made) -> None:
    run = wk.Run(made.run.path, data=made.folder / "data")
    assert run.status == "complete"
    assert run.recipe == made.run.recipe
    assert run.info.model == "mlp"
    evaluated = evaluate(run.path, "test", data=run.data)
    assert run.metrics["test"]["auc"] == pytest.approx(evaluated["auc"])
    assert "complete" in repr(run)
    history = run.history().to_pylist()
    assert [row["step"] for row in history if row["split"] == "valid"] == [5, 10]
    assert history[-1]["logloss"] or history[-1]["loss"]


def test_the_same_recipe_is_not_trained_twice(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    again = wk.train(RECIPE, made.dataset, out=made.folder / "runs")
    assert again.path == made.run.path
    assert again.info.argv == made.run.info.argv
    seen = []
    other = wk.train(
        made.run.recipe, made.dataset, out=made.folder / "runs",
        seed=1, **{"epochs": 1, "optimizer.dense.lr": 0.01}, report=lambda at: seen.append(at.step),
    )  # fmt: skip
    assert other.path != made.run.path
    assert (other.recipe.seed, other.recipe.epochs, other.recipe.optimizer.dense.lr) == (1, 1, 0.01)
    assert seen[-1] == 5


def test_predictions_are_those_of_the_model_with_its_weights(made: Made) -> None:
    found = made.run.predictions("valid")
    model, weights = made.run.model(), made.run.weights()
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    with torch.inference_mode():
        logits = torch.cat([model(batch) for batch in made.dataset.batches("valid")])
    assert found["logit"].to_numpy() == pytest.approx(logits.numpy(), abs=1e-6)
    assert found["label"].to_pylist() == [row["clicked"] for row in made.rows[480:600]]


@pytest.mark.parametrize("kind", ["file", "rows", "columns", "arrow"])
def test_new_rows_have_the_scores_of_the_split(kind: str, made: Made) -> None:
    raw = [{name: row[name] for name in ("price", "item", "user")} for row in made.rows[600:]]
    table = pa.Table.from_pylist(raw)
    new: Any = {"rows": raw, "columns": table.to_pydict(), "arrow": table}.get(kind)
    scores = made.run.predict(made.folder / "clicks.csv" if new is None else new)
    logits = scores["logit"].to_numpy()[-120:]
    assert logits == pytest.approx(made.run.predictions("test")["logit"].to_numpy(), abs=1e-6)
    assert scores["prediction"].to_numpy()[-120:] == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-6)
    assert len(scores) == (720 if new is None else 120)


def test_rows_that_cannot_be_scored_are_errors_about_the_table(made: Made) -> None:
    with pytest.raises(UsageError, match=r"^the table ") as error:
        made.run.predict({"user": ["u1"], "price": [2.0]})
    assert "item" in str(error.value) + "".join(error.value.__notes__)
    strange = {"user": ["x"] * 200, "item": ["y"] * 200, "price": [2.0] * 200}
    with pytest.raises(CheckFailed):
        made.run.predict(strange)
    with pytest.warns(UserWarning, match="out of vocabulary"):
        assert len(made.run.predict(strange, allow_unknown=True)) == 200


def test_what_is_no_run_or_has_no_weights_is_an_error(made: Made, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="run"):
        wk.Run(tmp_path)
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    shutil.copy(made.run.path / "run.json", unfinished)
    run = wk.Run(unfinished, data=made.folder / "data")
    assert run.status == "unfinished"
    assert run.metrics == {}
    assert run.history().num_rows == 0
    for use in (run.weights, run.model, run.predictions):
        with pytest.raises(UsageError, match="no trained weights yet"):
            use()
