"""Rows as DuckDB selects them → ids, in order, in parallel, in bounded memory.

DuckDB keeps the order of rows through scans and projections but not through joins, so vocabularies are
looked up outside of it: an Arrow scanner builds each hash table once and maps batches on all threads.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.dataset as ds

from wukongctl.config.dataset import Categorical, DatasetSpec, Numeric, Sequence
from wukongctl.data.engine import Engine
from wukongctl.data.vocabulary import Vocabulary

pc: Any = pyarrow.compute
"""Its functions are generated on import, where type checkers cannot see them."""
BATCH_ROWS = 65_536


def schema(spec: DatasetSpec) -> pa.Schema:
    """Columns of the Parquet files."""
    types = {Categorical: pa.int32(), Numeric: pa.float32(), Sequence: pa.list_(pa.int32())}
    fields = [pa.field("label", pa.uint8())]
    fields += [pa.field(name, types[type(group)]) for name, group in spec.columns]
    if spec.probability is not None:
        fields.append(pa.field("probability", pa.float32()))
    return pa.schema(fields)


def batches(
    engine: Engine, query: str, spec: DatasetSpec, vocabularies: Mapping[int, Vocabulary]
) -> Iterator[pa.RecordBatch]:
    """The rows of `query` (sql.encodable) with ids for values, under the names of `query`."""
    sequences = [i for i, (_, group) in enumerate(spec.columns) if isinstance(group, Sequence)]
    with engine.reader(query, BATCH_ROWS) as reader:
        scanner = ds.Scanner.from_batches(
            reader,
            columns=_projection(reader.schema.names, spec, vocabularies),
            use_threads=engine.threads != 1,
            batch_size=BATCH_ROWS,
            batch_readahead=4,
        )
        for batch in scanner.to_reader():
            yield _with_lists(batch, sequences, vocabularies) if sequences else batch


def _projection(
    names: list[str], spec: DatasetSpec, vocabularies: Mapping[int, Vocabulary]
) -> dict[str, Any]:
    columns = {name: pc.field(name) for name in names}
    for index, (_, group) in enumerate(spec.columns):
        if isinstance(group, Categorical):
            columns[f"f{index}"] = _ids(pc.field(f"f{index}"), vocabularies[index])
    return columns


def _ids(value: Any, vocabulary: Vocabulary) -> Any:
    """Ids of an array or of an expression over arrays."""
    first, unknown, missing = (
        pa.scalar(id_, pa.int32()) for id_ in (vocabulary.first, vocabulary.unknown, vocabulary.missing)
    )
    position = pc.index_in(value, value_set=vocabulary.values, skip_nulls=True)
    return pc.if_else(pc.is_null(value), missing, pc.coalesce(pc.add(position, first), unknown))


def _with_lists(
    batch: pa.RecordBatch, sequences: list[int], vocabularies: Mapping[int, Vocabulary]
) -> pa.RecordBatch:
    for index in sequences:
        lists = batch.column(f"f{index}")
        encoded = pa.ListArray.from_arrays(_offsets(lists), _ids(lists.flatten(), vocabularies[index]))
        batch = batch.set_column(batch.schema.get_field_index(f"f{index}"), f"f{index}", encoded)
    return batch


def _offsets(lists: pa.ListArray) -> pa.Array:
    """Offsets into `lists.flatten()`, which starts at the first list even where `lists` is a slice."""
    return pc.subtract(lists.offsets, lists.offsets[0])
