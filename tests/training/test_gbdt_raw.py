"""LightGBM on prepared data against LightGBM on the raw table, written by hand."""

import csv
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score

from tests.training.test_train import silent
from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.training import TrainingSpec
from wukongctl.data.options import Options
from wukongctl.data.prepare import prepare
from wukongctl.training.train import train

lightgbm = pytest.importorskip("lightgbm")
Rows = list[dict[str, str]]
"""Every value as its text, a missing one empty."""


def by_hand(rows: Rows, numeric: list[str], label: str) -> tuple[float, float]:
    """AUC and LogLoss on test, from categories as their alphabetical codes and numbers as they are."""
    names = [name for name in rows[0] if name not in ("label_text", "split")]
    categorical = [name for name in names if name not in numeric]
    columns = np.column_stack(
        [codes([row[name] for row in rows]) for name in categorical]
        + [[float(row[name] or "nan") for row in rows] for name in numeric]
    )
    labels = np.array([row["label_text"] == label for row in rows], float)
    split = np.array([row["split"] for row in rows])
    given = lightgbm.Dataset(
        columns[split == "train"],
        labels[split == "train"],
        categorical_feature=list(range(len(categorical))),
    )
    how = {"objective": "binary", "verbosity": -1, "deterministic": True, "force_col_wise": True}
    predicted = lightgbm.train(how | {"num_threads": 1}, given, 100).predict(columns[split == "test"])
    return roc_auc_score(labels[split == "test"], predicted), log_loss(labels[split == "test"], predicted)


def codes(texts: list[str]) -> NDArray[np.floating]:
    known = {text: code for code, text in enumerate(sorted({*texts} - {""}))}
    return np.array([known.get(text, np.nan) for text in texts])


def prepared(rows: Rows, numeric: list[str], label: str, folder: Path) -> tuple[float, float]:
    names = [name for name in rows[0] if name not in ("label_text", "split")]
    table = pa.table({name: [row[name] or None for row in rows] for name in rows[0]})
    pyarrow.csv.write_csv(table, folder / "rows.csv")
    spec = {
        "name": "rows",
        "description": "a table as texts",
        "files": {"rows.csv": {}},
        "rows": "SELECT * FROM read_csv('{rows.csv}', header = true, quote = '\"', all_varchar = true)",
        "split": {"by": "column", "column": "split"},
        "label": f"label_text = '{label}'",
        "features": [
            {"type": "categorical", "columns": [name for name in names if name not in numeric]},
            {"type": "numeric", "columns": numeric, "standardize": True},
        ],
    }
    prepare(DatasetSpec.from_dict(spec), Options(folder, out=folder / "data"))
    recipe = TrainingSpec.from_dict({"data": "rows", "model": {"name": "lightgbm"}, "threads": 1})
    found = train(recipe, data=folder / "data", out=folder / "runs", report=silent)
    return found.result.metrics["test"]["auc"], found.result.metrics["test"]["logloss"]


def divided(rows: Rows, key: str | None = None) -> Rows:
    """With a random split, by the values of `key` where one is given."""
    values = [row.get(key or "", str(index)) for index, row in enumerate(rows)]
    draw = np.random.default_rng(0)
    chosen = {
        value: draw.choice(["train", "valid", "test"], p=[0.7, 0.1, 0.2]) for value in sorted({*values})
    }
    return [row | {"split": chosen[value]} for row, value in zip(rows, values, strict=True)]


def test_as_good_as_on_the_raw_table(tmp_path: Path) -> None:
    """Missing values of both kinds, zeros, and numbers with more distinct values than LightGBM has bins."""
    draw = np.random.default_rng(1)
    count = 3000
    number = draw.normal(100, 60, count).round(6)
    skewed = np.maximum(0, draw.normal(-1, 3, count)).round(6)
    letters = draw.choice([*"abcdefghijkl"], count)
    logit = number / 60 - skewed + np.isin(letters, [*"aceg"]) * 2 - 2
    clicks = draw.random(count) < 1 / (1 + np.exp(-logit))
    missing = draw.random((2, count)) < 0.15
    rows = [
        {
            "letter": "" if missing[0, i] else letters[i],
            "number": "" if missing[1, i] else str(number[i]),
            "skewed": str(skewed[i]),
            "label_text": "yes" if clicks[i] else "no",
        }
        for i in range(count)
    ]
    rows, numeric = divided(rows), ["number", "skewed"]
    expected = by_hand(rows, numeric, "yes")
    assert prepared(rows, numeric, "yes", tmp_path) == pytest.approx(expected, abs=1e-6)
    assert expected[0] > 0.75


BANK = "age duration campaign pdays previous emp.var.rate cons.price.idx cons.conf.idx euribor3m nr.employed"
DIABETES = (
    "time_in_hospital num_lab_procedures num_procedures num_medications number_outpatient "
    "number_emergency number_inpatient number_diagnoses"
)


@pytest.mark.realdata
@pytest.mark.parametrize("left_out", [set(), {"duration"}], ids=["all", "without duration"])
def test_on_bank_marketing(real_data: Path, tmp_path: Path, left_out: set[str]) -> None:
    with (real_data / "bank" / "bank-additional-full.csv").open(newline="") as file:
        raw = [*csv.DictReader(file, delimiter=";")]
    rows = divided(
        [{k: row[k] for k in row if k not in left_out | {"y"}} | {"label_text": row["y"]} for row in raw]
    )
    numeric = [name for name in BANK.split() if name not in left_out]
    expected = by_hand(rows, numeric, "yes")
    assert prepared(rows, numeric, "yes", tmp_path) == pytest.approx(expected, abs=1e-4)


@pytest.mark.realdata
def test_on_diabetes(real_data: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(real_data / "diabetes130" / "dataset_diabetes.zip") as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("diabetic_data.csv")]
        raw = [*csv.DictReader(archive.read(name).decode().splitlines())]
    rows = divided(raw, "patient_nbr")
    left_out = {"readmitted", "encounter_id", "patient_nbr"}
    rows = [
        {key: "" if row[key] == "?" else row[key] for key in row if key not in left_out}
        | {"label_text": row["readmitted"]}
        for row in rows
    ]
    expected = by_hand(rows, DIABETES.split(), "<30")
    assert prepared(rows, DIABETES.split(), "<30", tmp_path) == pytest.approx(expected, abs=1e-4)
