"""Loss lost by transferring rates instead of searching them at every width, on the validation split.

    python tests/benchmarks/transfer.py frappe wukong --folder data --out transfer

Every run takes one pass. One JSON line a run is appended to OUT/DATA-MODEL.jsonl; runs that are there already
are not repeated. At the end it prints the rows of the table in docs/results/2026-11-transfer.md.
With `depths` for the model it prints slopes of a coordinate check by the number of layers.
"""

import argparse
import itertools
import json
import shutil
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wukongctl.config.sweep import ScaleRule
from wukongctl.config.training import TrainingSpec
from wukongctl.data import manifest as manifests
from wukongctl.errors import RunFailed
from wukongctl.training.coordinates import scales_of, slope
from wukongctl.training.train import train
from wukongctl.training.transfer import transfer

RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
GRID = {
    8: (RATES, (1e-2, 3e-2, 1e-1, 3e-1)),
    32: (RATES, (1e-2, 3e-2, 1e-1)),
    64: (RATES[:4], (1e-2, 3e-2, 1e-1)),
}
"""Width → dense and embedding rates that are searched; every combination is tried."""
SMALLER_GRID = {
    8: (RATES, (3e-2, 1e-1, 3e-1)),
    32: (RATES[:4], (3e-2, 1e-1)),
    64: (RATES[:4], (3e-2, 1e-1)),
}
"""The same for Wukong, whose runs take twice as long."""
BASE = min(GRID)
RULES: tuple[ScaleRule, ...] = ("same", "sqrt", "mup")
KEPT = "mup, embeddings as they were"
"""`mup` for dense weights only, where the rule scales embeddings too."""
SEARCH_SEEDS = {8: (0, 1), 32: (0,), 64: (0,)}
SEEDS = (2, 3)
"""Of what was chosen: the seeds of a search would flatter its winner."""


def recipe(data: str, model: str, width: int, dense: float, embedding: float, seed: int) -> TrainingSpec:
    hidden = 4 * width
    sections: dict[str, dict[str, Any]] = {
        "wukong": {
            "layers": 2, "n_F": 4, "n_L": 4, "projection": "none", "hidden": [hidden], "head": [hidden],
        },
        "dlrm": {"top": [hidden, hidden]},
        "mlp": {"hidden": [hidden, hidden]},
    }  # fmt: skip
    return TrainingSpec.from_dict(
        {
            "data": data,
            "model": {"name": model, "width": width, "embedding_init": 0.1, **sections[model]},
            "optimizer": {
                "dense": {"lr": dense},
                "embedding": {"name": "adam", "lr": embedding},
                "clip_norm": 1.0,
            },
            "schedule": {"warmup": 0.05, "decay": "linear"},
            "batch_size": 512,
            "seed": seed,
            "threads": 1,
        }
    )


def loss(spec: TrainingSpec, data: Path, out: Path) -> tuple[float, float]:
    began = time.process_time()
    folder = None
    try:
        run = train(spec, data=data, out=out, force=True, skip_test=True, report=lambda _: None)
        folder, value = run.folder, run.result.metrics["valid"]["logloss"]
    except RunFailed:
        value = float("inf")
    if folder is not None:
        shutil.rmtree(folder)
    assert value is not None
    return value, time.process_time() - began


class Ledger:
    """Runs of one model on one dataset, by what names them."""

    def __init__(self, path: Path, data: Path) -> None:
        self.path, self.data = path, data
        lines = path.read_text().splitlines() if path.is_file() else []
        self.found = {json.dumps(run["key"]): run for run in map(json.loads, lines)}

    def run(self, key: list[Any], spec: TrainingSpec) -> float:
        """The validation loss of a run, trained unless it is known."""
        name = json.dumps(key)
        if name not in self.found:
            value, seconds = loss(spec, self.data, self.path.parent / "runs")
            self.found[name] = {"key": key, "loss": value, "cpu_seconds": seconds}
            with self.path.open("a") as file:
                file.write(json.dumps(self.found[name]) + "\n")
        return self.found[name]["loss"]


