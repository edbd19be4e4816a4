"""FLOPs, parameters and bytes of a recipe; FLOPs twice, by formula and by tracing, on the meta device.

Nothing is allocated, so recipes of any size can be counted on a laptop.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from wukongctl.config.training import TrainingSpec
from wukongctl.cost.memory import FLOAT_BYTES, TrainingMemory, training_memory
from wukongctl.cost.published import Published
from wukongctl.cost.tracing import Trace, trace
from wukongctl.data.schema import Schema
from wukongctl.errors import CheckFailed
from wukongctl.models import Model, build
from wukongctl.models.counts import CONVENTION, FORWARD_FLOP_PER_MAC, TRAINING_FLOP_PER_MAC, Counts, count

PF_DAY = 8.64e19
"""FLOP of one PFLOP/s-day, as defined in the paper."""


@dataclass(frozen=True)
class ModuleCount:
    """One part of the model. Bytes of `activations` and `look_ups` are per example."""

    name: str
    macs: int
    params: int
    activations: int
    look_ups: int
    traffic: int
    """Bytes that a forward pass over one batch reads and writes, without fusion."""
    batch_size: int

    @property
    def gflop(self) -> float:
        """Training GFLOP per example."""
        return TRAINING_FLOP_PER_MAC * self.macs / 1e9

    @property
    def forward_gflop(self) -> float:
        """Forward GFLOP per example."""
        return FORWARD_FLOP_PER_MAC * self.macs / 1e9

    @property
    def intensity(self) -> float | None:
        """Forward FLOP per byte moved, at the recipe's batch size.

        None when the bytes are counted under another part, as in a layer that fuses products.
        """
        if self.traffic == 0:
            return None
        return FORWARD_FLOP_PER_MAC * self.macs * self.batch_size / self.traffic

    def to_dict(self) -> dict[str, Any]:
        """One entry of `modules`."""
        return {
            "name": self.name,
            "macs": self.macs,
            "gflop_per_example": self.gflop,
            "forward_gflop_per_example": self.forward_gflop,
            "params": self.params,
            "weight_bytes": FLOAT_BYTES * self.params,
            "activation_bytes_per_example": self.activations,
            "look_up_bytes_per_example": self.look_ups,
            "flop_per_byte": self.intensity,
        }


@dataclass(frozen=True)
class FlopReport:
    """The cost of one recipe per example."""

    recipe: str
    model: str
    counts: Counts
    traced_macs: int
    modules: tuple[ModuleCount, ...]
    memory: TrainingMemory
    uncounted: Mapping[str, tuple[int, int]]
    """Operator outside the convention → calls per forward pass, elements per example."""
    embedding_rows_known: bool
    published: Published | None = None

    @property
    def look_ups(self) -> int:
        """Bytes of embeddings that one example reads."""
        return sum(module.look_ups for module in self.modules)

    @property
    def intensity(self) -> float:
        """Forward FLOP per byte moved, at the recipe's batch size, without fusion."""
        moved = sum(module.traffic for module in self.modules)
        return FORWARD_FLOP_PER_MAC * self.counts.macs * self.memory.batch_size / max(moved, 1)

    @property
    def elementwise(self) -> int:
        """Forward operations per example outside the convention, one per element."""
        return sum(elements for _, elements in self.uncounted.values())

    def pf_days(self, examples: int) -> float:
        """PFLOP/s-days of training on `examples` examples."""
        return self.counts.gflop * 1e9 * examples / PF_DAY

    def to_dict(self, examples: int | None = None) -> dict[str, Any]:
        """The JSON object of `flops --json`."""
        known = self.embedding_rows_known
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
                "embedding": self.counts.embedding_params if known else None,
                **({"frozen": self.counts.frozen_values} if self.counts.frozen_values else {}),
            },
            "modules": [module.to_dict() for module in self.modules],
            "memory": self.memory.to_dict() if known else None,
            "look_up_bytes_per_example": self.look_ups,
            "flop_per_byte": self.intensity,
            "elementwise_flop_per_example": self.elementwise,
            "uncounted": [
                {"operator": name, "calls": calls, "flop_per_example": elements}
                for name, (calls, elements) in self.uncounted.items()
            ],
            **({} if self.published is None else {"published": self.published.to_dict()}),
            **({} if examples is None else {"examples": examples, "pf_days": self.pf_days(examples)}),
        }


