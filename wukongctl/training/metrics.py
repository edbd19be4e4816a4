"""AUC, LogLoss, normalized entropy and calibration from logits, exact and without a loop over rows."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Z95 = 1.959963984540054


@dataclass(frozen=True)
class Metrics:
    """Quality of one split. `excess_logloss` is known only where true probabilities are."""

    rows: int
    auc: float | None
    """None when only one class is present."""
    logloss: float
    normalized_entropy: float | None
    """LogLoss over the entropy of the split's own click rate (He et al. 2014)."""
    calibration: float | None
    """Mean prediction over click rate."""
    excess_logloss: float | None = None
    """Mean KL(p* || prediction): LogLoss above the Bayes LogLoss, without label noise."""

    def __str__(self) -> str:
        return f"{'' if self.auc is None else f'auc {self.auc:.5f} '}logloss {self.logloss:.5f}"

    def to_dict(self) -> dict[str, float | int]:
        """Plain values, unknown ones left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def measure(logits: Floats, labels: Floats, probability: Floats | None = None) -> Metrics:
    """Every metric of one split. logits, labels, probability: (rows,)."""
    losses = example_losses(logits, labels)
    logloss, rate = float(losses.mean()), float(np.mean(labels, dtype=np.float64))
    mixed = 0 < rate < 1
    entropy = -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate)) if mixed else 0.0
    predicted = float(np.mean(_sigmoid(logits), dtype=np.float64))
    return Metrics(
        rows=len(labels),
        auc=auc(logits, labels) if mixed else None,
        logloss=logloss,
        normalized_entropy=logloss / float(entropy) if mixed else None,
        calibration=predicted / rate if rate > 0 else None,
        excess_logloss=excess_logloss(logits, probability) if probability is not None else None,
    )


def example_losses(logits: Floats, labels: Floats) -> NDArray[np.float64]:
    """(rows,) negative log-likelihood of each label, stable for any finite logit."""
    logits = logits.astype(np.float64)
    return np.logaddexp(0, logits) - labels * logits


def excess_logloss(logits: Floats, probability: Floats) -> float:
    """Mean KL divergence from the true click probability to the predicted one."""
    p = probability.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -(np.where(p > 0, p * np.log(p), 0) + np.where(p < 1, (1 - p) * np.log1p(-p), 0))
    return float(np.mean(example_losses(logits, p) - entropy))


def auc(scores: Floats, labels: Floats) -> float:
    """Area under the ROC curve, ties counted half. Raises ValueError when a class is absent."""
    return _placements(scores, labels).auc


def gauc(scores: Floats, labels: Floats, groups: NDArray[np.integer]) -> float | None:
    """Mean AUC of the groups (users, say) that have both classes, weighted by their rows; ties count half.

    As in Zhu et al. 2017 (arXiv 1706.06978). None when no group has both classes.
    """
    order = np.lexsort((scores, groups))
    scores, groups, clicked = scores[order], groups[order], labels[order] > 0.5
    first = np.flatnonzero(np.concatenate(([True], groups[1:] != groups[:-1])))
    sizes = np.diff(np.append(first, len(groups)))
    positives = np.add.reduceat(clicked.astype(np.int64), first)
    # Ranks from 1 inside each group, tied scores sharing their mean: Mann and Whitney's sum of ranks.
    new = np.concatenate(([True], (scores[1:] != scores[:-1]) | (groups[1:] != groups[:-1])))
    tied = np.flatnonzero(new)
    lengths = np.diff(np.append(tied, len(scores)))
    ranks = np.repeat(tied + (lengths + 1) / 2, lengths) - np.repeat(first, sizes)
    sums = np.add.reduceat(np.where(clicked, ranks, 0.0), first)
    mixed = (positives > 0) & (positives < sizes)
    if not mixed.any():
        return None
    p, n = positives[mixed], (sizes - positives)[mixed]
    areas = (sums[mixed] - p * (p + 1) / 2) / (p * n)
    return float(np.average(areas, weights=sizes[mixed]))


def auc_interval(scores: Floats, labels: Floats) -> tuple[float, float]:
    """95 % interval of the AUC by DeLong's variance (doi:10.2307/2531595), clipped to [0, 1]."""
    ranked = _placements(scores, labels)
    variance = ranked.positive_variance / ranked.positives + ranked.negative_variance / ranked.negatives
    half = Z95 * variance**0.5
    return max(0.0, ranked.auc - half), min(1.0, ranked.auc + half)


def logloss_interval(logits: Floats, labels: Floats) -> tuple[float, float]:
    """95 % normal interval of the mean LogLoss over examples."""
    losses = example_losses(logits, labels)
    half = Z95 * float(losses.std(ddof=1)) / len(losses) ** 0.5 if len(losses) > 1 else float("inf")
    return float(losses.mean()) - half, float(losses.mean()) + half


@dataclass(frozen=True)
class _Placements:
    auc: float
    positives: int
    negatives: int
    positive_variance: float
    negative_variance: float


def _placements(scores: Floats, labels: Floats) -> _Placements:
    """For each distinct score: what share of the other class it beats (ties half).

    Score and label share one 64-bit key, so a single in-place sort does everything.
    """
    # Adding zero merges -0 and +0, which compare equal but differ in their bits.
    bits = (np.ascontiguousarray(scores, dtype=np.float32) + np.float32(0)).view(np.uint32)
    # Order-preserving map of IEEE floats to unsigned integers.
    ordered = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)
    keys = (ordered << np.uint64(1)) | (labels > 0.5).astype(np.uint64)
    keys.sort()
    positive = (keys & np.uint64(1)).astype(np.int64)
    score = keys >> np.uint64(1)
    ends = np.append(np.flatnonzero(score[1:] != score[:-1]), len(keys) - 1)
    tied_positives = np.diff(np.cumsum(positive)[ends], prepend=0)
    tied_negatives = np.diff(ends + 1, prepend=0) - tied_positives
    positives, negatives = int(tied_positives.sum()), int(tied_negatives.sum())
    if positives == 0 or negatives == 0:
        raise ValueError("AUC needs examples of both classes")
    beaten = (np.cumsum(tied_negatives) - tied_negatives / 2) / negatives
    beating = 1 - (np.cumsum(tied_positives) - tied_positives / 2) / positives
    area = float(np.dot(tied_positives, beaten)) / positives
    return _Placements(
        auc=area,
        positives=positives,
        negatives=negatives,
        positive_variance=float(np.dot(tied_positives, (beaten - area) ** 2)) / max(positives - 1, 1),
        negative_variance=float(np.dot(tied_negatives, (beating - area) ** 2)) / max(negatives - 1, 1),
    )


def _sigmoid(logits: Floats) -> NDArray[np.float64]:
    return np.exp(-np.logaddexp(0, -logits.astype(np.float64)))
