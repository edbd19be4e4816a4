"""AUCs of single features against scikit-learn, and the leaks they reveal."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from tests.data.test_prepare import own, run
from wukongctl.config.dataset import SplitName
from wukongctl.data.manifest import DataFile, Split
from wukongctl.data.pipeline import strength


def written(folder: Path, name: SplitName, table: pa.Table, *, files: int = 1, row_group: int = 500) -> Split:
    """A split as `prepare` writes it, in so many files."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    step, written = -(-table.num_rows // files), []
    for index in range(files):
        path = f"{name}/part-{index:05}.parquet"
        part = table.slice(index * step, step)
        pq.write_table(part, folder / path, row_group_size=row_group)
        written.append(DataFile(path=path, rows=part.num_rows, bytes=(folder / path).stat().st_size))
    positives = int(np.asarray(table["label"]).sum())
    return Split(rows=table.num_rows, positives=positives, files=tuple(written))


def rows(seed: int, count: int = 2000) -> pa.Table:
    """Clicks, with columns that say nothing, something and everything about them."""
    rng = np.random.default_rng(seed)
    click = rng.random(count) < 0.3
    noisy = np.where(rng.random(count) < 0.2, ~click, click)
    dwell = np.where(click, rng.gamma(2, 20, count), 0)
    return pa.table(
        {
            "label": pa.array(click.astype(np.uint8)),
            "nothing": pa.array(rng.integers(2, 40, count), pa.int32()),
            "something": pa.array(2 + noisy, pa.int32()),
            "click_id": pa.array(np.where(click, rng.integers(1, 900, count), 0), pa.int32()),
            "dwell": pa.array(dwell.astype(np.float32)),
            "null_where_not": pa.array(np.where(click, 1.0, np.nan).astype(np.float32), from_pandas=True),
            "sign": pa.array(np.where(click, 1, -1), pa.float32()),
            "either_end": pa.array(
                np.where(click, rng.choice([-1.0, 1.0], count), 0.1 * rng.normal(size=count)), pa.float32()
            ),
            "basket": pa.array([[7, 8][: int(c) * 2] for c in click], pa.list_(pa.int32())),
            "tags": pa.array(
                [rng.integers(2, 9, n).tolist() for n in rng.integers(0, 4, count)], pa.list_(pa.int32())
            ),
        }
    )  # fmt: skip


NAMES = rows(0, 1).column_names[1:]
LEAKS = ("click_id", "null_where_not", "dwell", "sign", "either_end", "basket")


def test_columns_filled_only_where_clicked_have_an_auc_of_one(tmp_path: Path) -> None:
    splits = {name: written(tmp_path, name, rows(seed)) for seed, name in enumerate(("train", "valid"))}
    found = strength.measure(tmp_path, splits, NAMES)
    assert list(found) == NAMES
    assert all(found[name] > 0.999 for name in LEAKS), found
    assert found["something"] == pytest.approx(0.8, abs=0.03)
    assert all(0.45 < found[name] < 0.55 for name in ("nothing", "tags")), found


def test_a_category_is_ranked_by_its_rates_in_train(tmp_path: Path) -> None:
    train, test = rows(0), rows(1)
    splits = {"train": written(tmp_path, "train", train), "test": written(tmp_path, "test", test)}
    learned = np.asarray(train["label"]), np.asarray(train["nothing"])
    prior = learned[0].mean()
    rates = {
        value: (learned[0][learned[1] == value].sum() + 10 * prior) / ((learned[1] == value).sum() + 10)
        for value in set(learned[1])
    }
    scores = [rates.get(value, prior) for value in np.asarray(test["nothing"])]
    expected = roc_auc_score(np.asarray(test["label"]), scores)
    assert strength.measure(tmp_path, splits, ["nothing"])["nothing"] == pytest.approx(expected)


def test_files_and_row_groups_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strength, "ROWS", 900)
    found = []
    for files, row_group in ((1, 10_000), (3, 70)):
        folder = tmp_path / str(files)
        splits = {
            name: written(folder, name, rows(seed), files=files, row_group=row_group)
            for seed, name in enumerate(("train", "test"))
        }
        found.append(strength.measure(folder, splits, NAMES))
    assert found[0] == found[1]
    assert all(found[0][name] > 0.99 for name in LEAKS)


def test_rows_are_sampled_from_the_whole_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strength, "ROWS", 80)
    table = rows(0, 1000).append_column("place", pa.array(np.arange(1000, dtype=np.float32)))
    sample = strength._Sample(tmp_path, written(tmp_path, "train", table, files=2, row_group=77))
    places = sample.column("place").to_numpy()
    assert places.tolist() == [start + i for start in range(0, 1000, 125) for i in range(10)]
    assert sample.labels.tolist() == (np.asarray(table["label"])[places.astype(int)] > 0).tolist()


def test_without_a_held_out_split_of_both_classes_train_is_halved(tmp_path: Path) -> None:
    table = rows(0)
    negatives = table.filter(pa.array(np.asarray(table["label"]) == 0))
    splits = {"train": written(tmp_path, "train", table), "valid": written(tmp_path, "valid", negatives)}
    for held in (splits, {"train": splits["train"]}):
        found = strength.measure(tmp_path, held, NAMES)
        assert all(found[name] > 0.999 for name in LEAKS)
        assert 0.45 < found["nothing"] < 0.55  # memorized rates would rank the very rows they come from
    assert strength.measure(tmp_path, {"train": splits["valid"]}, NAMES) == {}


def test_too_few_rows_give_no_auc(tmp_path: Path) -> None:
    splits = {name: written(tmp_path, name, rows(3, 30)) for name in ("train", "valid")}
    assert strength.measure(tmp_path, splits, NAMES) == {}


def test_long_lists_are_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = {name: written(tmp_path, name, rows(seed)) for seed, name in enumerate(("train", "test"))}
    whole = strength.measure(tmp_path, splits, ["basket", "tags"])
    monkeypatch.setattr(strength, "ITEMS", 400)
    part = strength.measure(tmp_path, splits, ["basket", "tags"])
    assert part["basket"] == whole["basket"] == 1
    assert part["tags"] != whole["tags"]


@given(scores=st.lists(st.integers(0, 5), min_size=2, max_size=60), flip=st.integers(1, 59))
def test_auc_equals_that_of_scikit_learn(scores: list[int], flip: int) -> None:
    labels = np.arange(len(scores)) < min(flip, len(scores) - 1)
    found = strength.auc(np.array(scores, float), labels)
    assert found == pytest.approx(roc_auc_score(labels, scores))


def test_a_leak_is_reported_in_the_manifest(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [
        f"{int(c)},{rng.integers(5)},{'k' + str(i) if c else ''}" for i, c in enumerate(rng.random(600) < 0.4)
    ]
    (tmp_path / "clicks.csv").write_text("\n".join(["label,a,click_id", *lines]) + "\n")
    features: list[dict[str, Any]] = [{"type": "categorical", "columns": ["a", "click_id"]}]
    prepared = run(own(features=features), tmp_path, tmp_path / "out")
    assert prepared.statistics is not None
    assert prepared.statistics.features["click_id"].auc == 1
    assert prepared.statistics.features["a"].auc == pytest.approx(0.5, abs=0.1)
    (note,) = [note for note in prepared.problems if "AUC" in note]
    assert note == "`click_id` alone gives AUC 1.0000: leave it out if it is known only after the label"
    without = run(own(), tmp_path, tmp_path / "without")
    assert not [note for note in without.problems if "AUC" in note]