def analyze(name: str, recipe: TrainingSpec, schema: Schema, *, embedding_rows_known: bool) -> FlopReport:
    """Count the FLOPs of `recipe` on `schema`; raises CheckFailed when formula and trace disagree."""
    with torch.device("meta"):
        model = build(recipe.model, schema, sparse=False)
        traced = trace(model, schema)
    counts = count(model)
    if traced.macs != counts.macs:
        raise CheckFailed(
            f"`{name}`: the formula counts {counts.macs:,} MACs and the trace {traced.macs:,}",
            hint="this is a bug in the model's `macs`; please report it with the recipe",
        )
    memory = training_memory(model, schema, recipe, activations=sum(traced.saved.values()))
    modules = _modules(model, traced, recipe.batch_size)
    return FlopReport(
        name, recipe.model.name, counts, traced.macs, modules, memory, traced.uncounted, embedding_rows_known
    )


def _modules(model: Model, traced: Trace, batch_size: int) -> tuple[ModuleCount, ...]:
    """One row per part of the model, in order of construction."""
    macs, parts = model.macs(), _Parts(model)
    params = parts.params
    saved, look_ups, traffic = Counter[str](), Counter[str](), Counter[str]()
    for module, moved in traced.traffic.items():
        traffic[parts.of(module)] += moved.at(batch_size)
    for module in traced.saved:
        saved[parts.of(module)] += traced.saved[module]
    for module in traced.looked_up:
        look_ups[parts.of(module)] += traced.looked_up[module]
    return tuple(
        ModuleCount(
            name, macs.get(name, 0), params[name], saved[name], look_ups[name], traffic[name], batch_size
        )
        for name in sorted(dict.fromkeys([*params, *traffic, *saved]), key=parts.position)
    )


class _Parts:
    """Assigns modules to the rows of the table, and orders the rows."""

    def __init__(self, model: Model) -> None:
        macs = model.macs()
        counted = {part: part for part in macs} | model.counted_under()
        self.params = Counter(dict.fromkeys(macs, 0))
        for name, parameter in model.named_parameters():
            self.params[_enclosing(name, counted) or name.rpartition(".")[0]] += parameter.numel()
        self.rows = {row: row for row in self.params} | counted
        self.names = {name for name, _ in model.named_modules()}
        self.children = [name for name, _ in model.named_children()]

    def of(self, module: str) -> str:
        """The counted part around a module, else its own product, else a part within it, else itself."""
        if (part := _enclosing(module, self.rows)) is not None:
            return part
        prefix = f"{module}." if module else ""
        within = [row for row in self.params if row.startswith(prefix) and row not in self.names]
        own = [row for row in within if "." not in row.removeprefix(prefix)]
        inside = [row for row in self.params if prefix and row.startswith(prefix)]
        return next(iter([*own, *inside]), module or "between")

    def position(self, name: str) -> tuple[int, int]:
        child, _, rest = name.partition(".")
        number = rest.partition(".")[0]
        # A product without weights, such as DLRM's, comes before the MLP that consumes it.
        index = self.children.index(child) if child in self.children else len(self.children) - 1
        return index, int(number) if number.isdigit() else 0


def _enclosing(name: str, parts: Mapping[str, str]) -> str | None:
    """The part that a module or parameter, or its closest enclosing module, is counted under."""
    while name and name not in parts:
        name = name.rpartition(".")[0]
    return parts.get(name)
