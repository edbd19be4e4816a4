"""Train one recipe into a run folder."""

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wukongctl.config.gbdt import LightGBMSpec
from wukongctl.config.training import TrainingSpec
from wukongctl.data import manifest as manifests
from wukongctl.data.manifest import Manifest
from wukongctl.errors import UsageError, WukongError
from wukongctl.models.counts import Counts
from wukongctl.training import distributed, gbdt, hardware, selfcheck, trackers, trees
from wukongctl.training.distributed import World
from wukongctl.training.groups import require_group
from wukongctl.training.hardware import Execution
from wukongctl.training.loop import Trainer, TrainingProgress
from wukongctl.training.metrics import METRICS
from wukongctl.training.provenance import describe
from wukongctl.training.run_folder import IDENTITY_KEYS, NUMERIC_KEYS, RESUME_KEYS, RunFolder
from wukongctl.training.run_record import RunInfo, RunResult
from wukongctl.training.sharding_plan import require_torchrec
from wukongctl.training.trackers import TrackerName, Trackers

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CompleteRun:
    """A complete run, and whether it was complete before this call."""

    folder: Path
    info: RunInfo
    result: RunResult
    was_complete: bool


class _AnyTrainer(Protocol):
    """One run, ready to start."""

    resumes: bool
    """Whether `fit` continues from the last checkpoint rather than starting over."""

    @property
    def counts(self) -> Counts | None:
        """FLOPs and parameters, if the model has them."""
        ...

    def fit(self) -> RunResult:
        """Train to the end."""
        ...

    def complete(self, result: RunResult) -> RunResult:
        """The result of a finished run, with the splits that it skipped; unchanged if there are none."""
        ...


def train(
    recipe: TrainingSpec,
    *,
    data: Path,
    out: Path,
    resume: bool = False,
    force: bool = False,
    track: Sequence[TrackerName] = (),
    skip_test: bool = False,
    report: Callable[[TrainingProgress], None],
) -> CompleteRun:
    """Train `recipe` on the prepared dataset `data/<name>`, in `out/<run>`.

    The same recipe has the same folder: a finished run is returned unchanged, an unfinished one resumes from
    its last checkpoint. Under torchrun, all processes train one run. `resume` requires a run to resume;
    `force` starts over, and so does LightGBM, which has no checkpoints.
    With `skip_test` the test split is not evaluated; a later call without it evaluates it.
    Raises UsageError, RunFailed or Interrupted.
    """
    trackers.require(track)
    if not recipe.is_network:
        trees.require()
    processes = distributed.processes()
    device = hardware.chosen_device(recipe, processes)
    if processes > 1 and recipe.distributed.embeddings != "replicated":
        require_torchrec()  # before anything is written
    with distributed.joined(device) as world:
        folder = RunFolder.for_recipe(recipe, out, writes=world.is_rank_zero)
        if resume and folder.info() is None:
            raise UsageError(
                f"there is no run to resume in `{folder.path}`", hint="leave out `--resume` to start it"
            )
        if force:
            folder.require_inside()
        with world.on_rank_zero(folder.lock) or nullcontext():
            if force:
                world.on_rank_zero(folder.clear)
            try:
                return _train(
                    recipe, data / recipe.data, folder, world, Trackers(track, folder), report,
                    skip_test=skip_test,
                )  # fmt: skip
            except UsageError:
                folder.remove_if_unused()
                raise


def _train(
    recipe: TrainingSpec,
    dataset: Path,
    folder: RunFolder,
    world: World,
    tracked: Trackers,
    report: Callable[[TrainingProgress], None],
    *,
    skip_test: bool,
) -> CompleteRun:
    execution = hardware.execution(recipe, processes=world.size)
    execution.apply()
    manifest = manifests.read(dataset)
    _require_watchable(recipe, manifest)
    require_group(recipe, manifest)
    trainer = _trainer(
        recipe, manifest, dataset, folder, execution, world, tracked, report, skip_test=skip_test
    )
    info = describe(recipe, manifest, folder, trainer.counts, execution, world.size)
    finished = folder.result()
    if finished is not None and finished.status == "complete":
        folder.refuse_if_different(info, dataset.parent, IDENTITY_KEYS)
        result = trainer.complete(finished)
        if result is not finished:
            with folder.logging():
                tracked.follow(info, lambda: result)
        return CompleteRun(folder.path, folder.info() or info, result, was_complete=result is finished)
    recorded = folder.info()
    if recorded is not None and not trainer.resumes:
        log.warning("model `lightgbm` cannot resume: starting over")
        folder.clear()
    same_world = recorded is None or recorded.world_size == world.size
    # A different number of processes rounds differently anyway.
    folder.refuse_if_different(info, dataset.parent, RESUME_KEYS if same_world else NUMERIC_KEYS)
    folder.write_recipe(recipe)
    folder.write_info(info)
    with folder.logging():
        for note in execution.notes:
            log.info("%s", note)  # already printed by the command line
        if recorded is not None and not same_world:
            log.warning("started with %s processes, resumed with %d", recorded.world_size, world.size)
        try:
            result = tracked.follow(info, trainer.fit)
        except WukongError as error:
            log.info("%s", error.message)  # stopped by a signal, diverged, a full disk
            raise
    if world.size == 1 and isinstance(trainer, Trainer):
        selfcheck.keep(folder, dataset, manifest, trainer.model, execution)
    return CompleteRun(folder.path, info, result, was_complete=False)


def _require_watchable(recipe: TrainingSpec, manifest: Manifest) -> None:
    """Raise UsageError if the watched metric needs both classes and the validation split has one."""
    valid, metric = manifest.splits.get("valid"), METRICS[recipe.early_stopping.metric]
    if valid is None or valid.has_both_classes or "both classes" not in metric.needs:
        return
    label = int(valid.positives > 0)
    raise UsageError(
        f"every label in `valid` of `{manifest.dataset}` is {label} ({valid.rows:,} rows): there is no "
        f"{metric.title} for `early_stopping` to watch",
        hint="watch the loss, `--set early_stopping.metric=logloss`; or change the dataset's `split`, and "
        "prepare it with `--force`",
    )


def _trainer(
    recipe: TrainingSpec,
    manifest: Manifest,
    dataset: Path,
    folder: RunFolder,
    execution: Execution,
    world: World,
    tracked: Trackers,
    report: Callable[[TrainingProgress], None],
    *,
    skip_test: bool,
) -> _AnyTrainer:
    """The trainer for the recipe's kind of model."""
    match recipe.model:
        case LightGBMSpec():
            if world.size > 1:
                raise UsageError("model `lightgbm` trains in one process", hint="start it without torchrun")
            return gbdt.TreeTrainer(
                recipe, manifest, dataset, folder,
                execution=execution, track=tracked.write, report=report, skip_test=skip_test,
            )  # fmt: skip
        case _:
            return Trainer(
                recipe, manifest, dataset, folder,
                execution=execution, world=world, track=tracked.write, report=report, skip_test=skip_test,
            )  # fmt: skip
