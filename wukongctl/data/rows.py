"""New rows, in files of a user's own → batches of tensors, by the rules of a prepared dataset.

The rows have the columns that the dataset's SELECT gives, raw: texts, numbers, sequences. Values become ids
through the vocabularies of the prepared dataset, numbers are transformed and scaled as they were for
training; a value that training never saw is out of vocabulary. A label is not needed, and not looked at.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from wukongctl.config.dataset import DatasetSpec, Numeric
from wukongctl.config.loading import did_you_mean
from wukongctl.data import diagnosis, encode, lookup, sql, vocabulary
from wukongctl.data.batches import Columns
from wukongctl.data.engine import ConversionFailed, Engine
from wukongctl.data.lookup import Table
from wukongctl.data.manifest import Manifest
from wukongctl.data.schema import Batch
from wukongctl.errors import UsageError

READERS = {
    ".parquet": "read_parquet('{rows}')",
    ".csv": "read_csv('{rows}', header = true, all_varchar = true)",
    ".tsv": "read_csv('{rows}', header = true, all_varchar = true, delim = '\\t')",
}
"""Texts stay texts: `007` and `7` are two values, whichever a column begins with."""
COMPRESSION = (".gz", ".zst")


class RowReader:
    """Batches of raw rows. Raises UsageError for a dataset without its recipe's vocabularies."""

    def __init__(self, dataset: Path, manifest: Manifest, *, threads: int | None = None) -> None:
        spec = DatasetSpec.from_dict(manifest.recipe)
        self.dataset, self.threads = dataset, threads
        # The label of new rows is not known: any constant takes its place in the columns.
        self.spec = spec.model_copy(update={"label": "0", "probability": None})
        self.columns = Columns(manifest, with_probability=False)
        self.scales = {
            index: (feature.mean, feature.std)
            for index, feature in enumerate(manifest.features)
            if feature.mean is not None and feature.std is not None
        }
        self.vocabularies = _vocabularies(dataset, self.spec)

    def batches(self, path: Path) -> Iterator[Batch]:
        """The rows of a Parquet, CSV or TSV file, in order.

        Raises UsageError for a file that is missing, of another kind or without the columns of the
        features, RunFailed for one that cannot be read.
        """
        query = f"SELECT * FROM {_reader(path)}"
        with tempfile.TemporaryDirectory(prefix="wukongctl-") as spill:
            engine = Engine(
                str(path), {"rows": path}, spill=Path(spill), search=Path.cwd(), threads=self.threads
            )
            try:
                yield from self._batches(engine, query, path)
            finally:
                engine.close()

    def _batches(self, engine: Engine, query: str, path: Path) -> Iterator[Batch]:
        types = self._types(engine.types(query), path)
        rows = sql.select(self.spec, query, types)
        encoded = sql.encodable(self.spec, rows, self.scales, with_split=False)
        schema = encode.schema(self.spec)
        try:
            for part in encode.looked_up(engine, encoded, self.spec, self.vocabularies):
                columns = [column.fill_null(0) if column.null_count else column for column in part.columns]
                table = pa.table(columns, names=schema.names).cast(schema)
                packed = np.empty((table.num_rows, self.columns.width), np.int32)
                self.columns.pack(table, packed)
                yield self.columns.batch(torch.from_numpy(packed))
        except ConversionFailed as failure:
            raise diagnosis.not_a_number(engine, self.spec, [(query, types)]) or failure from None

    def _types(self, types: dict[str, str], path: Path) -> dict[str, str]:
        known = {name.lower(): kind for name, kind in types.items()}
        missing = [name for name, _ in self.spec.columns if name.lower() not in known]
        if missing:
            listed = ", ".join(f"`{name}`" for name in missing)
            hint = did_you_mean(missing[0], types) or f"it has {', '.join(f'`{name}`' for name in types)}"
            raise UsageError(f"`{path}` lacks the feature columns {listed}", hint=hint)
        return known


def _reader(path: Path) -> str:
    if not path.is_file():
        raise UsageError(f"there is no file `{path}`")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] in COMPRESSION else (suffixes or [""])[-1]
    if kind not in READERS:
        raise UsageError(f"cannot tell what `{path}` holds", hint="name it `.parquet`, `.csv` or `.tsv`")
    return READERS[kind]


def _vocabularies(dataset: Path, spec: DatasetSpec) -> dict[int, Table]:
    """By position of the feature; features that share a table share its vocabulary."""
    tables = vocabulary.tables(spec)
    owners: dict[int, Table] = {}
    for index, (name, group) in enumerate(spec.columns):
        if not isinstance(group, Numeric) and tables[index] not in owners:
            owners[tables[index]] = lookup.read(dataset, name, oov_last=spec.compat == "bars")
    return {index: owners[table] for index, table in tables.items()}
