"""The y axis of a curve: a loss, or how far a metric is from its best value. Smaller is always better."""

import re
from dataclasses import dataclass

SMALLEST_DIFFERENCE, SMALLEST_PERCENTAGE = 5e-4, 0.05


@dataclass(frozen=True, slots=True)
class Measure:
    """What `Point.loss` is.

    `name` is the column of points.csv and the `metric` of report.json, `title` labels axes and `described`
    follows "Loss:". `zero` is the smallest value possible. Of a metric where larger is better, the loss is
    `best` minus the values of `column`.
    """

    name: str
    title: str
    described: str
    unit: str = ""
    zero: float = 0.0
    column: str | None = None
    best: float | None = None

    @property
    def smallest_difference(self) -> float:
        """The smallest difference between runs that matters."""
        return SMALLEST_PERCENTAGE if self.unit == "%" else SMALLEST_DIFFERENCE

    @property
    def direction(self) -> str:
        """Which direction is better, also of the metric behind the loss."""
        inverted = "" if self.column is None else f"; of `{self.column}` itself, larger is better"
        return f"smaller is better{inverted}"


LOGLOSS = Measure("logloss", "LogLoss", "LogLoss")
EXCESS = Measure(
    "excess_logloss", "excess LogLoss over the Bayes optimum", "Excess LogLoss over the Bayes optimum"
)
RELATIVE = Measure(
    "relative_logloss",
    "LogLoss relative to the baseline (%)",
    "LogLoss relative to the baseline, in percent",
    unit="%",
    zero=-100.0,
)
MEASURES = {measure.name: measure for measure in (LOGLOSS, RELATIVE, EXCESS)}
"""The losses of runs, by their name in points.csv, run metrics and recipes."""

TITLES = {
    "auc": "AUC",
    "gauc": "gAUC",
    "pr_auc": "PR-AUC",
    "ndcg": "NDCG",
    "mrr": "MRR",
    "map": "MAP",
    "f1": "F1",
    "ne": "normalized entropy",
    "mse": "MSE",
    "rmse": "RMSE",
    "mae": "MAE",
}
LARGER_IS_BETTER = (
    "auc", "roc_auc", "gauc", "pr_auc", "accuracy", "acc", "top1", "top1_accuracy", "top5_accuracy",
    "ndcg", "recall", "precision", "hit_rate", "hr", "mrr", "map", "f1", "r2",
)  # fmt: skip
SYNONYMS = {"log_loss": "logloss"}
INVERTED = re.compile(r"(?:1|one|100)\s*(?:-|−|_minus_|minus)\s*(.+)", re.IGNORECASE)
"""A column such as `1 - auc`, which is a loss."""


def is_larger_better(column: str) -> bool:
    """Whether a column of this name is a metric of which larger values are better."""
    name = re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_")
    names = {name, re.sub(r"_?\d+$", "", name)}
    names |= {re.sub(r"^(test|val|valid|validation|eval)_", "", name) for name in names}
    return bool(names & set(LARGER_IS_BETTER))


def loss_named(column: str) -> Measure:
    """The loss in a column: one of ours, or any other by its name."""
    if (name := SYNONYMS.get(column.lower(), column)) in MEASURES:
        return MEASURES[name]
    if found := INVERTED.fullmatch(column):
        return Measure(
            column, f"{column.split(found[1], maxsplit=1)[0].strip(' -−_')} − {_title(found[1])}", column
        )
    return Measure(column, _title(column), _title(column))


def shortfall(column: str, best: float) -> Measure:
    """How far a metric is from `best`, its best possible value."""
    title = f"{best:g} − {_title(column)}"
    return Measure(f"{best:g} - {column}", title, title, column=column, best=best)


def _title(column: str) -> str:
    return TITLES.get(column.lower(), column.replace("_", " "))
