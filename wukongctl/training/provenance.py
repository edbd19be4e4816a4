"""What `run.json` says of a run: its recipe and data, its cost, and the code and machine it runs on."""

import hashlib
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import wukongctl
from wukongctl.config.training import TrainingSpec
from wukongctl.data.manifest import Manifest
from wukongctl.models.counts import CONVENTION, Counts
from wukongctl.training.hardware import Execution
from wukongctl.training.run_folder import RunFolder
from wukongctl.training.run_record import (
    FORMAT_VERSION,
    ExecutionRecord,
    Flops,
    Params,
    RunInfo,
    TrainedOn,
)

PACKAGES = ("torch", "numpy", "pyarrow", "duckdb")


def describe(
    recipe: TrainingSpec,
    manifest: Manifest,
    folder: RunFolder,
    counts: Counts | None,
    execution: Execution,
    world_size: int,
) -> RunInfo:
    """The content of run.json; `counts` are None for a model that has no FLOPs."""
    return RunInfo(
        format_version=FORMAT_VERSION,
        run=folder.path.name,
        model=recipe.model.name,
        curve=recipe.curve_name,
        seed=recipe.seed,
        recipe=recipe.to_dict(),
        recipe_digest=recipe.digest(),
        data=_trained_on(manifest),
        flops=Flops(
            convention=CONVENTION,
            gflop_per_example=counts.gflop if counts else None,
            forward_gflop_per_example=counts.forward_gflop if counts else None,
        ),
        params=Params(
            dense=counts.dense_params if counts else None,
            embedding=counts.embedding_params if counts else None,
        ),
        execution=ExecutionRecord(
            device=execution.device.type,
            threads=execution.threads,
            precision=execution.precision,
            compile=execution.compile,
            notes=list(execution.notes),
        ),
        code_digest=code_digest(),
        versions=_versions(PACKAGES if recipe.is_network else (*PACKAGES, "lightgbm")),
        git=git_state(),
        host={"name": platform.node(), "machine": platform.machine(), "cores": os.cpu_count()},
        world_size=world_size,
        argv=sys.argv,
    )


def _trained_on(manifest: Manifest) -> TrainedOn:
    known = {
        str(name): split.bayes_logloss
        for name, split in manifest.splits.items()
        if split.bayes_logloss is not None
    }
    return TrainedOn(dataset=manifest.dataset, fingerprint=manifest.fingerprint, bayes_logloss=known or None)


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    return {
        "wukongctl": wukongctl.__version__,
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def code_digest() -> str:
    """Hash of the source that decides a run's numbers: data, models and training."""
    package = Path(wukongctl.__file__).parent
    digest = hashlib.sha256()
    for room in ("data", "models", "training"):
        for path in sorted((package / room).glob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def git_state() -> dict[str, Any] | None:
    """Commit of the checkout that wukongctl runs from, and whether it has uncommitted changes."""
    package = Path(wukongctl.__file__).parent
    try:
        commit = _git(package, "rev-parse", "HEAD")
        tracked = _git(package, "ls-files", "--error-unmatch", "__init__.py")
        dirty = bool(_git(package, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None  # installed from a wheel, or no git on this machine
    return {"commit": commit, "dirty": dirty} if tracked else None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
