"""Rows in memory, on disk, and moved from one to the other give the same batches and the same datasets."""

import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.test_prepare import own, run
from tests.examples import examples
from wukongctl.config.dataset import DatasetSpec
from wukongctl.data.manifest import Manifest
from wukongctl.data.pipeline import lookup, reading, spool, store
from wukongctl.data.pipeline.store import HeldRows, Rows, RowWriter, SpooledRows
from wukongctl.data.pipeline.vocabulary import Vocabulary
from wukongctl.data.progress import Progress
from wukongctl.data.statistics import VocabularyStatistics

TEXTS = st.none() | st.sampled_from(["a", "b", "", "  ", "é", "twelve bytes", "long enough to be kept apart"])
ROWS = st.lists(st.tuples(TEXTS, st.lists(TEXTS, max_size=5), st.none() | st.floats(-9, 9)), max_size=12)
KINDS = [pa.string(), pa.string_view()]


def plain(text: str | None) -> str | None:
    return text if text is not None and text.strip(" ") else None


def batch_of(rows: list[tuple[Any, ...]], kind: pa.DataType) -> pa.RecordBatch:
    """A column of text, one of lists and one of numbers, in compact form."""
    texts = pa.array([text for text, _, _ in rows], kind)
    lists = pa.array([items for _, items, _ in rows], pa.list_(pa.string()))
    # A slice, as DuckDB and filters may return one, does not start at its first value.
    longer = pa.concat_arrays([pa.array([["x", "y"]], lists.type), lists])[1:].cast(pa.list_(kind))
    numbers = pa.array([number for _, _, number in rows], pa.float64())
    return pa.record_batch([spool.coded(texts), spool.coded(longer), numbers], ["f0", "f1", "f2"])


def looked_up(rows: Rows, feature: int) -> list[list[str | None]]:
    """The value behind each code of each batch, by way of ids."""
    known: list[str | None] = []

    def number(values: pa.Array) -> np.ndarray:
        start = len(known)
        known.extend(values.to_pylist())
        return np.arange(start, len(known), dtype=np.int32)

    each = rows.ids(feature, map(number, rows.values(feature)))
    found = []
    for (column,), ids in zip((batch.columns for batch in rows.read([f"f{feature}"])), each, strict=True):
        codes = column.values if isinstance(column, pa.ListArray) else column
        found.append([known[place] for place in ids[codes.indices.to_numpy()]])
    return found


@settings(max_examples=examples(30), deadline=None)
@given(
    batches=st.lists(st.tuples(ROWS, st.sampled_from(KINDS)), max_size=4),
    free=st.sampled_from([-1.0, 100.0, 300.0, 1e9]),
)
def test_stored_codes_stand_for_the_values_that_were_read(
    batches: list[tuple[list[tuple[Any, ...]], pa.DataType]],
    free: float,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    writer = RowWriter(folder, free)
    for rows, kind in batches:
        writer.append(batch_of(rows, kind))
    held = writer.close()
    if held is not None:
        held.unify(0)
        held.unify(1)
        assert not list(folder.iterdir())
    found = held or SpooledRows(folder)
    each = [rows for rows, _ in batches]
    assert looked_up(found, 0) == [[plain(text) for text, _, _ in rows] for rows in each]
    assert looked_up(found, 1) == [[plain(item) for _, items, _ in rows for item in items] for rows in each]
    numbers = [batch.column(0).to_pylist() for batch in found.read(["f2"])]
    assert numbers == [[number for _, _, number in rows] for rows in each]
    found.discard()
    assert not list(found.read(["f0"]))
    assert not list(folder.iterdir())


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.uint64()], ids=str)
def test_integers_are_coded_as_their_texts(kind: pa.DataType) -> None:
    least, most = (0, 2**64 - 1) if kind == pa.uint64() else (-(2 ** (kind.bit_width - 1)), 100)
    numbers = [7, None, least, 7, most, 0]
    column = spool.coded(pa.array(numbers, kind))
    texts = [None if number is None else str(number) for number in numbers]
    assert column.to_pylist() == texts
    assert spool.text(spool.values(column)).to_pylist() == list(dict.fromkeys(texts))


def test_a_text_is_kept_once_in_memory() -> None:
    batches = [batch_of([("a", ["b", None], None), ("x" * 20, ["b"], 1.0)], pa.string_view())] * 50
    rows = HeldRows(batches)
    rows.unify(0)
    assert [values.to_pylist() for values in rows.values(0)] == [["a", "x" * 20]]
    assert {batch.column(0).dictionary.type for batch in rows.read(["f0"])} == {pa.int32()}


