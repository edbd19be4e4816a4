"""Warnings of runs on the terminal, after the result that they are about."""

from collections.abc import Mapping, Sequence
from typing import Any

from wukongctl.cli.output import Output


def warn_of(output: Output, results: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> None:
    """Say what finished runs warn of; `results` have the keys of result.json, `names` are their recipes'.

    What several runs share is said once.
    """
    from wukongctl.scaling.warned import Warned, fold
    from wukongctl.training.warnings import RunWarning

    each = [
        Warned(name, str(index), warning)
        for index, (name, result) in enumerate(zip(names or [""] * len(results), results, strict=True))
        for warning in RunWarning.read(result)
    ]
    hinted = ""
    for found in fold(each):
        output.warn(found.said(len(results)), found.hint if found.hint != hinted else None)
        hinted = found.hint
