"""Prepared datasets: their tables, vocabularies, batches and statistics."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from wukongctl.api.explained import explained
from wukongctl.api.frames import Frame, FrameKind, converted
from wukongctl.config.suggestions import did_you_mean
from wukongctl.data import manifest as manifests
from wukongctl.data import recipe_sources
from wukongctl.data.manifest import Manifest, damaged
from wukongctl.data.schema import Schema
from wukongctl.data.statistics import Statistics
from wukongctl.errors import UsageError

if TYPE_CHECKING:
    from wukongctl.api.batches import Batches


class Dataset:
    """A prepared dataset: a folder with a manifest, splits in Parquet and vocabularies.

    `path` is the folder, `manifest` all that `manifest.json` records: features, splits, sources, checksums,
    fingerprint. Raises UsageError if there is no prepared dataset in `path`, RunFailed if it is damaged.
    """

    @explained
    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self.manifest: Manifest = manifests.read(self.path)

    def __repr__(self) -> str:
        splits = ", ".join(f"{name} {rows:,}" for name, rows in self.splits.items())
        return f"Dataset({str(self.path)!r}: {splits} rows)"

    @property
    def name(self) -> str:
        """The name of its recipe."""
        return self.manifest.dataset

    @property
    def splits(self) -> dict[str, int]:
        """Split → number of rows."""
        return {str(name): split.rows for name, split in self.manifest.splits.items()}

    @property
    def schema(self) -> Schema:
        """The columns as models see them: categorical, numeric and sequence features, rows of each table."""
        return self.manifest.schema()

    @property
    def statistics(self) -> Statistics | None:
        """Label rates and, per feature, missing rate, coverage, AUC alone, histogram; None in datasets of
        older versions."""
        return self.manifest.statistics

    @explained
    def table(self, split: str, *, columns: Sequence[str] | None = None, to: FrameKind = "arrow") -> Frame:
        """The rows of a split as models read them: label, ids, numbers.

        Ids are rows of embedding tables, see `vocabulary`. Of a split that is drawn while training, the rows
        that are stored. Raises UsageError for a split or a column that does not exist.
        """
        files = [self.path / file.path for file in self._split(split).files]
        names = pq.read_schema(files[0]).names
        for name in columns or ():
            if name not in names:
                raise UsageError(f"`{self.name}` has no column `{name}`", hint=did_you_mean(name, names))
        wanted = None if columns is None else list(columns)
        try:
            parts = [pq.ParquetFile(file).read(columns=wanted) for file in files]
        except (pa.ArrowException, OSError) as error:
            raise damaged(files[0].parent, f"cannot be read: {str(error).splitlines()[0]}") from error
        return converted(pa.concat_tables(parts).select(wanted or names), to)

    @explained
    def vocabulary(self, feature: str, *, to: FrameKind = "arrow") -> Frame:
        """Columns `value`, `id` and `count` of a feature, the most frequent value first.

        Ids 0 (missing) and 1 (out of vocabulary) have no value. Raises UsageError for a feature without a
        vocabulary, such as a number.
        """
        from wukongctl.data.pipeline.vocabulary import file_name

        known = [each.name for each in self.manifest.features if (self.path / file_name(each.name)).is_file()]
        if feature not in known:
            hint = did_you_mean(feature, known) or f"those with one: {', '.join(map(str, known)) or 'none'}"
            raise UsageError(f"`{feature}` of `{self.name}` has no vocabulary of its own", hint=hint)
        return converted(pq.ParquetFile(self.path / file_name(feature)).read(), to)

    @explained
    def batches(
        self, split: str = "train", *, batch_size: int = 4096, shuffle: bool | None = None, seed: int = 0
    ) -> "Batches":
        """Batches of a split for a training loop of your own: a `torch.utils.data.IterableDataset`.

        `shuffle` defaults to true for `train`: every pass has another order, which depends on `seed` alone.
        """
        from wukongctl.api.batches import Batches
        from wukongctl.data.batches import BatchReader

        self._split(split)
        shuffled = split == "train" if shuffle is None else shuffle
        return Batches(
            BatchReader(self.path, self.manifest, split, batch_size=batch_size, shuffle=shuffled, seed=seed)
        )

    def _split(self, name: str) -> manifests.Split:
        splits = {str(split): info for split, info in self.manifest.splits.items()}
        if name not in splits:
            hint = did_you_mean(name, splits) or f"it has {', '.join(splits)}"
            raise UsageError(f"dataset `{self.name}` has no split `{name}`", hint=hint)
        return splits[name]


@explained
def load(name: str | Path, *, data: str | Path | None = None) -> Dataset:
    """The prepared dataset `name`, in the folder `data` (default: `data`), or a path to it.

    Raises UsageError if it is not prepared; the hint has the command that does.
    """
    return Dataset(recipe_sources.prepared_dataset(str(name), None if data is None else Path(data)))
