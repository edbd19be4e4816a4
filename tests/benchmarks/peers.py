"""Whole training passes next to torch-rechub, deepctr-torch and a plain PyTorch script, on one dataset.

    python tests/benchmarks/criteo_like.py 600000 criteo_like.tsv
    wukongctl prepare tests/benchmarks/criteo-like.yaml --source .
    python tests/benchmarks/peers.py data/criteo-like --model dcnv2 --table-rows 250000 --rounds 3

Every contender trains one epoch over the same rows with the same layer sizes: 39 categorical features of
width 16, batches of 4096. Each runs in a process of its own with one thread; rounds are interleaved, so that
what else the machine does falls on all alike. Samples per processor second count reading and updating, not
start-up or evaluation. Round r trains with seed r; AUC on the test split is compared pair by pair. Ours and
the plain script draw embeddings with a deviation of 0.01, the peers as they do (1e-4). `--table-rows`
stretches the tables, as a larger vocabulary would. Peers that are not installed are left out
(`pip install --no-deps torch-rechub deepctr-torch requests`).
"""

import argparse
import importlib.util
import json
import math
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

WIDTH, BATCH, HIDDEN, CROSS = 16, 4096, (400, 400, 400), 3
WUKONG = {"layers": 2, "n_F": 16, "n_L": 16, "k": 16, "hidden": [256], "head": [256]}
EMBEDDING_INIT = 0.01
CONTENDERS = {
    "dcnv2": ("ours-bfloat16", "ours-float32", "plain", "torch-rechub", "deepctr-torch"),
    "wukong": ("ours-bfloat16", "ours-float32", "plain"),
}
NEEDS = {"torch-rechub": "torch_rechub", "deepctr-torch": "deepctr_torch"}
Arrays = tuple[dict[str, np.ndarray], np.ndarray]
Scorer = Callable[[Arrays], np.ndarray]


def read(folder: Path, split: str, most: int) -> Arrays:
    """The first rows of a split as {feature: ids} and labels."""
    table = pq.read_table(folder / split).slice(0, most)
    names = [name for name in table.column_names if name != "label"]
    return {name: table[name].to_numpy() for name in names}, table["label"].to_numpy().astype(np.float32)


def stretched(folder: Path, target: Path, table_rows: int, most: int) -> dict[str, int]:
    """A copy of the dataset in `target`, its tables stretched to `table_rows` in all; rows per feature."""
    manifest = json.loads((folder / "manifest.json").read_text())
    features = [feature for feature in manifest["features"] if feature["table"] is not None]
    total = sum(feature["rows"] for feature in features)
    for feature in features:
        feature["rows"] = max(feature["rows"], round(feature["rows"] * table_rows / total))
    for split in manifest["splits"]:
        table = pq.read_table(folder / split)
        table = table.slice(0, most) if split == "train" else table
        file = target / manifest["splits"][split]["files"][0]["path"]
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, file, row_group_size=122_880, compression="zstd")
        kept = manifest["splits"][split]["files"][0] | {"bytes": file.stat().st_size}
        manifest["splits"][split] |= {"rows": len(table), "files": [kept]}
    (target / "manifest.json").write_text(json.dumps(manifest))
    return {feature["name"]: feature["rows"] for feature in features}


class Clock:
    """Processor and wall seconds of a context."""

    def __enter__(self) -> "Clock":
        self.start = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall, self.cpu = (
            now - then
            for now, then in zip((time.perf_counter(), time.process_time()), self.start, strict=True)
        )


