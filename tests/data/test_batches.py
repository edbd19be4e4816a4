"""Batches: every row once per epoch, from any step on, with the bits of the files."""

import json
import threading
from collections import Counter
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data import raw
from tests.data.test_prepare import own, run, shipped
from tests.examples import examples
from wukongctl.data import batches, manifest
from wukongctl.data.batches import BatchReader
from wukongctl.data.manifest import Manifest
from wukongctl.data.options import Options
from wukongctl.data.pipeline import writer
from wukongctl.data.prepare import prepare
from wukongctl.data.schema import Batch
from wukongctl.errors import RunFailed, UsageError

ROWS = 1003


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All column types, in many small row groups over several files."""
    folder = tmp_path_factory.mktemp("batches")
    lines = ["label,a,n,s,r,p"]
    lines += [
        f"{i % 3 % 2},v{i % 97},{i},{'^'.join(map(str, range(i % 5)))},{'^'.join('xyz'[: i % 4])},"
        f"0.{i % 9 + 1}"
        for i in range(ROWS + 40)
    ]
    (folder / "clicks.csv").write_text("\n".join(lines) + "\n")
    spec = own(
        probability="p::DOUBLE",
        split={"by": "order", "ratio": {"train": ROWS, "test": 40}},
        features=[
            {"type": "sequence", "columns": ["s"], "separator": "^", "max_len": 3},
            {"type": "sequence", "columns": ["r"], "separator": "^", "max_len": 2, "padding": "pre"},
            {"type": "numeric", "columns": ["n"], "standardize": False},
            {"type": "categorical", "columns": ["a"]},
        ],
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer.SplitWriter.__init__, "__kwdefaults__", {"row_group": 64, "per_file": 3})
        run(spec, folder, folder)
    assert len(manifest.read(folder / "own").splits["train"].files) == 6
    return folder / "own"


def reader(folder: Path, **changes: Any) -> BatchReader:
    options: dict[str, Any] = {"batch_size": 50, "shuffle": True, "seed": 3}
    return BatchReader(folder, manifest.read(folder), "train", **(options | changes))


def flat(some: list[Batch]) -> list[tuple[Any, ...]]:
    """Rows of batches, as plain tuples of bits."""
    rows: list[tuple[Any, ...]] = []
    for batch in some:
        assert batch.probability is not None
        parts = (batch.ids, batch.dense, batch.labels[:, None], batch.probability[:, None])
        rows += [tuple(row) for row in torch.cat([part.double() for part in parts], dim=1).tolist()]
    return rows


def expected(folder: Path) -> list[tuple[Any, ...]]:
    table = pq.read_table(sorted((folder / "train").glob("*.parquet"))).to_pydict()
    return [
        (a, *(post + [0] * 3)[:3], *([0] * 2 + pre)[-2:], n, label, np.float32(p))
        for a, post, pre, n, label, p in zip(
            *(table[c] for c in ("a", "s", "r", "n", "label", "probability")), strict=True
        )
    ]


def test_unshuffled_batches_are_the_rows_of_the_files(dataset: Path) -> None:
    found = list(reader(dataset, shuffle=False).epoch(0))
    assert flat(found) == expected(dataset)
    assert [len(batch.labels) for batch in found] == [50] * 20 + [3]
    first = found[0]
    assert (first.ids.dtype, first.dense.dtype, first.labels.dtype) == (
        torch.int32,
        torch.float32,
        torch.float32,
    )
    assert (first.ids.shape, first.dense.shape) == ((50, 6), (50, 1))
    assert all(part.is_contiguous() for part in first if part is not None)


@settings(max_examples=examples(15), deadline=None)
@given(
    batch_size=st.integers(1, 1100),
    epoch=st.integers(0, 5),
    seed=st.integers(-(2**40), 2**40),
    shuffle=st.booleans(),
    data=st.data(),
)
def test_an_epoch_has_every_row_once_and_resumes_at_any_step(
    dataset: Path, batch_size: int, epoch: int, seed: int, shuffle: bool, data: st.DataObject
) -> None:
    split_reader = reader(dataset, batch_size=batch_size, seed=seed, shuffle=shuffle)
    whole = list(split_reader.epoch(epoch))
    assert len(whole) == split_reader.steps_per_epoch
    assert Counter(flat(whole)) == Counter(expected(dataset))
    step = data.draw(st.integers(0, len(whole)))
    fresh = reader(dataset, batch_size=batch_size, seed=seed, shuffle=shuffle)
    tail = list(fresh.epoch(epoch, start_step=step))
    assert len(tail) == len(whole) - step
    for left, right in zip(tail, whole[step:], strict=True):
        assert all(
            torch.equal(x, y) for x, y in zip(left, right, strict=True) if x is not None and y is not None
        )


@settings(max_examples=examples(15), deadline=None)
@given(
    threads=st.integers(2, 9),
    batch_size=st.integers(1, 1100),
    seed=st.integers(0, 2**40),
    shuffle=st.booleans(),
    start=st.integers(0, 3),
    then_next=st.booleans(),
)
def test_any_number_of_threads_gives_the_same_bits_in_the_same_order(
    dataset: Path, threads: int, batch_size: int, seed: int, shuffle: bool, start: int, then_next: bool
) -> None:
    options = {"batch_size": batch_size, "seed": seed, "shuffle": shuffle}
    one, several = reader(dataset, **options), reader(dataset, **options, threads=threads)
    steps = min(start, one.steps_per_epoch)
    for epoch, first in ((0, steps), (1, 0), (2, 0)):
        found = list(several.packed(epoch, first, then_next=then_next))
        for left, right in zip(one.packed(epoch, first), found, strict=True):
            assert torch.equal(left, right)


def test_the_next_epoch_is_read_before_this_one_ends(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split_reader, plain = reader(dataset), reader(dataset)
    *_, last = split_reader.packed(0, then_next=True)
    places = list(split_reader.places(1))  # has no use for what is being read
    list(split_reader.packed(0, then_next=True))
    assert split_reader._begun is not None
    for future in split_reader._begun[2].reading:
        future.result()
    loaded: list[int] = []
    original = split_reader._load

    def load(pool: Executor, window: list[Any], position: tuple[int, int], source: Any) -> Any:
        loaded.append(position[1])
        return original(pool, window, position, source)

    monkeypatch.setattr(split_reader, "_load", load)
    assert torch.equal(next(split_reader.packed(1)), next(plain.packed(1)))
    assert loaded == [1]
    assert [len(rows) for rows in places] == [len(rows) for rows in plain.packed(1)]
    assert len(last) == ROWS % 50


def test_what_was_begun_for_another_epoch_is_read_again(dataset: Path) -> None:
    split_reader, plain = reader(dataset), reader(dataset)
    list(split_reader.packed(0, then_next=True))
    for epoch, step in ((2, 0), (1, 3)):
        for left, right in zip(split_reader.packed(epoch, step), plain.packed(epoch, step), strict=True):
            assert torch.equal(left, right)


def test_the_next_window_is_read_by_a_thread_that_ends_with_the_epoch(dataset: Path) -> None:
    before = threading.active_count()
    epoch = reader(dataset).epoch(0)
    next(epoch)
    assert threading.active_count() == before + 1
    epoch.close()
    assert threading.active_count() == before


def test_errors_of_the_reader_thread_are_raised(dataset: Path, tmp_path: Path) -> None:
    folder, prepared = copy(dataset, tmp_path)
    split_reader = BatchReader(folder, prepared, "train", batch_size=50, shuffle=False, seed=0)
    last = folder / "train/part-00005.parquet"
    last.write_bytes(bytes(last.stat().st_size))
    found = []
    with pytest.raises(RunFailed, match=r"part-00005.parquet` cannot be read"):
        found.extend(split_reader.epoch(0))
    assert len(found) >= 19  # all batches before it


def test_epochs_and_seeds_differ_and_are_repeatable(dataset: Path) -> None:
    orders = {
        (seed, epoch): tuple(flat(list(reader(dataset, seed=seed).epoch(epoch))))
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(set(orders.values())) == 4
    assert tuple(flat(list(reader(dataset, seed=1).epoch(1)))) == orders[1, 1]


def test_shuffle_reaches_across_row_groups(dataset: Path) -> None:
    first = next(reader(dataset, batch_size=64).epoch(0))
    groups = Counter((first.dense[:, 0] // 64).int().tolist())
    assert len(groups) >= batches.WINDOW - 1


def test_seeking_reads_only_later_row_groups(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split_reader = reader(dataset)
    reads: list[int] = []
    original = pq.ParquetFile.read_row_group

    def counted(self: pq.ParquetFile, index: int, **options: Any) -> Any:
        reads.append(index)
        return original(self, index, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    next(split_reader.epoch(0, start_step=19))
    assert len(reads) <= 2 * batches.WINDOW
    assert len(reads) < 16


def test_an_unknown_split_suggests_a_similar_one(dataset: Path) -> None:
    with pytest.raises(UsageError, match="has no split `tets`") as failure:
        BatchReader(dataset, manifest.read(dataset), "tets", batch_size=5, shuffle=False, seed=0)
    assert "test" in str(failure.value.hint)


def copy(dataset: Path, tmp_path: Path) -> tuple[Path, Manifest]:
    prepared = manifest.read(dataset)
    for file in dataset.rglob("*"):
        if file.is_file():
            target = tmp_path / "own" / file.relative_to(dataset)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    return tmp_path / "own", prepared


def test_missing_and_damaged_files_are_errors(dataset: Path, tmp_path: Path) -> None:
    folder, prepared = copy(dataset, tmp_path)
    options: dict[str, Any] = {"batch_size": 50, "shuffle": False, "seed": 0}
    file = folder / "train/part-00001.parquet"
    whole = file.read_bytes()
    split_reader = BatchReader(folder, prepared, "train", **options)
    file.write_bytes(bytes(len(whole)))
    with pytest.raises(RunFailed, match=r"part-00001.parquet` cannot be read"):
        list(split_reader.epoch(0))
    with pytest.raises(RunFailed, match=r"part-00001.parquet` cannot be read"):
        BatchReader(folder, prepared, "train", **options)
    file.write_bytes(whole[:-9])
    with pytest.raises(RunFailed, match=r"has [\d,]+ bytes instead of"):
        BatchReader(folder, prepared, "train", **options)
    file.unlink()
    with pytest.raises(RunFailed, match=r"part-00001.parquet` is missing") as failure:
        manifest.read(folder)
    assert "--force" in str(failure.value.hint)


def test_a_file_with_other_columns_is_an_error(dataset: Path, tmp_path: Path) -> None:
    folder, prepared = copy(dataset, tmp_path)
    file = folder / "train/part-00000.parquet"
    table = pq.read_table(file)
    pq.write_table(
        table.rename_columns(["label", "s", "r", "n", "other", "probability"]), file, row_group_size=64
    )
    text = (folder / "manifest.json").read_text()
    content = json.loads(text)
    content["splits"]["train"]["files"][0]["bytes"] = file.stat().st_size
    changed = Manifest.from_dict(content)
    assert changed != prepared
    with pytest.raises(RunFailed, match="cannot be read"):
        list(BatchReader(folder, changed, "train", batch_size=9, shuffle=False, seed=0).epoch(0))


def test_dataset_without_ids_or_without_numbers(tmp_path: Path) -> None:
    raw.frappe(tmp_path)
    prepared = run(shipped("frappe"), tmp_path, tmp_path / "out", verify=False)
    split_reader = BatchReader(
        tmp_path / "out/frappe", prepared, "valid", batch_size=7, shuffle=False, seed=0
    )
    batch = next(split_reader.epoch(0))
    assert batch.ids.shape == (7, 10)
    assert batch.dense.shape == (7, 0)
    assert batch.probability is None
    (tmp_path / "clicks.csv").write_text("label,n\n1,5\n0,6\n1,7\n")
    spec = own(features=[{"type": "numeric", "columns": ["n"], "standardize": False}])
    only = prepare(spec, Options(tmp_path, out=tmp_path / "out", source=tmp_path))
    batch = next(
        BatchReader(tmp_path / "out/own", only, "train", batch_size=7, shuffle=True, seed=0).epoch(0)
    )
    assert batch.ids.shape == (2, 0)
    assert sorted(batch.dense[:, 0].tolist()) == [5.0, 6.0]


def test_schema_and_batch_agree_for_every_column(tmp_path: Path) -> None:
    raw.ml_100k(tmp_path)
    prepared = run(shipped("ml-100k"), tmp_path, tmp_path / "out", verify=False)
    schema = prepared.schema()
    split_reader = BatchReader(
        tmp_path / "out/ml-100k", prepared, "train", batch_size=1000, shuffle=False, seed=0
    )
    (batch,) = split_reader.epoch(0)
    assert batch.ids.shape[1] == schema.id_columns == 5 + 6
    assert batch.dense.shape[1] == len(schema.numeric) == 2
    for column in range(len(schema.categorical)):
        assert int(batch.ids[:, column].max()) < schema.table_rows[column]
    genres = schema.sequences[0]
    assert genres.table == 5
    assert int(batch.ids[:, 5:].max()) == schema.table_rows[genres.table] - 1
    assert batch.dense.mean(dim=0).abs().max() < 1e-5
