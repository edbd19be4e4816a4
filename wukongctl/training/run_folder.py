"""The run folder. Inputs are recorded before the first step, and files are written atomically.

runs/<name>-<hash8>/
    recipe.yaml     resolved, runnable as is
    run.json        data fingerprint, versions, host, git, FLOPs: before step one (`RunInfo`)
    metrics.jsonl   one line per logging interval and evaluation, the same for the same recipe
    speed.jsonl     one line per logging interval, with the time training took so far
    checkpoints/    step-*.pt to resume from, best.pt for evaluation, *.shards of sharded tables; of LightGBM
                    lightgbm.txt alone
    result.json     at the end (`RunResult`)
    predictions/    one row per example of a split, cached by `compare`
    selfcheck.parquet  scores of a few raw rows, for the self-check of `predict`
    log.txt         the log
    tensorboard/    events for TensorBoard, with `--track tensorboard`
    mlflow.json     the run in MLflow that a resumed run continues, with `--track mlflow`
"""

import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

import wukongctl
from wukongctl.config.dumping import to_yaml
from wukongctl.config.training import TrainingSpec
from wukongctl.data import next_steps
from wukongctl.data.atomic import write_atomic
from wukongctl.errors import UsageError, cannot_write
from wukongctl.training.run_record import (
    INFO,
    RESULT,
    RunInfo,
    RunResult,
    parse_info,
    parse_result,
)

LOCK = ".lock"
MLFLOW, TENSORBOARD = "mlflow.json", "tensorboard"
IDENTITY_KEYS = ("recipe_digest", "data.fingerprint")
"""Keys of run.json that identify a finished run."""
NUMERIC_KEYS = (*IDENTITY_KEYS, "code_digest", "versions.wukongctl", "versions.torch")
"""Keys that its numbers depend on, except for rounding."""
RESUME_KEYS = (*NUMERIC_KEYS, "execution")
"""Keys that must not change when a run is resumed."""


