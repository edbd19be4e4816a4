"""`predict` gives raw rows the scores of `evaluate`, or fails."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.training import TrainingSpec
from wukongctl.data.options import Options
from wukongctl.data.prepare import prepare
from wukongctl.errors import CheckFailed, UsageError
from wukongctl.training.evaluate import evaluate
from wukongctl.training.predict import predict
from wukongctl.training.train import train

USERS = ["7", "NULL", "12", "1044", "emoji 🦆", "18446744073709551617", "", " 5 ", "3", "20"]
PRICES = ["1.577,61", "2.000", "", "3,5", "-1.000.000", "0", "12"]
HOURS = ["08:00", "9:30", "True", "1e3", "", "a b"]
LINES = [
    f"{i % 2};{USERS[i * 3 % 10]};{PRICES[i % 7]};{'|'.join(HOURS[: i % 5])};{HOURS[i * 5 % 6]}"
    for i in range(240)
]
DATASET: dict[str, Any] = {
    "name": "messy",
    "description": "as people write it",
    "files": {"c.csv": {}, "u.csv": {}},
    "rows": """
        SELECT l.* REPLACE (NULLIF(trim(id), 'NULL') AS id,
                            replace(replace(price, '.', ''), ',', '.') AS price), country
        FROM read_csv('{c.csv}', delim=';', quote='', header=true, all_varchar=true) AS l
        JOIN read_csv('{u.csv}', header=true, all_varchar=true) USING (id)
        WHERE label IS NOT NULL""",
    "split": {"by": "order", "ratio": {"train": 6, "valid": 2, "test": 2}},
    "label": "label",
    "features": [
        {"type": "categorical", "columns": ["id", "hour", "country"]},
        {"type": "numeric", "columns": ["price"], "standardize": True},
        {"type": "sequence", "columns": ["tags"], "separator": "|", "max_len": 3},
    ],
}
RECIPE = {
    "data": "messy",
    "model": {"name": "mlp", "width": 4, "hidden": [8]},
    "batch_size": 32,
    "epochs": 2,
    "threads": 1,
}


class Made:
    """A run, its folders and its raw file."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data, self.file = folder, folder / "data", folder / "c.csv"
        self.file.write_text("label;id;price;tags;hour\n" + "\n".join(LINES) + "\n")
        users = "".join(f"{user},{'FR' if i % 3 else 'DE'}\n" for i, user in enumerate(USERS))
        (folder / "u.csv").write_text("id,country\n" + users)
        prepare(DatasetSpec.from_dict(DATASET), Options(folder, out=self.data))
        recipe = TrainingSpec.from_dict(RECIPE)
        self.run = train(recipe, data=self.data, out=folder / "runs", report=lambda _: None).folder

    def predict(self, file: Path, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
        out = self.folder / "p.parquet"
        out.unlink(missing_ok=True)
        said = predict(self.run, [file], data=self.data, out=out, **options)
        return pq.read_table(out)["logit"].to_numpy(), said


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("made"))


def test_scores_of_the_raw_file_are_those_of_the_prepared_rows(made: Made) -> None:
    """Row by row, except those that the join excludes from training."""
    logits, said = made.predict(made.file)
    assert said["columns"] == ["raw"]
    assert len(logits) == said["rows"] == len(LINES)
    expected = []
    for split in ("train", "valid", "test"):
        evaluate(made.run, split, data=made.data, predictions=made.folder / "e.parquet")
        expected += pq.read_table(made.folder / "e.parquet")["logit"].to_pylist()
    labelled = [i for i, line in enumerate(LINES) if line.split(";")[1]]
    assert len(expected) == len(labelled) < len(LINES)  # the join found no user without a name
    assert logits[labelled] == pytest.approx(expected, abs=1e-6)


def test_each_row_has_its_own_score_wherever_it_stands(made: Made) -> None:
    logits, _ = made.predict(made.file)
    shuffled = np.random.default_rng(0).permutation(len(LINES))
    new = made.folder / "shuffled.csv"
    rows = [LINES[i].split(";")[1:] for i in shuffled]
    new.write_text("hour;price;x;tags;id\n" + "".join(f"{h};{p};?;{t};{u}\n" for u, p, t, h in rows))
    assert made.predict(new)[0] == pytest.approx(logits[shuffled], abs=1e-6)


def test_changed_join_or_sql_is_detected_before_scoring(made: Made) -> None:
    users = made.folder / "u.csv"
    before = users.read_text()
    users.write_text(before.replace("12,FR", "12,DE"))
    try:
        with pytest.raises(
            CheckFailed, match=r"does not reproduce .* 100 training rows: `country` in \d+ of them"
        ) as error:
            made.predict(made.file)
    finally:
        users.write_text(before)
    assert "--columns selected" in str(error.value.hint)
    assert not (made.folder / "p.parquet").exists()
    made.predict(made.file)


def test_changed_weights_are_detected(made: Made) -> None:
    kept = made.run / "selfcheck.parquet"
    before = kept.read_bytes()
    logits = pq.read_table(kept)["logit"].to_numpy()
    try:
        pq.write_table(pa.table({"logit": logits + np.float32(0.2)}), kept)
        with pytest.raises(CheckFailed, match=r"does not reproduce its scores .* differ by up to 0\.2"):
            made.predict(made.file)
        kept.unlink()
        made.predict(made.file)  # a run of an older version
    finally:
        kept.write_bytes(before)