def ours(model: str, precision: str, folder: Path, seed: int) -> dict[str, float]:
    """One epoch of `wukongctl train`."""
    from wukongctl.config.training import TrainingSpec
    from wukongctl.training.train import train

    spec = {"name": "dcnv2", "cross_layers": CROSS, "hidden": list(HIDDEN), "batch_norm": True}
    recipe = {
        "data": folder.name,
        "model": (spec if model == "dcnv2" else {"name": "wukong"} | WUKONG)
        | {"width": WIDTH, "embedding_init": EMBEDDING_INIT},
        "optimizer": {"dense": {"lr": 1e-3}, "embedding": {"lr": 2e-2}},
        "batch_size": BATCH, "precision": precision, "threads": 1, "seed": seed,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as out:
        outcome = train(
            TrainingSpec.from_dict(recipe), data=folder.parent, out=Path(out), report=lambda _: None
        )
    result = outcome.result
    return {
        "cpu": result["cpu_seconds"],
        "wall": result["train_seconds"],
        "auc": result["metrics"]["test"]["auc"],
        "mfu": result["mfu"],
    }


def plain(model: str, train: Arrays, rows: dict[str, int], seed: int) -> tuple[Clock, Scorer]:
    """What one writes in an afternoon: a table per feature, dense gradients, Adam, DataLoader."""
    import torch
    from plain_models import DCNv2, Wukong
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(seed)
    sizes = list(rows.values())
    made = DCNv2(sizes, WIDTH, CROSS, HIDDEN) if model == "dcnv2" else Wukong(sizes, WIDTH, **WUKONG)
    for table in made.tables.tables:
        torch.nn.init.normal_(table.weight, std=EMBEDDING_INIT)
    optimizer = torch.optim.Adam(made.parameters(), lr=1e-3)
    with Clock() as clock:
        ids = torch.from_numpy(np.stack([train[0][name] for name in rows], axis=1).astype(np.int64))
        loader = DataLoader(TensorDataset(ids, torch.from_numpy(train[1])), batch_size=BATCH, shuffle=True)
        for batch, labels in loader:
            loss = torch.nn.functional.binary_cross_entropy_with_logits(made(batch), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    @torch.inference_mode()
    def score(test: Arrays) -> np.ndarray:
        made.eval()
        ids = torch.from_numpy(np.stack([test[0][name] for name in rows], axis=1).astype(np.int64))
        return torch.cat([made(part) for part in ids.split(8192)]).numpy()

    return clock, score


def rechub(train: Arrays, rows: dict[str, int], seed: int) -> tuple[Clock, Scorer]:
    """torch-rechub's DCNv2 under its own trainer and data generator."""
    import torch
    from torch_rechub.basic.features import SparseFeature
    from torch_rechub.models.ranking import DCNv2
    from torch_rechub.trainers import CTRTrainer
    from torch_rechub.utils.data import DataGenerator

    torch.manual_seed(seed)
    features = [SparseFeature(name, vocab_size=size, embed_dim=WIDTH) for name, size in rows.items()]
    made = DCNv2(features, CROSS, {"dims": list(HIDDEN)}, use_low_rank_mixture=False)
    with tempfile.TemporaryDirectory() as out:
        trainer = CTRTrainer(made, optimizer_params={"lr": 1e-3}, n_epoch=1, device="cpu", model_path=out)
    with Clock() as clock:
        loader, *_ = DataGenerator(*train).generate_dataloader(
            x_val=train[0], y_val=train[1], x_test=train[0], y_test=train[1], batch_size=BATCH, num_workers=0
        )
        trainer.train_one_epoch(loader)

    @torch.inference_mode()
    def score(test: Arrays) -> np.ndarray:
        made.eval()
        tensors = {name: torch.from_numpy(ids.astype(np.int64)) for name, ids in test[0].items()}
        return made(tensors).numpy()

    return clock, score


def deepctr(train: Arrays, rows: dict[str, int], seed: int) -> tuple[Clock, Scorer]:
    """deepctr-torch's DCN with matrices, which is DCNv2, under its own `fit`; no regularisation."""
    from deepctr_torch.inputs import SparseFeat
    from deepctr_torch.models import DCN

    features = [SparseFeat(name, size, embedding_dim=WIDTH) for name, size in rows.items()]
    made = DCN(
        features, features, cross_num=CROSS, cross_parameterization="matrix", dnn_hidden_units=HIDDEN,
        l2_reg_linear=0, l2_reg_embedding=0, l2_reg_cross=0, dnn_use_bn=True, seed=seed,
    )  # fmt: skip
    made.compile("adam", "binary_crossentropy")
    with Clock() as clock:
        made.fit(train[0], train[1], batch_size=BATCH, epochs=1, verbose=0)
    return clock, lambda test: made.predict(test[0], 8192)[:, 0]


def contend(name: str, model: str, folder: Path, seed: int) -> dict[str, float]:
    """One contender's pass, in this process."""
    import torch

    torch.set_num_threads(1)
    rows = json.loads((folder / "rows.json").read_text())
    if name.startswith("ours"):
        found = ours(model, name.removeprefix("ours-"), folder, seed)
    else:
        from wukongctl.training.metrics import auc

        train, test = read(folder, "train", 1 << 40), read(folder, "test", 1 << 40)
        made = {"torch-rechub": rechub, "deepctr-torch": deepctr}
        clock, score = made[name](train, rows, seed) if name in made else plain(model, train, rows, seed)
        found = {"cpu": clock.cpu, "wall": clock.wall, "auc": auc(score(test), test[1])}
    return found | {"megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def rounds(arguments: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Every contender once per round, round by round."""
    names = [n for n in CONTENDERS[arguments.model] if n not in NEEDS or importlib.util.find_spec(NEEDS[n])]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    target = Path(tempfile.mkdtemp()) / arguments.data.name
    sizes = stretched(arguments.data, target, arguments.table_rows, arguments.rows)
    (target / "rows.json").write_text(json.dumps(sizes))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.rounds):
        for name in names:
            command = [sys.executable, __file__, str(target), "--model", arguments.model, "--only", name]
            done = subprocess.run(
                [*command, "--seed", str(seed)], capture_output=True, text=True, check=False, env=environment
            )
            if done.returncode:
                sys.exit(f"{name}: {done.stderr}")
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
            rate = arguments.rows / found[name][-1]["cpu"]
            print(f"round {seed} {name}: {rate:,.0f} samples per CPU-second", file=sys.stderr, flush=True)
    shutil.rmtree(target.parent)
    return found


def paired(differences: list[float]) -> list[float]:
    """Mean and standard error of differences of paired rounds."""
    error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else math.nan
    return [round(statistics.fmean(differences), 5), round(error, 5)]


def report(found: dict[str, list[dict[str, float]]], rows: int) -> list[dict[str, Any]]:
    """Rates; of paired rounds the ratios (median, lowest, highest) and differences of AUC (mean, error)."""
    lines = []
    for name, passes in found.items():
        line: dict[str, Any] = {"contender": name}
        for key in ("cpu", "wall"):
            line[f"samples_per_{key}_second"] = round(statistics.median(rows / run[key] for run in passes))
        line["megabytes"] = round(max(run["megabytes"] for run in passes))
        line["auc"] = [round(run["auc"], 5) for run in passes]
        if "mfu" in passes[0]:
            line["mfu"] = [round(run["mfu"], 3) for run in passes]
        for other, theirs in found.items():
            if name.startswith("ours") and other != name:
                ratios = sorted(a["cpu"] / b["cpu"] for a, b in zip(theirs, passes, strict=True))
                line[f"times_{other}"] = [
                    round(r, 2) for r in (statistics.median(ratios), ratios[0], ratios[-1])
                ]
                line[f"auc_minus_{other}"] = paired(
                    [b["auc"] - a["auc"] for a, b in zip(theirs, passes, strict=True)]
                )
        lines.append(line)
    return lines


def main() -> None:
    """Parse, run, print one JSON line per contender."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", choices=CONTENDERS, default="dcnv2")
    parser.add_argument("--rows", type=int, default=16 * BATCH)
    parser.add_argument("--table-rows", type=int, default=250_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--only")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(contend(arguments.only, arguments.model, arguments.data, arguments.seed)))
        return
    for line in report(rounds(arguments), arguments.rows):
        print(json.dumps(line))


if __name__ == "__main__":
    main()
