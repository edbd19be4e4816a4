"""Edges and codes of numbers, against NumPy's quantiles, exact fractions and loops."""

import bisect
import itertools
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wukongctl.data.pipeline import bins

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TIES = st.sampled_from(
    [0.0, -0.0, -1.0, 1.0, 2.0, 999.0, 1e-310, -1.7e308, 1.7e308, 5e-324, 1e18, 1e18 + 128]
)
COLUMNS = st.lists(FLOATS | TIES | st.integers(-5, 40).map(float), min_size=1, max_size=120)
LIMITS = st.integers(2, 12)


def counted(column: list[float]) -> tuple[np.ndarray, np.ndarray]:
    values, counts = np.unique(np.array(column) + 0.0, return_counts=True)
    return values, counts


def cuts(column: list[float], limit: int) -> list[float]:
    values, counts = counted(column)
    return bins.cuts(values, values, counts, limit).tolist()


def heavy_of(counts: Counter[float], limit: int) -> tuple[set[float], Fraction]:
    """The values with at least the rows of a bin, and the rows of a bin of the others."""
    heavy: set[float] = set()
    while True:
        share = Fraction(sum(n for v, n in counts.items() if v not in heavy), limit - len(heavy))
        more = {v for v, n in counts.items() if v not in heavy and n >= share}
        if not more:
            return heavy, share
        heavy |= more


def quantile_ends(rows: list[float], wanted: int) -> set[float]:
    return {rows[max(math.ceil(Fraction(len(rows) * part, wanted)), 1) - 1] for part in range(1, wanted + 1)}


def groups_of(column: list[float], limit: int) -> list[list[float]]:
    """The rule in plain Python: a bin for each frequent value, quantiles of the stretches between them."""
    counts = Counter(sorted(value + 0.0 for value in column))
    if len(counts) <= limit:
        return [[value] for value in counts]
    heavy, share = heavy_of(counts, limit)
    ends, before = set(heavy), 0
    for light, stretch in itertools.groupby(counts, lambda value: value not in heavy):
        rows = [value for value in stretch for _ in range(counts[value]) if light]
        wanted = math.floor((before + len(rows)) / share + Fraction(1, 2))
        wanted -= math.floor(before / share + Fraction(1, 2))
        before += len(rows)
        ends |= quantile_ends(rows, wanted)
    groups: list[list[float]] = [[]]
    for value in counts:
        groups[-1].append(value)
        if value in ends:
            groups.append([])
    rest = groups.pop()
    groups[-1] += rest
    return groups


@given(column=COLUMNS)
def test_keys_have_the_order_of_the_numbers(column: list[float]) -> None:
    values = np.array(column)
    order = np.argsort(bins.keys(values), kind="stable")
    assert values[order].tolist() == sorted(column)
    assert bins.values_of(bins.keys(values)).tolist() == column
    assert len(set(bins.keys(np.array([0.0, -0.0])).tolist())) == 1


@given(column=COLUMNS, limit=LIMITS)
@example(column=[0.0] * 9 + [1.0, 2.0, 3.0], limit=3)
@example(column=[1.0, *[2.0] * 50, 3.0, *[4.0] * 50, 5.0, 6.0, 7.0, 8.0], limit=5)
def test_bins_follow_the_rule(column: list[float], limit: int) -> None:
    expected = groups_of(column, limit)
    edges = cuts(column, limit)
    assert len(edges) + 1 == len(expected) <= limit
    for number, group in enumerate(expected):
        assert all(sum(edge < value for edge in edges) == number for value in group)


@given(column=COLUMNS, limit=LIMITS, new=COLUMNS)
def test_ids_are_in_the_order_of_values_and_within_bounds(
    column: list[float], limit: int, new: list[float]
) -> None:
    edges = cuts(column, limit)
    assert all(math.isfinite(edge) for edge in edges)
    assert edges == sorted(set(edges))
    found = bins.ids(np.array(sorted(new)), np.array(edges)).tolist()
    assert found == sorted(found)
    assert all(2 <= each < 2 + limit for each in found)
    assert set(bins.ids(np.array(column), np.array(edges)).tolist()) == set(range(2, 3 + len(edges)))


@pytest.mark.parametrize("limit", [2, 7, 48])
def test_without_heavy_values_the_bins_are_numpys_quantiles(limit: int) -> None:
    column = np.random.default_rng(0).normal(size=1000)
    ends = np.quantile(column, np.arange(1, limit) / limit, method="inverted_cdf")
    edges = cuts(column.tolist(), limit)
    assert [np.max(column[column < edge]) for edge in edges] == ends.tolist()
    sizes = np.bincount(bins.ids(column, np.array(edges)))[2:]
    assert sizes.max() - sizes.min() <= 1


