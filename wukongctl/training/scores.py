"""Scores of one split, in file order, from which its metrics are computed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wukongctl.training import auc
from wukongctl.training.auc import Z95, FloatArray, Placements

PerExample: TypeAlias = Callable[[FloatArray, FloatArray, FloatArray | None], NDArray[np.float64]]
"""logits, labels and, if known, true probabilities, all (rows,) → a value per example."""


class Measurable(Protocol):
    """Input of a metric: all scores, or sums over them."""

    @property
    def rows(self) -> int:
        """Number of examples."""
        ...

    @property
    def positive_rate(self) -> float:
        """Share of positives."""
        ...

    @property
    def has_probability(self) -> bool:
        """Whether true click probabilities are known."""
        ...

    @property
    def has_groups(self) -> bool:
        """Whether the group of each example is known."""
        ...

    def mean(self, per_example: PerExample) -> float:
        """Mean of a value over the examples."""
        ...

    def mean_interval(self, per_example: PerExample) -> tuple[float, float]:
        """95 % normal interval of that mean."""
        ...

    @property
    def placements(self) -> Placements | None:
        """What AUC and its interval are made of; None when only one class is present."""
        ...

    @property
    def gauc(self) -> float | None:
        """None without groups, or when none of them has both classes."""
        ...

    @property
    def auc_error_bound(self) -> float | None:
        """Bound on the error of the AUC; None if it is exact."""
        ...


@dataclass(frozen=True)
class Scores:
    """logits, labels, probability: (rows,) float32; groups: (rows,) ids, if requested."""

    logits: NDArray[np.float32]
    labels: NDArray[np.float32]
    probability: NDArray[np.float32] | None = None
    groups: NDArray[np.int32] | None = None
    _means: dict[PerExample, float] = field(default_factory=dict, repr=False, compare=False)

    auc_error_bound = None

    @property
    def rows(self) -> int:
        """Number of examples."""
        return len(self.labels)

    @cached_property
    def positive_rate(self) -> float:
        """Share of positives."""
        return float(np.mean(self.labels, dtype=np.float64))

    @property
    def has_probability(self) -> bool:
        """Whether true click probabilities are known."""
        return self.probability is not None

    @property
    def has_groups(self) -> bool:
        """Whether the group of each example is known."""
        return self.groups is not None

    def values(self, per_example: PerExample) -> NDArray[np.float64]:
        """(rows,) values."""
        return per_example(self.logits, self.labels, self.probability)

    def mean(self, per_example: PerExample) -> float:
        """Mean of a value over the examples."""
        if per_example not in self._means:
            self._means[per_example] = float(self.values(per_example).mean())
        return self._means[per_example]

    def mean_interval(self, per_example: PerExample) -> tuple[float, float]:
        """95 % normal interval of that mean."""
        values = self.values(per_example)
        half = Z95 * float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else float("inf")
        return float(values.mean()) - half, float(values.mean()) + half

    @cached_property
    def placements(self) -> Placements | None:
        """What AUC and its interval are made of; None when only one class is present."""
        return auc.placements(self.logits, self.labels) if 0 < self.positive_rate < 1 else None

    @cached_property
    def gauc(self) -> float | None:
        """None without groups, or when none of them has both classes."""
        return None if self.groups is None else auc.gauc(self.logits, self.labels, self.groups)


def losses(logits: FloatArray, labels: FloatArray, _: FloatArray | None = None) -> NDArray[np.float64]:
    """(rows,) negative log-likelihood of each label, stable for any finite logit."""
    logits = logits.astype(np.float64)
    return np.logaddexp(0, logits) - labels * logits


def excess_losses(logits: FloatArray, _: FloatArray, probability: FloatArray | None) -> NDArray[np.float64]:
    """(rows,) KL divergence from the true click probability, which must be known, to the predicted one."""
    assert probability is not None
    p = probability.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -(np.where(p > 0, p * np.log(p), 0) + np.where(p < 1, (1 - p) * np.log1p(-p), 0))
    return losses(logits, p) - entropy


def predictions(logits: FloatArray, _: FloatArray, __: FloatArray | None = None) -> NDArray[np.float64]:
    """(rows,) predicted probabilities, stable for any finite logit."""
    return np.exp(-np.logaddexp(0, -logits.astype(np.float64)))
