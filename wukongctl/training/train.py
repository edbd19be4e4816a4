"""One recipe → one finished run folder."""

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from wukongctl.config.gbdt import LightGBMSpec
from wukongctl.config.training import TrainingSpec
from wukongctl.data import manifest as manifests
from wukongctl.data.manifest import Manifest
from wukongctl.errors import UsageError, WukongError
from wukongctl.models.counts import Counts
from wukongctl.training import distributed, gbdt, hardware, selfcheck, trees
from wukongctl.training.distributed import World
from wukongctl.training.hardware import Execution
from wukongctl.training.loop import Trainer, TrainingProgress
from wukongctl.training.run import CONDITIONS, QUESTION, SAME_NUMBERS, RunFolder, describe
from wukongctl.training.trackers import Name, Trackers, Write

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """A complete run and whether this call had to do anything for it."""

    folder: Path
    run: dict[str, Any]
    result: dict[str, Any]
    was_complete: bool


class _Trains(Protocol):
    """One run, ready to begin."""

    resumes: bool
    """Whether `fit` goes on where the last checkpoint stands, and does not start again."""

    @property
    def counts(self) -> Counts | None:
        """FLOPs and parameters, where the model has them."""
        ...

    def fit(self) -> dict[str, Any]:
        """Train to the end; the content of result.json."""
        ...

    def complete(self, result: dict[str, Any]) -> dict[str, Any]:
        """A finished run's result with the splits that were left out; itself where none was."""
        ...


def train(
    recipe: TrainingSpec,
    *,
    data: Path,
    out: Path,
    resume: bool = False,
    force: bool = False,
    track: Sequence[Name] = (),
    skip_test: bool = False,
    report: Callable[[TrainingProgress], None],
) -> Outcome:
    """Train `recipe` on the prepared dataset `data/<name>`, in `out/<run>`.

    The same recipe finds the same folder: a finished run is returned as it is, a started one goes on
    where its last checkpoint stands. Under torchrun, all processes train one run. `resume` insists that
    there is one; `force` starts again. LightGBM keeps nothing to go on from: its runs start again too.
    `skip_test` leaves the test split alone: a later call without it evaluates it.
    Raises UsageError, RunFailed or Interrupted.
    """
    if not recipe.is_network:
        trees.require()
    with distributed.joined() as world:
        folder = RunFolder.for_recipe(recipe, out, writes=world.is_first)
        if resume and folder.read("run.json") is None:
            raise UsageError(
                f"there is no run to resume in `{folder.path}`", hint="leave out `--resume` to start it"
            )
        with world.on_first(folder.lock) or nullcontext():
            if force:
                world.on_first(folder.clear)
            trackers = Trackers(track, recipe, folder)
            return _train(
                recipe, data / recipe.data, folder, world, trackers.write, report, skip_test=skip_test
            )


def _train(
    recipe: TrainingSpec,
    dataset: Path,
    folder: RunFolder,
    world: World,
    track: Write,
    report: Callable[[TrainingProgress], None],
    *,
    skip_test: bool,
) -> Outcome:
    execution = hardware.execution(recipe, processes=world.size)
    execution.apply()
    manifest = manifests.read(dataset)
    _require_watchable(recipe, manifest)
    trainer = _trainer(
        recipe, manifest, dataset, folder, execution, world, track, report, skip_test=skip_test
    )
    described = describe(recipe, manifest, folder, trainer.counts, execution, world.size)
    finished = folder.read("result.json")
    if finished is not None and finished["status"] == "complete":
        folder.refuse_if_different(described, dataset.parent, QUESTION)
        result = trainer.complete(finished)
        was_complete = result is finished
        return Outcome(folder.path, folder.read("run.json") or described, result, was_complete=was_complete)
    begun = folder.read("run.json") or described
    same_world = begun.get("world_size") == world.size
    if not trainer.resumes and folder.read("run.json") is not None:
        log.warning("model `lightgbm` cannot go on from the middle: starting again")
        folder.clear()
    # Another number of processes rounds differently anyway.
    folder.refuse_if_different(described, dataset.parent, CONDITIONS if same_world else SAME_NUMBERS)
    folder.write_recipe(recipe)
    folder.write("run.json", described)
    with folder.logging():
        for note in execution.notes:
            log.info("%s", note)  # the command line has said so before
        if not same_world:
            log.warning("begun on %s processes, goes on with %d", begun.get("world_size"), world.size)
        try:
            result = trainer.fit()
        except WukongError as error:
            log.info("%s", error.message)  # stopped by a signal, diverged, a full disk
            raise
    if world.size == 1 and isinstance(trainer, Trainer):
        selfcheck.keep(folder, dataset, manifest, trainer.model, execution)
    return Outcome(folder.path, described, result, was_complete=False)


def _require_watchable(recipe: TrainingSpec, manifest: Manifest) -> None:
    """UsageError where the AUC of a validation split of one class is to be watched: there is none."""
    valid = manifest.splits.get("valid")
    if valid is None or valid.has_both_classes or recipe.early_stopping.metric != "auc":
        return
    label = int(valid.positives > 0)
    raise UsageError(
        f"every label in `valid` of `{manifest.dataset}` is {label} ({valid.rows:,} rows): there is no "
        "AUC for `early_stopping` to watch",
        hint="watch the loss, `--set early_stopping.metric=logloss`; or give the dataset's `split` another "
        "ratio, key or rule, and prepare it with `--force`",
    )


def _trainer(
    recipe: TrainingSpec,
    manifest: Manifest,
    dataset: Path,
    folder: RunFolder,
    execution: Execution,
    world: World,
    track: Write,
    report: Callable[[TrainingProgress], None],
    *,
    skip_test: bool,
) -> _Trains:
    """What trains the recipe's model; the page of the model decides."""
    match recipe.model:
        case LightGBMSpec():
            if world.size > 1:
                raise UsageError("model `lightgbm` trains in one process", hint="start it without torchrun")
            return gbdt.TreeTrainer(
                recipe, manifest, dataset, folder,
                execution=execution, track=track, report=report, skip_test=skip_test,
            )  # fmt: skip
        case _:
            return Trainer(
                recipe, manifest, dataset, folder,
                execution=execution, world=world, track=track, report=report, skip_test=skip_test,
            )  # fmt: skip
