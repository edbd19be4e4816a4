"""Training of the LightGBM baseline, on the same rows, splits and encoded values as the networks."""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from wukongctl.config.dataset import SplitName
from wukongctl.config.gbdt import LightGBMSpec
from wukongctl.config.training import TrainingSpec
from wukongctl.data import vectors
from wukongctl.data.batches import BatchReader
from wukongctl.data.manifest import Manifest
from wukongctl.errors import Interrupted, RunFailed
from wukongctl.signals import StopRequest, stop_requests
from wukongctl.training import selfcheck, trees
from wukongctl.training.design import Design
from wukongctl.training.groups import recipe_groups
from wukongctl.training.hardware import Execution, Stopwatch
from wukongctl.training.loop import LOG_LINES, TrainingProgress
from wukongctl.training.metrics import in_brief, measure
from wukongctl.training.run_folder import RunFolder
from wukongctl.training.run_record import RunResult, SplitMetrics
from wukongctl.training.schedules import Watch
from wukongctl.training.scoring import EVALUATION_BATCH, summarize
from wukongctl.training.warnings import warnings_of

log = logging.getLogger(__name__)

READ_ROWS = 1 << 16
WATCHED = {"auc": "auc", "binary_logloss": "logloss"}
"""LightGBM's names of metrics → ours."""


