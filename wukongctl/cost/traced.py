"""What a plan needs to know of a model: counted once, traced once per batch size and precision."""

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import nn

from wukongctl.config.training import TrainingSpec
from wukongctl.cost.placement import TableShape, table_groups
from wukongctl.cost.step import Step, trace_step
from wukongctl.data.schema import Schema
from wukongctl.models import Model, build
from wukongctl.models.counts import Counts, count


class TracedModel:
    """The model of a recipe on the meta device; how it is trained and where makes no difference to it."""

    def __init__(self, recipe: TrainingSpec, schema: Schema) -> None:
        self.schema = schema
        with torch.device("meta"):
            self.model = build(recipe.model, schema, sparse=False)
        self._steps: dict[tuple[int, str], Step] = {}

    @cached_property
    def counts(self) -> Counts:
        """MACs and parameters."""
        return count(self.model)

    @cached_property
    def tables(self) -> list[list[TableShape]]:
        """The tables of each `Embeddings`."""
        return table_groups(self.model)

    @cached_property
    def largest_unit(self) -> int:
        """Dense weights of the largest part that FSDP gathers at a time."""
        return max(
            (sum(weights.numel() for weights in _dense(part)) for part in _parts(self.model)), default=0
        )

    def step(self, rows: int, precision: str) -> Step:
        """A training step over `rows` examples."""
        key = rows, precision
        if key not in self._steps:
            self._steps[key] = trace_step(self.model, self.schema, rows, precision)
        return self._steps[key]


def _parts(model: Model) -> Iterator[nn.Module]:
    """The parts of a model, lists part by part."""
    for child in model.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield child


def _dense(module: nn.Module) -> Iterator[torch.Tensor]:
    tables = {id(one.weight) for one in module.modules() if isinstance(one, nn.Embedding)}
    return (weights for weights in module.parameters() if id(weights) not in tables)
