"""Profile of a training step, for `bench`."""

import itertools
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from wukongctl.config.training import TrainingSpec
from wukongctl.data import manifest as manifests
from wukongctl.data.atomic import write_atomic
from wukongctl.data.batches import BatchReader
from wukongctl.models.counts import count
from wukongctl.training import feeds, graphs, hardware
from wukongctl.training.distributed import ALONE
from wukongctl.training.feeds import BatchShard
from wukongctl.training.hardware import Stopwatch
from wukongctl.training.parallel import ParallelModel
from wukongctl.training.plan import new_model
from wukongctl.training.update import Update

QUIET = "99"
"""Log level of the profiler's library, which otherwise writes `USDT:…` lines to stderr."""
WARM_UP = 3
"""Untimed steps, which allocate memory and choose or compile kernels."""


def bench(recipe: TrainingSpec, *, data: Path, steps: int, trace: Path | None = None) -> dict[str, Any]:
    """Train `steps` steps of `recipe` without a run folder, and time each phase.

    `trace` is the file for a Chrome trace of the last step (chrome://tracing, Perfetto). On a CPU, rates are
    per CPU-second, which other processes do not affect. On a GPU, rates are per second of wall-clock time,
    and the device times the phases, in as many additional steps.
    """
    execution = hardware.execution(recipe)
    execution.apply()
    torch.manual_seed(recipe.seed)
    folder = data / recipe.data
    manifest = manifests.read(folder)
    model = new_model(recipe, manifest, folder).to(execution.device)
    update = Update(recipe, ParallelModel(model, recipe, ALONE), execution)
    reader = feeds.train_reader(recipe, manifest, folder)
    feed = feeds.choose(reader, recipe, execution, ALONE)
    shards = feeds.endless(feed)
    for _ in range(WARM_UP + graphs.WARM_UP):
        update(next(shards), 1.0)
    found = {
        "recipe": recipe.run_name,
        "model": recipe.model.name,
        "device": hardware.name_of(execution.device),
        "precision": execution.precision,
        "threads": execution.threads,
        "compile": execution.compile,
        "cuda_graph": execution.cuda_graph,
        "data_on": feed.name,
        "notes": list(execution.notes),
        "gflop_per_example": count(model).gflop,
    }
    measure = _on_cpu if execution.device == hardware.CPU else _on_gpu
    found |= measure(update, shards, steps, found["gflop_per_example"], trace)
    shards.close()
    return found | {
        "evaluation_examples_per_cpu_second": _evaluation_rate(update, reader),
        "loader_rows_per_cpu_second": _loader_rate(reader),
    }


def _on_cpu(
    update: Update, shards: Iterator[BatchShard], steps: int, gflop: float, trace: Path | None
) -> dict[str, Any]:
    phases = Phases()
    examples = _timed(update, shards, steps, phases, trace)
    cpu, wall = sum(phases.cpu_seconds.values()), sum(phases.seconds.values())
    peak = hardware.matmul_peak(update.execution.precision, update.execution.threads, cpu_time=True) / 1e9
    return {
        "examples": examples,
        "seconds": wall,
        "cpu_seconds": cpu,
        "examples_per_second": examples / wall,
        "examples_per_cpu_second": examples / cpu,
        "mfu": gflop * examples / cpu / peak,
        "peak_gflops_per_cpu_second": peak,
        "phases": [
            {"phase": name, "seconds": phases.seconds[name], "cpu_seconds": own, "share": own / cpu}
            for name, own in phases.cpu_seconds.items()
        ],
    }


def _on_gpu(
    update: Update, shards: Iterator[BatchShard], steps: int, gflop: float, trace: Path | None
) -> dict[str, Any]:
    device = update.execution.device
    module = torch.get_device_module(device)
    module.reset_peak_memory_stats(device)
    hardware.synchronize(device)
    watch, examples = Stopwatch(), 0
    for shard in itertools.islice(shards, steps):
        update(shard, 1.0)
        examples += shard.rows
    hardware.synchronize(device)
    seconds = watch.seconds
    peak = hardware.matmul_peak(update.execution.precision, update.execution.threads, device=device) / 1e9
    phases = DevicePhases(device)
    update.graphed = update.step  # a graph has no separate phases
    _timed(update, shards, steps, phases, trace)
    own = phases.seconds()
    return {
        "examples": examples,
        "seconds": seconds,
        "examples_per_second": examples / seconds,
        "mfu": gflop * examples / seconds / peak,
        "peak_gflops_per_second": peak,
        "memory_bytes": module.max_memory_allocated(device),
        "phases": [
            {"phase": name, "seconds": taken, "share": taken / sum(own.values())}
            for name, taken in own.items()
        ],
    }


def _timed(
    update: Update,
    shards: Iterator[BatchShard],
    steps: int,
    phases: Callable[[str], AbstractContextManager[object]],
    trace: Path | None,
) -> int:
    """Train `steps` steps, time their phases, and return the number of examples."""
    update.phase = phases
    examples = 0
    for step in range(steps):
        with phases("loader"):
            shard = next(shards)
        with _traced(trace, update.execution.device) if step == steps - 1 else nullcontext():
            update(shard, 1.0)
        examples += shard.rows
    return examples


class Phases:
    """Stopwatches by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.cpu_seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Add the time of the context to `name`."""
        watch = Stopwatch()
        yield
        self.seconds[name] += watch.seconds
        self.cpu_seconds[name] += watch.cpu_seconds


class DevicePhases:
    """Phases on a GPU, timed by events in its stream; the host waits only when they are read."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.module = device, torch.get_device_module(device)
        self.events: dict[str, list[tuple[Any, Any]]] = defaultdict(list)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Add the time of the context to `name`."""
        begin, end = (self.module.Event(enable_timing=True) for _ in range(2))
        begin.record()
        yield
        end.record()
        self.events[name].append((begin, end))

    def seconds(self) -> dict[str, float]:
        """Seconds by name; waits for the device."""
        hardware.synchronize(self.device)
        return {
            name: sum(begin.elapsed_time(end) for begin, end in pairs) / 1e3
            for name, pairs in self.events.items()
        }


@torch.inference_mode()
def _evaluation_rate(update: Update, reader: BatchReader, batches: int = 4) -> float:
    """Examples scored per CPU-second."""
    update.model.eval()
    source, examples, cpu = reader.epoch(0), 0, 0.0
    for batch in itertools.islice(source, batches):
        watch = Stopwatch()
        with update.execution.autocast:
            update.model(batch.to(update.execution.device))
        hardware.synchronize(update.execution.device)
        cpu, examples = cpu + watch.cpu_seconds, examples + len(batch.labels)
    return examples / max(cpu, 1e-9)


def _loader_rate(reader: BatchReader, limit: int = 1_000_000) -> float:
    """Rows read per CPU-second, over one epoch or `limit` rows."""
    watch, rows = Stopwatch(), 0
    for batch in reader.epoch(0):
        rows += len(batch.labels)
        if rows >= limit:
            break
    return rows / max(watch.cpu_seconds, 1e-9)


@contextmanager
def _traced(path: Path | None, device: torch.device) -> Iterator[None]:
    """Write a Chrome trace of the context to `path`, if given."""
    if path is None:
        yield
        return
    os.environ.setdefault("KINETO_LOG_LEVEL", QUIET)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        yield
        hardware.synchronize(device)
    with TemporaryDirectory() as folder:
        draft = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(draft))
        write_atomic(path, lambda file: file.write(draft.read_bytes()))
