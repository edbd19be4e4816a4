from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.laws.ladders import ladder, point_set
from wukongctl.config.loading import load
from wukongctl.config.report import ReportSpec
from wukongctl.errors import UsageError
from wukongctl.gates.calibration import calibrate, gates_yaml


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
