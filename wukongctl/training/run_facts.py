"""Facts about a run and its dataset, from which warnings are derived."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wukongctl.config.dataset import SplitName
from wukongctl.config.training import TrainingSpec
from wukongctl.data.manifest import Manifest, Split
from wukongctl.data.statistics import Statistics
from wukongctl.training.metrics import METRICS
from wukongctl.training.run_record import RunResult, SplitMetrics

MetricsLine = Mapping[str, Any]
"""A line of metrics.jsonl."""


@dataclass(frozen=True)
class Validation:
    """The watched metric on valid after `step` updates."""

    step: int
    value: float


@dataclass(frozen=True)
class RunFacts:
    """Input of the rules. `metrics` are those of the held-out splits in result.json."""

    recipe: TrainingSpec
    splits: Mapping[SplitName, Split]
    statistics: Statistics | None
    metrics: Mapping[str, SplitMetrics]
    examples: int
    updates: int | None = None
    """None for a model that is not trained by updates."""
    validations: tuple[Validation, ...] = ()
    data: Path | None = None
    """The folder of prepared datasets, if known."""
    train_loss: float | None = None
    """Mean over the epoch that ended with the best weights; for trees, the loss of the best ones."""

    @property
    def passes(self) -> float:
        """Epochs over train."""
        return self.examples / self.splits["train"].rows

    @property
    def improves(self) -> bool:
        """Whether the last validation is the best."""
        values = [seen.value for seen in self.validations]
        return bool(values) and values[-1] == METRICS[self.recipe.early_stopping.metric].best(values)

    @property
    def held_out(self) -> list[SplitName]:
        """Splits with metrics."""
        return [name for name in self.splits if name in self.metrics]


def gather(
    recipe: TrainingSpec,
    manifest: Manifest,
    result: RunResult,
    lines: Iterable[MetricsLine],
    *,
    by_updates: bool = True,
    data: Path | None = None,
) -> RunFacts:
    """`lines` are those of metrics.jsonl, `result` the future content of result.json.

    Without updates, a step is a tree: validations are too close to each other to judge by.
    """
    lines = list(lines)
    metric = recipe.early_stopping.metric
    facts = RunFacts(
        recipe=recipe,
        splits=manifest.splits,
        statistics=manifest.statistics,
        metrics=result.metrics,
        examples=result.examples,
        data=data,
    )
    if not by_updates:
        return replace(facts, train_loss=_loss_at(lines, result.best_step or 0))
    return replace(
        facts,
        updates=result.step - result.skipped_steps,
        validations=tuple(
            Validation(line["step"], line[metric])
            for line in lines
            if line["split"] == "valid" and line.get(metric) is not None
        ),
        train_loss=_train_loss(
            lines, result.best_step or 0, -(-manifest.splits["train"].rows // recipe.batch_size)
        ),
    )


def _loss_at(lines: Iterable[MetricsLine], last: int) -> float | None:
    """The training loss in the last line up to step `last`."""
    losses = [line["loss"] for line in lines if line["split"] == "train" and line["step"] <= last]
    return losses[-1] if losses else None


def _train_loss(lines: Iterable[MetricsLine], last: int, steps: int) -> float | None:
    """Mean loss of about the `steps` updates, one epoch, up to step `last`; None if no line has any.

    Each line has the mean of the steps since the line before.
    """
    total, counted, before = 0.0, 0, 0
    for line in lines:
        if line["split"] != "train":
            continue
        step = line["step"]
        if last - steps < step <= last:
            total += line["loss"] * (step - before)
            counted += step - before
        before = step
    return total / counted if counted else None
