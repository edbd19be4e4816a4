"""Runs: training, and what a run folder holds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from warnings import warn

from torch import Tensor, nn

from wukongctl.api.datasets import Dataset
from wukongctl.api.explained import explained
from wukongctl.api.frames import Frame, FrameKind, as_file, converted, to_arrow
from wukongctl.api.recipes import Recipe, source_of
from wukongctl.config.loading import locate_problems
from wukongctl.config.training import TrainingSpec
from wukongctl.data import next_steps
from wukongctl.data.rows import ColumnsOf
from wukongctl.errors import UsageError
from wukongctl.runs.folders import RunRecord
from wukongctl.training.finished_run import best_weights, open_run, require_weights
from wukongctl.training.loop import TrainingProgress
from wukongctl.training.predict import score_file
from wukongctl.training.predictions import predictions, to_table
from wukongctl.training.run_folder import RunFolder
from wukongctl.training.run_record import RunInfo, RunResult, RunWarning, SplitMetrics
from wukongctl.training.train import train as train_recipe


class Run:
    """A run folder, finished or not, written by `train`.

    `data` is the folder of prepared datasets (default: `data`). Raises UsageError if `path` is not a run, or
    its files are damaged.
    """

    @explained
    def __init__(self, path: str | Path, *, data: str | Path | None = None) -> None:
        self.path = Path(path)
        self.data = next_steps.default_folder() if data is None else Path(data)
        self._record = RunRecord.read(self.path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}: {self.status})"

    @property
    def status(self) -> str:
        """`complete`, `pruned`, `diverged` or `unfinished`."""
        return self._record.status

    @property
    def info(self) -> RunInfo:
        """`run.json`: recipe, data, FLOPs, parameters, versions, machine."""
        return self._record.info

    @property
    def result(self) -> RunResult | None:
        """`result.json`: metrics, speed, the step of the best weights; None while unfinished."""
        return self._record.result

    @property
    def metrics(self) -> dict[str, SplitMetrics]:
        """Split → metric → value of the best weights; empty while unfinished."""
        return self._record.metrics

    @property
    def warnings(self) -> tuple[RunWarning, ...]:
        """What looks wrong with the result: a code, a message and a hint each."""
        return self._record.warnings

    @property
    def recipe(self) -> TrainingSpec:
        """The recipe with every key."""
        return self.info.training_spec()

    @explained
    def history(self, *, to: FrameKind = "arrow") -> Frame:
        """`metrics.jsonl`: `step`, `split` and the metrics of each logging interval and validation, null
        where a line has none."""
        path = RunFolder(self.path).metrics
        try:
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except FileNotFoundError:
            rows = []
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read `{path}`: {error}") from error
        return converted(to_arrow(rows), to)

    @explained
    def predictions(self, split: str = "test", *, to: FrameKind = "arrow") -> Frame:
        """Columns `label`, `logit` and `prediction` of a split, row by row; scored once, then cached in the
        run."""
        return converted(to_table(predictions(self.path, split, data=self.data)), to)

    @explained
    def weights(self) -> dict[str, Tensor]:
        """The best weights of a network by name, on the CPU; needs no data."""
        if not self.recipe.is_network:
            raise UsageError(
                "model `lightgbm` has no weights", hint="`predictions` and `predict` work as ever"
            )
        folder = RunFolder(self.path)
        require_weights(folder, folder.best, self.data)
        return best_weights(folder.best)

    @explained
    def model(self) -> nn.Module:
        """The model with its best weights, in evaluation mode on the CPU: a batch → (B,) logits."""
        return open_run(self.path, data=self.data).model

    @explained
    def predict(
        self,
        rows: Frame | str | Path,
        *,
        columns: ColumnsOf | None = None,
        source: str | Path | None = None,
        allow_unknown: bool = False,
        to: FrameKind = "arrow",
    ) -> Frame:
        """Score new rows, a table or a Parquet, CSV, TSV or JSON file: `logit` and `prediction`, in the same
        order.

        Rows have the columns of the raw data, or of the recipe's SELECT; `columns` says which if both fit.
        `source` is the folder of files that the SELECT joins. Remarks on the rows are warnings. Raises
        UsageError for missing columns, CheckFailed if most values of a feature are unlike those in training,
        unless `allow_unknown`.
        """
        wanted = None if source is None else Path(source)
        if isinstance(rows, str | Path):
            return self._score(Path(rows), columns, wanted, to, allow_unknown=allow_unknown)
        with as_file(rows) as file:
            return self._score(file, columns, wanted, to, allow_unknown=allow_unknown)

    def _score(
        self,
        file: Path,
        columns: ColumnsOf | None,
        source: Path | None,
        to: FrameKind,
        *,
        allow_unknown: bool,
    ) -> Frame:
        table, notes = score_file(
            self.path, file, data=self.data, columns=columns, source=source, allow_unknown=allow_unknown
        )
        for note in notes:
            warn(note, stacklevel=4)
        return converted(table, to)


@explained
def train(
    recipe: Recipe,
    dataset: Dataset | None = None,
    *,
    out: str | Path = "runs",
    resume: bool = False,
    force: bool = False,
    report: Callable[[TrainingProgress], None] = lambda _: None,
    **overrides: Any,
) -> Run:
    """Train a recipe in the folder `out` and return its run.

    `recipe` is a path, the name of a shipped recipe or of a model, a mapping, or `Run.recipe`; keys that it
    leaves out are sized to `dataset`, by default the one that it names. `overrides` are keys of the recipe,
    dotted as in `--set`: `seed=2`, `**{"optimizer.dense.lr": 1e-3}`. The same recipe has the same folder: a
    finished run is returned as it is, an interrupted one resumes; `force` starts over. `report` is called
    after each logging interval. Raises RecipeError with every problem, RunFailed if it diverges, Interrupted
    after Ctrl-C.
    """
    source = source_of(recipe, dataset, overrides)
    with locate_problems(source.document, source.overrides):
        done = train_recipe(
            source.recipe(), data=source.data, out=Path(out), resume=resume, force=force, report=report
        )
    return Run(done.folder, data=source.data)
