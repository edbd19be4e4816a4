"""Reading raw rows in threads."""

import subprocess
import sys

from wukongctl.data.pipeline import reading
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
