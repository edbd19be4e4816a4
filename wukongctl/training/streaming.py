"""Sums over more scores than fit in memory, in constant memory."""

from collections.abc import Iterable

import numpy as np

from wukongctl.training.auc import Z95, FloatArray, Placements
from wukongctl.training.scores import PerExample, predictions

BINS = 100_000


class StreamingScores:
    """The measurements of `Scores` from sums and a histogram: exact except AUC, whose error is bounded.

    Scores are counted in equal bins of probability; pairs within a bin count half. In the exact AUC each of
    them counts between 0 and 1, so it is within `auc_error_bound`, whatever the scores. `summed` are the
    per-example values whose means are available.
    """

    has_groups = False
    gauc = None

    def __init__(self, summed: Iterable[PerExample], *, has_probability: bool, bins: int = BINS) -> None:
        self.has_probability = has_probability
        self._counts = np.zeros((2, bins), np.int64)
        self._sums = dict.fromkeys(summed, 0.0)
        self._squares = dict.fromkeys(self._sums, 0.0)

    def add(self, logits: FloatArray, labels: FloatArray, probability: FloatArray | None = None) -> None:
        """Add (rows,) logits, labels and, if known, true probabilities."""
        for per_example in self._sums:
            values = per_example(logits, labels, probability)
            self._sums[per_example] += float(values.sum())
            self._squares[per_example] += float(np.dot(values, values))
        bins = self._counts.shape[1]
        places = np.minimum((predictions(logits, labels) * bins).astype(np.int64), bins - 1)
        places[labels > 0.5] += bins
        self._counts += np.bincount(places, minlength=2 * bins).reshape(2, bins)

    @property
    def rows(self) -> int:
        """Number of examples."""
        return int(self._counts.sum())

    @property
    def positive_rate(self) -> float:
        """Share of positives."""
        return int(self._counts[1].sum()) / self.rows

    def mean(self, per_example: PerExample) -> float:
        """Mean of a value over the examples."""
        return self._sums[per_example] / self.rows

    def mean_interval(self, per_example: PerExample) -> tuple[float, float]:
        """95 % normal interval of that mean."""
        rows, mean = self.rows, self.mean(per_example)
        variance = max(0.0, self._squares[per_example] - rows * mean**2) / max(rows - 1, 1)
        half = Z95 * (variance / rows) ** 0.5 if rows > 1 else float("inf")
        return mean - half, mean + half

    @property
    def placements(self) -> Placements | None:
        """Of the binned scores; None if only one class is present."""
        negatives, positives = self._counts
        if not (negatives.any() and positives.any()):
            return None
        return Placements.of([(positives, negatives)], int(positives.sum()), int(negatives.sum()))

    @property
    def auc_error_bound(self) -> float | None:
        """Half the share of pairs within one bin; None if only one class is present."""
        negatives, positives = self._counts.astype(np.float64)
        pairs = float(positives.sum() * negatives.sum())
        return float(np.dot(positives, negatives)) / 2 / pairs if pairs else None
