"""What a run and its dataset say of themselves → the facts that warnings are made from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wukongctl.config.dataset import SplitName
from wukongctl.config.training import TrainingSpec
from wukongctl.data.manifest import Manifest, Split
from wukongctl.data.statistics import Statistics

MetricsLine = Mapping[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """The watched metric on valid after so many updates."""

    step: int
    value: float


@dataclass(frozen=True)
class Facts:
    """What the rules look at. `metrics` are those of the held-out splits in result.json."""

    recipe: TrainingSpec
    splits: Mapping[SplitName, Split]
    statistics: Statistics | None
    metrics: Mapping[str, Mapping[str, float]]
    examples: int
    updates: int | None = None
    """None for a model that is not trained by updates."""
    evaluations: tuple[Evaluation, ...] = ()
    data: Path | None = None
    """The folder of prepared datasets, where it is known."""
    train_loss: float | None = None
    """Mean over the pass that ended with the weights that were kept; of trees, the loss of those kept."""

    @property
    def passes(self) -> float:
        """Over train."""
        return self.examples / self.splits["train"].rows

    @property
    def improves(self) -> bool:
        """Whether the last evaluation is the best one."""
        values = [seen.value for seen in self.evaluations]
        best = max if self.recipe.early_stopping.metric == "auc" else min
        return bool(values) and values[-1] == best(values)

    @property
    def held_out(self) -> list[SplitName]:
        """Splits with metrics."""
        return [name for name in self.splits if name in self.metrics]


def gather(
    recipe: TrainingSpec,
    manifest: Manifest,
    result: MetricsLine,
    records: Iterable[MetricsLine],
    *,
    by_updates: bool = True,
    data: Path | None = None,
) -> Facts:
    """`records` are the lines of metrics.jsonl, `result` what result.json will say.

    Without updates, as of trees, a step is a tree: evaluations follow one another too closely to judge by.
    """
    records = list(records)
    metric = recipe.early_stopping.metric
    facts = Facts(
        recipe=recipe,
        splits=manifest.splits,
        statistics=manifest.statistics,
        metrics=result["metrics"],
        examples=result["examples"],
        data=data,
    )
    if not by_updates:
        return replace(facts, train_loss=_loss_at(records, result["best_step"]))
    return replace(
        facts,
        updates=result["step"] - result.get("skipped_steps", 0),
        evaluations=tuple(
            Evaluation(record["step"], record[metric])
            for record in records
            if record["split"] == "valid" and record.get(metric) is not None
        ),
        train_loss=_train_loss(
            records, result["best_step"], -(-manifest.splits["train"].rows // recipe.batch_size)
        ),
    )


def _loss_at(records: Iterable[MetricsLine], last: int) -> float | None:
    """The training loss in the last line up to step `last`."""
    losses = [record["loss"] for record in records if record["split"] == "train" and record["step"] <= last]
    return losses[-1] if losses else None


def _train_loss(records: Iterable[MetricsLine], last: int, steps: int) -> float | None:
    """Mean loss of about the `steps` updates, one pass, that end at step `last`; None without a line of them.

    Each line holds the mean of the steps since the one before it.
    """
    total, counted, before = 0.0, 0, 0
    for record in records:
        if record["split"] != "train":
            continue
        step = record["step"]
        if last - steps < step <= last:
            total += record["loss"] * (step - before)
            counted += step - before
        before = step
    return total / counted if counted else None
