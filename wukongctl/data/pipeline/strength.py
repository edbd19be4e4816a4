"""The AUC of each feature alone. One near 1 is nearly always label leakage.

Each value of a feature is scored by its rate of positives in train, and held-out rows are ranked by these
scores. A missing value counts as a value: the most common leak is a column that is filled in after the click.
Rows are sampled and few columns read at a time, which bounds time and memory.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from wukongctl.config.dataset import SplitName
from wukongctl.data.manifest import Split
from wukongctl.machine import in_order

HELD_OUT: tuple[SplitName, ...] = ("valid", "test")
ROWS = 100_000
"""Rows sampled per split: an AUC of .98 is then known to ± .001 if a tenth of them are positive."""
BLOCKS = 8
"""Evenly spaced blocks of sampled rows: rows are often in order of time or label."""
PRIOR_ROWS = 10.0
"""Rows at the overall rate added to those of each value, so that rare values do not rank first."""
EDGES = 64
"""Quantiles that bin numbers; one equal to an edge, such as a frequent 0, has its own bin."""
ITEMS = 1_000_000
"""List items read; longer columns are sampled by row."""
MAX_SPARSE = 4
"""Codes per row up to which rows are counted in an array by code."""
MIN_CLASS_ROWS = 20
"""Rows of each class for an AUC: with fewer, a feature reaches 1 by chance."""

FloatArray = NDArray[np.float64]
Codes = NDArray[np.integer]
Labels = NDArray[np.bool_]
Counts = NDArray[np.integer] | Labels
Score = Callable[[pa.Array], FloatArray]


def measure(
    folder: Path, splits: Mapping[SplitName, Split], names: Sequence[str], threads: int | None = None
) -> dict[str, float]:
    """Feature → its AUC in the dataset in `folder`.

    Measured on the first of valid and test with enough rows of both classes. Without one, the even rows of
    train give the rates and the odd ones are ranked. Empty if there are too few rows.
    """
    train = _Sample(folder, splits["train"])
    suitable = [splits[name] for name in HELD_OUT if name in splits and _suffices(splits[name])]
    held_out = _Sample(folder, suitable[0]) if suitable else train
    fit, ranked = (slice(None), slice(None)) if suitable else (slice(0, None, 2), slice(1, None, 2))
    fit_labels, labels = train.labels[fit], held_out.labels[ranked]
    if not (_enough(fit_labels) and _enough(labels)):
        return {}

    def auc_of(name: str) -> float:
        column = train.column(name)
        other = held_out.column(name) if suitable else column
        return _auc_of(_rows(column, fit), fit_labels, _rows(other, ranked), labels)

    return dict(zip(names, in_order(auc_of, names, threads), strict=True))


def auc(scores: FloatArray, labels: Labels) -> float:
    """Area under the ROC curve, ties counted half; `labels` has both classes."""
    return _auc_of_groups(scores, labels, ~labels)


def _auc_of_groups(scores: FloatArray, positives: Counts, negatives: Counts) -> float:
    """The AUC of groups of rows with one score each, from their positives and negatives."""
    _, codes = np.unique(scores, return_inverse=True)
    positive, negative = np.bincount(codes, positives), np.bincount(codes, negatives)
    below = np.cumsum(negative) - negative
    return float(np.dot(positive, below + negative / 2) / (positive.sum() * negative.sum()))


def _auc_of(column: pa.Array, fit_labels: Labels, ranked: pa.Array, labels: Labels) -> float:
    if not pa.types.is_list(column.type):
        # Rows are counted by code, and codes ranked: there are far fewer of these.
        fit, held_out = _dense(*_codes(column, ranked))
        size = max(fit.max(), held_out.max()) + 1
        counted = _counts(fit, fit_labels, size), _counts(held_out, labels, size)
        (positives, rows), (ranked_positives, ranked_rows) = counted
        prior = fit_labels.mean()
        rates = np.where(rows > 0, (positives + PRIOR_ROWS * prior) / (rows + PRIOR_ROWS), prior)
        occurs = ranked_rows > 0
        found = ranked_positives[occurs]
        return _auc_of_groups(rates[occurs], found, ranked_rows[occurs] - found)
    some, some_ranked = (slice(None, None, 1 + len(lists.values) // ITEMS) for lists in (column, ranked))
    if not (_enough(fit_labels[some]) and _enough(labels[some_ranked])):
        some = some_ranked = slice(None)
    score = _list_scorer(_rows(column, some), fit_labels[some])
    return auc(score(_rows(ranked, some_ranked)), labels[some_ranked])


class _Sample:
    """Blocks of rows of one split, whatever its files and row groups."""

    def __init__(self, folder: Path, split: Split) -> None:
        self._files = [(folder / file.path, file.rows) for file in split.files]
        blocks = BLOCKS if split.rows > ROWS else 1
        size = min(ROWS, split.rows) // blocks
        starts = [split.rows * block // blocks for block in range(blocks)]
        self._spans = [(start, start + size) for start in starts]
        self.labels: Labels = self.column("label").to_numpy() > 0

    def column(self, name: str) -> pa.Array:
        """The sampled rows of one column."""
        pieces, first = [], 0
        for path, rows in self._files:
            pieces += self._read(path, first, name)
            first += rows
        return pa.concat_arrays(pieces)

    def _read(self, path: Path, first: int, name: str) -> Iterator[pa.Array]:
        """The sampled rows of a file whose first row is number `first`; skips other row groups."""
        with pq.ParquetFile(path) as file:
            for index in range(file.num_row_groups):
                last = first + file.metadata.row_group(index).num_rows
                within = [(max(start, first), min(stop, last)) for start, stop in self._spans]
                if within := [(start, stop) for start, stop in within if start < stop]:
                    group = file.read_row_group(index, columns=[name], use_threads=False)
                    column = group.column(0).combine_chunks()
                    # A copy, as a slice would keep the whole row group in memory.
                    yield from (_rows(column, slice(start - first, stop - first)) for start, stop in within)
                first = last


def _codes(fit: pa.Array, held_out: pa.Array) -> tuple[Codes, Codes]:
    """Ids of both columns, or numbers as bins between quantiles of `fit`."""
    if pa.types.is_integer(fit.type):
        return fit.to_numpy(), held_out.to_numpy()
    values = _numbers(fit)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, EDGES + 1), method="nearest"))
    return _bins(values, edges), _bins(_numbers(held_out), edges)


def _dense(fit: Codes, held_out: Codes) -> tuple[Codes, Codes]:
    """The codes renumbered if there are many more than rows."""
    if max(fit.max(), held_out.max()) < MAX_SPARSE * (len(fit) + len(held_out)):
        return fit, held_out
    _, codes = np.unique(np.concatenate([fit, held_out]), return_inverse=True)
    return codes[: len(fit)], codes[len(fit) :]


def _counts(codes: Codes, labels: Labels, size: int) -> tuple[Codes, Codes]:
    """Positives and rows of each code."""
    return np.bincount(codes[labels], minlength=size), np.bincount(codes, minlength=size)


def _list_scorer(column: pa.Array, labels: Labels) -> Score:
    """The scores of lists: the mean rate of their items; empty lists have a rate of their own."""
    items, owners = _items(column)
    empty = np.bincount(owners, minlength=len(column)) == 0
    rates = _Rates(items, labels[owners], labels.mean())
    (rate_of_empty,) = _Rates(np.zeros(empty.sum(), int), labels[empty], labels.mean())(np.zeros(1, int))

    def score(other: pa.Array) -> FloatArray:
        items, owners = _items(other)
        lengths = np.bincount(owners, minlength=len(other))
        sums = np.bincount(owners, rates(items), minlength=len(other))
        return np.where(lengths > 0, sums / np.maximum(lengths, 1), rate_of_empty)

    return score


class _Rates:
    """Smoothed rate of positives of each code; `prior`, the overall rate, for unknown codes."""

    def __init__(self, codes: Codes, labels: Labels, prior: float) -> None:
        self._known, places = np.unique(codes, return_inverse=True)
        positives, rows = np.bincount(places, labels), np.bincount(places)
        self._rates = np.append((positives + PRIOR_ROWS * prior) / (rows + PRIOR_ROWS), prior)

    def __call__(self, codes: Codes) -> FloatArray:
        places = np.searchsorted(self._known, codes)
        found = np.append(self._known, -1)[places] == codes
        return self._rates[np.where(found, places, -1)]


def _numbers(column: pa.Array) -> FloatArray:
    """Numbers as float64, missing ones below all others."""
    return column.fill_null(-np.inf).to_numpy().astype(np.float64)


def _bins(values: FloatArray, edges: FloatArray) -> Codes:
    """Even numbers between the edges, odd ones on them."""
    below = np.searchsorted(edges, values, "left")
    return 2 * below + (np.append(edges, np.nan)[below] == values)


def _items(lists: pa.ListArray) -> tuple[Codes, Codes]:
    """All items, and the row of each."""
    lengths = lists.value_lengths().to_numpy()
    return lists.flatten().to_numpy(), np.repeat(np.arange(len(lists)), lengths)


def _rows(column: pa.Array, chosen: slice) -> pa.Array:
    return column.take(pa.array(np.arange(len(column))[chosen]))


def _suffices(split: Split) -> bool:
    return min(split.positives, split.rows - split.positives) >= MIN_CLASS_ROWS


def _enough(labels: Labels) -> bool:
    return min(labels.sum(), (~labels).sum()) >= MIN_CLASS_ROWS
