"""Whole training passes next to torch-rechub, deepctr-torch and a plain PyTorch script, on one dataset.

    python tests/benchmarks/criteo_like.py 600000 criteo_like.tsv
    wukongctl prepare tests/benchmarks/criteo-like.yaml --source .
    python tests/benchmarks/peers.py data/criteo-like --model dcnv2 --tune
    python tests/benchmarks/peers.py data/criteo-like --model dcnv2 --table-rows 250000 --rounds 3

Every contender trains one epoch over the same rows (`contenders.py`), in a process of its own with one
thread; rounds are interleaved, so that what else the machine does falls on all alike. Samples per processor
second count reading and updating, not start-up or evaluation. Round r trains with seed r; AUC on the test
split is compared pair by pair.

`--tune` tries the settings of `TRIED`, eight for each contender, with seed 100, and prints their AUC on the
validation split; the best of each are those of `CHOSEN`, which the rounds train with. `--table-rows`
stretches the tables, as a larger vocabulary would, `--rows` beyond those prepared repeats them, as a longer
log would (for speed alone). `ours-bfloat16-compile` is left out unless `--contenders` names it; it begins
with nothing compiled, what the compiler takes counts, and `ours-bfloat16-compile-again` after it finds its
kernels. Peers that are not installed are left out; these versions are known to work:

    pip install "torch>=2.9,<2.14" torch-rechub==0.9.0 deepctr-torch==0.3.0 requests==2.34.2
"""

import argparse
import itertools
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from contenders import BATCH, MODELS, Setting, contend, installed

TUNING_SEED = 100
RATES = (2.5e-4, 5e-4, 1e-3, 1.5e-3, 2e-3, 3e-3, 4e-3, 8e-3)


def rates(dense: float, embedding: float) -> Setting:
    """Ours: Adam for dense weights, row-wise AdaGrad for embeddings."""
    return {"dense": {"lr": dense}, "embedding": {"name": "rowwise_adagrad", "lr": embedding}}


TRIED: dict[str, list[Setting]] = {
    "ours": [rates(*pair) for pair in itertools.product((1e-3, 2e-3), (5e-3, 1e-2, 2e-2, 4e-2))],
    "plain": [{"lr": lr, "init": init} for lr, init in itertools.product(RATES[1:8:2], (0.01, 1e-4))],
    "torch-rechub": [{"lr": lr} for lr in RATES],
    "deepctr-torch": [{"lr": lr} for lr in RATES],
}

CHOSEN: dict[str, dict[str, Setting]] = {
    "dcnv2": {
        "ours": rates(1e-3, 2e-2),
        "plain": {"lr": 3e-3, "init": 0.01},
        "torch-rechub": {"lr": 2.5e-4},
        "deepctr-torch": {"lr": 8e-3},
    },
    "wukong": {"ours": rates(1e-3, 1e-2), "plain": {"lr": 5e-4, "init": 1e-4}},
}
"""The best of each by `--tune --rows 400000`."""


