"""Row groups, files and digests do not depend on the batches of rows."""

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from wukongctl.data.pipeline.writer import SplitWriter

SCHEMA = pa.schema(
    [("label", pa.uint8()), ("a", pa.int32()), ("s", pa.list_(pa.int32())), ("probability", pa.float32())]
)


def table(start: int, rows: int) -> pa.Table:
    index = range(start, start + rows)
    return pa.table(
        {
            "label": [i % 2 for i in index],
            "a": list(index),
            "s": [[i] * (i % 3) for i in index],
            "probability": [(i % 7 + 1) / 8 for i in index],
        },
        schema=SCHEMA,
    )


def write(folder: Path, sizes: list[int], row_group: int, per_file: int) -> SplitWriter:
    writer = SplitWriter(folder, "train", SCHEMA, row_group=row_group, per_file=per_file)
    start = 0
    for size in sizes:
        writer.write(table(start, size))
        start += size
    return writer


@settings(max_examples=examples(10), deadline=None)
@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=8), per_file=st.integers(1, 3))
def test_batching_does_not_change_files_and_digests(
    sizes: list[int], per_file: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("writer")
    rows = sum(sizes)
    one = write(folder / "one", sizes, 10, per_file)
    two = write(folder / "two", [rows], 10, per_file)
    written = one.close()
    assert written == two.close()  # digests and tallies included
    first = written.split
    assert first.rows == rows
    assert sum(file.rows for file in first.files) == rows
    for file in first.files:
        assert (folder / "one" / file.path).stat().st_size == file.bytes
        metadata = pq.read_metadata(folder / "one" / file.path)
        assert metadata.num_row_groups <= per_file
        assert metadata.num_rows == file.rows
    if rows:
        read = pq.read_table([folder / "one" / file.path for file in first.files])
        assert read.equals(table(0, rows).cast(read.schema))
        probabilities = [(i % 7 + 1) / 8 for i in range(rows)]
        bayes = -sum(p * math.log(p) + (1 - p) * math.log(1 - p) for p in probabilities) / rows
        assert first.bayes_logloss is not None
        assert math.isclose(first.bayes_logloss, bayes, rel_tol=1e-9)


def test_digests_do_not_depend_on_row_groups_but_on_every_value_and_length(tmp_path: Path) -> None:
    small = write(tmp_path / "a", [25], 4, 2)
    large = write(tmp_path / "b", [25], 100, 2)
    assert small.close().digests == large.close().digests
    moved = []
    for name, lists in (("c", [[1], [2, 3]]), ("d", [[1, 2], [3]])):
        writer = SplitWriter(tmp_path / name, "train", SCHEMA)
        writer.write(
            pa.table({"label": [0, 1], "a": [1, 2], "s": lists, "probability": [0.5, 0.5]}, schema=SCHEMA)
        )
        moved.append({column: digest for column, _, digest in writer.close().digests})
    assert moved[0]["s"] != moved[1]["s"]
    assert moved[0]["a"] == moved[1]["a"]
