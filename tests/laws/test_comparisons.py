from pathlib import Path

import numpy as np
import pytest

from tests.laws.paper import DCNV2, DLRM, WUKONG, table
from wukongctl.laws.analysis import Report, build
from wukongctl.laws.point_tables import read_table
from wukongctl.laws.points import Point, PointSet


def report_of(folder: Path, text: str) -> Report:
    path = folder / "points.csv"
    path.write_text(text)
    return build(read_table(path))


def test_compute_to_match_of_the_paper(tmp_path: Path) -> None:
    report = report_of(tmp_path, table(Wukong=WUKONG, DCNv2=DCNV2, DLRM=DLRM))
    found = {(m.reference, m.curve): m for m in report.comparisons.compute_to_match}
    dcn = found["Wukong", "DCNv2"]
    assert dcn.ratio == pytest.approx(41.7, abs=0.05)
    assert dcn.reference_x == pytest.approx(1.05, abs=5e-3)
    assert dcn.reached == "matched"
    assert dcn.law is not None
    low, high = dcn.law.interval
    assert low is None or low < dcn.law.ratio
    assert high is None or dcn.law.ratio < high
    assert ("DCNv2", "Wukong") not in found
    assert ("DLRM", "Wukong") not in found


def two_laws(noise: float, seed: int) -> PointSet:
    rng = np.random.default_rng(seed)
    laws = {"a": (0.02, 0.3), "b": (0.03, 0.2)}
    return PointSet(
        tuple(
            Point(name, float(x), float(0.4 + amplitude * x**-c + rng.normal(0, noise)), run)
            for name, (amplitude, c) in laws.items()
            for x in np.geomspace(0.1, 100, 7)
            for run in range(3)
        ),
        "logloss",
    )


@pytest.mark.parametrize(
    ("draws", "least"),
    [(5, 3), pytest.param(20, 17, marks=pytest.mark.slow)],  # binomial, 0.95: fewer with p = 0.001 and 0.016
)
def test_the_interval_of_the_laws_ratio_contains_estimate_and_truth(draws: int, least: int) -> None:
    """At 100 GFLOP b loses what a loses at ((0.03 / 0.02) 100^-0.2)^(-1 / 0.3) GFLOP."""
    truth = 100 * (1.5 * 100**-0.2) ** (1 / 0.3)
    held = 0
    for seed in range(draws):
        found = {(m.reference, m.curve): m for m in build(two_laws(1e-4, seed)).comparisons.compute_to_match}
        law = found["a", "b"].law
        assert law is not None
        low, high = law.interval
        assert low is not None
        assert high is not None
        assert low < law.ratio < high
        held += low <= truth <= high
    assert held >= least
    exact = build(two_laws(0.0, 0)).comparisons.compute_to_match
    laws = {(m.reference, m.curve): m.law for m in exact}
    ratio = laws["a", "b"]
    assert ratio is not None
    assert ratio.ratio == pytest.approx(truth, rel=1e-6)


def test_a_better_smallest_size_gives_a_lower_bound(tmp_path: Path) -> None:
    weak = ((4.0, 8.0), (0.2, 0.11))
    found = report_of(tmp_path, table(Wukong=WUKONG, AFN=weak)).comparisons.compute_to_match
    assert [(m.curve, m.reached, m.law) for m in found] == [("AFN", "at least", None)]
    assert found[0].ratio == pytest.approx(8.0 / 0.53)


def test_the_frontier_has_the_sizes_that_nothing_cheaper_beats(tmp_path: Path) -> None:
    report = report_of(tmp_path, table(a=((1, 2, 4), (0.5, 0.3, 0.4)), b=((1, 3, 8), (0.4, 0.3, 0.1))))
    frontier = [(p.curve, p.x) for p in report.comparisons.pareto]
    sizes = [(c.name, s.x, s.loss) for c in report.curves for s in c.sizes]
    brute = [
        (m, x) for m, x, y in sizes if not any((u <= x and v <= y) and (u, v) != (x, y) for _, u, v in sizes)
    ]
    assert sorted(frontier) == sorted(brute) == [("a", 2), ("b", 1), ("b", 8)]
