"""Statistics against plain Python."""

import itertools
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.test_prepare import own, run
from wukongctl.data.statistics import HistogramBar, Top
from wukongctl.data.tallies import BINS, Ranks, Tally, histogram

FLOATS = st.floats(-(2.0**100), 2.0**100, width=32).map(lambda value: value if abs(value) > 1e-30 else 0.0)


def test_manifest_describes_every_feature_and_split(tmp_path: Path) -> None:
    rows = ["1,x,1,p^q", "0,x,,x", "1,y,3,", "0,,4,p", "1,x,2,p^p", "0,z,9,z^x^x"]
    (tmp_path / "clicks.csv").write_text("\n".join(["label,a,n,s", *rows]) + "\n")
    spec = own(
        features=[
            {"type": "categorical", "columns": ["a"], "min_count": 2},
            {"type": "numeric", "columns": ["n"], "standardize": False},
            {"type": "sequence", "columns": ["s"], "separator": "^", "max_len": 2},
        ]
    )
    found = run(spec, tmp_path, tmp_path / "out").statistics
    assert found is not None
    assert found.label_rate == {"train": 0.5, "test": 0.5}
    a, n, s = (found.features[name] for name in "ans")
    assert a.missing == {"train": 0.25, "test": 0}
    assert a.unknown == {"train": 0.333333333, "test": 0.5}  # y is too rare; z was never seen
    assert (a.seen, a.values, a.coverage) == (2, 1, 0.666666667)
    assert a.top == (Top(value="x", count=2),)
    assert a.histogram == (HistogramBar(start=0, stop=1, count=2),)
    assert (n.missing, n.unknown, n.seen) == ({"train": 0.25, "test": 0}, None, None)
    assert (n.mean, n.minimum, n.maximum) == (2.66666667, 1, 4)
    assert n.std == pytest.approx(math.sqrt(14 / 9))
    assert s.missing == {"train": 0.25, "test": 0}
    assert s.unknown == {"train": 0, "test": 0}  # the last two of z, x, x are known
    assert (s.seen, s.values, s.mean, s.maximum) == (3, 3, 1, 2)


@given(values=st.lists(FLOATS, min_size=1, max_size=200), cut=st.integers(0, 200))
def test_tallies_of_numbers_match_numpy(values: list[float], cut: int) -> None:
    whole = Tally()
    for part in (values[:cut], values[cut:]):
        tally = Tally()
        tally.add(pa.array([*part, None], pa.float32()))
        whole.merge(tally)
    assert (whole.rows, whole.missing, whole.items) == (len(values) + 2, 2, len(values))
    assert whole.total == pytest.approx(math.fsum(values), abs=1e-6 * max(map(abs, values)) + 1e-30)
    assert (whole.minimum, whole.maximum) == (min(values), max(values))
    bars = histogram(whole.bins)
    assert len(bars) <= BINS
    assert sum(bar.count for bar in bars) == len(values)
    assert all(left.stop <= right.start for left, right in itertools.pairwise(bars))


@given(values=st.lists(FLOATS, min_size=1, max_size=12))
def test_every_bar_counts_the_values_between_its_ends(values: list[float]) -> None:
    tally = Tally()
    tally.add(pa.array(values, pa.float32()))
    for bar in histogram(tally.bins):
        # Bars of negative values are open on the left instead.
        inside = [
            v for v in values if (bar.start <= v < bar.stop if bar.start >= 0 else bar.start < v <= bar.stop)
        ]
        assert len(inside) == bar.count


@given(counts=st.lists(st.integers(1, 50), max_size=70), size=st.integers(1, 40))
def test_ranks_are_counted_by_octave(counts: list[int], size: int) -> None:
    counts.sort(reverse=True)
    ranks = Ranks()
    for start in range(0, len(counts), size):
        batch = counts[start : start + size]
        ranks.add(pa.array([str(count) for count in batch]), pa.array(batch, pa.int64()))
    found = ranks.statistics(99)
    assert (found.seen, found.values) == (99, len(counts))
    octaves: Counter[int] = Counter()
    for rank, count in enumerate(counts):
        octaves[int(math.log2(rank + 1))] += count
    assert {o: count for o, count in enumerate(found.ranks) if count} == dict(octaves)
    assert [top.count for top in found.top] == counts[:8]


def test_lists_are_counted_by_item() -> None:
    tally = Tally()
    tally.add(pa.array([[2, 1], [], [1, 1, 5]], pa.list_(pa.int32()))[1:])
    assert (tally.rows, tally.items, tally.missing, tally.unknown) == (2, 3, 1, 2)
    assert np.isclose(tally.total, 3)
