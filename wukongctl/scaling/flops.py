"""FLOPs and parameters of a recipe, twice: by formula and by tracing, on the meta device.

Nothing is allocated, so a 600-billion-parameter recipe counts on a laptop.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from wukongctl.config.training import TrainingSpec
from wukongctl.data.schema import Batch, Schema
from wukongctl.errors import CheckFailed
from wukongctl.models import Model, build
from wukongctl.models.counts import CONVENTION, FORWARD_FLOP_PER_MAC, TRAINING_FLOP_PER_MAC, Counts, count

TRACE_BATCH = 2  # BatchNorm refuses a single example


@dataclass(frozen=True)
class ModuleCount:
    """One row of the per-module table."""

    name: str
    macs: int
    params: int

    @property
    def gflop(self) -> float:
        """Training GFLOP per example."""
        return TRAINING_FLOP_PER_MAC * self.macs / 1e9


@dataclass(frozen=True)
class FlopReport:
    """What one recipe costs per example."""

    recipe: str
    model: str
    counts: Counts
    traced_macs: int
    modules: tuple[ModuleCount, ...]
    embedding_rows_known: bool

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `flops --json`."""
        return {
            "recipe": self.recipe,
            "model": self.model,
            "convention": CONVENTION,
            "gflop_per_example": self.counts.gflop,
            "forward_gflop_per_example": self.counts.forward_gflop,
            "macs": self.counts.macs,
            "traced_macs": self.traced_macs,
            "params": {
                "dense": self.counts.dense_params,
                "embedding": self.counts.embedding_params if self.embedding_rows_known else None,
            },
            "modules": [
                {"name": m.name, "macs": m.macs, "gflop_per_example": m.gflop, "params": m.params}
                for m in self.modules
            ],
        }


def analyze(name: str, recipe: TrainingSpec, schema: Schema, *, embedding_rows_known: bool) -> FlopReport:
    """Count `recipe` on columns `schema`; raises CheckFailed when formula and trace disagree."""
    with torch.device("meta"):
        model = build(recipe.model, schema, sparse=False)
        traced = trace(model, schema)
    counts = count(model)
    if traced != counts.macs:
        raise CheckFailed(
            f"`{name}`: the formula counts {counts.macs:,} MACs and the trace {traced:,}",
            hint="this is a bug in the model's `macs`, please report it with the recipe",
        )
    return FlopReport(name, recipe.model.name, counts, traced, _modules(model), embedding_rows_known)


def trace(model: Model, schema: Schema) -> int:
    """MACs per example that torch's counter sees in one forward pass of a model on the meta device."""
    batch = Batch(
        ids=torch.empty(TRACE_BATCH, schema.id_columns, dtype=torch.int32, device="meta"),
        dense=torch.empty(TRACE_BATCH, len(schema.numeric), device="meta"),
        labels=torch.empty(TRACE_BATCH, device="meta"),
    )
    with FlopCounterMode(display=False) as counter:
        model(batch)
    return counter.get_total_flops() // (FORWARD_FLOP_PER_MAC * TRACE_BATCH)


def _modules(model: Model) -> tuple[ModuleCount, ...]:
    """One row per part of the model, in the order of its construction."""
    macs = model.macs()
    params = dict.fromkeys(macs, 0)
    for name, parameter in model.named_parameters():
        part = _part(name, macs)
        params[part] = params.get(part, 0) + parameter.numel()
    children = [name for name, _ in model.named_children()]

    def place(name: str) -> tuple[int, int]:
        child, _, rest = name.partition(".")
        number = rest.partition(".")[0]
        # A product without weights of its own, such as DLRM's, comes before the MLP that takes it in.
        index = children.index(child) if child in children else len(children) - 1
        return index, int(number) if number.isdigit() else 0

    return tuple(ModuleCount(name, macs.get(name, 0), params[name]) for name in sorted(params, key=place))


def _part(parameter: str, macs: dict[str, int]) -> str:
    """The counted part a parameter belongs to, else the module that holds it."""
    owner = next((part for part in macs if parameter == part or parameter.startswith(f"{part}.")), None)
    if owner is not None:
        return owner
    module, _, leaf = parameter.rpartition(".")
    if leaf == "projection" or module.endswith("fm_norm"):
        return f"{module.removesuffix('.fm_norm')}.fm"
    return module
