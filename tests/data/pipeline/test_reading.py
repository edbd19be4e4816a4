"""Reading raw rows in threads."""

import subprocess
import sys
from collections.abc import Iterator

from wukongctl.data.pipeline import reading


def test_no_thread_is_the_first_to_import_numpy_ma() -> None:
    # pyarrow looks up `numpy.ma` for every array with a mask, and NumPy imports it then. In two threads at
    # once, the lookup may recurse endlessly, as seen once on a busy machine.
    check = "import wukongctl.data.pipeline.reading, numpy; assert 'ma' in vars(numpy)"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_reading_waits_for_a_slow_writer() -> None:
    read: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(50):
            read.append(number)
            yield number

    for number, done in enumerate(reading.in_order(lambda x: 2 * x, numbers(), 2)):
        assert done == 2 * number
        assert len(read) <= number + reading.IN_FLIGHT
    assert len(read) == 50


def test_batches_are_sized_by_the_memory_limit() -> None:
    assert reading.batch_rows(1 << 20, 39, 2) == reading.MIN_BATCH_ROWS
    assert reading.batch_rows(1 << 40, 39, 16) == reading.BATCH_ROWS
    for threads, batches in ((1, 4), (2, 4), (16, 18)):
        assert reading.in_flight(threads) == batches
        ahead = reading.batch_rows(300_000_000, 39, threads) * 39 * reading.VALUE_BYTES * batches
        assert ahead <= 300_000_000 / 4 < 2 * ahead
