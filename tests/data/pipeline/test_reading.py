"""Reading raw rows in threads."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.data.test_prepare import own, run
from wukongctl.data.pipeline import reading
from wukongctl.errors import RunFailed
from wukongctl.machine import in_flight


def test_no_thread_is_the_first_to_import_numpy_ma() -> None:
    # pyarrow looks up `numpy.ma` for every array with a mask, and NumPy imports it then. In two threads at
    # once, the lookup may recurse endlessly, as seen once on a busy machine.
    check = "import wukongctl.data.pipeline.reading, numpy; assert 'ma' in vars(numpy)"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_batches_are_sized_by_the_memory_limit() -> None:
    assert reading.batch_rows(1 << 20, 39, 2) == reading.MIN_BATCH_ROWS
    assert reading.batch_rows(1 << 40, 39, 16) == reading.BATCH_ROWS
    for threads, batches in ((1, 4), (2, 4), (16, 18)):
        assert in_flight(threads) == batches
        ahead = reading.batch_rows(300_000_000, 39, threads) * 39 * reading.VALUE_BYTES * batches
        assert ahead <= 300_000_000 / 4 < 2 * ahead


@pytest.mark.parametrize(
    "feature", [{"type": "categorical"}, {"type": "sequence", "separator": "^", "max_len": 9}]
)
def test_more_text_than_arrow_can_address_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, feature: dict[str, Any]
) -> None:
    """With 2 GB in a batch, the process crashed."""
    monkeypatch.setattr(reading, "MAX_BYTES", 10_000)
    rows = [f"{row % 2},{row:099}^{row:099}" for row in range(60)]
    (tmp_path / "clicks.csv").write_text("\n".join(["label,a", *rows]) + "\n")
    with pytest.raises(RunFailed, match=r"`a` has .* GB of text in 60 rows") as error:
        run(own(features=[{"columns": ["a"], **feature}]), tmp_path, tmp_path / "out")
    assert '`"a"[:1000] AS "a"`' in (error.value.hint or "")
    shorter = "SELECT * REPLACE (a[:100] AS a) FROM read_csv('{clicks.csv}', header=true, all_varchar=true)"
    assert run(
        own(rows=shorter, features=[{"columns": ["a"], **feature}]), tmp_path, tmp_path / "out"
    ).features
