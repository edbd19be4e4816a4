"""The run folder: what ran is written down before it runs, and nothing is ever half written.

runs/<name>-<hash8>/
    recipe.yaml     resolved, runnable as is
    run.json        data fingerprint, versions, host, git, FLOPs: before step one
    metrics.jsonl   one line per logging interval and evaluation
    checkpoints/    step-*.pt to resume from, best.pt for evaluation; of LightGBM lightgbm.txt alone
    result.json     at the end
    predictions/    one row per example of a split, once `compare` has asked for them
    selfcheck.parquet  scores of a few raw rows, with which `predict` checks itself
    log.txt         what the user was told
"""

import hashlib
import json
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

import wukongctl
from wukongctl.config.dumping import to_yaml
from wukongctl.config.training import TrainingSpec
from wukongctl.data import next_steps
from wukongctl.data.atomic import write_atomic
from wukongctl.data.manifest import Manifest
from wukongctl.errors import UsageError, cannot_write
from wukongctl.models.counts import CONVENTION, Counts
from wukongctl.training.hardware import Execution

FORMAT_VERSION = 1
PACKAGES = ("torch", "numpy", "pyarrow", "duckdb")
# What a finished run is the answer to, and what a resumed run must not silently mix.
QUESTION = ("recipe_digest", "data.fingerprint")
SAME_NUMBERS = (*QUESTION, "code_digest", "versions.wukongctl", "versions.torch")
CONDITIONS = (*SAME_NUMBERS, "execution")


class RunFolder:
    """Paths of one run, its lock, and the files beside the checkpoints.

    With `writes` off, as in all processes of a run but the first, every method that writes does nothing.
    """

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        self.path, self.writes = path, writes
        self.checkpoints = path / "checkpoints"
        self.best = self.checkpoints / "best.pt"
        self.trees = self.checkpoints / "lightgbm.txt"
        self.metrics = path / "metrics.jsonl"
        self.predictions = path / "predictions"
        self.selfcheck = path / "selfcheck.parquet"

    @classmethod
    def for_recipe(cls, recipe: TrainingSpec, out: Path, *, writes: bool = True) -> "RunFolder":
        """Same resolved recipe, same folder."""
        return cls(out / f"{recipe.run_name}-{recipe.digest()[:8]}", writes=writes)

    def lock(self) -> FileLock:
        """A held lock on the folder; raises UsageError when another process trains in it."""
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise UsageError(
                f"another process is training in `{self.path}`",
                hint="wait for it, or change the recipe or `--out` to start a run of its own",
            ) from None
        except OSError as error:
            raise cannot_write(self.path, error) from None
        return lock

    def read(self, name: str) -> dict[str, Any] | None:
        """A JSON file of the folder, None when it does not exist; raises UsageError when damaged."""
        path = self.path / name
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise UsageError(
                f"cannot read `{path}`: {error}", hint="`train --force` starts the run again"
            ) from error

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Write a JSON file of the folder atomically."""
        if not self.writes:
            return
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        write_atomic(self.path / name, lambda file: file.write(text.encode()))

    def write_recipe(self, recipe: TrainingSpec) -> None:
        """The resolved recipe, so that the run can be repeated from its folder alone."""
        if not self.writes:
            return
        # What is not there, as `logit_scale` where it is 1, is no question to the rules of another day.
        text = to_yaml({"defaults": "fixed"} | recipe.to_dict())
        write_atomic(self.path / "recipe.yaml", lambda file: file.write(text.encode()))

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Copy what the package logs to log.txt while the context lasts."""
        if not self.writes:
            yield
            return
        handler = logging.FileHandler(self.path / "log.txt", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        logger = logging.getLogger(wukongctl.__name__)
        before = logger.level
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
        propagated, logger.propagate = logger.propagate, False  # some libraries make the root logger print
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.propagate = propagated
            logger.setLevel(before)
            handler.close()

    def append_metrics(self, line: bytes) -> None:
        """Add a line to metrics.jsonl."""
        if not self.writes:
            return
        try:
            with self.metrics.open("ab") as file:
                file.write(line)
        except OSError as error:
            raise cannot_write(self.metrics, error) from error

    def cut_metrics(self, length: int) -> None:
        """Keep the first `length` bytes of metrics.jsonl: later lines will be written again."""
        if self.writes:
            self.metrics.touch()
            os.truncate(self.metrics, min(length, self.metrics.stat().st_size))

    def clear(self) -> None:
        """Forget an earlier run of the same recipe, results first, so that a kill leaves no lie behind."""
        for name in ("result.json", "run.json", "metrics.jsonl", "log.txt", "recipe.yaml"):
            (self.path / name).unlink(missing_ok=True)
        for path in (*self.predictions.glob("*.parquet"), *self.checkpoints.glob("*.pt")):
            path.unlink()
        self.trees.unlink(missing_ok=True)
        self.selfcheck.unlink(missing_ok=True)

    def refuse_if_different(
        self, described: dict[str, Any], data: Path, keys: tuple[str, ...] = CONDITIONS
    ) -> None:
        """Raises UsageError naming each of `keys` that differs from the run begun in this folder."""
        begun = self.read("run.json")
        if begun is None:
            return
        differing = [key for key in keys if _lookup(begun, key) != _lookup(described, key)]
        if differing:
            changes = "; ".join(
                f"{key}: {_lookup(begun, key)} → {_lookup(described, key)}" for key in differing
            )
            command = f"{next_steps.again(self.path, data)} --force"
            raise UsageError(
                f"`{self.path}` was begun under other conditions ({changes})",
                hint=f"`{command}` starts it again; or restore what changed",
            )


def describe(
    recipe: TrainingSpec,
    manifest: Manifest,
    folder: RunFolder,
    counts: Counts | None,
    execution: Execution,
    world_size: int,
) -> dict[str, Any]:
    """The content of run.json; `counts` are None for a model that has no FLOPs."""
    packages = PACKAGES if recipe.is_network else (*PACKAGES, "lightgbm")
    return {
        "format_version": FORMAT_VERSION,
        "run": folder.path.name,
        "model": recipe.model.name,
        "curve": recipe.curve_name,
        "seed": recipe.seed,
        "recipe": recipe.to_dict(),
        "recipe_digest": recipe.digest(),
        "data": {
            "dataset": manifest.dataset,
            "fingerprint": manifest.fingerprint,
            "bayes_logloss": {
                name: split.bayes_logloss
                for name, split in manifest.splits.items()
                if split.bayes_logloss is not None
            }
            or None,
        },
        **_cost(counts),
        "execution": {
            "device": execution.device.type,
            "threads": execution.threads,
            "precision": execution.precision,
            "compile": execution.compile,
            "notes": list(execution.notes),
        },
        "code_digest": code_digest(),
        "versions": {
            "wukongctl": wukongctl.__version__,
            "python": platform.python_version(),
            **{package: version(package) for package in packages},
        },
        "git": git_state(),
        "host": {"name": platform.node(), "machine": platform.machine(), "cores": os.cpu_count()},
        "world_size": world_size,
        "argv": sys.argv,
    }


def _cost(counts: Counts | None) -> dict[str, Any]:
    gflop, forward = (counts.gflop, counts.forward_gflop) if counts else (None, None)
    dense, embedding = (counts.dense_params, counts.embedding_params) if counts else (None, None)
    return {
        "flops": {
            "convention": CONVENTION,
            "gflop_per_example": gflop,
            "forward_gflop_per_example": forward,
        },
        "params": {"dense": dense, "embedding": embedding},
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


def _lookup(content: dict[str, Any], dotted: str) -> Any:
    value: Any = content
    for key in dotted.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value
