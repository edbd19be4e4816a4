"""What a GPU does with wukongctl, in about eight minutes: checks and timings as one JSON object.

    python -m tests.gpu.measure --out results.json
    python -m tests.gpu.measure --out results.json --device cpu --quick     # the script itself, anywhere

Every section is timed; one that fails leaves its error in the file, and the others run. The file is written
after each, so that nothing is lost when the machine is.
"""

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from tests.benchmarks import criteo_like, plain_models
from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.loading import read, validate
from wukongctl.config.training import TrainingSpec
from wukongctl.data import manifest as manifests
from wukongctl.data.batches import BatchReader
from wukongctl.data.options import Options
from wukongctl.data.prepare import prepare
from wukongctl.training import feeds, hardware
from wukongctl.training.bench import bench
from wukongctl.training.distributed import ALONE
from wukongctl.training.loop import TrainingProgress
from wukongctl.training.optimizers import RowwiseAdagrad
from wukongctl.training.parallel import ParallelModel
from wukongctl.training.plan import new_model
from wukongctl.training.train import train
from wukongctl.training.update import Update

RECIPE = Path(__file__).parents[1] / "benchmarks" / "criteo-like.yaml"
NAME = "criteo-like"
SIZES: dict[str, dict[str, Any]] = {
    "4 MFLOP": {"layers": 2, "n_F": 16, "n_L": 16, "k": 16, "hidden": [256], "head": [256], "width": 16},
    "85 MFLOP": {"layers": 3, "n_F": 32, "n_L": 32, "k": 24, "hidden": [1536], "head": [1536], "width": 32},
    "755 MFLOP": {"layers": 4, "n_F": 48, "n_L": 48, "k": 32, "hidden": [4096], "head": [4096], "width": 48},
    "5500 MFLOP": {"layers": 6, "n_F": 96, "n_L": 96, "k": 48, "hidden": [8192], "head": [8192], "width": 96},
}
"""Wukongs on 39 features; training FLOP per example, about."""


class Setting(NamedTuple):
    """Where to measure, and how much."""

    device: str
    data: Path
    quick: bool

    @property
    def place(self) -> torch.device:
        return torch.device(self.device)

    def recipe(self, size: str = "4 MFLOP", **changes: Any) -> TrainingSpec:
        base = {
            "data": NAME,
            "model": {"name": "wukong", "embedding_init": 0.01, "logit_scale": 0.01, **SIZES[size]},
            "optimizer": {"dense": {"lr": 1e-3}, "embedding": {"lr": 2e-2, "eps": 1e-2}},
            "device": self.device,
            "batch_size": 512 if self.quick else 4096,
        }
        return TrainingSpec.from_dict(base | changes)


def environment(_: Setting) -> dict[str, Any]:
    """Versions and hardware."""
    gpu = torch.cuda.is_available()
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "gpu": torch.cuda.get_device_name() if gpu else None,
        "memory_bytes": torch.cuda.get_device_properties(0).total_memory if gpu else None,
        "cores": os.cpu_count(),
    }


def peaks(setting: Setting) -> dict[str, Any]:
    """FLOP/s of products of random matrices by precision, and bytes/s of copies."""
    found: dict[str, Any] = {}
    for precision in ("float32", "tf32", "bfloat16"):
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        found[f"{precision}_tflops"] = hardware.matmul_peak(precision, 1, device=setting.place) / 1e12
    torch.set_float32_matmul_precision("highest")
    if setting.device == "cuda":
        host = torch.empty(1 << 28, dtype=torch.uint8)
        for name, source in (("pageable", host), ("pinned", host.pin_memory())):
            hardware.synchronize(setting.place)
            started = time.perf_counter()
            for _ in range(4):
                source.to(setting.place, non_blocking=True)
            hardware.synchronize(setting.place)
            found[f"{name}_gbytes_per_second"] = 4 * len(host) / (time.perf_counter() - started) / 1e9
    return found


