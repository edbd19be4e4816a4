import math
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tests.benchmarks.gates import verdicts
from tests.laws.ladders import SIZES, ladder, point_set
from wukongctl.config.report import AaNoise, CurveGate, ExponentGate, GatesSpec, QualityGate, RecoveryGate
from wukongctl.decisions import Evidence, Finding, GateTest, confirm, decide, holm, overall
from wukongctl.errors import UsageError
from wukongctl.gates.checks import check
from wukongctl.gates.paired import differences, pooled
from wukongctl.laws.analysis import Report, build
from wukongctl.laws.axis import PARAMETERS
from wukongctl.laws.points import Excluded, Point


def report_of(points: tuple[Point, ...]) -> Report:
    return build(point_set(points))


@pytest.fixture(scope="module")
def base() -> Report:
    return report_of(ladder(np.random.default_rng(1)))


def findings(report: Report, gates: GatesSpec, base: Report | None = None) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for one in check(report, gates, base=base, noise=None):
        found.setdefault(one.gate[:2], []).append(one)
    return found


# --- the arithmetic -----------------------------------------------------------------------------------------


def test_holm_by_hand() -> None:
    """Four tests: 4 x .005, 3 x .01, 2 x .03 and .04, which may not fall below the one before."""
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])) == [1.0, 1.0]
    assert holm(np.array([])) == []


def test_paired_differences_are_the_paired_t_test() -> None:
    new, old = ladder(np.random.default_rng(2)), ladder(np.random.default_rng(3))
    for one in differences(new, old):
        a, b = ([p.loss for p in points if p.x == one.configuration.x] for points in (new, old))
        t = stats.ttest_rel(a, b)
        error = math.sqrt(one.squares / one.df * one.scale)
        assert one.mean / error == pytest.approx(t.statistic)
        p = Evidence(one.mean, error, one.df).p_worse(0.0)
        assert p == pytest.approx(stats.ttest_rel(a, b, alternative="greater").pvalue)


def test_different_seeds_are_compared_by_students_t_test() -> None:
    new, old = ladder(np.random.default_rng(2), seeds=(5, 6)), ladder(np.random.default_rng(3))
    (one, *_) = differences(new, old)
    a, b = ([p.loss for p in points if p.x == 1.0] for points in (new, old))
    assert one.df == 3
    error = math.sqrt(one.squares / one.df * one.scale)
    assert one.mean / error == pytest.approx(stats.ttest_ind(a, b).statistic)


def test_the_variance_is_pooled_with_the_aa_runs() -> None:
    found = differences(ladder(np.random.default_rng(2)), ladder(np.random.default_rng(3)))
    variance = pooled(found, sd=0.001, df=10)
    assert variance is not None
    assert variance[0] == pytest.approx((10 * 1e-6 + sum(one.squares for one in found)) / 22)
    assert variance[1] == 22
    single = differences(
        ladder(np.random.default_rng(2), seeds=(0,)), ladder(np.random.default_rng(3), seeds=(0,))
    )
    assert pooled(single) is None
    assert pooled(single, sd=0.001, df=10) == (pytest.approx(1e-6), 10)


@pytest.mark.parametrize(
    ("value", "verdict"), [(0.0, "pass"), (0.9, "inconclusive"), (1.2, "inconclusive"), (2.5, "fail")]
)
def test_fail_and_pass_both_need_evidence(value: float, verdict: str) -> None:
    (found,) = decide([GateTest("G2 quality", "a", "d", 1.0, Evidence(value, 0.5, 1000))], level=0.95)
    assert found.verdict == verdict
    low, high = found.interval or (0, 0)
    assert (high - low) / 2 == pytest.approx(0.5 * stats.t.ppf(0.95, 1000))


def test_failures_are_corrected_for_the_number_of_tests() -> None:
    """p = .017 alone fails; among ten such tests it does not."""
    alone = GateTest("G2 quality", "a", "d", 0.0, Evidence(2.12, 1.0, 1000))
    others = [GateTest("G2 quality", str(i), "d", 0.0, Evidence(0.0, 1.0, 1000)) for i in range(9)]
    assert decide([alone], level=0.95)[0].verdict == "fail"
    assert decide([alone, *others], level=0.95)[0].verdict == "inconclusive"


