"""A finished run: its best weights and the prepared data it was trained on."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from wukongctl.config.gbdt import LightGBMSpec
from wukongctl.config.training import TrainingSpec
from wukongctl.data import manifest as manifests
from wukongctl.data import next_steps, vectors
from wukongctl.data.manifest import Manifest
from wukongctl.errors import RunFailed, UsageError
from wukongctl.models import Model, build
from wukongctl.training import checkpoint, trees
from wukongctl.training.hardware import Execution, execution
from wukongctl.training.not_a_run import not_a_run
from wukongctl.training.run_folder import RunFolder
from wukongctl.training.run_record import OTHER_VERSION, RunInfo
from wukongctl.training.shards import full
from wukongctl.training.trees import Trees


@dataclass(frozen=True)
class FinishedRun:
    """A run with its best weights in evaluation mode.

    `model` returns the logits of a batch, on the device of `execution`.
    """

    run: Path
    info: RunInfo
    recipe: TrainingSpec
    dataset: Path
    manifest: Manifest
    model: Model | Trees
    execution: Execution


def open_run(run: Path, *, data: Path) -> FinishedRun:
    """Open `run`, whose dataset is prepared in the folder `data`.

    Raises UsageError if the run is not finished, or the prepared data is not what it was trained on.
    """
    folder = RunFolder(run)
    info = folder.info()
    if info is None:
        raise not_a_run(run, data)
    recipe = _recipe(info, run)
    weights = folder.best if recipe.is_network else folder.trees
    require_weights(folder, weights, data)
    dataset = data / recipe.data
    manifest = manifests.read(dataset)
    if manifest.fingerprint != info.data.fingerprint:
        raise UsageError(
            f"`{dataset}` is not the data that `{run}` was trained on: fingerprint "
            f"{manifest.fingerprint[:12]}, expected {info.data.fingerprint[:12]}",
            hint="prepare the original again, or name its folder with `--data`",
        )
    how = execution(recipe)
    match recipe.model:
        case LightGBMSpec():
            model: Model | Trees = trees.load(weights, dataset, manifest, how.threads)
        case network:
            model = build(network, manifest.schema(), sparse=False, vectors=vectors.load(dataset, manifest))
            _load(model, weights, again=f"{next_steps.to_resume(run, data)} --force")
    return FinishedRun(run, info, recipe, dataset, manifest, model.eval(), how)


def require_weights(folder: RunFolder, weights: Path, data: Path) -> None:
    """Raise UsageError unless the file `weights` of a run exists."""
    if weights.is_file():
        return
    train = next_steps.to_resume(folder.path, data)
    if folder.is_complete:
        raise UsageError(f"`{weights}` is missing", hint=f"run `{train} --force` to train it again")
    raise UsageError(f"`{folder.path}` has no trained weights yet", hint=f"run `{train}` to finish it")


def best_weights(best: Path) -> dict[str, Tensor]:
    """The weights in a file of best weights, by name, tables that were sharded in one piece."""
    return {name: full(weight) for name, weight in checkpoint.load(best)["model"].items()}


def _load(model: Model, best: Path, *, again: str) -> None:
    """Load the weights in `best`; errors name the command that trains the run `again`."""
    try:
        model.load_state_dict(best_weights(best))
    except RunFailed as error:
        error.hint = f"run `{again}` to train it again"
        raise
    except RuntimeError:
        raise UsageError(
            f"`{best}` does not have the weights of this run's model: it is of another run, or was written "
            "by another version of wukongctl",
            hint=f"restore the file, or run `{again}` to train the run again",
        ) from None


def _recipe(info: RunInfo, run: Path) -> TrainingSpec:
    try:
        return info.training_spec()
    except ValueError:
        raise UsageError(
            f"`{run / 'run.json'}` has no recipe that this version of wukongctl can read",
            hint=OTHER_VERSION,
        ) from None
