"""The training loop: steps, evaluations, checkpoints, and a result."""

import json
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from wukongctl.config.dataset import SplitName
from wukongctl.config.training import TrainingSpec
from wukongctl.data.batches import BatchReader
from wukongctl.data.manifest import Manifest
from wukongctl.errors import Interrupted, RunFailed
from wukongctl.models.counts import count
from wukongctl.models.deferred import deferred_tables
from wukongctl.signals import StopRequest, stop_requests
from wukongctl.training import checkpoint, divergence, feeds, hardware, schedules
from wukongctl.training.distributed import World
from wukongctl.training.feeds import BatchShard
from wukongctl.training.groups import recipe_groups
from wukongctl.training.hardware import CPU, Execution, Stopwatch, utilization
from wukongctl.training.metrics import in_brief, measure
from wukongctl.training.parallel import ParallelModel, is_sharded
from wukongctl.training.plan import new_model, require_memory, require_two_rows, total_examples, total_steps
from wukongctl.training.position import TrainingPosition
from wukongctl.training.run_folder import RunFolder
from wukongctl.training.run_record import RunResult, SplitMetrics, Status
from wukongctl.training.scoring import evaluation_batch, summarize
from wukongctl.training.update import Update
from wukongctl.training.warnings import warnings_of

log = logging.getLogger(__name__)

LOG_LINES = 200
AGREEMENT_STEPS = 16
"""Steps between agreements of processes on GPUs whether to save or to stop."""
EXPLODED_STEPS = 10
"""A large loss counts as diverged only after this many steps: AFN+, for one, may spike at the start."""


@dataclass(frozen=True)
class TrainingProgress:
    """Progress of a run."""

    step: int
    steps: int
    examples_per_second: float
    loss: float
    watched: float | None