def test_prepared_columns_need_no_check_of_the_select(made: Made) -> None:
    table = {
        "id": ["7", None],
        "hour": ["08:00", "True"],
        "country": ["DE", "FR"],
        "price": [1.5, None],
        "tags": ["08:00|True", ""],
    }
    pq.write_table(pa.table(table), made.folder / "s.parquet")
    encoded = made.data / "messy/sample"
    shutil.move(encoded, made.folder / "away")
    try:
        logits, said = made.predict(made.folder / "s.parquet", columns="selected")
    finally:
        shutil.move(made.folder / "away", encoded)
    assert said["columns"] == ["selected"]
    assert len(logits) == 2


def test_values_in_another_spelling_are_an_error_naming_both(made: Made) -> None:
    new = made.folder / "zeros.csv"
    new.write_text("id;price;tags;hour\n" + "00012;3,5;;8:00:00\n0007;1;;08:00\n" * 20)
    with pytest.raises(CheckFailed) as error:
        made.predict(new)
    assert "100.0% of the values of `id` are out of vocabulary" in error.value.message + str(
        error.value.problems
    )
    assert "`00012` (`12` in training)" in error.value.message + str(error.value.problems)
    assert not (made.folder / "p.parquet").exists()
    logits, said = made.predict(new, allow_unknown=True)
    assert len(logits) == 40
    assert any("`id`" in note for note in said["notes"])


def test_missing_values_where_training_had_few_are_an_error(made: Made) -> None:
    new = made.folder / "missing.csv"
    new.write_text("id;price;tags;hour\n" + "12;;08:00;08:00\n" * 30)
    with pytest.raises(CheckFailed, match=r"`price` is missing in 100\.0% .* \(at most \d+\.\d%"):
        made.predict(new)
    few = made.folder / "few.csv"
    few.write_text("id;price;tags;hour\nnew;;08:00;08:00\n")
    assert len(made.predict(few)[0]) == 1  # one row is too few for an alarm


def test_run_stores_scores_of_sampled_rows(made: Made) -> None:
    sample = pq.read_table(made.data / "messy/sample/raw.parquet")
    assert sample.num_rows == 100
    assert set(sample.column_names) == {"id", "price", "tags", "hour"}
    assert pq.read_metadata(made.run / "selfcheck.parquet").num_rows == 100


def test_numbers_in_another_notation_are_an_error_naming_the_range(made: Made) -> None:
    new = made.folder / "english.csv"
    rows = "".join(f"12;1577.{i};08:00;08:00\n" for i in range(10, 40))
    new.write_text("id;price;tags;hour\n" + rows)  # the SELECT reads 157710
    with pytest.raises(CheckFailed, match=r"100\.0% of the values of `price` .* -1000000 to 2000: `157710`"):
        made.predict(new)
    logits, said = made.predict(new, allow_unknown=True)
    assert len(logits) == 30
    assert any("`price` are outside" in note for note in said["notes"])
    new.write_text("id;price;tags;hour\n" + rows.replace(".", ","))
    made.predict(new)


@pytest.mark.parametrize("other", ["run", "table", "text"])
def test_predictions_of_another_run_are_not_overwritten(other: str, made: Made, tmp_path: Path) -> None:
    out = tmp_path / "predictions.parquet"
    score = {"files": [made.file], "data": made.data, "out": out}
    if other == "run":
        twin = tmp_path / "twin"
        shutil.copytree(made.run, twin)
        predict(twin, **score)
        predict(twin, **score)  # its own are
    elif other == "table":
        pq.write_table(pa.table({"logit": [1.0], "prediction": [0.5]}), out)
    else:
        out.write_text("notes")
    before = out.read_bytes()
    with pytest.raises(
        UsageError, match="of another run, `twin`" if other == "run" else "not a file of predictions"
    ) as caught:
        predict(made.run, **score)
    assert "--force" in str(caught.value.hint)
    assert out.read_bytes() == before
    assert predict(made.run, **score, force=True)["rows"] == len(LINES)
    assert predict(made.run, **score)["rows"] == len(LINES)


def test_csv_predictions_are_overwritten_and_other_csv_files_are_not(made: Made, tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    for _ in range(2):
        assert predict(made.run, [made.file], data=made.data, out=out)["rows"] == len(LINES)
    out.write_text("id,price\n1,2\n")
    with pytest.raises(UsageError, match="not a file of predictions"):
        predict(made.run, [made.file], data=made.data, out=out)
    assert out.read_text() == "id,price\n1,2\n"


def test_file_without_rows_is_noted(made: Made, tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text("id;price;tags;hour\n")
    said = predict(made.run, [empty, made.file], data=made.data, out=tmp_path / "p.parquet")
    assert said["rows"] == len(LINES)
    assert f"`{empty}` has no rows" in said["notes"]
    assert not [note for note in said["notes"] if str(made.file) in note]