def test_a_frequent_value_leaves_the_other_bins_to_the_rest() -> None:
    column = [0.0] * 9200 + [float(100 + i) for i in range(800)]
    edges = cuts(column, 9)
    assert len(edges) == 8
    sizes = np.bincount(bins.ids(np.array(column), np.array(edges)))[2:]
    assert sizes.tolist() == [9200, *[100] * 8]


def test_a_cut_is_halfway_between_values() -> None:
    assert cuts([1.0, 2.0, 5.0], 48) == [1.5, 3.5]
    assert cuts([-1.7e308, 1.7e308], 48) == [0.0]
    assert cuts([1.0, math.nextafter(1.0, 2.0)], 48) == [1.0]
    assert cuts([4.0], 48) == []


def test_groups_of_values_are_cut_between_groups() -> None:
    low, high = np.array([0.0, 10.0, 20.0]), np.array([4.0, 12.0, 20.0])
    assert bins.cuts(low, high, np.array([3, 3, 3]), 3).tolist() == [7.0, 16.0]
    assert bins.breakpoints(low, high, np.array([3, 3, 3]), 3).tolist() == [0.0, 4.0, 12.0, 20.0]


def encoding(x: float, edges: list[float]) -> list[Fraction]:
    """Equation 1 of Gorishniy et al., of values within the range of train, in exact numbers."""
    components = []
    for start, stop in itertools.pairwise(edges):
        share = (Fraction(x) - Fraction(start)) / (Fraction(stop) - Fraction(start))
        components.append(min(max(share, Fraction(0)), Fraction(1)))
    return components


@given(column=COLUMNS, limit=LIMITS, new=COLUMNS)
def test_positions_are_the_sum_of_the_components(column: list[float], limit: int, new: list[float]) -> None:
    values, counts = counted(column)
    edges = bins.breakpoints(values, values, counts, limit)
    assert len(edges) <= limit + 1
    found = bins.positions(np.array(column + new), edges)
    assert found.dtype == np.float32
    for x, position in zip(column + new, found.tolist(), strict=True):
        expected = encoding(x, edges.tolist())
        tiny = abs(x) < 1e-300  # halves of subnormal numbers are rounded
        assert position == pytest.approx(float(sum(expected)), abs=0.5 if tiny else 1e-5)
        for t, component in enumerate(expected if not tiny else []):
            assert min(max(position - t, 0), 1) == pytest.approx(float(component), abs=1e-5)


def test_breakpoints_are_the_least_value_and_the_quantiles() -> None:
    column = np.random.default_rng(1).exponential(size=500)
    values, counts = counted(column.tolist())
    expected = [column.min(), *np.quantile(column, np.arange(1, 9) / 8, method="inverted_cdf")]
    assert bins.breakpoints(values, values, counts, 8).tolist() == expected


def test_few_values_are_all_breakpoints() -> None:
    values, counts = counted([3.0, 1.0, 1.0, 7.0])
    edges = bins.breakpoints(values, values, counts, 48)
    assert edges.tolist() == [1.0, 3.0, 7.0]
    positions = bins.positions(np.array([-9.0, 1.0, 2.0, 3.0, 5.0, 7.0, 1e300]), edges)
    assert positions.tolist() == [0, 0, 0.5, 1, 1.5, 2, 2]


@pytest.mark.parametrize("edges", [[], [4.0]])
def test_a_column_of_one_value_or_none_has_one_position(edges: list[float]) -> None:
    assert bins.positions(np.array([1.0, 4.0, 9.0]), np.array(edges)).tolist() == [0, 0, 0]
    assert bins.ids(np.array([1.0, 9.0]), np.empty(0)).tolist() == [2, 2]


def bucket(x: float) -> tuple[int, int]:
    """The Criteo winners' bucket (`SP` for small values), in order of value."""
    return (1, math.floor(math.log(x) ** 2)) if x > 2 else (0, max(math.trunc(x), -101))


@given(
    column=st.lists(st.integers(-300, 10**7).map(float) | st.floats(-5, 1e12), min_size=1, max_size=60),
    new=st.lists(st.integers(-300, 10**9).map(float), max_size=20),
)
def test_log2_bins_are_buckets_of_the_squared_logarithm(column: list[float], new: list[float]) -> None:
    values, _ = counted(column)
    edges = bins.log2_cuts(values, values)
    known = sorted({bucket(x) for x in column})
    assert len(edges) == len(known) - 1
    expected = [2 + max(bisect.bisect_right(known, bucket(x)) - 1, 0) for x in column + new]
    assert bins.ids(np.array(column + new), edges).tolist() == expected


def test_log2_of_nothing_has_one_bin() -> None:
    assert bins.log2_cuts(np.empty(0), np.empty(0)).tolist() == []
