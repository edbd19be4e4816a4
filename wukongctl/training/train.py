"""One recipe → one finished run folder."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wukongctl.config.training import TrainingSpec
from wukongctl.data import manifest as manifests
from wukongctl.errors import UsageError
from wukongctl.models.counts import count
from wukongctl.training import hardware
from wukongctl.training.loop import Progress, Trainer
from wukongctl.training.run import QUESTION, RunFolder, describe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """A complete run and whether this call had to do anything for it."""

    folder: Path
    run: dict[str, Any]
    result: dict[str, Any]
    was_complete: bool


def train(
    recipe: TrainingSpec,
    *,
    data: Path,
    out: Path,
    resume: bool = False,
    force: bool = False,
    report: Callable[[Progress], None],
) -> Outcome:
    """Train `recipe` on the prepared dataset `data/<name>`, in `out/<run>`.

    The same recipe finds the same folder: a finished run is returned as it is, a started one goes on
    where its last checkpoint stands. `resume` insists that there is one; `force` starts again.
    Raises UsageError, RunFailed or Interrupted.
    """
    execution = hardware.execution(recipe)
    execution.apply()
    dataset = data / recipe.data
    manifest = manifests.read(dataset)
    folder = RunFolder.for_recipe(recipe, out)
    if resume and folder.read("run.json") is None:
        raise UsageError(
            f"there is no run to resume in `{folder.path}`", hint="leave out `--resume` to start it"
        )
    with folder.lock():
        if force:
            folder.clear()
        trainer = Trainer(recipe, manifest, dataset, folder, execution=execution, report=report)
        described = describe(recipe, manifest, folder, count(trainer.model), execution)
        finished = folder.read("result.json")
        if finished is not None and finished["status"] == "complete":
            folder.refuse_if_different(described, QUESTION)
            return Outcome(folder.path, folder.read("run.json") or described, finished, was_complete=True)
        folder.refuse_if_different(described)
        folder.write_recipe(recipe)
        folder.write("run.json", described)
        with folder.logging():
            for note in execution.notes:
                log.warning("%s", note)
            return Outcome(folder.path, described, trainer.fit(), was_complete=False)
