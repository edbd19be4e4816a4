"""The points of a scaling law: one per finished run.

A point set records the loss, the split, the FLOP convention and the floor, which is the irreducible loss.
`point_tables` reads it from a table, `run_points` from run folders.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from wukongctl.laws.axis import COMPUTE, DATA, Axis
from wukongctl.laws.measure import MEASURES, Measure, loss_named
from wukongctl.runs.warning_groups import LabeledWarning

FIELD_KEYS = {"curve": "model", "x": COMPUTE.key}
"""Field of a point → its name in points.csv and in report.json, where x is compute."""


@dataclass(frozen=True, slots=True)
class Point:
    """One finished run of a curve: `x` on the axis of its point set, `loss` in the unit of the metric."""

    curve: str
    x: float
    loss: float
    seed: int | None = None
    examples: int | None = None
    dense_params: int | None = None
    passes: float | None = None
    selected_on: str | None = None
    run: str | None = None
    group: str | None = None
    """Task or dataset; curves of different groups are not compared with each other."""

    @property
    def identity(self) -> tuple[object, ...]:
        """The key by which two points are the same run; without a seed it includes the loss."""
        anonymous = self.loss if self.seed is None else None
        return (self.curve, self.x, self.dense_params, self.examples, self.seed, anonymous)


@dataclass(frozen=True, slots=True)
class Excluded:
    """A run that is not fitted, and why: `diverged`, `unfinished`, or the reason in its row of a table."""

    curve: str
    x: float
    reason: str
    seed: int | None = None
    run: str | None = None
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class PointSet:
    """Comparable points and what they measure.

    `floor` is the known irreducible loss in the unit of the metric (0 for excess LogLoss); `bayes_logloss` is
    the LogLoss of the true probabilities, known for generated data only.
    """

    points: tuple[Point, ...]
    metric: str
    split: str | None = None
    dataset: str | None = None
    fingerprint: str | None = None
    convention: str | None = None
    floor: float | None = None
    bayes_logloss: float | None = None
    excluded: tuple[Excluded, ...] = ()
    without_flops: tuple[str, ...] = ()
    """Runs left out because they have no place on the axis: LightGBM, and models of 0 FLOP."""
    warnings: tuple[LabeledWarning, ...] = ()
    """Warnings of the fitted runs."""
    axis: Axis = COMPUTE
    data: Axis = DATA
    """What `Point.examples` counts."""
    shortfall: Measure | None = None
    """The measure of a loss that is the distance of a metric from its best value."""
    remarks: tuple[str, ...] = ()
    """How the points were read."""

    @property
    def measure(self) -> Measure:
        """What the losses are."""
        return self.shortfall or MEASURES.get(self.metric) or loss_named(self.metric)

    @property
    def zero_loss(self) -> float:
        """The value of the metric at which the loss is 0: -100 for a relative LogLoss in percent."""
        return self.measure.zero


def in_order(points: Iterable[Point]) -> tuple[Point, ...]:
    """Points sorted, independent of the order of the input."""
    return tuple(
        sorted(
            points,
            key=lambda p: (p.curve, p.x, p.examples or 0, p.seed or 0, p.loss, p.run or ""),
        )
    )