def updates(setting: Setting, recipe: TrainingSpec) -> Iterator[tuple[Update, feeds.BatchShard]]:
    """An update of a fresh model, with each share of its batches."""
    execution = hardware.execution(recipe)
    execution.apply()
    folder = setting.data / NAME
    manifest = manifests.read(folder)
    torch.manual_seed(recipe.seed)
    model = new_model(recipe, manifest, folder).to(execution.device)
    update = Update(recipe, ParallelModel(model, recipe, ALONE), execution)
    reader = BatchReader(
        folder, manifest, "train", batch_size=recipe.batch_size, shuffle=True, seed=0, threads=4
    )
    feed = feeds.choose(reader, recipe, execution, ALONE)
    for epoch in itertools.count():
        for shard in feed.epoch(epoch):
            yield update, shard


def first(
    pairs: Iterator[tuple[Update, feeds.BatchShard]], steps: int
) -> Iterator[tuple[Update, feeds.BatchShard]]:
    """The first so many of them."""
    return itertools.islice(pairs, steps)


def same_as_cpu(setting: Setting) -> dict[str, Any]:
    """Losses of the same steps on the CPU and on the device, float32 without TF32."""
    steps = 20 if setting.quick else 200
    curves = []
    for device in ("cpu", setting.device):
        pairs = updates(setting, setting.recipe(device=device))
        losses = [update(shard, 1.0) for update, shard in first(pairs, steps)]
        curves.append(torch.stack(losses).cpu())
    apart = ((curves[1] - curves[0]) / curves[0]).abs()
    return {"steps": steps, "first_10": float(apart[:10].max()), "all": float(apart.max())}


def without_waits(setting: Setting) -> dict[str, Any]:
    """Twenty steps while torch raises at every wait for the device."""
    checked = {}
    for name, changes in {
        "rowwise_adagrad": {},
        "lazy_adam": {"optimizer": {"embedding": {"name": "lazy_adam"}}},
        "skip_steps": {"divergence": {"skip_steps": 2}, "optimizer": {"clip_norm": 1.0}},
        "bfloat16": {"precision": "bfloat16"},
        "data_on host": {"data_on": "host"},
    }.items():
        pairs = updates(setting, setting.recipe(**changes))
        for update, shard in first(pairs, 3):
            update(shard, 1.0)
        if setting.device == "cuda":
            torch.cuda.set_sync_debug_mode("error")
        try:
            for update, shard in first(pairs, 20):
                update(shard, 1.0)
            checked[name] = "no wait"
        except RuntimeError as error:
            checked[name] = str(error).splitlines()[0]
        finally:
            if setting.device == "cuda":
                torch.cuda.set_sync_debug_mode("default")
    return checked


def resuming(setting: Setting) -> dict[str, Any]:
    """A run that is cut and resumed against two that are not."""
    spec = setting.recipe(
        max_examples=40 * 512 if setting.quick else 100 * 4096, checkpoint={"every_steps": 10}
    )

    def cut(progress: TrainingProgress) -> None:
        if progress.step >= progress.steps // 2:
            raise ConnectionAbortedError

    with TemporaryDirectory() as folder:
        runs = [train(spec, data=setting.data, out=Path(folder) / name, report=_silent) for name in "ab"]
        try:
            train(spec, data=setting.data, out=Path(folder) / "c", report=cut)
        except ConnectionAbortedError:
            runs.append(train(spec, data=setting.data, out=Path(folder) / "c", report=_silent))
    return {"auc": [run.result.metrics["test"]["auc"] for run in runs], "names": ["a", "b", "resumed"]}


def _silent(_: TrainingProgress) -> None:
    pass


