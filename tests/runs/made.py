"""Run folders with made contents."""

import json
from pathlib import Path
from typing import Any

from wukongctl.training.run_folder import RunFolder
from wukongctl.training.run_record import Flops, RunInfo, RunResult, TrainedOn


def made_run(
    folder: Path,
    *,
    seed: int = 0,
    model: str = "mlp",
    data: tuple[str, str] = ("clicks", "f1"),
    settings: dict[str, Any] | None = None,
    valid: float | None = None,
    test: float | None = None,
    status: str = "complete",
    lines: list[dict[str, Any]] | None = None,
) -> Path:
    """A run of 1,000 examples at 0.002 GFLOP each; with `valid` or `test`, LogLosses, it has ended."""
    run = RunFolder(folder)
    folder.mkdir(parents=True)
    run.write_info(
        RunInfo(
            format_version=1, run=folder.name, model=model, seed=seed,
            recipe={"name": model, "seed": seed, "model": {"name": model}, **(settings or {})},
            data=TrainedOn(dataset=data[0], fingerprint=data[1]),
            flops=Flops(gflop_per_example=0.002),
        )
    )  # fmt: skip
    for line in lines or []:
        run.append_metrics((json.dumps(line) + "\n").encode())
    metrics = {split: {"logloss": loss} for split, loss in (("valid", valid), ("test", test)) if loss}
    if metrics or status != "complete":
        values = {"status": status, "step": 10, "examples": 1000, "metrics": metrics, "seconds": 2.0}
        run.write_result(RunResult.model_validate(values))
    return folder