class Trainer:
    """One run: `fit` trains from the last checkpoint to the end."""

    resumes = True

    def __init__(
        self,
        recipe: TrainingSpec,
        manifest: Manifest,
        data: Path,
        folder: RunFolder,
        *,
        execution: Execution,
        world: World,
        track: Callable[[dict[str, Any]], None],
        report: Callable[[TrainingProgress], None],
        skip_test: bool = False,
    ) -> None:
        self.recipe, self.folder, self.execution, self.report = recipe, folder, execution, report
        self.manifest, self.data = manifest, data
        self.world, self.track, self.skip_test = world, track, skip_test
        self.remedy = partial(divergence.remedy, manifest, data)
        self._groups = partial(recipe_groups, recipe, data, manifest)
        sharded = is_sharded(recipe, world)
        require_memory(recipe, manifest, execution.device, sharded=sharded)
        torch.manual_seed(recipe.seed)
        with deferred_tables() if sharded else nullcontext():
            self.model = new_model(recipe, manifest, data)
        self.counts = count(self.model)  # before tables are sharded
        self.parallel = ParallelModel(self.model, recipe, world, execution.device)
        self.update = Update(recipe, self.parallel, execution)
        self.readers = {
            split: BatchReader(
                data,
                manifest,
                split,
                batch_size=recipe.batch_size if split == "train" else evaluation_batch(execution.device),
                shuffle=recipe.shuffle and split == "train",
                seed=recipe.seed,
                threads=recipe.readers,
            )
            for split in manifest.splits
        }
        self.feed = feeds.choose(self.readers["train"], recipe, execution, world)
        self.steps_per_epoch = self.readers["train"].steps_per_epoch
        require_two_rows(recipe, self.readers["train"].rows, recipe.accumulate * world.size)
        self.total_examples = total_examples(recipe, self.readers["train"].rows)
        self.total_steps = total_steps(recipe, self.readers["train"].rows)
        self.log_every = max(1, self.total_steps // LOG_LINES)
        self.checkpoints = checkpoint.CheckpointFolder(folder.checkpoints, keep=recipe.checkpoint.keep)
        self.writer = checkpoint.Writer()
        self.position = TrainingPosition()
        self.losses: list[Tensor] = []
        """Losses of the steps since the last `_read_losses`."""

    def fit(self) -> RunResult:
        """Train to the end.

        Raises Interrupted on a signal, after saving a checkpoint, and RunFailed if the loss is not finite.
        """
        self._resume()
        started = time.monotonic() - self.position.seconds
        last_saved = time.monotonic()
        self.model.train()
        clock = Stopwatch()
        with stop_requests() as stop:
            for shard in self._shards():
                self._step(shard)
                if self._reads_losses():
                    self._read_losses()
                self.position.seconds = time.monotonic() - started
                self.position.train_seconds += clock.seconds
                self.position.cpu_seconds += clock.cpu_seconds
                self._after_step()
                due, signal_number = self._agree(self._is_due(last_saved), stop)
                if due or signal_number is not None:
                    self._save()
                    last_saved = time.monotonic()
                self._stop_if_requested(signal_number)
                clock = Stopwatch()
        return self._finish()

    def complete(self, result: RunResult) -> RunResult:
        """The result of a finished run, with the splits that it skipped."""
        missing = [split for split in self._held_out if split not in result.metrics]
        if missing:
            metrics = result.metrics | self._measure_best(missing)
            result = self._write(result.model_copy(update={"metrics": metrics}))
        return result

    def _write(self, result: RunResult) -> RunResult:
        """Write the result of a complete run, with its warnings."""
        warnings = warnings_of(self.folder, self.recipe, self.manifest, result, data=self.data.parent)
        result = result.model_copy(update={"warnings": warnings})
        self.folder.write_result(result)
        return result

    @property
    def _held_out(self) -> list[SplitName]:
        skipped = {"train", "test"} if self.skip_test else {"train"}
        return [split for split in self.readers if split not in skipped]

    @property
    def _done(self) -> bool:
        exhausted = self.position.watch.exhausted(self.recipe.early_stopping)
        return exhausted or self.position.step >= self.total_steps

    def _shards(self) -> Iterator[BatchShard]:
        """Batches from the current position to the last step, or until patience runs out."""
        while not self._done:
            epoch, start = divmod(self.position.step, self.steps_per_epoch)
            for shard in self.feed.epoch(epoch, start, self.total_examples - self.position.examples):
                yield shard
                if self._done:
                    return

    def _step(self, shard: BatchShard) -> None:
        """One update of all weights."""
        position = self.position
        scale = schedules.factor(
            self.recipe.schedule, position.step, self.total_steps, position.watch.plateau
        )
        self.world.seed(self.recipe.seed, position.step)
        self.losses.append(self.update(shard, scale))
        position.step += 1
        position.examples += shard.rows

    def _reads_losses(self) -> bool:
        """Whether to wait for the device: always on CPU, on a GPU only before logging and validation.

        Training on a GPU therefore detects divergence up to a logging interval late.
        """
        return self.execution.device == CPU or self._logs or self._validates

    def _read_losses(self) -> None:
        """Read the losses of the steps since the last call."""
        position = self.position
        losses = torch.stack(self.losses).cpu().tolist() if self.losses else []
        self.losses.clear()
        for loss in losses:
            if math.isfinite(loss):
                position.loss_sum += loss
                position.loss_steps += 1
                position.skipped_in_a_row = 0
                continue
            position.skipped += 1
            position.skipped_in_a_row += 1
            if position.skipped_in_a_row > self.recipe.divergence.skip_steps:
                self._fail_diverged(f"loss is {loss}")

    def _fail_diverged(self, what: str) -> NoReturn:
        self.folder.write_result(self._result("diverged", {}).model_copy(update={"reason": what}))
        error = RunFailed(
            f"{what} at step {self.position.step} of {self.total_steps}: the run diverged",
            hint=self.remedy(),
        )
        error.on_every_rank = True
        raise error

    def _agree(self, due: bool, stop: StopRequest) -> tuple[bool, int | None]:
        """Whether to save, by the clock of rank 0, and the signal that any process received."""
        if not self._agrees:
            return False, None
        numbers = (signal.SIGTERM, signal.SIGINT)
        mine = [float(due and self.world.is_rank_zero), *(float(stop.signal_number == n) for n in numbers)]
        due_any, *got = self.world.sum(mine)
        return due_any > 0, next((number for number, times in zip(numbers, got, strict=True) if times), None)

    @property
    def _agrees(self) -> bool:
        """Whether processes agree after this step: on GPUs not after each, since their hosts must wait."""
        often = self.execution.device == CPU or self.world.size == 1
        return often or self.position.step % AGREEMENT_STEPS == 0

    def _after_step(self) -> None:
        """Log and evaluate when due."""
        if self._logs:
            self._log()
        if self._validates:
            self._validate()

    @property
    def _logs(self) -> bool:
        """Whether the metrics of training are logged after this step."""
        return self.position.step % self.log_every == 0 or self.position.step == self.total_steps

    @property
    def _validates(self) -> bool:
        """Whether the validation split is evaluated after this step."""
        every = self.recipe.evaluate_every or self.steps_per_epoch
        due = self.position.step % every == 0 or self.position.step == self.total_steps
        return due and "valid" in self.readers

    def _validate(self) -> None:
        position = self.position
        metrics = self._evaluate("valid")
        value = metrics.get(self.recipe.early_stopping.metric)
        self._append({"split": "valid", **metrics})
        if value is None or not math.isfinite(value):
            raise RunFailed(
                f"validation {self.recipe.early_stopping.metric} is {value} at step {position.step}"
            )
        if position.watch.update(value, position.step, self.recipe.early_stopping, self.recipe.schedule):
            self._save_best()
        log.info("step %d of %d: valid %s", position.step, self.total_steps, in_brief(metrics))

    def _log(self) -> None:
        position = self.position
        loss = position.loss_sum / max(position.loss_steps, 1)
        rates = self.update.learning_rates()
        self._append({"split": "train", "examples": position.examples, "loss": loss, **rates})
        self.folder.append_speed(position.step, position.examples, position.train_seconds)
        exploded = loss > self.recipe.divergence.max_loss
        position.exploded_steps = position.exploded_steps + position.loss_steps if exploded else 0
        left = self.total_steps - position.step
        if position.exploded_steps >= min(EXPLODED_STEPS, left + 1):
            self._fail_diverged(f"mean loss is {loss:.4g}")
        position.loss_sum, position.loss_steps = 0.0, 0
        speed = position.examples / max(position.seconds, 1e-9)
        self.report(TrainingProgress(position.step, self.total_steps, speed, loss, position.watch.best))

    def _append(self, record: dict[str, Any]) -> None:
        """Add one line to metrics.jsonl; its length is part of the position, so resuming can cut it back."""
        record = {"step": self.position.step, **record}
        line = (json.dumps(record) + "\n").encode()
        self.folder.append_metrics(line)
        self.track(record)
        self.position.metrics_bytes += len(line)

    def _evaluate(self, split: SplitName) -> SplitMetrics:
        self.world.copy_buffers(self.model)
        groups = self._groups(split)
        return measure(summarize(self.model, self.readers[split], self.execution, self.world, groups=groups))

    def _is_due(self, last_saved: float) -> bool:
        every = self.recipe.checkpoint.every_steps
        due = every is not None and self.position.step % every == 0
        return due or time.monotonic() - last_saved >= self.recipe.checkpoint.every_seconds

    def _stop_if_requested(self, signal_number: int | None) -> None:
        if signal_number is not None and not self._done:
            self.writer.wait()
            raise Interrupted(
                f"stopped at step {self.position.step} of {self.total_steps}, "
                f"state saved in `{self.folder.path}`",
                signal_number=signal_number,
                hint="run the same command again to resume",
            )

    def _save(self) -> None:
        self._read_losses()
        state = {
            "model": self.parallel.state_dict(),
            "optimizers": self.update.state_dict(),
            "rng": hardware.random_state(self.execution.device),
            "position": asdict(self.position),
        }
        step = self.position.step
        self._write_checkpoint(state, lambda whole, world: self.checkpoints.save(step, whole, world))

    def _save_best(self) -> None:
        state = {"model": self.parallel.state_dict(), "step": self.position.step}
        self._write_checkpoint(state, lambda whole, world: checkpoint.save(self.folder.best, whole, world))

    def _write_checkpoint(
        self, state: checkpoint.State, write: Callable[[checkpoint.State, World], object]
    ) -> None:
        """On a GPU, copy the state to the host and write it in the background."""
        if self.execution.device == CPU:
            write(state, self.world)
            return
        copy = checkpoint.on_host(state)
        self.writer.submit(lambda: write(copy, self.world.for_thread()))

    def _resume(self) -> None:
        state = self.checkpoints.latest(self.world, mmap=bool(self.parallel.sharded))
        if state is not None and not self._best_is_intact(state):
            log.warning("the best weights are missing or damaged: starting over")
            state = None
        if state is not None:
            self.parallel.load_state_dict(state["model"])
            self.update.load_state_dict(state["optimizers"])
            hardware.set_random_state(self.execution.device, state["rng"])
            self.position = TrainingPosition.from_state(state["position"])
            log.info("resumed at step %d of %d", self.position.step, self.total_steps)
        else:
            log.info("started: %d steps of %d examples", self.total_steps, self.recipe.batch_size)
        self.world.require_same(self.position.step, "checkpoint")
        self.folder.cut_metrics(self.position.metrics_bytes)

    def _best_is_intact(self, state: checkpoint.State) -> bool:
        """Whether the best weights that a checkpoint refers to can be read."""
        if state["position"]["watch"]["best"] is None:
            return True
        try:
            checkpoint.load(self.folder.best, self.world)
        except RunFailed:
            return False
        return True

    def _finish(self) -> RunResult:
        """Evaluate the best weights once on every held-out split and write result.json."""
        if "valid" not in self.readers:  # nothing to select by: the last weights are the best
            self.position.watch.best_step = self.position.step
            self._save_best()
        measured = self._measure_best(self._held_out)
        result = self._result("complete", measured).model_copy(update=self._utilization())
        result = self._write(result)
        if self.world.is_rank_zero:
            self.checkpoints.clear()
        metrics = ", ".join(f"{split} {in_brief(found)}" for split, found in measured.items())
        log.info("complete at step %d, best step %s: %s", self.position.step, result.best_step, metrics)
        return result

    def _measure_best(self, splits: list[SplitName]) -> dict[str, SplitMetrics]:
        """The metrics of the best weights on some splits."""
        self.writer.wait()
        best = checkpoint.load(self.folder.best, self.world, mmap=bool(self.parallel.sharded))
        self.parallel.load_state_dict(best["model"])
        return {str(split): self._evaluate(split) for split in splits}

    def _result(self, status: Status, metrics: dict[str, SplitMetrics]) -> RunResult:
        position = self.position
        result = RunResult(
            status=status,
            step=position.step,
            best_step=position.watch.best_step,
            selected_on=f"valid {self.recipe.early_stopping.metric}" if "valid" in self.readers else None,
            examples=position.examples,
            passes=position.examples / self.readers["train"].rows,
            metrics=metrics,
            seconds=position.seconds,
            examples_per_second=position.examples / max(position.seconds, 1e-9),
            train_seconds=position.train_seconds,
            cpu_seconds=position.cpu_seconds,
        )
        return result.model_copy(update={"skipped_steps": position.skipped}) if position.skipped else result

    def _utilization(self) -> dict[str, float]:
        """Mean over processes."""
        seconds = max(self.position.train_seconds, 1e-9) * self.world.size
        return utilization(self.counts.gflop * 1e9 * self.position.examples / seconds, self.execution)
