"""AUC of more scores than one wants to keep: a histogram with a bound on its own error."""

import numpy as np
from numpy.typing import NDArray

BINS = 100_000


class StreamingAUC:
    """Counts both classes in equal bins of probability; memory and time per score do not grow.

    Pairs of one bin count half. Each counts between nothing and one in the exact AUC, so that one lies
    within `error_bound` of `auc`, whatever the scores.
    """

    def __init__(self, bins: int = BINS) -> None:
        self._counts = np.zeros((2, bins), np.int64)

    def add(self, logits: NDArray[np.floating], labels: NDArray[np.floating]) -> None:
        """Take in (rows,) logits and labels."""
        bins = self._counts.shape[1]
        with np.errstate(over="ignore"):
            probability = 1 / (1 + np.exp(-logits.astype(np.float32)))
        places = np.minimum((probability * np.float32(bins)).astype(np.int64), bins - 1)
        places[labels > 0.5] += bins
        self._counts += np.bincount(places, minlength=2 * bins).reshape(2, bins)

    @property
    def auc(self) -> float:
        """Raises ValueError when a class is absent."""
        negatives, positives = self._counts
        below = np.cumsum(negatives) - negatives / 2
        return float(np.dot(positives, below)) / self._pairs

    @property
    def error_bound(self) -> float:
        """Largest possible distance to the exact AUC."""
        negatives, positives = self._counts.astype(np.float64)
        return float(np.dot(positives, negatives)) / 2 / self._pairs

    @property
    def _pairs(self) -> float:
        negatives, positives = self._counts.sum(axis=1)
        if not negatives or not positives:
            raise ValueError("AUC needs examples of both classes")
        return float(negatives) * float(positives)
