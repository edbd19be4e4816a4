"""The report recipe: which loss `scale-report` fits, by which law, and the gates that a CI job checks."""

from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from wukongctl.config.spec import Mistake, NonNegativeFloat, PositiveFloat, PositiveInt, Spec

FormName: TypeAlias = Literal["power", "power0", "power-known-floor", "loglin"]
LossMetric: TypeAlias = Literal["logloss", "relative_logloss", "excess_logloss"]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Level = Annotated[float, Field(ge=0.5, lt=1)]
DEFAULT_DELTA = 1e-3


class StatedLaw(Spec):
    """A published law, y = E + A x^-c with x in GFLOP per example; drawn, not fitted."""

    label: str
    curve: str | None = None
    """Curve it describes; residuals on its runs are reported."""
    E: Finite
    A: Finite
    c: Finite


class QualityGate(Spec):
    """G2: the same model with the same seed may not lose more than `margin` against the baseline."""

    margin: PositiveFloat | None = None
    """In units of the loss; when omitted max(0.0005, 2 sd of A/A differences), 0.05 for a percentage."""


class CurveGate(Spec):
    """G3: the law's loss at stated compute may not rise by more than `margin`."""

    at: Annotated[list[PositiveFloat], Field(min_length=1)]
    """GFLOP per example, inside the range of both reports."""
    margin: PositiveFloat | None = None
    """As for `quality`."""


class ExponentGate(Spec):
    """G4: the exponent may not fall by more than `margin`; decided only where both reports identify it."""

    margin: PositiveFloat


class RecoveryGate(Spec):
    """G7: on synthetic data the best size of each curve must come down to this excess LogLoss."""

    max_excess: PositiveFloat


class GatesSpec(Spec):
    """Gates that decide the exit code. Off unless named; G0, valid inputs, is on with any other."""

    cost: bool = False
    """G1: FLOPs and dense parameters equal the baseline's exactly."""
    quality: QualityGate | None = None
    curve: CurveGate | None = None
    exponent: ExponentGate | None = None
    prediction: bool = False
    """G5: a new largest size lies inside the baseline law's interval for a new run."""
    monotone: bool = False
    """G6: no size is worse than the next smaller one by more than the noise."""
    recovery: RecoveryGate | None = None

    @property
    def need_baseline(self) -> tuple[str, ...]:
        """Names of the gates asked for that compare with a baseline."""
        named = ("cost", "quality", "curve", "exponent", "prediction")
        return tuple(name for name in named if getattr(self, name))


class AaNoise(Spec):
    """Noise measured by `scale-report --calibrate A/ B/` on two sets of runs that should be equally good."""

    sd: NonNegativeFloat
    """Standard deviation of the difference between two runs of the same size."""
    df: PositiveInt
    """Degrees of freedom it was estimated from."""


class ColumnsSpec(Spec):
    """Columns of a table of points. Those that are not named here are recognized by their names."""

    x: str | None = None
    """Compute, parameters, examples or tokens, or any other positive number."""
    y: str | None = None
    """The loss, or a metric of which larger values are better."""
    curve: str | None = None
    """Name of the curve, `model` by default; without such a column all points are one curve."""
    axis: Literal["compute", "training", "parameters", "data", "tokens"] | None = None
    """What `x` counts, where its name does not say: FLOP per example, FLOP of the training, parameters, …"""
    unit: PositiveFloat | None = None
    """What 1 in column `x` is, in FLOP or as a count: 1e6 for MFLOP, or for millions of parameters."""
    larger_is_better: bool | None = None
    """Whether larger values of `y` are better; known for auc, accuracy, recall, ndcg and the like."""
    best: Finite | None = None
    """Best possible value of such a metric, which the loss is measured from: 1, or 100 for percentages."""
    seed: str | None = None
    examples: str | None = None
    """Training examples or tokens: with `x` a size, this gives laws of data and a joint law."""
    dense_params: str | None = None
    passes: str | None = None
    """Epochs."""
    group: str | None = None
    """Task or dataset; curves of different groups are not compared."""
    excluded: str | None = None
    """Reason not to fit a row; empty for rows that are fitted."""


class ReportSpec(Spec):
    """Settings of a report. Every key has a default."""

    split: Literal["valid", "test"] | None = None
    """Split to report; when omitted, test if every run has it."""
    metric: LossMetric | None = None
    """Loss to fit; when omitted, excess_logloss if every run has it."""
    form: FormName | None = None
    """Form of the law; when omitted `power`, or `power-known-floor` with `floor`."""
    floor: Finite | None = None
    """Irreducible loss, if known."""
    level: Level = 0.95
    """Confidence of every interval and gate."""
    loss: Literal["squares", "huber-log"] = "squares"
    """Loss of the fit: weighted squares, or Huber's loss of log residuals as in Chinchilla."""
    delta: PositiveFloat = DEFAULT_DELTA
    """Threshold of `huber-log`."""
    bootstrap: Annotated[int, Field(ge=0, le=100_000)] = 1000
    """Draws of the bootstrap for the intervals of joint laws over size and data; 0 leaves them out."""
    stated: tuple[StatedLaw, ...] = ()
    predict: tuple[PositiveFloat, ...] = ()
    """Where the loss is predicted: GFLOP per example, or numbers of examples in a study of data."""
    compare: Literal["groups", "all"] = "groups"
    """Curves compared pair by pair: those of a group of at most twelve, or all."""
    columns: ColumnsSpec = ColumnsSpec()
    gates: GatesSpec | None = None
    noise: AaNoise | None = None

    def _mistakes(self) -> Iterator[Mistake]:
        if self.delta != DEFAULT_DELTA and self.loss != "huber-log":
            yield Mistake("`delta` belongs to `loss: huber-log`", ("delta",), others=(("loss",),))
