"""Exact AUC, over all rows or within groups, without a loop over rows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
Ties = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Positives and negatives at each of some distinct scores, ascending."""
Z95 = 1.959963984540054
BLOCK = 1 << 15
"""Rows per block: temporaries of all rows would cost more than the arithmetic."""


def auc(scores: FloatArray, labels: FloatArray) -> float:
    """Area under the ROC curve, ties counted half. Raises ValueError if a class is absent."""
    return placements(scores, labels).auc


def gauc(scores: FloatArray, labels: FloatArray, groups: NDArray[np.integer]) -> float | None:
    """Mean AUC of the groups (such as users) that have both classes, weighted by rows; ties count half.

    As in Zhu et al. 2017 (arXiv 1706.06978). None if no group has both classes.
    """
    areas, rows = group_areas(scores, labels, groups)
    return float(np.average(areas, weights=rows)) if len(areas) else None


def group_areas(
    scores: FloatArray, labels: FloatArray, groups: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """AUC and number of rows of each group that has both classes, ordered by group."""
    order = np.lexsort((scores, groups))
    scores, groups, clicked = scores[order], groups[order], labels[order] > 0.5
    first = np.flatnonzero(np.concatenate(([True], groups[1:] != groups[:-1])))
    sizes = np.diff(np.append(first, len(groups)))
    positives = np.add.reduceat(clicked.astype(np.int64), first)
    # Ranks from 1 within each group, mean rank for ties: the Mann-Whitney rank sum.
    new = np.concatenate(([True], (scores[1:] != scores[:-1]) | (groups[1:] != groups[:-1])))
    tied = np.flatnonzero(new)
    lengths = np.diff(np.append(tied, len(scores)))
    ranks = np.repeat(tied + (lengths + 1) / 2, lengths) - np.repeat(first, sizes)
    sums = np.add.reduceat(np.where(clicked, ranks, 0.0), first)
    mixed = (positives > 0) & (positives < sizes)
    p, n = positives[mixed], (sizes - positives)[mixed]
    return (sums[mixed] - p * (p + 1) / 2) / (p * n), sizes[mixed]


@dataclass(frozen=True)
class Placements:
    """Mean and variance, by class, of the share of the other class that an example outranks; ties half."""

    auc: float
    positives: int
    negatives: int
    positive_variance: float
    negative_variance: float

    @classmethod
    def of(cls, ties: Iterable[Ties], positives: int, negatives: int) -> "Placements":
        """From the (positives, negatives) of each distinct score, ascending, in any number of blocks.

        Counts are integers, so the AUC is exact. Raises ValueError if a class is absent.
        """
        if positives == 0 or negatives == 0:
            raise ValueError("AUC needs examples of both classes")
        wins = positives_below = negatives_below = 0  # wins in halves
        beaten_squared = beating_squared = 0.0
        for tied_positives, tied_negatives in ties:
            beaten = 2 * (np.cumsum(tied_negatives) + negatives_below) - tied_negatives
            beating = 2 * (positives - positives_below - np.cumsum(tied_positives)) + tied_positives
            wins += int(np.dot(tied_positives, beaten))
            beaten_squared += float(np.dot(tied_positives, (beaten / (2 * negatives)) ** 2))
            beating_squared += float(np.dot(tied_negatives, (beating / (2 * positives)) ** 2))
            positives_below += int(tied_positives.sum())
            negatives_below += int(tied_negatives.sum())
        area = wins / (2 * positives * negatives)
        return cls(
            auc=area,
            positives=positives,
            negatives=negatives,
            positive_variance=max(0.0, beaten_squared - positives * area**2) / max(positives - 1, 1),
            negative_variance=max(0.0, beating_squared - negatives * area**2) / max(negatives - 1, 1),
        )

    def interval(self) -> tuple[float, float]:
        """95 % interval by DeLong's variance (doi:10.2307/2531595), clipped to [0, 1]."""
        variance = self.positive_variance / self.positives + self.negative_variance / self.negatives
        half = Z95 * variance**0.5
        return max(0.0, self.auc - half), min(1.0, self.auc + half)


def placements(scores: FloatArray, labels: FloatArray) -> Placements:
    """From (rows,) scores and labels; raises ValueError if a class is absent.

    Block by block, which keeps the counts in cache.
    """
    keys = _sorted_keys(scores, labels)
    positives = int(np.count_nonzero(keys & np.uint64(1)))
    ties = (_count_ties(block) for block in _blocks_of_ties(keys))
    return Placements.of(ties, positives, len(keys) - positives)


def _sorted_keys(scores: FloatArray, labels: FloatArray) -> NDArray[np.uint64]:
    """Score and label of each example as one 64-bit number, sorted in place."""
    keys = np.empty(len(scores), np.uint64)
    for start in range(0, len(scores), BLOCK):
        part = slice(start, start + BLOCK)
        # Adding zero merges -0 and +0, which compare equal but differ in their bits.
        bits = (np.ascontiguousarray(scores[part], dtype=np.float32) + np.float32(0)).view(np.uint32)
        # Order-preserving map of IEEE floats to unsigned integers.
        ordered = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)
        keys[part] = (ordered << np.uint64(1)) | (labels[part] > 0.5)
    keys.sort()
    return keys


def _blocks_of_ties(keys: NDArray[np.uint64]) -> Iterator[NDArray[np.uint64]]:
    """Consecutive blocks of sorted keys; equal scores stay together."""
    start = 0
    while start < len(keys):
        last = keys[min(start + BLOCK, len(keys)) - 1] | np.uint64(1)
        stop = int(np.searchsorted(keys, last, side="right"))
        yield keys[start:stop]
        start = stop


def _count_ties(keys: NDArray[np.uint64]) -> Ties:
    """Positives and negatives of each distinct score among sorted keys."""
    score = keys >> np.uint64(1)
    ends = np.append(np.flatnonzero(score[1:] != score[:-1]), len(keys) - 1)
    positives = np.diff(np.cumsum(keys & np.uint64(1), dtype=np.int64)[ends], prepend=0)
    return positives, np.diff(ends, prepend=-1) - positives