def test_no_gates_is_a_pass() -> None:
    assert overall([]) == "pass"


# --- each gate ----------------------------------------------------------------------------------------------


def test_g0_new_divergence_fails_and_unfinished_runs_are_inconclusive(base: Report) -> None:
    diverged, unfinished = (Excluded("wukong", 200.0, r, 0, r) for r in ("diverged", "unfinished"))
    gates = GatesSpec(cost=True)
    bad = replace(base, source=replace(base.source, excluded=(diverged,)))
    assert findings(bad, gates, base)["G0"][0].verdict == "fail"
    assert all(one.verdict == "pass" for one in findings(bad, gates, bad)["G0"])
    late = replace(base, source=replace(base.source, excluded=(unfinished,)))
    assert findings(late, gates, base)["G0"][0].verdict == "inconclusive"


def test_widths_that_share_no_configuration_are_named(base: Report) -> None:
    narrow = tuple(replace(p, x=p.x / 2, dense_params=7) for p in base.source.points)
    found = findings(report_of(narrow), GatesSpec(cost=True, quality=QualityGate()), base)
    lost = found["G0"][0].message
    assert lost.startswith("only in the baseline: 1.0 GFLOP, 2.5")
    assert lost.count(" and ") == 1
    assert lost.endswith(" and 100.0 GFLOP")
    (open_one,) = found["G2"]
    assert open_one.verdict == "inconclusive"
    assert open_one.message.startswith(
        "no configuration is in both: these runs have wukong at 0.5 GFLOP (7 dense parameters), wukong at "
    )
    assert open_one.message.count("and 3 more") == 2
    assert "; the baseline has wukong at 1.0 GFLOP (10 dense parameters), wukong" in open_one.message


def test_g0_a_curve_or_size_that_only_the_baseline_has_fails(base: Report) -> None:
    gates, other = GatesSpec(cost=True, quality=QualityGate()), ladder(np.random.default_rng(3), model="dlrm")
    gone = findings(report_of(other), gates, base)["G0"][0]
    assert (gone.verdict, gone.item) == ("fail", "wukong")
    small = tuple(p for p in base.source.points if p.x < 50)
    lost = findings(report_of(small), gates, base)["G0"][0]
    assert (lost.verdict, lost.message) == ("fail", "only in the baseline: 100.0 GFLOP")
    late = Excluded("wukong", 100.0, "unfinished", 0, "late")
    waiting = build(replace(point_set(small), excluded=(late,)))
    assert [one.verdict for one in findings(waiting, gates, base)["G0"]] == ["inconclusive", "pass"]
    again = Excluded("wukong", 100.0, "diverged", 0, "again")
    before = replace(base, source=replace(base.source, excluded=(again,)))
    now = build(replace(point_set(small), excluded=(again,)))
    assert findings(now, gates, before)["G0"][0].verdict == "fail"


def test_g1_is_exact(base: Report) -> None:
    assert [one.verdict for one in findings(base, GatesSpec(cost=True), base)["G1"]] == ["pass"]
    points = tuple(replace(p, x=p.x * 1.01) if p.x > 50 else p for p in base.source.points)
    (found,) = findings(report_of(points), GatesSpec(cost=True), base)["G1"]
    assert found.verdict == "fail"
    assert "100.0 GFLOP (60 dense parameters) changed to 101.0 GFLOP" in found.message
    fewer = report_of(tuple(p for p in base.source.points if p.x < 50))
    assert findings(fewer, GatesSpec(cost=True), base)["G1"][0].verdict == "inconclusive"


def test_g2_names_the_size_that_got_worse(base: Report) -> None:
    worse = report_of(ladder(np.random.default_rng(4), worse={2: 0.003}))
    found = findings(worse, GatesSpec(quality=QualityGate(margin=0.0005)), base)["G2"]
    assert [one.verdict for one in found] == ["pass"] * 2 + ["fail"] + ["pass"] * 3
    assert found[2].item == "wukong at 6.31 GFLOP"


