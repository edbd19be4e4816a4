"""The manifest of a prepared dataset: its features, splits, sources and fingerprint, in `manifest.json`.

The fingerprint covers the encoded values of every column of every split in row order, and the vocabularies.
It does not depend on Parquet layout, compression, thread count, machine or time.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from wukongctl.config.dataset import License, SplitName
from wukongctl.config.numeric import Encoding
from wukongctl.config.spec import Spec
from wukongctl.data import next_steps, publishing
from wukongctl.data.schema import Schema, SequenceColumn
from wukongctl.data.statistics import Statistics
from wukongctl.errors import RunFailed, UsageError

if TYPE_CHECKING:
    from wukongctl.config.defaults import DatasetFacts

FORMAT_VERSION = 1
FILE = next_steps.MANIFEST
SAMPLE_RAW, SAMPLE_ENCODED = "sample/raw.parquet", "sample/encoded.parquet"
"""A few raw rows, and the same rows encoded."""
SPECIAL_IDS = 2
"""Embedding rows beside those of the vocabulary: 0 = missing, 1 = out of vocabulary. Under `compat: bars`
0 = padding, and the last = out of vocabulary or missing."""


class Feature(Spec):
    """One column of the Parquet files after `label`: first those of the recipe, then encodings of numbers.

    A `bin` column has ids in order of value, 0 where missing, 2 for the lowest. A `piecewise` column has the
    position among breakpoints, 0 at the first, 1 at the second, linear between, NULL where missing.
    """

    name: str
    type: Literal["categorical", "numeric", "sequence", "bin", "piecewise"]
    rows: int | None = None
    """Embedding rows, including the two special ids; None for numbers."""
    table: int | None = None
    """Position of the embedding table; a sequence may share one with a categorical feature."""
    vectors: str | None = None
    """NumPy file of the frozen vectors of `table`, relative to the dataset's folder: float32, one row per id,
    zeros for the special ids; None if embeddings are learned."""
    vector_dim: int | None = None
    max_len: int | None = None
    padding: Literal["pre", "post"] | None = None
    encoding: Encoding | None = None
    """For a numeric feature: which of its columns models read. The number itself is always a column, NULL
    where missing unless the encoding is `scalar`. None in datasets of older versions means `scalar`."""
    of: str | None = None
    """The numeric feature that a `bin` or `piecewise` column encodes."""
    edges: tuple[float, ...] | None = None
    """Ascending, in units of the number after `transform`, before `mean` and `std`: cuts of a `bin` column,
    where a value above n of them has id n + 2; breakpoints of a `piecewise` column."""
    transform: Literal["none", "log1p"] | None = None
    mean: float | None = None
    std: float | None = None


class DataFile(Spec):
    """One Parquet file, its path relative to the dataset's folder."""

    path: str
    rows: int
    bytes: int


class Split(Spec):
    """Rows of one split, over its files in order."""

    rows: int
    positives: int
    bayes_logloss: float | None = None
    """Mean entropy of the true click probability, if known: the lowest log loss a model can reach."""
    files: tuple[DataFile, ...]
    streamed: bool = False
    """Rows are drawn from the recipe's generator while training. `files` have the first of them, which
    `positives` and `bayes_logloss` are extrapolated from."""

    @property
    def has_both_classes(self) -> bool:
        """Whether it has positives and negatives, without which AUC is undefined."""
        return 0 < self.positives < self.rows


class SourceFile(Spec):
    """A raw file that was read."""

    file: str
    bytes: int
    md5: str | None = None
    """None where no MD5 is published."""
    sha256: str
    expected_md5: str | None = None
    expected_sha256: str | None = None
    expected_bytes: int | None = None
    verified: bool
    """A published checksum exists and matches."""


class RawRows(Spec):
    """The raw file that the SELECT transforms row by row, so that it can be applied to new files."""

    kind: Literal["csv", "parquet", "json"]
    columns: dict[str, str]
    """Name → DuckDB type."""
    needed: tuple[str, ...]
    """Columns that the features depend on."""
    options: dict[str, str] = Field(default={})
    """Argument of the reader, explicit or sniffed by DuckDB → SQL of its value."""
    sniffed: bool = False
    """Types were sniffed by DuckDB, not given by the recipe."""
    select: str
    """The SELECT as it was run, with the types that preparation declared."""
    source: int = 0
    """Position of the raw file among the files of the SELECT."""
    side: dict[str, tuple[str, ...]] = Field(default={})
    """Placeholder of each joined file → its paths."""
    folder: str = "."
    """Folder of relative paths in the SELECT."""
    sampled: int = 0
    """Rows in `sample/`, with which `predict` checks itself."""


class Versions(Spec):
    """Versions of the tools that wrote the files."""

    wukongctl: str
    duckdb: str
    pyarrow: str


