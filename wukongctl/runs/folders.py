"""Run folders found under a path, with their run.json and result.json."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wukongctl.data import next_steps
from wukongctl.errors import UsageError
from wukongctl.training.not_a_run import not_a_run
from wukongctl.training.run_folder import RunFolder
from wukongctl.training.run_record import INFO, RunInfo, RunResult, RunWarning, SplitMetrics


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run folder: its run.json, and its result.json where there is one."""

    folder: Path
    info: RunInfo
    result: RunResult | None

    @classmethod
    def read(cls, folder: Path) -> "RunRecord":
        """Raises `UsageError` for files that are missing, damaged or of another version."""
        files = RunFolder(folder)
        if (info := files.info()) is None:
            raise not_a_run(folder)
        return cls(folder, info, files.result())

    @property
    def status(self) -> Literal["complete", "pruned", "diverged", "unfinished"]:
        """How it ended, if it did."""
        return "unfinished" if self.result is None else self.result.status

    @property
    def seedless_recipe(self) -> dict[str, Any]:
        """The complete recipe without its seed."""
        return {key: value for key, value in self.info.recipe.items() if key != "seed"}

    @property
    def recipe_key(self) -> str:
        """A digest that is equal for runs that differ in the seed alone."""
        return hashlib.sha256(json.dumps(self.seedless_recipe, sort_keys=True).encode()).hexdigest()

    @property
    def warnings(self) -> tuple[RunWarning, ...]:
        """Its warnings; none in runs of older versions."""
        return () if self.result is None else tuple(self.result.warnings)

    @property
    def metrics(self) -> dict[str, SplitMetrics]:
        """Split → metrics, empty for an unfinished run."""
        return {} if self.result is None else self.result.metrics


def run_folders(paths: Iterable[Path]) -> list[Path]:
    """Run folders under `paths`, each once, in order. A path is a run, a sweep, or a folder of runs.

    For a sweep, only the runs listed in its sweep.json: `runs/` may hold those of earlier versions as well.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        inside = [path] if (path / INFO).is_file() else _inside(path)
        if not inside:
            if path.is_dir() and not next_steps.is_prepared(path.resolve().name, path.resolve().parent):
                raise UsageError(f"no run in `{path}`", hint="pass a run folder, or a folder of run folders")
            raise not_a_run(path)
        found.update({folder.resolve(): folder for folder in sorted(inside)})
    return list(found.values())


def _inside(path: Path) -> list[Path]:
    if not (path / "sweep.json").is_file():
        return [file.parent for file in path.glob(f"*/{INFO}")]
    summary = _json(path / "sweep.json")
    try:
        names = [run["run"] for entry in summary["entries"] for run in entry["runs"]]
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"`{path / 'sweep.json'}` was not written by `wukongctl sweep`", hint="run the sweep again"
        ) from error
    return [path / name for name in names if (path / name / INFO).is_file()]


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read `{path}`: {error}", hint="run the sweep again") from error