def speed(setting: Setting) -> list[dict[str, Any]]:
    """Whole steps by size, batch and way to run them, with a plain PyTorch loop beside them."""
    sizes = list(SIZES)[:1] if setting.quick else list(SIZES)
    batches = [512] if setting.quick else [4096, 16384, 65536]
    ways: dict[str, dict[str, Any]] = {
        "eager": {},
        "graph": {"cuda_graph": True},
        "compiled": {"compile": True},
    }
    found = []
    for size, batch in itertools.product(sizes, batches):
        gflop = 0.0
        for way, changes in ways.items():
            if setting.quick and way != "eager":
                continue
            recipe = setting.recipe(size, batch_size=batch, precision="bfloat16", **changes)
            try:
                row = bench(recipe, data=setting.data, steps=5 if setting.quick else 20)
            except RuntimeError as error:  # memory
                found.append({"size": size, "batch": batch, "way": way, "error": str(error).splitlines()[0]})
                continue
            gflop = row["gflop_per_example"]
            keys = ("examples_per_second", "mfu", "memory_bytes", "phases", "data_on", "gflop_per_example")
            found.append({"size": size, "batch": batch, "way": way, **{key: row.get(key) for key in keys}})
        found.append(
            {"size": size, "batch": batch, "way": "plain PyTorch", **plain(setting, size, batch, gflop)}
        )
    return found


def plain(setting: Setting, size: str, batch: int, gflop: float) -> dict[str, Any]:
    """The loop that a person writes first: sparse tables, Adam and SparseAdam, `loss.item()`, bfloat16."""
    manifest = manifests.read(setting.data / NAME)
    reader = BatchReader(setting.data / NAME, manifest, "train", batch_size=batch, shuffle=True, seed=0)
    wanted = {key: value for key, value in SIZES[size].items() if key != "width"}
    model = plain_models.Wukong(manifest.schema().table_rows, SIZES[size]["width"], **wanted).to(
        setting.place
    )
    tables = {id(weight) for weight in model.tables.parameters()}
    for table in model.tables.tables:
        table.sparse = True
    optimizers = [
        torch.optim.Adam([weight for weight in model.parameters() if id(weight) not in tables]),
        torch.optim.SparseAdam(list(model.tables.parameters())),
    ]
    steps, warm_up = (5, 2) if setting.quick else (20, 5)
    started, examples = 0.0, 0
    for step, rows in enumerate(itertools.islice(itertools.cycle(reader.epoch(0)), steps + warm_up)):
        if step == warm_up:
            hardware.synchronize(setting.place)
            started, examples = time.perf_counter(), 0
        there = rows.to(setting.place)
        for optimizer in optimizers:
            optimizer.zero_grad()
        with torch.autocast(setting.device, torch.bfloat16):
            logits = model(there.ids)
        loss = binary_cross_entropy_with_logits(logits.float(), there.labels)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        loss.item()
        examples += len(there.labels)
    hardware.synchronize(setting.place)
    rate = examples / (time.perf_counter() - started)
    peak = hardware.matmul_peak("bfloat16", 1, device=setting.place)
    return {"examples_per_second": rate, "mfu": rate * gflop * 1e9 / peak}


def feeding(setting: Setting) -> dict[str, Any]:
    """Rows per second that each feed delivers without a model."""
    manifest = manifests.read(setting.data / NAME)
    found: dict[str, Any] = {}
    for threads in (1, 2) if setting.quick else (1, 4, 8, 12):
        reader = BatchReader(
            setting.data / NAME, manifest, "train", batch_size=65536, shuffle=True, seed=0, threads=threads
        )
        found[f"decode, {threads} threads"] = _rate(reader.rows, lambda reader=reader: list(reader.packed(0)))
        kinds = [feeds.HostFeed, feeds.ResidentFeed]
        if setting.device == "cuda":
            kinds.append(feeds.PinnedFeed)
        for kind in kinds:
            feed = kind(reader, setting.place, ALONE)
            found[f"{feed.name}, {threads} threads"] = _rate(
                reader.rows,
                lambda feed=feed: [sum(1 for _ in feed.epoch(0)), hardware.synchronize(setting.place)],
            )
    return found