class Manifest(Spec):
    """What readers of the prepared dataset need, and its provenance."""

    format_version: int = FORMAT_VERSION
    dataset: str
    description: str
    license: License | None = None
    citation: str | None = None
    recipe: dict[str, Any]
    recipe_digest: str
    """DatasetSpec.content_digest: covers the keys that affect the content."""
    sql_sha256: str
    """Of the SQL that was run, with file names instead of paths."""
    features: tuple[Feature, ...]
    splits: dict[SplitName, Split]
    sources: tuple[SourceFile, ...]
    verified: bool | None
    """All published checksums and counts match; False with `limit_rows` if counts are published. None if
    nothing is published."""
    problems: tuple[str, ...] = ()
    """Problems to look at: mismatches ignored by `--no-verify`, splits with one class."""
    rejected: int = 0
    """Rows skipped by `on_error: skip`; `rejected.csv` has a sample of them."""
    statistics: Statistics | None = None
    """None in datasets of older versions."""
    limit_rows: int | None = None
    raw: RawRows | None = None
    """None if the SELECT does more than transform rows, and in datasets of older versions."""
    obstacle: str | None = None
    """Why `raw` is None."""
    versions: Versions
    fingerprint: str

    def schema(self) -> Schema:  # pyrefly: ignore[bad-override] (pydantic's own is deprecated)
        """Columns in the order of `Batch`, for building a model."""
        tables = {f.table: f.rows for f in self.features if f.table is not None and f.rows is not None}
        dims = {f.table: f.vector_dim for f in self.features if f.vector_dim is not None}
        return Schema(
            categorical=tuple(
                f.name for kind in ("categorical", "bin") for f in self.features if f.type == kind
            ),
            numeric=tuple(
                f.name
                for f in self.features
                if f.type == "numeric" and f.encoding in (None, "scalar", "scalar+bins")
            ),
            piecewise=tuple(f.name for f in self.features if f.type == "piecewise"),
            pieces=tuple(max(len(f.edges or ()) - 1, 1) for f in self.features if f.type == "piecewise"),
            binned=tuple(f.name for f in self.features if f.type == "bin"),
            sequences=tuple(
                SequenceColumn(f.name, f.table, f.max_len, f.padding or "post")
                for f in self.features
                if f.type == "sequence" and f.table is not None and f.max_len is not None
            ),
            table_rows=tuple(rows for _, rows in sorted(tables.items())),
            vector_dims=tuple(dims.get(table, 0) for table in sorted(tables)) if dims else (),
        )

    def facts(self) -> "DatasetFacts":
        """What the defaults of training recipes depend on."""
        from wukongctl.config.defaults import DatasetFacts

        schema, valid = self.schema(), self.splits.get("valid")
        return DatasetFacts(
            train_rows=self.splits["train"].rows,
            valid_rows=valid.rows if valid is not None else None,
            cardinalities=tuple(
                f.rows for f in self.features if f.type in ("categorical", "sequence") and f.rows is not None
            ),
            numeric=sum(f.type == "numeric" for f in self.features),
            sequences=len(schema.sequences),
            embedding_rows=schema.embedding_rows,
        )

    def write(self, folder: Path) -> None:
        """Write `manifest.json` into `folder`."""
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False)
        (folder / FILE).write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> Manifest:
    """The manifest of the prepared dataset in `folder`; recovers from an interrupted replacement.

    Raises UsageError if there is no dataset or a newer version wrote it, RunFailed if files are damaged.
    """
    if not folder.is_dir():
        publishing.recover(folder)
    path = folder / FILE
    if not path.is_file():
        raise next_steps.not_prepared(folder.name, folder.parent)
    manifest = _parse(path)
    for split in manifest.splits.values():
        for file in split.files:
            check_file(folder / file.path, file.bytes)
    return manifest


def check_file(path: Path, size: int) -> None:
    """Raise RunFailed unless `path` is a file of `size` bytes."""
    actual = path.stat().st_size if path.is_file() else None
    if actual != size:
        what = "is missing" if actual is None else f"has {actual:,} bytes instead of {size:,}"
        raise damaged(path, what)


def damaged(path: Path, what: str) -> RunFailed:
    """The error for a damaged file of a prepared dataset."""
    hint = "prepare the dataset again with `--force`"
    if dataset := next((folder for folder in path.parents if (folder / FILE).is_file()), None):
        command = next_steps.to_prepare(dataset.name, dataset.parent)
        hint = f"run `{command} --force`" if command else hint
    return RunFailed(f"`{path}` {what}", hint=hint)


def _parse(path: Path) -> Manifest:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        version = data["format_version"]
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise UsageError(
                f"`{path}` has format {version}, this version of wukongctl reads up to {FORMAT_VERSION}",
                hint="upgrade wukongctl, or prepare the dataset again with `--force`",
            )
        return Manifest.from_dict(data)
    except (ValueError, KeyError, TypeError):
        raise damaged(path, "is damaged") from None
    except OSError as error:
        raise RunFailed(f"cannot read `{path}`: {(error.strerror or 'unknown error').lower()}") from None
