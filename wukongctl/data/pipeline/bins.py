"""Edges between the bins or pieces of a number: quantiles, breakpoints, the buckets of `log2`.

All functions take the distinct values of train in ascending order, as groups with a least and a greatest
value, `low` and `high`. A group has one value unless there are very many (`MAX_GROUPS`).
"""

import numpy as np

from wukongctl.data.manifest import SPECIAL_IDS

MAX_GROUPS = 1 << 20
"""More distinct values than this are grouped by their leading bits, to bound memory."""
LOG2_LEAST = -100
"""`log2`: smaller numbers share a bin."""


def keys(values: np.ndarray) -> np.ndarray:
    """Doubles as int64 in the same order; 0.0 and -0.0 are one."""
    return _flipped((values + 0.0).view(np.int64))


def values_of(keys: np.ndarray) -> np.ndarray:
    """The doubles behind `keys`."""
    return _flipped(keys).view(np.float64)


def cuts(low: np.ndarray, high: np.ndarray, counts: np.ndarray, limit: int) -> np.ndarray:
    """At most `limit` - 1 cuts, halfway between the last value of a bin and the first of the next.

    A value above a cut belongs to the next bin.
    """
    last = bin_ends(counts, limit)[:-1]
    below, above = high[last], low[last + 1]
    # Halves are added, as a sum could overflow; for adjacent floats, the middle could round to `above`.
    return np.clip(below / 2 + above / 2, below, np.nextafter(above, -np.inf))


def breakpoints(low: np.ndarray, high: np.ndarray, counts: np.ndarray, limit: int) -> np.ndarray:
    """The least value, and the greatest of each bin: the ends of at most `limit` pieces."""
    return np.unique(np.concatenate([low[:1], high[bin_ends(counts, limit)]]))


def log2_cuts(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Cuts between the buckets in train: floor(ln(x)²) where x > 2, else x without its fraction.

    A value of a bucket that is not in train belongs to the next lower one.
    """
    if not len(low):
        return np.empty(0)
    starts = _log2_starts(float(high[-1]))
    found = np.unique(np.searchsorted(starts, np.concatenate([low, high]), side="right"))
    return np.nextafter(starts[found[1:] - 1], -np.inf)  # a value on the start is above the cut


def ids(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The id of each value's bin, int32: 2 plus the number of cuts below it."""
    return (np.searchsorted(edges, values, side="left") + SPECIAL_IDS).astype(np.int32)


def positions(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The position of each value among breakpoints, float32: 0 at the first, 1 at the second, linear between.

    Values beyond an end have its position. Component t of the encoding is min(max(position - t, 0), 1).
    """
    if len(edges) < 2:
        return np.zeros(len(values), np.float32)
    piece = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    start, stop = edges[piece] / 2, edges[piece + 1] / 2  # halved, as the difference could overflow
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        fraction = np.nan_to_num((values / 2 - start) / (stop - start))
    return (piece + np.clip(fraction, 0, 1)).astype(np.float32)


def bin_ends(counts: np.ndarray, limit: int) -> np.ndarray:
    """The position of the last value of each bin, ascending; at most `limit` of them.

    A value with at least the rows of a bin is a bin of its own. The stretches between such values share the
    remaining bins in proportion to their rows, and are cut at quantiles (NumPy's `inverted_cdf`). Integers
    throughout, so that nothing is rounded.
    """
    if len(counts) <= limit:
        return np.arange(len(counts))
    heavy = _heavy(counts, limit)
    below = np.cumsum(np.where(heavy, 0, counts))  # rows of the other values up to each
    bins, rows = limit - int(heavy.sum()), int(below[-1])
    ends: list[int] = []
    first = 0
    for stop in (*np.flatnonzero(heavy).tolist(), len(counts)):
        before, until = (int(below[end - 1]) if end else 0 for end in (first, stop))
        wanted = _nearest(until * bins, rows) - _nearest(before * bins, rows)
        targets = before - (-np.arange(1, wanted + 1) * (until - before) // max(wanted, 1))  # rounded up
        if stop > first:
            ends += np.unique(np.searchsorted(below, targets)).tolist()
        if stop < len(counts):
            ends.append(stop)
        first = stop + 1
    ends[-1] = len(counts) - 1  # a last stretch too small for a bin joins the one before
    return np.array(ends)


def _heavy(counts: np.ndarray, limit: int) -> np.ndarray:
    """Which values have at least the rows of a bin, without the rows of such values."""
    heavy = np.zeros(len(counts), bool)
    while True:
        bins, rows = limit - int(heavy.sum()), int(counts[~heavy].sum())
        more = ~heavy & (counts * bins >= rows)
        if not more.any():
            return heavy
        heavy |= more


def _nearest(numerator: int, denominator: int) -> int:
    """The integer nearest to a fraction, rounding halves up."""
    return (2 * numerator + denominator) // (2 * denominator)


def _log2_starts(highest: float) -> np.ndarray:
    """The least value of each bucket but the first, up to that of `highest`."""
    whole = np.arange(LOG2_LEAST, 3, dtype=np.float64)
    # Fractions round towards zero: -1.5 counts as -1, whose bucket begins above -2.
    small = np.where(whole <= 0, np.nextafter(whole - 1, np.inf), whole)
    steps = np.arange(1, int(np.log(max(highest, 2.0)) ** 2) + 2, dtype=np.float64)
    above = np.nextafter(2.0, np.inf)
    return np.concatenate([small, [above], np.exp(np.sqrt(steps[steps >= 1]))])


def _flipped(bits: np.ndarray) -> np.ndarray:
    """Float bits to integers in the same order, and back."""
    return bits ^ ((bits >> 63) & np.int64(0x7FFF_FFFF_FFFF_FFFF))
