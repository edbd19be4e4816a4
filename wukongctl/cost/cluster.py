"""Estimates for a recipe on several GPUs: memory of each, communication, and the time of a step.

Nothing here is measured. Bytes and FLOP come from the model itself, traced on the meta device with the batch
of one GPU; rates are published ones (`gpus`) times the shares below. Each assumption is in the output.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from wukongctl.config.training import TrainingSpec
from wukongctl.cost.gpus import Gpu
from wukongctl.cost.network import Collective
from wukongctl.cost.placement import FLOAT, Placement, place
from wukongctl.cost.step import Phase, Step
from wukongctl.cost.traced import TracedModel
from wukongctl.errors import UsageError

PEAK_SHARE = 0.6
"""Of the published rate of dense products. An H200 reached 80 % with random numbers in large square products;
those of a model are smaller."""
BANDWIDTH_SHARE = 0.9
"""Of the published bandwidth of memory."""
NETWORK_SHARE = 0.8
"""Of the published bandwidth of links and network, in large collectives."""
LAUNCH_SECONDS = 2.5e-6
"""Per operator, in a CUDA graph."""
USABLE_SHARE = 0.9
"""Of the memory; the rest is for CUDA, NCCL and fragmentation."""
ADAM_BYTES = 7 * FLOAT
"""Per weight, in a fused step of Adam: reads weight, gradient and moments, writes weight and moments."""


@dataclass(frozen=True)
class Memory:
    """Bytes on the GPU that has most of them."""

    dense_weights: int
    dense_gradients: int
    dense_optimizer: int
    gathered: int
    """Layers that FSDP has gathered at the moment, with their gradients."""
    weight_copies: int
    activations: int
    batch: int
    tables: int
    table_gradients: int
    table_optimizer: int
    exchange: int
    """Buffers of embeddings sent and received."""
    frozen: int

    @property
    def total(self) -> int:
        """As if all of it were allocated at once."""
        return sum(asdict(self).values())


@dataclass(frozen=True)
class Timeline:
    """Seconds of one step; `exposed` are those of collectives during which nothing else runs."""

    look_up: float
    forward: float
    backward: float
    update_tables: float
    update_dense: float
    exposed: float

    @property
    def step(self) -> float:
        """One after the other."""
        return sum(asdict(self).values())


class ClusterPlan:
    """`gpus` GPUs training `recipe`; raises UsageError where they cannot."""

    def __init__(self, recipe: TrainingSpec, traced: TracedModel, gpu: Gpu, gpus: int) -> None:
        self.recipe, self.traced, self.gpu, self.gpus = recipe, traced, gpu, gpus
        self.counts = traced.counts
        self.examples = -(-recipe.batch_size // gpus)
        self.pieces = recipe.accumulate
        self.precision = gpu.precision(recipe.precision)
        self._check()

    @property
    def nodes(self) -> int:
        """Servers."""
        return -(-self.gpus // self.gpu.per_node)

    @property
    def dense(self) -> str:
        """`ddp` or `fsdp`; `whole` on a single GPU."""
        return self.recipe.distributed.dense if self.gpus > 1 else "whole"

    @property
    def embeddings(self) -> str:
        """The plan of embedding tables; `whole` on a single GPU."""
        return self.recipe.distributed.embeddings if self.gpus > 1 else "whole"

    @cached_property
    def step(self) -> Step:
        """The traced step of one micro-batch."""
        return self.traced.step(-(-self.examples // self.pieces), self.precision)

    @cached_property
    def placement(self) -> Placement:
        """The embedding tables."""
        return place(self.traced.tables, self.recipe, self.gpus, self.examples)

    @cached_property
    def memory(self) -> Memory:
        """Of the fullest GPU."""
        weights = FLOAT * self.counts.dense_params
        own = -(-weights // self.gpus) if self.dense == "fsdp" else weights
        unit = FLOAT * self.traced.largest_unit
        columns = self.traced.schema.id_columns + len(self.traced.schema.dense) + 1
        return Memory(
            dense_weights=own,
            dense_gradients=2 * own if self.dense == "ddp" else own,
            dense_optimizer=2 * own,
            gathered=4 * unit if self.dense == "fsdp" else 0,
            weight_copies=self.step.weight_copies,
            activations=self.step.peak,
            batch=FLOAT * columns * self.examples,
            tables=self.placement.weights,
            table_gradients=self.placement.gradients,
            table_optimizer=self.placement.optimizer,
            exchange=self.placement.exchange,
            frozen=FLOAT * self.counts.frozen_values,
        )

    @property
    def usable(self) -> int:
        """Bytes of one GPU that a run can have."""
        return int(USABLE_SHARE * self.gpu.memory)

    @property
    def fits(self) -> bool:
        """Whether the fullest GPU has enough memory."""
        return self.memory.total <= self.usable

    @cached_property
    def collectives(self) -> tuple[Collective, ...]:
        """Everything that is sent in a step."""
        if self.gpus == 1:
            return ()
        return (*self.placement.collectives, *self._dense_collectives())

    def seconds(self, collective: Collective) -> float:
        """Of one collective."""
        return collective.seconds(self.gpu, self.gpus, share=NETWORK_SHARE)

    @cached_property
    def timeline(self) -> Timeline:
        """Of one step."""
        bandwidth = BANDWIDTH_SHARE * self.gpu.bandwidth
        own = self.memory.dense_weights // FLOAT
        return Timeline(
            look_up=self.placement.look_up / bandwidth,
            forward=max(self.compute("forward"), self._sent("forward")),
            backward=max(self.compute("backward"), self._sent("backward")),
            update_tables=self.placement.update / bandwidth,
            update_dense=own * ADAM_BYTES / bandwidth + LAUNCH_SECONDS,
            exposed=self._sent(None),
        )

    def compute(self, phase: Phase) -> float:
        """Seconds of the operators of a phase."""
        peak, bandwidth = PEAK_SHARE * self.gpu.peaks[self.precision], BANDWIDTH_SHARE * self.gpu.bandwidth
        return self.pieces * self.step.seconds(phase, peak=peak, bandwidth=bandwidth, launch=LAUNCH_SECONDS)

    @property
    def examples_per_second(self) -> float:
        """Of all GPUs together."""
        return self.recipe.batch_size / self.timeline.step

    @property
    def mfu(self) -> float:
        """FLOP of products per second, over the published rate of all GPUs."""
        flop = self.counts.gflop * 1e9 * self.examples_per_second
        return flop / (self.gpus * self.gpu.peaks[self.precision])

    def _sent(self, phase: Phase | None) -> float:
        return sum(self.seconds(one) for one in self.collectives if one.overlaps == phase)

    def _dense_collectives(self) -> Iterator[Collective]:
        one = FLOAT * self.counts.dense_params * (self.gpus - 1) // self.gpus
        if self.dense == "ddp":
            yield Collective("dense gradients, all-reduce", "ring", 2 * one, "backward")
            return
        yield Collective("dense weights, all-gather", "ring", one, "forward")
        yield Collective("dense weights, all-gather again", "ring", one, "backward")
        yield Collective("dense gradients, reduce-scatter", "ring", one, "backward")

    def _check(self) -> None:
        if self.gpu.network is None and self.gpus > self.gpu.per_node:
            raise UsageError(
                f"no published network between servers of `{self.gpu.name}`: {self.gpus} GPUs are more than "
                f"the {self.gpu.per_node} of one",
                hint=f"use `--gpus {self.gpu.per_node}` or another `--gpu`",
            )
        if self.gpus > 1 and self.pieces > 1:
            raise UsageError(
                "`accumulate` needs a single process: several already split each batch",
                hint="add `--set accumulate=1`",
            )
        fewest = (2 if self.recipe.model.needs_two_rows else 1) * self.pieces
        if self.recipe.batch_size < fewest * self.gpus:
            raise UsageError(
                f"`batch_size: {self.recipe.batch_size}` is too small for {self.gpus} GPUs",
                hint=f"add `--set batch_size={fewest * self.gpus}`",
            )

    def assumptions(self) -> list[str]:
        """What the numbers rest on, one sentence each."""
        found = [
            f"matrix products run at {PEAK_SHARE:.0%} of the published dense {self.precision} rate, memory "
            f"at {BANDWIDTH_SHARE:.0%}, links and network at {NETWORK_SHARE:.0%}",
            f"operators are not fused: each reads its inputs, writes its outputs and takes "
            f"{LAUNCH_SECONDS * 1e6:g} µs to launch",
            f"{1 - USABLE_SHARE:.0%} of the memory stays free for CUDA, NCCL and fragmentation; gradients, "
            "activations and buffers count as if all were allocated at once",
            "each lookup of a step reads a different row, ids are spread evenly over rows, and reading data "
            "and sorting ids take no time",
        ]
        return [*found, *self._assumptions_of_plan()]

    def _assumptions_of_plan(self) -> Iterator[str]:
        if self.precision != self.recipe.precision:
            yield f"{self.gpu.title} does not support {self.recipe.precision}: estimated in {self.precision}"
        if self.gpus == 1:
            return
        yield (
            f"servers of {self.gpu.per_node} GPUs ({self.gpu.server}); collectives cost bandwidth but "
            "no latency; nothing else runs while embeddings are exchanged"
        )
        if self.dense == "ddp":
            yield "DDP keeps a second copy of the gradients in its buckets, and reduces them during backward"
        if self.dense == "fsdp":
            yield (
                "FSDP wraps each layer and holds two of them unsharded, weights and gradients in "
                "float32; gathering and reducing overlap with computation"
            )
            if self.precision == "bfloat16":
                yield "autocast keeps a bfloat16 copy of all weights until backward, with or without FSDP"
        if self.embeddings == "planner":
            yield "TorchRec's planner places whole tables, as `table_wise` does"

    def to_dict(self) -> dict[str, Any]:
        """The object `cluster` of `flops --json`; bytes per GPU, seconds per step."""
        return {
            "gpu": self.gpu.to_dict(),
            "gpus": self.gpus,
            "nodes": self.nodes,
            "examples_per_gpu": self.examples,
            "precision": self.precision,
            "dense": self.dense,
            "embeddings": self.embeddings,
            "memory": {**asdict(self.memory), "total": self.memory.total, "usable": self.usable},
            "fits": self.fits,
            "communication": [
                {
                    "name": one.name,
                    "pattern": one.pattern,
                    "bytes": one.sent,
                    "network_bytes": int(one.over_network(self.gpus, self.gpu.per_node)),
                    "seconds": self.seconds(one),
                    "overlaps": one.overlaps,
                }
                for one in self.collectives
            ],
            "seconds": {**asdict(self.timeline), "step": self.timeline.step},
            "examples_per_second": self.examples_per_second,
            "mfu": self.mfu,
            "assumptions": self.assumptions(),
        }
