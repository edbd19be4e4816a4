"""Hypothetical datasets: the same columns with larger tables."""

from dataclasses import replace

from wukongctl.config.training import TrainingSpec
from wukongctl.cost.counting import count_spec
from wukongctl.data.schema import Schema
from wukongctl.errors import UsageError


def with_embedding_params(recipe: TrainingSpec, schema: Schema, params: int) -> Schema:
    """`schema` with all learned tables scaled alike, until `recipe` has about `params` weights in them.

    Raises UsageError for a model without tables.
    """
    now = count_spec(recipe.model, schema).embedding_params
    if now == 0 or schema.embedding_rows == 0:
        raise UsageError("`--embedding-params` needs categorical features or sequences, and there are none")
    rows = [
        rows if schema.vector_dim(table) else max(1, round(rows * params / now))
        for table, rows in enumerate(schema.table_rows)
    ]
    return replace(schema, table_rows=tuple(rows))