class RunFolder:
    """Paths of one run, its lock, and the files beside the checkpoints.

    Without `writes`, as on all ranks but 0, methods that write do nothing.
    """

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        self.path, self.writes = path, writes
        self.checkpoints = path / "checkpoints"
        self.best = self.checkpoints / "best.pt"
        self.trees = self.checkpoints / "lightgbm.txt"
        self.metrics, self.speed = path / "metrics.jsonl", path / "speed.jsonl"
        self.predictions = path / "predictions"
        self.selfcheck = path / "selfcheck.parquet"

    @classmethod
    def for_recipe(cls, recipe: TrainingSpec, out: Path, *, writes: bool = True) -> "RunFolder":
        """Same resolved recipe, same folder."""
        return cls(out / f"{recipe.run_name}-{recipe.digest()[:8]}", writes=writes)

    def lock(self) -> FileLock:
        """Lock the folder; raises UsageError if another process trains in it."""
        lock = FileLock(self.path / LOCK, timeout=0)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise UsageError(
                f"another process is training in `{self.path}`",
                hint="wait for it, or change the recipe or `--out`",
            ) from None
        except OSError as error:
            raise cannot_write(self.path, error) from None
        return lock

    def remove_if_unused(self) -> None:
        """Remove a locked folder with nothing but its lock: the run was refused before it began."""
        if self.writes and [path.name for path in self.path.iterdir()] == [LOCK]:
            (self.path / LOCK).unlink()
            with suppress(OSError):
                self.path.rmdir()
                self.path.parent.rmdir()  # only if this is empty too

    def info(self) -> RunInfo | None:
        """The content of `run.json`, None if there is none; raises UsageError if it is damaged."""
        text = self._read(INFO)
        return None if text is None else parse_info(text, self.path / INFO)

    def result(self) -> RunResult | None:
        """The content of `result.json`, None if there is none; raises UsageError if it is damaged."""
        text = self._read(RESULT)
        return None if text is None else parse_result(text, self.path / RESULT)

    @property
    def is_complete(self) -> bool:
        """Whether the run is complete; raises UsageError if its result is damaged."""
        result = self.result()
        return result is not None and result.status == "complete"

    def _read(self, name: str) -> str | None:
        path = self.path / name
        try:
            return path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise UsageError(
                f"cannot read `{path}`: {error}", hint="`train --force` starts the run over"
            ) from error

    def write_info(self, info: RunInfo) -> None:
        """Write `run.json` atomically."""
        self._write(INFO, info.to_dict())

    def write_result(self, result: RunResult) -> None:
        """Write `result.json` atomically."""
        self._write(RESULT, result.to_dict())

    def _write(self, name: str, content: dict[str, Any]) -> None:
        if not self.writes:
            return
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        write_atomic(self.path / name, lambda file: file.write(text.encode()))

    def write_recipe(self, recipe: TrainingSpec) -> None:
        """Write the resolved recipe, from which the run can be repeated."""
        if not self.writes:
            return
        # Default rules of a later version must not apply to omitted keys, such as `logit_scale: 1`.
        text = to_yaml({"defaults": "fixed"} | recipe.to_dict())
        write_atomic(self.path / "recipe.yaml", lambda file: file.write(text.encode()))

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Context in which the log of the package is copied to log.txt."""
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
        self._add(self.metrics, line)

    def append_speed(self, step: int, examples: int, seconds: float) -> None:
        """Add the time that training took up to `step` to speed.jsonl.

        Not part of metrics.jsonl, which is the same bits for the same recipe. It is never cut: of a resumed
        run, later lines replace those of their step and beyond.
        """
        record = {"step": step, "examples": examples, "train_seconds": round(seconds, 4)}
        self._add(self.speed, (json.dumps(record) + "\n").encode())

    def _add(self, path: Path, line: bytes) -> None:
        if not self.writes:
            return
        try:
            with path.open("ab") as file:
                file.write(line)
        except OSError as error:
            raise cannot_write(path, error) from error

    def cut_metrics(self, length: int) -> None:
        """Keep the first `length` bytes of metrics.jsonl: later lines will be written again."""
        if self.writes:
            self.metrics.touch()
            os.truncate(self.metrics, min(length, self.metrics.stat().st_size))

    def require_inside(self) -> None:
        """UsageError if the run is in another place, through a link: `clear` deletes nothing there."""
        for folder in (self.path, self.checkpoints, self.predictions):
            if not folder.resolve().is_relative_to(self.path.parent.resolve()):
                raise UsageError(
                    f"`{folder}` is a link to `{folder.resolve()}`, outside of `{self.path.parent}`",
                    hint="nothing was deleted; remove the link, or choose another `--out`",
                )

    def clear(self) -> None:
        """Delete an earlier run of the same recipe, results first: a kill must not leave a stale result."""
        self.require_inside()
        for name in (RESULT, INFO, "metrics.jsonl", "speed.jsonl", "log.txt", "recipe.yaml", MLFLOW):
            (self.path / name).unlink(missing_ok=True)
        for path in (*self.predictions.glob("*.parquet"), *self.checkpoints.glob("*.pt")):
            path.unlink()
        for shards in self.checkpoints.glob("*.shards"):
            shutil.rmtree(shards, ignore_errors=True)
        self.trees.unlink(missing_ok=True)
        self.selfcheck.unlink(missing_ok=True)
        shutil.rmtree(self.path / TENSORBOARD, ignore_errors=True)

    def refuse_if_different(self, info: RunInfo, data: Path, keys: tuple[str, ...] = RESUME_KEYS) -> None:
        """Raise UsageError naming each of `keys` that differs from the run in this folder."""
        recorded = self.info()
        if recorded is None:
            return
        before, now = recorded.to_dict(), info.to_dict()
        changes = [
            f"{key}: {_shown(_lookup(before, key))} → {_shown(_lookup(now, key))}"
            for key in keys
            if _lookup(before, key) != _lookup(now, key)
        ]
        if changes:
            command = f"{next_steps.to_resume(self.path, data)} --force"
            raise UsageError(
                f"`{self.path}` was started under different conditions ({'; '.join(changes)})",
                hint=f"`{command}` starts it over; or restore what changed",
            )


def _shown(value: Any) -> str:
    """A digest by its first 12 digits, as everywhere else."""
    text = str(value)
    return text[:12] if re.fullmatch(r"[0-9a-f]{40,}", text) else text


def _lookup(content: dict[str, Any], dotted: str) -> Any:
    value: Any = content
    for key in dotted.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value
