"""Errors for paths that are not run folders, with the way to a run."""

import os
from pathlib import Path

from wukongctl.config import library
from wukongctl.config.suggestions import similar_file
from wukongctl.data import next_steps, recipes
from wukongctl.errors import RecipeError, UsageError
from wukongctl.training.run_folder import RunFolder


def not_a_run(path: Path, data: Path | None = None) -> UsageError:
    """The error of a command that needs a run folder and got `path`; `data` is the folder of datasets."""
    data = data or next_steps.default_folder()
    if path.suffix in library.ENDINGS or str(path) in library.names():
        return _a_recipe(str(path), data)
    if next_steps.is_prepared(path.resolve().name, path.resolve().parent):
        hint = f"run `{next_steps.to_train(path.resolve().name, path.resolve().parent)}`"
        return UsageError(f"`{path}` is a prepared dataset, not a run folder", hint=hint)
    if runs := _runs(path):
        hint = f"name one, such as `{runs[-1]}`"
        return UsageError(f"`{path}` is a folder of run folders", hint=hint)
    if not path.exists() and next_steps.is_known(str(path), data):
        return UsageError(f"`{path}` is a dataset, not a run folder", hint=next_steps.to_get(str(path), data))
    hint = "run `wukongctl runs ls` to see those you have"
    if not _runs(_default()):
        hint = "`wukongctl train` creates one"
    elif not path.exists():
        hint = _meant(path) or hint
    what = f"`{path}` is not a run folder" if path.exists() else f"there is no `{path}`"
    return UsageError(what, hint=hint)


def _meant(path: Path) -> str | None:
    """`did you mean ...?` for the run that a missing `path` most likely stands for."""
    return similar_file(path, [*_runs(_default()), *_runs(path.parent)])


def _a_recipe(name: str, data: Path) -> UsageError:
    """The hint is the recipe's run, or the command that trains it."""
    what = f"`{name}` is a recipe, not a run folder"
    try:
        path = recipes.find(name, data)
    except UsageError as error:
        return UsageError(f"`{name}` is not a run folder", hint=error.hint)
    try:
        spec = recipes.load(path, data)
    except RecipeError:
        return UsageError(what, hint=recipes.command_for(path, data))
    run = RunFolder.for_recipe(spec, _default()).path
    known = (run / "result.json").is_file()
    hint = f"its run is `{run}`" if known else f"run `{next_steps.train_command(name, data)}`"
    return UsageError(what, hint=hint)


def _default() -> Path:
    """The default folder of runs."""
    return Path(os.environ.get("WUKONGCTL_RUNS") or "runs")


def _runs(folder: Path) -> list[Path]:
    """Run folders in `folder`, the oldest first."""
    try:
        return [file.parent for file in sorted(folder.glob("*/run.json"), key=lambda f: f.stat().st_mtime)]
    except (OSError, ValueError):
        return []
