"""The metrics: one entry of METRICS each, used by files, tables and comparisons.

To add one, write the entry; a mean over examples needs only its value for one example. A recipe can watch
those that `EarlyStopping.metric` allows.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

import numpy as np

from wukongctl.training import scores
from wukongctl.training.contributions import (
    Contributions,
    auc_contributions,
    gauc_contributions,
    mean_contributions,
)
from wukongctl.training.run_record import SplitMetrics
from wukongctl.training.scores import Measurable, PerExample, Scores

T = TypeVar("T")
Need: TypeAlias = Literal["both classes", "groups", "probability"]


@dataclass(frozen=True)
class Metric:
    """A measure of the scores of a split."""

    name: str
    """Key in JSON files and recipes."""
    title: str
    """Heading in tables."""
    value: Callable[[Measurable], float | None]
    """From all scores, or from sums over them; None if undefined."""
    higher_is_better: bool | None = None
    """None if the best value is in between."""
    format: str = ".5f"
    means: tuple[PerExample, ...] = ()
    """Per-example values whose means `value` uses."""
    needs: tuple[Need, ...] = ()
    interval: Callable[[Measurable], tuple[float, float]] | None = None
    """95 % interval, for a `value` that is not None."""
    contributions: Callable[[Scores], Contributions | None] | None = None
    """Contributions of examples or groups, to compare runs by; None if runs are not compared by it."""

    def applies_to(self, scored: Measurable) -> bool:
        """Whether the inputs it needs besides logits and labels are known."""
        unknown = {"groups": not scored.has_groups, "probability": not scored.has_probability}
        return not any(unknown.get(need, False) for need in self.needs)

    def gain(self, before: float, after: float) -> float:
        """How much better `after` is than `before`."""
        return after - before if self.higher_is_better else before - after

    def best(self, values: Iterable[float]) -> float:
        """The best of one or more values."""
        return max(values) if self.higher_is_better else min(values)

    def index_of_best(self, values: Sequence[float]) -> int:
        """Index of the best value, the first of ties."""
        return values.index(self.best(values))

    def ranked(self, items: Iterable[T], value: Callable[[T], float]) -> list[T]:
        """Items from best to worst."""
        return sorted(items, key=value, reverse=bool(self.higher_is_better))

    def text(self, value: float) -> str:
        """Formatted for tables."""
        return format(value, self.format)


def _auc(scored: Measurable) -> float | None:
    return None if scored.placements is None else scored.placements.auc


def _auc_interval(scored: Measurable) -> tuple[float, float]:
    assert scored.placements is not None
    return scored.placements.interval()


def _normalized_entropy(scored: Measurable) -> float | None:
    rate = scored.positive_rate
    if not 0 < rate < 1:
        return None
    entropy = -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate))
    return scored.mean(scores.losses) / float(entropy)


def _calibration(scored: Measurable) -> float | None:
    rate = scored.positive_rate
    return scored.mean(scores.predictions) / rate if rate > 0 else None


def _mean_of(per_example: PerExample) -> Callable[[Measurable], float]:
    return lambda scored: scored.mean(per_example)


AUC = Metric(
    "auc",
    "AUC",
    _auc,
    higher_is_better=True,
    needs=("both classes",),
    interval=_auc_interval,
    contributions=auc_contributions,
)
GAUC = Metric(
    "gauc",
    "gAUC",
    lambda scored: scored.gauc,
    higher_is_better=True,
    needs=("both classes", "groups"),
    contributions=gauc_contributions,
)
LOGLOSS = Metric(
    "logloss",
    "LogLoss",
    _mean_of(scores.losses),
    higher_is_better=False,
    means=(scores.losses,),
    interval=lambda scored: scored.mean_interval(scores.losses),
    contributions=mean_contributions(scores.losses),
)
NORMALIZED_ENTROPY = Metric(  # LogLoss over the entropy of the split's own click rate (He et al. 2014)
    "normalized_entropy",
    "norm. entropy",
    _normalized_entropy,
    higher_is_better=False,
    format=".4f",
    means=(scores.losses,),
    needs=("both classes",),
)
CALIBRATION = Metric(  # mean prediction over click rate
    "calibration", "calibration", _calibration, format=".4f", means=(scores.predictions,)
)
EXCESS_LOGLOSS = Metric(  # LogLoss above that of the true probabilities, without label noise
    "excess_logloss",
    "excess LogLoss",
    _mean_of(scores.excess_losses),
    higher_is_better=False,
    means=(scores.excess_losses,),
    needs=("probability",),
    contributions=mean_contributions(scores.excess_losses),
)

METRICS: dict[str, Metric] = {
    metric.name: metric for metric in (AUC, GAUC, LOGLOSS, NORMALIZED_ENTROPY, CALIBRATION, EXCESS_LOGLOSS)
}
COMPARED: tuple[Metric, ...] = tuple(metric for metric in METRICS.values() if metric.contributions)
"""Metrics that runs are compared by, and that are averaged over seeds."""


def measure(scored: Measurable) -> SplitMetrics:
    """Number of rows and every metric of a split, without undefined ones."""
    found: SplitMetrics = {"rows": scored.rows}
    for metric in METRICS.values():
        if metric.applies_to(scored) and (value := metric.value(scored)) is not None:
            found[metric.name] = value
    if scored.auc_error_bound is not None:
        found["auc_error_bound"] = scored.auc_error_bound
    return found


def summed(*, has_probability: bool) -> tuple[PerExample, ...]:
    """The per-example values that the metrics need sums of."""
    wanted = (metric for metric in METRICS.values() if has_probability or "probability" not in metric.needs)
    return tuple(dict.fromkeys(per_example for metric in wanted for per_example in metric.means))


def in_brief(metrics: SplitMetrics) -> str:
    """`auc 0.70000 logloss 0.50000`, for logs."""
    shown = (metric for metric in (AUC, GAUC, LOGLOSS) if metric.name in metrics)
    return " ".join(f"{metric.name} {metric.text(metrics[metric.name])}" for metric in shown)
