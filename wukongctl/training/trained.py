"""A finished run, opened for use: its best weights, and the prepared data it was trained on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from wukongctl.config.gbdt import LightGBMSpec
from wukongctl.config.training import TrainingSpec
from wukongctl.data import manifest as manifests
from wukongctl.data import next_steps, vectors
from wukongctl.data.manifest import Manifest
from wukongctl.errors import UsageError
from wukongctl.models import Model, build
from wukongctl.training import checkpoint, trees
from wukongctl.training.hardware import Execution, execution
from wukongctl.training.not_a_run import not_a_run
from wukongctl.training.run import RunFolder
from wukongctl.training.trees import Trees

OTHER_VERSION = "use the wukongctl that wrote it, or train again"


@dataclass(frozen=True)
class Trained:
    """The best weights of a run in evaluation mode, and what they were made from.

    `model` gives the logits of a batch, on the device of `execution`, whatever it is made of.
    """

    run: Path
    described: dict[str, Any]
    recipe: TrainingSpec
    dataset: Path
    manifest: Manifest
    model: Model | Trees
    execution: Execution


def open_run(run: Path, *, data: Path) -> Trained:
    """The best weights of `run`, whose dataset is prepared in the folder `data`.

    Raises UsageError when the run is not finished, or the prepared data is not what it was trained on.
    """
    folder = RunFolder(run)
    described = folder.read("run.json")
    if described is None:
        raise not_a_run(run, data)
    recipe = _recipe(described, run)
    weights = folder.best if recipe.is_network else folder.trees
    if not weights.is_file():
        raise _without_weights(folder, weights, data)
    dataset = data / recipe.data
    manifest = manifests.read(dataset)
    if manifest.fingerprint != described["data"]["fingerprint"]:
        raise UsageError(
            f"`{dataset}` is not the data that `{run}` was trained on: fingerprint "
            f"{manifest.fingerprint[:12]}, expected {described['data']['fingerprint'][:12]}",
            hint="prepare the original again, or name its folder with `--data`",
        )
    how = execution(recipe)
    match recipe.model:
        case LightGBMSpec():
            model: Model | Trees = trees.load(weights, dataset, manifest, how.threads)
        case network:
            model = build(network, manifest.schema(), sparse=False, vectors=vectors.load(dataset, manifest))
            _load(model, weights)
    return Trained(run, described, recipe, dataset, manifest, model.eval(), how)


def _without_weights(folder: RunFolder, weights: Path, data: Path) -> UsageError:
    train = next_steps.again(folder.path, data)
    if (folder.read("result.json") or {}).get("status") == "complete":
        return UsageError(f"`{weights}` is missing", hint=f"run `{train} --force` to train it again")
    return UsageError(f"`{folder.path}` has no trained weights yet", hint=f"run `{train}` to finish it")


def _load(model: Model, best: Path) -> None:
    weights = checkpoint.load(best)["model"]
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        raise UsageError(
            f"`{best}` has not the weights that this wukongctl expects", hint=OTHER_VERSION
        ) from None


def _recipe(described: dict[str, Any], run: Path) -> TrainingSpec:
    try:
        return TrainingSpec.from_dict(described["recipe"])
    except (KeyError, TypeError, ValidationError):
        raise UsageError(
            f"`{run / 'run.json'}` has no recipe that this wukongctl understands",
            hint=OTHER_VERSION,
        ) from None