@contextmanager
def stretched(folder: Path, table_rows: int, rows: int) -> Iterator[Path]:
    """A copy of the dataset with tables of `table_rows` in all and `rows` rows to train on."""
    target = Path(tempfile.mkdtemp()) / folder.name
    manifest = json.loads((folder / "manifest.json").read_text())
    features = [feature for feature in manifest["features"] if feature["table"] is not None]
    total = sum(feature["rows"] for feature in features)
    for feature in features:
        feature["rows"] = max(feature["rows"], round(feature["rows"] * table_rows / total))
    for split in manifest["splits"]:
        table = pq.read_table(folder / split)
        if split == "train":
            table = pa.concat_tables([table] * -(-rows // len(table))).slice(0, rows)
        file = target / manifest["splits"][split]["files"][0]["path"]
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, file, row_group_size=122_880, compression="zstd")
        kept = manifest["splits"][split]["files"][0] | {"bytes": file.stat().st_size}
        manifest["splits"][split] |= {"rows": len(table), "files": [kept]}
    shutil.copytree(folder / "sample", target / "sample")
    (target / "manifest.json").write_text(json.dumps(manifest))
    (target / "rows.json").write_text(json.dumps({feature["name"]: feature["rows"] for feature in features}))
    try:
        yield target
    finally:
        shutil.rmtree(target.parent)


def run(
    name: str, model: str, folder: Path, seed: int, setting: Setting, kernels: str | None = None
) -> dict[str, Any]:
    """One contender's pass in a process of its own; what it compiles is kept in the folder `kernels`."""
    command = [sys.executable, __file__, str(folder), "--model", model, "--only", name, "--seed", str(seed)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    if kernels is not None:
        environment["TORCHINDUCTOR_CACHE_DIR"] = kernels
    done = subprocess.run(
        [*command, "--setting", json.dumps(setting)],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{name}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def kind(name: str) -> str:
    """The contender of which `name` is a variant."""
    return "ours" if name.startswith("ours") else name


def tune(arguments: argparse.Namespace, folder: Path) -> None:
    """AUC on the validation split of every setting tried, a JSON line each, the best of a contender last."""
    for name in [name for name in arguments.contenders if name != "ours-float32"]:
        found = []
        for setting in TRIED[kind(name)]:
            passed = run(name, arguments.model, folder, TUNING_SEED, setting)
            found.append((passed["auc"]["valid"], setting))
            print(json.dumps({"contender": name, "valid": found[-1][0], "setting": setting}), flush=True)
        print(json.dumps({"contender": name, "best": max(found, key=lambda each: each[0])[1]}), flush=True)


def rounds(arguments: argparse.Namespace, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Every contender once per round, round by round."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in arguments.contenders}
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.rounds):
        with tempfile.TemporaryDirectory() as kernels:
            for name, passes in found.items():
                setting = CHOSEN[arguments.model][kind(name)]
                passed = run(name, arguments.model, folder, seed, setting, kernels)
                passes.append(passed)
                rate = arguments.rows / passed["cpu"]
                print(f"round {seed} {name}: {rate:,.0f} samples per CPU-second", file=sys.stderr, flush=True)
    return found


def paired(differences: list[float]) -> list[float]:
    """Mean and standard error of differences of paired rounds."""
    error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else math.nan
    return [round(statistics.fmean(differences), 5), round(error, 5)]


def report(found: dict[str, list[dict[str, Any]]], rows: int) -> list[dict[str, Any]]:
    """Rates; of paired rounds the ratios (median, lowest, highest) and differences of AUC (mean, error)."""
    lines = []
    for name, passes in found.items():
        line: dict[str, Any] = {"contender": name}
        for key in ("cpu", "wall"):
            line[f"samples_per_{key}_second"] = round(statistics.median(rows / run[key] for run in passes))
        line["megabytes"] = round(max(run["megabytes"] for run in passes))
        line["auc"] = [round(run["auc"]["test"], 5) for run in passes]
        if "mfu" in passes[0]:
            line["mfu"] = [round(run["mfu"], 3) for run in passes]
        for other, theirs in found.items():
            if name.startswith("ours") and other != name:
                pairs = list(zip(theirs, passes, strict=True))
                ratios = sorted(a["cpu"] / b["cpu"] for a, b in pairs)
                line[f"times_{other}"] = [
                    round(r, 2) for r in (statistics.median(ratios), ratios[0], ratios[-1])
                ]
                line[f"auc_minus_{other}"] = paired([b["auc"]["test"] - a["auc"]["test"] for a, b in pairs])
        lines.append(line)
    return lines


def main() -> None:
    """Parse, run, print one JSON line per contender."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", choices=MODELS, default="dcnv2")
    parser.add_argument("--contenders", type=lambda names: names.split(","), help="default: all installed")
    parser.add_argument("--rows", type=int, default=16 * BATCH)
    parser.add_argument("--table-rows", type=int, default=250_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--setting", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(
            json.dumps(
                contend(arguments.only, arguments.model, arguments.data, arguments.seed, arguments.setting)
            )
        )
        return
    arguments.contenders = arguments.contenders or installed(arguments.model)
    with stretched(arguments.data, arguments.table_rows, arguments.rows) as folder:
        if arguments.tune:
            tune(arguments, folder)
            return
        for line in report(rounds(arguments, folder), arguments.rows):
            print(json.dumps(line))


if __name__ == "__main__":
    main()
