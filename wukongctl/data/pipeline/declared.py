"""Columns of generated rows as the generator declares them, in place of train rows to count."""

import numpy as np
import pyarrow as pa

from wukongctl.config.dataset import DatasetSpec, Numeric
from wukongctl.data.pipeline import reading
from wukongctl.data.synthetic import generate, spectrum_teacher


def ideal(spec: DatasetSpec, feature: int) -> pa.Array:
    """A column of train rows in which values are as frequent as the generator says, in compact form."""
    assert spec.generator is not None
    name, group = spec.columns[feature]
    values = generate.teacher(spec.generator).ideal(spec.generator.columns.index(name))
    if isinstance(group, Numeric):
        return levels(group, values)
    texts = pa.array([str(value) for value in range(int(values.max()) + 1)])
    return pa.DictionaryArray.from_arrays(pa.array(values.astype(np.uint16)), texts)


def levels(group: Numeric, values: np.ndarray) -> pa.Array:
    """Levels of a numeric column as numbers, in compact form."""
    return reading.number(pa.array(spectrum_teacher.numbers(values).astype(np.float64)), group)
