"""The content of `run.json`: recipe, data, cost, code and machine of a run."""

import ast
import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import wukongctl
from wukongctl.config import plugins
from wukongctl.config.model import OWN_SECTIONS
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

PACKAGE = Path(wukongctl.__file__).parent
STEPS = ("wukongctl.config.completion", "wukongctl.data.prepare", "wukongctl.training.train")
"""Modules that determine the numbers of a recipe: keys are completed, data prepared, the model trained."""
PACKAGES = ("torch", "numpy", "pyarrow", "duckdb")


def describe(
    recipe: TrainingSpec,
    manifest: Manifest,
    folder: RunFolder,
    counts: Counts | None,
    execution: Execution,
    world_size: int,
) -> RunInfo:
    """The content of run.json; `counts` are None for a model without FLOPs."""
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
        code_digest=whole_digest(code_digest(), recipe),
        versions=_versions(packages(recipe)),
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


def packages(recipe: TrainingSpec) -> tuple[str, ...]:
    """The packages, besides this one, that the numbers of a recipe depend on."""
    if not recipe.is_network:
        return (*PACKAGES, "lightgbm")
    plugin = plugins.models().get(recipe.model.name) if recipe.model.name not in OWN_SECTIONS else None
    return PACKAGES if plugin is None else (*PACKAGES, plugin.package)


def whole_digest(digest: str, recipe: TrainingSpec) -> str:
    """A digest that covers the code of the package whose model the recipe trains, too."""
    if recipe.model.name in OWN_SECTIONS:
        return digest
    package = sys.modules[type(recipe.model).__module__.partition(".")[0]]
    folders = getattr(package, "__path__", ())  # none of a single module
    files = [file for folder in folders for file in sorted(Path(folder).rglob("*.py"))]
    files = files or [Path(package.__file__ or "")]
    return hashlib.sha256(b"\0".join([digest.encode(), *(file.read_bytes() for file in files)])).hexdigest()


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    return {
        "wukongctl": wukongctl.__version__,
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


@cache
def code_digest(package: Path = PACKAGE) -> str:
    """Hash of the source that determines a run's numbers: every module of this package that `STEPS` import.

    Commands, reports, exports and the drafting of recipes are not part of it.
    """
    digest = hashlib.sha256()
    for path in imported_files(package, *STEPS):
        name = path.relative_to(package).as_posix()
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def imported_files(package: Path, *modules: str) -> list[Path]:
    """The files of `modules` and of all modules of `package` that they import, recursively, sorted.

    Includes the parent packages of each module; TYPE_CHECKING imports do not count.
    """
    found: set[Path] = set()
    waiting = [*modules]
    while waiting:
        module = waiting.pop()
        path = _file(package, module)
        if path is None or path in found:
            continue
        found.add(path)
        waiting += [*_imports(ast.parse(path.read_bytes()), package.name), module.rpartition(".")[0]]
    return sorted(found)


def _file(package: Path, module: str) -> Path | None:
    """None for a name that is not a module, such as a function that is imported."""
    path = package.joinpath(*module.split(".")[1:])
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _imports(node: ast.AST, package: str) -> Iterator[str]:
    match node:
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return
        case ast.Import(names=names):
            candidates = [alias.name for alias in names]
        case ast.ImportFrom(module=str(module), names=names):
            candidates = [module, *(f"{module}.{alias.name}" for alias in names)]
        case _:
            candidates = []
            for child in ast.iter_child_nodes(node):
                yield from _imports(child, package)
    yield from (name for name in candidates if name.partition(".")[0] == package)


def git_state() -> dict[str, Any] | None:
    """Commit of the checkout that wukongctl runs from, and whether it has uncommitted changes."""
    try:
        commit = _git(PACKAGE, "rev-parse", "HEAD")
        tracked = _git(PACKAGE, "ls-files", "--error-unmatch", "__init__.py")
        dirty = bool(_git(PACKAGE, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None  # installed from a wheel, or no git on this machine
    return {"commit": commit, "dirty": dirty} if tracked else None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
