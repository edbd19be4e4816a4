"""What trackers record of a run: hyperparameters, facts and metrics, as flat names and values."""

import json
import math
from collections.abc import Iterator
from typing import Any

from wukongctl.training.run_record import RunInfo, RunResult

Record = dict[str, Any]
"""One line of metrics.jsonl: `step`, `split` and values."""


def parameters(info: RunInfo) -> dict[str, str | int | float | bool]:
    """Every key of the complete recipe, named as in `--set`, and the fingerprint of the prepared data."""
    found = dict(_flat(info.recipe))
    return found | {"data.fingerprint": info.data.fingerprint}


def _flat(section: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str | int | float | bool]]:
    for key, value in section.items():
        match value:
            case None:
                continue
            case dict():
                yield from _flat(value, f"{prefix}{key}.")
            case str() | int() | float():
                yield f"{prefix}{key}", value
            case _:
                yield f"{prefix}{key}", json.dumps(value)


def tags(info: RunInfo) -> dict[str, str]:
    """Code, machine and data of a run; these may change when it is resumed."""
    execution = {} if info.execution is None else info.execution.to_dict()
    facts = {
        "run": info.run,
        "model": info.model,
        "curve": info.curve_name,
        "dataset": info.data.dataset,
        "recipe_digest": info.recipe_digest,
        "code_digest": info.code_digest,
        "flop_convention": info.flops.convention,
        "processes": info.world_size,
        "git_commit": (info.git or {}).get("commit"),
        "git_dirty": (info.git or {}).get("dirty"),
        **{f"version.{name}": version for name, version in info.versions.items()},
        **{f"host.{name}": value for name, value in (info.host or {}).items()},
        **{key: execution.get(key) for key in ("device", "threads", "precision", "compile")},
        "command": " ".join(info.argv),
    }
    return {key: str(value) for key, value in facts.items() if value is not None and value != ""}


def costs(info: RunInfo) -> dict[str, float]:
    """FLOPs per example and parameters, where the model has them."""
    return _numbers(
        {
            "gflop_per_example": info.flops.gflop_per_example,
            "forward_gflop_per_example": info.flops.forward_gflop_per_example,
            "params/dense": info.params.dense,
            "params/embedding": info.params.embedding,
        }
    )


def points(record: Record) -> dict[str, float]:
    """The values of a line of metrics.jsonl, such as `valid/auc`."""
    split = record["split"]
    return _numbers(
        {f"{split}/{key}": value for key, value in record.items() if key not in ("step", "split")}
    )


def results(result: RunResult) -> dict[str, float]:
    """Metrics of the best weights, such as `test/auc` and `best_valid/auc`, and what the run took.

    The curve is `valid/auc`, so its value at the best step has a name of its own.
    """
    measured = {
        f"{'best_valid' if split == 'valid' else split}/{name}": value
        for split, metrics in result.metrics.items()
        for name, value in metrics.items()
    }
    taken = result.to_dict()
    keys = ("best_step", "trees", "examples", "passes", "seconds", "train_seconds", "cpu_seconds")
    speed = ("examples_per_second", "mfu", "gflops_per_second", "peak_gflops_per_second", "skipped_steps")
    return _numbers(measured | {key: taken.get(key) for key in (*keys, *speed)})


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
