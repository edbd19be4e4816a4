"""Raw files → a prepared dataset."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from warnings import warn

from wukongctl.api.datasets import Dataset
from wukongctl.api.explained import explained
from wukongctl.api.recipes import without_file
from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.loading import locate_problems, read, validate
from wukongctl.data import next_steps, recipes
from wukongctl.data.options import Options
from wukongctl.data.prepare import prepare as prepare_dataset


@explained
def prepare(
    recipe: str | Path | Mapping[str, Any],
    *,
    source: str | Path | None = None,
    out: str | Path | None = None,
    limit_rows: int | None = None,
    force: bool = False,
) -> Dataset:
    """Prepare a dataset in the folder `out` (default: `data`), unless that is done, and load it.

    `recipe` is the name of a shipped dataset, the path of a recipe, or a recipe as a mapping, whose relative
    paths start in the current folder. `source` is a folder or file with the raw data, instead of a download.
    Problems that do not stop it are warnings. Raises what `wukongctl prepare` reports: RecipeError,
    CheckFailed, UsageError, RunFailed.
    """
    folder = next_steps.default_folder() if out is None else Path(out)
    if isinstance(recipe, Mapping):
        document, beside = without_file(recipe), Path()
    else:
        path = recipes.find_dataset(str(recipe), folder)
        document, beside = read(path), path.parent
    spec = validate(document, DatasetSpec)
    raw = None if source is None else Path(source)
    options = Options(beside, folder, raw, limit_rows=limit_rows, force=force)
    with locate_problems(document, at_key=False):
        manifest = prepare_dataset(spec, options)
    for problem in manifest.problems:
        warn(problem, stacklevel=3)
    return Dataset(folder / spec.name)
