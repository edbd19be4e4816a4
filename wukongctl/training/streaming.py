"""Metrics of more scores than one wants to keep: memory and time per score do not grow with their number."""

from dataclasses import replace

import numpy as np

from wukongctl.training.metrics import (
    Z95,
    Floats,
    Metrics,
    Placements,
    example_losses,
    excess_logloss,
    sigmoid,
    summary,
)

BINS = 100_000


class StreamingScores:
    """What `Scores` measures, from sums and a histogram: exact but for the AUC, whose error is bounded.

    Scores count in equal bins of probability, and pairs of one bin count half. Each of those counts between
    nothing and one in the exact AUC, so that one lies within `auc_error_bound`, whatever the scores.
    """

    def __init__(self, bins: int = BINS) -> None:
        self._counts = np.zeros((2, bins), np.int64)
        self._loss = self._squared_loss = self._predicted = self._excess = 0.0
        self._knows_probability = False

    def add(self, logits: Floats, labels: Floats, probability: Floats | None = None) -> None:
        """Take in (rows,) logits, labels and, where known, true probabilities."""
        predicted, losses = sigmoid(logits), example_losses(logits, labels)
        self._loss += float(losses.sum())
        self._squared_loss += float(np.dot(losses, losses))
        self._predicted += float(predicted.sum())
        if probability is not None:
            self._knows_probability = True
            self._excess += excess_logloss(logits, probability) * len(logits)
        bins = self._counts.shape[1]
        places = np.minimum((predicted * bins).astype(np.int64), bins - 1)
        places[labels > 0.5] += bins
        self._counts += np.bincount(places, minlength=2 * bins).reshape(2, bins)

    def measure(self) -> Metrics:
        """All metrics, with the bound on the error of the AUC."""
        negatives, positives = self._counts.sum(axis=1).tolist()
        rows, mixed = negatives + positives, negatives > 0 < positives
        found = summary(
            rows=rows,
            rate=positives / rows,
            logloss=self._loss / rows,
            predicted=self._predicted / rows,
            auc=self._placements().auc if mixed else None,
            excess_logloss=self._excess / rows if self._knows_probability else None,
        )
        return replace(found, auc_error_bound=self._error_bound() if mixed else None)

    def auc_interval(self) -> tuple[float, float]:
        """95 % interval of the AUC of the binned scores; raises ValueError when a class is absent."""
        return self._placements().interval()

    def logloss_interval(self) -> tuple[float, float]:
        """95 % normal interval of the mean LogLoss."""
        rows = int(self._counts.sum())
        mean = self._loss / rows
        variance = max(0.0, self._squared_loss - rows * mean**2) / max(rows - 1, 1)
        half = Z95 * (variance / rows) ** 0.5 if rows > 1 else float("inf")
        return mean - half, mean + half

    def _placements(self) -> Placements:
        negatives, positives = self._counts
        return Placements.of([(positives, negatives)], int(positives.sum()), int(negatives.sum()))

    def _error_bound(self) -> float:
        """Half the share of pairs that fall into one bin."""
        negatives, positives = self._counts.astype(np.float64)
        return float(np.dot(positives, negatives)) / 2 / float(positives.sum() * negatives.sum())
