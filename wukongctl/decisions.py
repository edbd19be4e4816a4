"""Verdicts for CI: pass, fail or inconclusive, each with its numbers.

A gate tests whether something got worse by more than a margin. It fails when the one-sided lower bound of the
difference lies above the margin, passes when the upper bound lies at or below it (non-inferiority), and is
inconclusive otherwise. p values are Holm-corrected over all tests of a report: the probability of any false
alarm stays below 1 - level, however many configurations there are.

Holm 1979, https://www.jstor.org/stable/4615733. Non-inferiority: ICH E9, section 3.3.2.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

Interval: TypeAlias = tuple[float, float]
Verdict: TypeAlias = Literal["pass", "fail", "inconclusive"]
GateName: TypeAlias = Literal[
    "G0 validity", "G1 cost", "G2 quality", "G3 curve", "G4 exponent", "G5 prediction", "G6 monotone",
    "G7 recovery",
]  # fmt: skip


def student_quantile(level: float, df: float) -> float:
    """The quantile of Student's t at `level` in (0, 1]."""
    from scipy.special import stdtrit  # as `scipy.stats.t.ppf`, which takes half a second to import

    return float(stdtrit(df, level))


def student_tail(value: float, df: float) -> float:
    """The probability that Student's t exceeds `value`."""
    from scipy.special import stdtr

    return float(stdtr(df, -value))


@dataclass(frozen=True, slots=True)
class Evidence:
    """An estimate with its standard error and degrees of freedom; positive is worse.

    `above` is the standard error for the upper bound, where it differs.
    """

    value: float
    error: float
    df: float
    above: float | None = None

    def bounds(self, level: float) -> Interval:
        """The one-sided lower and upper bounds of confidence `level`."""
        quantile = student_quantile(level, self.df)
        above = self.error if self.above is None else self.above
        return self.value - quantile * self.error, self.value + quantile * above

    def p_worse(self, margin: float) -> float:
        """p value of "no worse than `margin`"; small when it is worse."""
        if self.error == 0:
            return 0.0 if self.value > margin else 1.0
        return student_tail((self.value - margin) / self.error, self.df)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one gate found about one item. `interval` holds one-sided bounds, `p_value` is Holm-corrected."""

    gate: GateName
    item: str
    statistic: str
    verdict: Verdict
    message: str
    value: float | None = None
    interval: Interval | None = None
    margin: float | None = None
    p_value: float | None = None


@dataclass(frozen=True, slots=True)
class GateTest:
    """One test of a gate, before the verdict.

    A `lenient` test passes unless it fails: it does not require non-inferiority. The evidence of a
    `two_sided` test is the absolute value of a difference, its `statistic` states the numbers.
    """

    gate: GateName
    item: str
    statistic: str
    margin: float
    evidence: Evidence
    lenient: bool = False
    two_sided: bool = False

    @property
    def p_value(self) -> float:
        """Not yet corrected for the other tests."""
        p = self.evidence.p_worse(self.margin)
        return min(1.0, 2 * p) if self.two_sided else p


def decide(tests: Sequence[GateTest], *, level: float) -> tuple[Finding, ...]:
    """One finding per test, with p values Holm-corrected over all of them."""
    raw = np.array([test.p_value for test in tests])
    return tuple(_finding(test, p, level) for test, p in zip(tests, holm(raw), strict=True))


def holm(p_values: np.ndarray) -> list[float]:
    """Holm's step-down adjusted p values, in the order of the input."""
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]


def _finding(test: GateTest, p: float, level: float) -> Finding:
    low, high = test.evidence.bounds(level)
    verdict: Verdict = "fail" if p < 1 - level else "pass" if high <= test.margin else "inconclusive"
    if test.lenient and verdict == "inconclusive":
        verdict = "pass"
    message = _message(test, verdict, (low, high))
    return Finding(
        test.gate,
        test.item,
        test.statistic,
        verdict,
        message,
        test.evidence.value,
        (low, high),
        test.margin,
        p,
    )


def _message(test: GateTest, verdict: Verdict, bounds: Interval) -> str:
    """The numbers and what they mean; a two-sided test states its numbers in `statistic`."""
    if test.two_sided:
        return f"{test.statistic}: {'outside, by more than chance' if verdict == 'fail' else 'consistent'}"
    passed = f"not {'significantly above' if test.lenient else 'worse by more than'} {test.margin:.3g}"
    word = {
        "fail": f"worse by more than {test.margin:.3g}",
        "pass": passed,
        "inconclusive": f"too uncertain for the margin {test.margin:.3g}, add runs",
    }[verdict]
    low, high = bounds
    return f"{test.statistic} {test.evidence.value:+.3g} (bounds {low:+.3g} to {high:+.3g}): {word}"


def overall(findings: Iterable[Finding]) -> Verdict:
    """The worst verdict: fail, else inconclusive, else pass."""
    verdicts = {finding.verdict for finding in findings}
    return "fail" if "fail" in verdicts else "inconclusive" if "inconclusive" in verdicts else "pass"


def confirm(first: Sequence[Finding], second: Sequence[Finding]) -> tuple[Finding, ...]:
    """Overturn failures of items that an independent second set of runs tested without a failure."""
    again = {(finding.gate, finding.item): finding for finding in second}
    return tuple(
        _confirmed(finding, again.get((finding.gate, finding.item))) if finding.verdict == "fail" else finding
        for finding in first
    )


def _confirmed(finding: Finding, repeat: Finding | None) -> Finding:
    if repeat is None:
        return replace(finding, message=f"{finding.message}; not tested in the second set of runs")
    if repeat.verdict == "fail":
        return replace(finding, message=f"{finding.message}; confirmed by a second set of runs")
    message = f"{finding.message}; not confirmed by a second set of runs: {repeat.message}"
    return replace(finding, verdict="inconclusive", message=message)