def test_g2_does_not_compare_different_amounts_of_data(base: Report) -> None:
    points = tuple(
        replace(point, examples=4 * (point.examples or 0), loss=point.loss - 0.01)
        for point in base.source.points
    )
    assert all(point.examples for point in points)
    gates = GatesSpec(quality=QualityGate())
    with pytest.raises(UsageError, match=r"no size can be compared: trained on [\d,]+ examples, the base"):
        findings(base, gates, report_of(points))
    largest = points[-1].x
    some = tuple(p for p in points if p.x == largest)
    rest = tuple(p for p in base.source.points if p.x != largest)
    found = findings(base, gates, report_of((*rest, *some)))["G2"]
    assert [one.verdict for one in found].count("inconclusive") == 1
    (open_one,) = [one for one in found if one.verdict == "inconclusive"]
    assert open_one.message.startswith("trained on")


def test_g2_with_one_run_each_needs_aa_noise_for_a_verdict() -> None:
    new, old = (report_of(ladder(np.random.default_rng(s), seeds=(0,))) for s in (5, 6))
    gates = GatesSpec(quality=QualityGate(margin=0.001))
    assert {one.verdict for one in findings(new, gates, old)["G2"]} == {"inconclusive"}
    decided = check(new, gates, base=old, noise=AaNoise(sd=3e-4, df=12))
    assert {one.verdict for one in decided} == {"pass"}


def test_g3_compares_the_laws_inside_the_range(base: Report) -> None:
    gates = GatesSpec(curve=CurveGate(at=[10.0, 1000.0], margin=0.0005))
    same, outside = findings(report_of(ladder(np.random.default_rng(7))), gates, base)["G3"]
    assert (same.verdict, outside.verdict) == ("pass", "inconclusive")
    worse = report_of(ladder(np.random.default_rng(8), worse=dict.fromkeys(range(6), 0.002)))
    found = findings(worse, gates, base)["G3"][0]
    assert found.verdict == "fail"
    assert found.value == pytest.approx(0.002, abs=5e-4)


def test_gates_name_the_unit_of_their_axis() -> None:
    old, new = (
        build(replace(point_set(ladder(np.random.default_rng(seed), sizes=sizes)), axis=PARAMETERS))
        for seed, sizes in ((1, SIZES), (2, (*SIZES[1:], 300.0)))
    )
    gates = GatesSpec(
        cost=True, quality=QualityGate(), curve=CurveGate(at=[10.0]), prediction=True, monotone=True
    )
    found = check(new, gates, base=old, noise=None)
    text = " ".join(f"{one.item} {one.message}" for one in found)
    assert "wukong at 10 parameters" in text
    assert "only in the baseline: 1.0 parameters" in text
    assert "no configuration is in both: these runs have wukong at " in text
    assert "GFLOP" not in text


def test_g4_is_decided_only_where_both_exponents_are_identified(base: Report) -> None:
    assert not {"exponent_weak", "floor_not_identified"} & set(base.curves[0].notes)
    gates = GatesSpec(exponent=ExponentGate(margin=0.05))
    straight = tuple(
        replace(p, loss=p.loss - 0.05 * p.x**-0.3 - 0.005 * np.log(p.x)) for p in base.source.points
    )
    (found,) = findings(report_of(straight), gates, base)["G4"]
    assert found.verdict == "inconclusive"
    assert findings(base, gates, base)["G4"][0].verdict in ("pass", "inconclusive")
    steep = report_of(tuple(replace(p, loss=0.4 + (p.loss - 0.4) * p.x**-0.4) for p in base.source.points))
    assert findings(base, gates, steep)["G4"][0].verdict == "fail"