def measure(ledger: Ledger, data: str, model: str, widths: list[int]) -> None:
    """Search at every width; then the winner, and the winner of the smallest width by every rule, in turn."""
    schema = manifests.read(ledger.data / data).schema()
    best: dict[int, tuple[float, float]] = {}
    for width in widths:
        best[width] = _search(ledger, data, model, width)
        for seed in SEEDS:
            ledger.run(
                ["searched", width, *best[width], seed], recipe(data, model, width, *best[width], seed)
            )
            spec = recipe(data, model, width, *best[BASE], seed)
            base = recipe(data, model, BASE, *best[BASE], seed)
            for rule in RULES if width != BASE else ():
                ledger.run([rule, width, *best[BASE], seed], transfer(spec, base, schema, rule))
            if model == "dlrm" and width != BASE:
                scaled = transfer(spec, base, schema, "mup")
                kept = scaled.to_dict()
                kept["model"]["embedding_init"] = base.model.to_dict()["embedding_init"]
                kept["optimizer"]["embedding"]["lr"] = base.optimizer.embedding.lr
                ledger.run([KEPT, width, *best[BASE], seed], TrainingSpec.from_dict(kept))


def _search(ledger: Ledger, data: str, model: str, width: int) -> tuple[float, float]:
    """The rates of lowest mean validation loss over the seeds of the search."""
    seeds = SEARCH_SEEDS[width]
    tried = {
        pair: sum(
            ledger.run(["search", width, *pair, seed], recipe(data, model, width, *pair, seed))
            for seed in seeds
        )
        / len(seeds)
        for pair in itertools.product(*(SMALLER_GRID if model == "wukong" else GRID)[width])
    }
    return min(tried, key=tried.__getitem__)


def table(ledger: Ledger, data: str, model: str, widths: list[int]) -> Iterator[str]:
    """Markdown rows: what was searched, and the loss of each rule minus that, mean and range over seeds."""
    losses: dict[tuple[int, str], dict[int, float]] = {}
    settings: dict[tuple[int, str], str] = {}
    for run in ledger.found.values():
        what, width, dense, embedding, seed = run["key"]
        if what != "search" and width in widths:
            losses.setdefault((width, what), {})[seed] = run["loss"]
            settings[width, what] = f"{dense:g}, {embedding:g}"
    for width in widths:
        searched = losses[width, "searched"]
        cells = [f"{statistics.fmean(searched.values()):.4f} ({settings[width, 'searched']})"]
        for rule in (*RULES, KEPT):
            found = losses.get((width, rule), {})
            lost = [1e3 * (found[seed] - searched[seed]) for seed in sorted(found)]
            each = ", ".join(f"{value:+.1f}" for value in lost)
            cells.append(f"{statistics.fmean(lost):+.1f} ({each})" if lost else "")
        yield f"| {data} | {model} | {width} | " + " | ".join(cells) + " |"


DEPTHS = (1, 2, 4, 8)


def depths(data: Path, name: str) -> Iterator[str]:
    """Markdown rows: slopes of outputs and of their change against the number of layers, by layer."""
    wukong = {"name": "wukong", "n_F": 4, "n_L": 4, "projection": "none", "head": [64]}
    for key, section in (("layers", wukong), ("cross_layers", {"name": "dcnv2"})):
        section |= {"width": 16, "embedding_init": 0.1, "hidden": [64]}
        for dense in (3e-3, 2e-2):
            content = recipe(name, "mlp", 16, dense, 3e-2, 0).to_dict()
            stacks = [content | {"model": section | {key: layers}} for layers in DEPTHS]
            measured = [_mean_scales(stack, data / name) for stack in stacks]
            for layer in (found for found in measured[0] if all(found in scales for scales in measured)):
                slopes = [slope(DEPTHS, [scales[layer][which] for scales in measured]) for which in (0, 1)]
                row = f"{section['name']} | {dense:g} | `{layer}`"
                yield f"| {row} | {slopes[0]:+.2f} | {slopes[1]:+.2f} |"


def _mean_scales(content: dict[str, Any], folder: Path) -> dict[str, list[float]]:
    """Layer → scales of its outputs and of their change, geometric means over three seeds."""
    manifest = manifests.read(folder)
    runs = [
        scales_of(TrainingSpec.from_dict(content | {"seed": seed}), manifest, folder, 5) for seed in range(3)
    ]
    return {
        layer: [statistics.geometric_mean(run[layer][which] for run in runs) for which in (0, 1)]
        for layer in runs[0]
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("model", choices=("wukong", "dlrm", "mlp", "depths"))
    parser.add_argument("--widths", type=int, nargs="*", default=sorted(GRID))
    parser.add_argument("--folder", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("transfer"))
    options = parser.parse_args()
    if options.model == "depths":
        print(*depths(options.folder, options.data), sep="\n")
        return
    options.out.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(options.out / f"{options.data}-{options.model}.jsonl", options.folder)
    measure(ledger, options.data, options.model, options.widths)
    print(*table(ledger, options.data, options.model, options.widths), sep="\n")


if __name__ == "__main__":
    main()