def test_numbers_in_memory_do_not_keep_the_batch_they_came_with() -> None:
    whole = np.arange(1_000_000, dtype=np.float64)
    part = pa.Array.from_buffers(pa.float64(), 4, [None, pa.py_buffer(whole)])
    (owned,) = store._owned(pa.record_batch([part], ["f0"])).columns
    assert owned.equals(part)
    assert owned.get_total_buffer_size() < 100


def test_values_are_freed_as_they_are_merged() -> None:
    writer = RowWriter(Path("unused"), 1e9)
    for _ in range(50):
        writer.append(pa.record_batch([spool.coded(pa.array(range(2000)).cast(pa.string_view()))], ["f0"]))
    rows = writer.close()
    assert rows is not None
    before = pa.total_allocated_bytes()
    rows.unify(0)
    assert before - pa.total_allocated_bytes() > 1_000_000  # 50 x 2000 values of 16 bytes, less their places


def test_more_text_than_an_array_can_hold_goes_to_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_BYTES", 10_000)
    writer = RowWriter(tmp_path, 1e9)
    texts = [str(number).rjust(99, "0") for number in range(101)]
    for text in texts:
        writer.append(pa.record_batch([spool.coded(pa.array([text])), pa.array([1.0])], ["f0", "f1"]))
    assert writer.close() is None
    assert [text for values in SpooledRows(tmp_path).values(0) for text in values.to_pylist()] == texts
    monkeypatch.setattr(store, "MAX_BYTES", 20_000)
    writer = RowWriter(tmp_path / "unused", 1e9)
    writer.append(pa.record_batch([spool.coded(pa.array(texts))], ["f0"]))
    assert writer.close() is not None


def test_a_vocabulary_of_more_text_than_an_array_can_hold_is_looked_up_on_disk() -> None:
    statistics = VocabularyStatistics(seen=9, values=9)
    entries = {
        index: Vocabulary(file=str(index), values=9, bytes=size, sha256="", statistics=statistics)
        for index, size in enumerate([store.MAX_BYTES, store.MAX_BYTES + 1])
    }
    small, large = lookup.divide(entries, 1 << 40)
    assert (list(small), list(large)) == ([0], [1])


def table(folder: Path, seed: int, rows: int = 260) -> None:
    """A table with missing, rare, blank, long and repeated values in random proportions."""
    rng = random.Random(seed)
    values, gaps = rng.choice([3, 40, 400]), rng.choice([0.0, 0.1, 0.9])
    long = rng.choice([0.0, 0.05])

    def text() -> str:
        if rng.random() < gaps:
            return rng.choice(["", " "])
        value = str(rng.randint(0, values))
        return value.rjust(14, "0") if rng.random() < long else value

    lines = ["label,a,b,s,t,n,day,split"]
    for _ in range(rows):
        items, more = ("^".join(text() for _ in range(rng.randint(0, 4))) for _ in range(2))
        number = "" if rng.random() < gaps else round(rng.lognormvariate(0, 3), rng.choice([0, 3]))
        where = rng.choice(["train", "train", "valid", "test"])
        lines.append(
            f"{rng.randint(0, 1)},{text()},{text()},{items},{more},{number},{rng.randint(1, 9)},{where}"
        )
    (folder / "clicks.csv").write_text("\n".join(lines) + "\n")
    (folder / "side.csv").write_text("b,group\n" + "".join(f"{b},g{b % 7}\n" for b in range(0, values, 2)))


SPLITS: list[dict[str, Any]] = [
    {"by": "order", "ratio": {"train": 6, "valid": 1, "test": 1}},
    {"by": "hash", "key": "a || b", "ratio": {"train": 8, "test": 2}},
    {"by": "time", "column": "day", "ratio": {"train": 7, "test": 3}},
    {"by": "column", "column": "split"},
]
NUMBERS: list[dict[str, Any]] = [
    {"standardize": True},
    {"transform": "log1p"},
    {"encoding": "bins", "bins": 7},
    {"encoding": "scalar+bins", "bins": 5},
    {"encoding": "piecewise", "bins": 4},
]
READ = "read_csv('{clicks.csv}', header=true, all_varchar=true, delim=',')"


def spec_of(split: int, number: int, compat: str | None, *, joined: bool, shuffled: bool) -> DatasetSpec:
    features = [
        {"type": "categorical", "columns": ["a"], "min_count": 3},
        {"type": "categorical", "columns": ["b", *(["group"] if joined else [])]},
        {"type": "sequence", "columns": ["s"], "separator": "^", "max_len": 3},
        {"type": "sequence", "columns": ["t"], "separator": "^", "max_len": 2, "shares": "b"},
        {"type": "numeric", "columns": ["n"], **NUMBERS[number]},
    ]
    side = (
        " AS log LEFT JOIN read_csv('{side.csv}', header=true, all_varchar=true, delim=',') AS side USING (b)"
    )
    changes: dict[str, Any] = {
        "files": {"clicks.csv": {}, **({"side.csv": {}} if joined else {})},
        "rows": f"SELECT * FROM {READ}{side if joined else ''}",
        "split": SPLITS[split],
        "features": features,
        "compat": compat,
    }
    return own(**changes, **({"shuffle": {"seed": 3}} if shuffled else {}))


