"""The groups of gAUC: the values of a categorical column, such as a user, over the rows of a split."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from wukongctl.config.spec import Mismatch, Mistake
from wukongctl.config.suggestions import did_you_mean
from wukongctl.config.training import TrainingSpec
from wukongctl.data.manifest import Manifest, damaged
from wukongctl.errors import UsageError


def require_column(manifest: Manifest, name: str) -> None:
    """Raise UsageError unless `name` is a categorical column of the dataset."""
    columns = manifest.schema().categorical
    if name not in columns:
        hint = did_you_mean(name, columns) or f"it has {', '.join(f'`{column}`' for column in columns)}"
        raise UsageError(f"`{manifest.dataset}` has no categorical column `{name}` to group by", hint=hint)


def require_group(recipe: TrainingSpec, manifest: Manifest) -> None:
    """Raise Mismatch unless the recipe's `group`, if any, is a categorical column of the dataset."""
    if recipe.group is None:
        return
    try:
        require_column(manifest, recipe.group)
    except UsageError as error:
        raise Mismatch([Mistake(error.message, ("group",), error.hint)]) from None


def recipe_groups(
    recipe: TrainingSpec, dataset: Path, manifest: Manifest, split: str
) -> NDArray[np.int32] | None:
    """The groups of the recipe's `group`; None without one."""
    return None if recipe.group is None else read_groups(dataset, manifest, split, recipe.group)


def read_groups(dataset: Path, manifest: Manifest, split: str, column: str) -> NDArray[np.int32]:
    """(rows,) ids of a categorical column in file order; raises RunFailed for a damaged file."""
    if any(name == split and found.streamed for name, found in manifest.splits.items()):
        what = f"split `{split}` of `{manifest.dataset}` is streamed, which has no groups"
        raise UsageError(what, hint="leave out `group`, or evaluate another split")
    files = [file for name, found in manifest.splits.items() if name == split for file in found.files]
    return np.concatenate([_column(dataset / file.path, column) for file in files])


def _column(path: Path, name: str) -> NDArray[np.int32]:
    try:
        return pq.ParquetFile(path).read([name])[name].to_numpy()
    except (OSError, pa.ArrowException) as error:
        raise damaged(path, f"cannot be read: {str(error).splitlines()[0]}") from None
