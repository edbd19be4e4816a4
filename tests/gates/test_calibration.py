from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.laws.ladders import ladder, point_set
from wukongctl.config.loading import load
from wukongctl.config.report import AaNoise, ReportSpec
from wukongctl.decisions import GateTest, decide, overall
from wukongctl.errors import UsageError
from wukongctl.gates.calibration import Calibration, calibrate, gates_yaml
from wukongctl.gates.checks import quality
from wukongctl.laws.points import Point, PointSet


def sets(sd: float = 3e-4):
    a, b = ladder(np.random.default_rng(1), sd=sd), ladder(np.random.default_rng(2), sd=sd, seeds=(3, 4, 5))
    return point_set(a), point_set(b)


def test_the_noise_is_that_of_a_difference_of_two_runs() -> None:
    estimates = [
        calibrate(
            point_set(ladder(np.random.default_rng(2 * s), sd=3e-4)),
            point_set(ladder(np.random.default_rng(2 * s + 1), sd=3e-4)),
        )
        for s in range(60)
    ]
    mean_square = np.mean([one.sd**2 for one in estimates])
    assert np.sqrt(mean_square) == pytest.approx(3e-4 * 2**0.5, rel=0.08)
    assert {one.df for one in estimates} == {18}


def test_power_rises_from_zero_to_one_with_the_regression() -> None:
    found = calibrate(*sets())
    chances = dict(found.power)
    assert chances[0.0] < 0.001
    assert chances[1.0] < 0.05
    assert chances[2.0] >= 0.95
    assert found.margin >= max(5e-4, 2 * found.sd)


def test_low_noise_gives_the_smallest_margin() -> None:
    assert calibrate(*sets(1e-6)).margin == 5e-4


def test_the_yaml_file_reads_back_to_the_same_noise_and_margin(tmp_path: Path) -> None:
    found = calibrate(*sets())
    (tmp_path / "check.yaml").write_text(gates_yaml(found))
    page = load(tmp_path / "check.yaml", ReportSpec)
    assert page.noise is not None
    assert page.gates is not None
    assert page.gates.quality is not None
    assert (page.noise.sd, page.noise.df, page.gates.quality.margin) == (found.sd, found.df, found.margin)
    assert page.gates.cost


SEEDS_SD, PAIR_SD = 0.0095, 0.001
"""Of single runs with different seeds, and what a change of rounding adds to runs of the same seed."""
REGRESSION = {0: 0.0065, 1: 0.0214, 2: 0.0098}
"""Of the three quickstart sizes, measured with `optimizer.embedding.lr=1e-2`."""


class Seeded:
    """Ladders of three sizes that share the noise of their seeds."""

    def __init__(self, seed: int) -> None:
        self.rng, self.effects = np.random.default_rng(seed), dict[tuple[float, int], float]()

    def runs(self, seeds: tuple[int, ...] = (0, 1, 2), **changes: Any) -> PointSet:
        points = ladder(self.rng, sd=changes.pop("sd", PAIR_SD), seeds=seeds, sizes=(1, 4, 16), **changes)
        return point_set(tuple(replace(p, loss=p.loss + self._effect(p)) for p in points))

    def _effect(self, point: Point) -> float:
        assert point.seed is not None
        key = point.x, point.seed
        return self.effects.setdefault(key, float(self.rng.normal(0, SEEDS_SD)))

    def verdict(self, aa: Calibration, **changes: Any) -> str:
        noise = AaNoise(sd=aa.sd, df=aa.df)
        new, old = self.runs(**changes).points, self.runs().points
        found = [one for one in quality(new, old, margin=aa.margin, noise=noise) if isinstance(one, GateTest)]
        return overall(decide(found, level=0.95))


def test_a_planted_regression_is_found_with_margins_of_the_same_seeds_only() -> None:
    caught, armed, alarms = 0, 0, 0
    for seed in range(100):
        runs = Seeded(seed)
        same, other = (calibrate(runs.runs(), runs.runs(seeds=s)) for s in ((0, 1, 2), (3, 4, 5)))
        assert (same.paired, other.paired) == (True, False)
        caught += runs.verdict(same, worse=REGRESSION) == "fail"
        armed += runs.verdict(other, worse=REGRESSION) == "fail"
        alarms += runs.verdict(same) == "fail"
    assert (caught, armed, alarms) == (100, 0, 0)


def test_a_change_that_makes_pairs_as_different_as_seeds_is_no_regression() -> None:
    """Noise of the same seeds does not describe them; the gate must notice."""
    verdicts = []
    for seed in range(200):
        runs = Seeded(seed)
        verdicts.append(runs.verdict(calibrate(runs.runs(), runs.runs()), sd=2**0.5 * SEEDS_SD))
    assert verdicts.count("fail") <= 0.05 * len(verdicts)


def test_identical_and_unrelated_sets_are_rejected() -> None:
    a, b = sets()
    with pytest.raises(UsageError, match=rf"^{len(a.points)} runs are in both sets \(same seed"):
        calibrate(a, a)
    with pytest.raises(UsageError, match=r"^1 run is in both sets"):
        calibrate(a, replace(b, points=(*b.points, a.points[0])))
    unnumbered = replace(
        a, points=tuple(replace(p, seed=None) for p in a.points if p.seed == a.points[0].seed)
    )
    with pytest.raises(UsageError, match="all losses are equal"):
        calibrate(unnumbered, unnumbered)
    with pytest.raises(UsageError, match="no configuration in common"):
        calibrate(a, replace(b, points=tuple(replace(p, curve="dlrm") for p in b.points)))