def _rate(rows: int, work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return rows / (time.perf_counter() - started)


def tables(setting: Setting) -> dict[str, Any]:
    """Row updates per second by table size: 39 ids of 65,536 examples."""
    sizes = (100_000, 1_000_000) if setting.quick else (100_000, 10_000_000, 1_000_000_000)
    found = {}
    for rows in sizes:
        ids = torch.randint(rows, (39 * (512 if setting.quick else 65536),), device=setting.place)
        weight = torch.nn.Parameter(torch.empty(rows, 16, device=setting.place))
        optimizer = RowwiseAdagrad([weight], lr=0.01, eps=1e-8)
        gradient = torch.sparse_coo_tensor(
            ids[None], torch.ones(len(ids), 16, device=setting.place), weight.shape, check_invariants=False
        )
        weight.grad = gradient

        def steps(optimizer: RowwiseAdagrad = optimizer) -> None:
            for _ in range(10):
                optimizer.step()
            hardware.synchronize(setting.place)

        steps()
        found[f"{rows:,} rows"] = _rate(10 * len(ids), steps)
        del weight, optimizer, gradient
    return found


def processes(setting: Setting) -> dict[str, Any]:
    """NCCL with one process, and two processes on one GPU, which fall back to gloo."""
    found = {}
    spec = setting.recipe(max_examples=20 * 512)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_text(json.dumps(spec.to_dict()))  # JSON is YAML
        for number in (1, 2):
            command = [
                sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={number}",
                "-m", "wukongctl", "train", str(path), "--data", str(setting.data),
                "--out", f"{folder}/runs{number}", "--json",
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            found[f"{number} processes"] = (
                json.loads(done.stdout.strip().splitlines()[-1])
                if done.returncode == 0
                else done.stderr[-800:]
            )
    return found


def trace(setting: Setting) -> dict[str, Any]:
    """A Chrome trace of a step of the smallest model, beside the results."""
    path = setting.data / "step.json"
    bench(setting.recipe(), data=setting.data, steps=5, trace=path)
    return {"bytes": path.stat().st_size}


SECTIONS: dict[str, Callable[[Setting], Any]] = {
    "environment": environment,
    "peaks": peaks,
    "same_as_cpu": same_as_cpu,
    "without_waits": without_waits,
    "speed": speed,
    "feeding": feeding,
    "tables": tables,
    "resuming": resuming,
    "processes": processes,
    "trace": trace,
}


def prepare_data(folder: Path, rows: int) -> None:
    """The rows that all sections train on."""
    raw = folder / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    criteo_like.write(raw / "criteo_like.tsv", rows)
    prepare(validate(read(RECIPE), DatasetSpec), Options(folder, out=folder, source=raw))


def main() -> None:
    """Run the sections that are asked for, all by default."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("results.json"))
    parser.add_argument("--data", type=Path, help="keep the prepared rows here")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to try the script")
    parser.add_argument("--only", action="append", choices=list(SECTIONS))
    arguments = parser.parse_args()
    found: dict[str, Any] = {}
    with TemporaryDirectory() as temporary:
        data = arguments.data or Path(temporary)
        started = time.perf_counter()
        if not (data / NAME / "manifest.json").exists():
            prepare_data(data, 30_000 if arguments.quick else 1_500_000)
        found["prepare"] = {"seconds": time.perf_counter() - started}
        setting = Setting(arguments.device, data, arguments.quick)
        for name in arguments.only or SECTIONS:
            started = time.perf_counter()
            try:
                result = SECTIONS[name](setting)
            except Exception:
                result = {"error": traceback.format_exc(limit=-4)}
            found[name] = {"seconds": time.perf_counter() - started, "result": result}
            arguments.out.write_text(json.dumps(found, indent=1) + "\n")
            print(f"{name}: {found[name]['seconds']:.1f} s", file=sys.stderr, flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
