"""Run folders found under a path, with their run.json and result.json."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wukongctl.data import next_steps
from wukongctl.errors import UsageError
from wukongctl.training.not_a_run import not_a_run
from wukongctl.training.warnings import RunWarning

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Run:
    """One run folder: its run.json, and its result.json where there is one."""

    folder: Path
    facts: dict[str, Any]
    result: dict[str, Any] | None

    @classmethod
    def read(cls, folder: Path) -> "Run":
        """Raises `UsageError` when a file is damaged or has another format version."""
        result = folder / "result.json"
        run = cls(folder, _json(folder / "run.json"), _json(result) if result.is_file() else None)
        version = run.get("format_version")
        if version != FORMAT_VERSION:
            raise UsageError(
                f"`{folder}` has run format {version}; this version of wukongctl reads {FORMAT_VERSION}",
                hint="use the version of wukongctl that wrote it, or train again",
            )
        return run

    @property
    def status(self) -> Literal["complete", "pruned", "diverged", "unfinished"]:
        """How the run ended; `pruned` when a search stopped it early."""
        if self.result is None:
            return "unfinished"
        status = self.result.get("status")
        return status if status in ("complete", "pruned") else "diverged"

    @property
    def curve(self) -> str:
        """Label of the curve that the run belongs to."""
        return str(self.facts.get("curve") or self.get("model"))

    @property
    def gflop(self) -> float | None:
        """Training GFLOP per example; None for models without a FLOP count, such as LightGBM."""
        value = self.get("flops", "gflop_per_example")
        if value is None:
            return None
        if not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise UsageError(f"`{self.folder / 'run.json'}`: `flops.gflop_per_example` is `{value}`")
        return float(value)

    def get(self, *keys: str) -> Any:
        """A value of `run.json`; raises `UsageError` naming the missing key."""
        value: Any = self.facts
        for key in keys:
            if not isinstance(value, dict) or key not in value:
                raise UsageError(f"`{self.folder / 'run.json'}` has no `{'.'.join(keys)}`")
            value = value[key]
        return value

    @property
    def warnings(self) -> tuple[RunWarning, ...]:
        """Warnings recorded when the run finished; empty for runs of older versions."""
        return RunWarning.read(self.result)

    def metrics(self, split: str) -> dict[str, Any]:
        """The metrics of a split; empty when there are none."""
        return ((self.result or {}).get("metrics") or {}).get(split) or {}

    def bayes_logloss(self, split: str) -> float | None:
        """LogLoss of the true probabilities on a split; None when unknown."""
        value = (self.get("data").get("bayes_logloss") or {}).get(split)
        return None if value is None else float(value)


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read `{path}`: {error}", hint="train this run again") from error
    if not isinstance(value, dict):
        raise UsageError(f"`{path}` is not a JSON object", hint="train this run again")
    return value


def run_folders(paths: Iterable[Path]) -> list[Path]:
    """Run folders under `paths`, each once, in order. A path is a run, a sweep, or a folder of runs.

    For a sweep, only the runs listed in its sweep.json: `runs/` may hold those of earlier versions as well.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        inside = [path] if (path / "run.json").is_file() else _inside(path)
        if not inside:
            if path.is_dir() and not next_steps.is_prepared(path.resolve().name, path.resolve().parent):
                raise UsageError(f"no run in `{path}`", hint="pass a run folder, or a folder of run folders")
            raise not_a_run(path)
        found.update({folder.resolve(): folder for folder in sorted(inside)})
    return list(found.values())


def _inside(path: Path) -> list[Path]:
    if not (path / "sweep.json").is_file():
        return [file.parent for file in path.glob("*/run.json")]
    try:
        listed = [run["run"] for entry in _json(path / "sweep.json")["entries"] for run in entry["runs"]]
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"`{path / 'sweep.json'}` was not written by `wukongctl sweep`", hint="run the sweep again"
        ) from error
    return [path / name for name in listed if (path / name / "run.json").is_file()]