def contents(folder: Path, prepared: Manifest) -> dict[str, str]:
    """The files of a dataset but its manifest."""
    files = [path for path in (folder / prepared.dataset).rglob("*.parquet") if "sample" not in path.parts]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


@settings(max_examples=examples(3), deadline=None)
@given(
    seed=st.integers(0, 99),
    split=st.integers(0, len(SPLITS) - 1),
    number=st.integers(0, len(NUMBERS) - 1),
    compat=st.sampled_from([None, None, "bars"]),
    joined=st.booleans(),
    shuffled=st.booleans(),
)
def test_memory_and_disk_give_the_same_files(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    split: int,
    number: int,
    compat: str | None,
    *,
    joined: bool,
    shuffled: bool,
) -> None:
    folder = tmp_path_factory.mktemp("roads")
    table(folder, seed)
    spec = spec_of(split, number, compat, joined=joined, shuffled=shuffled)
    results = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "BATCH_ROWS", 64)
        patch.setattr(reading, "MIN_BATCH_ROWS", 64)
        for road, share, threads in (("memory", 0.25, 2), ("disk", 0.0, 1), ("both", 5e-7, 2)):
            patch.setattr(reading, "HELD_SHARE", share)
            prepared = run(spec, folder, folder / road, threads=threads, memory_limit="4GB")
            results[road] = prepared.fingerprint, prepared.statistics, contents(folder / road, prepared)
    assert len(results["disk"][2]) >= 5
    assert results["memory"] == results["disk"] == results["both"]


@pytest.mark.parametrize(
    ("share", "spooled"), [(0.25, 0), (0.0, 5), (5e-7, 5)], ids=["memory", "disk", "both"]
)
def test_rows_go_to_disk_when_they_do_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, spooled: int
) -> None:
    """Those in memory first, so that none is lost."""
    table(tmp_path, 1)
    monkeypatch.setattr(reading, "BATCH_ROWS", 64)
    monkeypatch.setattr(reading, "MIN_BATCH_ROWS", 64)
    monkeypatch.setattr(reading, "HELD_SHARE", share)
    written: list[int] = []
    append = spool.append
    monkeypatch.setattr(spool, "append", lambda *rest: written.append(rest[1].num_rows) or append(*rest))
    held: list[int] = []
    unify = HeldRows.unify
    monkeypatch.setattr(HeldRows, "unify", lambda *rest: held.append(rest[1]) or unify(*rest))
    run(spec_of(0, 0, None, joined=False, shuffled=False), tmp_path, tmp_path / "out", memory_limit="4GB")
    assert len(written) == spooled
    assert sum(written) == (260 if spooled else 0)
    assert bool(held) == (not spooled)


def stop_at(stage: str) -> Callable[[Progress], None]:
    def stop(at: Progress) -> None:
        if at.stage == stage:
            raise KeyboardInterrupt

    return stop


@pytest.mark.parametrize("share", [0.25, 0.0], ids=["memory", "disk"])
def test_rows_of_an_ended_process_are_read_again_only_from_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    monkeypatch.setattr(reading, "HELD_SHARE", share)
    table(tmp_path, 2)
    spec = spec_of(0, 0, None, joined=False, shuffled=False)

    for stage in ("counting values", "encoding"):
        with pytest.raises(KeyboardInterrupt):
            run(spec, tmp_path, tmp_path / "out", report=stop_at(stage))
    stages: list[str] = []
    again = run(spec, tmp_path, tmp_path / "out", report=lambda at: stages.append(at.stage))
    assert ("reading" in stages) == ("counting values" in stages) == (share > 0)
    assert again.fingerprint == run(spec, tmp_path, tmp_path / "whole").fingerprint


@pytest.mark.parametrize("share", [0.25, 0.0], ids=["memory", "disk"])
def test_a_resumed_sample_has_the_vocabulary_of_its_own_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """Read again, a sample has other rows."""
    monkeypatch.setattr(reading, "HELD_SHARE", share)
    (tmp_path / "clicks.csv").write_text("label,a\n" + "".join(f"{row % 2},{row}\n" for row in range(400)))
    spec = own(rows=f"SELECT * FROM {READ} WHERE random() < 0.5")
    with pytest.raises(KeyboardInterrupt):
        run(spec, tmp_path, tmp_path / "out", report=stop_at("encoding"))
    prepared = run(spec, tmp_path, tmp_path / "out")
    found = prepared.statistics.features["a"]
    assert (found.unknown or {})["train"] == 0
    assert found.seen == prepared.splits["train"].rows
