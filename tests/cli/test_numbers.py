"""Numeric features of every encoding, through all commands from `flops` to `export`."""

import json
import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.cli.conftest import Wukong

DATASET = """\
name: counts
description: one number, read in five ways
files: {counts.csv: {}}
rows: SELECT *, x AS b, x AS sb, x AS p, x AS l FROM read_csv('{counts.csv}', header=true, all_varchar=true)
split: {by: order, ratio: {train: 4, valid: 1, test: 1}}
label: label
features:
  - {type: numeric, columns: [x]}
  - {type: numeric, columns: [b], encoding: bins, bins: 9}
  - {type: numeric, columns: [sb], encoding: scalar+bins, bins: 9}
  - {type: numeric, columns: [p], encoding: piecewise, bins: 9}
  - {type: numeric, columns: [l], encoding: log2}
"""
RECIPE = "data: counts\ndefaults: fixed\nmodel: {name: dcnv2, width: 4}\nbatch_size: 100\nthreads: 1\n"


@pytest.fixture
def folder(wukong: Wukong, tmp_path: Path) -> Path:
    rng = random.Random(0)
    values = [
        rng.choice(["", "0", "0", str(rng.randint(1, 9)), repr(rng.expovariate(0.01))]) for _ in range(600)
    ]
    lines = ["label,x", *(f"{int(rng.random() < 0.4)},{value}" for value in values)]
    (tmp_path / "counts.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "new.csv").write_text("\n".join([lines[0], *lines[501:]]) + "\n")
    (tmp_path / "counts.yaml").write_text(DATASET)
    (tmp_path / "mine.yaml").write_text(RECIPE)
    return tmp_path


def test_numeric_encodings_from_table_to_export(
    wukong: Wukong, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = wukong("prepare", "./counts.yaml", "--json").json
    assert done["features"] == 5
    shown = wukong("datasets", "show", "counts").out
    assert "numeric, scalar+bins" in shown
    assert "b_bin" not in shown
    run = wukong("train", "mine.yaml", "--json").json["run"]
    assert wukong("evaluate", run, "--predictions", "expected.parquet").code == 0
    assert wukong("predict", run, "new.csv").code == 0
    expected = pq.read_table("expected.parquet")["logit"].to_numpy()
    assert pq.read_table("predictions.parquet")["logit"].to_numpy() == pytest.approx(expected, abs=1e-6)

    found = wukong("export", run, "--json").json
    assert found["largest_difference"]["model.pt2"] <= 1e-5
    signature = json.loads((folder / found["path"] / "signature.json").read_text())
    program = torch.export.load(folder / found["path"] / "model.pt2").module()
    cells = [line.partition(",")[2] for line in (folder / "new.csv").read_text().splitlines()[1:]]
    ids, dense = by_hand(signature, [float(cell) if cell else float("nan") for cell in cells])
    logits, _ = program(torch.from_numpy(ids), torch.from_numpy(dense))
    assert logits.detach().numpy() == pytest.approx(expected, abs=1e-5)


def by_hand(signature: dict, values: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """The inputs of an exported program, from numbers and its signature."""
    x, features = np.array(values), signature["features"]
    missing = np.isnan(x)
    ids, dense = [], []
    for name in signature["inputs"]["ids"]:
        ids.append(np.where(missing, 0, 2 + np.searchsorted(features[name]["edges"], x, side="left")))
    for name in signature["inputs"]["dense"]:
        page = features[name]
        if page["type"] == "piecewise":
            place = np.interp(x, page["edges"], np.arange(len(page["edges"])))
            dense.append(np.where(missing, -1, place))
        else:
            dense.append(np.where(missing, 0, (x - page["mean"]) / page["std"]))
    return np.stack(ids, 1).astype(np.int32), np.stack(dense, 1).astype(np.float32)


def test_flops_counts_the_maximum_number_of_bins_with_a_warning(wukong: Wukong, folder: Path) -> None:
    (folder / "counts.yaml").write_text(
        DATASET.replace("label: label", "label: label\ncardinalities: {b: 11}")
    )
    before = wukong("flops", "mine.yaml", "--json")
    assert before.code == 0
    shown = wukong("flops", "mine.yaml")
    said = "counted with the maximum number of bins of `sb` (9), `p` (9)"
    assert said in shown.err
    assert "unknown" in shown.out  # how many buckets `log2` has
    assert before.json[0]["macs"] == before.json[0]["traced_macs"]
    assert wukong("prepare", "./counts.yaml").code == 0
    after = wukong("flops", "mine.yaml")
    assert "bins" not in after.err
    assert "unknown" not in after.out
    # The lowest bin of `p` has only zero: one piece less, of width 4.
    assert wukong("flops", "mine.yaml", "--json").json[0]["macs"] == before.json[0]["macs"] - 4


def test_divergence_hint_names_unscaled_inputs_first(wukong: Wukong, folder: Path) -> None:
    text = DATASET.replace("columns: [x]}", "columns: [time], standardize: false}")
    text = text.replace("SELECT *,", "SELECT *, 1.6e18 + length(x) * 1e12 AS time,")
    (folder / "counts.yaml").write_text(text)
    assert wukong("prepare", "./counts.yaml").code == 0
    failed = wukong("train", "mine.yaml", "--set", "optimizer.dense.lr=10", "--set", "model.name=mlp")
    assert failed.code == 1
    assert "the run diverged" in failed.err
    hint = (
        "`time` is not scaled and reaches 1.6e+18: set `standardize: true` for it in the recipe of dataset "
        "`counts`, then run `wukongctl prepare ./counts.yaml --force`"
    )
    assert hint in " ".join(failed.err.split())
