"""Print the warnings of runs, after their results."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wukongctl.cli.output import Output

if TYPE_CHECKING:
    from wukongctl.training.run_record import RunWarning


def warn_of(output: Output, runs: "Sequence[Sequence[RunWarning]]", names: Sequence[str] = ()) -> None:
    """Print the warnings of finished runs, shared ones once; `names` are those of their recipes."""
    from wukongctl.runs.warning_groups import LabeledWarning, group_warnings

    each = [
        LabeledWarning(name, str(index), warning)
        for index, (name, warnings) in enumerate(zip(names or [""] * len(runs), runs, strict=True))
        for warning in warnings
    ]
    hinted = ""
    for found in group_warnings(each):
        output.warn(found.summary(len(runs)), found.hint if found.hint != hinted else None)
        hinted = found.hint


def warn_of_edits(output: Output, run: Path) -> list[str]:
    """Say that `recipe.yaml` of a run is no longer what was trained; the keys that differ."""
    from wukongctl.runs.recipe_differences import edited_keys

    keys = edited_keys(run)
    if keys:
        names = ", ".join(f"`{key}`" for key in keys[:5]) + (", …" if len(keys) > 5 else "")
        output.warn(
            f"`{run / 'recipe.yaml'}` was edited after training ({names}): the weights are those of the "
            "recipe in `run.json`",
            f"`wukongctl train {run / 'recipe.yaml'}` trains the edited recipe as another run",
        )
    return keys


def warn_of_sweep(output: Output, summary: Mapping[str, Any]) -> None:
    """Print the warnings of the finished runs of a sweep; `summary` is the content of its sweep.json."""
    from wukongctl.training.run_record import RunWarning

    finished = [
        (entry["name"], [RunWarning.model_validate(warning) for warning in run["warnings"]])
        for entry in summary["entries"]
        for run in entry["runs"]
        if run["status"] == "complete"
    ]
    warn_of(output, [warnings for _, warnings in finished], [name for name, _ in finished])