@pytest.mark.parametrize(("bonus", "verdict"), [(0.0, "pass"), (0.004, "fail"), (-0.004, "fail")])
def test_g5_a_new_largest_size_tests_the_saved_law(base: Report, bonus: float, verdict: str) -> None:
    larger = ladder(np.random.default_rng(9), sizes=(*SIZES, 300.0), worse={6: bonus})
    (found,) = findings(report_of(larger), GatesSpec(prediction=True), base)["G5"]
    assert found.verdict == verdict
    assert found.item == "wukong at 300 GFLOP"
    assert "not worse" not in found.message
    assert found.message.endswith("consistent" if verdict == "pass" else "outside, by more than chance")
    low, high = map(float, re.findall(r"95 % of new runs: (\S+) to (\S+)\)", found.message)[0])
    observed = float(re.findall(r"observed (\S+),", found.message)[0])
    assert (low <= observed <= high) == (verdict == "pass")
    (same,) = findings(base, GatesSpec(prediction=True), base)["G5"]
    assert same.verdict == "inconclusive"


def test_g6_a_rise_beyond_the_noise_fails(base: Report) -> None:
    assert {one.verdict for one in findings(base, GatesSpec(monotone=True))["G6"]} == {"pass"}
    for one in findings(base, GatesSpec(monotone=True))["G6"]:
        assert one.message.endswith("not significantly above 0")
    bump = report_of(ladder(np.random.default_rng(1), worse={4: 0.02}))
    verdicts = [one.verdict for one in findings(bump, GatesSpec(monotone=True))["G6"]]
    assert verdicts == ["pass", "pass", "pass", "fail", "pass"]
    single = report_of(ladder(np.random.default_rng(1), seeds=(0,), worse={4: 0.02}))
    verdicts = [one.verdict for one in findings(single, GatesSpec(monotone=True))["G6"]]
    assert verdicts == ["pass", "pass", "pass", "inconclusive", "pass"]


@pytest.mark.parametrize(("bound", "verdict"), [(0.5, "pass"), (0.4, "fail")])
def test_g7_needs_excess_logloss(base: Report, bound: float, verdict: str) -> None:
    gates = GatesSpec(recovery=RecoveryGate(max_excess=bound))
    with pytest.raises(UsageError, match="excess"):
        findings(base, gates)
    excess = build(replace(base.source, metric="excess_logloss"))
    (found,) = findings(excess, gates)["G7"]
    assert found.verdict == verdict


def test_gates_that_compare_need_a_baseline(base: Report) -> None:
    with pytest.raises(UsageError, match="`cost`, `prediction`"):
        check(base, GatesSpec(cost=True, prediction=True), base=None, noise=None)


def test_only_the_same_item_overturns_a_failure() -> None:
    def finding(item: str, verdict: str) -> Finding:
        return Finding("G2 quality", item, "d", verdict, "m")  # type: ignore[arg-type]

    first = [finding("a", "fail"), finding("b", "fail"), finding("c", "fail"), finding("d", "pass")]
    second = [finding("a", "fail"), finding("b", "pass"), finding("d", "fail")]
    found = confirm(first, second)
    assert [one.verdict for one in found] == ["fail", "inconclusive", "fail", "pass"]
    assert "confirmed by a second set" in found[0].message
    assert "not confirmed" in found[1].message
    assert "not tested in the second set" in found[2].message  # unrelated runs overturn nothing


# --- rates --------------------------------------------------------------------------------------------------


def test_a_few_simulated_comparisons() -> None:
    found = [verdicts(seed) for seed in range(25)]
    assert sum(one["unchanged"] == "fail" for one in found) <= 1
    assert all(one["all at twice"] == "fail" for one in found)


@pytest.mark.slow
def test_rates_of_false_alarms_and_detections_are_as_stated() -> None:
    """2,000 trials; three standard errors of slack for the simulation."""
    found = [verdicts(seed) for seed in range(10_000, 12_000)]
    rate = {scene: sum(one[scene] == "fail" for one in found) / len(found) for scene in found[0]}
    assert rate["unchanged"] <= 0.05
    assert rate["all at the margin"] <= 0.05 + 3 * (0.05 * 0.95 / 2000) ** 0.5
    assert rate["one at twice"] >= 0.95 - 3 * (0.05 * 0.95 / 2000) ** 0.5
    assert rate["all at twice"] >= 0.99
