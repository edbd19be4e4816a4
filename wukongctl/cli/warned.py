"""Warnings of runs on the terminal, after the result that they are about."""

from collections.abc import Mapping, Sequence
from typing import Any

from wukongctl.cli.output import Output


def warn_of(output: Output, results: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> None:
    """Say what finished runs warn of; `results` have the keys of result.json, `names` are their recipes'.

    What several runs share is said once.
    """
    from wukongctl.runs.warning_groups import LabeledWarning, group_warnings
    from wukongctl.training.warnings import RunWarning

    each = [
        LabeledWarning(name, str(index), warning)
        for index, (name, result) in enumerate(zip(names or [""] * len(results), results, strict=True))
        for warning in RunWarning.read(result)
    ]
    hinted = ""
    for found in group_warnings(each):
        output.warn(found.summary(len(results)), found.hint if found.hint != hinted else None)
        hinted = found.hint


def warn_of_sweep(output: Output, summary: Mapping[str, Any]) -> None:
    """Say what the finished runs of a sweep warn of; `summary` is the content of its sweep.json."""
    trained = [(entry["name"], run) for entry in summary["entries"] for run in entry["runs"]]
    finished = [(name, run) for name, run in trained if run["status"] == "complete"]
    warn_of(output, [run for _, run in finished], [name for name, _ in finished])
