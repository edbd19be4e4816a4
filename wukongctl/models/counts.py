"""FLOPs and parameters of a model by formula, in the paper's convention.

Training FLOP = 6 x MAC of matrix products (2 per multiply-accumulate; forward plus two backward
products), one example, embedding lookups 0, decimal prefixes. The paper never states it; its tables
follow it to rounding.
"""

from dataclasses import dataclass
from typing import Any

from wukongctl.models import Model
from wukongctl.models.embeddings import embedding_tables, frozen_vectors

CONVENTION = "6 FLOP per MAC of matrix products (forward 2, backward 4), per example; look-ups 0"
FORWARD_FLOP_PER_MAC = 2
TRAINING_FLOP_PER_MAC = 6


@dataclass(frozen=True)
class Counts:
    """Per-example multiply-accumulates and parameters."""

    macs: int
    dense_params: int
    embedding_params: int
    frozen_values: int = 0
    """Values of pretrained vectors, each table once; they are not trained, so not parameters."""

    @property
    def gflop(self) -> float:
        """Training GFLOP per example."""
        return TRAINING_FLOP_PER_MAC * self.macs / 1e9

    @property
    def forward_gflop(self) -> float:
        """Forward GFLOP per example."""
        return FORWARD_FLOP_PER_MAC * self.macs / 1e9


def to_dict(counts: Counts | None) -> dict[str, Any]:
    """The keys of a dry run; null for a model without FLOPs."""
    if counts is None:
        return {"gflop_per_example": None, "params": {"dense": None, "embedding": None}}
    params = {"dense": counts.dense_params, "embedding": counts.embedding_params}
    return {"gflop_per_example": counts.gflop, "params": params}


def count(model: Model) -> Counts:
    """Count by formula; works on the meta device."""
    embedding = sum(table.numel() for table in embedding_tables(model))
    total = sum(parameter.numel() for parameter in model.parameters())
    frozen = {module.table: module.vectors.numel() for module in frozen_vectors(model)}
    return Counts(sum(model.macs().values()), total - embedding, embedding, sum(frozen.values()))
