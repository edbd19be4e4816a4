"""Profile of a training step."""

import itertools
import os
from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from wukongctl.config.training import TrainingSpec
from wukongctl.data import manifest as manifests
from wukongctl.data.atomic import write_atomic
from wukongctl.data.batches import BatchReader
from wukongctl.errors import UsageError
from wukongctl.models.counts import count
from wukongctl.training import feeds, hardware
from wukongctl.training.distributed import ALONE
from wukongctl.training.feeds import Feed, Share
from wukongctl.training.hardware import Execution, Stopwatch, matmul_peak
from wukongctl.training.parallel import ParallelModel
from wukongctl.training.plan import new_model
from wukongctl.training.update import Update

QUIET = "99"
"""Log level of the profiler's library, which otherwise writes `USDT:…` lines to stderr."""
WARM_UP = 3
"""Untimed steps, in which memory is first touched and kernels are chosen or compiled."""


def bench(recipe: TrainingSpec, *, data: Path, steps: int, trace: Path | None = None) -> dict[str, Any]:
    """Train `steps` steps of `recipe` without a run folder, and time each phase.

    `trace` gets a Chrome trace of the last step (chrome://tracing, Perfetto). Rates are per CPU-second,
    which other processes do not affect; `seconds` is wall time. Raises UsageError.
    """
    execution = hardware.execution(recipe)
    if execution.device != hardware.CPU:
        raise UsageError("`bench` measures CPU time and does not support GPUs", hint="add `--set device=cpu`")
    execution.apply()
    torch.manual_seed(recipe.seed)
    folder = data / recipe.data
    manifest = manifests.read(folder)
    model = new_model(recipe, manifest, folder)
    update = Update(recipe, ParallelModel(model, recipe, ALONE), execution)
    reader = BatchReader(
        folder, manifest, "train", batch_size=recipe.batch_size, shuffle=recipe.shuffle, seed=recipe.seed
    )
    batches = _cycle(feeds.choose(reader, recipe, execution, ALONE))
    for _ in range(WARM_UP):
        update(next(batches), 1.0)
    phases = Phases()
    update.phase = phases
    examples = 0
    for step in range(steps):
        with phases("loader"):
            share = next(batches)
        with _traced(trace) if step == steps - 1 else nullcontext():
            update(share, 1.0)
        examples += share.rows
    batches.close()
    return _report(recipe, execution, phases, examples, count(model).gflop) | {
        "evaluation_examples_per_cpu_second": _evaluation_rate(update, reader),
        "loader_rows_per_cpu_second": _loader_rate(reader),
    }


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


def _report(
    recipe: TrainingSpec, execution: Execution, phases: Phases, examples: int, gflop: float
) -> dict[str, Any]:
    cpu, wall = sum(phases.cpu_seconds.values()), sum(phases.seconds.values())
    peak = matmul_peak(execution.precision, execution.threads, cpu_time=True) / 1e9
    return {
        "recipe": recipe.run_name,
        "model": recipe.model.name,
        "precision": execution.precision,
        "threads": execution.threads,
        "compile": execution.compile,
        "notes": list(execution.notes),
        "examples": examples,
        "gflop_per_example": gflop,
        "seconds": wall,
        "cpu_seconds": cpu,
        "examples_per_second": examples / wall,
        "examples_per_cpu_second": examples / cpu,
        "mfu": gflop * examples / cpu / peak,
        "peak_gflops_per_cpu_second": peak,
        "phases": [
            {
                "phase": name,
                "seconds": phases.seconds[name],
                "cpu_seconds": seconds,
                "share": seconds / cpu,
            }
            for name, seconds in phases.cpu_seconds.items()
        ],
    }


@torch.inference_mode()
def _evaluation_rate(update: Update, reader: BatchReader, batches: int = 4) -> float:
    """Examples scored per CPU-second."""
    update.model.eval()
    source, examples, cpu = reader.epoch(0), 0, 0.0
    for batch in itertools.islice(source, batches):
        watch = Stopwatch()
        with update.execution.autocast:
            update.model(batch)
        cpu, examples = cpu + watch.cpu_seconds, examples + len(batch.labels)
    return examples / max(cpu, 1e-9)


def _loader_rate(reader: BatchReader, most: int = 1_000_000) -> float:
    """Rows read per CPU-second, over an epoch or `most` rows."""
    watch, rows = Stopwatch(), 0
    for batch in reader.epoch(0):
        rows += len(batch.labels)
        if rows >= most:
            break
    return rows / max(watch.cpu_seconds, 1e-9)


def _cycle(feed: Feed) -> Generator[Share]:
    for epoch in itertools.count():
        yield from feed.epoch(epoch)


@contextmanager
def _traced(path: Path | None) -> Iterator[None]:
    """Profile the context into a Chrome trace, if there is a path."""
    if path is None:
        yield
        return
    os.environ.setdefault("KINETO_LOG_LEVEL", QUIET)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        yield
    with TemporaryDirectory() as folder:
        draft = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(draft))
        write_atomic(path, lambda file: file.write(draft.read_bytes()))