class TreeTrainer:
    """One run: `fit` grows all trees.

    It cannot resume: LightGBM would not reproduce the same model, and training seldom takes minutes.
    """

    counts = None
    resumes = False

    def __init__(
        self,
        recipe: TrainingSpec,
        manifest: Manifest,
        data: Path,
        folder: RunFolder,
        *,
        execution: Execution,
        track: Callable[[dict[str, Any]], None],
        report: Callable[[TrainingProgress], None],
        skip_test: bool = False,
    ) -> None:
        assert isinstance(recipe.model, LightGBMSpec)
        self.lightgbm = trees.require()
        self.recipe, self.spec, self.manifest, self.data = recipe, recipe.model, manifest, data
        self.folder, self.execution, self.track, self.report = folder, execution, track, report
        self.design = Design(manifest, vectors.load(data, manifest))
        self.rows = min(manifest.splits["train"].rows, recipe.max_examples or manifest.splits["train"].rows)
        self.log_every = max(1, self.spec.num_iterations // LOG_LINES)
        self.watch = Watch()
        self.watches = "valid" in manifest.splits and recipe.early_stopping.patience is not None
        self.step = 0
        skipped = {"train", "test"} if skip_test else {"train"}
        self.held_out = [split for split in manifest.splits if split not in skipped]

    def complete(self, result: RunResult) -> RunResult:
        """The result of a finished run, with the splits that it skipped."""
        missing = [split for split in self.held_out if split not in result.metrics]
        if missing:
            metrics = result.metrics | self._measure(missing)
            result = self._write(result.model_copy(update={"metrics": metrics}))
        return result

    def _write(self, result: RunResult) -> RunResult:
        """Write the result of a complete run, with its warnings."""
        warnings = warnings_of(
            self.folder, self.recipe, self.manifest, result, data=self.data.parent, by_updates=False
        )
        result = result.model_copy(update={"warnings": warnings})
        self.folder.write_result(result)
        return result

    def fit(self) -> RunResult:
        """Grow the trees, save them, and evaluate them on every held-out split.

        Raises Interrupted on a signal, RunFailed if LightGBM rejects data or parameters.
        """
        log.info("started: up to %d trees on %d rows", self.spec.num_iterations, self.rows)
        started, clock = time.monotonic(), Stopwatch()
        try:
            with stop_requests() as stop:
                booster = self._grow(stop)
        except self.lightgbm.basic.LightGBMError as error:
            raise RunFailed(f"LightGBM: {str(error).splitlines()[0]}") from None
        best = self.watch.best_step if self.watches else self.step
        trees.save(self.folder.trees, booster, best)
        result = self._write(self._result(best, clock, time.monotonic() - started))
        metrics = ", ".join(f"{split} {in_brief(found)}" for split, found in result.metrics.items())
        log.info("complete with %d trees, best %d: %s", self.step, best, metrics)
        return result

    def _grow(self, stop: StopRequest) -> Any:
        """The booster after the last tree."""
        parameters = self._parameters()
        train = self._dataset("train", parameters, stop)
        booster = self.lightgbm.Booster(parameters, train)
        if "valid" in self.manifest.splits:
            booster.add_valid(self._dataset("valid", parameters, stop, reference=train), "valid")
        started = time.monotonic()
        while self.step < self.spec.num_iterations and not self.watch.exhausted(self.recipe.early_stopping):
            self._stop_if_requested(stop)
            exhausted = booster.update()
            self.step = booster.current_iteration()
            if exhausted:
                log.warning("stopped after %d trees: no leaf can be split", self.step)
                break
            self._after_tree(booster, time.monotonic() - started)
        return booster

    def _parameters(self) -> dict[str, Any]:
        """LightGBM's parameters; others keep its defaults."""
        parameters = self.spec.to_dict()
        del parameters["name"], parameters["categorical"]
        return parameters | {
            "max_depth": self.spec.max_depth or -1,
            "objective": "binary",
            "metric": list(WATCHED),
            "seed": self.recipe.seed,
            "deterministic": True,
            "force_col_wise": True,
            "num_threads": self.execution.threads,
            "verbosity": -1,
        }

    def _dataset(
        self, split: SplitName, parameters: dict[str, Any], stop: StopRequest, reference: Any = None
    ) -> Any:
        """One split, binned. With `max_examples`, the rows of train that a network would see first."""
        rows = self.rows if split == "train" else self.manifest.splits[split].rows
        shuffle = self.recipe.shuffle and rows < self.manifest.splits[split].rows
        reader = self._reader(split, READ_ROWS, shuffle=shuffle)
        matrix, labels, start = self.design.empty(rows), np.empty(rows, np.float32), 0
        for batch in reader.epoch(0):
            self._stop_if_requested(stop)
            wanted = batch.rows(0, rows - start)
            span = slice(start, start + len(wanted.labels))
            self.design.fill(matrix[span], wanted)
            labels[span] = wanted.labels.numpy()
            start = span.stop
            if start == rows:
                break
        dataset = self.lightgbm.Dataset(
            matrix,
            labels,
            reference=reference,
            feature_name=self.design.names,
            categorical_feature=self.design.categorical if self.spec.categorical == "native" else [],
            params=parameters,
        )
        return dataset.construct()

    def _reader(self, split: SplitName, batch_size: int, *, shuffle: bool = False) -> BatchReader:
        return BatchReader(
            self.data, self.manifest, split, batch_size=batch_size, shuffle=shuffle, seed=self.recipe.seed
        )

    def _after_tree(self, booster: Any, seconds: float) -> None:
        """Log and validate when due."""
        last = self.step == self.spec.num_iterations
        if "valid" in self.manifest.splits and (self.step % (self.recipe.evaluate_every or 1) == 0 or last):
            metrics = {WATCHED[name]: value for _, name, value, _ in booster.eval_valid()}
            self._append({"split": "valid", **metrics})
            stopping = self.recipe.early_stopping
            self.watch.update(metrics[stopping.metric], self.step, stopping, self.recipe.schedule)
        if self.step % self.log_every == 0 or last:
            loss = next(value for _, name, value, _ in booster.eval_train() if WATCHED[name] == "logloss")
            self._append({"split": "train", "examples": self.rows, "loss": loss})
            self.folder.append_speed(self.step, self.rows * self.step, seconds)
            speed = self.rows * self.step / max(seconds, 1e-9)
            self.report(TrainingProgress(self.step, self.spec.num_iterations, speed, loss, self.watch.best))

    def _append(self, record: dict[str, Any]) -> None:
        record = {"step": self.step, **record}
        self.folder.append_metrics((json.dumps(record) + "\n").encode())
        self.track(record)

    def _stop_if_requested(self, stop: StopRequest) -> None:
        if stop.signal_number is not None:
            raise Interrupted(
                f"stopped at tree {self.step} of {self.spec.num_iterations}",
                signal_number=stop.signal_number,
                hint="run the same command again to start over: `lightgbm` has no checkpoints",
            )

    def _result(self, best: int, clock: Stopwatch, seconds: float) -> RunResult:
        train_seconds, cpu_seconds = clock.seconds, clock.cpu_seconds  # before the evaluation
        return RunResult(
            status="complete",
            step=self.step,
            best_step=best,
            selected_on=f"valid {self.recipe.early_stopping.metric}" if self.watches else None,
            trees=best,
            examples=self.rows,
            passes=self.rows / self.manifest.splits["train"].rows,
            metrics=self._measure(self.held_out),
            seconds=seconds,
            examples_per_second=self.rows / max(seconds, 1e-9),
            train_seconds=train_seconds,
            cpu_seconds=cpu_seconds,
        )

    def _measure(self, splits: list[SplitName]) -> dict[str, SplitMetrics]:
        """The metrics of the saved trees on some splits."""
        model = trees.load(self.folder.trees, self.data, self.manifest, self.execution.threads)
        selfcheck.keep(self.folder, self.data, self.manifest, model, self.execution)
        readers = {str(split): self._reader(split, EVALUATION_BATCH) for split in splits}
        return {
            split: measure(
                summarize(
                    model,
                    reader,
                    self.execution,
                    groups=recipe_groups(self.recipe, self.data, self.manifest, split),
                )
            )
            for split, reader in readers.items()
        }
