"""Per-example contributions to a metric, with which two runs are compared on the same rows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wukongctl.training.auc import group_areas
from wukongctl.training.scores import PerExample, Scores


@dataclass(frozen=True, slots=True)
class Contributions:
    """Contributions to a metric of one run: the metric is the weighted sum of the parts' means.

    A mean over examples has one part, the value of every row. AUC has two (DeLong et al. 1988,
    doi:10.2307/2531595), each with weight 1/2: for each positive the fraction of negatives ranked below it,
    and for each negative the fraction of positives ranked above it. Their variances give DeLong's variance.
    gAUC has one part, a value of every group.
    """

    parts: tuple[NDArray[np.float64], ...]
    weights: tuple[float, ...]

    @property
    def value(self) -> float:
        """The metric."""
        return float(sum(w * part.mean() for w, part in zip(self.weights, self.parts, strict=True)))


def auc_contributions(scores: Scores) -> Contributions | None:
    """Contributions to AUC; None if a class is absent.

    O(rows log rows) by ranks (Sun and Xu 2014, doi:10.1109/LSP.2014.2337313).
    """
    positive = scores.labels > 0.5
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if positives == 0 or negatives == 0:
        return None
    ranks = _ranks(scores.logits)
    beaten = (ranks[positive] - _ranks(scores.logits[positive])) / negatives
    beating = 1 - (ranks[~positive] - _ranks(scores.logits[~positive])) / positives
    return Contributions((beaten, beating), (0.5, 0.5))


def _ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Ranks from 1; ties share their mean."""
    _, groups, sizes = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(sizes) - (sizes - 1) / 2)[groups]


def gauc_contributions(scores: Scores) -> Contributions | None:
    """Contributions to gAUC; None without groups, or if none has both classes.

    gAUC is a ratio of two sums over groups. The value of a group is that ratio plus its influence on it,
    rows x (its AUC - gAUC) / mean rows: the mean is the gAUC, and the variance of the mean is that of the
    linearized ratio. Groups are the sampling unit, so rows within a group may be dependent.
    """
    if scores.groups is None:
        return None
    areas, rows = group_areas(scores.logits, scores.labels, scores.groups)
    if not len(areas):
        return None
    overall = float(np.average(areas, weights=rows))
    return Contributions((overall + rows * (areas - overall) / rows.mean(),), (1.0,))


def mean_contributions(per_example: PerExample) -> Callable[[Scores], Contributions]:
    """Contributions to the mean of a per-example value."""
    return lambda scores: Contributions((scores.values(per_example),), (1.0,))
